"""From tissue to image: what a slice or volume of a digital patient holds, and its MR, CT and PET
images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from veridical.errors import SettingError, nearest
from veridical.phantoms.scanners import CONTRASTS, Site
from veridical.physics.tissue import (
    LESIONS,
    RELAXATION,
    Law,
    Relaxation,
    Sequence,
    TissueClass,
    relaxation,
)
from veridical.types import Array, Geometry

MODALITIES = (*CONTRASTS, "CT", "FDG")

TEXTURE = np.array(
    [0, 0.01, 0.03, 0.025, 0.04, 0.1, 0.15, 0.05, 0.1, 0.08, 0.1, 0.01, 0.1, 0.08, 0.12, 0.12],
    np.float32,
)
"""Relative standard deviation of the relaxation times within each tissue, in the order of
`TissueClass`; half of it for PD.
"""


@dataclass(frozen=True, eq=False)
class PhantomHead:
    """What is known of a digital patient on a grid.

    Args: tissues: `(tissue, *grid)` float32 fractions that sum to 1, in the order of `TissueClass`.
        texture: `(2, *grid)` float32, deviation of the relaxation times and of the proton density,
        standard deviation about 1. labels: `(*grid)` uint8, the `TissueClass` with the largest
        fraction. brain: `(*grid)` bool, everything inside the dura. pathology: `none`, `ms` or
        `tumour`. factors: `(3, tissue)`, the subject's own T1, T2 and PD relative to the table.
        site: the scanner. law: which field law of the relaxation times holds. key: numbers that
        identify patient and slice; images of the same key are the same.
    """

    tissues: Array
    texture: Array
    labels: Array
    brain: Array
    pathology: str
    factors: Array
    site: Site
    law: Law
    key: tuple[int, ...]

    @cached_property
    def lesions(self) -> Array:
        """Lesion mask `(*grid)`, bool: more than half of the voxel is lesion."""
        return np.asarray(self.tissues[list(LESIONS)].sum(0) > 0.5)

    def relaxation(self) -> Relaxation:
        """Return the subject's tissue parameters at the field of its site."""
        return relaxation(self.site.field, self.law).scaled(*self.factors)

    @property
    def t1(self) -> Array:
        """T1 in ms, `(*grid)` float32: the mean over the tissues of a voxel, with texture."""
        return self._map(self.relaxation().t1)

    @property
    def t2(self) -> Array:
        """T2 in ms, `(*grid)` float32."""
        return self._map(self.relaxation().t2)

    @property
    def t2star(self) -> Array:
        """T2* in ms, `(*grid)` float32."""
        return self._map(self.relaxation().t2star)

    @property
    def pd(self) -> Array:
        """Proton density relative to CSF, `(*grid)` float32."""
        values = self.relaxation().pd
        return np.asarray(
            mix(self.tissues, values) + self.texture[1] * mix(self.tissues, values * TEXTURE / 2)
        )

    def _map(self, values: Array) -> Array:
        return np.asarray(
            mix(self.tissues, values) + self.texture[0] * mix(self.tissues, values * TEXTURE)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PhantomSlice(PhantomHead):
    """A slice `(y, x)`. Rows run from front to back (axial) or from top to bottom; columns from the
    patient's right to left (axial, coronal: the patient's right is on the image's left) or from
    front to back (sagittal).

    Args:
        spacing: pixel size, mm.
        plane: `axial`, `coronal` or `sagittal`.
    """

    spacing: float
    plane: str

    @property
    def pixel(self) -> float:
        """Pixel size in mm."""
        return self.spacing


@dataclass(frozen=True, eq=False, kw_only=True)
class PhantomVolume(PhantomHead):
    """A volume `(x, y, z)`, RAS+."""

    geometry: Geometry

    @property
    def pixel(self) -> float:
        """Voxel size in mm."""
        return self.geometry.spacing[0]


def mix(tissues: Array, values: Array) -> Array:
    """Return the mean of one value a tissue over the fractions: `(tissue, *grid)`, `(tissue,)` to
    `(*grid)` float32.
    """
    flat = tissues.reshape(len(values), -1)
    return np.asarray((np.asarray(values, np.float32) @ flat).reshape(tissues.shape[1:]))


def render(
    head: PhantomSlice | PhantomVolume,
    contrast: str,
    site: Site | None = None,
    rng: np.random.Generator | None = None,
    sequence: Sequence | None = None,
) -> Array:
    """Return an image without noise, bias or phase.

    Args: head: what is imaged. contrast: `T1w`, `T2w`, `FLAIR`, `PD`, `T1c` (with contrast agent),
        `CT` or `FDG`. site: the scanner; the patient's own when None. rng: draws the sequence; from
        the patient's key when None, so that the same call gives the same image. sequence: exact
        settings in place of the site's.

    Returns: `(*grid)` float32. MR: non-negative, relative to the equilibrium signal of CSF. CT: HU.
        FDG: grey matter is 128.

    Raises:
        SettingError: the contrast is unknown.
    """
    if contrast not in MODALITIES:
        raise SettingError(f"No contrast is called {contrast!r}. {nearest(contrast, MODALITIES)}")
    rng = np.random.default_rng((*head.key, 5, MODALITIES.index(contrast))) if rng is None else rng
    if contrast == "CT":
        mean, deviation = np.array([RELAXATION[t].hu for t in TissueClass]).T
        return _textured(head, mean, deviation)
    if contrast == "FDG":
        uptake = np.array([RELAXATION[t].fdg for t in TissueClass]) * head.factors[0]
        return _textured(head, uptake, 0.15 * uptake)
    head = replace(head, site=site) if site is not None else head
    drawn = head.site.sequence(contrast, rng, float(head.relaxation().t1[TissueClass.CSF]))
    return _magnetic(head, contrast, drawn if sequence is None else sequence, rng)


def _magnetic(
    head: PhantomSlice | PhantomVolume, contrast: str, sequence: Sequence, rng: np.random.Generator
) -> Array:
    tissue = head.relaxation()
    flow = np.ones(len(TissueClass))
    if sequence.kind in (
        "se",
        "flair",
    ):  # blood that leaves the slice between two pulses gives no echo
        flow[TissueClass.BLOOD] = (
            rng.uniform(0.4, 0.9) if sequence.agent else rng.uniform(0.03, 0.4)
        )
    signal = flow * sequence.signal(tissue)
    longer = tissue.scaled(1 + TEXTURE, 1 + TEXTURE, np.ones(len(TEXTURE)))
    first, second = flow * sequence.signal(longer) - signal, signal * TEXTURE / 2
    fat = np.zeros(len(signal))
    fat[[TissueClass.FAT, TissueClass.MARROW]] = 1.0, 0.8
    if contrast in ("T2w", "FLAIR", "T1c") and rng.random() < head.site.fat_saturation:
        fat_signal = rng.uniform(0.08, 0.35)
    else:
        fat_signal = 1.0
    water = _combine(head, (1 - fat) * signal, (1 - fat) * first, (1 - fat) * second)
    lipid = _combine(head, fat * signal, fat * first, fat * second) * np.float32(fat_signal)
    axis, size = (
        int(rng.integers(2)),
        rng.uniform(*head.site.shift) * 0.9 / head.pixel * (1 if rng.random() < 0.5 else -1),
    )
    return np.asarray(np.maximum(water + _shifted(lipid, axis, size), np.float32(0.0)))


def _combine(head: PhantomHead, mean: Array, first: Array, second: Array) -> Array:
    rows = np.stack([mean, first, second]).astype(np.float32)
    flat = head.tissues.reshape(len(mean), -1)
    base, a, b = (rows @ flat).reshape(3, *head.tissues.shape[1:])
    return np.asarray(base + head.texture[0] * a + head.texture[1] * b)


def _shifted(image: Array, axis: int, shift: float) -> Array:
    """Move an image by a fraction of pixels along one axis, linearly interpolated; nothing comes in
    from outside.
    """
    margin = int(np.ceil(abs(shift))) + 1
    padded = np.moveaxis(image, axis, 0)
    padded = np.concatenate(
        [np.zeros_like(padded[:margin]), padded, np.zeros_like(padded[:margin])]
    )
    whole = int(np.floor(shift))
    share = np.float32(shift - whole)
    size, start = image.shape[axis], margin - whole
    moved = (
        padded[start : start + size] * (1 - share) + padded[start - 1 : start - 1 + size] * share
    )
    return np.asarray(np.moveaxis(moved, 0, axis))


def _textured(head: PhantomHead, mean: Array, deviation: Array) -> Array:
    return np.asarray(mix(head.tissues, mean) + head.texture[0] * mix(head.tissues, deviation))
