"""Biology: did a change of look leave the amounts of tissue as they were?

A look is a rising intensity curve, so what one undoes is no change of biology: `same_look` takes it away. What is left is
compared: three tissue classes (in T1w fluid, grey and white matter) told apart by intensity before, and by the same thresholds
after. It sees amounts of tissue, not where it lies; of lesions `pathology` tells, and of a group's ages `age_effect`.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.types import Array, Finding, Verdict

LIMITS = (0.05, 0.15)
"""Change of a tissue's volume: at most the first passes, above the second fails. Volumetry repeats itself to 1 to 5 %."""
CLASSES = ("dark", "middle", "bright")
ROUNDS = 50
BINS = 256
"""Steps of the curve that takes a look away."""


def biology(before: Array, after: Array, body: Array) -> Finding:
    """Compare the volumes of three tissue classes.

    Args:
        before, after: `(x, y, z)`, any units.
        body: bool of that shape; at least 100 voxels.

    Returns:
        A finding; its evidence holds the `(3,)` shares of the body `before` and `after`, and the `change` of each relative
        to before.

    Raises:
        InputError: shapes that differ, or too few voxels.
    """
    alike = same_look(after, before, body)[body]
    edges = thresholds(before[body])
    first, second = (np.bincount(np.digitize(i, edges), minlength=len(CLASSES)) / alike.size for i in (before[body], alike))
    change = second / np.maximum(first, 1 / alike.size) - 1
    worst = int(np.abs(change).argmax())
    size = abs(float(change[worst]))
    verdict: Verdict = "pass" if size <= LIMITS[0] else "warn" if size <= LIMITS[1] else "fail"
    reason = (
        f"Of three tissue classes by intensity, the {CLASSES[worst]} one changed most in volume, by {change[worst]:+.1%} "
        f"(up to {LIMITS[0]:.0%} passes)."
    )
    return Finding("biology", verdict, reason, {"before": first.tolist(), "after": second.tolist(), "change": change.tolist()})


def same_look(image: Array, reference: Array, body: Array) -> Array:
    """Return an image under the rising intensity curve that brings it closest to another of the same patient.

    Isotonic regression (Barlow et al. 1972) of medians over quantiles: all that a look changes is gone, the content is left,
    as long as it is the same in most of the voxels of an intensity.

    Args:
        image, reference: `(x, y, z)`, any units.
        body: bool of that shape, where the curve is fitted; at least 100 voxels.

    Returns:
        `(x, y, z)` in the units of the reference.

    Raises:
        InputError: shapes that differ, or too few voxels.
    """
    from sklearn.isotonic import isotonic_regression

    if not image.shape == reference.shape == body.shape:
        raise InputError(f"Images {image.shape} and {reference.shape}, mask {body.shape}; expected one shape.")
    if body.sum() < 100:
        raise InputError(f"{int(body.sum())} voxels lie in the object; at least 100 are needed to tell tissues apart.")
    values, wanted = np.asarray(image[body], np.float64), np.asarray(reference[body], np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="right")
    counts = np.bincount(place, minlength=len(edges) + 1)
    there = counts > 0
    centres = np.bincount(place, values)[there] / counts[there]
    levels = [np.median(part) for part in np.split(wanted[np.argsort(place)], np.cumsum(counts[there])[:-1])]
    rising = isotonic_regression(levels, sample_weight=counts[there])
    return np.asarray(np.interp(image, centres, rising))


def thresholds(values: Array) -> Array:
    """Return the two intensities `(2,)` that part three clusters, dark to bright, by one-dimensional k-means (Lloyd 1982,
    10.1109/TIT.1982.1056489) from the quantiles 1 % and 99 % and halfway.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    total = np.concatenate([[0.0], np.cumsum(ordered)])
    low, high = (float(np.quantile(ordered, q)) for q in (0.01, 0.99))
    centres = np.linspace(low, high, len(CLASSES))
    for _ in range(ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2), [len(ordered)]])
        counts = np.diff(edges)
        moved = np.where(counts > 0, np.diff(total[edges]) / np.maximum(counts, 1), centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return np.asarray((centres[1:] + centres[:-1]) / 2)
