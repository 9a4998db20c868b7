from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.data import camera
from skimage.metrics import structural_similarity

from veridical import registry
from veridical.errors import GeometryError, InputError, SettingError, UnitsError
from veridical.metrics.bias import bias
from veridical.metrics.fourier_correlation import fourier_correlation, fourier_correlation_curve
from veridical.metrics.limits_of_agreement import bland_altman, limits_of_agreement
from veridical.metrics.mae import mae
from veridical.metrics.ms_ssim import WEIGHTS, ms_ssim
from veridical.metrics.noise_power import noise_power, noise_power_spectrum
from veridical.metrics.rmse import rmse
from veridical.metrics.scores import facts
from veridical.metrics.sharpness import sharpness, transfer_function
from veridical.metrics.ssim import ssim, ssim_map
from veridical.types import Array

DIFFERENCE = {"mae": mae, "bias": bias, "rmse": rmse, "limits-of-agreement": limits_of_agreement}
FOURIER: dict[str, Callable[..., float]] = {
    "noise-power": noise_power,
    "sharpness": sharpness,
    "fourier-correlation": fourier_correlation,
}


@pytest.fixture(scope="module")
def noisy_camera() -> tuple[Array, Array]:
    clean = camera()
    noise = np.random.RandomState(5).randn(*clean.shape)
    return np.clip(clean + 20 * noise, 0, 255).astype(np.uint8), clean


@pytest.fixture(scope="module")
def volumes() -> tuple[Array, Array, Array]:
    """A float32 pair with structure at every scale, and an ellipsoid with a hole."""
    rng = np.random.default_rng(0)
    shape = (40, 37, 34)
    truth = sum(ndimage.gaussian_filter(rng.normal(size=shape), s) * s**1.5 for s in (0.7, 2, 5))
    grid = np.indices(shape, sparse=True)
    mask = sum(((i - n / 2) / (0.4 * n)) ** 2 for i, n in zip(grid, shape, strict=True)) < 1
    mask[18:21, 15:19] = False
    truth = truth.astype(np.float32)
    return (truth + 0.3 * rng.normal(size=shape)).astype(np.float32), truth, mask


@pytest.fixture(scope="module")
def scene() -> Array:
    return camera().astype(np.float64)[100:356, 100:356]


def textbook(
    x: Array, y: Array, window: str, axes: tuple[int, ...], peak: float
) -> tuple[Array, Array]:
    """SSIM and its contrast-structure factor at the positions whose window lies inside, by plain
    sums of weights.
    """
    radius = 3 if window == "uniform" else 5
    taps = (
        np.ones(2 * radius + 1)
        if window == "uniform"
        else np.exp(-0.5 * (np.arange(-radius, radius + 1) / 1.5) ** 2)
    )
    taps /= taps.sum()
    unbiased = taps.size ** len(axes) / (taps.size ** len(axes) - 1) if window == "uniform" else 1.0

    def mean(a: Array) -> Array:
        for axis in axes:
            a = np.einsum(
                "...k,k->...", np.lib.stride_tricks.sliding_window_view(a, taps.size, axis), taps
            )
        return a

    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my = mean(x), mean(y)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    structure = 2 * unbiased * (mean(x * y) - mx * my) + c2
    structure /= unbiased * (mean(x * x) + mean(y * y) - mx**2 - my**2) + c2
    return structure * (2 * mx * my + c1) / (mx**2 + my**2 + c1), structure


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masked_ssim_is_the_mean_of_the_textbook_map_whatever_the_memory_layout(
    volumes: tuple[Array, Array, Array], window: str, dimensions: int, order: str
) -> None:
    x, y, mask = volumes
    radius = 3 if window == "uniform" else 5
    inside = tuple(
        slice(radius, -radius) if axis < dimensions else slice(None) for axis in range(3)
    )
    want = textbook(x, y, window, tuple(range(dimensions)), 4.0)[0]
    x, y = (np.asarray(a, order=order) for a in (x, y))  # type: ignore[call-overload]
    given = {"data_range": 4.0, "window": window, "dimensions": dimensions}
    assert ssim(x, y, mask=mask, **given) == pytest.approx(want[mask[inside]].mean(), abs=1e-12)
    assert ssim(x, y, **given) == pytest.approx(want.mean(), abs=1e-12)
    whole = ssim_map(x, y, **given)
    assert whole.dtype == np.float64
    np.testing.assert_allclose(whole[inside], want, atol=1e-12)
    assert ssim(x, y, mask=mask, **given) == pytest.approx(
        whole[mask & _inner(mask.shape, inside)].mean(), abs=1e-12
    )


def _inner(shape: tuple[int, ...], inside: tuple[slice, ...]) -> Array:
    found = np.zeros(shape, dtype=bool)
    found[inside] = True
    return found


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_the_mirrored_border_of_the_map_is_that_of_scikit_image(
    volumes: tuple[Array, Array, Array], window: str
) -> None:
    x, y = (a.astype(np.float64) for a in volumes[:2])
    gaussian = (
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        if window == "gaussian"
        else {}
    )
    want = structural_similarity(x, y, data_range=4.0, full=True, **gaussian)[1]
    np.testing.assert_allclose(
        ssim_map(x, y, data_range=4.0, window=window, dimensions=3), want, atol=1e-12
    )


def test_ssim_takes_less_memory_than_one_of_its_images() -> None:
    """As numpy allocates it: three masks of one byte a voxel while the input is checked; the
    compiled loops hold a few rows.
    """
    y = np.random.default_rng(0).random((96, 96, 96), dtype=np.float32)
    ssim(y, y, data_range=1.0, dimensions=3)
    tracemalloc.start()
    try:
        ssim(y, y, data_range=1.0, dimensions=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < y.nbytes


def test_ssim_has_the_same_bytes_on_one_thread_and_on_two(
    volumes: tuple[Array, Array, Array],
) -> None:
    x, y, mask = volumes
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(ssim(x, y, data_range=4.0, mask=mask, dimensions=3))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_ssim_does_not_see_what_no_window_of_the_mask_reaches(
    volumes: tuple[Array, Array, Array],
) -> None:
    x, y, _ = volumes
    mask = np.zeros(x.shape, dtype=bool)
    mask[10:20, 12:18, 11:14] = True
    far = ~ndimage.binary_dilation(mask, np.ones((7, 7, 7)))
    other = np.where(far, 1e6, x).astype(np.float32)
    assert ssim(other, y, data_range=4.0, mask=mask, dimensions=3) == ssim(
        x, y, data_range=4.0, mask=mask, dimensions=3
    )


def test_ssim_refuses_nan_that_a_window_reaches_though_it_does_not_count(
    volumes: tuple[Array, Array, Array],
) -> None:
    x, y, _ = volumes
    mask = np.zeros(x.shape, dtype=bool)
    mask[10:20, 12:18, 11:14] = True
    broken = x.copy()
    broken[9, 12, 11] = np.nan
    with pytest.raises(InputError, match="NaN"):
        ssim(broken, y, data_range=4.0, mask=mask, dimensions=3)


def test_a_large_offset_costs_no_digits_of_ssim() -> None:
    """Variances are of the order 1 on a mean of 1e6: squares would cancel to 1e-4."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(32, 32))
    x = y + 0.5 * rng.normal(size=y.shape)
    structure = textbook(x, y, "uniform", (0, 1), 4.0)[1].mean()
    assert ssim(x + 1e6, y + 1e6, data_range=4.0) == pytest.approx(structure, abs=1e-8)


def test_ssim_of_a_single_slice_and_of_channels_is_that_of_the_picture(
    noisy_camera: tuple[Array, Array],
) -> None:
    noisy, clean = noisy_camera
    flat = ssim(noisy, clean, data_range=255)
    assert ssim(noisy[:, :, None], clean[:, :, None], data_range=255) == pytest.approx(
        flat, abs=1e-12
    )
    both = np.stack([noisy, clean])[..., None], np.stack([clean, clean])[..., None]
    assert ssim(*both, data_range=255) == pytest.approx((flat + 1) / 2, abs=1e-12)


def test_ssim_of_whole_numbers_is_that_of_the_same_decimal_ones(
    noisy_camera: tuple[Array, Array],
) -> None:
    exact = ssim(*noisy_camera, data_range=255)
    for kind in (np.int16, np.int32, np.float32, np.float64):
        assert ssim(*(a.astype(kind) for a in noisy_camera), data_range=255) == pytest.approx(
            exact, abs=1e-12
        )


def pyramid(x: Array, y: Array, scales: int, peak: float) -> float:
    weights, found = np.array(WEIGHTS[:scales]), 1.0
    if scales < 5:
        weights = weights / weights.sum()
    for scale in range(scales):
        both = textbook(x, y, "gaussian", tuple(range(x.ndim)), peak)
        found *= both[0 if scale == scales - 1 else 1].mean() ** weights[scale]
        for axis in range(x.ndim):
            n = x.shape[axis] // 2 * 2
            x, y = (
                (np.take(a, range(0, n, 2), axis) + np.take(a, range(1, n, 2), axis)) / 2
                for a in (x, y)
            )
    return found


def test_ms_ssim_of_the_noisy_camera_is_that_of_monai_in_float32(
    noisy_camera: tuple[Array, Array],
) -> None:
    found = ms_ssim(*noisy_camera, data_range=255)
    assert found == pytest.approx(0.793394, abs=5e-6)
    assert found == pytest.approx(
        pyramid(*(a.astype(np.float64) for a in noisy_camera), 5, 255.0), abs=1e-12
    )


def test_ms_ssim_in_three_dimensions_and_fewer_scales_is_the_textbook_one(
    volumes: tuple[Array, Array, Array],
) -> None:
    x, y = (a.astype(np.float64) for a in volumes[:2])
    assert ms_ssim(x, y, data_range=4.0, dimensions=3, scales=2) == pytest.approx(
        pyramid(x, y, 2, 4.0), abs=1e-12
    )
    assert ms_ssim(x, y, data_range=4.0, scales=1) == pytest.approx(
        ssim(x, y, data_range=4.0, window="gaussian"), abs=1e-12
    )


def test_ms_ssim_counts_only_the_mask(noisy_camera: tuple[Array, Array]) -> None:
    noisy, clean = noisy_camera
    mask = np.zeros(clean.shape, dtype=bool)
    mask[:, :256] = True
    half = np.where(mask, clean, noisy)
    assert ms_ssim(half[:, :], clean, data_range=255, mask=np.roll(mask, -100, 1) & mask) > 0.99
    assert ms_ssim(half, clean, data_range=255, mask=~mask) < ms_ssim(half, clean, data_range=255)


def test_ms_ssim_says_how_many_voxels_and_scales_fit() -> None:
    image = np.random.default_rng(0).random((100, 90))
    with pytest.raises(GeometryError, match=r"5 scales need 176 voxels.*scales=4"):
        ms_ssim(image, image, data_range=1.0)
    assert ms_ssim(image, image, data_range=1.0, scales=4) == pytest.approx(1.0)
    with pytest.raises(GeometryError, match="larger image"):
        ms_ssim(image[:8], image[:8], data_range=1.0, scales=1)
    with pytest.raises(SettingError, match="1 to 5"):
        ms_ssim(image, image, data_range=1.0, scales=6)
    rim = np.zeros(image.shape, dtype=bool)
    rim[0] = True
    with pytest.raises(InputError, match="scale 1 of 3"):
        ms_ssim(image, image, data_range=1.0, scales=3, mask=rim)


def test_an_opposite_image_has_an_ms_ssim_of_zero_not_nan(
    noisy_camera: tuple[Array, Array],
) -> None:
    clean = noisy_camera[1].astype(np.float64)
    assert ms_ssim(255 - clean, clean, data_range=255) == 0.0


def test_differences_of_a_known_error_are_the_textbook_values() -> None:
    reference = np.full((8, 8), 10, np.uint8)
    candidate = reference + np.tile(np.array([[0, 4]], np.uint8), (8, 4))
    assert mae(candidate, reference) == bias(candidate, reference) == 2.0
    assert bias(reference, candidate) == -2.0
    assert rmse(candidate, reference) == pytest.approx(8**0.5)
    assert limits_of_agreement(candidate, reference) == pytest.approx(1.96 * 2 * (64 / 63) ** 0.5)


@pytest.mark.parametrize("name", sorted(DIFFERENCE))
def test_differences_count_the_mask_only_and_refuse_nan_in_it(
    name: str, volumes: tuple[Array, Array, Array]
) -> None:
    x, y, mask = volumes
    metric = DIFFERENCE[name]
    far = np.where(mask, x, np.nan)
    assert metric(far, y, mask=mask) == metric(x[mask], y[mask])
    with pytest.raises(InputError, match="NaN"):
        metric(far, y)
    with pytest.raises(GeometryError, match="one grid"):
        metric(x, y[1:])


def test_the_error_splits_into_bias_and_spread(volumes: tuple[Array, Array, Array]) -> None:
    x, y, mask = volumes
    spread = limits_of_agreement(x + 1, y, mask=mask) / 1.96
    assert rmse(x + 1, y, mask=mask) ** 2 == pytest.approx(
        bias(x + 1, y, mask=mask) ** 2 + spread**2, rel=1e-3
    )


def test_bland_and_altman_get_what_they_published_of_two_peak_flow_meters() -> None:
    """Lancet 1986;327:307-310, table and text: first readings; they took 2 and not 1.96 deviations,
    and sqrt(3 / n).
    """
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = bland_altman(np.array(wright), np.array(mini))
    assert (found.bias, found.deviation) == pytest.approx((-2.1, 38.8), abs=0.05)
    assert found.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)
    assert (found.lower, found.upper) == pytest.approx(
        (-79.7 + 0.04 * 38.8, 75.5 - 0.04 * 38.8), abs=0.1
    )
    assert found.lower_interval == pytest.approx((-114.3, -45.1), abs=2)
    assert found.upper_interval == pytest.approx((40.9, 110.1), abs=2)
    np.testing.assert_array_equal(found.differences, np.subtract(wright, mini))
    np.testing.assert_array_equal(found.means, np.add(wright, mini) / 2)


def test_the_interval_of_a_limit_holds_it_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    tables = [bland_altman(rng.normal(3, 2, 40), np.zeros(40)) for _ in range(1000)]
    assert np.mean(
        [t.upper_interval[0] <= 3 + 1.96 * 2 <= t.upper_interval[1] for t in tables]
    ) == pytest.approx(0.95, abs=0.02)
    assert np.mean(
        [t.bias_interval[0] <= 3 <= t.bias_interval[1] for t in tables]
    ) == pytest.approx(0.95, abs=0.02)


def test_too_few_pairs_or_voxels_have_no_limits() -> None:
    with pytest.raises(InputError, match="three"):
        bland_altman(np.ones(2), np.zeros(2))
    with pytest.raises(GeometryError, match="one pair"):
        bland_altman(np.ones((3, 2)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="NaN"):
        bland_altman(np.array([1, 2, np.nan]), np.zeros(3))
    with pytest.raises(InputError, match="needs two"):
        limits_of_agreement(np.ones(1), np.zeros(1))


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (120, 90, 12)), (3, (60, 50, 40))])
def test_the_noise_power_of_white_noise_is_its_variance_times_the_voxel(
    dimensions: int, shape: tuple[int, ...]
) -> None:
    spacing = (0.5, 0.8, 1.1)
    noise = 7 + 3 * np.random.default_rng(0).normal(size=shape)
    frequency, power = noise_power_spectrum(noise, spacing=spacing, dimensions=dimensions)
    want = 9 * np.prod(spacing[:dimensions])
    np.testing.assert_allclose(power[2:], want, rtol=0.25)
    assert np.average(power, weights=frequency ** (dimensions - 1)) == pytest.approx(want, rel=0.03)
    assert frequency[-1] <= 0.5 / max(spacing[:dimensions]) < frequency[-1] + frequency[0]


def test_the_noise_power_of_filtered_noise_is_the_square_of_the_filter() -> None:
    noise = ndimage.gaussian_filter(
        np.random.default_rng(0).normal(size=(256, 256, 24)), (1.0, 1.0, 0), mode="wrap"
    )
    frequency, power = noise_power_spectrum(noise, spacing=(2.0, 2.0, 5.0))
    np.testing.assert_allclose(
        power[5:90], 4 * np.exp(-4 * np.pi**2 * (frequency[5:90] * 2.0) ** 2), rtol=0.12
    )


def test_the_integral_of_the_noise_power_is_the_variance() -> None:
    """Over the plane, of noise without power beyond the Nyquist circle, which the corners of the
    plane lie outside of.
    """
    noise = ndimage.gaussian_filter(
        np.random.default_rng(1).normal(size=(200, 200, 40)), (1.5, 1.5, 0), mode="wrap"
    )
    frequency, power = noise_power_spectrum(noise, spacing=(0.7, 0.7, 3.0))
    assert np.sum(2 * np.pi * frequency * power) * frequency[0] == pytest.approx(
        noise.var(), rel=0.03
    )


def test_noise_power_is_in_decibels_of_high_frequency_power() -> None:
    rng = np.random.default_rng(0)
    reference, other = rng.normal(size=(2, 96, 96, 6))
    spacing = (1.0, 1.0, 4.0)
    assert noise_power(reference, reference, spacing=spacing) == 0.0
    assert noise_power(10 * reference, reference, spacing=spacing) == pytest.approx(20.0)
    assert noise_power(reference + other, reference, spacing=spacing) == pytest.approx(
        10 * np.log10(2), abs=0.1
    )
    low = ndimage.gaussian_filter(other, (4, 4, 0))
    assert noise_power(reference + 3 * low, reference, spacing=spacing) == pytest.approx(
        0, abs=0.01
    )
    assert noise_power(np.full_like(reference, 3.3), reference, spacing=spacing) == -np.inf
    with pytest.raises(InputError, match="no power"):
        noise_power(reference, np.full_like(reference, 3.3), spacing=spacing)


def test_noise_and_blur_move_noise_power_to_opposite_sides(scene: Array) -> None:
    noise = np.random.default_rng(0).normal(size=scene.shape)
    ladder = [
        noise_power(scene + level * noise, scene, spacing=(1, 1)) for level in (0, 2, 5, 10, 20)
    ]
    assert np.all(np.diff(ladder) > 0)
    ladder = [
        noise_power(ndimage.gaussian_filter(scene, width), scene, spacing=(1, 1))
        for width in (0, 0.4, 0.7, 1, 2)
    ]
    assert np.all(np.diff(ladder) < 0)


def test_sharpness_falls_with_blur_and_is_not_lifted_by_white_noise(scene: Array) -> None:
    widths = (0, 0.3, 0.5, 0.8, 1.2, 2, 4)
    noise = 15 * np.random.default_rng(0).normal(size=scene.shape)
    blurred = [ndimage.gaussian_filter(scene, width) for width in widths]
    clean = [sharpness(image, scene, spacing=(1, 1)) for image in blurred]
    noisy = [sharpness(image + noise, scene, spacing=(1, 1)) for image in blurred]
    assert clean[0] == pytest.approx(1.0, abs=1e-12)
    assert np.all(np.diff(clean) < 0)
    assert clean[-1] < 0.1
    np.testing.assert_allclose(noisy, clean, atol=0.03)
    assert noise_power(blurred[2] + noise, scene, spacing=(1, 1)) > 0, (
        "which plain spectral power would call sharper"
    )


def test_the_transfer_function_of_a_gaussian_blur_is_its_fourier_transform() -> None:
    image = np.random.default_rng(0).normal(size=(128, 128, 4))
    blurred = ndimage.gaussian_filter(image, (1, 1, 0), mode="wrap")
    frequency, transfer = transfer_function(blurred, image, spacing=(0.5, 0.5, 2))
    np.testing.assert_allclose(transfer, np.exp(-2 * np.pi**2 * (0.5 * frequency) ** 2), atol=0.02)
    assert sharpness(blurred, image, spacing=(0.5, 0.5, 2)) == pytest.approx(transfer.mean())


def test_over_sharpened_contrast_is_above_one_and_a_flat_image_has_none(scene: Array) -> None:
    unsharp = scene + 0.7 * (scene - ndimage.gaussian_filter(scene, 1.5))
    assert sharpness(unsharp, scene, spacing=(1, 1)) > 1.3
    assert sharpness(0 * scene + 5, scene, spacing=(1, 1)) == 0.0
    with pytest.raises(InputError, match="constant"):
        sharpness(scene, 0 * scene + 5, spacing=(1, 1))


def test_fourier_correlation_with_independent_noise_is_the_one_expected() -> None:
    rng = np.random.default_rng(0)
    reference, noise = rng.normal(size=(2, 160, 160, 6))
    _, curve = fourier_correlation_curve(reference + noise, reference, spacing=(1, 1, 3))
    np.testing.assert_allclose(curve[10:], 0.5**0.5, atol=0.05)
    assert fourier_correlation(noise, reference, spacing=(1, 1, 3)) == pytest.approx(0, abs=0.03)
    assert fourier_correlation(-reference, reference, spacing=(1, 1, 3)) == pytest.approx(-1)


def test_fourier_correlation_falls_with_noise_and_shows_where_detail_was_replaced(
    scene: Array,
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=scene.shape)
    ladder = [
        fourier_correlation(scene + level * noise, scene, spacing=(1, 1))
        for level in (0, 2, 5, 10, 20)
    ]
    assert ladder[0] == pytest.approx(1, abs=1e-12)
    assert np.all(np.diff(ladder) < 0)
    coarse = ndimage.gaussian_filter(scene, 2)
    invented = np.fft.fft2(scene - coarse)
    invented = np.fft.ifft2(np.abs(invented) * np.exp(1j * np.angle(np.fft.fft2(noise)))).real
    frequency, curve = fourier_correlation_curve(coarse + invented, scene, spacing=(1, 1))
    assert curve[frequency < 0.03].min() > 0.8
    assert abs(curve[frequency > 0.25].mean()) < 0.1


def test_a_flat_image_correlates_with_nothing_but_a_flat_one(scene: Array) -> None:
    assert fourier_correlation(0 * scene, scene, spacing=(1, 1)) == 0.0
    assert fourier_correlation(0 * scene, 0 * scene + 4, spacing=(1, 1)) == 1.0


@pytest.mark.parametrize("name", sorted(FOURIER))
def test_fourier_metrics_know_slices_channels_and_volumes(name: str, scene: Array) -> None:
    metric = FOURIER[name]
    candidate = ndimage.gaussian_filter(scene, 0.6)
    flat = metric(candidate, scene, spacing=(1, 2))
    assert metric(candidate[:, :, None], scene[:, :, None], spacing=(1, 2, 9)) == pytest.approx(
        flat
    )
    stack = [np.stack([a, a])[..., None] for a in (candidate, scene)]
    assert metric(*stack, spacing=(1, 1, 2, 9)) == pytest.approx(flat)
    many = [np.repeat(a[:, :, None], 3, 2) for a in (candidate, scene)]
    assert metric(*many, spacing=(1, 2, 9)) == pytest.approx(flat)
    with pytest.raises(GeometryError, match="dimensions=2"):
        metric(*many, spacing=(1, 2, 9), dimensions=3)


@pytest.mark.parametrize("name", sorted(FOURIER))
def test_fourier_metrics_see_the_box_of_the_mask_only(name: str, scene: Array) -> None:
    metric = FOURIER[name]
    candidate = ndimage.gaussian_filter(scene, 0.6)
    mask = np.zeros(scene.shape, dtype=bool)
    mask[40:90, 30:31] = mask[60, 30:100] = True
    far = np.full_like(candidate, np.nan)
    far[40:90, 30:100] = candidate[40:90, 30:100]
    found = metric(far, scene, spacing=(1, 1), mask=mask)
    assert found == metric(candidate[40:90, 30:100], scene[40:90, 30:100], spacing=(1, 1))
    far[41, 50] = np.nan
    with pytest.raises(InputError, match="NaN"):
        metric(far, scene, spacing=(1, 1), mask=mask)
    with pytest.raises(GeometryError, match="needs 8"):
        metric(candidate, scene, spacing=(1, 1), mask=np.indices(scene.shape)[0] == 3)


@pytest.mark.parametrize("name", sorted(FOURIER))
def test_fourier_metrics_refuse_spacing_that_is_not_one_number_an_axis(
    name: str, scene: Array
) -> None:
    for spacing in ((1, 1, 1), (1, 0), (1, np.nan)):
        with pytest.raises(UnitsError, match="2 voxel sizes"):
            FOURIER[name](scene, scene, spacing=spacing)
    with pytest.raises(SettingError, match="axes"):
        FOURIER[name](scene, scene, spacing=(1, 1), dimensions=3)


@pytest.mark.parametrize("name", [*DIFFERENCE, *FOURIER, "ssim", "ms-ssim"])
def test_every_pixel_metric_says_whom_to_cite_and_what_a_failure_counts_as(name: str) -> None:
    about = facts(name)
    assert name in registry.entries("metric")
    assert about.level == "pixel"
    assert len(about.cites) > 30
    bounded = {"ssim", "ms-ssim", "fourier-correlation", "sharpness"}
    assert (about.worst == 0.0) if name in bounded else about.worst is None
    assert about.ideal == {"bias": 0.0, "noise-power": 0.0, "sharpness": 1.0}.get(name)
