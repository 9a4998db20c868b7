"""Laws of coil maps from non-Cartesian k-space: they are those of the Cartesian scan, and noise is
found where it is alone.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from toys import picture, sensitivities
from veridical.errors import GeometryError, InputError
from veridical.physics.coils import espirit
from veridical.physics.fourier import fft
from veridical.physics.noise import estimate_sigma
from veridical.physics.noncartesian_coils import (
    calibration_grid,
    noncartesian_maps,
    noncartesian_sigma,
)
from veridical.physics.noncartesian_mri import NoncartesianMRI, radial

pytest.importorskip("finufft", reason="the extra [mri] is not installed")
SIZE, SIGMA = (96, 80), 1e-3


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return 2**0.5 * torch.randn(
        shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed)
    )


@cache
def coil_images() -> Tensor:
    return sensitivities(SIZE, 8) * picture(SIZE)


@cache
def scanned(spokes: int) -> tuple[Tensor, Tensor]:
    """k-space `(coil, sample)` of eight coils along `spokes` diameters, with a little noise, and
    the trajectory.
    """
    trajectory = radial(spokes, 192, 1.0) * torch.tensor(SIZE)
    one_coil = NoncartesianMRI(trajectory, torch.ones(1, 1, *SIZE, dtype=torch.complex64))
    kspace = one_coil.forward(coil_images()[:, None])[:, 0]
    return kspace + SIGMA * noise(tuple(kspace.shape)), trajectory


@cache
def cartesian_maps() -> Tensor:
    return espirit(fft(coil_images()) + SIGMA * noise((8, *SIZE)), torch.ones(SIZE))[0]


@pytest.mark.parametrize(("spokes", "side"), [(48, 24), (32, 24), (24, 20)])
def test_the_centre_on_the_grid_is_that_of_the_cartesian_scan(spokes: int, side: int) -> None:
    grid = calibration_grid(*scanned(spokes), SIZE)
    truth = fft(coil_images())[:, 48 - side // 2 : 48 + side // 2, 40 - side // 2 : 40 + side // 2]
    assert grid.shape == truth.shape
    assert float((grid - truth).norm() / truth.norm()) < 0.03


@pytest.mark.parametrize("spokes", [48, 24])
def test_maps_explain_the_coil_images(spokes: int) -> None:
    maps, images = noncartesian_maps(*scanned(spokes), SIZE)[0], coil_images()
    explained = maps * (maps.conj() * images).sum(0)
    assert float((explained - images).norm() / images.norm()) < 0.02


@pytest.mark.parametrize("spokes", [48, 24])
def test_maps_are_those_of_the_cartesian_scan_up_to_a_phase(spokes: int) -> None:
    maps, inside = noncartesian_maps(*scanned(spokes), SIZE)[0], picture(SIZE).abs() > 0.1
    overlap = (maps.conj() * cartesian_maps()).sum(0).abs()[inside]
    assert float(overlap.min()) > 0.98
    assert float(overlap.mean()) > 0.999


def test_maps_do_not_depend_on_scale_or_on_the_order_of_samples() -> None:
    kspace, trajectory = scanned(48)
    order = torch.randperm(len(trajectory), generator=torch.Generator().manual_seed(0))
    other = noncartesian_maps(1e4 * kspace[:, order], trajectory[order], SIZE)
    torch.testing.assert_close(
        other, noncartesian_maps(kspace, trajectory, SIZE), atol=2e-3, rtol=0
    )


def test_two_sets_are_two_and_a_single_coil_has_ones() -> None:
    kspace, trajectory = scanned(48)
    assert noncartesian_maps(kspace, trajectory, SIZE, sets=2).shape == (2, 8, *SIZE)
    single = noncartesian_maps(kspace[:1], trajectory, SIZE, sets=2)
    assert torch.equal(single[0], torch.ones(1, *SIZE, dtype=torch.complex64))
    assert not single[1].any()


def test_too_few_samples_in_the_centre_are_refused() -> None:
    with pytest.raises(InputError, match="central 8 x 8 grid points"):
        noncartesian_maps(*scanned(4), SIZE)


def test_noise_alone_is_found_and_signal_at_the_edge_counts_as_much_as_in_a_cartesian_scan() -> (
    None
):
    kspace, trajectory = scanned(48)
    blank = 0.02 * noise(tuple(kspace.shape), 1)
    assert noncartesian_sigma(blank, trajectory) == pytest.approx(0.02, rel=0.03)
    signal = torch.exp(-(trajectory.norm(dim=1) / 8).square()) * 30
    assert noncartesian_sigma(blank + signal, trajectory) == pytest.approx(0.02, rel=0.05)
    cartesian = estimate_sigma(fft(coil_images()) + 0.02 * noise((8, *SIZE)), torch.ones(SIZE))
    assert noncartesian_sigma(kspace + blank, trajectory) == pytest.approx(cartesian, rel=0.1)


def test_shapes_that_do_not_fit_are_refused() -> None:
    kspace, trajectory = scanned(48)
    with pytest.raises(GeometryError, match="reshape"):
        noncartesian_maps(kspace.reshape(8, 48, 192), trajectory, SIZE)
    with pytest.raises(GeometryError, match="complex"):
        noncartesian_sigma(kspace.abs(), trajectory)
    with pytest.raises(InputError, match="64"):
        noncartesian_sigma(kspace[:, :50], trajectory[:50])
