"""The classical reconstruction of every operator: of the domain's shape, of any batch, and one that
explains the data.
"""

from __future__ import annotations

import math

import pytest
import torch

from veridical import registry
from veridical.errors import InputError, MissingExtra, SettingError
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.linear import LinearOperator
from veridical.physics.noncartesian_mri import NoncartesianMRI, radial
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET
from veridical.physics.selection import Selection

NAMES = sorted(registry.entries("operator"))


def example(name: str) -> LinearOperator:
    try:
        built: LinearOperator = registry.get("operator", name).example(3)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    return built


def disc(size: int, radius: float) -> torch.Tensor:
    position = torch.arange(size) - (size - 1) / 2
    return (torch.hypot(position[:, None], position) <= radius).float()


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_shape_of_the_domain_for_any_batch(name: str) -> None:
    operator = example(name)
    stack = torch.randn(
        (2, *operator.domain), dtype=operator.dtype, generator=torch.Generator().manual_seed(1)
    )
    y = operator.forward(stack if operator.dtype.is_complex else stack.abs())
    together = operator.classical(y)
    assert together.shape == (2, *operator.domain)
    assert together.dtype == operator.dtype
    assert bool(
        torch.isfinite(torch.view_as_real(together) if together.is_complex() else together).all()
    )
    alone = operator.classical(y[1])
    assert float((together[1] - alone).norm()) <= 1e-3 * float(alone.norm())


def test_damped_least_squares_returns_what_was_selected() -> None:
    operator = Selection.example(0)
    y = operator.forward(torch.randn(operator.domain))
    torch.testing.assert_close(operator.forward(operator.classical(y)), y, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_singular_value_is_not_exceeded_by_far(name: str) -> None:
    operator = example(name)
    bound = 1.1 * operator.largest_singular_value()
    for seed in range(3):
        x = torch.randn(
            operator.domain, dtype=operator.dtype, generator=torch.Generator().manual_seed(seed)
        )
        assert float(operator.forward(x).norm()) <= bound * float(x.norm())


@pytest.mark.parametrize(
    "beam",
    [
        ParallelBeam((64, 64), (1.0, 1.0), half_turn(100)),
        FanBeam((64, 64), (1.0, 1.0), full_turn(160), 120.0),
    ],
)
def test_filtered_back_projection_finds_the_attenuation_of_a_disc(beam: LinearOperator) -> None:
    found = beam.classical(beam.forward(0.02 * disc(64, 20)))
    assert float(found[disc(64, 17) == 1].mean()) == pytest.approx(0.02, rel=0.02)


def test_a_part_of_a_turn_of_a_fan_beam_is_solved_by_damped_least_squares() -> None:
    angles = full_turn(160)[:60]
    beam = FanBeam((32, 32), (1.0, 1.0), angles, 120.0)
    y = beam.forward(0.02 * disc(32, 10))
    found = beam.classical(y)
    assert float((beam.forward(found) - y).norm()) < 0.1 * float(y.norm())


def test_radial_mri_is_within_a_few_percent_after_a_few_steps() -> None:
    try:
        operator = NoncartesianMRI(
            radial(48, 64, 32.0), torch.ones(1, 1, 32, 32, dtype=torch.complex64)
        )
    except MissingExtra as missing:
        pytest.skip(str(missing))
    truth = (disc(32, 10) * (1 + 0.5j)).to(torch.complex64)[None]
    found = operator.classical(operator.forward(truth))
    gridded = operator.adjoint(operator.forward(truth) * operator.density())
    assert float((found - truth).norm()) < min(
        0.15 * float(truth.norm()), float((gridded - truth).norm())
    )


def scanner(background: float = 0.0) -> PET:
    rays = ParallelBeam((32, 32), (4.0, 4.0), half_turn(24))
    return PET(rays, background=torch.full(rays.range, background), scale=3.0)


def likelihood(pet: PET, activity: torch.Tensor, counts: torch.Tensor) -> float:
    mean = pet.expected(activity).double().clamp_min(1e-12)
    return float((torch.xlogy(counts, mean) - mean).sum())


def measured(pet: PET) -> torch.Tensor:
    return torch.poisson(pet.expected(disc(32, 10)), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("background", [0.0, 5.0])
def test_mlem_never_lowers_the_poisson_likelihood(background: float) -> None:
    pet = scanner(background)
    counts = measured(pet)
    values = [likelihood(pet, pet.osem(counts, n, 1), counts) for n in range(1, 9)]
    assert values == sorted(values)
    assert values[0] > likelihood(pet, torch.full((32, 32), 0.3), counts)


def test_osem_gets_there_faster_than_mlem_and_stays_positive() -> None:
    pet = scanner(5.0)
    counts = measured(pet)
    fast = pet.osem(counts, 2, 6)
    assert likelihood(pet, fast, counts) > likelihood(pet, pet.osem(counts, 2, 1), counts)
    assert float(fast.min()) >= 0
    torch.testing.assert_close(pet.classical(counts), pet.osem(counts, 4, 4))


def test_mlem_without_background_keeps_the_counts_from_the_first_iteration_on() -> None:
    pet = scanner()
    counts = measured(pet)
    seen = counts * (pet.forward(torch.ones(32, 32)) > 0)
    for iterations in (1, 5):
        assert float(pet.expected(pet.osem(seen, iterations, 1)).sum()) == pytest.approx(
            float(seen.sum()), rel=1e-3
        )


def test_osem_finds_the_activity_behind_a_known_background() -> None:
    pet = scanner(5.0)
    found = pet.osem(pet.expected(disc(32, 10)), 10, 4)
    assert float(found[disc(32, 8) == 1].mean()) == pytest.approx(1.0, rel=0.03)


def test_osem_refuses_negative_counts_and_impossible_subsets() -> None:
    pet = scanner()
    with pytest.raises(InputError, match="background"):
        pet.osem(-torch.ones(pet.range))
    with pytest.raises(SettingError, match="1 to 24 subsets"):
        pet.osem(torch.ones(pet.range), 2, 25)
    masked = PET(ParallelBeam((32, 32), (4.0, 4.0), half_turn(24)).H.H)
    with pytest.raises(SettingError, match="planar beam"):
        masked.osem(torch.ones(masked.range), 2, 4)
    assert masked.classical(torch.ones(masked.range)).shape == (32, 32)


def test_math_of_a_half_turn_and_a_full_one_agree_in_a_parallel_beam() -> None:
    image = 0.02 * disc(48, 15)
    found = []
    for angles in (half_turn(90), math.pi + half_turn(90)):
        beam = ParallelBeam((48, 48), (1.0, 1.0), angles)
        found.append(beam.classical(beam.forward(image)))
    torch.testing.assert_close(found[0], found[1], atol=5e-4, rtol=0)
