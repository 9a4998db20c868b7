"""Laws of images under motion fields."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veridical.models.warped import inverse, rendered, warped


def smooth(shape: tuple[int, ...], seed: int, size: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    width = [0.0] * (len(shape) - 3) + [2.0 if n > 1 else 0.0 for n in shape[-3:]]
    field = ndimage.gaussian_filter(noise, width)
    return np.asarray(size * field / field.std(), np.float32)


@pytest.mark.parametrize("shape", [(1, 30, 24), (14, 12, 16)])
def test_it_is_linear_interpolation_at_the_place_that_the_field_says(
    shape: tuple[int, int, int],
) -> None:
    image, field = smooth(shape, 0, 1.0), smooth((3, *shape), 1, 1.5)
    field[[axis for axis in range(3) if shape[axis] == 1]] = 0
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    expected = ndimage.map_coordinates(image, grid + field, order=1, mode="nearest")
    assert warped(image, field) == pytest.approx(expected, abs=1e-5)


def test_derivatives_are_those_of_the_image() -> None:
    shape = (1, 30, 24)
    image, modes = smooth(shape, 0, 1.0), smooth((2, 3, *shape), 2, 1.0)
    mean, weights = smooth((3, *shape), 3, 1.0), np.array([0.4, -0.3], np.float32)
    modes[:, 0] = mean[0] = 0
    _, slopes = rendered(image, mean, modes, weights)
    for mode in range(2):
        ends = []
        for sign in (1, -1):
            other = weights.copy()
            other[mode] += np.float32(sign * 1e-2)
            ends.append(rendered(image, mean, modes, other)[0])
        middle = (slice(None), slice(6, -6), slice(6, -6))
        off = np.abs((ends[0] - ends[1]) / 2e-2 - slopes[mode])[middle]
        assert np.median(off) < 1e-3 * np.abs(slopes[mode]).mean()


def test_the_inverse_undoes_a_field() -> None:
    field = smooth((3, 1, 40, 40), 4, 0.5)
    field[0] = 0
    back = inverse(field)
    left = back + np.stack([warped(part, back) for part in field])
    assert np.abs(left[:, :, 8:-8, 8:-8]).max() < 1e-2
