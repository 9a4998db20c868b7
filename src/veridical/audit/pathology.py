"""Pathology: was a lesion kept as bright or dark against its surroundings as it was, and where may one be imagined?

With a lesion mask, contrast in the result is compared with contrast in the measured image of that channel. Without one, or
for a channel that was not measured, it can only be said where the draws disagree: there a lesion may be missed or invented.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.types import Array, Finding, Verdict

RING = 3
"""Voxels around a lesion that are its surroundings."""
CHANGED = (0.2, 0.5)
"""Share of a lesion's contrast that may be lost or added: at most the first passes, above the second fails."""
WEAK = 0.5
"""Evidence below which a voxel counts as imagined."""
LARGE = 1000.0
"""Cubic millimetres of connected imagined tissue that warn."""


def pathology(
    estimate: Array, measured: Array | None, evidence: Array | None, lesions: Array | None, body: Array, voxel: float
) -> Finding:
    """Judge one channel.

    Args:
        estimate: `(x, y, z)`.
        measured: the degraded image of the same channel on the same grid; None where the channel was not measured.
        evidence: `(x, y, z)` in [0, 1], or None.
        lesions: mask `(x, y, z)`, or None where nobody marked any.
        body: `(x, y, z)` bool, where there is an object.
        voxel: volume of one voxel in cubic millimetres.
    """
    if lesions is not None and lesions.any() and measured is not None:
        return _compared(estimate, measured, np.asarray(lesions, bool))
    if evidence is None:
        return Finding("pathology", "not_run", "Without draws nothing can be said of lesions missed or invented.")
    imagined = (evidence < WEAK) & body
    if lesions is not None and lesions.any():
        inside, outside = float(evidence[lesions > 0].mean()), float(evidence[body & ~(lesions > 0)].mean())
        numbers = {"evidence_in_lesions": inside, "evidence_outside": outside}
        verdict: Verdict = "pass" if inside >= WEAK else "warn"
        reason = f"Evidence is {inside:.2f} inside the marked lesions and {outside:.2f} in the rest of the body."
        return Finding("pathology", verdict, reason + (_BEWARE if verdict == "warn" else ""), numbers)
    labels, count = ndimage.label(imagined)
    sizes = np.bincount(labels.ravel())[1:] * voxel if count else np.zeros(0)
    large = int((sizes > LARGE).sum())
    share = float(imagined.sum() / max(1, int(body.sum())))
    numbers = {"imagined_share": share, "large_regions": large, "largest_mm3": float(sizes.max()) if count else 0.0}
    if large == 0:
        return Finding(
            "pathology", "pass", f"No region of more than {LARGE:.0f} mm3 is imagined (evidence below {WEAK}).", numbers
        )
    reason = f"{large} regions of more than {LARGE:.0f} mm3, {share:.0%} of the body, are imagined (evidence below {WEAK})."
    return Finding("pathology", "warn", reason + _BEWARE, numbers)


_BEWARE = " A lesion there may be missed or invented; look at the draws, not at the estimate alone."


def _compared(estimate: Array, measured: Array, lesions: Array) -> Finding:
    labels, count = ndimage.label(lesions)
    changes = []
    for which in range(1, count + 1):
        lesion = labels == which
        if lesion.sum() < 3:
            continue
        ring = ndimage.binary_dilation(lesion, iterations=RING) & ~ndimage.binary_dilation(lesions)
        before, after = (float(i[lesion].mean() - i[ring].mean()) if ring.any() else 0.0 for i in (measured, estimate))
        spread = float(measured[ring].std()) if ring.any() else 0.0
        if abs(before) > 0.5 * spread:
            changes.append(after / before - 1)
    if not changes:
        return Finding("pathology", "not_run", "No marked lesion stands out from its surroundings in the measured image.")
    worst = max(changes, key=abs)
    size = abs(worst)
    verdict: Verdict = "pass" if size <= CHANGED[0] else "warn" if size <= CHANGED[1] else "fail"
    reason = f"Contrast of {len(changes)} marked lesions against their surroundings changed by {worst:+.0%} at most."
    return Finding(
        "pathology", verdict, reason, {"lesions": len(changes), "worst_change": worst, "mean_change": float(np.mean(changes))}
    )
