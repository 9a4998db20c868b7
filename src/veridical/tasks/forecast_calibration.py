"""How wide the intervals of forecasts must be: factors found on simulated patients whose future is
known, apart from those that the figures in the documentation are of.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from veridical.audit.interval import Calibration, interval
from veridical.models.atrophy_rates import NAMES
from veridical.tasks.forecast_future import Future, Reals
from veridical.types import Array, Image, Interval

FILE = Path(__file__).parent.parent / "models" / "files" / "forecast.json"
"""Written by benchmarks/forecast.py."""


@cache
def calibration() -> dict[str, Any]:
    """Return the file."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def kind_of(future: Future) -> str:
    """Return the kind of patients whose calibration fits: by what changes the images."""
    if future.tumour is not None:
        return "tumour"
    return "lesions" if future.lesions is not None else "ageing"


def widening() -> Reals:
    """Return the factor of the spread of each region's volume, in the order of `NAMES`."""
    known = calibration()["volumes"]
    return np.array([known[name] for name in NAMES])


def band(future: Future, image: Image, spread: Array) -> Interval | None:
    """Return the calibrated interval of a forecast image: where a scan of that day would lie, noise
    included; None where no head is seen, or no patients of this kind calibrated it.

    Args:
        future: of the patient.
        image: the estimate.
        spread: `(channel, x, y, z)` its standard deviation.
    """
    stored = calibration()["images"].get(kind_of(future))
    if not stored or future.visits.flow is None:
        return None
    return interval(np.asarray(image.data), spread, Calibration.from_dict(stored))
