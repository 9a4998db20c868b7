"""Laws of coil maps: known sensitivities are found, two sets explain a wrapped object, white noise
is white.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from toys import picture, sensitivities
from veridical.errors import InputError
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.coils import (
    calibration_region,
    compress,
    espirit,
    noise_covariance,
    prewhiten,
)
from veridical.physics.fourier import fft, ifft

SIZE = (96, 80)


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@cache
def scanned() -> tuple[Tensor, Tensor, Tensor]:
    """k-space of six coils with a little noise, the mask of a 4x scan, and the true maps."""
    maps = sensitivities(SIZE, 6)
    full = fft(maps * picture(SIZE))
    mask = torch.from_numpy(masks.uniform(SIZE, 4)).float()
    return (full + 2e-3 * noise(tuple(full.shape))) * mask, mask, maps


def test_known_maps_are_found_up_to_a_phase() -> None:
    kspace, mask, maps = scanned()
    found = espirit(kspace, mask)[0]
    inside = picture(SIZE).abs() > 0.1
    overlap = (found.conj() * maps).sum(0).abs() / found.norm(dim=0).clamp_min(1e-9)
    assert float(overlap[inside].min()) > 0.99
    assert float(overlap[inside].mean()) > 0.999


def test_maps_have_unit_norm_in_the_object_and_none_far_from_it() -> None:
    kspace, mask, _ = scanned()
    norm = espirit(kspace, mask)[0].norm(dim=0)
    torch.testing.assert_close(norm[30:66, 25:55], torch.ones(36, 30), atol=0.01, rtol=0)
    corners = [norm[:8, :8], norm[-8:, :8], norm[:8, -8:], norm[-8:, -8:]]
    assert max(float(corner.max()) for corner in corners) < 0.5


def test_the_phase_of_the_maps_is_smooth_where_the_object_is() -> None:
    kspace, mask, _ = scanned()
    image = CartesianMRI(mask, espirit(kspace, mask)).combine(ifft(kspace / mask.clamp_min(1)))[0]
    assert torch.isfinite(torch.view_as_real(image)).all()
    strongest = espirit(kspace, mask)[0].abs().amax(0)
    maps = espirit(kspace, mask)[0]
    step = (maps[:, 30:66, 26:55] * maps[:, 30:66, 25:54].conj()).sum(0).angle().abs()
    assert float(step.max()) < 0.2
    assert float(strongest[30:66, 25:55].min()) > 0.3


def test_only_the_sampled_centre_counts() -> None:
    kspace, mask, _ = scanned()
    other = kspace.clone()
    other[..., :20] = 0
    torch.testing.assert_close(espirit(other, mask), espirit(kspace, mask), atol=1e-6, rtol=0)


def test_maps_do_not_depend_on_the_scale_of_the_data() -> None:
    kspace, mask, _ = scanned()
    for factor in (1e-6, 1e5):
        torch.testing.assert_close(
            espirit(factor * kspace, mask), espirit(kspace, mask), atol=2e-4, rtol=0
        )


def test_two_sets_explain_a_wrapped_object_where_one_cannot() -> None:
    """Uecker et al. 2014, figure 5: an object larger than the field of view needs one set of maps a
    layer.
    """
    wide = (96, 104)
    coil_images = sensitivities(wide, 6) * picture(wide)
    folded = coil_images[..., 12:92].clone()
    folded[..., :12] += coil_images[..., 92:]
    folded[..., 68:] += coil_images[..., :12]
    kspace, mask = fft(folded) + 1e-3 * noise((6, 96, 80)), torch.ones(96, 80)
    left = []
    for sets in (1, 2):
        operator = CartesianMRI(mask, espirit(kspace, mask, sets=sets))
        left.append(
            float((operator.forward(operator.pinv(kspace, 20)) - kspace).norm() / kspace.norm())
        )
    assert left[0] > 0.1
    assert left[1] < 0.3 * left[0]


def test_two_sets_are_orthogonal_in_every_pixel() -> None:
    kspace, mask, _ = scanned()
    first, second = espirit(kspace, mask, sets=2)
    assert float((first.conj() * second).sum(0).abs().max()) < 1e-3


def test_a_centre_smaller_than_the_kernel_is_refused_with_its_size() -> None:
    kspace, _, _ = scanned()
    mask = torch.from_numpy(masks.uniform(SIZE, 4, acs=4)).float()
    with pytest.raises(InputError, match=r"\(24, 4\).*at least 8 x 8"):
        espirit(kspace * mask, mask)


def test_the_calibration_region_is_the_centre_of_kspace() -> None:
    kspace = torch.zeros(2, 96, 80, dtype=torch.complex64)
    kspace[:, 48, 40] = 1
    region = calibration_region(kspace, torch.ones(96, 80), 24)
    assert region.shape == (2, 24, 24)
    assert (region[:, 12, 12] == 1).all()


def test_prewhitened_noise_has_unit_covariance() -> None:
    generator = np.random.default_rng(0)
    mixing = torch.from_numpy(
        generator.normal(size=(5, 5)) + 1j * generator.normal(size=(5, 5))
    ).to(torch.complex64)
    coloured = torch.einsum("ab,nbyx->nayx", mixing, noise((3, 5, 64, 64)))
    covariance = noise_covariance(coloured.movedim(1, 0).reshape(5, -1).numpy())
    white = prewhiten(coloured, covariance).movedim(1, 0).reshape(5, -1)
    torch.testing.assert_close(
        noise_covariance(white.numpy()), torch.eye(5, dtype=torch.complex64), atol=1e-4, rtol=0
    )


def test_noise_covariance_is_hermitian_and_does_not_count_an_offset() -> None:
    samples = noise((4, 5000)).numpy()
    plain, moved = noise_covariance(samples), noise_covariance(samples + 7)
    torch.testing.assert_close(plain, plain.mH, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved, plain, atol=1e-3, rtol=0)
    torch.testing.assert_close(plain, torch.eye(4, dtype=torch.complex64), atol=0.06, rtol=0)


def test_compression_keeps_the_energy_strongest_coil_first() -> None:
    kspace, _, _ = scanned()
    basis = torch.linalg.qr(noise((20, 6)))[0]
    many = torch.einsum("ab,byx->ayx", basis, kspace)
    few = compress(many, 6)
    energy = few.abs().square().sum((-2, -1))
    assert float(energy.sum()) == pytest.approx(float(kspace.abs().square().sum()), rel=1e-4)
    assert bool((energy.diff() <= 0).all())
    root = many.abs().square().sum(0)
    torch.testing.assert_close(
        few.abs().square().sum(0), root, atol=1e-4 * float(root.max()), rtol=1e-3
    )


def test_compression_to_more_coils_than_there_are_changes_nothing() -> None:
    kspace, _, _ = scanned()
    assert torch.equal(compress(kspace, 6), kspace)


def test_compressed_noise_stays_white() -> None:
    virtual = compress(noise((16, 64, 64)), 8).reshape(8, -1)
    torch.testing.assert_close(
        noise_covariance(virtual.numpy()), torch.eye(8, dtype=torch.complex64), atol=0.15, rtol=0
    )


def test_maps_are_compressed_with_the_components_of_the_data() -> None:
    maps, picture_of = sensitivities((40, 48), 16)[None], picture((40, 48))
    data = fft(maps[0] * picture_of)
    few, virtual = compress(data, 8), compress(maps, 8, data)
    assert virtual.shape == (1, 8, 40, 48)
    torch.testing.assert_close(fft(virtual[0] * picture_of), few, atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [2, 5])
def test_coils_that_all_see_the_same_give_finite_maps_and_no_second_set(count: int) -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    disc = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(1.0 * (x**2 + y**2 < 0.5))))
    kspace = torch.from_numpy(disc.astype(np.complex64) + 0.01)[None].repeat(count, 1, 1)
    maps = espirit(kspace, torch.ones(64, 64), sets=2)
    assert torch.isfinite(torch.view_as_real(maps)).all()
    inside = maps[:, :, 24:40, 24:40].abs()
    assert torch.allclose(inside[0], torch.full_like(inside[0], count**-0.5), atol=1e-3)
    assert inside[1].max() < 0.05
