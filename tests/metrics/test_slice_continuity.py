from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from veridical.errors import GeometryError, InputError
from veridical.metrics.slice_continuity import slice_continuity
from veridical.types import Array


def smooth(shape: tuple[int, ...] = (40, 36, 24), seed: int = 0) -> Array:
    return np.asarray(
        gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2), dtype=np.float32
    )


def test_equal_images_have_1_and_so_has_a_change_of_unit() -> None:
    image = smooth()
    assert slice_continuity(image, image) == 1
    assert slice_continuity(3 * image + 7, image) == pytest.approx(1, rel=1e-5)


def test_a_ramp_has_the_ratio_of_its_slopes() -> None:
    x, y, z = np.mgrid[:6, :7, :8].astype(float)
    reference = x + y + z
    assert slice_continuity(x + y + 3 * z, reference) == pytest.approx(3)
    assert slice_continuity(x + 3 * y - z, reference) == pytest.approx(0.5)
    assert slice_continuity(x + y, reference) == 0


def test_shuffled_slices_score_far_above_1() -> None:
    image = smooth()
    assert slice_continuity(image[..., np.random.default_rng(0).permutation(24)], image) > 2.5


def test_flicker_from_slice_to_slice_grows_with_its_strength() -> None:
    image = smooth()
    flicker = np.random.default_rng(0).normal(size=24) * image.std()
    values = [
        slice_continuity(image + strength * flicker, image) for strength in (0, 0.1, 0.3, 1.0)
    ]
    assert values == sorted(values)
    assert values[1] > 1.01
    assert values[2] > 1.3


def test_smearing_along_z_scores_below_1_and_blurring_along_all_axes_changes_little() -> None:
    image = smooth()
    assert slice_continuity(gaussian_filter(image, (0, 0, 3)), image) < 0.7
    assert slice_continuity(gaussian_filter(image, 1.5), image) == pytest.approx(1, abs=0.1)


def test_values_outside_of_the_mask_do_not_count_and_channels_are_averaged() -> None:
    image, other = smooth(), smooth(seed=1)
    mask = np.zeros(image.shape, dtype=bool)
    mask[5:30, 5:30, 3:20] = True
    changed = np.where(mask, other, np.nan)
    assert slice_continuity(changed, image, mask=mask) == slice_continuity(
        other[5:30, 5:30, 3:20], image[5:30, 5:30, 3:20]
    )
    both = slice_continuity(np.stack([image, other]), np.stack([image, image]), mask=mask)
    assert both == pytest.approx((1 + slice_continuity(other, image, mask=mask)) / 2)


def test_too_few_slices_constant_images_and_other_shapes_are_refused() -> None:
    image = smooth()
    for few in (image[..., :2], image[..., 0], image[None, ..., :2]):
        with pytest.raises(InputError, match="3 slices"):
            slice_continuity(few, few)
    mask = np.zeros(image.shape, dtype=bool)
    mask[..., 3:5] = True
    with pytest.raises(InputError, match="3 slices"):
        slice_continuity(image, image, mask=mask)
    flat = np.broadcast_to(np.arange(24.0), image.shape)
    with pytest.raises(InputError, match="expected steps above 0"):
        slice_continuity(flat, image)
    with pytest.raises(InputError, match="expected steps above 0"):
        slice_continuity(image, np.broadcast_to(image[..., :1], image.shape))
    with pytest.raises(InputError, match="neighbours along x"):
        slice_continuity(
            image, image, mask=np.broadcast_to((np.arange(40) % 2 == 0)[:, None, None], image.shape)
        )
    with pytest.raises(GeometryError):
        slice_continuity(image, image[1:])
