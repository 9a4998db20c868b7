from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from scipy.ndimage import gaussian_filter

from veridical import registry
from veridical.errors import GeometryError, InputError, SettingError, UnitsError
from veridical.features.radiomics import ABOUT, LOGGED, NAMES, PLAIN, features, radiomics
from veridical.features.texture_matrices import (
    Levels,
    cooccurrences,
    discretise,
    neighbourhoods,
    run_lengths,
    zones,
)
from veridical.types import Array

SPACING = (1.0, 1.0, 1.0)
WINDOW = (-2.0, 2.0)


def textured(seed: int, shape: tuple[int, int, int] = (16, 14, 12)) -> tuple[Array, Array]:
    """A correlated image, standard deviation 1, and an irregular region with holes."""
    rng = np.random.default_rng(seed)
    image, region = (gaussian_filter(rng.normal(size=shape), smooth) for smooth in (0.8, 2.0))
    return (image / image.std()).astype(np.float32), region > np.quantile(region, 0.3)


def row(image: Array, mask: Array | None, window: tuple[float, float] = WINDOW) -> Array:
    return radiomics(image, mask=mask, spacing=SPACING, window=window)


@pytest.fixture(scope="module")
def region() -> Levels:
    image, mask = textured(0)
    return discretise(image, mask, WINDOW, 7)


def test_it_is_the_only_extractor_of_its_files_and_says_what_its_row_is() -> None:
    own = {"radiomics", "first-order", "texture-matrices", "texture-features", "morphology"}
    assert own & set(registry.entries("extractor")) == {"radiomics"}
    assert len(NAMES) == len(set(NAMES)) == ABOUT.size == len(PLAIN) + len(LOGGED)
    assert not ABOUT.needs_3d


def test_a_row_holds_ibsi_values_of_the_image_scaled_to_its_window() -> None:
    image, mask = textured(1)
    found = features((image + 2) / 4, mask=mask, window=(0, 1))
    values = row(image, mask)
    assert values.shape == (1, len(NAMES))
    assert values.dtype == np.float64
    for name, value in zip(NAMES, values[0], strict=True):
        logged = name.removeprefix("log10_")
        assert value == pytest.approx(
            np.log10(found[logged]) if name != logged else found[name], rel=1e-6
        ), name


@pytest.mark.parametrize("slope", [0.25, 8.0])
def test_unit_and_offset_do_not_change_a_row_when_the_window_follows(slope: float) -> None:
    image, mask = textured(2)
    low, high = (slope * end + 32 for end in WINDOW)
    np.testing.assert_allclose(
        row(slope * image.astype(float) + 32, mask, (low, high)), row(image, mask), rtol=1e-9
    )


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a[::-1],
        lambda a: a[:, :, ::-1],
        lambda a: a.transpose(2, 0, 1),
        lambda a: np.rot90(a, axes=(1, 2)),
    ],
)
def test_features_in_three_dimensions_do_not_depend_on_how_the_patient_lay(
    turn: Callable[[Array], Array],
) -> None:
    image, mask = textured(3)
    for merged in (True, False):
        lying, turned = (
            features(i, mask=m, window=WINDOW, merged=merged)
            for i, m in ((image, mask), (turn(image), turn(mask)))
        )
        assert turned == pytest.approx(lying, rel=1e-6)


@pytest.mark.parametrize("merged", [True, False])
def test_of_one_slice_all_dimensions_say_the_same(merged: bool) -> None:
    image, mask = textured(4, (20, 18, 1))
    flat = features(image, mask=mask, window=WINDOW, dimensions="2D", merged=merged)
    for dimensions in ("2.5D", "3D"):
        assert features(
            image, mask=mask, window=WINDOW, dimensions=dimensions, merged=merged
        ) == pytest.approx(flat, rel=1e-9)


@pytest.mark.parametrize("slicewise", [True, False])
def test_matrices_count_every_voxel_and_every_pair_once(region: Levels, slicewise: bool) -> None:
    voxels = np.count_nonzero(region.block)
    inside = region.block > 0
    pairs, runs = cooccurrences(region, slicewise), run_lengths(region, slicewise)
    assert (pairs == pairs.swapaxes(2, 3)).all()
    lengths = np.arange(1, runs.shape[3] + 1)
    assert ((runs * lengths).sum(axis=(0, 2, 3)) == voxels).all()
    kernel = np.ones((1, 3, 3) if slicewise else (3, 3, 3))
    neighbours = ndimage.convolve(inside.astype(int), kernel.astype(int), mode="constant") - inside
    assert pairs.sum() == neighbours[inside].sum()
    tones, dependences = neighbourhoods(region, slicewise)
    assert dependences.sum() == voxels
    assert tones[:, 0].sum() == (neighbours[inside] > 0).sum()
    equal = sum(pairs[..., level, level].sum() for level in range(region.number))
    assert (dependences * np.arange(dependences.shape[2])).sum() == equal
    assert sum(int(found[:, 1].sum()) for found in zones(region, slicewise)) == voxels


def test_zones_are_the_connected_components_of_each_level_and_know_their_depth(
    region: Levels,
) -> None:
    depth = ndimage.distance_transform_cdt(region.block > 0, metric="taxicab")
    expected = []
    for level in range(1, region.number + 1):
        labels, count = ndimage.label(region.block == level, np.ones((3, 3, 3)))
        for label in range(1, count + 1):
            expected.append(
                (level, int((labels == label).sum()), int(depth[labels == label].min()))
            )
    assert sorted(map(tuple, zones(region, False)[0].tolist())) == sorted(expected)


def test_grey_levels_are_those_of_the_manual() -> None:
    image = np.array([-9.0, 0.0, 2.4, 2.5, 9.9, 10.0, 99.0])[:, None, None]
    everywhere = np.ones(image.shape, dtype=bool)
    assert discretise(image, everywhere, (0, 10), 4).block[1, 1:-1, 1].tolist() == [
        1,
        1,
        1,
        2,
        4,
        4,
        4,
    ]
    fixed = discretise(image, everywhere, (0, 10), width=2.5)
    assert fixed.block[1, 1:-1, 1].tolist() == [1, 1, 1, 2, 4, 5, 5]
    assert fixed.number == 5


def test_what_lies_outside_of_mask_and_window_is_not_seen() -> None:
    image, mask = textured(5)
    outside = np.where(mask, image, np.nan)
    assert (row(outside, mask) == row(image, mask)).all()
    assert (row(np.where(image > 2, 1e9, image), mask) == row(image, mask)).all()
    framed = np.pad(image, 3)
    np.testing.assert_allclose(row(framed, np.pad(mask, 3)), row(image, mask), rtol=1e-12)
    assert (row(image, None) == row(image, np.ones(image.shape, dtype=bool))).all()


@pytest.mark.parametrize("level", [-5.0, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("dimensions", ["2D", "2.5D", "3D"])
def test_a_constant_region_has_the_stated_values_and_no_nan(level: float, dimensions: str) -> None:
    image = np.full((5, 4, 3), level)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = features(image, mask=None, window=WINDOW, dimensions=dimensions, merged=False)
        assert np.isfinite(row(image, None)).all()
    assert all(np.isfinite(value) for value in found.values())
    zero = (
        "stat_skewness",
        "stat_excess_kurtosis",
        "ih_entropy",
        "glcm_joint_entropy",
        "glcm_contrast",
        "glcm_inverse_variance",
    )
    zero += tuple(f"ngtdm_{name}" for name in ("contrast", "busyness", "complexity", "strength"))
    zero += tuple(
        f"glcm_{which}_measure_of_information_correlation" for which in ("first", "second")
    )
    assert {name: found[name] for name in zero} == dict.fromkeys(zero, 0.0)
    assert found["ngtdm_coarseness"] == 1e6
    assert (
        found["glcm_correlation"]
        == found["ih_uniformity"]
        == found["glcm_angular_second_moment"]
        == 1
    )


def test_a_smoother_image_has_less_contrast_and_longer_runs_a_noisier_one_more_and_shorter() -> (
    None
):
    image, mask = textured(6)
    noise = np.random.default_rng(0).normal(0, 0.5, image.shape)
    smooth, plain, noisy = (
        features(x, mask=mask, window=WINDOW)
        for x in (gaussian_filter(image, 1), image, image + noise)
    )
    for name, rises in {"glcm_contrast": 1, "glcm_joint_entropy": 1, "ngldm_low_dependence_emphasis": 1, "ngtdm_coarseness": -1,  # noqa: E501
                        "glrlm_long_runs_emphasis": -1, "glcm_correlation": -1}.items():  # fmt: skip  # noqa: E501
        assert rises * smooth[name] < rises * plain[name] < rises * noisy[name], name


def test_columns_are_of_one_scale_and_none_repeats_another() -> None:
    rng, rows = np.random.default_rng(0), []
    for seed in range(40):
        image, mask = textured(seed, (18, 16, 14))
        image = gaussian_filter(image, rng.uniform(0, 0.5)) * rng.uniform(0.8, 1.2) + rng.normal(
            0, rng.uniform(0, 0.4), image.shape
        )
        rows.append(row(image + rng.uniform(-0.3, 0.3), mask)[0])
    spread = np.std(rows, axis=0)
    assert spread.min() > 5e-4
    assert spread.max() < 1
    together = np.abs(np.corrcoef(np.transpose(rows))) - np.eye(len(NAMES))
    assert together.max() < 1 - 1e-6, [
        NAMES[i] for i in np.unravel_index(together.argmax(), together.shape)
    ]


def test_input_is_left_as_it_was() -> None:
    image, mask = textured(7)
    before = image.tobytes(), mask.tobytes()
    assert (row(image, mask) == row(image, mask)).all()
    assert (image.tobytes(), mask.tobytes()) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"image": np.zeros((4, 4))}, GeometryError),
        ({"mask": np.ones((4, 4, 3), dtype=bool)}, GeometryError),
        ({"mask": np.ones((4, 4, 4))}, InputError),
        ({"mask": np.zeros((4, 4, 4), dtype=bool)}, InputError),
        ({"mask": np.arange(64).reshape(4, 4, 4) == 0}, InputError),
        ({"image": np.full((4, 4, 4), np.nan)}, InputError),
        ({"image": np.zeros((4, 4, 4), dtype=complex)}, InputError),
        ({"window": (1.0, 1.0)}, UnitsError),
        ({"window": (0.0, np.inf)}, UnitsError),
        ({"levels": 256}, SettingError),
        ({"levels": 0}, SettingError),
        ({"width": 0.0}, SettingError),
        ({"width": 1e-3}, SettingError),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict, error: type[Exception]) -> None:
    given = {"image": np.zeros((4, 4, 4)), "mask": None, "window": (0.0, 1.0)} | change
    with pytest.raises(error):
        features(given.pop("image"), **given)
