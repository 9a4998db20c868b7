"""The contract of every linear operator the registry knows."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from veridical import registry
from veridical.errors import GeometryError, MissingExtra
from veridical.physics.linear import Adjoint, Composition, LinearOperator

NAMES = sorted(registry.entries("operator"))
SEED = 3


@pytest.fixture(params=NAMES)
def operator(request: pytest.FixtureRequest) -> LinearOperator:
    cls = registry.get("operator", request.param)
    try:
        built = cls.example(SEED)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert isinstance(built, LinearOperator)
    return built


def noise(operator: LinearOperator, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, dtype=operator.dtype, generator=torch.Generator().manual_seed(seed))


def inner(u: Tensor, v: Tensor) -> complex:
    wide = torch.complex128 if u.is_complex() else torch.float64
    return complex(torch.vdot(u.flatten().to(wide), v.flatten().to(wide)).item())


def close(u: Tensor, v: Tensor, tolerance: float = 1e-5) -> bool:
    return float((u - v).norm()) <= tolerance * max(float(v.norm()), 1e-12)


def test_all_operators_of_the_house_are_registered() -> None:
    assert {"identity", "selection", "cartesian-mri", "parallel-beam", "fan-beam", "pet", "blur", "motion"} <= set(NAMES)


def test_name_is_the_file_name(operator: LinearOperator) -> None:
    assert registry.get("operator", operator.name) is type(operator)


def test_adjoint_is_exact(operator: LinearOperator) -> None:
    for seed in range(3):
        x, y = noise(operator, operator.domain, seed), noise(operator, operator.range, seed + 100)
        forward, back = operator.forward(x), operator.adjoint(y)
        assert forward.shape == operator.range
        assert back.shape == operator.domain
        scale = float(forward.norm() * y.norm())
        assert abs(inner(forward, y) - inner(x, back)) <= 1e-5 * scale


def test_forward_and_adjoint_are_linear(operator: LinearOperator) -> None:
    factor = 0.7 - 0.3j if operator.dtype.is_complex else 0.7
    for apply, shape in ((operator.forward, operator.domain), (operator.adjoint, operator.range)):
        u, v = noise(operator, shape, 1), noise(operator, shape, 2)
        assert close(apply(factor * u + v), factor * apply(u) + apply(v))


@pytest.mark.parametrize("batch", [(1,), (2, 3)])
def test_leading_axes_are_carried(operator: LinearOperator, batch: tuple[int, ...]) -> None:
    for apply, shape in (
        (operator.forward, operator.domain),
        (operator.adjoint, operator.range),
        (operator.normal, operator.domain),
    ):
        stack = noise(operator, (*batch, *shape), 5)
        single = torch.stack([apply(item) for item in stack.reshape(-1, *shape)])
        assert close(apply(stack), single.reshape(*batch, *single.shape[1:]))


def test_normal_is_adjoint_after_forward(operator: LinearOperator) -> None:
    x = noise(operator, operator.domain, 7)
    assert close(operator.normal(x), operator.adjoint(operator.forward(x)))


def test_matmul_composes_and_applies(operator: LinearOperator) -> None:
    x = noise(operator, operator.domain, 8)
    composed = operator.H @ operator
    assert isinstance(composed, Composition)
    assert (composed.domain, composed.range) == (operator.domain, operator.domain)
    assert torch.equal(composed @ x, operator.adjoint(operator @ x))
    y = noise(operator, operator.domain, 9)
    assert close(composed.adjoint(y), operator.normal(y))


def test_H_exchanges_forward_and_adjoint(operator: LinearOperator) -> None:
    x, y = noise(operator, operator.domain, 1), noise(operator, operator.range, 2)
    turned = operator.H
    assert isinstance(turned, Adjoint)
    assert torch.equal(turned @ y, operator.adjoint(y))
    assert torch.equal(turned.H @ x, operator.forward(x))


def test_pinv_solves_consistent_systems(operator: LinearOperator) -> None:
    """`A A^+ A x = A x`; conjugate gradient on the normal equations in single precision gets within some 1e-3 of it."""
    measured = operator.forward(noise(operator, operator.domain, 10))
    solved = operator.pinv(measured, iterations=300)
    assert close(operator.forward(solved), measured, 5e-3)


def test_description_is_json_and_identifies_the_operator(operator: LinearOperator) -> None:
    description = operator.describe()
    assert json.loads(json.dumps(description)) == description
    assert description["operator"] == operator.name
    assert (description["domain"], description["range"]) == (list(operator.domain), list(operator.range))
    assert description == type(operator).example(SEED).describe()


def refusals(operator: LinearOperator) -> list[tuple[Callable[[Tensor], Tensor], tuple[int, ...]]]:
    return [(operator.forward, operator.domain), (operator.adjoint, operator.range)]


def test_wrong_shapes_are_refused_with_the_right_one(operator: LinearOperator) -> None:
    for apply, shape in refusals(operator):
        with pytest.raises(GeometryError) as refused:
            apply(noise(operator, (*shape[:-1], shape[-1] + 1), 0))
        assert str(shape) in str(refused.value)
        with pytest.raises(GeometryError):
            apply(noise(operator, shape[1:], 0))


def test_inputs_are_untouched_and_same_input_gives_same_bytes(operator: LinearOperator) -> None:
    for apply, shape in refusals(operator):
        x = noise(operator, shape, 4)
        kept = x.clone()
        first, second = apply(x), apply(x)
        assert torch.equal(x, kept)
        assert torch.equal(first, second)


def test_gradients_flow_by_the_adjoint(operator: LinearOperator) -> None:
    x = noise(operator, operator.domain, 6).requires_grad_()
    y = noise(operator, operator.range, 7)
    residual = operator.forward(x) - y
    (0.5 * residual.abs().square().sum()).backward()
    assert x.grad is not None
    assert close(x.grad, operator.adjoint(residual.detach()))


def test_moving_to_a_device_keeps_the_numbers(operator: LinearOperator) -> None:
    x = noise(operator, operator.domain, 6)
    assert torch.equal(operator.to("cpu").forward(x), operator.forward(x))
