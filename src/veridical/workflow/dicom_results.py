"""Results as DICOM: a derived series, Parametric Maps, segmentations and a Structured Report beside
the series that a result was made from.

The policy is asked before anything is written, and the ledger gets its line. The same result gives
the same bytes under the same UIDs, so that writing or sending it again changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import InputError
from veridical.governance import stored
from veridical.governance.admission import admit
from veridical.io import bids
from veridical.io.dicom_images import derived_series
from veridical.io.dicom_maps import Where, parametric_map, segmentation
from veridical.io.dicom_objects import DerivedJob, job_of
from veridical.io.dicom_report import report
from veridical.io.dicom_series import SourceSeries, chosen, series_of
from veridical.io.dicom_therapy import dose, structure_set
from veridical.io.guards import move, permit
from veridical.io.stored_results import stored_result
from veridical.terms import ENVIRONMENT, Terms
from veridical.types import Result

IMAGES = ("HU", "a.u.", "Bq/mL", "counts", "counts/s")
"""Units of what is written as CT, MR or PET images, beside SUV; other quantities are maps."""
PIXELS = ("PixelData", "FloatPixelData")
STEP = 10
"""Series numbers from one channel to the next."""


def write(
    result: Result | str | Path,
    source: str | Path | Iterable[str | Path],
    folder: str | Path,
    *,
    terms: Terms = ENVIRONMENT,
    mark: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write a result as DICOM objects beside its source.

    Args:
        result: in memory, or the folder of a stored one.
        source: folders or files of the DICOM series that it was made from.
        folder: for the objects; made when missing. Each series gets a folder in it.
        terms: policy, ledger and override.
        mark: burn `RESEARCH ONLY` into a corner of the estimate, and `SYNTHETIC` where it is.
        overwrite: replace the objects of another result in `folder`.

    Returns:
        The files, in the order of series and instances.

    Raises:
        PolicyError: the policy blocks it; nothing is written.
        GeometryError: the result lies in none of the source series.
        InputError: no DICOM image in `source`, or `folder` holds other files of these names.
        FormatError: NaN or infinities in the result.
        ProvenanceError: the stored result is not whole.
        MissingExtra: highdicom is not installed.
    """
    from pydicom import config

    series, target = series_of(source), Path(folder)
    admission = None
    if isinstance(result, Result):
        admission = admit(result, str(series[0].first.StudyInstanceUID), terms)
    else:
        result = _read(Path(result), terms)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:40]}.") as name:
        made = Path(name)
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names and texts that the source already has
            hashes = {
                file: _encoded(one, made / file)
                for part, whole in _parts(result)
                for file, one in _objects(whole, series, part, mark)
            }
        new, other = _compared(hashes, target, overwrite)
        if admission is not None and new:
            admission.seal(result, _hash(repr(sorted(hashes.items())).encode()), "dicom")
        for file in new:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            move(made / file, target / file)
        for file in other:
            (target / file).unlink()
    return [target / file for file in hashes]


def _read(folder: Path, terms: Terms) -> Result:
    """Read a stored result that today's policy lets pass."""
    stored.standing(stored.whole(folder), terms)
    below = sorted(one.parent for one in folder.glob(f"*/{bids.PROVENANCE}"))
    also = {one.name: _read(one, terms) for one in below}
    return replace(stored_result(folder), also=also)


def _parts(result: Result, name: str = "") -> Iterator[tuple[str, Result]]:
    """Yield a result and those that it holds besides, by name."""
    yield name, result
    for key, other in result.also.items():
        whole = replace(other, steps=other.steps or result.steps)
        yield from _parts(whole, f"{name}{key}-")


def _objects(
    result: Result, series: list[SourceSeries], part: str, mark: bool
) -> Iterator[tuple[str, Any]]:
    """Yield every object of a result with the name of its file."""
    image = result.image
    job = job_of(result, {"part": part}, series, mark)
    first = chosen(series, image.geometry, _modality(image.channels[0]))
    evidence: list[Any] = [header for one in series for header in one.headers]
    for index, channel in enumerate(image.channels):
        for role, objects in _of_channel(result, index, job, first, mark):
            place = f"{part}{_plain(channel)}-{role}"
            for number, one in enumerate(objects, 1):
                yield f"{place}/{number:04}.dcm", one
                for tag in PIXELS:
                    one.pop(tag, None)  # written by now; the report needs the header alone
            evidence += objects
    if result.findings or result.interval or result.evidence:
        where = Where(job, first, f"{part}report", 90, image.channels)
        yield f"{part}report/0001.dcm", report(result, where, evidence)


def _of_channel(
    result: Result, index: int, job: DerivedJob, series: SourceSeries, mark: bool
) -> Iterator[tuple[str, list[Any]]]:
    """Yield role and objects of one channel: estimate, interval width, evidence."""
    image, band, parts = result.image, result.interval, result.evidence
    channel, offset = image.channels[index], 1 + STEP * index
    units = image.units_of(channel)

    def where(role: str, number: int) -> Where:
        return Where(job, series, f"{channel} {role}", offset + number, (channel,))

    if units == "label":
        names = _names(result)
        for role, number, made in (
            ("segmentation", 0, segmentation),
            ("structures", 3, structure_set),
        ):
            yield role, [made(image[channel], image.geometry, names, where(role, number))]
    elif units == "Gy" and series.plan is not None:
        yield "dose", [dose(image[channel], image.geometry, series.plan, where("dose", 0))]
    elif units in IMAGES or units.startswith("SUV"):
        yield "estimate", derived_series(image, channel, job, series, offset, mark)
    else:
        place = where("map", 0)
        yield "map", [parametric_map(image[channel], image.geometry, "estimate", units, place)]
    if band is not None and units != "label":
        wide = np.abs(np.asarray(band.upper[index]) - np.asarray(band.lower[index]))
        place = where("interval width", 1)
        yield "interval", [parametric_map(wide, image.geometry, "width", units, place)]
    if parts is not None and parts.map is not None:
        place = where("evidence", 2)
        yield "evidence", [parametric_map(parts.map[index], image.geometry, "evidence", "1", place)]


def _names(result: Result) -> dict[int, str]:
    """Return the names of labels: the image's own, else those that a finding lists."""
    said = [result.image.header.get("labels"), *(f.evidence.get("labels") for f in result.findings)]
    found = next((one for one in said if isinstance(one, dict) and one), {})
    return {int(number): str(name) for number, name in found.items()}


def _modality(channel: str) -> str:
    return {"CT": "CT", "PET": "PT"}.get(channel, "MR")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("._") or "channel"


def _encoded(one: Any, file: Path) -> str:
    """Write an object and return the hash of its bytes."""
    import pydicom

    file.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(file, one, enforce_file_format=True)
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    permit(file, 0o666)
    return _hash(file.read_bytes())


def _compared(hashes: dict[str, str], folder: Path, overwrite: bool) -> tuple[list[str], list[str]]:
    """Return which files are not there yet with these bytes, and which there do not belong to the
    result.

    Raises:
        InputError: the folder holds other objects, and they are not to be replaced.
    """
    there = {str(one.relative_to(folder)): one for one in folder.glob("*/*.dcm")}
    same = {name for name, one in there.items() if hashes.get(name) == _hash(one.read_bytes())}
    other = sorted(set(there) - same)
    if other and not overwrite:
        raise InputError(
            f"{folder} already holds {len(other)} other objects, for instance {other[0]}. Give "
            "another folder, or overwrite=True (--overwrite)."
        )
    return [name for name in hashes if name not in same], [n for n in other if n not in hashes]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
