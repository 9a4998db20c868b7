from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.features.wavelet_pyramid import ABOUT, FLOOR, NAMES, wavelet_pyramid
from veridical.metrics.frechet import frechet
from veridical.types import Array


def textured(seed: int, shape: tuple[int, ...] = (40, 44, 36)) -> Array:
    """Texture of two scales in [0, 1], the finer one stronger in some places."""
    rng = np.random.default_rng(seed)
    coarse, fine = (gaussian_filter(rng.normal(size=shape), sigma) for sigma in (5, 1.2))
    return np.clip(
        0.5 + 0.2 * coarse / coarse.std() + 0.08 * (1 + (coarse > 0)) * fine / fine.std(), 0, 1
    )


def ball(shape: tuple[int, ...] = (40, 44, 36)) -> Array:
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    return np.asarray((grid**2).sum(0) < 0.9)


def row(image: Array, mask: Array | None = None) -> Array:
    return wavelet_pyramid(image, mask=mask, spacing=(1.0, 1.0, 1.0), window=(0.0, 1.0))[0]


def named(image: Array, name: str) -> float:
    return float(row(image)[NAMES.index(name)])


def apart(changed: list[Array], mask: Array) -> float:
    """Frechet distance from other images of the same kind."""
    rows = (
        np.stack([row(image, mask) for image in images])
        for images in (changed, [textured(i) for i in range(50, 56)])
    )
    return frechet(*rows)


def test_it_has_the_size_that_it_says_and_a_name_for_every_number() -> None:
    found = wavelet_pyramid(textured(0), mask=ball(), spacing=(1.0, 1.0, 1.0), window=(0.0, 1.0))
    assert found.shape == (1, ABOUT.size) == (1, len(set(NAMES)))
    assert found.dtype == np.float64


def test_the_same_image_gives_the_same_bytes() -> None:
    assert row(textured(0), ball()).tobytes() == row(textured(0), ball()).tobytes()


def test_a_checkerboard_along_one_axis_has_its_contrast_in_one_band_and_none_at_larger_scales() -> (
    None
):
    image = np.broadcast_to((np.arange(32) % 2)[:, None, None] * 0.6 + 0.2, (32, 32, 32))
    assert named(image, "mean") == pytest.approx(0.5)
    assert named(image, "scale0_x") == pytest.approx(np.log(0.3 + FLOOR), abs=1e-5)
    for name in ("scale0_y", "scale0_xy", "scale1_x", "scale2_x"):
        assert named(image, name) == pytest.approx(np.log(FLOOR), abs=1e-3)
    assert named(image, "scale0_x_scale1_x") == pytest.approx(
        np.log(FLOOR / (0.3 + FLOOR)), abs=1e-3
    )


def test_a_ramp_has_twice_the_contrast_at_twice_the_scale() -> None:
    image = np.broadcast_to(np.linspace(0, 1, 64)[None, :, None], (16, 64, 16))
    contrast = [np.exp(named(image, f"scale{j}_y")) - FLOOR for j in range(4)]
    np.testing.assert_allclose(contrast, np.array([1, 2, 4, 8]) / 63 / 2, rtol=1e-4)


def test_the_second_order_tells_scattered_from_gathered_texture_of_the_same_contrast() -> None:
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (64, 32, 32))
    gathered = 0.5 + noise * (np.arange(64) < 32)[:, None, None]
    scattered = 0.5 + noise * (np.arange(64) % 8 < 4)[:, None, None]
    assert abs(named(gathered, "scale0_y") - named(scattered, "scale0_y")) < 0.1
    assert named(gathered, "scale0_y_scale3_x") > named(scattered, "scale0_y_scale3_x") + 0.5


def test_air_around_and_whatever_lies_outside_of_the_mask_change_nothing() -> None:
    image, mask = textured(0), ball()
    want = row(image, mask).tobytes()
    assert row(np.where(mask, image, np.nan), mask).tobytes() == want
    pads = ((3, 5), (0, 8), (7, 1))
    assert row(np.pad(image, pads, constant_values=0.9), np.pad(mask, pads)).tobytes() == want


def test_values_outside_of_the_window_count_as_its_ends() -> None:
    image = 2 * textured(0) - 0.5
    np.testing.assert_array_equal(row(image), row(np.clip(image, 0, 1)))


def test_a_unit_taken_with_its_window_changes_nothing() -> None:
    image = textured(0)
    other = wavelet_pyramid(
        1000 * image - 300, mask=None, spacing=(1.0, 1.0, 1.0), window=(-300.0, 700.0)
    )
    np.testing.assert_allclose(other[0], row(image), atol=1e-4)


def test_moving_the_region_by_a_voxel_moves_the_row_less_than_the_faintest_blur() -> None:
    image = textured(0)
    here, there, blurred = row(image[:-1]), row(image[1:]), row(gaussian_filter(image, 0.5)[:-1])
    assert np.linalg.norm(here - there) < 0.5 * np.linalg.norm(here - blurred)


@pytest.mark.parametrize("damage", ["blur", "noise"])
def test_the_distance_grows_with_blur_and_with_noise(damage: str) -> None:
    images, mask, rng = [textured(i) for i in range(6)], ball(), np.random.default_rng(0)
    if damage == "blur":
        steps = [images] + [
            [gaussian_filter(image, sigma) for image in images] for sigma in (0.5, 1.0, 2.0)
        ]
    else:
        steps = [images] + [
            [i + rng.normal(0, sigma, i.shape) for i in images] for sigma in (0.02, 0.05, 0.2)
        ]
    values = [apart(step, mask) for step in steps]
    assert values == sorted(values)
    assert values[-1] > 5 * values[0]


def test_shuffled_slices_are_far_away() -> None:
    images, mask = [textured(i) for i in range(6)], ball()
    order = np.random.default_rng(0).permutation(36)
    assert apart([image[..., order] for image in images], mask) > 4 * apart(images, mask)


def test_a_single_slice_is_constant_along_z() -> None:
    image = textured(0)[..., :1]
    np.testing.assert_allclose(row(image), row(np.repeat(image, 16, axis=2)), atol=1e-5)
    assert named(image, "scale0_z") == pytest.approx(np.log(FLOOR))


def test_what_cannot_be_described_is_refused() -> None:
    image = textured(0)
    with pytest.raises(GeometryError, match=r"image\[0\]"):
        row(image[None])
    with pytest.raises(GeometryError):
        row(image, ball()[1:])
    with pytest.raises(InputError, match="empty"):
        row(image, np.zeros(image.shape, dtype=bool))
    with pytest.raises(InputError, match="mend NaN"):
        row(np.where(image > 0.9, np.nan, image))
    with pytest.raises(InputError, match="complex"):
        row(image.astype(complex))
    with pytest.raises(InputError, match="room for a wavelet"):
        row(image, np.indices(image.shape).sum(0) % 2 == 0)
    with pytest.raises(UnitsError, match="percentiles"):
        wavelet_pyramid(image, mask=None, spacing=(1.0, 1.0, 1.0), window=(1.0, 1.0))
