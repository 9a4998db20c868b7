"""Averages of fine voxels: borders, profiles, and the classical image that has the averages that
were measured.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.physics.voxel_average import VoxelAverage


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def blob(*shape: int) -> torch.Tensor:
    """A smooth object, 2 above a floor of 1."""
    where = torch.meshgrid(*[(torch.arange(n) + 0.5) / n - 0.45 for n in shape], indexing="ij")
    return 1 + 2 * torch.exp(-torch.stack(where).square().sum(0) / 0.05)


def test_a_coarse_voxel_is_the_mean_of_the_fine_ones_inside() -> None:
    image = noise(2, 8, 9)
    torch.testing.assert_close(
        VoxelAverage((8, 9), (2, 3)).forward(image), torch.nn.functional.avg_pool2d(image, (2, 3))
    )
    volume = noise(1, 4, 6, 8)
    pooled = torch.nn.functional.avg_pool3d(volume, (2, 3, 2))
    torch.testing.assert_close(VoxelAverage((4, 6, 8), (2, 3, 2)).forward(volume), pooled)


@pytest.mark.parametrize("fwhm", [0.0, 1.0, 2.5])
def test_constants_stay_also_at_the_borders_and_also_in_the_classical_image(fwhm: float) -> None:
    operator = VoxelAverage((12, 8, 10), (4, 2, 1), fwhm=fwhm)
    flat = torch.full(operator.range, 7.0)
    torch.testing.assert_close(operator.forward(torch.full(operator.domain, 7.0)), flat)
    torch.testing.assert_close(operator.classical(flat), torch.full(operator.domain, 7.0))


def test_a_slice_profile_has_the_stated_width_in_coarse_voxels() -> None:
    operator = VoxelAverage((15 * 16, 3), (16, 1), fwhm=1.5)
    profile = operator.adjoint(torch.eye(15)[7][:, None].expand(15, 3))[:, 0]
    place = (torch.arange(15 * 16) + 0.5) / 16
    mean = float((profile * place).sum())
    assert float(profile.sum()) == pytest.approx(1, rel=1e-5)
    assert mean == pytest.approx(7.5, abs=1e-4)
    assert float((profile * (place - mean) ** 2).sum().sqrt()) * 2.3548 == pytest.approx(
        1.5, rel=0.01
    )
    assert float((profile > profile.max() / 2).sum()) / 16 == pytest.approx(1.5, abs=2 / 16)


def test_the_slice_axis_is_the_one_named_and_the_others_are_boxes() -> None:
    image = noise(6, 8)
    along_x = VoxelAverage((6, 8), (2, 4), fwhm=1.2, axis=-1)
    along_y = VoxelAverage((8, 6), (4, 2), fwhm=1.2, axis=0)
    torch.testing.assert_close(along_x.forward(image), along_y.forward(image.T).T)
    assert along_x.describe()["axis"] == 1


@pytest.mark.parametrize(
    "operator",
    [
        VoxelAverage((12, 20), (2, 2)),
        VoxelAverage((12, 8, 10), (4, 2, 2), fwhm=1.0),
        VoxelAverage((3, 8), (3, 2)),
    ],
    ids=["plane", "slices", "one row"],
)
def test_the_classical_image_has_the_averages_that_were_measured(operator: VoxelAverage) -> None:
    measured = noise(2, *operator.range)
    found = operator.classical(measured)
    assert found.shape == (2, *operator.domain)
    assert float((operator.forward(found) - measured).norm()) <= 2e-5 * float(measured.norm())


def test_the_classical_image_of_a_smooth_object_is_in_its_place() -> None:
    """On a grid that is off by half a fine voxel the error would be a hundred times as large."""
    truth = blob(48, 64)
    operator = VoxelAverage((48, 64), (2, 2))
    error = float((operator.classical(operator.forward(truth)) - truth)[4:-4, 4:-4].abs().max())
    assert error < 0.0006
    assert float(truth.diff(dim=1).abs().max()) / 2 > 0.05


def test_iterations_bring_the_classical_image_closer_than_the_spline_alone() -> None:
    truth = blob(24, 32)
    operator = VoxelAverage((24, 32), (4, 4))
    measured = operator.forward(truth)
    spline, corrected = operator.classical(measured, iterations=0), operator.classical(measured)
    assert float((corrected - truth).norm()) < 0.5 * float((spline - truth).norm())


def test_an_image_of_one_factor_is_itself() -> None:
    image = noise(5, 7)
    operator = VoxelAverage((5, 7), (1, 1))
    torch.testing.assert_close(operator.forward(image), image)
    torch.testing.assert_close(operator.classical(image), image)


def test_complex_images_are_averaged_by_their_parts() -> None:
    image = torch.complex(noise(8, 9), noise(8, 9).flip(0))
    operator = VoxelAverage((8, 9), (2, 3), dtype=torch.complex64)
    torch.testing.assert_close(operator.forward(image).real, operator.forward(image.real))
    found = operator.classical(operator.forward(image))
    torch.testing.assert_close(
        found.imag, operator.classical(operator.forward(image.imag)), atol=1e-4, rtol=0
    )


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GeometryError, match="divisor"):
        VoxelAverage((9, 8), (2, 2))
    with pytest.raises(GeometryError, match="one an axis"):
        VoxelAverage((8, 8, 8), (2, 2))
    with pytest.raises(GeometryError, match="axis 2"):
        VoxelAverage((8, 8), (2, 2), axis=2)
    with pytest.raises(SettingError, match="factors from 1"):
        VoxelAverage((8, 8), (0, 2))
    for width in (-1.0, np.inf, np.nan):
        with pytest.raises(SettingError, match="width"):
            VoxelAverage((8, 8), (2, 2), fwhm=width)
    with pytest.raises(GeometryError, match="coarse image"):
        VoxelAverage((8, 8), (2, 2)).classical(noise(4, 5))
