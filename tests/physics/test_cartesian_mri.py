"""Laws of the centred Fourier transform and of Cartesian multi-coil MRI beyond the contract of all
operators.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from toys import picture, sensitivities
from veridical.errors import GeometryError
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI, CartesianScan
from veridical.physics.fourier import centre, fft, ifft

SIZES = pytest.mark.parametrize("size", [(24, 20), (25, 21), (24, 21)])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@SIZES
def test_the_transform_is_unitary_and_centred(size: tuple[int, int]) -> None:
    image = noise(3, *size)
    torch.testing.assert_close(ifft(fft(image)), image, atol=1e-5, rtol=0)
    assert float(fft(image).norm()) == pytest.approx(float(image.norm()), rel=1e-5)
    flat = fft(torch.ones(size, dtype=torch.complex64))
    assert divmod(int(flat.abs().argmax()), size[1]) == (size[0] // 2, size[1] // 2)
    point = torch.zeros(size, dtype=torch.complex64)
    point[size[0] // 2, size[1] // 2] = 1
    torch.testing.assert_close(
        fft(point), torch.full(size, (size[0] * size[1]) ** -0.5, dtype=torch.complex64)
    )


@SIZES
def test_a_step_in_space_is_a_ramp_of_phase(size: tuple[int, int]) -> None:
    image = noise(*size)
    k = (torch.arange(size[1]) - size[1] // 2) / size[1]
    expected = fft(image) * torch.polar(torch.ones(size[1]), -2 * torch.pi * k)
    torch.testing.assert_close(fft(image.roll(1, -1)), expected, atol=1e-4, rtol=0)


@SIZES
@pytest.mark.parametrize("larger", [(30, 31), (31, 30)])
def test_padding_and_cropping_keep_the_centre_sample(
    size: tuple[int, int], larger: tuple[int, int]
) -> None:
    small = noise(2, *size)
    padded = centre(small, larger)
    assert padded.shape == (2, *larger)
    assert torch.equal(
        padded[:, larger[0] // 2, larger[1] // 2], small[:, size[0] // 2, size[1] // 2]
    )
    assert torch.equal(centre(padded, size), small)
    assert float(padded.norm()) == pytest.approx(float(small.norm()), rel=1e-6)


@SIZES
def test_a_full_scan_with_maps_of_unit_norm_is_inverted_by_the_adjoint(
    size: tuple[int, int],
) -> None:
    operator = CartesianMRI(torch.ones(size), sensitivities(size)[None])
    image = picture(size)[None]
    kspace = operator.forward(image)
    torch.testing.assert_close(operator.adjoint(kspace), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(operator.normal(image), image, atol=1e-5, rtol=0)


@SIZES
def test_the_forward_model_is_mask_times_transform_of_coil_images(size: tuple[int, int]) -> None:
    mask, maps, image = (
        (noise(*size).real > 0).float(),
        noise(2, 3, *size, seed=1),
        noise(2, *size, seed=2),
    )
    operator = CartesianMRI(mask, maps)
    expected = mask * fft((maps * image[:, None]).sum(0))
    torch.testing.assert_close(operator.forward(image), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        operator.coil_images(image), (maps * image[:, None]).sum(0), atol=1e-5, rtol=1e-5
    )


def test_combining_is_the_least_squares_fit_for_maps_of_unit_norm() -> None:
    maps = torch.linalg.qr(noise(12, 10, 4, 2))[0].movedim((-1, -2), (0, 1)).contiguous()
    operator = CartesianMRI(torch.ones(12, 10), maps)
    coil_images = noise(4, 12, 10, seed=1)
    best = operator.combine(coil_images)
    matrix = maps.movedim((0, 1), (-1, -2))
    expected = (
        torch.linalg.lstsq(matrix, coil_images.movedim(0, -1)[..., None])
        .solution[..., 0]
        .movedim(-1, 0)
    )
    torch.testing.assert_close(best, expected, atol=1e-4, rtol=1e-4)


def test_the_norm_is_at_most_one_for_maps_of_unit_norm() -> None:
    operator = CartesianMRI(
        torch.from_numpy(masks.uniform((24, 20), 3, acs=6)).float(), sensitivities((24, 20))[None]
    )
    image = noise(1, 24, 20)
    for _ in range(40):
        image = operator.normal(image)
        image = image / image.norm()
    assert float(operator.normal(image).norm()) <= 1 + 1e-5


def test_enough_coils_make_an_accelerated_scan_solvable() -> None:
    """Pruessmann et al. 1999: twofold undersampling with four coils loses nothing but noise."""
    size = (24, 20)
    operator = CartesianMRI(
        torch.from_numpy(masks.uniform(size, 2, acs=0)).float(), sensitivities(size)[None]
    )
    image = picture(size)[None]
    found = operator.pinv(operator.forward(image), 100)
    assert float((found - image).norm() / image.norm()) < 1e-2
    adjoint = operator.adjoint(operator.forward(image))
    assert float((adjoint - image).norm() / image.norm()) > 0.3


def test_masks_and_maps_with_batch_axes_are_many_scans_at_once() -> None:
    maps, drawn = noise(2, 1, 3, 12, 10), (noise(2, 1, 12, 10, seed=1).real > 0).float()
    images = noise(2, 1, 12, 10, seed=2)
    together = CartesianMRI(drawn, maps).forward(images)
    for index in range(2):
        alone = CartesianMRI(drawn[index, 0], maps[index]).forward(images[index])
        torch.testing.assert_close(together[index], alone, atol=1e-6, rtol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GeometryError, match="complex"):
        CartesianMRI(torch.ones(4, 4), torch.ones(1, 1, 4, 4))
    with pytest.raises(GeometryError, match="set, coil, y, x"):
        CartesianMRI(torch.ones(4, 4), torch.ones(1, 4, 4, dtype=torch.complex64))
    with pytest.raises(GeometryError, match="k-space"):
        CartesianMRI(torch.ones(4, 5), torch.ones(1, 1, 4, 4, dtype=torch.complex64))


def test_a_scan_is_described_by_what_was_sampled() -> None:
    mask = masks.uniform((24, 20), 2, acs=4)[None]
    scan = CartesianScan(mask.astype(np.float32))
    about = scan.describe()
    assert about["matrix"] == [1, 24, 20]
    assert about["sampled"] == pytest.approx(mask.mean())
    other = mask.copy()
    other[0, 3, 3] ^= True
    assert (
        CartesianScan(other).describe()["mask"]
        != about["mask"]
        == CartesianScan(mask).describe()["mask"]
    )
    with pytest.raises(ValueError, match="read-only"):
        scan.mask[0, 0, 0] = True


@pytest.mark.parametrize("lines", ["columns", "rows", "points", "all"])
def test_transforms_along_fully_sampled_axes_are_left_out_without_a_change(lines: str) -> None:
    size = (12, 15)
    drawn = (torch.rand(size, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    mask = {
        "columns": drawn[:1].expand(size),
        "rows": drawn[:, :1].expand(size),
        "points": drawn,
        "all": torch.ones(size),
    }
    operator = CartesianMRI(mask[lines], noise(2, 3, *size))
    x = noise(4, 2, *size, seed=1)
    torch.testing.assert_close(
        operator.normal(x), operator.adjoint(operator.forward(x)), atol=1e-5, rtol=1e-5
    )
