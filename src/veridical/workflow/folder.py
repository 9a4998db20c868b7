"""A task over a whole folder: every study gives one job or several; what is there already is kept,
what fails is told.

What is a job, the task says (`Task.takes`): an image, a raw scan, the images of a visit, or the
whole study of a patient. What was chosen among several images of one contrast, and what was left
out, stands in the result and in `cases.tsv`.

The output is a BIDS data set of derivatives: `sub-01/[ses-1/]anat/...`, a `provenance.json` with
each result, `cases.tsv` and `summary.json`. Tasks that take one image at a time make one such data
set for each contrast: `T1w/sub-01/anat/...`.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from veridical.audit.age_effect import age_effect
from veridical.errors import InputError, VeridicalError
from veridical.io import bids
from veridical.io.guards import replacing
from veridical.layouts import discovery
from veridical.layouts.base import Visit
from veridical.layouts.selection import case_name, lesions_of, notes_of, visit_of
from veridical.task import Progress, Task, silent
from veridical.terms import ENVIRONMENT, Terms
from veridical.types import Finding, Study
from veridical.workflow import dicom_folder
from veridical.workflow.cases import PLAIN, Job, Keeping, Outcome, Status, attempt, worst
from veridical.workflow.spreading import HERE, Spreading

FORMAT = "veridical-folder-1"
SUMMARY, TABLE = "summary.json", "cases.tsv"
TYPES = {"CT": "ct", "PET": "pet"}
"""Channel -> folder of a subject; all others lie in `anat`."""


def run_folder(
    task: Task,
    root: str | Path,
    output: str | Path,
    seed: int = 0,
    progress: Progress = silent,
    contrasts: Sequence[str] = (),
    keeping: Keeping = PLAIN,
    terms: Terms | None = None,
    spreading: Spreading = HERE,
) -> list[Outcome]:
    """Run a task on every study of a folder, one job in the memory of a process at a time.

    Args: task: with its settings. root: folder of a data set whose layout is known. output: for the
        results; made when missing. seed: the same for every job. progress: told after every job,
        and within each by the task. contrasts: images to use, `T1w`, or `T1w.2` for the one that
        was not chosen; all that fit when empty. keeping: what is written of each result. terms:
        policy, ledger and override; those of the environment. spreading: in which processes.

    Returns:
        an outcome for each job. One that fails does not stop the others.

    Raises:
        InputError: nothing in the folder fits the task, or DICOM is wanted of other files.
        MissingExtra: DICOM is wanted, and highdicom is not installed.
    """
    where, outcomes, data = Path(output), list[Outcome](), discovery.one(root)
    if keeping.dicom:
        dicom_folder.check(data)
    found = _named(data.studies())
    todo = list(_jobs(task, found, contrasts, where, outcomes))
    if not todo and not outcomes:
        raise InputError(
            f"{root} holds nothing for {task.name}. Name files by contrast: "
            "sub-01/anat/sub-01_T1w.nii.gz."
        )
    where.mkdir(parents=True, exist_ok=True)
    bids.describe(where)
    try:
        told = progress if spreading == HERE else silent
        run = partial(attempt, where=where, seed=seed, progress=told, keeping=keeping,
                      terms=terms or ENVIRONMENT)  # fmt: skip
        begun = time.perf_counter()
        progress("cases", 0, len(todo))
        for count, outcome in enumerate(spreading.over(run, todo, partial(_lost, where)), 1):
            outcomes.append(outcome)
            speed = 60 * count / (time.perf_counter() - begun)
            progress(f"cases: {outcome.case}, {speed:.3g} a minute", count, len(todo))
    finally:
        outcomes.sort(key=lambda outcome: (outcome.case, outcome.images))
        _summarize(task, seed, outcomes, where, group(found, outcomes), data.listing.left_out)
    return outcomes


def _named(found: Iterable[Study]) -> dict[str, Study]:
    """Return the studies by BIDS name of the patient; ids that become one name are told apart by a
    number.
    """
    named: dict[str, Study] = {}
    for study in found:
        name = case_name(study)
        names = itertools.chain((name,), (f"{name}x{number}" for number in itertools.count(2)))
        named[next(each for each in names if each not in named)] = study
    return named


def _jobs(
    task: Task,
    found: Mapping[str, Study],
    contrasts: Sequence[str],
    where: Path,
    outcomes: list[Outcome],
) -> Iterator[Job]:
    """Yield what is to be done; studies with nothing to do, or whose headers cannot be read, become
    outcomes at once.
    """
    for subject, study in found.items():
        for days in [study.days] if task.takes == "study" else [(day,) for day in study.days]:
            name = case_name(study, None if task.takes == "study" else days[0], subject)
            try:
                yield from _of_days(task, name, study, days, contrasts, where, outcomes)
            except (VeridicalError, OSError) as error:
                outcomes.append(Outcome(name, "failed", reason=str(error)))


def _of_days(
    task: Task,
    name: str,
    study: Study,
    days: Sequence[float],
    contrasts: Sequence[str],
    where: Path,
    outcomes: list[Outcome],
) -> Iterator[Job]:
    """Yield the jobs of a visit, or of all visits of a patient."""
    visits = {day: visit_of(study, day) for day in days}
    offered = [
        (day, one) for day, visit in visits.items() for one in _names(task, visit, contrasts)
    ]
    names = tuple(dict.fromkeys(one for _, one in offered))
    together = task.takes in ("visit", "study")
    own, taken, made = task.of_visit(names) if together else (task, names, names)
    images = tuple(one for one in offered if one[1] in taken)
    notes = notes_of(study, images or [(day, "") for day in days])
    if not images:
        said = " ".join(notes)
        held = ", ".join(names) or "no image that fits"
        reason = (
            said
            if said and not names
            else f"It has {held}: nothing asked for can or must be made. {said}".strip()
        )
        outcomes.append(
            Outcome(
                name,
                "failed" if said and not names else "nothing to do",
                reason=reason,
                notes=notes,
            )
        )
    elif task.takes == "study":
        labels = tuple((day, one) for day, visit in visits.items() for one in visit.names("label"))
        yield Job(name, study, own, images + labels, made, "", where / _place(name, made))
    else:
        lesions = "" if task.takes == "raw" else lesions_of(visits[days[0]])
        parts = [(images, made)] if together else [((one,), (one[1],)) for one in images]
        alone = together or (task.takes == "raw" and len(parts) == 1)
        for part, makes in parts:
            above = where if alone else where / part[0][1].replace(".", "_")
            yield Job(name, study, own, part, makes, lesions, above / _place(name, makes))


def _names(task: Task, visit: Visit, contrasts: Sequence[str]) -> tuple[str, ...]:
    """Return which images or raw scans of a visit a task is offered."""
    kinds: tuple[Literal["image", "raw"], ...] = ("raw",) if task.takes == "raw" else ("image",)
    usual = next((names for kind in kinds if (names := visit.names(kind))), ())
    if not contrasts:
        return usual
    named = tuple(name for name in visit if name in contrasts and visit.entries[name].kind in kinds)
    return named + tuple(
        name for name in usual if name not in named and name.split(".")[0] in contrasts
    )


def _lost(where: Path, job: Job, reason: str) -> Outcome:
    """Return the outcome of a job whose process died."""
    place = job.folder.relative_to(where).as_posix()
    return Outcome(job.name, "failed", job.made, folder=place, reason=reason)


def _place(name: str, made: Sequence[str]) -> Path:
    """Return the folder of a result below its data set, as in BIDS."""
    return Path(*name.split("_"), TYPES.get(made[0].split(".")[0], "anat"))


def group(found: Mapping[str, Study], outcomes: Sequence[Outcome]) -> dict[str, Finding]:
    """Return by channel whether amounts of tissue still change with age: of patients of known age,
    the first visit of each.
    """
    ages = {subject: _age(study) for subject, study in found.items()}
    names = [
        case_name(study, day, subject) for subject, study in found.items() for day in study.days
    ]
    order = {name: place for place, name in enumerate(names)}
    rows: dict[str, dict[str, tuple[float, Finding]]] = {}
    for one in sorted(outcomes, key=lambda outcome: order.get(outcome.case, 0)):
        patient = one.case.partition("_")[0]
        age = ages.get(patient)
        for finding in (
            f for f in one.findings if f.check == "biology" and isinstance(age, int | float)
        ):
            rows.setdefault(",".join(one.made), {}).setdefault(patient, (float(age or 0), finding))
    return {
        channel: age_effect(
            np.array([age for age, _ in by.values()]),
            np.array([finding.evidence["before"] for _, finding in by.values()]),
            np.array([finding.evidence["after"] for _, finding in by.values()]),
        )
        for channel, by in rows.items()
    }


def _age(study: Study) -> Any:
    """Return what the tables call the age of a patient."""
    return next((value for key, value in study.covariates.items() if key.lower() == "age"), None)


def _summarize(
    task: Task,
    seed: int,
    outcomes: Sequence[Outcome],
    where: Path,
    together: Mapping[str, Finding],
    left_out: Mapping[str, str],
) -> None:
    """Write `summary.json` and `cases.tsv`."""
    model, weights = task.model_and_weights()
    bids.dump(
        {
            "format": FORMAT,
            "task": task.name,
            "settings": dataclasses.asdict(task),
            "model": model,
            "weights": weights,
            "seed": seed,
            "counts": counts(outcomes),
            "group": {
                channel: dataclasses.asdict(finding) for channel, finding in together.items()
            },
            "left_out": dict(left_out),
            "cases": [{**dataclasses.asdict(one), "verdict": one.verdict} for one in outcomes],
        },
        where / SUMMARY,
    )
    checks = sorted({finding.check for one in outcomes for finding in one.findings})
    head = ["participant_id", "session_id", "made", "made_from", "status", "verdict", *checks]
    rows = [
        [*head, "interval", "folder", "reason", "notes"],
        *(_row(one, checks) for one in outcomes),
    ]
    with replacing(where / TABLE) as temporary:
        temporary.write_text("\n".join("\t".join(row) for row in rows) + "\n", encoding="utf-8")


def _row(outcome: Outcome, checks: Sequence[str]) -> list[str]:
    """Return one line of `cases.tsv`, a verdict for each check; `n/a` where there is nothing, as in
    BIDS.
    """
    subject, _, session = outcome.case.partition("_")
    said = {
        check: worst(finding for finding in outcome.findings if finding.check == check)
        for check in checks
    }
    there = outcome.status in ("done", "kept")
    interval = ("absent" if "interval" in outcome.absent else "present") if there else ""
    cells = (
        subject,
        session,
        ",".join(outcome.made),
        ",".join(outcome.images),
        outcome.status,
        outcome.verdict,
        *said.values(),
        interval,
        outcome.folder,
        " ".join(outcome.reason.split()),
        " ".join(" ".join(outcome.notes).split()),
    )
    return [cell or "n/a" for cell in cells]


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many jobs came to each status."""
    return {status: sum(one.status == status for one in outcomes) for status in get_args(Status)}
