"""Biology: did a change of intensity style leave the amounts of tissue as they were?

A style is a rising intensity curve, so what one undoes is no change of biology: `same_style` takes
it away. What is left is compared: three tissue classes (in T1w fluid, grey and white matter) told
apart by intensity before, and by the same thresholds after. It sees amounts of tissue, not where it
lies; of lesions `pathology` tells, and of a group's ages `age_effect`.
"""

from __future__ import annotations

import numpy as np

from veridical.audit.inputs import images, onto
from veridical.errors import InputError
from veridical.types import Array, Finding, Result, Study, Verdict

LIMITS = (0.05, 0.15)
"""Change of a tissue's volume: at most the first passes, above the second fails. Volumetry repeats
itself to 1 to 5 %.
"""
CLASSES = ("dark", "middle", "bright")
ROUNDS = 50
LEAST = 100
"""Voxels of the object without which tissues are not told apart."""
BINS = 256
"""Steps of the curve that takes a style away."""


def biology(study: Study, result: Result) -> Finding | None:
    """Judge a harmonized channel, `result.facts["harmonized"]`; None for results whose style was to
    stay.
    """
    channel = str(result.facts.get("harmonized", ""))
    before = images(study, result).get(channel)
    if before is None:
        return None
    after = result.image[channel]
    first = onto(before, result.image.geometry)
    known = result.facts.get("body")
    body = foreground(first) if known is None else np.asarray(known, bool)
    if body.sum() < LEAST:
        reason = (
            f"{int(body.sum())} voxels of {channel} lie in the object; {LEAST} are needed to tell "
            "tissues apart."
        )
        return Finding("biology", "not_run", reason)
    return tissue_volumes(first, after, body)


def foreground(image: Array) -> Array:
    """Return the voxels above a tenth of the 99th percentile, bool `(x, y, z)`."""
    return np.asarray(image > 0.1 * np.percentile(image, 99))


def tissue_volumes(before: Array, after: Array, body: Array) -> Finding:
    """Compare the volumes of three tissue classes.

    Args:
        before, after: `(x, y, z)`, any units.
        body: bool of that shape; at least 100 voxels.

    Returns: A finding; its evidence holds the `(3,)` shares of the body `before` and `after`, and
        the `change` of each relative to before.

    Raises:
        InputError: shapes that differ, or too few voxels.
    """
    alike = same_style(after, before, body)[body]
    edges = thresholds(before[body])
    first, second = (
        np.bincount(np.digitize(i, edges), minlength=len(CLASSES)) / alike.size
        for i in (before[body], alike)
    )
    change = second / np.maximum(first, 1 / alike.size) - 1
    most = int(np.abs(change).argmax())
    size = abs(float(change[most]))
    verdict: Verdict = "pass" if size <= LIMITS[0] else "warn" if size <= LIMITS[1] else "fail"
    reason = (
        f"Of three tissue classes by intensity, the {CLASSES[most]} one changed most in volume, by "
        f"{change[most]:+.1%} "
        f"(up to {LIMITS[0]:.0%} passes)."
    )
    return Finding(
        "biology",
        verdict,
        reason,
        {"before": first.tolist(), "after": second.tolist(), "change": change.tolist()},
    )


def same_style(image: Array, reference: Array, body: Array) -> Array:
    """Return an image under the rising intensity curve that brings it closest to another of the
    same patient.

    Isotonic regression (Barlow et al. 1972) of medians over quantiles: all that a style changes is
    gone, the content is left, as long as it is the same in most of the voxels of an intensity.

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
        raise InputError(
            f"Images {image.shape} and {reference.shape}, mask {body.shape}; expected one shape."
        )
    if body.sum() < LEAST:
        raise InputError(
            f"{int(body.sum())} voxels lie in the object; at least {LEAST} are needed to tell "
            "tissues apart."
        )
    values, wanted = np.asarray(image[body], np.float64), np.asarray(reference[body], np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="right")
    counts = np.bincount(place, minlength=len(edges) + 1)
    there = counts > 0
    centres = np.bincount(place, values)[there] / counts[there]
    levels = [
        np.median(part)
        for part in np.split(wanted[np.argsort(place)], np.cumsum(counts[there])[:-1])
    ]
    rising = isotonic_regression(levels, sample_weight=counts[there])
    return np.asarray(np.interp(image, centres, rising))


def thresholds(values: Array) -> Array:
    """Return the two intensities `(2,)` that part three clusters, dark to bright, by
    one-dimensional k-means (Lloyd 1982, 10.1109/TIT.1982.1056489) from the quantiles 1 % and 99 %
    and halfway.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    total = np.concatenate([[0.0], np.cumsum(ordered)])
    low, high = (float(np.quantile(ordered, q)) for q in (0.01, 0.99))
    centres = np.linspace(low, high, len(CLASSES))
    for _ in range(ROUNDS):
        edges = np.concatenate(
            [[0], np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2), [len(ordered)]]
        )
        counts = np.diff(edges)
        moved = np.where(counts > 0, np.diff(total[edges]) / np.maximum(counts, 1), centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return np.asarray((centres[1:] + centres[:-1]) / 2)
