"""Finer grids keep everything in its place, and the noise of an image is found from the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from priors import volume
from veridical.errors import InputError, SettingError
from veridical.tasks.grids import BLOCK, finer, noise_map, noise_of, subdivided
from veridical.types import Array, Geometry

OBLIQUE = np.array([[-2.0, 0.3, 0, 50], [0.1, 2.5, 0, -40], [0, 0, 7.5, 10], [0, 0, 0, 1]])


def places(geometry: Geometry) -> Array:
    """Millimetres of every voxel, `(3, x, y, z)`."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"))
    return np.asarray(
        np.einsum("ij,jxyz->ixyz", geometry.affine[:3, :3], index)
        + geometry.affine[:3, 3, None, None, None]
    )


def corners(geometry: Geometry) -> Array:
    """Millimetres of the eight outer corners of the grid, `(3, 8)`."""
    ends_of = np.meshgrid(*[(-0.5, n - 0.5) for n in geometry.shape], [1.0], indexing="ij")
    return np.asarray((geometry.affine @ np.array(ends_of).reshape(4, -1))[:3])


@pytest.mark.parametrize("along", [0, 1, 2])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_a_finer_grid_keeps_slices_and_the_place_of_the_middle_voxel(
    along: int, factor: float
) -> None:
    coarse = Geometry((12, 11, 6), OBLIQUE, "mni")
    fine = finer(coarse, factor, along)
    wanted = [n if axis == along else round(factor * n) for axis, n in enumerate(coarse.shape)]
    assert (list(fine.shape), fine.frame) == (wanted, "mni")
    old, new = (
        [n if axis == along else n // 2 for axis, n in enumerate(grid.shape)]
        for grid in (coarse, fine)
    )
    old[along] = new[along] = 3
    np.testing.assert_allclose(fine.affine @ [*new, 1], coarse.affine @ [*old, 1])
    size = [n * s for n, s in zip(fine.shape, fine.spacing, strict=True)]
    assert size == pytest.approx([n * s for n, s in zip(coarse.shape, coarse.spacing, strict=True)])


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
    np.testing.assert_allclose(
        (finer(coarse).affine - subdivided(coarse, (2, 2, 1)).affine)[:3, 3], [0.25, 0.25, 0]
    )


@pytest.mark.parametrize("factors", [(0, 1, 1), (1.5, 1, 1), (2, 2)])
def test_a_grid_is_divided_by_three_whole_numbers(factors: tuple[int, int, int]) -> None:
    with pytest.raises(SettingError, match="whole numbers"):
        subdivided(Geometry((4, 4, 4), np.eye(4)), factors)


@pytest.mark.parametrize(("name", "sigma"), [("T1w", 6.0), ("CT", 25.0), ("PET", 0.1)])
def test_the_noise_of_a_channel_is_found_within_a_third(name: str, sigma: float) -> None:
    image = volume((name,), (96, 112, 8))
    noise = np.random.default_rng(0).normal(0, sigma, (2, *image.data.shape))
    noisy = np.hypot(image.data + noise[0], noise[1]) if name == "T1w" else image.data + noise[0]
    found = noise_of(replace(image, data=noisy.astype(np.float32)), name)
    assert found == pytest.approx(sigma, rel=0.3)


def test_empty_slices_do_not_change_the_noise_of_a_channel() -> None:
    image = volume(("T1w",), (96, 112, 8))
    noise = np.random.default_rng(0).normal(0, 6.0, (2, *image.data.shape))
    noisy = np.hypot(image.data + noise[0], noise[1]).astype(np.float32)
    wide = np.pad(noisy, ((0, 0), (0, 0), (0, 0), (12, 70)))
    grid = Geometry(wide.shape[1:], image.geometry.affine)  # type: ignore[arg-type]
    plain = noise_of(replace(image, data=noisy), "T1w")
    assert noise_of(replace(image, data=wide, geometry=grid), "T1w") == plain


def test_noise_of_an_empty_channel_is_to_be_given() -> None:
    with pytest.raises(InputError, match="Give noise"):
        noise_of(replace(volume(), data=0 * volume().data), "T1w")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_noise_of_a_single_slice_is_found_along_any_axis(axis: int) -> None:
    shape = [96, 104, 112]
    shape[axis] = 1
    image = volume(("T1w",), (shape[0], shape[1], shape[2]), (1.0, 1.0, 1.0))
    noise = np.random.default_rng(0).normal(0, 6.0, (2, *image.data.shape))
    noisy = np.hypot(image.data + noise[0], noise[1]).astype(np.float32)
    assert noise_of(replace(image, data=noisy), "T1w") == pytest.approx(6.0, rel=0.3)


def test_the_map_of_the_noise_follows_where_there_is_more_and_has_the_size_of_the_slices() -> None:
    """Odd sides, a smooth object, and three times as much noise on the right."""
    rng, shape = np.random.default_rng(0), (5, 121, 131)
    x = np.linspace(0, 1, shape[2])
    level = np.where(x < 0.5, 1.0, 3.0)
    found = noise_map((100 * x + level * rng.standard_normal(shape)).astype(np.float32))
    assert found.shape == shape
    left, right = (found[:, BLOCK:-BLOCK, part].mean() for part in (slice(10, 40), slice(-40, -10)))
    assert left == pytest.approx(1.0, rel=0.15)
    assert right == pytest.approx(3.0, rel=0.15)
