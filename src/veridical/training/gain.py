"""What adapted weights gained on held-out patients over the weights that they come from, batch by
batch, on batches by which nothing was chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.errors import InputError
from veridical.models import weights
from veridical.nets.lora import merged
from veridical.training import stopping
from veridical.training.card_scores import LEAST, UNCALIBRATED, t_interval
from veridical.training.checkpoints import log_lines
from veridical.training.loop import Run
from veridical.types import Array


def gained(run: Run) -> dict[str, Any]:
    """Return the entries of the card that say so: `adaptation`, and `uncalibrated`.

    Args:
        run: finished, with weights that it started from, and held-out patients.

    Raises:
        InputError: the weights are not better than those.
    """
    plan, line = run.plan, _best(run)
    count = max(LEAST, plan.training.validate)
    before, after = (_scores(run, kept, count) for kept in (False, True))
    gain = after - before
    mean = float(gain.mean())
    if line["step"] == 0 or mean <= 0:
        raise InputError(
            f"After {run.step} steps the weights are not better on the held-out patients than "
            f"{plan.start!r}, which they come from ({before.mean():.2f} dB, then "
            f"{after.mean():.2f} dB); none were written. Go on with {plan.start!r}. Or check "
            "names, registration and contrasts, give more patients, or let less be learned: "
            "--how head."
        )
    every = sum(value.numel() for value in merged(run.net).values())
    said = {
        "way": plan.training.adapt,
        "learned": round(sum(part.numel() for part in run.learned) / every, 4),
        "step": line["step"],
        "patients": sum(run.unseen.patients().values()),
        "items": count,
        "before": round(float(before.mean()), 3),
        "after": round(float(after.mean()), 3),
        "gain": round(mean, 3),
        "interval": t_interval([float(one) for one in gain]),
    }
    return {"adaptation": said, "uncalibrated": _uncalibrated(plan.start)}


def _best(run: Run) -> dict[str, Any]:
    lines = log_lines(run.folder)
    return lines[stopping.best(lines)]


def _scores(run: Run, kept: bool, count: int) -> Array:
    """Return the mean score in dB of each of `count` batches, `(batch,)`, after those by which the
    best weights were chosen.
    """
    net = run.model.build(run.plan.net).to(run.ranks.device)
    net.load_state_dict(run.kept() if kept else weights.load(run.plan.start))
    first, device = run.plan.training.validate, run.ranks.device
    items = (run.unseen.validate(net.eval(), 1, device, first + item) for item in range(count))
    return np.array([stopping.quality(item) for item in items])


def _uncalibrated(start: str) -> str:
    """Return why the card has no calibration."""
    if not weights.card(start).get("calibration"):
        return UNCALIBRATED
    return (
        f"Intervals were calibrated for the weights {start.rsplit('/', 1)[-1]!r} and do not hold "
        "for these, which were adapted from them: run veridical calibrate on other patients."
    )
