"""One case of a folder: what is read, what is made of it, and what is left behind when it fails."""

from __future__ import annotations

import dataclasses
import shutil
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veridical import provenance
from veridical.errors import PolicyError, ProvenanceError, VeridicalError
from veridical.governance.stored import to_be_overridden
from veridical.io import bids
from veridical.layouts.selection import notes_of, read, whole
from veridical.task import Progress, Task
from veridical.terms import Terms
from veridical.types import SEVERITY, Finding, Result, Study
from veridical.workflow import dicom_folder

Status = Literal["done", "kept", "nothing to do", "blocked", "failed"]


@dataclass(frozen=True)
class Keeping:
    """What is written of each result.

    Args:
        draws: the draws too, which take most of the space.
        overwrite: replace results that came of another input, other settings or other weights.
        dicom: DICOM objects too, beside the series that a result was made from.
    """

    draws: bool = False
    overwrite: bool = False
    dicom: bool = False


PLAIN = Keeping()
"""Estimates, intervals, evidence, findings and provenance, as NIfTI and JSON."""


@dataclass(frozen=True)
class Job:
    """One run of a task.

    Args:
        name: of the case, `sub-01_ses-1`.
        study: of the patient.
        task: with the settings for this job.
        images: day and name of each that it takes.
        made: channels that it makes of them.
        lesions: name of the label map of lesions; empty where there is none.
        folder: where its result goes.
    """

    name: str
    study: Study
    task: Task
    images: tuple[tuple[float, str], ...]
    made: tuple[str, ...]
    lesions: str
    folder: Path

    def subject(self) -> Study:
        """Read the images; those of a whole study are read when asked for."""
        return (
            whole(self.study, self.images)
            if self.task.takes == "study"
            else read(self.study, self.images, self.lesions)
        )


@dataclass(frozen=True)
class Outcome:
    """What came of one job.

    Args:
        case: `sub-01_ses-1`; `sub-01` of a whole study.
        status: `kept`: it was there already, from the same input, settings and weights; `blocked`
            by the policy.
        made: channels of the result.
        images: what it was made from.
        folder: of the result, below the output.
        reason: why it failed, was blocked or not run; empty otherwise.
        findings, absent: of the result.
        seconds: it took.
        notes: what was chosen among several images of one contrast, and what was left out.
    """

    case: str
    status: Status
    made: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    folder: str = ""
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst verdict of the findings."""
        return worst(self.findings)


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst verdict; nothing where there is no finding."""
    return max((finding.verdict for finding in findings), key=SEVERITY.index, default="")


def attempt(
    job: Job,
    where: Path,
    seed: int,
    progress: Progress,
    keeping: Keeping,
    terms: Terms,
) -> Outcome:
    """Run one job unless its result is there; an error becomes an outcome."""
    begun, images = time.perf_counter(), tuple(dict.fromkeys(name for _, name in job.images))
    outcome = Outcome(
        job.name,
        "failed",
        job.made,
        images,
        job.folder.relative_to(where).as_posix(),
        notes=notes_of(job.study, job.images),
    )
    try:
        subject = job.subject()
        kept = _kept(job, subject, seed)
        if isinstance(kept, bids.Record) and not to_be_overridden(kept, terms):
            made = tuple(kept.image["channels"])
            if keeping.dicom:
                dicom_folder.write(job.folder, job.study, job.images, terms)
            return dataclasses.replace(
                outcome, status="kept", made=made, findings=kept.findings, absent=kept.absent
            )
        if isinstance(kept, str) and kept and not keeping.overwrite:
            reason = (
                f"The output holds another result of this case: {kept}. Give another folder, or "
                "--overwrite."
            )
            return dataclasses.replace(outcome, reason=reason)
        derived = job.task(subject, seed, progress)
        del subject
        _save(derived, job, where, keeping, terms)
    except PolicyError as error:
        return dataclasses.replace(outcome, status="blocked", reason=str(error))
    except (VeridicalError, OSError) as error:
        return dataclasses.replace(outcome, reason=str(error))
    except Exception as error:  # an error of ours in one case must not lose the others
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = (
            f"Unexpected {type(error).__name__} in {Path(frame.filename).name}, line "
            f"{frame.lineno}. Please report it."
        )
        return dataclasses.replace(outcome, reason=reason)
    return dataclasses.replace(
        outcome,
        status="done",
        made=derived.image.channels,
        findings=derived.findings,
        absent=derived.absent,
        seconds=round(time.perf_counter() - begun, 1),
    )


def _kept(job: Job, subject: Study, seed: int) -> bids.Record | str:
    """Return the record of a whole result of the same input, settings, weights and seed; else what
    differs; else nothing.
    """
    try:
        record = bids.load_provenance(job.folder)
    except ProvenanceError:
        return ""
    if not bids.is_whole(job.folder, record) or len(record.steps) != 1:
        return ""
    step = record.steps[0]
    model, weights = job.task.model_and_weights()
    wanted: dict[str, tuple[Any, Any]] = {
        "task": (step.task, job.task.name),
        "settings": (dict(step.settings), dataclasses.asdict(job.task)),
        "model": (step.model, model),
        "weights": (step.weights, weights),
        "seed": (step.seed, seed),
        "input": (dict(step.inputs), provenance.inputs(subject)),
    }
    differing = [what for what, (before, now) in wanted.items() if before != now]
    return f"its {', '.join(differing)} differ" if differing else record


def _save(derived: Result, job: Job, where: Path, keeping: Keeping, terms: Terms) -> None:
    """Write a result; what an interrupted run left half-written goes first."""
    for left in job.folder.parent.glob(f".{job.folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    for left in job.folder.glob(f".{job.folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    if derived.draws is not None and not keeping.draws:
        absent = {
            **derived.absent,
            "draws": "Not written for a folder unless asked for (--keep-draws); rerun makes them again.",  # noqa: E501
        }
        derived = dataclasses.replace(derived, draws=None, absent=absent)
    own = job.folder.relative_to(where).parts[0]
    if not own.startswith("sub-"):
        bids.describe(where / own)
    derived.save(job.folder, job.name, overwrite=True, described=False, terms=terms)
    if keeping.dicom:
        dicom_folder.write(job.folder, job.study, job.images, terms)
