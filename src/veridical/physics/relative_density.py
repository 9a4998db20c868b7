"""From CT to what photons see: electron density relative to water."""

from __future__ import annotations

import numpy as np

from veridical.types import Array

KNEE, SLOPE, START = 100.0, 0.00048, 1.052
"""HU from which bone and its calcium bend the line, and the line beyond (Thomas SJ, Br J Radiol
1999;72:781, 10.1259/bjr.72.860.10624344).
"""
METAL = 3000.0
"""HU at which it is cut: what is denser is metal, whose HU say nothing of its density."""


def relative_electron_density(hu: Array) -> Array:
    """Return the electron density relative to water of CT in HU: air 0, water 1, bone to 2.5."""
    cut = np.clip(hu, -1000, METAL)
    return np.asarray(np.where(cut < KNEE, 1 + cut / 1000, START + SLOPE * cut), np.float32)
