"""A bias field is divided out by N4, said how large it was, and the rest stays."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.tasks.enhance import Enhance
from veridical.types import Geometry, Image

SHAPE = (40, 44, 10)


def shaded(strength: float) -> tuple[Image, np.ndarray]:
    """An ellipsoid of one value and its field, which grows from left to right."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    inside = x**2 + y**2 + 0.3 * z**2 < 0.8
    field = np.exp(strength * x)
    noise = np.random.default_rng(0).normal(0, 1.0, SHAPE)
    data = np.where(inside, 100 * field, 0) + np.abs(noise)
    grid = Geometry(SHAPE, np.diag([4.0, 4.0, 8.0, 1.0]))
    return Image(data[None].astype(np.float32), grid, "a.u.", ("T1w",)), inside


@pytest.mark.parametrize(("strength", "verdict"), [(0.15, "pass"), (0.8, "warn")])
def test_what_was_shaded_becomes_even_and_a_strong_field_is_a_warning(
    strength: float, verdict: str
) -> None:
    image, inside = shaded(strength)
    found = Enhance(job="bias-field")(image)
    even, before = found.image["T1w"][inside], image["T1w"][inside]
    assert even.std() / even.mean() < 0.6 * before.std() / before.mean()
    finding = next(one for one in found.findings if one.check == "bias field")
    assert finding.verdict == verdict
    assert finding.evidence["high"] / finding.evidence["low"] == pytest.approx(
        np.exp(1.7 * strength), rel=0.3
    )
    assert (found.image.units, found.kind, found.steps[0].model) == ("a.u.", "point estimate", "n4")
    assert set(found.absent) == {"draws", "interval", "evidence"}


def test_without_a_voxel_size_nothing_is_smooth_in_millimetres() -> None:
    image, _ = shaded(0.2)
    with pytest.raises(InputError, match="voxel size"):
        Enhance(job="bias-field")(Image(image.data, Geometry.index(SHAPE), "a.u.", ("T1w",)))
