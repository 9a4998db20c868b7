"""The held-out cases of a league: what is asked of every entry, the truth beside it, and structures
found in both by one fixed rule.

A case is a visit, cut to evenly spread slices. Images are written in the units of their modality;
of an MR contrast the inner tissue is 100.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from veridical.conditioning.request import Request
from veridical.io.nifti import write_nifti
from veridical.preprocessing.preprocessing import UNITS, Preprocessing
from veridical.tasks.generated import MADE
from veridical.training.league_course import (
    LeagueData,
    fitted,
    patients,
    request,
    restored,
    seed_of,
    spread,
)
from veridical.types import Array, Geometry, Image

ABSOLUTE: Mapping[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "CT": ((-0.03, 0.2), ("fat", "soft tissue", "bone")),
    "PET": ((0.2, 0.5), ("low uptake", "uptake", "high uptake")),
}
"""Modality -> limits between its structures in network units (-30 and 200 HU; SUV 1 and 2.5), and
their names.
"""
RELATIVE = ("dark", "middle", "bright")
"""Structures of an image in arbitrary units: three classes by Otsu's limits in the training
patients.
"""
SAMPLED = 200_000
"""Voxels that limits are found from."""


@dataclass(frozen=True, eq=False)
class LeagueCase:
    """One case of the judgement.

    Args:
        name: unique in the league.
        patient: whose it is.
        requests: what is asked, one a slice.
        truth: `(slice, y, x)` in network units.
        spacing: `(slice, y, x)`, mm, of the slices that were chosen.
    """

    name: str
    patient: str
    requests: tuple[Request, ...]
    truth: Array
    spacing: tuple[float, float, float]


def cases(data: LeagueData, most: int) -> Iterator[LeagueCase]:
    """Yield the held-out cases, each with at most so many slices; the same for every entry."""
    maps, visits = fitted(data), Counter[str]()
    for one in patients(data, True):
        patient = clean(f"{one.source}-{one.visit.patient}")
        visits[patient] += 1
        name = f"{patient}-{visits[patient]}"
        chosen = spread(one.slices, most)
        both = [
            request(data, one.visit.slab(at), maps, np.random.default_rng([seed_of(name), at]))
            for at in chosen
        ]
        step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
        spacing = (step * one.visit.spacing[0], *one.visit.spacing[1:])
        asked = tuple(each for each, _ in both)
        yield LeagueCase(name, patient, asked, np.stack([truth for _, truth in both]), spacing)


def clean(name: str) -> str:
    """Return a name of letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def units_of(made: str) -> str:
    """Return the units that images of a channel are written in."""
    return UNITS.get(made, "a.u.")


def write_volume(stack: Array, made: str, spacing: tuple[float, float, float], path: Path) -> None:
    """Write slices `(slice, y, x)` in network units as NIfTI, rows from front to back."""
    preprocessing = Preprocessing()
    usual = MADE / preprocessing.tissue
    unit = {"CT": preprocessing.hounsfield, "PET": preprocessing.uptake}.get(made, usual)
    image = _image(np.asarray(stack, np.float32) * np.float32(unit), spacing, units_of(made), made)
    write_nifti(image, path)


def write_structures(
    stack: Array, data: LeagueData, spacing: tuple[float, float, float], path: Path
) -> None:
    """Write the structures of slices in network units as a label map: 1, 2 and 3 of `names_of`."""
    inside = Preprocessing().foreground(data.made, np.asarray(stack, np.float32))
    classes = 1 + np.digitize(stack, limits(data))
    write_nifti(_image((classes * inside).astype(np.uint8), spacing, "label", "labels"), path)


def names_of(made: str) -> tuple[str, ...]:
    """Return the names of the structures of a channel, from the label 1."""
    return ABSOLUTE[made][1] if made in ABSOLUTE else RELATIVE


def limits(data: LeagueData) -> tuple[float, ...]:
    """Return the limits between the structures, network units: fixed in absolute units, else by the
    training patients (Otsu 1979, 10.1109/TSMC.1979.4310076).
    """
    return ABSOLUTE[data.made][0] if data.made in ABSOLUTE else _otsu(data.key())


@lru_cache(maxsize=2)
def _otsu(key: str) -> tuple[float, ...]:
    from skimage.filters import threshold_multiotsu

    values = _levels(restored(key))
    return tuple(float(v) for v in threshold_multiotsu(values, len(RELATIVE), nbins=64))


def _levels(data: LeagueData) -> Array:
    """Return values of the made channel in the training patients, where it shows something."""
    preprocessing, found = Preprocessing(), []
    for one in patients(data, False):
        place = one.visit.names.index(data.made)
        image = one.visit.images[place, list(one.slices)].astype(np.float32)
        found.append(image[preprocessing.foreground(data.made, image)])
    values = np.concatenate(found)
    return values[:: max(1, len(values) // SAMPLED)]


def _image(stack: Array, spacing: tuple[float, float, float], units: str, channel: str) -> Image:
    data = np.ascontiguousarray(stack.transpose(2, 1, 0))
    affine = np.diag([spacing[2], -spacing[1], spacing[0], 1.0])
    affine[1, 3] = spacing[1] * (data.shape[1] - 1)
    grid = Geometry((data.shape[0], data.shape[1], data.shape[2]), affine)
    return Image(data[None], grid, units, (channel,))
