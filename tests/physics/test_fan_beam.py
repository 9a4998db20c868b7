from __future__ import annotations

import math

import pytest
import torch

from veridical.errors import GeometryError
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.parallel_beam import ParallelBeam


def disc(size: int, radius: float, y0: float, x0: float) -> torch.Tensor:
    fine = (torch.arange(8 * size, dtype=torch.float64) - (8 * size - 1) / 2) / 8
    inside = ((fine[:, None] - y0) ** 2 + (fine - x0) ** 2 <= radius**2).double()
    return inside.reshape(size, 8, size, 8).mean((1, 3)).float()


def distances(operator: FanBeam, y0: float, x0: float) -> torch.Tensor:
    """Distance of each ray, from the source through the bin's centre, to a point; `(angle,
    detector)`.
    """
    cosine, sine = torch.cos(operator.angles)[:, None], torch.sin(operator.angles)[:, None]
    source_x, source_y = operator.source * sine, -operator.source * cosine
    along_x, along_y = operator.positions * cosine - source_x, operator.positions * sine - source_y
    cross = along_x * (y0 - source_y) - along_y * (x0 - source_x)
    return cross.abs() / torch.hypot(along_x, along_y)


def test_line_integral_of_a_disc_is_its_chord() -> None:
    operator = FanBeam((128, 128), (1.0, 1.0), full_turn(23), source=150.0)
    measured = operator.forward(disc(128, 30.0, 12.0, -9.0))
    distance = distances(operator, 12.0, -9.0)
    chord = 2 * torch.sqrt((30.0**2 - distance**2).clamp_min(0))
    inner = distance < 24
    assert float(((measured - chord)[inner] / chord[inner]).abs().max()) < 0.01
    assert float(measured[distance > 32].abs().max()) == 0


def test_a_far_source_is_a_parallel_beam() -> None:
    image = torch.rand(20, 24, generator=torch.Generator().manual_seed(0))
    fan = FanBeam((20, 24), (1.0, 1.0), full_turn(9), source=1e7, detectors=41)
    parallel = ParallelBeam((20, 24), (1.0, 1.0), full_turn(9), detectors=41)
    torch.testing.assert_close(fan.forward(image), parallel.forward(image), rtol=1e-3, atol=1e-3)


def test_default_detector_holds_the_shadow_of_the_whole_grid() -> None:
    operator = FanBeam((20, 24), (1.0, 1.5), full_turn(36), source=45.0)
    measured = operator.forward(torch.ones(20, 24))
    wider = FanBeam(
        (20, 24), (1.0, 1.5), full_turn(36), source=45.0, detectors=operator.range[1] + 10
    )
    torch.testing.assert_close(
        measured, wider.forward(torch.ones(20, 24))[:, 5:-5], rtol=1e-4, atol=1e-3
    )
    assert float(wider.forward(torch.ones(20, 24))[:, :5].abs().max()) == 0


def test_rays_seen_twice_agree() -> None:
    """The ray at fan angle g of view a is the ray at -g of view a + pi - 2 g."""
    gamma = math.atan2(10.0, 100.0)
    operator = FanBeam(
        (65, 65), (1.0, 1.0), torch.tensor([0.4, 0.4 + math.pi - 2 * gamma]), 100.0, detectors=81
    )
    views = operator.forward(disc(65, 14.0, 3.0, 6.0))
    assert float(views[0, 40 + 10]) > 1
    assert float(views[1, 40 - 10]) == pytest.approx(float(views[0, 40 + 10]), rel=0.01)


def test_a_source_inside_the_image_is_refused() -> None:
    with pytest.raises(GeometryError, match="outside"):
        FanBeam((20, 20), (1.0, 1.0), full_turn(4), source=12.0)


def test_filtered_back_projection_weights_need_a_full_turn() -> None:
    full = FanBeam((8, 8), (1.0, 1.0), full_turn(90), 50.0)
    assert float(full.quadrature().sum()) == pytest.approx(math.pi, rel=1e-4)
    half = FanBeam((8, 8), (1.0, 1.0), full_turn(90)[:50], 50.0)
    with pytest.raises(GeometryError, match="full turn"):
        half.quadrature()
