"""Paint lesions into a scan: the signal equations say how bright they are, the scan's own tissue
says what a unit of signal is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from veridical.errors import InputError
from veridical.phantoms.head_labels import TISSUE
from veridical.phantoms.head_scan import site_of
from veridical.phantoms.scanners import CONTRASTS
from veridical.physics.tissue import TissueClass, relaxation
from veridical.types import Array, Image

if TYPE_CHECKING:
    from numpy.random import Generator

EDGE = 0.6
"""Voxels over which a lesion fades into its surroundings, standard deviation."""
GRAIN = 1.2
"""Voxels: what varies faster than this in the scan is its noise and stays."""
FIELD = 3.0
"""Tesla of the tissue table where the scan does not say its own."""
ANCHORS = (TissueClass.WHITE, TissueClass.GREY, TissueClass.CSF)


def painted(image: Image, before: Array, after: Array, rng: Generator) -> tuple[Array, Array]:
    """Return the image with lesions `(channel, x, y, z)`, and where it was changed `(x, y, z)`.

    Args:
        image: MR channels of one head.
        before, after: its structures without and with lesions, positions in `head_labels.LABELS`.
        rng: draws the sequence of each contrast.

    Raises:
        InputError: a channel is no MR contrast, or its tissue is not as bright as that contrast's.
    """
    changed = after != before
    fade = np.minimum(ndimage.gaussian_filter(changed.astype(np.float32), EDGE), 1.0)
    touched = fade > 0.02
    data = np.array(image.data, np.float32)
    for index, name in enumerate(image.channels):
        level = np.zeros(changed.shape, np.float32)
        for tissue, bright in _levels(image, name, before, after, rng).items():
            part = ndimage.gaussian_filter(
                (changed & (TISSUE[after] == tissue)).astype(np.float32), EDGE
            )
            level += part * np.float32(bright)
        grain = data[index] - ndimage.gaussian_filter(data[index], GRAIN)
        white = TISSUE[before] == int(TissueClass.WHITE)
        limit = 3 * max(float(grain[white].std()), 1e-6)
        new = data[index] * (1 - fade) + level + fade * np.clip(grain, -limit, limit)
        data[index] = np.where(touched, np.maximum(new, 0), data[index])
    return data, touched


def _levels(
    image: Image, name: str, before: Array, after: Array, rng: Generator
) -> dict[int, float]:
    """Return the brightness of each tissue that lesions have, in the units of a channel."""
    contrast = name.split(".")[0]
    if contrast not in CONTRASTS or image.units_of(name) != "a.u.":
        raise InputError(
            f"{name} in {image.units_of(name)} is no MR contrast that can be painted; expected "
            f"{', '.join(CONTRASTS)}. Name it: --contrast T1w."
        )
    table = relaxation(FIELD)
    sequence = site_of("", FIELD, rng).sequence(contrast, rng, float(table.t1[TissueClass.CSF]))
    signal = sequence.signal(table)
    tissue, values = TISSUE[before], image[name]
    known = [t for t in ANCHORS if np.count_nonzero(tissue == int(t)) > 20]
    own = np.array([float(np.median(values[tissue == int(t)])) for t in known])
    usual = np.array([float(signal[int(t)]) for t in known])
    slope, offset = np.polyfit(usual, own, 1) if len(known) > 1 else (0.0, 0.0)
    if not slope > 0:
        raise InputError(
            f"White matter, grey matter and fluid of {name} are not as bright as those of "
            f"{contrast}. Is it another contrast? Name it: --contrast T2w."
        )
    wanted = np.unique(TISSUE[after[after != before]])
    return {int(t): max(0.0, float(slope * signal[int(t)] + offset)) for t in wanted}
