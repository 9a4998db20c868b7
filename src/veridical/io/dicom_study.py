"""All DICOM objects of one patient as a study: image series, doses, segmentations, structure sets
and plans, by the day of their studies.

Every volume keeps its own grid. Masks of a structure set lie on the grid of the series that they
were drawn on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from veridical.errors import GeometryError, InputError
from veridical.io.dicom import slices_of, volume
from veridical.io.dicom_series import PLAN, files_of, read_header
from veridical.io.dicom_stacks import stacks_of
from veridical.io.dicom_structures import STRUCTURE_SET, plan, structures
from veridical.io.dicom_volumes import KINDS, volume_of
from veridical.io.dicom_zip import holds_dicom, unpacked
from veridical.io.guards import BUDGET, within
from veridical.types import Image, Study


@dataclass
class _Parts:
    """What was read: images by day and series, and what is to be said."""

    visits: dict[float, dict[str, Image]] = field(default_factory=dict)
    grids: dict[str, Image] = field(default_factory=dict)
    plans: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, day: float, image: Image) -> None:
        """Put each channel of an image into a visit under a name that is not taken."""
        visit = self.visits.setdefault(day, {})
        self.notes += image.header.get("notes", ())
        for channel in image.channels:
            name, number = channel, 2
            while name in visit:
                name, number = f"{channel}.{number}", number + 1
            visit[name] = image.channel(channel) if len(image.channels) > 1 else image


def read_study(
    source: str | Path | Iterable[str | Path], *, allow_gaps: bool = False, budget: int = BUDGET
) -> Study:
    """Read all DICOM files of one patient.

    Args:
        source: folder (with those below it), zip archive, or files.
        allow_gaps: interpolate where slices are missing.
        budget: bytes of memory that each volume may take.

    Returns:
        Visits by days since the first study. An image series is called by its contrast or modality,
        `T1w.2` for a second one and for a second stack of one (echo, time, direction); a dose
        `dose`; segmentations are label maps; each structure is a mask called by its name. Plans are
        `covariates["plans"]`. What could not be read is a note.

    Raises:
        InputError: files of several patients, or nothing that can be read.
        FormatError: a file is damaged.
    """
    parts, series, others = _Parts(), dict[tuple[str, str], list[Path]](), list[tuple[str, Path]]()
    days, patients = dict[str, date | None](), set[str]()
    with TemporaryDirectory(prefix="veridical-study-") as name:
        for file in _unzipped(files_of(source), Path(name), budget):
            header = read_header(file)
            patients.add(str(header.get("PatientID") or ""))
            day = str(header.get("StudyDate") or "")
            days[day] = _date(day)
            if str(header.get("SOPClassUID")) in (*KINDS, STRUCTURE_SET, PLAN):
                others.append((day, file))
            elif header.get("Rows"):
                series.setdefault((day, str(header.get("SeriesInstanceUID"))), []).append(file)
        if len(patients) > 1:
            raise InputError(
                f"The files are of {len(patients)} patients; expected one. Read a data set of "
                "several as a folder: veridical datasets."
            )
        first = min((one for one in days.values() if one), default=None)
        since = {
            day: float((one - first).days) if one and first else 0.0 for day, one in days.items()
        }
        for (day, uid), files in series.items():
            _read_series(parts, since[day], uid, files, allow_gaps, budget)
        for day, file in others:
            _read_object(parts, since[day], file, budget)
    if not parts.visits:
        raise InputError(f"Nothing was read. {' '.join(parts.notes)}".strip())
    covariates = {"plans": tuple(parts.plans)} if parts.plans else {}
    return Study("", parts.visits, covariates, notes=tuple(dict.fromkeys(parts.notes)))


def _unzipped(files: list[Path], folder: Path, budget: int) -> list[Path]:
    """Return files, those of zip archives unpacked below a folder."""
    found = []
    for number, file in enumerate(files):
        if not holds_dicom(file):
            found.append(file)
            continue
        with unpacked(file, budget) as place:
            kept = folder / f"{number}"
            place.rename(kept)
            place.mkdir()
        found += sorted(kept.iterdir())
    return found


def _read_series(
    parts: _Parts, day: float, uid: str, files: list[Path], allow_gaps: bool, budget: int
) -> None:
    """Read the volumes of a series, the first of which is the grid of its structures; what makes
    none is a note.
    """
    label = Path(f"a series of {len(files)} files")
    images, _ = slices_of(files)
    within(sum(one.size[0] * one.size[1] for one in images) * 8, budget, files[0])
    stacks, copies = stacks_of(images, label)
    parts.notes += [copies] if copies else []
    for stack in stacks:
        try:
            image = volume(stack, label, allow_gaps=allow_gaps, budget=budget)
        except GeometryError as error:
            parts.notes.append(f"Left out: {error}")
            continue
        parts.grids.setdefault(uid, image)
        parts.add(day, image)


def _read_object(parts: _Parts, day: float, file: Path, budget: int) -> None:
    """Read a dose, segmentation, map, structure set or plan."""
    kind = str(read_header(file).SOPClassUID)
    if kind == PLAN:
        parts.plans.append(plan(file))
    elif kind == STRUCTURE_SET:
        drawn = structures(file)
        grid = next((parts.grids[uid] for uid in drawn.series if uid in parts.grids), None)
        if grid is None:
            parts.notes.append("A structure set was left out: its image series is not there.")
            return
        try:
            parts.add(day, drawn.on(grid.geometry))
        except GeometryError as error:
            parts.notes.append(f"A structure set was left out: {error}")
    elif (image := volume_of(file, None, budget)) is not None:
        parts.add(day, image)


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None
