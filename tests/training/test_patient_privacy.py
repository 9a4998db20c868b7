"""No patient adds more than the limit, the noise is what was planned, and epsilon is counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from veridical.errors import InputError, SettingError
from veridical.training.federation import Privacy
from veridical.training.patient_privacy import (
    Budget,
    budget,
    chance,
    draws,
    private_gradient,
    spent,
    within,
)

SILENT = Budget(0.0, 0.1, 10, 0.0)


def gradient(losses: list[float], privacy: Privacy, plan: Budget, seed: int = 0) -> torch.Tensor:
    """The gradient of weights whose patients have losses with these slopes."""
    weights = nn.Parameter(torch.zeros(200))
    direction = torch.ones(200) / 200**0.5
    generator = torch.Generator().manual_seed(seed)
    made = (slope * (weights * direction).sum() for slope in losses)
    private_gradient([weights], made, privacy, plan, generator)
    assert weights.grad is not None
    return weights.grad


@pytest.mark.parametrize("slope", [1e-3, 0.5, 40.0, 1e15])
def test_one_patient_changes_the_gradient_by_no_more_than_the_limit(slope: float) -> None:
    privacy = Privacy(clip=0.5, patients=4)
    without = gradient([0.1, -0.7], privacy, SILENT)
    change = (gradient([0.1, -0.7, slope], privacy, SILENT) - without).norm() * privacy.patients
    assert change == pytest.approx(min(slope, 0.5), rel=1e-4)


def test_a_patient_whose_gradient_is_no_number_changes_nothing() -> None:
    privacy = Privacy(clip=0.5, patients=4)
    assert torch.equal(
        gradient([0.1, float("nan")], privacy, SILENT), gradient([0.1], privacy, SILENT)
    )


def test_the_noise_has_the_planned_size_also_when_nobody_was_drawn() -> None:
    privacy, plan = Privacy(clip=0.5, patients=4), Budget(3.0, 0.1, 10, 0.0)
    noise = torch.cat([gradient([], privacy, plan, seed) for seed in range(50)])
    assert float(noise.std()) == pytest.approx(3.0 * 0.5 / 4, rel=0.03)
    assert abs(float(noise.mean())) < 0.02


def test_patients_are_drawn_independently_at_the_rate() -> None:
    generator = torch.Generator().manual_seed(1)
    counts = torch.tensor([float(len(draws(100, 0.2, generator))) for _ in range(400)])
    assert float(counts.mean()) == pytest.approx(20, abs=0.6)
    assert float(counts.var()) == pytest.approx(16, rel=0.25)


def test_noise_is_repeatable_only_where_a_simulation_says_so() -> None:
    said = [torch.rand(3, generator=chance(Privacy(seeded=True), (1, 2))) for _ in range(2)]
    assert torch.equal(*said)
    secret = [torch.rand(3, generator=chance(Privacy(), (1, 2))) for _ in range(2)]
    assert not torch.equal(*secret)


def test_more_patients_a_step_than_there_are_is_refused_before_anything_is_counted() -> None:
    with pytest.raises(SettingError, match="the site has 8"):
        budget(Privacy(epsilon=1.0, patients=9), 8, 10)
    with pytest.raises(SettingError, match=r"less than 0\.1"):
        budget(Privacy(epsilon=1.0, patients=2, delta=0.2), 10, 10)


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_the_planned_noise_keeps_epsilon_and_more_steps_exceed_it(accountant: str) -> None:
    pytest.importorskip("opacus", reason="needs the extra federated")
    privacy = Privacy(epsilon=4.0, patients=8, accountant=accountant)
    plan = budget(privacy, 100, 50)
    assert 3.5 < plan.epsilon <= 4.001
    assert spent(privacy, plan.noise, plan.rate, 0) == 0
    within(privacy, plan, 50)
    with pytest.raises(InputError, match="the site allows 4"):
        within(privacy, plan, 80)


def test_epsilon_without_sampling_is_that_of_the_gaussian_mechanism() -> None:
    pytest.importorskip("opacus", reason="needs the extra federated")
    # sigma = 5, one step, delta = 1e-5: exact by Balle and Wang 2018, arXiv 1805.06530, theorem 8
    found = spent(Privacy(epsilon=1.0, delta=1e-5, accountant="prv"), 5.0, 1.0, 1)
    assert found == pytest.approx(0.7255, abs=0.03)
