"""The bias field of MR images: found where there is one, 1 where there is none, whatever the units
of the image.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from veridical.errors import GeometryError, InputError, SettingError
from veridical.physics.bias_shading import random_polynomial, smooth_field
from veridical.preprocessing.bias_field import N4, bias_field
from veridical.types import Array

SHAPE, SPACING = (64, 60, 28), (3.0, 3.0, 5.0)


def phantom(seed: int = 0) -> tuple[Array, Array]:
    """An ellipsoid of three tissues, each in many pieces, with noise; and where it is."""
    rng = np.random.default_rng(seed)
    where = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    inside = (where**2).sum(0) < 0.85
    pieces = ndimage.gaussian_filter(rng.normal(size=SHAPE), (2, 2, 1.2))
    tissue = np.digitize(pieces, np.quantile(pieces, [0.2, 0.6]))
    image = np.where(inside, np.array([300, 650, 1000])[tissue], 0)
    return (image + rng.normal(0, 20, SHAPE) * inside).clip(0).astype(np.float32), inside


def shading(shape: tuple[int, ...], rng: np.random.Generator, strength: float) -> Array:
    return smooth_field(shape, random_polynomial(len(shape), rng), strength)


def spread(field: Array, inside: Array) -> float:
    """Standard deviation of the logarithm: 0 for a constant."""
    return float(np.log(field[inside]).std())


@pytest.mark.parametrize("strength", [0.2, 0.5, 1.0])
def test_a_known_field_is_found_on_a_phantom_of_even_tissues(strength: float) -> None:
    image, inside = phantom()
    field = shading(SHAPE, np.random.default_rng(1), strength)
    found = bias_field(image * field, SPACING, inside)
    assert spread(found / field, inside) < 0.15 * spread(field, inside) + 0.005
    assert found.dtype == np.float32


def test_where_there_is_no_field_hardly_any_is_found() -> None:
    image, inside = phantom()
    assert spread(bias_field(image, SPACING), inside) < 0.01


@pytest.mark.parametrize("value", [1.0, 37.5])
def test_a_constant_image_has_the_field_1(value: float) -> None:
    np.testing.assert_allclose(bias_field(np.full(SHAPE, value), SPACING), 1, rtol=1e-6)


def test_the_field_does_not_depend_on_the_units_of_the_image() -> None:
    image, _ = phantom()
    shaded = image * shading(SHAPE, np.random.default_rng(2), 0.6)
    np.testing.assert_allclose(
        bias_field(1e-3 * shaded, SPACING), bias_field(shaded, SPACING), rtol=2e-3
    )


def test_the_mean_inside_the_mask_is_1_and_all_is_positive() -> None:
    image, inside = phantom()
    found = bias_field(image * shading(SHAPE, np.random.default_rng(3), 0.6), SPACING, inside)
    assert found.shape == SHAPE
    assert found.min() > 0
    assert found[inside & (image > 0)].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_what_lies_outside_the_mask_changes_nothing() -> None:
    image, inside = phantom()
    image *= shading(SHAPE, np.random.default_rng(4), 0.5)
    other = np.where(
        inside, image, np.random.default_rng(5).uniform(0, 9000, SHAPE).astype(np.float32)
    )
    assert np.array_equal(bias_field(image, SPACING, inside), bias_field(other, SPACING, inside))


def test_the_image_is_untouched_and_the_same_image_has_the_same_field() -> None:
    image, _ = phantom()
    kept = image.copy()
    first, second = bias_field(image, SPACING), bias_field(image, SPACING)
    assert np.array_equal(image, kept)
    assert np.array_equal(first, second)


def test_turned_images_have_turned_fields() -> None:
    image, inside = phantom()
    image *= shading(SHAPE, np.random.default_rng(6), 0.5)
    turned = bias_field(image.transpose(2, 0, 1), (5.0, 3.0, 3.0), inside.transpose(2, 0, 1))
    np.testing.assert_allclose(
        turned.transpose(1, 2, 0), bias_field(image, SPACING, inside), rtol=1e-3
    )


def test_one_slice_is_corrected_too() -> None:
    image, inside = phantom()
    field = shading(SHAPE[:2], np.random.default_rng(7), 0.8)[:, :, None]
    image, inside = image[:, :, 13:14], inside[:, :, 13:14]
    found = bias_field(image * field, SPACING, inside)
    assert spread(found / field, inside) < 0.4 * spread(field, inside)


def test_what_cannot_be_corrected_is_refused() -> None:
    image, _ = phantom()
    with pytest.raises(GeometryError, match=r"volume \(x, y, z\)"):
        bias_field(image[None], SPACING)
    with pytest.raises(GeometryError, match="sizes above 0"):
        bias_field(image, (1.0, 0.0, 1.0))
    with pytest.raises(GeometryError, match="mask of shape"):
        bias_field(image, SPACING, np.ones((3, 3, 3), bool))
    with pytest.raises(InputError, match="NaN"):
        bias_field(np.where(image > 900, np.nan, image), SPACING)
    for empty in (np.zeros(SHAPE), -image):
        with pytest.raises(InputError, match="positive voxels"):
            bias_field(empty, SPACING, np.ones(SHAPE, bool))
    for wrong in ({"grid": 0.0}, {"levels": 0}, {"knots": float("nan")}, {"bins": 2}):
        with pytest.raises(SettingError, match="expected"):
            N4(**wrong)


@pytest.mark.real
def test_a_real_head_is_corrected_within_20_seconds_of_one_core(real_data: Path) -> None:
    """The head has a field of its own, so what counts is how the field found changes with the field
    put in.
    """
    from veridical.io.files import read
    from veridical.types import Image

    volume = read(
        next((real_data / "tcga_fg_6692" / "raw").glob("T1_AX_*.nii.gz")),
        contrast="T1w",
        units="a.u.",
    )
    assert isinstance(volume, Image)
    image = volume.data[0].astype(np.float32)
    inside = image > np.percentile(image, 60)
    begun = time.process_time()
    natural = bias_field(image, volume.geometry.spacing, inside)
    assert time.process_time() - begun < 20
    field = shading(image.shape, np.random.default_rng(0), 0.8)
    found = bias_field(image * field, volume.geometry.spacing, inside)
    assert spread(found / natural / field, inside) < 0.35 * spread(field, inside)
