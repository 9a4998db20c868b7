"""Laws of the distillation of a joint prior: what is learned from whom, and that few steps come nearer to many."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import known_slices
from veridical.generative.distil import Plan
from veridical.models import distilled
from veridical.models.body_prior import BodyPrior
from veridical.models.brain_prior import BrainPrior
from veridical.models.bridge import Bridge
from veridical.models.distilled import Teacher, distil_loss, teachable
from veridical.models.joint_prior import AT_START, denoiser, relative_error, sample, unknown
from veridical.models.regressor import Regressor


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return known_slices.awake(BrainPrior.build(known_slices.SETTINGS))


def frozen(net: nn.Module, *students: int) -> Teacher:
    return Teacher(copy.deepcopy(net).requires_grad_(False), Plan(8, students))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_who_is_its_own_teacher_has_nothing_to_learn(net: nn.Module, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    known, truth = known_slices.known_slices()
    monkeypatch.setattr(distilled, "AT_START", share)
    assert float(distil_loss(net, frozen(net, 8), known, truth, seeded(0)).detach()) < 1e-8
    assert float(distil_loss(net, frozen(net, 2), known, truth, seeded(0)).detach()) > 1e-3 or share == 1.0


def test_at_the_start_what_is_learned_is_the_teachers_mean(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    known, truth = known_slices.known_slices()
    teacher = frozen(net, 2)
    for parameter in net.parameters():
        parameter.data += 0.02
    monkeypatch.setattr(distilled, "AT_START", 1.0)
    found = float(distil_loss(net, teacher, known, truth, seeded(0)).detach())
    means = [denoiser(one, known)(torch.zeros_like(truth), 0.0) for one in (net, teacher.net)]
    expected = relative_error(means[0] - means[1], known, unknown(known, truth), torch.zeros(len(truth)))
    assert found == pytest.approx(float(expected.detach()), rel=1e-5)
    assert found > 1e-3
    assert 0 < AT_START < 1


def test_the_loss_follows_its_generator_and_moves_the_student_alone(net: nn.Module) -> None:
    known, truth = known_slices.known_slices()
    teacher = frozen(net, 2, 4)
    first, again, other = (distil_loss(net, teacher, known, truth, seeded(seed)) for seed in (5, 5, 6))
    assert float(first.detach()) == float(again.detach()) != float(other.detach())
    torch.autograd.backward(first)
    assert any(p.grad is not None and p.grad.any() for p in net.parameters())
    assert all(p.grad is None for p in teacher.net.parameters())


def test_few_steps_come_nearer_to_what_the_teacher_draws_with_many(net: nn.Module) -> None:
    known, truth = known_slices.known_slices(batch=8, size=(8, 8))
    teacher, white = frozen(net, 2), known_slices.noise(8, 3, 8, 8, seed=9)
    wanted = sample(teacher.net, known, 1, white, 8)

    def distance() -> float:
        return float((sample(net, known, 1, white, 2) - wanted).square().mean())

    before = distance()
    optimizer, generator = torch.optim.Adam(net.parameters(), 0.01), seeded(0)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(distil_loss(net, teacher, known, truth, generator))
        optimizer.step()
    assert distance() < 0.5 * before


def test_only_models_that_draw_as_the_joint_prior_does_are_teachable() -> None:
    assert [teachable(model) for model in (BrainPrior, BodyPrior, Bridge, Regressor, Path)] == [True, True, False, False, False]
