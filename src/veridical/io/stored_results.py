"""A result that was saved, read again with its companions and the findings it had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import ProvenanceError
from veridical.io.bids import PROVENANCE, Record, load_provenance
from veridical.io.files import read
from veridical.types import Array, Evidence, Geometry, Image, Interval, Measurement, Result, Study


def stored_result(folder: str | Path) -> Result:
    """Read a result that `Result.save` wrote.

    Args:
        folder: with the `provenance.json`.

    Returns:
        The result; of complex estimates the magnitude. `study` and `facts` are not saved.

    Raises:
        ProvenanceError: there is no whole record.
    """
    place, record = Path(folder), load_provenance(folder)
    image = _array(place, record, "estimate")
    if image is None:
        raise ProvenanceError(
            f"{place / PROVENANCE} names no estimate. Take the result again, as a whole."
        )
    units = record.image["units"]
    header = {"units": dict(units)} if isinstance(units, Mapping) else {}
    channels = tuple(record.image["channels"])
    said = record.image
    whole = Image(
        image.data,
        Geometry(tuple(said["shape"]), said["affine"], said["frame"]),
        "mixed" if header else str(units),
        channels,
        {**image.header, **header},
    )
    return Result(
        whole,
        record.kind,
        _draws(place, record, len(channels)),
        _interval(place, record),
        _evidence(place, record),
        record.findings,
        record.steps,
        dict(record.absent),
    )


def study_of(folder: str | Path) -> Study:
    """Read a result as a study: its images, and `evidence`, one channel each. Of a synthetic
    patient the evidence is 0 everywhere.

    Args:
        folder: with the `provenance.json`.

    Raises:
        ProvenanceError: there is no whole record, or the result has no map of evidence.
    """
    place, record = Path(folder), load_provenance(folder)
    source = {"path": str(place.resolve()), "result": True}
    if "estimate" not in record.files and "estimate_magnitude" not in record.files:
        return replace(_synthetic(place, record), source=source)
    found = stored_result(place)
    shares = None if found.evidence is None else found.evidence.map
    if shares is None:
        why = found.absent.get("evidence", "it was not saved")
        raise ProvenanceError(
            f"The result in {place} has no map of evidence ({why}), so nobody can say which of its "
            "regions were measured. Give the measured images instead."
        )
    image = found.image
    visit: dict[str, Image | Measurement] = {name: image.channel(name) for name in image.channels}
    visit["evidence"] = Image(shares, image.geometry, "1", image.channels)
    return Study("", {0.0: visit}, source=source)


def _synthetic(folder: Path, record: Record) -> Study:
    """Return the images of a synthetic patient."""
    visit: dict[str, Image | Measurement] = {}
    for role, entry in record.files.items():
        if role == "labels":
            continue
        units = record.image["units"]
        said = units[role] if isinstance(units, Mapping) else str(units)
        one = read(folder / entry["path"], contrast=role, units=said)
        if isinstance(one, Image):
            visit[role] = one
    if not visit:
        raise ProvenanceError(
            f"{folder / PROVENANCE} names no image. Take the result again, whole."
        )
    first = next(one for one in visit.values() if isinstance(one, Image))
    none = np.zeros((len(visit), *first.geometry.shape), np.float32)
    visit["evidence"] = Image(none, first.geometry, "1", tuple(visit))
    return Study("", {0.0: visit})


def _array(folder: Path, record: Record, role: str) -> Image | None:
    """Return the image of a role, complex ones by their magnitude; None where it was not saved."""
    said = record.files.get(role) or record.files.get(f"{role}_magnitude")
    if said is None:
        return None
    file = folder / Path(said["path"]).name
    if not file.exists():
        raise ProvenanceError(
            f"{folder / PROVENANCE} names {file.name}, which is not there. Copy the result again, "
            "as a whole."
        )
    found = read(file, **_as_written(record, role))
    if not isinstance(found, Image):
        raise ProvenanceError(f"{file} holds raw data; expected the {role} of a result.")
    return found


def _as_written(record: Record, role: str) -> dict[str, Any]:
    """Return the options that keep a reader from guessing: names and units are in the record."""
    return {} if role == "draws" else {"contrast": ",".join(record.image["channels"])}


def _draws(folder: Path, record: Record, channels: int) -> Array | None:
    found = _array(folder, record, "draws")
    if found is None:
        return None
    return found.data.reshape(-1, channels, *found.data.shape[1:])


def _interval(folder: Path, record: Record) -> Interval | None:
    lower, upper = (_array(folder, record, role) for role in ("lower", "upper"))
    if record.interval is None or lower is None or upper is None:
        return None
    return Interval(lower.data, upper.data, **record.interval)


def _evidence(folder: Path, record: Record) -> Evidence | None:
    shares, measured, unmeasured = (
        None if (one := _array(folder, record, role)) is None else one.data
        for role in ("evidence", "measured", "unmeasured")
    )
    if shares is None and measured is None and unmeasured is None:
        return None
    return Evidence(shares, measured, unmeasured)
