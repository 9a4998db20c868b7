from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from veridical.generate.consistency import consistent, error_variance, proximal
from veridical.generate.guidance import guide, minimal_residual
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.identity import Identity
from veridical.physics.linear import LinearOperator
from veridical.physics.selection import Selection

SHAPE = (6, 5)


def mri(coils: int, unit: bool = True) -> CartesianMRI:
    generator = torch.Generator().manual_seed(3)
    mask = (torch.rand(SHAPE, generator=generator) < 0.5).double()
    maps = torch.randn(1, coils, *SHAPE, dtype=torch.complex128, generator=generator)
    return CartesianMRI(mask, maps / maps.abs() if unit else maps)


OPERATORS: list[LinearOperator] = [
    mri(1),
    mri(1, unit=False),
    mri(3),
    Selection((2, 0), (3, 4), torch.float64),
    Identity((3, 4), torch.float64),
]


def data(operator: LinearOperator) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    dtype = torch.complex128 if isinstance(operator, CartesianMRI) else torch.float64
    x, estimate = torch.randn(2, 2, *operator.domain, dtype=dtype, generator=generator)
    return operator.forward(x)[0], estimate


@pytest.mark.parametrize("operator", OPERATORS, ids=["one coil", "one coil, any map", "three coils", "selection", "identity"])
@pytest.mark.parametrize("weight", [0.05, 1.0, 30.0])
def test_the_proximal_point_has_no_gradient(operator: LinearOperator, weight: float) -> None:
    y, estimate = data(operator)
    z = proximal(operator, y, estimate, weight, iterations=60)
    gradient = operator.adjoint(operator.forward(z) - y) + weight * (z - estimate)
    assert gradient.abs().max() < 1e-4 * (1 + weight)
    assert z.shape == estimate.shape


@pytest.mark.parametrize("operator", OPERATORS, ids=["one coil", "one coil, any map", "three coils", "selection", "identity"])
def test_without_noise_it_projects_onto_the_data_and_leaves_the_null_space_alone(operator: LinearOperator) -> None:
    y, estimate = data(operator)
    z = proximal(operator, y, estimate, 0.0, iterations=200)
    assert torch.allclose(operator.forward(z), y.expand_as(operator.forward(z)), atol=1e-4)
    assert operator.project(z - estimate, 200).sub(z - estimate).abs().max() < 1e-3


def test_closed_form_and_conjugate_gradient_agree() -> None:
    single = mri(1)
    double = CartesianMRI(single.mask, torch.cat([single.maps, torch.zeros_like(single.maps)], dim=1))
    y, estimate = data(single)
    iterated = proximal(double, torch.cat([y, torch.zeros_like(y)]), estimate, 0.7, iterations=50)
    assert torch.allclose(proximal(single, y, estimate, 0.7), iterated, atol=1e-5)


def test_a_weight_for_each_draw_equals_one_after_the_other() -> None:
    operator = mri(3)
    y, estimate = data(operator)
    weights = torch.tensor([0.1, 2.0], dtype=torch.float64)
    both = proximal(operator, y, estimate, weights[:, None, None, None], 40)
    each = torch.stack([proximal(operator, y, estimate[i], float(weights[i]), 40) for i in range(2)])
    assert torch.allclose(both, each, atol=1e-5)


def test_error_variance_goes_from_the_prior_to_nothing() -> None:
    assert error_variance(0.0, 0.8) == pytest.approx(0.8)
    assert error_variance(1.0, 0.8) == 0.0
    values = [error_variance(t / 20, 0.8) for t in range(21)]
    assert values == sorted(values, reverse=True)
    assert error_variance(0.5, 1.0) == pytest.approx(0.5)


def test_louder_noise_lets_the_data_pull_less() -> None:
    operator = mri(3)
    y, estimate = data(operator)
    pulls = [float((consistent(operator, y, sigma, 1.0, 50)(estimate, 0.3) - estimate).norm()) for sigma in (0.01, 0.1, 1, 10)]
    assert pulls == sorted(pulls, reverse=True)


def test_guidance_bears_a_jacobian_that_is_a_little_asymmetric_and_not_positive() -> None:
    """As a trained network's is. The image must stay near the one of the clean Jacobian."""
    operator = mri(3)
    y, _ = data(operator)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 1, *SHAPE, dtype=torch.complex128, generator=generator)
    factor = torch.randn(30, 10, dtype=torch.complex128, generator=generator)
    clean = factor @ factor.mH / 10
    noise = torch.randn(30, 30, dtype=torch.complex128, generator=generator) / 30**0.5
    assert torch.linalg.eigvalsh(clean + 0.05 * (noise + noise.mH) / 2).min() < -0.02

    def guided(matrix: torch.Tensor) -> torch.Tensor:
        return guide(lambda x, t: (t * (x.flatten(1) @ matrix.T)).reshape(x.shape), operator, y, 0.3)(start, 0.3)

    exact, found = guided(clean), guided(clean + 0.05 * noise)
    assert (found - exact).norm() < 0.5 * exact.norm()
    assert not found.requires_grad


def test_the_solver_is_exact_where_it_may_run_on_and_its_residual_never_grows() -> None:
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(8, 8, dtype=torch.float64, generator=generator)
    b = torch.randn(3, 8, dtype=torch.float64, generator=generator)
    for system in (matrix @ matrix.T + torch.eye(8), matrix + 6 * torch.eye(8)):
        solved = minimal_residual(lambda u, m=system: u @ m.T, b, 1, 8)
        assert torch.allclose(solved, torch.linalg.solve(system, b.T).T, atol=1e-6)
    norms = [(b - minimal_residual(lambda u: u @ matrix.T, b, 1, k) @ matrix.T).norm(dim=1) for k in range(6)]
    assert all(bool((after <= before + 1e-12).all()) for before, after in pairwise(norms))
