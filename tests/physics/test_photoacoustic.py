"""Circular Radon transform: closed forms, the contract suite has the adjoint
(`test_operators.py`).
"""

from __future__ import annotations

import math

import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.physics.fan_beam import full_turn
from veridical.physics.photoacoustic import Photoacoustic

SIZE, PIXEL, RING = 96, 0.25, 25.0


def ring(
    detectors: int = 150, angles: torch.Tensor | None = None, samples: int = 340
) -> Photoacoustic:
    """Traces from 6 mm to 57 mm, 0.15 mm a sample."""
    where = full_turn(detectors) if angles is None else angles
    return Photoacoustic((SIZE, SIZE), (PIXEL, PIXEL), where, RING, samples, 10.0, 1500.0, 4.0)


def disc(y: float, x: float, radius: float) -> torch.Tensor:
    """A disc with soft pixels at its edge: each is the mean over its area."""
    fine = (torch.arange(8 * SIZE) - (8 * SIZE - 1) / 2) * PIXEL / 8
    inside = (torch.hypot(fine[:, None] - y, fine - x) <= radius).float()
    return torch.nn.functional.avg_pool2d(inside[None], 8)[0]


def test_sound_from_a_point_arrives_after_its_distance_over_the_speed_of_sound() -> None:
    operator = ring()
    point = torch.zeros(SIZE, SIZE)
    point[20, 70] = 1.0
    y, x = ((i - (SIZE - 1) / 2) * PIXEL for i in (20, 70))
    traces = operator.forward(point)
    distance = torch.hypot(
        y - RING * torch.sin(operator.angles), x - RING * torch.cos(operator.angles)
    )
    centre = (traces * operator.radii).sum(-1) / traces.sum(-1)
    torch.testing.assert_close(centre.float(), distance, atol=0.01, rtol=0)
    seconds = distance / 1500e3
    sample = (seconds * 1e6 - 4.0) * 10.0
    assert float((traces.argmax(-1) - sample).abs().max()) <= 1.5


def test_a_disc_gives_its_chord_of_arc_two_r_arccos() -> None:
    """The arc of radius r about a detector at distance D from a disc of radius a: 2 r acos((r^2 +
    D^2 - a^2) / (2 r D)).
    """
    operator, radius = ring(), 5.0
    traces = operator.forward(disc(3.0, -2.0, radius)).double()
    r = operator.radii
    for detector in range(0, 150, 13):
        angle = float(operator.angles[detector])
        away = math.hypot(3.0 - RING * math.sin(angle), -2.0 - RING * math.cos(angle))
        cosine = ((r**2 + away**2 - radius**2) / (2 * r * away)).clamp(-1, 1)
        arc = torch.where(
            (r - away).abs() < radius, 2 * r * torch.acos(cosine), torch.zeros_like(r)
        )
        well_inside = (r - away).abs() < radius - 0.5
        assert float((traces[detector] - arc)[well_inside].abs().max()) < 0.02 * float(arc.max())
        assert float((traces[detector] - arc).abs().mean()) < 0.003 * float(arc.max())


def test_every_detector_hears_the_total_pressure_times_the_area() -> None:
    operator = ring()
    image = disc(3.0, -2.0, 5.0)
    heard = operator.forward(image).double().sum(-1) * operator.step
    torch.testing.assert_close(
        heard,
        torch.full((150,), float(image.double().sum()) * PIXEL**2).double(),
        rtol=1e-4,
        atol=0,
    )


def test_filtered_back_projection_inverts_a_full_ring() -> None:
    operator, image = ring(), disc(3.0, -2.0, 5.0)
    found = operator.classical(operator.forward(image))
    inside, far = disc(3.0, -2.0, 4.0) == 1, disc(3.0, -2.0, 6.0) == 0
    assert float(found[inside].mean()) == pytest.approx(1.0, abs=0.02)
    assert float(found[far].mean()) == pytest.approx(0.0, abs=0.01)
    assert float((found - image).norm() / image.norm()) < 0.1


def test_half_a_ring_gives_about_half_of_the_amplitude_and_no_more() -> None:
    half = ring(angles=math.pi / 75 * torch.arange(75))
    image = disc(0.0, 0.0, 5.0)
    found = half.classical(half.forward(image))
    assert 0.3 < float(found[disc(0.0, 0.0, 4.0) == 1].mean()) < 0.7


def test_damped_noise_free_iterations_from_the_classical_image_reduce_the_misfit() -> None:
    operator, image = ring(40), disc(3.0, -2.0, 5.0)
    traces = operator.forward(image)
    start = operator.classical(traces)
    solved = operator.pinv(traces, 10)
    assert float((operator.forward(solved) - traces).norm()) < float(
        (operator.forward(start) - traces).norm()
    )


def test_detectors_inside_of_the_image_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"ring must lie outside"):
        Photoacoustic((SIZE, SIZE), (PIXEL, PIXEL), full_turn(8), 12.0, 100, 10.0, 1500.0)
    with pytest.raises(SettingError, match="positive"):
        Photoacoustic((SIZE, SIZE), (PIXEL, PIXEL), full_turn(8), RING, 100, 10.0, 0.0)
    with pytest.raises(GeometryError, match="radians"):
        Photoacoustic((SIZE, SIZE), (PIXEL, PIXEL), torch.zeros(2, 2), RING, 100, 10.0, 1500.0)
