"""Laws of Haar shrinkage and of FISTA: what a threshold of zero does, what never grows, what always
falls.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toys import SIZE, picture, sensitivities
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.sparse import fista, shrink

SIZES = pytest.mark.parametrize("size", [(16, 24), (17, 23), (9, 40), (1, 5)])
SHIFTS = pytest.mark.parametrize("shift", [(0, 0), (1, 3), (7, 2)])
LEVELS = 3


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def details(image: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """Orthonormal Haar details of an image whose sides are multiples of `2 ** levels`, by the
    definition.
    """
    found = []
    for _ in range(levels):
        pairs = [
            (image[..., i::2, :] + sign * image[..., 1 - i :: 2, :]) / 2**0.5
            for i, sign in ((0, 1), (0, -1))
        ]
        low, high = pairs
        parts = [
            (half[..., 0::2] + sign * half[..., 1::2]) / 2**0.5
            for half in (low, high)
            for sign in (1, -1)
        ]
        image = parts[0]
        found += parts[1:]
    return [*found, image]


@SIZES
@SHIFTS
@pytest.mark.parametrize("levels", [1, 3])
def test_a_threshold_of_zero_changes_nothing(
    size: tuple[int, int], shift: tuple[int, int], levels: int
) -> None:
    image = noise(2, *size)
    torch.testing.assert_close(shrink(image, 0.0, levels, shift), image, atol=1e-6, rtol=0)


@SIZES
@SHIFTS
def test_a_constant_image_has_no_details_to_lose(
    size: tuple[int, int], shift: tuple[int, int]
) -> None:
    image = torch.full(size, 0.7 - 0.2j)
    torch.testing.assert_close(shrink(image, 10.0, LEVELS, shift), image)


@SHIFTS
@pytest.mark.parametrize("threshold", [0.1, 1.0, 100.0])
def test_the_norm_and_the_distance_of_two_images_never_grow(
    shift: tuple[int, int], threshold: float
) -> None:
    """Soft thresholding in an orthonormal basis is a proximal map, so it is non-expansive."""
    u, v = noise(16, 24), noise(16, 24, seed=1)
    assert float(shrink(u, threshold, LEVELS, shift).norm()) <= float(u.norm())
    moved = shrink(u, threshold, LEVELS, shift) - shrink(v, threshold, LEVELS, shift)
    assert float(moved.norm()) <= float((u - v).norm())


def test_details_are_thresholded_softly_and_the_coarsest_sums_are_kept() -> None:
    image, threshold = noise(16, 24), 0.8
    *before, coarse = details(image)
    *after, kept = details(shrink(image, threshold, LEVELS, (0, 0)))
    torch.testing.assert_close(kept, coarse, atol=1e-5, rtol=0)
    for u, v in zip(before, after, strict=True):
        torch.testing.assert_close(v.abs(), (u.abs() - threshold).clamp_min(0), atol=1e-5, rtol=0)


def test_a_large_threshold_leaves_block_means() -> None:
    image = noise(16, 24)
    means = image.reshape(2, 8, 3, 8).mean((1, 3)).repeat_interleave(8, 0).repeat_interleave(8, 1)
    torch.testing.assert_close(shrink(image, 1e6, LEVELS, (0, 0)), means, atol=1e-6, rtol=0)


def test_batches_are_shrunk_image_by_image() -> None:
    images = noise(3, 2, 17, 23)
    together = shrink(images, 0.5, LEVELS, (2, 5))
    torch.testing.assert_close(together[1, 1], shrink(images[1, 1], 0.5, LEVELS, (2, 5)))


def problem() -> tuple[CartesianMRI, Tensor, Tensor]:
    """A noisy threefold undersampled scan: operator, k-space, truth."""
    operator = CartesianMRI(
        torch.from_numpy(masks.uniform(SIZE, 3, acs=8)).float(), sensitivities(SIZE)[None]
    )
    truth = picture(SIZE)[None]
    kspace = operator.forward(truth) + 0.02 * operator.mask * noise(4, *SIZE)
    return operator, kspace, truth


def objective(operator: CartesianMRI, kspace: Tensor, image: Tensor, threshold: float) -> float:
    """The objective averaged over all shifts of the blocks, as cycle spinning minimizes it."""
    fit = 0.5 * float((operator.forward(image) - kspace).abs().square().sum())
    sums = [
        sum(float(d.abs().sum()) for d in details(image.roll((a, b), (-2, -1)))[:-1])
        for a in range(0, 8, 2)
        for b in range(8)
    ]
    return fit + threshold * sum(sums) / len(sums)


def test_fista_lowers_its_objective() -> None:
    operator, kspace, _ = problem()
    adjoint = operator.adjoint(kspace)
    values = [
        objective(
            operator,
            kspace,
            fista(operator.normal, adjoint, adjoint, 0.02, n, LEVELS, seed=0),
            0.02,
        )
        for n in (0, 1, 3, 9, 40)
    ]
    assert values[0] > values[1] > values[2] > values[3]
    assert values[4] == pytest.approx(values[3], rel=0.04)


def test_fista_comes_nearer_to_the_truth_than_its_start() -> None:
    operator, kspace, truth = problem()
    adjoint = operator.adjoint(kspace)
    found = fista(operator.normal, adjoint, adjoint, 0.02, 40, LEVELS, seed=0)
    assert float((found - truth).norm()) < 0.5 * float((adjoint - truth).norm())


def test_without_a_threshold_fista_solves_least_squares() -> None:
    operator, kspace, _ = problem()
    adjoint = operator.adjoint(kspace)
    found = fista(operator.normal, adjoint, torch.zeros_like(adjoint), 0.0, 300, LEVELS, seed=0)
    torch.testing.assert_close(found, operator.pinv(kspace, 100), atol=5e-3, rtol=0)


def test_the_seed_of_the_shifts_decides_the_result_and_hardly_changes_it() -> None:
    operator, kspace, _ = problem()
    adjoint = operator.adjoint(kspace)
    first, again, other = (
        fista(operator.normal, adjoint, adjoint, 0.02, 40, LEVELS, seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert 0 < float((first - other).norm() / first.norm()) < 0.05
