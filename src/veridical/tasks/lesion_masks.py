"""Where lesions lie: read from a label map, or found in images by brightness within the brain that
a segmenter outlines.

Brightness is judged against the head's own white and grey matter, after smooth shading was taken
out. Found are: what enhances, with what it encloses (T1c against T1w); what is bright on FLAIR; and
cavities as dark as fluid (T1w) that hang together with neither ventricles nor sulci. A channel that
is not there leaves its question open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from veridical.phantoms.head_labels import LABELS
from veridical.phantoms.label_maps import structure
from veridical.phantoms.lesion_measures import TOUCHING, diameter, pieces, volume
from veridical.phantoms.lobes import TISSUE
from veridical.types import Array, Geometry, Image

if TYPE_CHECKING:
    from veridical.tasks.labelling import Labelling

CORE = tuple(LABELS.index(name) for name in ("necrosis", "enhancing tumour"))
FLUID_GROUPS = ("lateral ventricle", "third and fourth ventricle", "fluid around the brain")
WHITE_GROUPS = ("white matter", "cerebellar white matter")
DEEP_GROUPS = ("thalamus", "caudate", "putamen", "pallidum")
OUTER = ("background", "skull", "rest of the head")
ROUND = 2.5
"""mm: radius of the ball that a cavity holds at least; sulci are narrower."""
WITHIN = 0.5
"""Share of the rim of a cavity that is white or deep grey matter at least."""
FLOATS = 0.4
"""Share of the rim of an enhancing piece in the fluid around the brain from which on it is a
vessel.
"""
OPEN = 0.2
"""Share of the rim of a cavity that is as dark as fluid, from which on it is part of a cistern."""
LEAST_CORE, LEAST_CAVITY = 0.3, 0.12
"""ml of the smallest enhancing piece and cavity."""
BRIGHT = 3.0
"""Standard deviations of grey matter, and of white matter, from which on FLAIR is bright."""
ENHANCING, GAIN = 3.0, 0.10
"""Standard deviations of the brain's rise from T1w to T1c, and least rise relative to white matter,
from which on tissue enhances; without T1w, standard deviations above white matter on T1c.
"""
COMPACT = 0.15
"""Share of a ball of its own longest diameter that an enhancing piece fills; vessels and dura fill
less.
"""
BRIGHT_AS = 0.92
"""Brightness on T1c over that of white matter which enhancing tissue has at least; oedema takes up
a little agent, and stays darker.
"""
HALF = 0.5
"""Share of a piece's own strongest rise from which on tissue belongs to it."""
DEPTH = 4.0
"""mm below the surface of the brain from which on lesions are sought: dura and vessels lie above.
"""


@dataclass(frozen=True, eq=False)
class LesionMasks:
    """Where lesions lie, each `(x, y, z)` bool on one grid; None: not to be known from these
    images.

    Args:
        core: what enhances, with what it encloses.
        bright: bright on FLAIR and not of the core; of a label map oedema and white matter lesions.
        cavity: as dark as fluid within the brain.
        tissue: of the brain, for its frame.
        geometry: the grid.
        told_apart: `(bool, bool)` masks of oedema and of white matter lesions where a label map
            tells them apart.
    """

    core: Array | None
    bright: Array | None
    cavity: Array | None
    tissue: Array
    geometry: Geometry
    told_apart: tuple[Array, Array] | None = None


def masks_of_labels(labels: Array, geometry: Geometry) -> LesionMasks:
    """Return where a label map `(x, y, z)`, positions in `head_labels.LABELS`, has lesions."""
    swollen, ms = labels == LABELS.index("oedema"), labels == structure("lesion")
    fluid = labels == structure("fluid around the brain")
    ventricle = np.isin(labels, [structure(name) for name in FLUID_GROUPS[:2]])
    matter = np.isin(labels, [structure(name) for name in (*WHITE_GROUPS, *DEEP_GROUPS)])
    closed = _closed_off(fluid, TISSUE[labels], geometry, ventricle, matter)
    return LesionMasks(
        np.isin(labels, CORE), swollen | ms, closed, TISSUE[labels], geometry, (swollen, ms)
    )


def masks_of_image(image: Image, found: Labelling, shift: float = 0.0) -> LesionMasks:
    """Return where images show lesions.

    Args:
        image: MR channels of one head, among them FLAIR, T1w and T1c as far as they are there.
        found: structures of the head.
        shift: standard deviations by which what is bright must be brighter still; negative ones
            make lesions larger.
    """
    geometry, head = image.geometry, _head(found, image.geometry)
    seen = {name: _corrected(image[name], head.white, geometry) for name in _usable(image)}
    core = _core(seen, head, geometry, shift)
    bright = _bright(seen["FLAIR"], head, shift) if "FLAIR" in seen else None
    if bright is not None and core is not None:
        bright &= ~core
    cavity = None
    if "T1w" in seen:
        dark = _dark(seen["T1w"], seen.get("FLAIR"), head)
        cavity = _closed_off(dark, head.whole, geometry, head.ventricle, head.matter)
        if core is not None:
            cavity &= ~ndimage.binary_dilation(core, TOUCHING, iterations=2)
    return LesionMasks(core, bright, cavity, head.whole & ~head.fluid, geometry)


@dataclass(frozen=True, eq=False)
class _Head:
    """Where things are, `(x, y, z)` bool.

    Args:
        whole: all inside the skull.
        inside: of that what lies deep enough for lesions to be sought.
        white, grey: matter, deep enough too.
        fluid: ventricles and the fluid around the brain; around: the latter alone.
        ventricle: all of them.
        matter: white and deep grey.
        voxel: ml.
    """

    whole: Array
    inside: Array
    white: Array
    grey: Array
    fluid: Array
    around: Array
    ventricle: Array
    matter: Array
    voxel: float

    @property
    def solid(self) -> Array:
        """White and grey matter."""
        return np.asarray(self.white | self.grey)


def _head(found: Labelling, geometry: Geometry) -> _Head:
    names = found.names
    groups, _ = found.placed(geometry)

    def of(wanted: tuple[str, ...]) -> Array:
        return np.asarray(np.isin(groups, [names.index(n) for n in wanted if n in names]))

    whole = _whole(~of(OUTER))
    inside = ndimage.distance_transform_edt(whole, sampling=geometry.spacing) > DEPTH
    voxel = float(np.prod(geometry.spacing)) / 1000
    return _Head(
        whole, inside, of(WHITE_GROUPS) & inside, of(("cortex",)) & inside, of(FLUID_GROUPS),
        of(FLUID_GROUPS[-1:]), of(FLUID_GROUPS[:2]), of((*WHITE_GROUPS, *DEEP_GROUPS)), voxel,
    )  # fmt: skip


def _usable(image: Image) -> Iterator[str]:
    """Yield the channels whose brightness says something."""
    yield from (name for name in ("FLAIR", "T1w", "T1c") if name in image.channels)


def _whole(inside: Array) -> Array:
    """Return the largest piece of a mask without holes."""
    largest = next(pieces(inside), inside)
    return np.asarray(ndimage.binary_fill_holes(largest))


def _corrected(data: Array, white: Array, geometry: Geometry) -> Array:
    """Return a channel over its own white matter, whose smooth shading, a polynomial of the second
    degree in the logarithm, is taken out.
    """
    positive = white & (data > 0)
    if np.count_nonzero(positive) < 200:
        return np.asarray(data, np.float32)
    scale = np.array(data.shape) / 2
    axes = [(np.arange(n) - n / 2) / s for n, s in zip(data.shape, scale, strict=True)]

    def terms(x: Array, y: Array, z: Array) -> list[Array]:
        return [np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z]

    index = np.argwhere(positive)
    index = index[:: max(1, len(index) // 20000)]
    design = np.stack(terms(*(axes[k][index[:, k]] for k in range(3))), 1)
    values = np.log(data[tuple(index.T)])
    kept = np.ones(len(values), bool)
    for _ in range(4):
        weights = np.linalg.lstsq(design[kept], values[kept], rcond=None)[0]
        rest = values - design @ weights
        kept = np.abs(rest - np.median(rest)) < 2 * max(_spread(rest), 1e-3)
    field = sum(w * t for w, t in zip(weights, terms(*np.ix_(*axes)), strict=True))
    return np.asarray(data / np.exp(field), np.float32)


def _spread(values: Array) -> float:
    """Return a standard deviation that outliers do not move."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _core(seen: dict[str, Array], head: _Head, geometry: Geometry, shift: float) -> Array | None:
    """Return what enhances, with what it encloses; vessels, thin or in fluid, are left out."""
    if "T1c" not in seen:
        return None
    after = ndimage.gaussian_filter(seen["T1c"], 0.5)
    rise, least = after - 1, 0.1
    if "T1w" in seen:
        rise, least = after - ndimage.gaussian_filter(seen["T1w"], 0.5), GAIN
    if head.solid.any():
        rise = rise - float(np.median(rise[head.solid]))
    noise = _spread(rise[head.solid]) if head.solid.any() else least
    level = max((ENHANCING + shift) * noise, least * (1 + shift / ENHANCING))
    bright = head.inside & ~head.around & (rise > level) & (after > BRIGHT_AS)
    core = np.zeros(bright.shape, bool)
    for piece in pieces(bright, max(1, round(LEAST_CORE / 2 / head.voxel))):
        strong = HALF * float(np.percentile(rise[piece], 90))
        piece &= rise > max(level, strong * (1 + shift / 10))
        closed = ndimage.binary_closing(piece, TOUCHING, border_value=0) | piece
        whole = np.asarray(ndimage.binary_fill_holes(closed))
        ball = np.pi / 6 * diameter(whole, geometry) ** 3 / 1000
        compact = volume(whole, geometry) > COMPACT * ball
        rim = ndimage.binary_dilation(whole, TOUCHING) & ~whole
        compact &= bool(head.around[rim].mean() < FLOATS)
        compact &= volume(whole, geometry) >= LEAST_CORE
        if compact and _radius(whole, geometry) >= _round(geometry):
            core |= whole
    return core


def _bright(flair: Array, head: _Head, shift: float) -> Array:
    """Return what is brighter on FLAIR than grey matter is."""
    smooth, level = ndimage.gaussian_filter(flair, 0.7), 1.0
    for matter, least in ((head.white, 0.02), (head.grey, 0.0)):
        if matter.any():
            usual = float(np.median(smooth[matter]))
            level = max(level, usual + (BRIGHT + shift) * max(_spread(smooth[matter]), least))
    return np.asarray(head.inside & (smooth > level))


def _dark(t1: Array, flair: Array | None, head: _Head) -> Array:
    """Return what is as dark as fluid."""
    known = head.fluid.any()
    level = (float(np.median(t1[head.fluid])) + 1) / 2 if known else 0.5
    dark = head.whole & (t1 < level)
    if flair is not None:
        low = float(np.median(flair[head.fluid])) if known else 0.3
        dark &= flair < (low + 1) / 2
    return np.asarray(dark)


def _closed_off(
    dark: Array, tissue: Array, geometry: Geometry, ventricle: Array, matter: Array
) -> Array:
    """Return the round pieces of fluid within white or deep grey matter. Rims of ventricles are
    left out and thin bridges to sulci are cut.
    """
    found = np.zeros(dark.shape, bool)
    least = max(1, round(LEAST_CAVITY * 1000 / float(np.prod(geometry.spacing))))
    hull = ndimage.binary_erosion(_whole(tissue | dark), iterations=2)
    left = dark & ~ndimage.binary_dilation(ventricle, TOUCHING)
    for piece in pieces(ndimage.binary_opening(left), least):
        whole = ndimage.binary_dilation(piece) & left
        rim = ndimage.binary_dilation(whole, TOUCHING, iterations=2) & ~whole
        within = matter[rim].mean() > WITHIN and dark[rim].mean() < OPEN
        deep = (piece & hull).sum() >= 0.9 * piece.sum()
        if within and deep and _radius(piece, geometry) >= _round(geometry):
            found |= whole
    return found


def _round(geometry: Geometry) -> float:
    """Return the radius of the ball that a lesion holds at least, mm: on coarse grids a voxel and a
    half.
    """
    return max(ROUND, 1.4 * max(geometry.spacing))


def _radius(mask: Array, geometry: Geometry) -> float:
    """Return the radius of the largest ball within a mask, mm."""
    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box:
        return 0.0
    padded = np.pad(mask[box[0]], 1)
    return float(ndimage.distance_transform_edt(padded, sampling=geometry.spacing).max())
