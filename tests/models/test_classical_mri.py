"""Laws of the classical MR models: what each minimizes, and in which order they come near to the
truth.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from toys import SIGMA, SIZE, kspace, picture, sensitivities
from veridical.models.base import MRIModel
from veridical.models.cg_sense import CgSense
from veridical.models.problem import Problem, prepare
from veridical.models.total_variation import TotalVariation, denoise, gradient, gradient_adjoint
from veridical.models.wavelet import Wavelet
from veridical.models.zero_filled import ZeroFilled
from veridical.physics import masks


@cache
def scan(sigma: float = SIGMA) -> Problem:
    mask = torch.from_numpy(masks.variable_density(SIZE, 3, acs=10, seed=2)).float()
    return prepare(kspace(sigma=sigma) * mask, mask, sensitivities()[None], sigma)


def solve(model: MRIModel, of: Problem) -> Tensor:
    return model.solve(of, 3, 0)[0]


def error(model: MRIModel, of: Problem) -> float:
    truth = picture()[None] / of.scale
    return float((solve(model, of) - truth).norm() / truth.norm())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def total_variation(image: Tensor) -> float:
    return float(gradient(image).abs().square().sum(0).sqrt().sum())


def test_zero_filled_is_the_adjoint() -> None:
    assert torch.equal(solve(ZeroFilled(), scan()), scan().operator.adjoint(scan().data))


def test_cg_sense_solves_the_damped_normal_equations() -> None:
    found = solve(CgSense(iterations=60, damping=0.1), scan())
    left = scan().operator.normal(found) + 0.1 * found - scan().operator.adjoint(scan().data)
    assert float(left.abs().max()) < 1e-4


def test_more_damping_gives_a_smaller_image() -> None:
    sizes = [
        float(solve(CgSense(iterations=40, damping=damping), scan()).norm())
        for damping in (0.001, 0.1, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_methods_come_near_to_the_truth_in_the_order_of_what_they_know() -> None:
    zero, sense, wavelet, variation = (
        error(m, scan()) for m in (ZeroFilled(), CgSense(), Wavelet(), TotalVariation())
    )
    assert wavelet < sense < zero
    assert variation < sense
    assert max(wavelet, variation) < 0.1


def test_sparse_methods_gain_most_where_noise_is_strong() -> None:
    gains = [error(CgSense(), scan(s)) / error(TotalVariation(), scan(s)) for s in (0.002, 0.05)]
    assert gains[1] > 1.3


@pytest.mark.parametrize(
    "model", [Wavelet(least=0.0, weight=0.0), TotalVariation(least=1e-9, weight=0.0)]
)
def test_without_a_penalty_what_remains_is_least_squares(model: MRIModel) -> None:
    image = solve(model, scan())
    assert float((scan().operator.forward(image) - scan().data).norm() / scan().data.norm()) < 0.02


@pytest.mark.parametrize("kind", [Wavelet, TotalVariation])
def test_a_heavier_weight_gives_a_smaller_total_variation(
    kind: type[Wavelet] | type[TotalVariation],
) -> None:
    sizes = [total_variation(solve(kind(weight=weight), scan(0.02))) for weight in (0.1, 1.0, 10.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_the_differences_and_their_adjoint_are_adjoint() -> None:
    image, field = noise(2, 7, 6), noise(2, 2, 7, 6, seed=1)
    left = torch.vdot(gradient(image).flatten(), field.flatten())
    right = torch.vdot(image.flatten(), gradient_adjoint(field).flatten())
    torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-5)


def test_the_differences_have_a_squared_norm_below_eight() -> None:
    """Chambolle 2004: the step of the dual projection is 1 / 8."""
    image = noise(1, 24, 24)
    for _ in range(100):
        image = gradient_adjoint(gradient(image))
        image = image / image.norm()
    assert 7 < float(gradient_adjoint(gradient(image)).norm()) < 8


def test_denoising_lowers_its_objective_and_keeps_the_mean() -> None:
    image, weight = picture()[None] + 0.1 * noise(1, *SIZE), 0.1

    def objective(z: Tensor) -> float:
        return 0.5 * float((z - image).abs().square().sum()) + weight * total_variation(z)

    dual = torch.zeros(2, *image.shape, dtype=image.dtype)
    values = [
        objective(image),
        *(objective(denoise(image, weight, n, dual)[0]) for n in (1, 5, 20, 100)),
    ]
    assert values == sorted(values, reverse=True)
    found = denoise(image, weight, 100, dual)[0]
    torch.testing.assert_close(found.mean(), image.mean(), atol=1e-4, rtol=1e-4)
    assert float((found[0] - picture()).norm()) < 0.5 * float((image[0] - picture()).norm())


def test_a_constant_image_is_left_alone() -> None:
    image = torch.full((1, 9, 8), 0.3 + 0.1j)
    torch.testing.assert_close(
        denoise(image, 1.0, 20, torch.zeros(2, 1, 9, 8, dtype=image.dtype))[0], image
    )


def test_none_of_them_draws_and_none_has_weights() -> None:
    for model in (ZeroFilled(), CgSense(), Wavelet(), TotalVariation()):
        assert (model.stochastic, model.weights_hash, len(model.solve(scan(), 5, 0))) == (
            False,
            "none",
            1,
        )
