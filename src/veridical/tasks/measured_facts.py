"""From lesions to facts: kind, side, lobe, diameter, volume, number, each measured; and ventricles
against what is usual at an age.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.language.fact import Fact, Kind, Side
from veridical.phantoms.head_shapes import SPREAD, ventricles
from veridical.phantoms.lesion_measures import diameter, pieces, volume
from veridical.phantoms.lobes import BrainFrame, placed
from veridical.tasks.lesion_masks import LesionMasks
from veridical.types import Array, Geometry

MASS = 10.0
"""mm of diameter from which on a bright piece without enhancement is a mass and no white matter
lesion, where it holds most of what is bright.
"""
MOST = 0.5
"""Share of what is bright that such a piece holds."""
ATROPHY = 1.3
"""Standard deviations of the logarithm above the usual volume from which on ventricles are wide."""
LEAST_CORE, LEAST_BRIGHT, LEAST_LESION = 0.05, 0.3, 0.03
"""ml of the smallest tumour, oedema and white matter lesion that is named."""
TOUCH = 8.0
"""mm from a core within which bright tissue is its oedema."""
BOTH = 0.2
"""Share of lesions on the smaller side from which on they are on both."""


@dataclass(frozen=True, eq=False)
class MeasuredFinding:
    """A finding and what it was measured from.

    Args:
        fact: its kind, side, lobe, size, number.
        region: `(x, y, z)` bool, where it lies.
        volume: ml.
        size: longest axial diameter, mm; of white matter lesions that of the largest.
        about: further numbers: `usual_ml` and `deviation` of ventricles.
    """

    fact: Fact
    region: Array
    volume: float
    size: float
    about: dict[str, float]


def measured_facts(masks: LesionMasks) -> list[MeasuredFinding]:
    """Return the lesions of a head as facts.

    Args:
        masks: where they lie, on a grid that says where left and right are.

    Raises:
        InputError: left and right are not known, or there is no brain.
    """
    geometry, brain = masks.geometry, BrainFrame.of(masks.tissue, masks.geometry)
    found: list[MeasuredFinding] = []
    left = masks.bright if masks.bright is not None else np.zeros(geometry.shape, bool)
    if masks.told_apart is not None:
        left = masks.told_apart[0]
    left = left.copy()
    least = _voxels(LEAST_CORE, geometry)
    for piece in pieces(masks.core, least) if masks.core is not None else ():
        tumour = _one("tumour", piece, brain, geometry, True)
        found.append(tumour)
        around = _touching(piece, left, geometry)
        left &= ~around
        if masks.bright is not None:
            present = volume(around, geometry) >= max(LEAST_BRIGHT, 0.1 * tumour.volume)
            fact = Fact("oedema", present, side=tumour.fact.side, lobe=tumour.fact.lobe)
            found.append(_of(fact, around if present else piece, geometry))
    masses, lesions = _bright(masks, left, geometry)
    found += [
        _one("tumour", piece, brain, geometry, None if masks.core is None else False)
        for piece in masses
    ]
    if lesions.any():
        found.append(_lesions(lesions, brain, geometry))
    for piece in pieces(masks.cavity) if masks.cavity is not None else ():
        found.append(_one("infarct", piece, brain, geometry, None))
    return found


def ventricle_fact(region: Array, geometry: Geometry, age: float) -> MeasuredFinding:
    """Return whether ventricles are wider than is usual at an age.

    Args:
        region: `(x, y, z)` bool, the lateral ventricles.
        geometry: the grid.
        age: years.
    """
    held, usual = volume(region, geometry), ventricles(age)
    deviation = float(np.log(max(held, 0.1) / usual) / SPREAD)
    fact = Fact("atrophy", deviation > ATROPHY)
    about = {"usual_ml": round(usual, 1), "deviation": round(deviation, 2)}
    return MeasuredFinding(fact, region, held, 0.0, about)


def _bright(masks: LesionMasks, left: Array, geometry: Geometry) -> tuple[list[Array], Array]:
    """Return bright pieces that are masses without enhancement, and all white matter lesions."""
    none = np.zeros(geometry.shape, bool)
    if masks.bright is None:
        return [], none
    if masks.told_apart is not None:
        swollen = list(pieces(left, _voxels(LEAST_BRIGHT, geometry)))
        return swollen, masks.told_apart[1]
    every = list(pieces(left, _voxels(LEAST_LESION, geometry)))
    total = sum(int(piece.sum()) for piece in every)
    if every and every[0].sum() > MOST * total and diameter(every[0], geometry) >= MASS:
        return every[:1], none
    lesions = none.copy()
    for piece in every:
        lesions |= piece
    return [], lesions


def _one(
    kind: Kind, piece: Array, brain: BrainFrame, geometry: Geometry, enhances: bool | None
) -> MeasuredFinding:
    points = placed(piece, geometry)
    size = diameter(piece, geometry)
    side, lobe = brain.side(points), brain.lobe(points)
    fact = Fact(kind, side=side, lobe=lobe, size=round(size, 1), enhances=enhances)  # type: ignore[arg-type]
    return MeasuredFinding(fact, piece, volume(piece, geometry), size, {})


def _of(fact: Fact, region: Array, geometry: Geometry) -> MeasuredFinding:
    held = volume(region, geometry) if fact.present else 0.0
    return MeasuredFinding(
        fact, region, held, diameter(region, geometry) if fact.present else 0.0, {}
    )


def _lesions(mask: Array, brain: BrainFrame, geometry: Geometry) -> MeasuredFinding:
    """Return white matter lesions together: number, side, and the lobe that most are in."""
    every = list(pieces(mask, _voxels(LEAST_LESION, geometry)))
    if not every:
        every = list(pieces(mask))
    sides = Counter(brain.side(placed(piece, geometry)) for piece in every)
    lobes = Counter(brain.lobe(placed(piece, geometry)) for piece in every)
    lateral = [sides["left"], sides["right"]]
    side: Side = "left" if lateral[0] > lateral[1] else "right"
    if min(lateral) >= BOTH * max(sum(lateral), 1) or not sum(lateral):
        side = "both" if sum(lateral) else "midline"
    name, most = lobes.most_common(1)[0]
    lobe = name if most > 0.7 * len(every) else ""
    fact = Fact("white matter lesions", side=side, lobe=lobe, count=len(every))  # type: ignore[arg-type]
    return MeasuredFinding(fact, mask, volume(mask, geometry), diameter(every[0], geometry), {})


def _touching(piece: Array, mask: Array, geometry: Geometry) -> Array:
    """Return the pieces of a mask that come near another."""
    near = ndimage.distance_transform_edt(~piece, sampling=geometry.spacing) <= TOUCH
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.asarray(np.isin(parts, np.setdiff1d(np.unique(parts[near]), 0)))


def _voxels(ml: float, geometry: Geometry) -> int:
    return max(1, round(1000 * ml / abs(float(np.linalg.det(geometry.affine[:3, :3])))))
