"""What the values of an image say against its units: label maps that pass for images, CT that is
not in HU, PET not in SUV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from veridical.errors import UnitsError
from veridical.io.contrast import UNKNOWN
from veridical.types import Array, Image

MANY_LABELS = 256
"""Different values above which an array of whole numbers is no label map."""
FEW_LABELS = 3
"""Different values up to which it is one, however small its regions are."""
ALIKE = 0.75
"""Share of labelled voxels whose neighbour has the same label; images with noise stay well below
it.
"""
SAMPLE = 50_000
"""Voxels that are looked at first; most images are told from label maps by them."""
MEDIAN = {"HU": (-1100.0, 3100.0), "SUV": (-1.0, 100.0)}
"""Units -> range of the median; -1024 is air, 3071 the end of 12 bits."""
SPAN = 20.0
"""HU between the 1st and the 99th percentile below which a CT shows no tissue beside another: it
was normalized.
"""
HIGHEST_SUV = 1000.0
"""A syringe or a bladder reaches some hundreds; Bq/mL reach thousands in any patient."""
AIR = -200.0
"""HU above which there is no air, which almost every CT shows."""


def checked(image: Image, path: Path) -> Image:
    """Return an image with notes on its values; label maps of which nothing says that they are
    images get the units `label`.

    Units that the caller or the file states settle whether these are labels; the range is checked
    all the same.

    Raises:
        UnitsError: a label map is called by a contrast, or the values cannot be in the units.
    """
    if image.units == "label" or np.iscomplexobj(image.data) or not image.data.any():
        return image
    source = str(image.header.get("units_source", "given"))
    if source not in ("given", "file header") and (labels := _labels(image.data)):
        return _as_labels(image, labels, path)
    notes = tuple(
        note
        for name in image.channels
        for note in _range(image[name], image.units_of(name), path, source == "file header")
    )
    if source == "not stated" and any(name.split(".")[0] == "PET" for name in image.channels):
        notes += (
            f"{path.name} does not state the units of PET. If they are SUV by body weight: --units "
            "SUV.",
        )
    return noted(image, *notes)


def _as_labels(image: Image, labels: int, path: Path) -> Image:
    looks = f"{path.name} holds {labels} different whole numbers in regions, as a label map does"
    if not all(name.split(".")[0] == UNKNOWN for name in image.channels):
        raise UnitsError(
            f"{looks}; expected an image ({', '.join(image.channels)}). Give the image; or say "
            "what it is: --units label for "
            "labels, --units a.u. for an image all the same."
        )
    notes = tuple(
        note for note in image.header.get("notes", ()) if "does not state its contrast" not in note
    )
    header = {**image.header, "units_source": "values", "notes": notes}
    taken = replace(image, data=image.data.astype(np.int32), units="label", header=header)
    return noted(taken, f"{looks}: it was read as labels. If it is an image: --units a.u.")


def noted(image: Image, *notes: str) -> Image:
    """Return an image whose header has more notes."""
    return (
        replace(image, header={**image.header, "notes": (*image.header.get("notes", ()), *notes)})
        if notes
        else image
    )


def _labels(data: Array) -> int:
    """Return how many different values a label map holds; 0 when it is none."""
    few = data.reshape(-1)[:: max(1, data.size // SAMPLE)]
    if (
        not np.array_equal(few, np.rint(few))
        or len(np.unique(few)) > MANY_LABELS
        or not np.array_equal(data, np.rint(data))
    ):
        return 0
    count = len(np.unique(data))
    if not 2 <= count <= MANY_LABELS or np.abs(data).max() > np.iinfo(np.int32).max:
        return 0
    return count if count <= FEW_LABELS or _alike(data) >= ALIKE else 0


def _alike(data: Array) -> float:
    """Return the share of voxels other than 0 that equal the next one, along the longest axis."""
    along = np.moveaxis(data, int(np.argmax(data.shape[1:])) + 1, 0)
    here, there = along[:-1], along[1:]
    inside = here != 0
    return float((here == there)[inside].mean()) if inside.any() else 0.0


def _range(data: Array, units: str, path: Path, stored: bool) -> Iterator[str]:
    """Yield what is doubtful about the values of one channel; raise where they cannot be in its
    units.
    """
    if units not in MEDIAN:
        return
    values = np.asarray(data).reshape(-1)[:: max(1, data.size // SAMPLE)]
    low, middle, high = (float(value) for value in np.percentile(values, [1, 50, 99]))
    least, most = MEDIAN[units]
    flat = units == "HU" and 0 < high - low < SPAN
    if not least <= middle <= most or flat or (units == "SUV" and high > HIGHEST_SUV):
        held = (
            f"{path} holds {low:.3g} to {high:.3g} (median {middle:.3g}), which cannot be {units}"
        )
        then = "Rescale them" if units == "HU" else "Divide by the injected dose per body weight"
        if not stored:
            raise UnitsError(
                f"{held}. {then}, or say which units they are in: --units "
                f"{'1' if flat else 'a.u.'}."
            )
        yield f"{held}, although its header says so."
    elif units == "HU" and low > AIR:
        yield (
            f"{path.name} has no value near -1000 HU (lowest {low:.4g}): it shows no air, or its "
            "rescale intercept was not "
            "applied."
        )
    elif units == "SUV" and float((values < 0).mean()) > 0.01:
        yield f"{path.name}: more than 1 % of the SUV are negative (down to {float(values.min()):.3g})."  # noqa: E501
