"""What every linear operator must keep."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor

from veridical.errors import GeometryError
from veridical.physics.linear import LinearOperator

SEED = 3
Apply = tuple[Callable[[Tensor], Tensor], tuple[int, ...]]


def check_operator(kind: type[LinearOperator]) -> None:
    """Check an operator class by its `example`: exact adjoint, linearity, leading axes,
    pseudo-inverse, description, refusals.

    Raises:
        AssertionError: a promise is broken.
    """
    operator = kind.example(SEED)
    both: list[Apply] = [(operator.forward, operator.domain), (operator.adjoint, operator.range)]
    _adjoint(operator)
    for apply, shape in both:
        _linear(operator, apply, shape)
        _untouched(operator, apply, shape)
        _refuses(operator, apply, shape)
        _carries(operator, apply, shape)
    x = noise(operator, operator.domain, 7)
    assert close(operator.normal(x), operator.adjoint(operator.forward(x))), (
        "normal is not adjoint after forward"
    )
    seen = operator.forward(noise(operator, operator.domain, 10))
    assert close(operator.forward(operator.pinv(seen, iterations=300)), seen, 5e-3), (
        "A A^+ A x is not A x"
    )
    said = operator.describe()
    assert json.loads(json.dumps(said)) == said, "the description is not JSON"
    assert said["operator"] == operator.name, "the description does not name the operator"
    assert said == kind.example(SEED).describe(), (
        "two equal operators describe themselves differently"
    )


def noise(operator: LinearOperator, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return random numbers of the operator's type."""
    return torch.randn(shape, dtype=operator.dtype, generator=torch.Generator().manual_seed(seed))


def close(u: Tensor, v: Tensor, tolerance: float = 1e-5) -> bool:
    """Say whether two tensors are equal to a share of their size."""
    return float((u - v).norm()) <= tolerance * max(float(v.norm()), 1e-12)


def _inner(u: Tensor, v: Tensor) -> complex:
    wide = torch.complex128 if u.is_complex() else torch.float64
    return complex(torch.vdot(u.flatten().to(wide), v.flatten().to(wide)).item())


def _adjoint(operator: LinearOperator) -> None:
    for seed in range(3):
        x, y = noise(operator, operator.domain, seed), noise(operator, operator.range, seed + 100)
        forward, back = operator.forward(x), operator.adjoint(y)
        assert forward.shape == operator.range, (
            f"forward gives {tuple(forward.shape)}; expected {operator.range}"
        )
        assert back.shape == operator.domain, (
            f"adjoint gives {tuple(back.shape)}; expected {operator.domain}"
        )
        gap = abs(_inner(forward, y) - _inner(x, back))
        assert gap <= 1e-5 * float(forward.norm() * y.norm()), (
            "the adjoint is not that of forward: <A x, y> is not <x, A^H y>"
        )


def _linear(
    operator: LinearOperator, apply: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    factor = 0.7 - 0.3j if operator.dtype.is_complex else 0.7
    u, v = noise(operator, shape, 1), noise(operator, shape, 2)
    assert close(apply(factor * u + v), factor * apply(u) + apply(v)), "not linear"


def _carries(
    operator: LinearOperator, apply: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    stack = noise(operator, (2, *shape), 5)
    assert close(apply(stack), torch.stack([apply(item) for item in stack])), (
        "leading axes are not carried"
    )


def _untouched(
    operator: LinearOperator, apply: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    x = noise(operator, shape, 4)
    kept = x.clone()
    first, second = apply(x), apply(x)
    assert torch.equal(x, kept), "the input was changed"
    assert torch.equal(first, second), "the same input gave other numbers"


def _refuses(
    operator: LinearOperator, apply: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    for wrong in ((*shape[:-1], shape[-1] + 1), shape[1:]):
        said = ""
        try:
            apply(noise(operator, wrong, 0))
        except GeometryError as refused:
            said = str(refused)
        assert said, f"input of shape {wrong} was not refused; expected a GeometryError"
        assert len(wrong) < len(shape) or str(shape) in said, (
            f"the refusal does not say {shape}: {said}"
        )
