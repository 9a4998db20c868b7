"""Pathology: was a lesion kept as bright or dark against its surroundings as it was, and where may
one be imagined?

With a lesion mask, contrast in the result is compared with contrast in the measured image of that
channel. Of a channel that was not measured it can only be said where posterior samples disagree:
there a lesion may be missed or invented. Samples may also agree on an image without the lesion, so
that a made channel passes only where the card of its weights states a test on lesions of patients
that earned it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from veridical.audit.biology import LEAST, foreground, same_style
from veridical.audit.inputs import images, lesions, onto, scan
from veridical.types import SEVERITY, Array, Finding, Result, Study, Verdict

NAME = "pathology"
RING = 3
"""Voxels around a lesion that are its surroundings."""
CHANGED = (0.2, 0.5)
"""Share of a lesion's contrast that may be lost or added: at most the first passes, above the
second fails.
"""
WEAK = 0.5
"""Evidence below which a voxel counts as imagined."""
EARNED = 0.85
"""Area under the ROC curve, lesion voxels of made images against other brain, from which a made
channel may pass.
"""
LARGE = 1000.0
"""Cubic millimetres of connected imagined tissue that warn."""


def pathology(study: Study, result: Result) -> Finding | None:
    """Judge every channel of a result and return the worst of them.

    None where it does not apply: images from raw data, and channels that were measured of studies
    without marked lesions.
    """
    measured = images(study, result)
    if not measured:
        reason = (
            "Nothing of a patient was measured, so there is no lesion that could be kept, missed "
            "or invented."
        )
        return None if scan(study) is not None else Finding(NAME, "not_run", reason)
    geometry, marked = result.image.geometry, lesions(study, result.image.geometry)
    voxel = abs(float(np.linalg.det(geometry.affine[:3, :3])))
    found = []
    for index, name in enumerate(result.image.channels):
        before = onto(measured[name], geometry) if name in measured else None
        if before is not None and marked is None:
            continue
        after = np.asarray(result.image.data[index])
        known = (
            None
            if result.evidence is None or result.evidence.map is None
            else result.evidence.map[index]
        )
        one = judged(
            _styled(name, after, before, result), before, known, marked, _body(after, result), voxel
        )
        one = one if before is not None else _earned(one, name, set(measured), result)
        style = (
            ", under the intensity style it had" if name == result.facts.get("harmonized") else ""
        )
        found.append(
            replace(
                one,
                reason=f"{name}{style}: {one.reason}",
                evidence={"channel": name, **one.evidence},
            )
        )
    return max(found, key=lambda finding: SEVERITY.index(finding.verdict), default=None)


def _earned(finding: Finding, name: str, given: set[str], result: Result) -> Finding:
    """Let a channel that was not measured pass only by a test on lesions that its card states."""
    tests = result.facts.get("card", {}).get("lesion_tests", {}).get(name, {})
    fitting = {inputs: auc for inputs, auc in tests.items() if set(inputs.split("+")) <= given}
    best = max(fitting, key=lambda inputs: fitting[inputs], default="")
    numbers = dict(finding.evidence) | ({"lesion_auc": fitting[best]} if best else {})
    if finding.verdict != "pass" or (best and fitting[best] >= EARNED):
        return replace(finding, evidence=numbers)
    why = (
        f"lesions of patients were told from other brain with an AUC of {fitting[best]:.2f} "
        f"({EARNED} is asked for) in images made from {best.replace('+', ' and ')}"
        if best
        else "no test on lesions of patients is stated for images made from "
        f"{' and '.join(sorted(given)) or 'nothing'}"
    )
    reason = f"{finding.reason} But this channel was not measured, and {why}."
    return replace(finding, verdict="warn", reason=reason + _BEWARE, evidence=numbers)


def _body(image: Array, result: Result) -> Array:
    known = result.facts.get("body")
    return foreground(image) if known is None else np.asarray(known, bool)


def _styled(name: str, after: Array, before: Array | None, result: Result) -> Array:
    """Return a channel; one that was harmonized under the intensity style it had, since contrasts
    of two styles differ.
    """
    body = _body(after, result)
    if before is None or name != result.facts.get("harmonized") or body.sum() < LEAST:
        return after
    return same_style(after, before, body)


def judged(
    estimate: Array,
    measured: Array | None,
    evidence: Array | None,
    lesions: Array | None,
    body: Array,
    voxel: float,
) -> Finding:
    """Judge one channel.

    Args: estimate: `(x, y, z)`. measured: the degraded image of the same channel on the same grid;
        None where the channel was not measured. evidence: `(x, y, z)` in [0, 1], or None. lesions:
        mask `(x, y, z)`, or None where nobody marked any. body: `(x, y, z)` bool, where there is an
        object. voxel: volume of one voxel in cubic millimetres.
    """
    if lesions is not None and lesions.any() and measured is not None:
        return _compared(estimate, measured, np.asarray(lesions, bool))
    if evidence is None:
        return Finding(
            NAME,
            "not_run",
            "Without posterior samples nothing can be said of lesions missed or invented.",
        )
    if not body.any():
        return Finding(
            NAME,
            "not_run",
            "The image shows no object in which lesions could be missed or invented.",
        )
    imagined = (evidence < WEAK) & body
    if lesions is not None and lesions.any():
        inside, rest = float(evidence[lesions > 0].mean()), body & ~(lesions > 0)
        outside = float(evidence[rest if rest.any() else body].mean())
        numbers = {"evidence_in_lesions": inside, "evidence_outside": outside}
        verdict: Verdict = "pass" if inside >= WEAK else "warn"
        reason = (
            f"Evidence is {inside:.2f} inside the marked lesions and {outside:.2f} in the rest of "
            "the body."
        )
        return Finding(NAME, verdict, reason + (_BEWARE if verdict == "warn" else ""), numbers)
    labels, count = ndimage.label(imagined)
    sizes = np.bincount(labels.ravel())[1:] * voxel if count else np.zeros(0)
    large = int((sizes > LARGE).sum())
    share = float(imagined.sum() / max(1, int(body.sum())))
    numbers = {
        "imagined_share": share,
        "large_regions": large,
        "largest_mm3": float(sizes.max()) if count else 0.0,
    }
    if large == 0:
        return Finding(
            NAME,
            "pass",
            f"No region of more than {LARGE:.0f} mm3 is imagined (evidence below {WEAK}).",
            numbers,
        )
    reason = (
        f"{large} regions of more than {LARGE:.0f} mm3, {share:.0%} of the body, are imagined "
        f"(evidence below {WEAK})."
    )
    return Finding(NAME, "warn", reason + _BEWARE, numbers)


_BEWARE = (
    " A lesion there may be missed or invented; look at the posterior samples, not at the estimate "
    "alone."
)


def _compared(estimate: Array, measured: Array, lesions: Array) -> Finding:
    labels, count = ndimage.label(lesions)
    changes = []
    for which in range(1, count + 1):
        lesion = labels == which
        if lesion.sum() < 3:
            continue
        ring = ndimage.binary_dilation(lesion, iterations=RING) & ~ndimage.binary_dilation(lesions)
        before, after = (
            float(i[lesion].mean() - i[ring].mean()) if ring.any() else 0.0
            for i in (measured, estimate)
        )
        spread = float(measured[ring].std()) if ring.any() else 0.0
        if abs(before) > 0.5 * spread:
            changes.append(after / before - 1)
    if not changes:
        return Finding(
            NAME,
            "not_run",
            "No marked lesion stands out from its surroundings in the measured image.",
        )
    most = max(changes, key=abs)
    size = abs(most)
    verdict: Verdict = "pass" if size <= CHANGED[0] else "warn" if size <= CHANGED[1] else "fail"
    reason = (
        f"Contrast of {len(changes)} marked lesions against their surroundings changed by "
        f"{most:+.0%} at most."
    )
    return Finding(
        NAME,
        verdict,
        reason,
        {"lesions": len(changes), "worst_change": most, "mean_change": float(np.mean(changes))},
    )
