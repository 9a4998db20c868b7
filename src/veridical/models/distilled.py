"""Distillation of the joint prior: its samplers of few steps are taught by frozen weights of it that take many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from veridical.generative import distil, flow
from veridical.models.joint_prior import AT_START, SHIFT, JointPrior, denoise, denoiser, relative_error, start, unknown
from veridical.models.known import Known


@dataclass(frozen=True, eq=False)
class Teacher:
    """The frozen net of a joint prior, and which samplers it teaches."""

    net: nn.Module
    plan: distil.Plan


def teachable(model: type) -> bool:
    """Say whether a model draws as the joint prior does; others that share its net, such as the bridge, start elsewhere."""
    return issubclass(model, JointPrior) and model.complete is JointPrior.complete


def distil_loss(net: nn.Module, teacher: Teacher, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
    """The error of `JointPrior.lesson_loss`, but from where the teacher goes instead of from the truth.

    All slices share one step of one student. A share of them is at t = 0, where the teacher's answer is its posterior mean, so
    that this stays; the truth only says how large errors are.
    """
    noise = start(known, torch.randn(truth.shape, generator=generator).to(truth))
    span, step = teacher.plan.draw(generator)
    times, clean = flow.times(teacher.plan.teacher, SHIFT), denoiser(teacher.net, known)
    with torch.no_grad():
        mean = clean(noise, 0.0)
        state, wanted = distil.lesson(clean, noise, times, span, step)
    taught = (torch.rand(truth.shape[0], generator=generator) >= AT_START).to(truth)
    wanted = torch.where(known.over(taught[:, None]) > 0, wanted, mean)
    time = times[step * span] * taught
    return relative_error(denoise(net, known, state, time) - wanted, known, unknown(known, truth), time)
