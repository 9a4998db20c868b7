from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import camera
from skimage.metrics import structural_similarity

from veridical import registry
from veridical.errors import GeometryError, InputError, SettingError, UnitsError
from veridical.metrics.about import Facts
from veridical.metrics.coverage import coverage
from veridical.metrics.nmse import nmse
from veridical.metrics.psnr import psnr
from veridical.metrics.rank_correlation import rank_correlation
from veridical.metrics.scores import facts, score
from veridical.metrics.ssim import ssim, ssim_map
from veridical.types import Array, Geometry, Image, Interval, Result

NAMES = {"psnr", "ssim", "nmse", "coverage", "rank-correlation"}
PIXEL = {
    "psnr": lambda c, r, m: psnr(c, r, data_range=1.0, mask=m),
    "nmse": lambda c, r, m: nmse(c, r, mask=m),
}
PIXEL["ssim"] = lambda c, r, m: ssim(c, r, data_range=1.0, mask=m)
PIXEL["coverage"] = lambda c, r, m: coverage(band(c, 0.1), r, mask=m)
PIXEL["rank-correlation"] = lambda c, r, m: rank_correlation(
    c, r, interval=band(c, np.linspace(1, 2, c.size)), mask=m
)


def band(center: Array, half: Array | float) -> Interval:
    half = np.broadcast_to(
        np.reshape(half, center.shape if np.size(half) > 1 else ()), center.shape
    )
    return Interval(center - half, center + half, 0.9, 20, "given", "nothing")


def pair(shape: tuple[int, ...] = (24, 20), seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    reference = rng.random(shape)
    return reference + 0.1 * rng.normal(size=shape), reference


@pytest.fixture(scope="module")
def noisy_camera() -> tuple[Array, Array]:
    clean = camera()
    noise = np.random.RandomState(5).randn(*clean.shape)
    return np.clip(clean + 20 * noise, 0, 255).astype(np.uint8), clean


def test_the_registry_knows_the_metrics_and_nothing_else_in_the_folder() -> None:
    assert set(registry.entries("metric")) >= NAMES
    assert not {"about", "scores"} & set(registry.entries("metric"))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_metric_says_units_direction_and_level(name: str) -> None:
    about = facts(name)
    assert isinstance(about, Facts)
    assert about.label
    assert about.units
    assert about.better in ("higher", "lower")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_metric_has_a_default_data_range(name: str) -> None:
    file = Path(registry.get("metric", name).__code__.co_filename)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            defaults = dict(
                zip([a.arg for a in node.args.kwonlyargs], node.args.kw_defaults, strict=True)
            )
            assert defaults.get("data_range") is None


def test_ssim_of_the_noisy_camera_is_the_published_one(noisy_camera: tuple[Array, Array]) -> None:
    assert ssim(*noisy_camera, data_range=255) == pytest.approx(0.3674518, abs=5e-7)
    assert ssim(*noisy_camera, data_range=255, window="gaussian") == pytest.approx(
        0.3579641, abs=5e-7
    )


@pytest.mark.parametrize("shape", [(24, 20), (16, 15, 14)])
def test_ssim_equals_scikit_image_in_two_and_three_dimensions(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    dimensions = len(shape)
    want, whole = structural_similarity(x, y, data_range=1.0, full=True)
    assert ssim(x, y, data_range=1.0, dimensions=dimensions) == pytest.approx(want, abs=1e-12)
    np.testing.assert_allclose(
        ssim_map(x, y, data_range=1.0, dimensions=dimensions), whole, atol=1e-12
    )
    gaussian = structural_similarity(
        x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(x, y, data_range=1.0, window="gaussian", dimensions=dimensions) == pytest.approx(
        gaussian, abs=1e-12
    )


def test_ssim_in_slices_is_the_mean_over_the_slices() -> None:
    x, y = pair((2, 24, 20, 3))
    one = [ssim(x[c, :, :, z], y[c, :, :, z], data_range=1.0) for c in range(2) for z in range(3)]
    assert ssim(x, y, data_range=1.0) == pytest.approx(np.mean(one), abs=1e-12)


def test_masked_ssim_is_the_mean_of_the_map_in_the_mask() -> None:
    x, y = pair()
    mask = np.zeros(x.shape, dtype=bool)
    mask[5:12, 6:9] = True
    assert ssim(x, y, data_range=1.0, mask=mask) == pytest.approx(
        ssim_map(x, y, data_range=1.0)[mask].mean(), abs=1e-12
    )


def test_ssim_refuses_what_its_window_does_not_fit() -> None:
    x, y = pair((24, 6))
    with pytest.raises(GeometryError, match="7 wide"):
        ssim(x, y, data_range=1.0)
    x, y = pair()
    rim = np.zeros(x.shape, dtype=bool)
    rim[0] = True
    with pytest.raises(InputError, match="border"):
        ssim(x, y, data_range=1.0, mask=rim)
    with pytest.raises(SettingError, match="axes"):
        ssim(x, y, data_range=1.0, dimensions=3)
    with pytest.raises(SettingError, match="uniform, gaussian"):
        ssim(x, y, data_range=1.0, window="box")  # type: ignore[arg-type]


def test_psnr_and_nmse_of_a_constant_error_are_the_textbook_values() -> None:
    reference = np.full((8, 8), 2.0)
    assert psnr(reference + 0.1, reference, data_range=1.0) == pytest.approx(20.0)
    assert psnr(reference + 25.5, reference, data_range=255.0) == pytest.approx(20.0)
    assert nmse(reference + 0.1, reference) == pytest.approx(0.0025)
    assert psnr(reference, reference, data_range=1.0) == float("inf")


def test_whole_numbers_do_not_wrap_around() -> None:
    low, high = np.full((9, 9), 10, np.uint8), np.full((9, 9), 200, np.uint8)
    assert (
        psnr(low, high, data_range=255)
        == psnr(high, low, data_range=255)
        == psnr(1.0 * low, 1.0 * high, data_range=255)
    )
    assert nmse(low, high) == pytest.approx((190 / 200) ** 2)


@given(st.floats(1e-3, 1e3))
def test_scores_do_not_depend_on_the_unit(scale: float) -> None:
    x, y = pair()
    assert psnr(scale * x, scale * y, data_range=scale) == pytest.approx(psnr(x, y, data_range=1.0))
    assert nmse(scale * x, scale * y) == pytest.approx(nmse(x, y))
    assert ssim(scale * x, scale * y, data_range=scale) == pytest.approx(
        ssim(x, y, data_range=1.0), abs=1e-9
    )


def test_what_lies_outside_the_mask_does_not_count() -> None:
    x, y = pair()
    mask = np.zeros(x.shape, dtype=bool)
    mask[4:20, 4:16] = True
    far = np.where(mask, x, 100.0)
    for name in ("psnr", "nmse", "coverage"):
        assert PIXEL[name](far, y, mask) == pytest.approx(PIXEL[name](x, y, mask)), name


def test_coverage_of_a_normal_error_is_the_normal_probability() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(300, 300))
    assert coverage(band(np.zeros_like(truth), 1.6449), truth) == pytest.approx(0.9, abs=0.004)
    assert coverage(band(truth, 0.0), truth) == 1.0
    assert coverage(band(truth + 1, 0.5), truth) == 0.0


def test_rank_correlation_is_one_when_the_band_is_the_error_and_near_zero_when_it_is_shuffled() -> (
    None
):
    x, y = pair((100, 100))
    error = np.abs(x - y)
    assert rank_correlation(x, y, interval=band(x, error**3)) == pytest.approx(1.0)
    assert rank_correlation(x, y, interval=band(x, 1 / (1 + error))) == pytest.approx(-1.0)
    shuffled = np.random.default_rng(2).permutation(error.ravel())
    assert abs(rank_correlation(x, y, interval=band(x, shuffled))) < 0.05


def test_rank_correlation_of_evenly_spread_normal_errors_is_the_documented_one() -> None:
    rng = np.random.default_rng(3)
    half = rng.uniform(1, 4, (300, 300))
    error = rng.normal(0, half)
    assert rank_correlation(
        error, np.zeros_like(error), interval=band(error, half)
    ) == pytest.approx(0.37, abs=0.01)


def test_rank_correlation_of_equal_widths_is_refused_not_zero() -> None:
    x, y = pair()
    x = np.round(x * 1024) / 1024
    with pytest.raises(InputError, match="All interval widths that count are"):
        rank_correlation(x, y, interval=band(x, 0.25))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_is_scored_that_cannot_be(name: str) -> None:
    metric = PIXEL[name]
    x, y = pair()
    with pytest.raises(GeometryError, match="one grid"):
        metric(x, y[:-1], None)
    with pytest.raises(GeometryError, match="mask of shape"):
        metric(x, y, np.ones(y.shape[1:], dtype=bool))
    with pytest.raises(InputError, match="No voxel counts"):
        metric(x, y, np.zeros(y.shape, dtype=bool))
    with pytest.raises(InputError, match="magnitudes"):
        metric(x, y + 1j, None)
    bad = y.copy()
    bad[3, 3] = np.nan
    with pytest.raises(InputError, match="1 voxels that count are NaN"):
        metric(x, bad, None)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_data_range_is_refused(wrong: float) -> None:
    x, y = pair()
    with pytest.raises(UnitsError, match="data range"):
        psnr(x, y, data_range=wrong)
    with pytest.raises(UnitsError, match="data range"):
        ssim(x, y, data_range=wrong)


def test_a_scale_of_energy_that_is_zero_is_refused() -> None:
    with pytest.raises(InputError, match="zero in every voxel"):
        nmse(np.ones((4, 4)), np.zeros((4, 4)))


def image(data: Array, **changes: object) -> Image:
    settings = {
        "geometry": Geometry.index((24, 20, 1)),
        "units": "a.u.",
        "channels": ("T1w",),
    } | changes
    return Image(data.reshape(1, 24, 20, 1), **settings)  # type: ignore[arg-type]


def test_a_score_carries_units_direction_level_region_and_case() -> None:
    x, y = pair()
    found = score("psnr", image(x), image(y), data_range=1.0, region="brain", case="a")
    assert found.value == pytest.approx(psnr(x, y, data_range=1.0))
    said = (found.metric, found.units, found.better, found.level, found.region, found.case)
    assert said == ("psnr", "dB", "higher", "pixel", "brain", "a")


def test_one_function_scores_with_every_metric() -> None:
    x, y = pair()
    estimate = image(x)
    derived = Result(
        estimate, "posterior mean", interval=band(estimate.data, np.linspace(0.1, 0.3, x.size))
    )
    mask = np.ones((24, 20, 1), dtype=bool)
    found = {
        name: score(name, derived, image(y), data_range=1.0, mask=mask).value for name in NAMES
    }
    assert found["ssim"] == pytest.approx(ssim(x, y, data_range=1.0))
    assert found["nmse"] == pytest.approx(nmse(x, y))
    assert found["coverage"] == pytest.approx(coverage(derived.interval, image(y).data))  # type: ignore[arg-type]
    gaussian = score("ssim", derived, image(y), data_range=1.0, window="gaussian").value
    assert gaussian == pytest.approx(ssim(x, y, data_range=1.0, window="gaussian"))


def test_a_score_refuses_other_grids_units_channels_and_missing_companions() -> None:
    x, y = pair()
    other = Geometry((24, 20, 1), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(GeometryError, match="Resample"):
        score("nmse", image(x), image(y, geometry=other))
    with pytest.raises(UnitsError, match="HU"):
        score("nmse", image(x, units="HU"), image(y))
    with pytest.raises(InputError, match="channels"):
        score("nmse", image(x, channels=("T2w",)), image(y))
    with pytest.raises(UnitsError, match="data_range"):
        score("psnr", image(x), image(y))
    without = Result(image(x), "point estimate", absent={"interval": "there are no draws"})
    with pytest.raises(InputError, match="there are no draws"):
        score("coverage", without, image(y))
    with pytest.raises(SettingError, match="Did you mean 'psnr'"):
        score("pnsr", image(x), image(y))
