"""Parts of a study as the input of a task: one image, the images of a visit on one grid, or the
patient; read again later.

`Study.source` says what was taken, so that the same part can be read again from the record of a
result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from veridical.errors import InputError, ProvenanceError
from veridical.io.assemble import stacked
from veridical.layouts.base import Visit
from veridical.layouts.discovery import studies
from veridical.types import Image, Measurement, Study

LESION = re.compile(r"(?:lesions?|tumou?rs?)(?![a-z])", re.I)
"""How label maps of lesions are called."""


def visit_of(study: Study, day: float) -> Visit:
    """Return a visit of a study on disk; those in memory become one without entries."""
    visit = study.visits[day]
    if not isinstance(visit, Visit):
        raise InputError(
            f"The study of {study.id} is in memory, not in a folder; give it to the task as it is."
        )
    return visit


def lesions_of(visit: Visit) -> str:
    """Return the name of the label map of lesions; empty where there is none."""
    return next((name for name in visit.names("label") if LESION.search(name)), "")


def case_name(study: Study, day: float | None = None, subject: str = "") -> str:
    """Return the BIDS entities of a patient, or of one of his visits: `sub-01_ses-1`.

    Args: study: its id gives the subject where the data set is BIDS; of other ids letters and
        digits are kept. day: of the visit. subject: to use in place of that.
    """
    known = re.fullmatch(r"sub-[A-Za-z0-9]+", study.id) is not None
    subject = subject or (
        study.id if known else f"sub-{re.sub(r'[^A-Za-z0-9]', '', study.id) or 'x'}"
    )
    if day is None:
        return subject
    paths = [entry.path for entry in visit_of(study, day).entries.values()]
    session = next(
        (match[0] for path in paths if (match := re.search(r"ses-[A-Za-z0-9]+", path))), ""
    )
    session = session or (f"ses-{day:g}".replace(".", "p") if len(study.visits) > 1 else "")
    return f"{subject}_{session}" if session else subject


def notes_of(study: Study, images: Sequence[tuple[float, str]]) -> tuple[str, ...]:
    """Return what was chosen for these images among what, and what was left out of their visits."""
    names = [(day, name.split(".")[0]) for day, name in images] + [(day, "") for day, _ in images]
    found = [visit_of(study, day).notes.get(name, "") for day, name in names]
    return tuple(dict.fromkeys(note for note in found if note))


def read(study: Study, images: Sequence[tuple[float, str]], lesions: str = "") -> Study:
    """Read images of one visit as a study of that visit, on the grid of the first; or one raw scan.

    Args:
        study: on disk.
        images: day and name of each.
        lesions: name of a label map of lesions, which becomes the channel `lesions`.

    Raises:
        InputError: one cannot be read, or they do not go together.
    """
    day = images[0][0]
    names, visit = [name for _, name in images], visit_of(study, day)
    subjects = [visit[name] for name in names]
    mask = visit[lesions] if lesions else None
    subject: Image | Measurement = subjects[0]
    if len(names) > 1 or mask is not None:
        found = [one for one in subjects if isinstance(one, Image)]
        if len(found) < len(subjects) or isinstance(mask, Measurement):
            raise InputError(
                f"{case_name(study, day)} holds raw data among {', '.join(names)}; only images can "
                "stand beside each other."
            )
        subject = stacked(found, mask)
    strength = study.covariates.get("field")
    header = dict(subject.header) | (
        {"field": float(strength)} if isinstance(strength, int | float) else {}
    )
    said = tuple(str(note) for one in subjects for note in one.header.get("notes", ()))
    notes = tuple(dict.fromkeys((*notes_of(study, images), *said)))
    files = tuple(visit.entries[name].path for name in (*names, *([lesions] if lesions else [])))
    source = {**study.source, "images": tuple(images), "lesions": lesions, "files": files}
    whole = Study.of(replace(subject, header=header | {"notes": notes, "source": source}))
    return replace(
        whole, id=study.id, covariates=study.covariates, report=study.report, genes=study.genes
    )


def whole(study: Study, images: Sequence[tuple[float, str]]) -> Study:
    """Return the study of a patient with these images alone, day and name of each; they are read
    when asked for.
    """
    days = dict.fromkeys(day for day, _ in images)
    visits = {
        day: visit_of(study, day).only(name for when, name in images if when == day) for day in days
    }
    files = tuple(visits[day].entries[name].path for day, name in images)
    source = {**study.source, "images": tuple(images), "whole": True, "files": files}
    return replace(study, visits=visits, notes=notes_of(study, images), source=source)


def from_record(record: Mapping[str, Any]) -> Study:
    """Read again what `Study.source` of `read` or `whole` noted.

    Raises:
        ProvenanceError: it is not there any more.
        InputError: it cannot be read.
    """
    images = [(float(day), str(name)) for day, name in record["images"]]
    wanted = [*images, *((images[0][0], name) for name in [record.get("lesions")] if name)]
    study = next(
        (one for one in studies(record["path"], record["layout"]) if one.id == record["patient"]),
        None,
    )
    for day, name in wanted:
        if study is None or day not in study.visits:
            raise ProvenanceError(
                f"{record['path']} holds no visit {day:g} of {record['patient']} any more. Restore "
                "it."
            )
        if name not in study.visits[day]:
            raise ProvenanceError(
                f"{case_name(study, day)} in {record['path']} has no {name} any more. Restore the "
                "files."
            )
    assert study is not None, "a record names one image or more"
    again = (
        whole(study, images)
        if record.get("whole")
        else read(study, images, record.get("lesions", ""))
    )
    if again.source["files"] != tuple(record["files"]):
        raise ProvenanceError(
            f"{record['path']} now gives {', '.join(again.source['files'])}; the record names "
            f"{', '.join(record['files'])}. "
            "Restore the files."
        )
    return again
