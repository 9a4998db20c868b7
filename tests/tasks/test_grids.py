"""Finer grids keep everything in its place, and the noise of an image is found from the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from priors import volume
from veridical.errors import InputError, SettingError
from veridical.tasks.enhance import finer
from veridical.tasks.grids import noise_of, on, started, subdivided, thickness
from veridical.types import Array, Geometry, Image

OBLIQUE = np.array([[-2.0, 0.3, 0, 50], [0.1, 2.5, 0, -40], [0, 0, 7.5, 10], [0, 0, 0, 1]])


def places(geometry: Geometry) -> Array:
    """Millimetres of every voxel, `(3, x, y, z)`."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"))
    return np.asarray(np.einsum("ij,jxyz->ixyz", geometry.affine[:3, :3], index) + geometry.affine[:3, 3, None, None, None])


def of(function: Array, geometry: Geometry) -> Image:
    return Image(np.asarray(function, np.float32)[None], geometry, "a.u.", ("T1w",))


def ends(geometry: Geometry) -> Array:
    """Outer faces of the first and last slice, mm along the third axis."""
    return np.asarray(geometry.affine[2, 3] + geometry.affine[2, 2] * np.array([-0.5, geometry.shape[2] - 0.5]))


def corners(geometry: Geometry) -> Array:
    """Millimetres of the eight outer corners of the grid, `(3, 8)`."""
    ends_of = np.meshgrid(*[(-0.5, n - 0.5) for n in geometry.shape], [1.0], indexing="ij")
    return np.asarray((geometry.affine @ np.array(ends_of).reshape(4, -1))[:3])


def test_thick_slices_become_as_thin_as_the_pixels_in_the_same_space() -> None:
    geometry = Geometry((12, 10, 6), OBLIQUE)
    fine, axes = started(of(np.ones(geometry.shape), geometry), "isotropic", 2.0)
    wanted = np.sqrt(geometry.spacing[0] * geometry.spacing[1])
    assert fine.geometry.spacing[2] == pytest.approx(wanted, rel=0.05)
    assert fine.geometry.spacing[:2] == geometry.spacing[:2]
    np.testing.assert_allclose(ends(fine.geometry), ends(geometry))
    assert thickness(fine) == pytest.approx(geometry.spacing[2] / fine.geometry.spacing[2])
    assert axes == (0, 1)
    assert fine.data.min() == fine.data.max() == 1.0


def test_what_rises_evenly_in_space_still_does_between_the_slices() -> None:
    geometry = Geometry((12, 10, 6), OBLIQUE)
    fine, _ = started(of(places(geometry)[2], geometry), "isotropic", 2.0)
    inner = slice(3, -3)
    np.testing.assert_allclose(fine.data[0, :, :, inner], places(fine.geometry)[2][:, :, inner], rtol=1e-5)


@pytest.mark.parametrize("geometry", [Geometry((8, 8, 8), np.eye(4)), Geometry.index((8, 8, 2))])
def test_nothing_is_made_isotropic_that_is_or_whose_spacing_is_unknown(geometry: Geometry) -> None:
    with pytest.raises(InputError, match="Nothing is to be made isotropic"):
        started(of(np.ones(geometry.shape), geometry), "isotropic", 2.0)


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_a_smooth_object_stays_in_its_place_when_kspace_is_padded(factor: float) -> None:
    geometry = Geometry((40, 36, 2), OBLIQUE)
    centre = (geometry.affine @ [18.3, 17.6, 0.5, 1])[:3, None, None, None]
    blob = np.exp(-((places(geometry)[:2] - centre[:2]) ** 2).sum(0) / 72) + 0.1
    fine, axes = started(of(blob, geometry), "super-resolve", factor)
    assert fine.geometry.shape == (round(40 * factor), round(36 * factor), 2)
    wanted = np.exp(-((places(fine.geometry)[:2] - centre[:2]) ** 2).sum(0) / 72) + 0.1
    np.testing.assert_allclose(fine.data[0], wanted, atol=2e-3)
    assert axes == (None,)


@pytest.mark.parametrize("factors", [(2, 2, 1), (1, 3, 4), (1, 1, 1)])
def test_a_subdivided_grid_has_the_same_corners(factors: tuple[int, int, int]) -> None:
    coarse = Geometry((12, 10, 6), OBLIQUE, "mni")
    fine = subdivided(coarse, factors)
    assert fine.shape == tuple(n * f for n, f in zip(coarse.shape, factors, strict=True))
    assert fine.frame == "mni"
    np.testing.assert_allclose(corners(fine), corners(coarse), atol=1e-9)


def test_a_coarse_voxel_lies_at_the_mean_of_the_fine_ones_inside() -> None:
    coarse = Geometry((6, 5, 4), OBLIQUE)
    fine = places(subdivided(coarse, (2, 3, 1))).reshape(3, 6, 2, 5, 3, 4, 1)
    np.testing.assert_allclose(fine.mean((2, 4, 6)), places(coarse), atol=1e-9)


def test_a_grid_subdivided_twice_is_that_of_the_product() -> None:
    coarse = Geometry((6, 5, 4), OBLIQUE)
    assert subdivided(subdivided(coarse, (2, 1, 3)), (2, 3, 1)) == subdivided(coarse, (4, 3, 3))


def test_the_grid_of_kspace_padding_is_off_by_half_a_fine_voxel() -> None:
    coarse = Geometry((12, 10, 6), np.eye(4))
    np.testing.assert_allclose((finer(coarse).affine - subdivided(coarse, (2, 2, 1)).affine)[:3, 3], [0.25, 0.25, 0])


@pytest.mark.parametrize("factors", [(0, 1, 1), (1.5, 1, 1), (2, 2)])
def test_a_grid_is_divided_by_three_whole_numbers(factors: tuple[int, int, int]) -> None:
    with pytest.raises(SettingError, match="whole numbers"):
        subdivided(Geometry((4, 4, 4), np.eye(4)), factors)


def test_other_jobs_leave_the_grid_alone() -> None:
    image = volume()
    assert started(image, "denoise", 2.0) == (image, (None,))


def test_a_mask_keeps_its_volume_on_a_finer_grid() -> None:
    mask = np.zeros((12, 10, 6), bool)
    mask[3:7, 2:9, 1:4] = True
    fine, _ = started(of(mask, Geometry(mask.shape, OBLIQUE)), "isotropic", 2.0)  # type: ignore[arg-type]
    found = on(mask, fine)
    assert found is not None
    assert found.shape == fine.geometry.shape
    assert found.sum() / mask.sum() == pytest.approx(fine.geometry.shape[2] / 6, rel=0.1)
    assert on(None, fine) is None
    assert on(mask, of(mask, Geometry(mask.shape, OBLIQUE))) is mask  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "sigma"), [("T1w", 6.0), ("CT", 25.0), ("PET", 0.1)])
def test_the_noise_of_a_channel_is_found_within_a_third(name: str, sigma: float) -> None:
    image = volume((name,), (96, 112, 8))
    noise = np.random.default_rng(0).normal(0, sigma, (2, *image.data.shape))
    noisy = np.hypot(image.data + noise[0], noise[1]) if name == "T1w" else image.data + noise[0]
    found = noise_of(replace(image, data=noisy.astype(np.float32)), name)
    assert found == pytest.approx(sigma, rel=0.3)


def test_noise_of_an_empty_channel_is_to_be_given() -> None:
    with pytest.raises(InputError, match="Give noise"):
        noise_of(replace(volume(), data=0 * volume().data), "T1w")
