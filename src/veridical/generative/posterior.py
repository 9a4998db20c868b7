"""Posterior of any linear measurement under a denoiser as prior: one estimate, and samples around
it.

The estimate is plug-and-play half-quadratic splitting (Geman and Yang 1995; Zhang et al., TPAMI
2021, 10.1109/TPAMI.2021.3088914): denoise at a falling noise level, then fit the data by conjugate
gradient. Samples alternate the same two steps with fresh noise in between. Nothing here knows what
was measured; the operator does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.physics.linear import LinearOperator, conjugate_gradient
from veridical.physics.preconditioning import Preconditioner

Denoise = Callable[[Tensor, Any, int], Tensor]
"""`(batch, *domain)` under noise of a standard deviation per real component (a number, or one a
voxel), and the number of the call, to the clean image. The number lets a denoiser take turns among
mirror images, which costs nothing and averages out what it treats unevenly.
"""
Fit = Callable[[Tensor, Tensor, Any], Tensor]
"""From an image, the denoised image and the weight that pulls towards it (a number, or one a
voxel), to the next image.
"""
PROBES, PROBE, WIDTH = 4, 0.1, 2.0
"""Probes of the denoiser's Jacobian, their size as a share of the noise, and voxels over which
variances are averaged.
"""
LEAST = 1e-3
"""Noise level below which nothing is denoised."""
HARD = 10
"""Conjugate-gradient steps of a data step from which an operator counts as hard to invert."""
STRETCH = 6.0
"""Largest factor by which samples are stretched to the variance that they should have."""


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """`data = A x + noise`, in units in which the 99th percentile of `x` is about 1.

    Args: operator: A. data: `(*range)`. sigma: noise standard deviation per real component where
        the weight is 1. start: `(*domain)`, a classical reconstruction. weights: `(*range)`,
        `(sigma / standard deviation)^2` of every sample, 0 where nothing was measured; None: 1
        everywhere. level: noise standard deviation in the image of the classical reconstruction, a
        number or `(*domain)`; None: `sigma`. fit: data step of its own where noise is far from
        Gaussian; None: least squares.
    """

    operator: LinearOperator
    data: Tensor
    sigma: float
    start: Tensor
    weights: Tensor | None = None
    level: float | Tensor | None = None
    fit: Fit | None = None

    @property
    def noise_level(self) -> float:
        """Noise level of the image, its root mean square where it varies."""
        if isinstance(self.level, Tensor):
            return float(self.level.square().mean().sqrt())
        return self.sigma if self.level is None else self.level

    def normal(self, x: Tensor) -> Tensor:
        """Apply `A^H W A` to `(..., *domain)`."""
        if self.weights is None:
            return self.operator.normal(x)
        return self.operator.adjoint(self.weights * self.operator.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply `A^H W` to `(..., *range)`."""
        return self.operator.adjoint(y if self.weights is None else self.weights * y)

    def misfit(self) -> float:
        """Return how far the classical reconstruction is from the data, root mean square in units
        of their noise.
        """
        residual = self.data - self.operator.forward(self.start)
        whitened = residual if self.weights is None else self.weights.sqrt() * residual
        parts = 2 if whitened.is_complex() else 1
        size = float(whitened.abs().square().mean().sqrt())
        return size / (self.sigma * math.sqrt(parts))

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `A^H W n` for `count` draws of the noise, `(count, *domain)`."""
        white = self.sigma * standard_normal((count, *self.data.shape), self.data, generator)
        if self.weights is None:
            return self.operator.adjoint(white)
        return self.operator.adjoint(self.weights.sqrt() * white)


@dataclass(frozen=True)
class Settings:
    """How estimate and samples are computed. Fixed once on development data, the same for all
    measurements.
    """

    first: float = 0.06
    """Noise level of the first denoising; four times the noise of the classical reconstruction
    where that is more.
    """
    steps: int = 8
    """Denoising steps of the estimate."""
    hard_steps: int = 16
    """The same where little was measured by an operator that is hard to invert."""
    trust: float = 0.2
    """Weight of the denoised image in the data step; less trusts the data more."""
    redundant: float = 1.5
    """Numbers measured over numbers wanted from which noise, not what is missing, limits the image,
    if the classical reconstruction explains the data within `explained` times their noise. Then
    there are `redundant_steps`, from twice the noise of that reconstruction to half of it.
    """
    explained: float = 5.0
    """See `redundant`; streaks of few views on a coarse grid leave 20 to 200 times the noise."""
    redundant_steps: int = 4
    """See `redundant`."""
    redundant_trust: float = 1.0
    """`trust` where `redundant`."""
    counting_trust: float = 0.5
    """`trust` of counts, which have a data step of their own."""
    highest: float = 0.3
    """Noise level that the sampler starts at."""
    rounds: int = 3
    """Rounds of the sampler, from the highest level down to the noise of the image."""
    pull: float = 0.3
    """Weight of the denoised image in the data step of the sampler."""


def denoised_directly(problem: LinearProblem, denoise: Denoise, turns: int) -> Tensor:
    """Return the posterior mean `(*domain)` where the image itself was measured: one denoising,
    averaged over `turns` calls.
    """
    level = local_level(problem)
    return torch.stack([denoise(problem.data[None], level, turn)[0] for turn in range(turns)]).mean(
        0
    )


def samples_of_noisy(
    problem: LinearProblem, denoise: Denoise, estimate: Tensor, count: int, seed: int, rounds: int
) -> Tensor:
    """Return samples `(count, *domain)` around the posterior mean where the image itself was
    measured, by reverse diffusion.

    Ancestral sampling (Song et al., ICLR 2021) from the noise of the data down to an eighth of it,
    in `rounds` steps.
    """
    generator = torch.Generator().manual_seed(seed)
    level = local_level(problem)
    levels = np.geomspace(1.0, 1 / 8, rounds + 1)
    x = problem.data.expand(count, *problem.data.shape)
    for turn, (high, low) in enumerate(pairwise(levels)):
        clean = denoise(x, high * level, turn)
        fresh = low * math.sqrt(1 - (low / high) ** 2)
        kept = math.sqrt(low**2 - fresh**2) / high
        x = (
            clean
            + kept * (x - clean)
            + fresh * level * standard_normal(tuple(x.shape), x, generator)
        )
    drawn = denoise(x, float(levels[-1]) * level, rounds)
    deviation = drawn - drawn.mean(0)
    found = smoothed(
        deviation.abs().square().sum(0) / max(1, count - 1), len(problem.operator.domain)
    )
    wanted = smoothed(posterior_variance(problem, denoise, generator), len(problem.operator.domain))
    return estimate + deviation * (wanted / found.clamp_min(1e-20)).clamp(0, STRETCH**2).sqrt()


def posterior_variance(
    problem: LinearProblem, denoise: Denoise, generator: torch.Generator
) -> Tensor:
    """Return the posterior variance of every voxel where the image itself was measured,
    `(*domain)`, noisy.

    Tweedie's second-order formula (Efron 2011, 10.1198/jasa.2011.tm11181): the covariance is the
    noise variance times the Jacobian of the denoiser, whose diagonal is probed with random signs
    (Hutchinson 1990). Few steps of a sampler spread about half as far as the error; this formula
    agrees with it.
    """
    level, total = local_level(problem), torch.zeros_like(problem.data.real)
    here = denoise(problem.data[None], level, 0)[0]
    for _ in range(PROBES):
        signs = torch.randn(problem.data.shape, generator=generator).sign().to(problem.data.device)
        there = denoise((problem.data + PROBE * level * signs)[None], level, 0)[0]
        total = total + (signs * (there - here)).real / PROBE
    parts = 2 if problem.data.is_complex() else 1
    return total * level * parts / PROBES


def smoothed(variance: Tensor, axes: int) -> Tensor:
    """Smooth a variance by a Gaussian of `WIDTH` voxels along the last two of its axes, never below
    zero.
    """
    width = [0.0] * (axes - 2) + [WIDTH, WIDTH]
    smooth = ndimage.gaussian_filter(variance.cpu().numpy(), width, mode="nearest")
    return torch.from_numpy(smooth).to(variance).clamp_min(0)


def local_level(problem: LinearProblem) -> float | Tensor:
    """Return the noise level of the data, of every number where they have weights."""
    return problem.sigma if problem.weights is None else problem.sigma / problem.weights.sqrt()


class DataStep:
    """Fit the data, pulled towards a denoised image, again and again.

    Conjugate gradient starts from the denoised image and what the data changed of the last one, as
    far as the new weight leaves it. It never starts from the last fit: its unmeasured part is the
    old one, which conjugate gradient does not replace.

    Args:
        problem: what was measured.
        adjoint: `A^H W y`, `(..., *domain)`.
        steps: of conjugate gradient.
        tolerance: of conjugate gradient.
    """

    def __init__(
        self, problem: LinearProblem, adjoint: Tensor, steps: int, tolerance: float
    ) -> None:
        self.problem, self.adjoint, self.steps, self.tolerance = problem, adjoint, steps, tolerance
        self.change, self.weight = torch.zeros_like(adjoint), 0.0
        invariant = problem.operator.shift_invariant
        self.spectral = (
            Preconditioner(problem.normal, problem.operator, problem.weights, adjoint.device)
            if invariant
            else None
        )

    def __call__(self, z: Tensor, weight: float) -> Tensor:
        """Return the minimum of `|W^1/2 (A x - y)|^2 + weight |x - z|^2`, `(..., *domain)`."""
        start = z + self.weight / weight * self.change
        x = conjugate_gradient(
            self.problem.normal,
            self.adjoint + weight * z,
            len(self.problem.operator.domain),
            self.steps,
            weight,
            self.tolerance,
            start,
            self.spectral.at(weight) if self.spectral else None,
        )
        self.change, self.weight = x - z, weight
        return x


def plug_and_play(problem: LinearProblem, denoise: Denoise, settings: Settings) -> Tensor:
    """Return the estimate `(*domain)`, which fits the data as their noise allows and which the
    denoiser leaves alone.
    """
    levels, trust = schedule(problem, settings)
    fit_data = DataStep(
        problem, problem.adjoint(problem.data), problem.operator.fitting_steps, 1e-5
    )
    x = z = problem.start
    for step, level in enumerate(levels):
        z = clean(problem, denoise, x[None], level, step)[0]
        if problem.fit is not None:
            x = problem.fit(x, z, trust / level**2)
        else:
            x = fit_data(z, trust * (problem.sigma / float(level)) ** 2)
    return (
        x if problem.fit is None else z
    )  # a pass over the counts adds noise, which the denoised image is without


def schedule(problem: LinearProblem, settings: Settings) -> tuple[list[float | Tensor], float]:
    """Return the noise levels of the denoising steps, and the weight of the denoised image."""
    last: float | Tensor = max(problem.noise_level, LEAST)
    redundant = (
        problem.operator.redundancy >= settings.redundant and problem.misfit() <= settings.explained
    )
    if problem.fit is not None or redundant:
        if isinstance(problem.level, Tensor):
            last = problem.level.clamp_min(LEAST)
        trust = settings.redundant_trust if problem.fit is None else settings.counting_trust
        return [float(m) * last for m in np.geomspace(2.0, 0.5, settings.redundant_steps)], trust
    steps = settings.steps if problem.operator.fitting_steps < HARD else settings.hard_steps
    return [
        float(v) for v in np.geomspace(max(settings.first, 4 * last), last, steps)
    ], settings.trust


def clean(
    problem: LinearProblem, denoise: Denoise, x: Tensor, level: float | Tensor, turn: int
) -> Tensor:
    """Denoise a batch, and keep it from being negative where it never is."""
    z = denoise(x, level, turn)
    return z.clamp_min(0) if problem.operator.nonnegative else z


def posterior_samples(
    problem: LinearProblem,
    denoise: Denoise,
    estimate: Tensor,
    count: int,
    seed: int,
    settings: Settings,
) -> Tensor:
    """Return samples `(count, *domain)` around an estimate, by annealing: denoise, fit the data,
    put fresh noise back.

    Zhu et al., DiffPIR, CVPR Workshops 2023 (arXiv 2305.08995), with all of the noise drawn anew in
    every round. Data are perturbed by their noise, so that samples differ where something was
    measured too. The sampler's own mean is worse than the estimate, so the samples are moved to
    have the estimate as mean.

    Args:
        problem: what was measured.
        denoise: the prior.
        estimate: `(*domain)`, what the samples are centred on.
        count: how many.
        seed: of everything random.
        settings: levels and rounds.
    """
    generator = torch.Generator().manual_seed(seed)
    last = max(problem.noise_level, LEAST)
    levels = [
        float(v) for v in np.geomspace(max(settings.highest, 2 * last), last, settings.rounds)
    ]
    adjoint = problem.adjoint(problem.data) + problem.noise(count, generator)
    tied = estimate.expand(count, *estimate.shape)
    fitting = (
        problem.operator.fitting_steps + 1
    ) // 2  # samples need not fit as exactly as the estimate
    fit_data = DataStep(problem, adjoint, fitting, 1e-4)
    for turn, level in enumerate(levels):
        noisy = tied + level * standard_normal(tuple(tied.shape), tied, generator)
        z = clean(problem, denoise, noisy, level, turn)
        tied = fit_data(z, settings.pull * (problem.sigma / level) ** 2)
    return tied - tied.mean(0) + estimate


def standard_normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers, per real component where `like` is complex, drawn on the CPU
    so that devices agree.
    """
    parts = torch.randn((*shape, 2) if like.is_complex() else shape, generator=generator)
    drawn = torch.view_as_complex(parts) if like.is_complex() else parts
    return drawn.to(like.device, like.dtype)
