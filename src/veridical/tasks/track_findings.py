"""What is said of a tracked sequence: whether the model explains the measurements, whether the
motion is one that the reference has shown, what the model rests on, and how long a frame takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from veridical.types import SEVERITY, Finding, Verdict

if TYPE_CHECKING:
    from veridical.models.motion_model import MotionModel
    from veridical.tasks.track import Tracked

Reals = NDArray[np.float64]

LIMITS = (1.5, 3.0)
"""Residual over what is expected, in variance: a frame passes up to the first, and fails above the
second.
"""
FRAMES = (0.1, 0.5)
"""Share of frames beyond a limit above which it is said, and above which it fails."""
BEYOND = 0.25
"""Share of the range of the reference that motion may lie outside of it."""
CYCLES, ENOUGH = 2.0, 12
"""Breaths or beats, and frames, that a reference should have."""
EXPLAINED = 0.8
"""Share of the motion that the modes should explain."""


def findings(
    model: MotionModel, made: Tracked, before: Reals, seconds: Reals, operator: str
) -> Iterator[Finding]:
    """Say all of it.

    Args:
        model: of the body.
        made: all frames.
        before: `(t,)` s of the reference.
        seconds: `(frame,)` s.
        operator: name of what measured the frames.
    """
    yield _model(model, before)
    yield _residual(made, operator)
    yield _range(model, made)
    yield _latency(made, seconds)


def _verdict(share: float) -> Verdict:
    return "pass" if share <= FRAMES[0] else "warn" if share <= FRAMES[1] else "fail"


def _model(model: MotionModel, before: Reals) -> Finding:
    first = model.course[:, 0]
    cycles = float(np.count_nonzero(np.diff(np.sign(first - np.median(first))))) / 2
    count = len(model.modes)
    evidence = {
        "frames": len(before), "cycles": cycles, "modes": count,
        "explained": round(model.explained, 4), "rates_per_s": model.rates.round(3).tolist(),
    }  # fmt: skip
    said = (
        f"{count} motion field{'s' * (count > 1)} from {len(before)} frames explain "
        f"{model.explained:.0%} of the motion over about {cycles:g} cycles."
    )
    short = []
    if cycles < CYCLES or len(before) < ENOUGH:
        short.append(
            f"Expected {CYCLES:g} breaths or beats and {ENOUGH} frames or more; what others do is "
            "not known."
        )
    if model.explained < EXPLAINED:
        short.append(f"Less than {EXPLAINED:.0%}: allow more --modes.")
    return Finding("motion model", "warn" if short else "pass", " ".join([said, *short]), evidence)


def _residual(made: Tracked, operator: str) -> Finding:
    found = np.array([belief.misfit for belief in made.beliefs])
    share = float(np.mean(found > LIMITS[0]))
    far = float(np.mean(found > LIMITS[1]))
    verdict: Verdict = (
        "fail"
        if far > FRAMES[1]
        else max(
            _verdict(far),
            "pass" if share <= FRAMES[1] else "warn",
            key=SEVERITY.index,
        )
    )
    what = (
        "the signal is from what earlier frames let expect"
        if operator == "surrogate-frames"
        else "the measurements are from what the model explains"
    )
    reason = (
        f"In variance {what} {np.median(found):.2f} times as far as on the reference (median; 1 is "
        f"usual); {share:.0%} of the frames lie above {LIMITS[0]:g}, {far:.0%} above "
        f"{LIMITS[1]:g}."
    )
    evidence = {
        "median": round(float(np.median(found)), 3), "largest": round(float(found.max()), 3),
        "above": {str(LIMITS[0]): round(share, 4), str(LIMITS[1]): round(far, 4)},
    }  # fmt: skip
    return Finding("motion residual", verdict, reason, evidence)


def _range(model: MotionModel, made: Tracked) -> Finding:
    k = len(model.modes)
    weights = np.array([belief.weights[:k] for belief in made.beliefs])
    low, high = model.most.T
    over = np.maximum(low - weights, weights - high) / (high - low)
    most = over.max(1).clip(0)
    share = float(np.mean(most > BEYOND))
    verdict = _verdict(share)
    reason = (
        f"{share:.0%} of the frames moved more than {BEYOND:.0%} of the reference's range beyond "
        f"it; the farthest by {most.max():.0%}."
    )
    if verdict != "pass":
        reason += " There the model extrapolates; measure a new reference."
    evidence = {"share": round(share, 4), "farthest": round(float(most.max()), 4)}
    return Finding("motion range", verdict, reason, evidence)


def _latency(made: Tracked, seconds: Reals) -> Finding:
    known, shown = (np.array(one) for one in zip(*made.waits, strict=True))
    gap = 1000 * float(np.median(np.diff(seconds))) if len(seconds) > 1 else float("inf")
    late = float(np.percentile(shown, 95))
    reason = (
        f"A frame took {np.median(known):.0f} ms to its motion coefficients and "
        f"{np.median(shown):.0f} ms to image, fields and intervals (median, on this machine)"
    )
    evidence = {
        "coefficients_ms": round(float(np.median(known)), 2),
        "all_ms": round(float(np.median(shown)), 2), "all_95_ms": round(late, 2),
        "frame_ms": None if np.isinf(gap) else round(gap, 2),
    }  # fmt: skip
    if late > gap:
        reason += f"; the 95th percentile, {late:.0f} ms, is more than the {gap:.0f} ms of a frame"
        return Finding("latency", "warn", f"{reason}.", evidence)
    return Finding("latency", "pass", f"{reason}.", evidence)
