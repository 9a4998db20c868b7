"""The algebra of every linear operator the registry knows; its adjoint and the like are checked in
`test_contract`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from veridical import registry
from veridical.errors import MissingExtra
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


def close(u: Tensor, v: Tensor, tolerance: float = 1e-5) -> bool:
    return float((u - v).norm()) <= tolerance * max(float(v.norm()), 1e-12)


def test_all_operators_of_the_house_are_registered() -> None:
    assert {
        "identity",
        "selection",
        "cartesian-mri",
        "parallel-beam",
        "fan-beam",
        "pet",
        "blur",
        "motion",
    } <= set(NAMES)


def test_name_is_the_file_name(operator: LinearOperator) -> None:
    assert registry.get("operator", operator.name) is type(operator)


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


def test_the_description_names_domain_and_range(operator: LinearOperator) -> None:
    description = operator.describe()
    assert (description["domain"], description["range"]) == (
        list(operator.domain),
        list(operator.range),
    )


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
