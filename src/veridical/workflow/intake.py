"""Files that somebody hands in: what they are, and the subject of a task from them.

A single file or series is read as it is. Several files are images of one patient, on the grid of
the first. A folder of more than that is a data set, whose layout says which patients it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from veridical.errors import InputError
from veridical.io import assemble, dicom, files
from veridical.io.bids import PROVENANCE
from veridical.io.dicom_study import read_study
from veridical.layouts import discovery, selection
from veridical.layouts.base import Visit
from veridical.task import Task
from veridical.types import Image, Measurement, Study

MOST = 500
"""Patients of a data set that are listed."""


@dataclass(frozen=True)
class CasePart:
    """One image, label map or raw scan of a patient.

    Args:
        day: of the visit.
        name: in it.
        kind: `image`, `label` or `raw`.
        about: grid and units in words; empty where it was not read yet.
    """

    day: float
    name: str
    kind: str
    about: str = ""


@dataclass(frozen=True)
class Intake:
    """A patient, or what stands for one: how to read it, and what it holds.

    Args:
        paths: files or folder.
        options: of the reader.
        patient: id in a data set; None where the files are the subject as they are.
        parts: what it holds.
        notes: what was chosen, assumed or left out, one sentence each.
        name: to show.
    """

    paths: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    patient: str | None = None
    parts: tuple[CasePart, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = ""

    def study(self) -> Study:
        """Read it as a study; of a data set the images are read when asked for.

        Raises:
            InputError: it cannot be read, or the patient is not there any more.
        """
        if self.patient is None:
            return Study.of(_read(self.paths, self.options))
        for one in discovery.studies(self.paths[0]):
            if one.id == self.patient:
                return one
        raise InputError(f"{self.paths[0]} holds no patient {self.patient!r} any more.")

    def part(self, day: float, name: str) -> Image | Measurement:
        """Read one part.

        Raises:
            InputError: there is no such part.
        """
        visit = self.study().visit(day)
        if name not in visit:
            raise InputError(f"There is no {name!r} at day {day:g}. There is: {', '.join(visit)}.")
        return visit[name]

    def subject(self, task: Task, chosen: Sequence[tuple[float, str]] = ()) -> Study:
        """Return what a task is given.

        Args:
            task: that will run.
            chosen: day and name of the parts to use; all that fit when empty.

        Raises:
            InputError: nothing fits.
        """
        study = self.study()
        parts = chosen or fitting(self.parts, task)
        if not parts:
            held = ", ".join(part.name for part in self.parts) or "nothing"
            raise InputError(
                f"{task.name} takes {'raw data' if task.takes == 'raw' else 'images'}; this holds "
                f"{held}. Open what it takes, or choose another job."
            )
        if self.patient is None:
            day = study.days[-1]
            names = [name for when, name in parts if when == day and name in study.visits[day]]
            kept = {name: study.visits[day][name] for name in names}
            return replace(study, visits={day: kept}) if kept else study
        if task.takes == "study":
            return selection.whole(study, parts)
        lesions = selection.lesions_of(selection.visit_of(study, parts[0][0]))
        return selection.read(study, parts, "" if task.takes == "raw" else lesions)


def fitting(parts: Sequence[CasePart], task: Task) -> list[tuple[float, str]]:
    """Return the parts that a task takes when nobody chooses: of the last visit, or of all."""
    kind = "raw" if task.takes == "raw" else "image"
    usable = [part for part in parts if part.kind == kind]
    if not usable:
        return []
    last = max(part.day for part in usable)
    found = [(p.day, p.name) for p in usable if task.takes == "study" or p.day == last]
    return found if task.takes in ("visit", "study") else found[:1]


def take_in(paths: Sequence[str | Path], options: Mapping[str, Any] | None = None) -> list[Intake]:
    """Say what files are: one patient, or those of a data set.

    Args:
        paths: files of one patient, one folder, or one file.
        options: of the reader, where the files do not say it themselves.

    Raises:
        InputError: nothing that a reader or layout knows.
    """
    given = {key: value for key, value in (options or {}).items() if value not in (None, "")}
    kept = _together(tuple(str(path) for path in paths))
    only = Path(kept[0]) if len(kept) == 1 else None
    if only is not None and only.is_dir() and not dicom.recognises(only):
        if given:
            raise InputError("Options are for one file; this is a folder. Leave them out.")
        return _patients(only)
    study = Study.of(_read(kept, given))
    parts = tuple(_part(day, name, one) for day in study.days for name, one in _each(study, day))
    return [Intake(kept, given, None, parts, study.notes, Path(kept[0]).name.split(".")[0])]


def results_in(folder: Path) -> list[Path]:
    """Return the folders of stored results at a folder or right below it."""
    if (folder / PROVENANCE).is_file():
        return [folder]
    return sorted(found.parent for found in folder.glob(f"*/{PROVENANCE}"))


def _read(paths: Sequence[str], options: Mapping[str, Any]) -> Study | Image | Measurement:
    """Read one file or series, several images of one patient, or all that a folder of DICOM files
    holds of one.
    """
    if len(paths) > 1:
        return assemble.read_together(paths, **options)
    try:
        found = files.read(paths[0], **options)
    except InputError as error:
        if options or not dicom.recognises(Path(paths[0])):
            raise
        try:
            return read_study(paths[0])
        except InputError:
            raise error from None
    more = isinstance(found, Image) and found.header.get("left_out") and not options
    return read_study(paths[0]) if more else found


def _together(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folder of DICOM files that fill it, for they are slices; other paths as they
    are.
    """
    parents = {Path(path).parent for path in paths}
    if len(paths) < 2 or len(parents) > 1 or not all(dicom.recognises(Path(p)) for p in paths):
        return paths
    (folder,) = parents
    return (str(folder),) if len(list(folder.iterdir())) == len(paths) else paths


def _patients(folder: Path) -> list[Intake]:
    """Return the patients of a data set, of which no image was read yet."""
    found = []
    for study in discovery.studies(folder):
        parts = []
        for day in study.days:
            visit = study.visits[day]
            if isinstance(visit, Visit):
                entries = visit.entries.items()
                parts += [CasePart(day, n, e.kind) for n, e in entries if e.kind != "object"]
        name = study.id or folder.name
        found.append(Intake((str(folder),), {}, study.id, tuple(parts), study.notes, name))
        if len(found) == MOST:
            break
    return found


def _each(study: Study, day: float) -> Iterator[tuple[str, Image | Measurement]]:
    yield from study.visits[day].items()


def _part(day: float, name: str, one: Image | Measurement) -> CasePart:
    if isinstance(one, Measurement):
        shape = " x ".join(map(str, one.data.shape))
        return CasePart(day, name, "raw", f"{one.operator.name}, {shape}; {one.geometry}")
    units = one.units_of(one.channels[0])
    return CasePart(day, name, "label" if units == "label" else "image", f"{units}; {one.geometry}")
