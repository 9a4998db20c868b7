"""Biology: did a change of look leave the amounts of tissue as they were?

Fluid, grey and white matter are told apart by intensity alone (three clusters in the foreground), before and after; another
look may change intensities, not volumes. It sees amounts of tissue, not where it lies, and no lesion: `pathology` does.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.types import Array, Finding, Verdict

LIMITS = (0.03, 0.1)
"""Change of a tissue's share of the foreground: at most the first passes, above the second fails."""
CLASSES = 3
ROUNDS = 50


def biology(before: Array, after: Array, body: Array) -> Finding:
    """Compare the shares of three tissue classes.

    Args:
        before, after: `(x, y, z)`, any units.
        body: bool of that shape; at least 100 voxels.

    Raises:
        InputError: shapes that differ, or too few voxels.
    """
    if not before.shape == after.shape == body.shape:
        raise InputError(f"Images {before.shape}, {after.shape} and mask {body.shape}; expected one shape.")
    if body.sum() < 100:
        raise InputError(f"{int(body.sum())} voxels lie in the object; at least 100 are needed to tell tissues apart.")
    first, second = shares(before[body]), shares(after[body])
    change = float(np.abs(first - second).max())
    verdict: Verdict = "pass" if change <= LIMITS[0] else "warn" if change <= LIMITS[1] else "fail"
    reason = f"The share of no tissue class changed by more than {change:.1%} of the object (up to {LIMITS[0]:.0%} passes)."
    if verdict != "pass":
        reason = f"The share of a tissue class changed by {change:.1%} of the object (up to {LIMITS[0]:.0%} passes)."
    return Finding("biology", verdict, reason, {"before": first.tolist(), "after": second.tolist()})


def shares(values: Array) -> Array:
    """Return the shares `(3,)` of three intensity clusters, dark to bright, by one-dimensional k-means (Lloyd 1982,
    10.1109/TIT.1982.1056489) from the quantiles 1/6, 3/6 and 5/6.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    total = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = np.quantile(ordered, (np.arange(CLASSES) + 0.5) / CLASSES)
    for _ in range(ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2), [len(ordered)]])
        counts = np.diff(edges)
        moved = np.where(counts > 0, np.diff(total[edges]) / np.maximum(counts, 1), centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return np.asarray(counts / len(ordered))
