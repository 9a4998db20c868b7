"""Toy cines: a coarse abdomen that breathes, with reference and frames."""

from __future__ import annotations

from functools import cache

import numpy as np

from veridical.phantoms.breathing_abdomen import BreathingAbdomen
from veridical.phantoms.cine_scan import CineScan
from veridical.types import Image, Study

BEFORE, SECONDS = 0.7 * np.arange(14), 1.0 + 0.25 * np.arange(6)


@cache
def scan(look: str = "bSSFP") -> CineScan:
    """A sagittal slice of 40 x 40 voxels; tracked in another session."""
    body = BreathingAbdomen(seed=1, spacing=6)
    later = BreathingAbdomen(seed=1, spacing=6, session=2, irregular=0.5)
    noise = 20.0 if look == "CT" else 0.03
    return CineScan(body, later, 37, 0, look, noise)  # type: ignore[arg-type]


@cache
def study(means: str = "spokes", number: int = 2) -> Study:
    """Reference and frames; projections of CT, all else of MR."""
    chosen = scan("CT" if means == "projections" else "bSSFP")
    return chosen.study(BEFORE, SECONDS, means, number, 0.01)  # type: ignore[arg-type]


def breathing() -> tuple[CineScan, float]:
    """A body whose breaths are all alike, and how long one lasts, s."""
    body = BreathingAbdomen(seed=1, spacing=6, irregular=0.0)
    return CineScan(body, body, 37, 0, "bSSFP", 0.01), float(body.breaths.starts[1])


@cache
def breath(count: int = 8) -> Image:
    """One breath in frames at equal distances."""
    chosen, period = breathing()
    return chosen.reference(period * np.arange(count) / count)
