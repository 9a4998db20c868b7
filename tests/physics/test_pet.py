from __future__ import annotations

import math

import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.physics.blur import Blur
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET, attenuation_factors

WATER = 0.0096
"""Linear attenuation of water at 511 keV, 1/mm."""


def projector() -> ParallelBeam:
    return ParallelBeam((64, 64), (4.0, 4.0), half_turn(16))


def cylinder(radius: float) -> torch.Tensor:
    position = (torch.arange(64) - 31.5) * 4.0
    return (torch.hypot(position[:, None], position) <= radius).float()


def test_a_20_cm_water_cylinder_lets_15_percent_of_the_central_pairs_through() -> None:
    survival = attenuation_factors(projector(), WATER * cylinder(100.0))
    central = survival[:, survival.shape[1] // 2]
    assert float(central.mean()) == pytest.approx(math.exp(-WATER * 200), rel=0.03)
    assert float(survival.max()) == 1.0


def test_mean_counts_are_trues_plus_background_and_never_negative() -> None:
    rays = projector()
    background = torch.full(rays.range, 0.3)
    pet = PET(rays, attenuation_factors(rays, WATER * cylinder(100.0)), background, scale=5.0)
    activity = 0.01 * cylinder(60.0)
    expected = pet.expected(activity)
    assert float(expected.min()) >= 0.3
    torch.testing.assert_close(expected, 5.0 * pet.attenuation * rays.forward(activity) + 0.3)
    torch.testing.assert_close(pet.expected(torch.zeros(64, 64)), background)


def test_resolution_spreads_a_point_without_losing_counts() -> None:
    point = torch.zeros(64, 64)
    point[30, 35] = 1.0
    sharp, blurred = PET(projector()), PET(projector(), blur=Blur((64, 64), (4.0, 4.0), (6.0, 6.0)))
    assert float(blurred.forward(point).sum()) == pytest.approx(
        float(sharp.forward(point).sum()), rel=1e-4
    )
    assert float(blurred.forward(point).max()) < 0.75 * float(sharp.forward(point).max())


def test_a_factor_of_the_wrong_shape_or_value_is_refused() -> None:
    rays = projector()
    with pytest.raises(GeometryError, match="attenuation"):
        PET(rays, torch.ones(3, 3))
    with pytest.raises(GeometryError, match="factor 1"):
        PET(rays, blur=Blur((64, 64), (4.0, 4.0), (6.0, 6.0), (2, 2)))
    with pytest.raises(SettingError, match="background"):
        PET(rays, background=-torch.ones(rays.range))
