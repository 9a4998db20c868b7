"""Lesions of a wanted volume: more of them or fewer, then all a little larger or smaller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veridical.errors import SettingError
from veridical.phantoms.glioma_biology import FRONTAL
from veridical.phantoms.head_painting import Anatomy
from veridical.phantoms.lesions import ROW, sclerosis, tumour
from veridical.phantoms.population import Pathology

Floats = NDArray[np.float32]

MOST = 40
"""Times that lesions of a patient are drawn until their volume is reached."""
SMALLEST, LARGEST = 0.05, 4.0
"""Factors of the size that lesions are drawn with."""
STEPS = 14
"""Halvings of the range of sizes."""


def lesions(
    anatomy: Anatomy, pathology: Pathology, load: float, enhances: bool,
    rng: np.random.Generator, *, forward: bool = False,
) -> Floats:  # fmt: skip
    """Return lesions `(n, 17)` in a head, see `lesions.row`.

    Args:
        anatomy: the head without them.
        pathology: `none`, `ms` or `tumour`.
        load: ml that they are to change, oedema included; 0 leaves it to chance.
        enhances: whether a tumour has a core and a rim that enhances.
        rng: everything random comes from it.
        forward: whether a tumour lies before the middle of the brain, as `glioma` places those
            with an IDH mutation.

    Raises:
        SettingError: the head does not hold that volume.
        InputError: it has no white matter.
    """
    if pathology == "none":
        return np.zeros((0, ROW), np.float32)
    places = anatomy.places
    if forward:
        places = places.before(FRONTAL)
    rows = (tumour if pathology == "tumour" else sclerosis)(rng, places)
    if load == 0:
        return rows
    if pathology == "ms":
        for _ in range(MOST):
            if volume(anatomy, rows, enhances) >= load:
                break
            rows = np.concatenate([rows, sclerosis(rng, places)])
        few, enough = 0, len(rows)
        while enough - few > 1:
            middle = (few + enough) // 2
            met = volume(anatomy, rows[:middle], enhances) >= load
            few, enough = (few, middle) if met else (middle, enough)
        rows = rows[:enough]
    return sized(anatomy, rows, load, enhances)


def volume(anatomy: Anatomy, rows: Floats, enhances: bool) -> float:
    """Return the volume that lesions take in a head, ml."""
    after = anatomy.with_lesions(rows, enhances).labels
    return float((after != anatomy.labels).sum()) * anatomy.voxel


def sized(anatomy: Anatomy, rows: Floats, load: float, enhances: bool) -> Floats:
    """Return lesions, all larger or smaller by one factor, that take `load` ml of a head.

    Raises:
        SettingError: they would have to be larger than `LARGEST`, or than the head.
    """
    low, high = SMALLEST, LARGEST
    reached = volume(anatomy, _scaled(rows, high), enhances)
    if reached < load:
        raise SettingError(
            f"lesion_load = {load:g} ml was asked for; the lesions of this head reach "
            f"{reached:.3g} ml. Ask for less."
        )
    for _ in range(STEPS):
        middle = (low + high) / 2
        met = volume(anatomy, _scaled(rows, middle), enhances) >= load
        low, high = (low, middle) if met else (middle, high)
    return _scaled(rows, high)


def _scaled(rows: Floats, factor: float) -> Floats:
    found = rows.copy()
    found[:, 4:13] /= np.float32(factor)
    found[:, 13] *= np.float32(factor)
    return found
