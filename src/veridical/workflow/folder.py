"""A task over a whole folder: every visit of every patient is a case; what is there already is kept, what fails is told.

The output is a BIDS data set of derivatives: `sub-01/[ses-1/]anat/...`, a `provenance.json` with each result, `cases.tsv` and
`summary.json`. Tasks that take one image at a time make one such data set for each contrast: `T1w/sub-01/anat/...`.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from veridical import provenance
from veridical.audit.age_effect import age_effect
from veridical.errors import InputError, ProvenanceError, VeridicalError
from veridical.io import bids
from veridical.io.guards import replacing
from veridical.layouts.folder_cases import Case, cases
from veridical.task import Progress, Task, silent
from veridical.types import Finding, Image, Measurement, Result, Study

FORMAT = "veridical-folder-1"
SUMMARY, TABLE = "summary.json", "cases.tsv"
TYPES = {"CT": "ct", "PET": "pet"}
"""Channel -> folder of a subject; all others lie in `anat`."""
ORDER = ("fail", "warn", "pass", "not_run")
CHECKS = ("consistency", "scope", "pathology", "biology")
Status = Literal["done", "kept", "nothing to do", "failed"]


@dataclass(frozen=True)
class Job:
    """One run of a task: which images of a case it takes, what it makes of them, and where its result goes."""

    case: Case
    task: Task
    images: tuple[str, ...]
    made: tuple[str, ...]
    lesions: str
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What came of one job.

    Args:
        case: `sub-01_ses-1`.
        status: `kept`: it was there already, from the same input, settings and weights.
        made: channels of the result.
        images: what it was made from.
        folder: of the result, below the output.
        reason: why it failed or was not run; empty otherwise.
        findings, absent: of the result.
        seconds: it took.
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

    @property
    def verdict(self) -> str:
        """The worst verdict of the findings."""
        return worst(self.findings)


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst verdict; nothing where there is no finding."""
    return min((finding.verdict for finding in findings), key=ORDER.index, default="")


def run_folder(
    task: Task,
    root: str | Path,
    output: str | Path,
    seed: int = 0,
    progress: Progress = silent,
    contrasts: Sequence[str] = (),
    keep_draws: bool = False,
    overwrite: bool = False,
) -> list[Outcome]:
    """Run a task on every case of a folder, one in memory at a time.

    Args:
        task: with its settings.
        root: folder of a data set whose layout is known.
        output: for the results; made when missing.
        seed: the same for every case.
        progress: told after every case, and within each by the task.
        contrasts: images to use; all that fit when empty.
        keep_draws: write the draws too, which take most of the space.
        overwrite: replace results in the output that came of another input, other settings or other weights.

    Returns:
        an outcome for each job. One that fails does not stop the others.

    Raises:
        InputError: nothing in the folder fits the task.
    """
    where, outcomes, found = Path(output), list[Outcome](), cases(root)
    todo = list(_jobs(task, found, contrasts, where, outcomes))
    if not todo and not outcomes:
        raise InputError(f"{root} holds nothing for {task.name}. Name files by contrast: sub-01/anat/sub-01_T1w.nii.gz.")
    where.mkdir(parents=True, exist_ok=True)
    bids.describe(where)
    try:
        for index, job in enumerate(todo):
            progress(f"cases: {job.case.name}", index, len(todo))
            outcomes.append(_attempt(job, where, seed, progress, keep_draws, overwrite))
        progress("cases: all", len(todo), len(todo))
    finally:
        outcomes.sort(key=lambda outcome: (outcome.case, outcome.images))
        _summarize(task, seed, outcomes, where, group(found, outcomes))
    return outcomes


def _jobs(task: Task, found: Sequence[Case], contrasts: Sequence[str], where: Path, outcomes: list[Outcome]) -> Iterator[Job]:
    """Yield what is to be done; cases with nothing to do, or whose headers cannot be read, become outcomes at once."""
    for case in found:
        try:
            names = case.names("raw" if task.takes == "raw" else "image")
            names = tuple(name for name in names if not contrasts or name.split(".")[0] in contrasts)
            lesions = "" if task.takes == "raw" else case.lesions
            own, taken, made = task.of_visit(names) if task.takes == "visit" else (task, names, names)
        except (VeridicalError, OSError) as error:
            outcomes.append(Outcome(case.name, "failed", reason=str(error)))
            continue
        if not taken:
            held = ", ".join(names) or "no image that fits"
            outcomes.append(
                Outcome(case.name, "nothing to do", reason=f"It has {held}: nothing asked for can or must be made.")
            )
        elif task.takes == "visit":
            yield Job(case, own, taken, made, lesions, where / _place(case, made))
        else:
            alone = task.takes == "raw" and len(taken) == 1
            for name in taken:
                place = _place(case, (name,)) if alone else Path(name.replace(".", "_")) / _place(case, (name,))
                yield Job(case, own, (name,), (name,), lesions, where / place)


def _place(case: Case, made: Sequence[str]) -> Path:
    """Return the folder of a result below its data set, as in BIDS."""
    return Path(*case.name.split("_"), TYPES.get(made[0].split(".")[0], "anat"))


def _attempt(job: Job, where: Path, seed: int, progress: Progress, keep_draws: bool, overwrite: bool) -> Outcome:
    """Run one job unless its result is there; an error becomes an outcome."""
    begun, known = time.perf_counter(), (job.case.name, job.made, job.images, job.folder.relative_to(where).as_posix())
    name, made, images, folder = known
    try:
        subject = job.case.read(job.images, job.lesions)
        kept = _kept(job, subject, seed)
        if isinstance(kept, bids.Record):
            return Outcome(name, "kept", tuple(kept.image["channels"]), images, folder, "", kept.findings, kept.absent)
        if kept and not overwrite:
            reason = f"The output holds another result of this case: {kept}. Give another folder, or --overwrite."
            return Outcome(name, "failed", made, images, folder, reason)
        derived = job.task(subject, seed, progress)
        del subject
        _save(derived, job, where, keep_draws)
    except (VeridicalError, OSError) as error:
        return Outcome(name, "failed", made, images, folder, str(error))
    except Exception as error:  # an error of ours in one case must not lose the others
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"Unexpected {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}. Please report it."
        return Outcome(name, "failed", made, images, folder, reason)
    seconds = round(time.perf_counter() - begun, 1)
    return Outcome(name, "done", derived.image.channels, images, folder, "", derived.findings, derived.absent, seconds)


def _kept(job: Job, subject: Image | Measurement, seed: int) -> bids.Record | str:
    """Return the record of a whole result of the same input, settings, weights and seed; else what differs; else nothing."""
    try:
        record = bids.load_provenance(job.folder)
    except ProvenanceError:
        return ""
    if not bids.is_whole(job.folder, record) or len(record.steps) != 1:
        return ""
    step = record.steps[0]
    model, weights = job.task.model_and_weights()
    wanted: dict[str, tuple[Any, Any]] = {
        "task": (step.task, job.task.name), "settings": (dict(step.settings), dataclasses.asdict(job.task)),
        "model": (step.model, model), "weights": (step.weights, weights), "seed": (step.seed, seed),
        "input": (dict(step.inputs), provenance.inputs(Study.of(subject))),
    }  # fmt: skip
    differing = [what for what, (before, now) in wanted.items() if before != now]
    return f"its {', '.join(differing)} differ" if differing else record


def _save(derived: Result, job: Job, where: Path, keep_draws: bool) -> None:
    """Write a result; what an interrupted run left half-written goes first."""
    for left in job.folder.parent.glob(f".{job.folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    for left in job.folder.glob(f".{job.folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    if derived.draws is not None and not keep_draws:
        absent = {
            **derived.absent,
            "draws": "Not written for a folder unless asked for (--keep-draws); rerun makes them again.",
        }
        derived = dataclasses.replace(derived, draws=None, absent=absent)
    own = job.folder.relative_to(where).parts[0]
    if not own.startswith("sub-"):
        bids.describe(where / own)
    bids.save(derived, job.folder, job.case.name, overwrite=True, described=False)


def group(found: Sequence[Case], outcomes: Sequence[Outcome]) -> dict[str, Finding]:
    """Return by channel whether amounts of tissue still change with age: of patients of known age, the first visit of each."""
    known = {case.name: (place, case.patient, _age(case)) for place, case in enumerate(found)}
    aged = [one for one in outcomes if one.case in known and isinstance(known[one.case][2], int | float)]
    rows: dict[str, dict[str, tuple[float, Finding]]] = {}
    for one in sorted(aged, key=lambda outcome: known[outcome.case][0]):
        _, patient, age = known[one.case]
        for finding in (f for f in one.findings if f.check == "biology"):
            rows.setdefault(",".join(one.made), {}).setdefault(patient, (age, finding))
    return {
        channel: age_effect(
            np.array([age for age, _ in by.values()]),
            np.array([finding.evidence["before"] for _, finding in by.values()]),
            np.array([finding.evidence["after"] for _, finding in by.values()]),
        )
        for channel, by in rows.items()
    }


def _age(case: Case) -> Any:
    """Return what the tables call the age of a case."""
    return next((value for key, value in case.known.items() if key.lower() == "age"), None)


def _summarize(task: Task, seed: int, outcomes: Sequence[Outcome], where: Path, together: Mapping[str, Finding]) -> None:
    """Write `summary.json` and `cases.tsv`."""
    model, weights = task.model_and_weights()
    bids.dump(
        {
            "format": FORMAT, "task": task.name, "settings": dataclasses.asdict(task), "model": model, "weights": weights,
            "seed": seed, "counts": counts(outcomes),
            "group": {channel: dataclasses.asdict(finding) for channel, finding in together.items()},
            "cases": [{**dataclasses.asdict(one), "verdict": one.verdict} for one in outcomes],
        }, where / SUMMARY,
    )  # fmt: skip
    head = ("participant_id", "session_id", "made", "made_from", "status", "verdict", *CHECKS, "interval", "folder", "reason")
    rows = ["\t".join(head), *("\t".join(_row(one)) for one in outcomes)]
    with replacing(where / TABLE) as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _row(outcome: Outcome) -> list[str]:
    """Return one line of `cases.tsv`; `n/a` where there is nothing, as in BIDS."""
    subject, _, session = outcome.case.partition("_")
    said = {check: worst(finding for finding in outcome.findings if finding.check == check) for check in CHECKS}
    there = outcome.status in ("done", "kept")
    interval = ("absent" if "interval" in outcome.absent else "present") if there else ""
    cells = (
        subject, session, ",".join(outcome.made), ",".join(outcome.images), outcome.status, outcome.verdict,
        *said.values(), interval, outcome.folder, " ".join(outcome.reason.split()),
    )  # fmt: skip
    return [cell or "n/a" for cell in cells]


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many jobs came to each status."""
    return {status: sum(one.status == status for one in outcomes) for status in get_args(Status)}
