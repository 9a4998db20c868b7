"""What every degradation must keep."""

from __future__ import annotations

import json

import numpy as np

from veridical.physics.degradation import Degradation
from veridical.testing.subjects import disc

SPACING = (2.0, 1.5)


def check_degradation(degradation: Degradation) -> None:
    """Check a degradation: parameters are JSON and give the same image again, the input stays, the
    result is finite float32 of the same shape, and another draw gives another image.

    Raises:
        AssertionError: a promise is broken.
    """
    images = np.stack([disc(), 0.8 * disc()])
    image = 1000 * images - 1000 if "CT" in degradation.modalities else 5 * images
    kept = image.copy()
    drawn = [
        degradation.draw((image.shape[1], image.shape[2]), SPACING, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1], "the same seed draws other parameters"
    stored = json.loads(json.dumps(drawn[0]))
    first, again, other = (
        degradation.apply(image, SPACING, p) for p in (drawn[0], stored, drawn[2])
    )
    assert np.array_equal(image, kept), "the image was changed"
    assert first.shape == image.shape, f"the shape became {first.shape}; expected {image.shape}"
    assert first.dtype == np.float32, f"the type became {first.dtype}; expected float32"
    assert np.isfinite(first).all(), "the result is not finite"
    assert np.array_equal(first, again), "parameters that were stored as JSON give another image"
    assert not np.array_equal(first, image), "nothing was degraded"
    assert not np.array_equal(first, other), "another draw gives the same image"
