from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.transform import radon

from veridical.errors import GeometryError, SettingError
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.projection import gaps


def disc(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    radius: float,
    y0: float = 0.0,
    x0: float = 0.0,
) -> torch.Tensor:
    """A disc of value 1 with edges averaged over 8 x 8 points a pixel; radius and centre in mm."""
    fine = [
        (torch.arange(8 * n, dtype=torch.float64) - (8 * n - 1) / 2) * (d / 8)
        for n, d in zip(shape, spacing, strict=True)
    ]
    inside = ((fine[0][:, None] - y0) ** 2 + (fine[1] - x0) ** 2 <= radius**2).double()
    return inside.reshape(shape[0], 8, shape[1], 8).mean((1, 3)).float()


def test_line_integral_of_a_disc_is_its_chord() -> None:
    shape, spacing, radius, y0, x0 = (128, 150), (1.0, 0.8), 40.0, 7.0, -9.0
    operator = ParallelBeam(shape, spacing, half_turn(23))
    measured = operator.forward(disc(shape, spacing, radius, y0, x0))
    centre = x0 * torch.cos(operator.angles) + y0 * torch.sin(operator.angles)
    distance = (operator.positions - centre[:, None]).abs()
    chord = 2 * torch.sqrt((radius**2 - distance**2).clamp_min(0))
    inner = distance < 0.8 * radius
    assert float(((measured - chord)[inner] / chord[inner]).abs().max()) < 0.01
    assert float(measured[distance > radius + 1.5].abs().max()) == 0


def test_every_view_holds_the_whole_mass() -> None:
    image = torch.rand(20, 31, generator=torch.Generator().manual_seed(0))
    operator = ParallelBeam((20, 31), (1.5, 0.7), torch.linspace(0, 6, 29), pitch=0.9)
    mass = operator.forward(image).double().sum(1) * operator.pitch
    torch.testing.assert_close(
        mass, torch.full_like(mass, float(image.double().sum()) * 1.5 * 0.7), rtol=1e-5, atol=0
    )


def test_back_projection_of_flat_views_is_flat() -> None:
    operator = ParallelBeam((20, 31), (1.0, 1.0), half_turn(17))
    back = operator.adjoint(torch.ones(operator.range))
    torch.testing.assert_close(back, torch.full_like(back, 17.0), rtol=1e-4, atol=0)


def test_axis_parallel_views_are_sums_of_rows_and_columns() -> None:
    image = torch.rand(9, 14, generator=torch.Generator().manual_seed(1))
    operator = ParallelBeam((9, 14), (2.0, 2.0), torch.tensor([0.0, math.pi / 2]), detectors=14)
    torch.testing.assert_close(operator.forward(image)[0], 2 * image.sum(0), rtol=1e-4, atol=1e-4)
    operator = ParallelBeam((9, 14), (2.0, 2.0), torch.tensor([math.pi / 2]), detectors=9)
    torch.testing.assert_close(operator.forward(image)[0], 2 * image.sum(1), rtol=1e-4, atol=1e-4)


def test_a_view_from_behind_is_the_mirrored_view() -> None:
    image = torch.rand(16, 16, generator=torch.Generator().manual_seed(2))
    operator = ParallelBeam((16, 16), (1.0, 1.0), torch.tensor([0.3, 0.3 + math.pi]))
    front, back = operator.forward(image)
    torch.testing.assert_close(front, back.flip(0), rtol=1e-3, atol=1e-3)


def test_agrees_with_scikit_image() -> None:
    """Its rows run down and its rotation centre is pixel n // 2, so flip and compare on an odd
    grid.
    """
    image = disc((65, 65), (1.0, 1.0), 12.0, 9.0, -5.0) + disc((65, 65), (1.0, 1.0), 20.0)
    degrees = np.arange(0, 180, 7.5)
    theirs = (
        torch.from_numpy(radon(image.flip(0).numpy().astype(np.float64), degrees, circle=True))
        .float()
        .T
    )
    ours = ParallelBeam(
        (65, 65), (1.0, 1.0), torch.deg2rad(torch.from_numpy(degrees)), detectors=65
    ).forward(image)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.01


def test_units_are_millimetres() -> None:
    small = ParallelBeam((16, 16), (1.0, 1.0), half_turn(5))
    large = ParallelBeam((16, 16), (2.0, 2.0), half_turn(5))
    image = torch.rand(16, 16, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(large.forward(image), 2 * small.forward(image))


def test_second_derivatives_exist() -> None:
    operator = ParallelBeam.example(0)
    x = torch.rand(operator.domain, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(operator.forward(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(
        second, 2 * operator.normal(torch.ones(operator.domain)), rtol=1e-4, atol=1e-3
    )


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    operator = ParallelBeam((33, 40), (1.0, 1.0), half_turn(13))
    image = torch.rand(2, 33, 40, generator=torch.Generator().manual_seed(4))
    before = torch.get_num_threads()
    alone = operator.forward(image), operator.normal(image)
    try:
        torch.set_num_threads(3)
        together = operator.forward(image), operator.normal(image)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone[0], together[0])
    assert torch.equal(alone[1], together[1])


def test_quadrature_sums_to_half_a_turn_for_any_order_and_none_for_a_missing_wedge() -> None:
    angles = torch.tensor([0.1, 2.9, 1.0, 1.9, 0.6, 2.4, 1.4])
    assert float(gaps(angles, math.pi).sum()) == pytest.approx(math.pi, rel=1e-5)
    even = ParallelBeam((8, 8), (1.0, 1.0), half_turn(60)).quadrature()
    torch.testing.assert_close(even, torch.full((60,), math.pi / 60), rtol=1e-4, atol=0)
    wedge = ParallelBeam((8, 8), (1.0, 1.0), half_turn(60)[:40]).quadrature()
    assert float(wedge.sum()) < 1.1 * 40 / 60 * math.pi


def test_impossible_geometries_are_refused() -> None:
    with pytest.raises(SettingError, match="positive"):
        ParallelBeam((8, 8), (1.0, -1.0), half_turn(4), detectors=5, pitch=1.0)
    with pytest.raises(GeometryError, match="angles"):
        ParallelBeam((8, 8), (1.0, 1.0), torch.zeros(2, 2))


def test_a_missing_wedge_is_no_redundancy_however_many_its_views() -> None:
    whole = ParallelBeam((16, 16), (1.0, 1.0), half_turn(90))
    wedge = ParallelBeam((16, 16), (1.0, 1.0), half_turn(90)[:60])
    assert whole.redundancy > 5
    assert whole.shift_invariant
    assert wedge.redundancy == 1
    assert not wedge.shift_invariant
    assert wedge.fitting_steps > whole.fitting_steps, "and it is solved with more patience"


def test_views_from_behind_close_no_gap() -> None:
    """A third of a turn and its opposite measure the same lines."""
    third = half_turn(60)[:40]
    both = ParallelBeam((8, 8), (1.0, 1.0), torch.cat([third, third + math.pi]))
    assert both.redundancy == 1
