"""Lesions found and imagined: F1 over lesions of one case, and the free-response ROC curve over
many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.errors import GeometryError, InputError, SettingError
from veridical.metrics.about import Facts
from veridical.metrics.surfaces import check_spacing, check_structures
from veridical.types import Array

ABOUT = Facts(
    "lesion F1",
    "1",
    "higher",
    "task",
    worst=0.0,
    cites="Setio AAA, Traverso A, de Bel T, et al. Validation, comparison, and combination of "
    "algorithms for automatic "
    "detection of pulmonary nodules in computed tomography images: the LUNA16 challenge. Med Image "
    "Anal 2017;42:1-13.",
)

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a case at which LUNA16 reads the sensitivity."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What was detected in one case.

    Args: found: `(lesions,)`, for each lesion the highest score of a candidate that hits it; minus
        infinity where none does. imagined: one score for each candidate that hits no lesion.
    """

    found: Array
    imagined: Array


@dataclass(frozen=True)
class Froc:
    """A free-response ROC curve.

    Args: false_positives: a case, ascending from 0. sensitivity: over all lesions of all cases, at
        these. read: sensitivities at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case, linear in
        between, as LUNA16 does; beyond the last point of the curve, its sensitivity. mean: of
        `read`, the score of LUNA16.
    """

    false_positives: tuple[float, ...]
    sensitivity: tuple[float, ...]
    read: tuple[float, ...]
    mean: float


def lesion_f1(
    candidate_structure: Array,
    reference_structure: Array,
    spacing: Sequence[float],
    *,
    smallest: float = 0.0,
    overlap: float = 0.0,
) -> float:
    """Return `2 TP / (2 TP + FP + FN)`, counted in lesions: connected components, corners and edges
    connecting.

    Args: candidate_structure, reference_structure: bool `(x, y, z)`, all lesions of one case.
        spacing: voxel size in mm. smallest: mm3; smaller components are no lesions, in either, and
        a candidate that touches only such is not counted. overlap: a hit is an intersection over
        union above this; 0: one common voxel.

    Returns:
        In [0, 1]. No lesion in either: 1. In one only: 0.

    Raises:
        GeometryError: shapes differ.
        InputError: a structure that is not bool.
        UnitsError: spacing is not three numbers above 0.
        SettingError: `smallest` below 0, or `overlap` outside [0, 1).
    """
    check_structures(candidate_structure, reference_structure, spacing)
    seen = detections(
        candidate_structure.astype(np.float32),
        reference_structure,
        spacing,
        threshold=0.5,
        smallest=smallest,
        overlap=overlap,
    )
    hits = np.count_nonzero(np.isfinite(seen.found))
    total = 2 * hits + seen.imagined.size + (seen.found.size - hits)
    return 2.0 * hits / total if total else 1.0


def detections(
    probability: Array,
    reference_structure: Array,
    spacing: Sequence[float],
    *,
    threshold: float,
    smallest: float = 0.0,
    overlap: float = 0.0,
) -> Detections:
    """Match the candidates of one case to its lesions.

    Args: probability: `(x, y, z)`; the candidates are the connected components above `threshold`,
        scored by their maximum. A binary structure as 0 and 1 has one score, hence a curve of one
        point. reference_structure: bool `(x, y, z)`. spacing: voxel size in mm. threshold: the
        lowest probability that counts at all. smallest, overlap: as in `lesion_f1`.

    Raises: GeometryError, InputError, UnitsError, SettingError: as `lesion_f1`; InputError on NaN
        as well.
    """
    check_spacing(spacing)
    if probability.shape != reference_structure.shape or probability.ndim != 3:
        raise GeometryError(
            f"Maps of shape {probability.shape} and {reference_structure.shape} were given; "
            "expected one shape (x, y, z)."
        )
    if not np.isfinite(probability).all():
        raise InputError(
            "The probability map holds NaN or infinity; a candidate there would be hidden. Mend it."
        )
    if not smallest >= 0 or not 0 <= overlap < 1:
        raise SettingError(
            f"smallest={smallest} and overlap={overlap} were given; expected mm3 from 0, and a "
            "share in [0, 1)."
        )
    voxels = smallest / float(np.prod(spacing))
    candidates, sizes = _components(probability > threshold)
    lesions, lesion_sizes = _components(reference_structure)
    both = (candidates > 0) & (lesions > 0)
    pairs, common = np.unique(
        candidates[both].astype(np.int64) * lesion_sizes.size + lesions[both], return_counts=True
    )
    candidate, lesion = np.divmod(pairs, lesion_sizes.size)
    hit = common / (sizes[candidate] + lesion_sizes[lesion] - common) > overlap
    candidate, lesion = candidate[hit], lesion[hit]
    scores = np.asarray(
        ndimage.maximum(probability, candidates, np.arange(sizes.size)), dtype=np.float64
    )
    large, real = sizes >= voxels, lesion_sizes >= voxels
    found = np.full(lesion_sizes.size, -np.inf)
    np.maximum.at(found, lesion[large[candidate]], scores[candidate[large[candidate]]])
    imagined = large.copy()
    imagined[candidate] = False
    return Detections(found[1:][real[1:]], scores[1:][imagined[1:]])


def froc(cases: Sequence[Detections]) -> Froc:
    """Return the free-response ROC curve over cases, read as LUNA16 does.

    Several candidates on one lesion count once and are no false positives.

    Args: cases: of `detections`, or from boxes or points by the user's own rule; all with scores on
        one scale.

    Raises:
        InputError: no case, or no lesion in any.
    """
    found = np.concatenate([case.found for case in cases]) if cases else np.empty(0)
    if not found.size:
        raise InputError(
            f"{len(cases)} cases without one lesion were given; a sensitivity needs lesions. Add "
            "cases that have some."
        )
    imagined = np.concatenate([case.imagined for case in cases])
    thresholds = np.unique(np.concatenate([found[np.isfinite(found)], imagined]))[::-1]
    false = np.array([0.0, *(np.count_nonzero(imagined >= t) / len(cases) for t in thresholds)])
    sensitivity = np.array([0.0, *(np.count_nonzero(found >= t) / found.size for t in thresholds)])
    read = np.interp(RATES, false, sensitivity)
    return Froc(
        tuple(false.tolist()), tuple(sensitivity.tolist()), tuple(read.tolist()), float(read.mean())
    )


def _components(structure: Array) -> tuple[Array, Array]:
    """Return the connected components, numbered from 1, and the voxels of each number, 0
    included.
    """
    labels, count = ndimage.label(structure, structure=np.ones((3, 3, 3)))
    return labels, np.bincount(labels.ravel(), minlength=count + 1)
