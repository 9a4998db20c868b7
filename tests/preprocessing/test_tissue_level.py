"""Laws of intensity scales: skull, size, units and cut do not move the inner tissue, and air is
found where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import heads
import veridical
from veridical.errors import InputError
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.rendering import PhantomVolume, render
from veridical.preprocessing.tissue_level import _filled, air_level, bright_level, tissue_level
from veridical.types import Array

SPACING = (4.0, 4.0, 4.0)


def inside(
    size: tuple[float, float, float], centre: tuple[float, float, float] = (0, 0, 0)
) -> Array:
    """Where `heads.head` lies within an ellipsoid of these half axes in mm."""
    image = heads.head()
    index = np.stack(np.meshgrid(*map(np.arange, image.geometry.shape), indexing="ij"))
    at = 4.0 * index + image.geometry.affine[:3, 3, None, None, None]
    away = (at - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(size, (3, 1, 1, 1))
    return np.asarray((away**2).sum(0) < 1)


def whole_and_stripped(fat: float) -> tuple[Array, Array]:
    """The head of ellipsoids `(x, y, z)` with its scalp `fat` times as bright, and its brain
    alone.
    """
    head = np.asarray(heads.head().data[0])
    whole = np.where(inside((57, 73, 61)), head, fat * head)
    return whole, np.where(inside((47, 59, 49), (0, 8, -4)), head, 0)


@pytest.mark.parametrize("fat", [0.5, 1.0, 3.0, 5.0])
def test_a_head_and_its_brain_alone_have_one_scale_however_bright_the_scalp_is(fat: float) -> None:
    whole, stripped = whole_and_stripped(fat)
    assert tissue_level(whole, SPACING) == pytest.approx(tissue_level(stripped, SPACING), rel=0.06)
    percentiles = [np.percentile(part[part > 0.1], 99) for part in (whole, stripped)]
    assert fat < 3 or percentiles[0] > 2 * percentiles[1], "which no percentile does"


@cache
def patient(index: int) -> PhantomVolume:
    return Cohort(0).volume(index, spacing=4.0)


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "FLAIR", "PD"])
@pytest.mark.parametrize("index", [0, 1, 4])
def test_digital_patients_down_to_the_neck_have_the_scale_of_their_brain(
    index: int, contrast: str
) -> None:
    """In FLAIR of patients 1 and 4 skull and fluid are as dark as air, and open to the outside by
    the neck.
    """
    whole, brain = (
        array.transpose(2, 1, 0)
        for array in (render(patient(index), contrast), patient(index).brain)
    )
    assert tissue_level(whole, SPACING) == pytest.approx(
        tissue_level(np.where(brain, whole, 0), SPACING), rel=0.2
    )


def test_units_size_and_finer_voxels_do_not_move_it() -> None:
    whole, _ = whole_and_stripped(2.0)
    level = tissue_level(whole, SPACING)
    assert tissue_level(1e4 * whole, SPACING) == pytest.approx(1e4 * level, rel=1e-5)
    finer = whole.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert tissue_level(finer, (2.0, 2.0, 2.0)) == pytest.approx(level, rel=0.05)
    wider = np.pad(whole, 12)
    assert tissue_level(wider, SPACING) == pytest.approx(level, rel=0.05)


def test_a_slice_has_about_the_scale_of_its_volume_whether_it_has_an_axis_or_not() -> None:
    whole = whole_and_stripped(3.0)[0].transpose(2, 1, 0)
    level = tissue_level(whole, SPACING)
    for index in (18, 21, 24):
        assert tissue_level(whole[index], SPACING) == tissue_level(
            whole[index : index + 1], SPACING
        )
        assert tissue_level(whole[index], SPACING) == pytest.approx(level, rel=0.2)


def test_a_dark_ring_and_dark_fluid_do_not_make_a_slice_shallow() -> None:
    """A scalp, a black skull, a brain with black ventricles that reach almost to its surface."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    away = np.hypot(x, y)
    image = np.where(away < 0.6, 0.4, 0.0) + np.where((away > 0.75) & (away < 0.9), 1.0, 0.0)
    image[(np.abs(x) < 0.04) & (np.abs(y) < 0.55)] = 0
    assert tissue_level(image) == pytest.approx(0.4)


def test_wide_bright_ventricles_do_not_set_the_scale() -> None:
    z, y, x = np.mgrid[-1.1:1.1:44j, -1.1:1.1:44j, -1.1:1.1:44j]
    away = np.sqrt(x**2 + y**2 + z**2)
    image = np.where(away < 1, 0.4, 0.0)
    image[away < 0.38] = 1.5
    assert tissue_level(image) == pytest.approx(0.4)


@pytest.mark.parametrize("scale", [tissue_level, bright_level])
def test_what_shows_nothing_has_no_scale(scale: object) -> None:
    for nothing in (np.zeros((3, 8, 8)), -np.ones((3, 8, 8))):
        with pytest.raises(InputError, match="shows nothing above zero"):
            scale(nothing)  # type: ignore[operator]


def test_one_bright_voxel_is_enough_to_have_a_scale() -> None:
    image = np.zeros((3, 40, 40))
    image[1, 20, 20] = 7.0
    assert tissue_level(image) == bright_level(image) == 7.0


def test_what_is_bright_is_a_percentile_of_what_shows() -> None:
    image = np.zeros((2, 100, 100))
    image[:, :10, :10] = np.linspace(1, 2, 100).reshape(10, 10)
    assert bright_level(image) == pytest.approx(np.percentile(np.linspace(1, 2, 100), 99), rel=0.02)


def test_the_air_of_a_standardized_image_is_its_low_end() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (40, 48, 42))
    head = heads.head().data[0] + noise
    standard = (head - head.mean()) / head.std()
    air = float(-head.mean() / head.std())
    assert air < -0.5
    assert air_level(standard) == pytest.approx(air, abs=0.1)
    assert air_level(head) == 0.0, "noise about zero is no shift"
    assert air_level(1e-3 * standard) == pytest.approx(1e-3 * air, abs=1e-4)


def test_an_image_standardized_within_a_mask_is_refused() -> None:
    _, brain = whole_and_stripped(1.0)
    shown = brain > 0
    brain[shown] = (brain[shown] - brain[shown].mean()) / brain[shown].std()
    with pytest.raises(InputError, match="standardized within a mask"):
        air_level(brain)


def labelled(folder: Path) -> Iterator[tuple[Array, Array, tuple[float, float, float]]]:
    """Heads of IXI `(z, y, x)` and where their brain is."""
    for labels in sorted((folder / "ixi_t1_2mm" / "dlmuse").glob("*.nii.gz")):
        name = labels.name.replace("_DLMUSE", "")
        image = veridical.read(folder / "ixi_t1_2mm" / "nifti" / name, contrast="T1w")
        brain = veridical.read(labels, units="label", contrast="brain")
        x, y, z = image.geometry.spacing
        yield image.data[0].transpose(2, 1, 0), brain.data[0].transpose(2, 1, 0) > 0, (z, y, x)


@pytest.mark.real
def test_ten_healthy_heads_have_the_scale_of_their_brain_within_11_percent(real_data: Path) -> None:
    found = [
        tissue_level(head, spacing) / tissue_level(np.where(brain, head, 0), spacing)
        for head, brain, spacing in labelled(real_data)
    ]
    assert len(found) == 10
    assert max(np.abs(np.array(found) - 1)) < 0.11
    assert abs(np.mean(found) - 1) < 0.08
    assert np.std(found) < 0.03


@pytest.mark.real
def test_bright_fat_of_whole_t1w_heads_is_more_than_twice_as_bright_as_their_tissue(
    real_data: Path,
) -> None:
    files = sorted((real_data / "openms" / "longitudinal_raw").rglob("study*_T1W.nii.gz"))
    assert files
    for path in files:
        image = veridical.read(path, contrast="T1w")
        x, y, z = image.geometry.spacing
        assert bright_level(image.data[0]) > 2 * tissue_level(
            image.data[0].transpose(2, 1, 0), (z, y, x)
        )


@pytest.mark.parametrize("shape", [(12, 20, 16), (1, 9, 7), (3, 1, 4)])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_what_a_slice_encloses_is_filled_slice_by_slice_along_each_axis(
    shape: tuple[int, int, int], share: float
) -> None:
    shown = np.random.default_rng(0).random(shape) < share
    along = [
        np.moveaxis(
            np.stack([ndimage.binary_fill_holes(one) for one in np.moveaxis(shown, axis, 0)]),
            0,
            axis,
        )
        for axis in range(3)
    ]
    np.testing.assert_array_equal(_filled(shown, flat=True), along[0])
    np.testing.assert_array_equal(_filled(shown, flat=False), np.logical_or.reduce(along))
