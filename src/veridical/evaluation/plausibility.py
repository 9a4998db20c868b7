"""Anatomical plausibility of label maps: sizes, symmetry and topology of structures, and which lie
outside of the real ones'.

Tolerance intervals: of normal values Howe, JASA 1969 (10.1080/01621459.1969.10500999); of counts
Hahn and Chandra, Journal of Quality Technology 1981;13:100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats
from skimage.measure import euler_number

from veridical.errors import GeometryError, InputError, SettingError
from veridical.types import Array

FEWEST = 3
"""Real cases without which a value cannot be judged."""
COUNTS = ("components", "tunnels", "cavities")
TOUCHING = ndimage.generate_binary_structure(3, 3)
"""Voxels of a structure are connected by corners (26 neighbours); then those of its background are
by faces (6).
"""


@dataclass(frozen=True)
class Outside:
    """A value that real cases do not have.

    Args:
        case: name of the candidate.
        measure: key of `plausibility`.
        value: the candidate's.
        low, high: what real cases have.
    """

    case: str
    measure: str
    value: float
    low: float
    high: float


def plausibility(
    labels: Array, spacing: tuple[float, float, float], structures: Mapping[int, str]
) -> dict[str, float]:
    """Return size, symmetry and topology of each structure.

    Args: labels: whole numbers, `(x, y, z)`, x from left to right as in RAS+; 0 is background.
        spacing: voxel size in mm. structures: label -> name, all that a case should have, so that
        all cases give the same values.

    Returns: By `NAME/MEASURE`: `volume` (ml); `components`, `tunnels` and `cavities`, the Betti
        numbers, whose alternating sum is the Euler number; and unless the volume is 0 `asymmetry`,
        `(left - right) / mean(left, right)` of the volumes on both sides of the mid-plane, in [-2,
        2]. The mid-plane is the plane of x about which the profile of all labelled voxels along x
        agrees best with its mirror image.

    Raises:
        GeometryError: not three axes.
        InputError: labels that are not of an integer type.
    """
    if labels.ndim != 3:
        raise GeometryError(
            f"Labels of shape {labels.shape} were given; expected (x, y, z). Take one channel: "
            "labels[0]."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"Labels of type {labels.dtype} were given; expected whole numbers. Round them: "
            "labels.astype(int)."
        )
    whole = (labels > 0).sum(axis=(1, 2), dtype=np.float64)
    side = np.sign(np.argmax(np.convolve(whole, whole)) / 2 - np.arange(len(whole)))
    boxes = dict(enumerate(ndimage.find_objects(labels), start=1))
    found: dict[str, float] = {}
    for label, name in structures.items():
        box = boxes.get(label)
        mask = np.zeros((1, 1, 1), dtype=bool) if box is None else labels[box] == label
        profile = mask.sum(axis=(1, 2))
        found[f"{name}/volume"] = float(profile.sum() * np.prod(spacing) / 1000)
        found |= {f"{name}/{measure}": float(count) for measure, count in _betti(mask).items()}
        if box is not None:
            found[f"{name}/asymmetry"] = float(2 * (side[box[0]] * profile).sum() / profile.sum())
    return found


def outside(
    candidates: Mapping[str, Mapping[str, float]],
    references: Sequence[Mapping[str, float]],
    *,
    content: float = 0.99,
    confidence: float = 0.95,
) -> list[Outside]:
    """Return the values of candidates that real cases do not have, case by case.

    A value is outside when it is beyond those of all real cases and beyond their tolerance
    interval, inside which lies a share `content` of real cases with a probability of `confidence`,
    however few were seen. That is the mean with a multiple of the standard deviation on both sides
    for normal values (13 times for 3 cases, 3.9 for 15, 2.9 for 100); for counts, where all real
    ones are often equal, not less than what Poisson counts above the smallest one allow.

    Args:
        candidates: case -> values by `plausibility`.
        references: the same of real cases. What fewer than 3 of them have is not judged.
        content, confidence: in (0, 1).

    Raises:
        InputError: fewer than 3 real cases.
        SettingError: content or confidence is not in (0, 1).
    """
    if len(references) < FEWEST:
        raise InputError(
            f"{len(references)} real cases were given; expected at least {FEWEST} to say what is "
            "usual. Add some."
        )
    if not (0 < content < 1 and 0 < confidence < 1):
        raise SettingError(
            f"Content {content} and confidence {confidence} were given; expected shares between 0 "
            "and 1."
        )
    ranges = {}
    for measure in {measure for values in references for measure in values}:
        real = np.array([values[measure] for values in references if measure in values])
        if len(real) >= FEWEST:
            ranges[measure] = _range(real, measure.endswith(COUNTS), content, confidence)
    return [
        Outside(case, measure, value, *ranges[measure])
        for case, values in candidates.items()
        for measure, value in values.items()
        if measure in ranges and not ranges[measure][0] <= value <= ranges[measure][1]
    ]


def _range(real: Array, counts: bool, content: float, confidence: float) -> tuple[float, float]:
    n, least = len(real), real.min()
    spread = np.sqrt((n - 1) * (1 + 1 / n) / stats.chi2.ppf(1 - confidence, n - 1)) * real.std(
        ddof=1
    )
    away = stats.norm.ppf((1 + content) / 2) * spread
    low, high = min(least, real.mean() - away), max(real.max(), real.mean() + away)
    if counts:
        rate = stats.chi2.ppf(confidence, 2 * ((real - least).sum() + 1)) / (2 * n)
        high = max(high, least + stats.poisson.ppf(content, rate))
    return float(low), float(high)


def _betti(mask: Array) -> dict[str, int]:
    """Return the numbers of components, of tunnels through them and of cavities inside them."""
    box = np.pad(mask, 1)
    components = int(ndimage.label(box, TOUCHING)[1])
    cavities = int(ndimage.label(~box)[1]) - 1
    return {
        "components": components,
        "tunnels": components + cavities - int(euler_number(box, 3)),
        "cavities": cavities,
    }
