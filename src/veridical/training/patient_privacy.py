"""Differential privacy of patients: each step draws patients by chance, limits what each may add to
the gradient, and adds noise.

Two sets of patients that differ in one patient then lead to nearly the same weights: DP-SGD (Abadi
et al. 2016, 10.1145/2976749.2978318) with a patient in place of an image (McMahan et al. 2018,
arXiv 1710.06963). The noise is added at the site, before anything leaves it, so no server needs to
be trusted; sites have different patients, so each patient's epsilon is that of his own site. What
noise and steps amount to is told by Opacus (Mironov et al. 2019, arXiv 1908.10530; Gopi et al.
2021, arXiv 2106.02848). Not covered: scores on held-out patients, how many patients a site has, and
attacks on the rounding of floating-point noise (Mironov 2012, 10.1145/2382196.2382264).
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veridical.errors import InputError, MissingExtra, SettingError
from veridical.training.federation import Privacy

ROUNDING = 1e-3
"""By which an epsilon may exceed what was asked for, as the search for the noise stops there."""


@dataclass(frozen=True)
class Budget:
    """What a site spends.

    Args:
        noise: standard deviation over `clip`.
        rate: chance of each patient to be drawn in a step.
        steps: that epsilon was planned for.
        epsilon: after all of them.
    """

    noise: float
    rate: float
    steps: int
    epsilon: float


@cache
def budget(privacy: Privacy, patients: int, steps: int) -> Budget:
    """Return the noise with which a site stays within its epsilon.

    Args:
        privacy: the table.
        patients: of the site, that train.
        steps: of the site in all rounds.

    Raises:
        SettingError: a step is to draw more patients than there are, or delta is too large for
            them, or no noise reaches this epsilon.
        MissingExtra: Opacus is not installed.
    """
    if privacy.patients > patients:
        raise SettingError(
            f"[privacy] patients = {privacy.patients} a step, and the site has {patients}. Give "
            "fewer; privacy comes from drawing few of many."
        )
    if privacy.delta >= 1 / patients:
        raise SettingError(
            f"delta = {privacy.delta:g} for {patients} patients; expected less than "
            f"{1 / patients:.2g}, one over their number."
        )
    rate = privacy.patients / patients
    try:
        with _quiet():
            found = _opacus("get_noise_multiplier")(
                target_epsilon=privacy.epsilon,
                target_delta=privacy.delta,
                sample_rate=rate,
                steps=steps,
                accountant=privacy.accountant,
                epsilon_tolerance=ROUNDING,
            )
    except ValueError as error:
        raise SettingError(
            f"No noise gives epsilon = {privacy.epsilon} over {steps} steps ({error}). Allow a "
            "larger epsilon, or take fewer steps."
        ) from error
    noise = float(found)
    return Budget(noise, rate, steps, spent(privacy, noise, rate, steps))


def spent(privacy: Privacy, noise: float, rate: float, steps: int) -> float:
    """Return epsilon after so many steps."""
    if steps == 0:
        return 0.0
    accountant = _opacus("create_accountant")(mechanism=privacy.accountant)
    accountant.history = [(noise, rate, steps)]
    with _quiet():
        return float(accountant.get_epsilon(delta=privacy.delta))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Opacus from warning that its bound is not the tightest, and of a logarithm of zero where
    a density vanishes: the bound holds nevertheless.
    """
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore", UserWarning)
        yield


def _opacus(name: str) -> Callable[..., Any]:
    try:
        from opacus import accountants
        from opacus.accountants import utils
    except ImportError as error:
        raise MissingExtra(
            "Privacy of patients needs Opacus. Install it: pip install 'veridical[federated]'."
        ) from error
    found: Callable[..., Any] = getattr(accountants, name, None) or getattr(utils, name)
    return found


def within(privacy: Privacy, plan: Budget, taken: int) -> None:
    """Make sure that steps may be taken.

    Args:
        privacy: the table.
        plan: of the site.
        taken: steps, with those that are asked for.

    Raises:
        InputError: epsilon would be exceeded.
    """
    if taken <= plan.steps:
        return
    reached = spent(privacy, plan.noise, plan.rate, taken)
    if reached > privacy.epsilon + ROUNDING:
        raise InputError(
            f"{taken} steps would bring epsilon to {reached:.2f}; the site allows "
            f"{privacy.epsilon:g}. Its patients have given what they agreed to."
        )


def draws(count: int, rate: float, generator: torch.Generator) -> list[int]:
    """Draw each of so many patients by chance (Poisson sampling)."""
    chosen = torch.rand(count, generator=generator) < rate
    return [int(one) for one in torch.nonzero(chosen).flatten()]


def chance(privacy: Privacy, seed: Sequence[int]) -> torch.Generator:
    """Return random numbers that nobody else can repeat, or for simulations those of a seed."""
    if not privacy.seeded:
        return torch.Generator().manual_seed(secrets.randbits(63))
    state = np.random.SeedSequence(list(seed)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def private_gradient(
    parameters: Sequence[nn.Parameter],
    losses: Iterable[Tensor],
    privacy: Privacy,
    plan: Budget,
    generator: torch.Generator,
) -> None:
    """Set the gradient to the noisy mean of the clipped gradients of patients.

    Args:
        parameters: of the net.
        losses: one of each drawn patient, made when asked for; may be none.
        privacy: the table; its `clip` limits a patient, its `patients` is what is divided by.
        plan: of the site.
        generator: of the noise.
    """
    total = [torch.zeros_like(one) for one in parameters]
    for loss in losses:
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        there = [grad for grad in grads if grad is not None]
        length = torch.linalg.vector_norm(torch.stack([grad.norm() for grad in there]))
        if not torch.isfinite(length):
            continue  # a patient whose gradient is no number adds none, which is within the limit
        scale = (privacy.clip / length.clamp_min(1e-12)).clamp(max=1.0)
        for whole, grad in zip(total, grads, strict=True):
            if grad is not None:
                whole.add_(grad * scale)
    for parameter, whole in zip(parameters, total, strict=True):
        noise = torch.randn(whole.shape, generator=generator).to(whole.device)
        parameter.grad = (whole + plan.noise * privacy.clip * noise) / privacy.patients
