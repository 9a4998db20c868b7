"""The base of all linear operators: forward, adjoint, composition, normal equations,
pseudo-inverse.

Every operator works on batches: any number of leading axes before `domain` (or `range`) is carried
through. The adjoint is the true adjoint: `<A x, y> == <x, A^H y>` to rounding; the contract suite
tests it for each operator.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, overload

import torch
from torch import Tensor

from veridical.errors import GeometryError, SettingError

DAMPING = 1e-3
"""Tikhonov weight of `classical`, as a share of the largest eigenvalue of `A^H A`."""


class LinearOperator(ABC):
    """A linear map between arrays.

    Attributes:
        name: the registry name.
        domain: shape of `x`, without batch axes.
        range: shape of `A x`, without batch axes.
        dtype: of `x`: complex64 or float32.
    """

    name: str = ""
    domain: tuple[int, ...]
    range: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    fitting_steps: int = 20
    """Conjugate-gradient steps of a data step; few are enough where `A^H A` is nearly a projection.
    """
    shift_invariant: bool = False
    """Whether `A^H A` is nearly a convolution of two-dimensional images, so that `Preconditioner`
    helps to invert it.
    """
    nonnegative: bool = False
    """Whether `x` is never negative in nature, as attenuation and activity are."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Apply A: `(..., *domain)` to `(..., *range)`."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H: `(..., *range)` to `(..., *domain)`. Not the inverse."""

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A on `(..., *domain)`; operators override it when it can be done faster in one
        go.
        """
        return self.adjoint(self.forward(x))

    def pinv(
        self, y: Tensor, iterations: int = 30, damping: float = 0.0, tolerance: float = 1e-6
    ) -> Tensor:
        """Return the least-squares solution of minimum norm by conjugate gradient on the normal
        equations.

        Args: y: `(..., *range)`. iterations: at most that many. damping: Tikhonov weight, in units
            of the squared operator norm of `A^H A`'s own scale. tolerance: stop when the residual
            has fallen by this factor for every member of the batch.

        Returns:
            `(..., *domain)`.
        """
        return conjugate_gradient(
            self.normal, self.adjoint(y), len(self.domain), iterations, damping, tolerance
        )

    def classical(self, y: Tensor) -> Tensor:
        """Return the classical reconstruction: what iterative methods start from and learned ones
        are compared with.

        Damped least squares by ten conjugate-gradient steps; operators whose field has a method of
        its own override it.

        Args:
            y: `(..., *range)`.

        Returns:
            `(..., *domain)`.
        """
        return self.pinv(y, iterations=10, damping=DAMPING * self.largest_singular_value() ** 2)

    def largest_singular_value(self, iterations: int = 10) -> float:
        """Return the operator norm, from below and to a few percent, by power iteration from a
        fixed random image.
        """
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.domain, dtype=self.dtype, generator=generator)
        held = [value for value in vars(self).values() if isinstance(value, Tensor)]
        x = x.to(held[0].device) if held else x
        energy = 0.0
        for _ in range(iterations):
            x = self.normal(x / x.norm().clamp_min(1e-30))
            energy = float(x.norm())
        return math.sqrt(energy)

    @property
    def redundancy(self) -> float:
        """Numbers measured over numbers wanted: below about 1.5 what was not measured limits the
        image, above it the noise.
        """
        return math.prod(self.range) / math.prod(self.domain)

    def project(self, x: Tensor, iterations: int = 30) -> Tensor:
        """Return `A^+ A x`: the part of `x` that A measures. `x - project(x)` lies in the null
        space of A.
        """
        return self.pinv(self.forward(x), iterations)

    def describe(self) -> dict[str, Any]:
        """Return what identifies this operator: name, shapes and a hash of every tensor it
        holds.
        """
        tensors = {key: value for key, value in vars(self).items() if isinstance(value, Tensor)}
        hashes = {key.lstrip("_"): _hash(value) for key, value in sorted(tensors.items())}
        return {
            "operator": self.name,
            "domain": list(self.domain),
            "range": list(self.range),
            **hashes,
        }

    def to(self, device: torch.device | str) -> LinearOperator:
        """Return the same operator with its tensors on `device`."""
        moved = object.__new__(type(self))
        moved.__dict__.update(
            {
                key: value.to(device) if isinstance(value, Tensor | LinearOperator) else value
                for key, value in vars(self).items()
            }
        )
        return moved

    @classmethod
    def from_geometry(cls, settings: Mapping[str, Any]) -> LinearOperator:
        """Build the operator from the plain values of a geometry file, e.g. a TOML table without
        its key `operator`.

        Operators that a file can describe override it and say which keys they take.

        Raises: SettingError: this operator has no such description; or a key is unknown, missing or
            of a wrong value.
        """
        raise SettingError(
            f"{cls.name} cannot be described by a geometry file. Build it in Python, and the "
            "measurement with it: "
            "veridical.types.Measurement(data, operator, noise, geometry)."
        )

    @classmethod
    @abstractmethod
    def example(cls, seed: int) -> LinearOperator:
        """Return a small instance on a non-square grid, for the contract suite."""

    @overload
    def __matmul__(self, other: LinearOperator) -> LinearOperator: ...
    @overload
    def __matmul__(self, other: Tensor) -> Tensor: ...
    def __matmul__(self, other: LinearOperator | Tensor) -> LinearOperator | Tensor:
        if isinstance(other, LinearOperator):
            return Composition(self, other)
        return self.forward(other)

    @property
    def H(self) -> LinearOperator:
        """The adjoint as an operator."""
        return Adjoint(self)

    def check(self, array: Tensor, shape: tuple[int, ...], what: str) -> None:
        """Raise a GeometryError when the last axes of `array` are not `shape`."""
        if tuple(array.shape[-len(shape) :]) != tuple(shape):
            raise GeometryError(
                f"{self.name}: {what} has shape {tuple(array.shape)}; its last axes must be "
                f"{tuple(shape)}. "
                "Leading axes are batch axes; check the order of the axes."
            )


class Composition(LinearOperator):
    """`A @ B`: first B, then A."""

    name = "composition"

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.domain != inner.range:
            raise GeometryError(
                f"{outer.name} @ {inner.name}: the inner one gives {inner.range}, the outer one "
                f"takes {outer.domain}. "
                "Build both for the same grid."
            )
        self.outer, self.inner = outer, inner
        self.domain, self.range, self.dtype = inner.domain, outer.range, inner.dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))

    def describe(self) -> dict[str, Any]:
        return {
            "operator": self.name,
            "outer": self.outer.describe(),
            "inner": self.inner.describe(),
        }

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        from veridical.physics.selection import Selection

        inner = Selection.example(seed)
        return cls(inner.H, inner)


class Adjoint(LinearOperator):
    """`A.H`: forward and adjoint exchanged."""

    name = "adjoint"

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        self.domain, self.range, self.dtype = operator.range, operator.domain, operator.dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.forward(y)

    def describe(self) -> dict[str, Any]:
        return {"operator": self.name, "of": self.operator.describe()}

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        from veridical.physics.selection import Selection

        return cls(Selection.example(seed))


def conjugate_gradient(
    normal: Callable[[Tensor], Tensor],
    b: Tensor,
    axes: int,
    iterations: int,
    damping: float | Tensor = 0.0,
    tolerance: float = 1e-6,
    start: Tensor | None = None,
    precondition: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Solve `(N + damping) x = b` for a batch, N Hermitian and positive semi-definite.

    Args: normal: applies N to `(..., *domain)`. b: right-hand side. axes: number of trailing axes
        that make up one system; the axes before them are solved side by side. iterations: at most
        that many. damping: added to the diagonal; a number, or a tensor that broadcasts against
        `b`. tolerance: stop when every residual norm has fallen below this share of the norm of
        `b`. start: first guess; zero when None. precondition: approximate inverse of `N + damping`,
        Hermitian and positive definite; none when None.

    Returns:
        The solution, of the shape of `b`.
    """
    dims = tuple(range(-axes, 0))

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (
            (u.conj() * v).real.sum(dims, keepdim=True)
            if u.is_complex()
            else (u * v).sum(dims, keepdim=True)
        )

    def apply(u: Tensor) -> Tensor:
        return normal(u) + damping * u

    solve = precondition or (lambda u: u)
    x = torch.zeros_like(b) if start is None else start
    residual = b.clone() if start is None else b - apply(x)
    direction = solved = solve(residual)
    energy = dot(residual, solved)
    goal = tolerance**2 * dot(b, b)
    for _ in range(iterations):
        if bool((dot(residual, residual) <= goal).all()):
            break
        mapped = apply(direction)
        step = energy / dot(direction, mapped).clamp_min(1e-30)
        x = x + step * direction
        residual = residual - step * mapped
        solved = solve(residual)
        renewed = dot(residual, solved)
        direction = solved + (renewed / energy.clamp_min(1e-30)) * direction
        energy = renewed
    return x


def _hash(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous()
    raw = torch.view_as_real(values) if values.is_complex() else values
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()[:16]
