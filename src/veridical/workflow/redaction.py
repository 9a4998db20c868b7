"""A folder of DICOM files without identities: new files, a report of what was changed, and nothing
of the names that the old files had.
"""

from __future__ import annotations

import json
import secrets
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from veridical import __version__
from veridical.errors import FormatError, GeometryError, InputError
from veridical.io import redact
from veridical.io.dicom import slices_of, volume
from veridical.io.dicom_file import dataset_of
from veridical.io.dicom_series import LPS, files_of, read_header, series_of
from veridical.io.dicom_slice import DAMAGE
from veridical.io.dicom_stacks import stack_of
from veridical.io.guards import replacing, write_text
from veridical.io.redact import Redaction
from veridical.task import Progress, silent
from veridical.tasks.deface import Deface
from veridical.types import Array, Study

REPORT = "redaction.json"
HEADS = ("HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "WHOLEBODY", "")
"""Parts of the body that may show a face; nothing where the header does not say."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
NO_VOLUME = "its series makes no volume, so that no face can be removed"
FACES = (
    "Images of heads show faces: {0}. Remove them with --deface, unless they were removed before."
)


@dataclass
class Redacted:
    """What came of it.

    Args:
        files: that were written.
        changed: `keyword: action` -> number of attributes.
        left_out: reason -> number of files.
        notes: what a person still has to look at, one sentence each.
    """

    files: list[Path] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Face:
    """Where the face lies in one image: `mask` `(row, column)`, and the value that takes its
    place.
    """

    mask: Array
    value: float


def redact_folder(
    source: str | Path,
    folder: str | Path,
    how: Redaction | None = None,
    *,
    deface: bool = False,
    progress: Progress = silent,
) -> Redacted:
    """De-identify all DICOM files of a folder.

    Args:
        source: folder or file.
        folder: for the new files, `VER-.../0003-CT/00001.dcm`, and `redaction.json`; it must not
            hold a redaction yet.
        how: key and options; a random key, which nobody knows afterwards, where it is None.
        deface: replace the face by air in every image series; a series that makes no volume is left
            out.
        progress: called after every file.

    Raises:
        InputError: there is no DICOM file, or `folder` holds a redaction.
        FormatError: a file is damaged.
        MissingExtra: dicom-anonymizer is not installed.
    """
    target, how = Path(folder), how or Redaction(secrets.token_hex(16))
    if (target / REPORT).exists():
        raise InputError(f"{target} holds a redaction already. Give another folder.")
    files, found = files_of(source), Redacted()
    if not files:
        raise InputError(f"{source} holds no DICOM file. Check the path.")
    faces = _faces(files, found) if deface else None
    series, seen = dict[str, int](), set[str]()
    for count, file in enumerate(files):
        one = _read(file)
        why = redact.refusal(one) or _undone(one, faces)
        if why:
            found.left_out[why] += 1
            continue
        number = series.setdefault(str(one.get("SeriesInstanceUID")), len(series) + 1)
        if faces is None and "PixelData" in one and one.get("BodyPartExamined", "") in HEADS:
            seen.add(str(one.get("Modality", "")))
        _change(one, how, faces, found)
        place = target / one.PatientID / f"{number:04}-{one.get('Modality', 'OT')}"
        found.files.append(place / f"{count + 1:05}.dcm")
        _write(one, found.files[-1])
        progress("de-identifying", count + 1, len(files))
    if seen:
        found.notes.append(FACES.format(", ".join(sorted(seen))))
    write_text(target / REPORT, _report(found, how, deface))
    return found


def _change(
    one: Any, how: Redaction, faces: Mapping[str, Face | None] | None, found: Redacted
) -> None:
    """Redact an object, and count what was done."""
    face = (faces or {}).get(str(one.SOPInstanceUID))
    if face is not None:
        _cover(one, face)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for (name, action), times in redact.deidentify(one, how).items():
            found.changed[f"{name}: {action}"] += times
        if face is not None:
            redact.face_removed(one)
            found.changed["PixelData: face removed"] += 1


def _undone(one: Any, faces: Mapping[str, Face | None] | None) -> str:
    """Say why an image stays away although faces were asked to be removed."""
    shown = faces is not None and "PixelData" in one and one.get("ImageOrientationPatient")
    return NO_VOLUME if shown and str(one.SOPInstanceUID) not in (faces or {}) else ""


def _read(file: Path) -> Any:
    header = read_header(file)  # refuses what is no DICOM
    try:
        one = dataset_of(file)
    except DAMAGE as error:
        raise FormatError(
            f"{file} is damaged ({error}). Copy it again, or move it away."
        ) from error
    kind = str(getattr(header.file_meta.get("MediaStorageSOPClassUID"), "name", ""))
    if not one.get("SOPInstanceUID") or (
        kind.endswith("Image Storage") and not any(tag in one for tag in PIXELS)
    ):
        raise FormatError(f"{file} is truncated. Copy it again, or move it away.")
    return one


def _write(one: Any, file: Path) -> None:
    import pydicom
    from pydicom import config

    with replacing(file) as temporary, config.disable_value_validation():
        pydicom.dcmwrite(temporary, one, enforce_file_format=True)


def _faces(files: Sequence[Path], found: Redacted) -> dict[str, Face | None]:
    """Return instance UID -> its face; None where its volume shows none. Images of no volume are
    not in it.
    """
    held: dict[str, Face | None] = {}
    by_series: dict[str, list[Path]] = {}
    for file in files:
        header = read_header(file)
        if header.get("Rows") and header.get("ImagePositionPatient"):
            by_series.setdefault(str(header.get("SeriesInstanceUID")), []).append(file)
    for members in by_series.values():
        try:
            held |= _of_series(members, found)
        except (InputError, GeometryError, FormatError):
            continue
    return held


def _of_series(files: Sequence[Path], found: Redacted) -> dict[str, Face | None]:
    """Return the faces in the images of a series.

    Raises:
        InputError: it makes no volume, or one that had to be resampled.
    """
    series = series_of(files)[0]
    image = volume(stack_of(slices_of(files)[0], None, Path(str(series)))[0], Path(str(series)))
    if "gantry_tilt" in image.header:
        raise InputError("A tilted gantry: the volume is resampled, the images are not.")
    uids = [str(header.SOPInstanceUID) for header in series.headers]
    try:
        clean = Deface().apply(Study.of(image), 0, silent).image
    except InputError as error:
        found.notes.append(f"{series}: {error}")
        return dict.fromkeys(uids)
    mask = np.asarray(clean.data[0] != image.data[0])
    inverse, faces = np.linalg.inv(LPS @ image.geometry.affine), dict[str, Face | None]()
    for place in series.places:
        index = round(float((inverse @ [*place.position, 1.0])[2]))
        plane = mask[:, :, index].T
        value = float(clean.data[0, :, :, index].T[plane].mean()) if plane.any() else 0.0
        faces[str(place.header.SOPInstanceUID)] = Face(plane, value)
    return faces


def _cover(one: Any, face: Face) -> None:
    """Write the value of air into the stored pixels of a face."""
    if one.file_meta.TransferSyntaxUID.is_compressed:
        one.decompress()
    stored = np.array(one.pixel_array)
    slope = float(one.get("RescaleSlope") or 1)
    air = (face.value - float(one.get("RescaleIntercept") or 0)) / slope
    limits = np.iinfo(stored.dtype)
    stored[face.mask] = np.clip(round(air), limits.min, limits.max)
    one.PixelData = stored.tobytes()


def _report(found: Redacted, how: Redaction, deface: bool) -> str:
    """Return the report as JSON: no value of any attribute is in it."""
    content = {
        "format": "veridical-redaction-1",
        "veridical": __version__,
        "profile": "DICOM PS3.15 annex E, Basic Application Level Confidentiality Profile, 2026c",
        "options": {**{k: v for k, v in asdict(how).items() if k != "key"}, "deface": deface},
        "files": len(found.files),
        "changed": dict(sorted(found.changed.items())),
        "left_out": dict(found.left_out),
        "notes": found.notes,
    }
    return json.dumps(content, indent=2) + "\n"


def describe(found: Redacted) -> Iterator[str]:
    """Yield what came of it, line by line."""
    yield f"{len(found.files)} files, {sum(found.changed.values())} attributes changed"
    yield from (f"left out: {count} files, since {why}" for why, count in found.left_out.items())
    yield from (f"look at: {note}" for note in found.notes)
