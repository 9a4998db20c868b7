"""An approximate inverse is judged by what it saves: the same solution in fewer steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from veridical.physics.linear import conjugate_gradient
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.preconditioning import Preconditioner, pixel_weights, window

SHAPE, CPU = (24, 30), torch.device("cpu")


def beam(views: int = 90) -> ParallelBeam:
    return ParallelBeam(SHAPE, (1.0, 1.0), half_turn(views))


def uneven(operator: ParallelBeam) -> Tensor:
    """Rays through the middle count a tenth of those at the edge, as behind a body."""
    across = torch.linspace(-1, 1, operator.range[1]).square()
    return (0.1 + 0.9 * across).expand(operator.range).contiguous()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_preconditioned_system_is_solved_in_fewer_steps(weighted: bool) -> None:
    operator = beam()
    weights = uneven(operator) if weighted else None

    def normal(x: Tensor) -> Tensor:
        return operator.adjoint(
            operator.forward(x) if weights is None else weights * operator.forward(x)
        )

    right = normal(torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)))
    damping = 20.0
    exact = conjugate_gradient(normal, right, 2, 300, damping, 1e-8)
    inverse = Preconditioner(normal, operator, weights, CPU).at(damping)
    plain = conjugate_gradient(normal, right, 2, 6, damping, 0.0)
    quick = conjugate_gradient(normal, right, 2, 6, damping, 0.0, precondition=inverse)
    assert float((quick - exact).norm()) < 0.25 * float((plain - exact).norm())


def test_the_approximate_inverse_is_symmetric_and_positive() -> None:
    """Conjugate gradient needs both."""
    operator = beam()
    inverse = Preconditioner(operator.normal, operator, uneven(operator), CPU).at(5.0)
    u, v = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert float((inverse(u) * v).sum()) == pytest.approx(float((u * inverse(v)).sum()), rel=1e-4)
    assert float((inverse(u) * u).sum()) > 0


def test_even_weights_are_one_in_every_pixel() -> None:
    operator = beam()
    found = pixel_weights(operator, torch.full(operator.range, 3.0))
    torch.testing.assert_close(found, torch.ones(SHAPE), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [8, 9])
def test_the_window_is_one_in_the_middle_and_small_at_the_ends(count: int) -> None:
    found = window(count, CPU)
    assert float(found[count // 2]) == 1
    assert float(found.min()) == float(found[0]) < 0.2
