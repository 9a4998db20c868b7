"""With the exact denoiser of a Gaussian prior in the network's place, the sampler must give the analytic posterior."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from veridical.audit.evidence import evidence
from veridical.audit.interval import Case, calibrate
from veridical.generate.consistency import consistent
from veridical.generate.flow import standard_noise, times
from veridical.generate.gaussian import Gaussian, moments
from veridical.generate.samplers import heun

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "gaussian_exactness.py"))
PROBLEMS = BENCH["problems"]()
DRAWS = 300
EXACT = [p for p in PROBLEMS if not p.name.endswith("correlated prior, proximal")]
CHEAP = [p for p in PROBLEMS if p.name.endswith("correlated prior, proximal")]


def errors(problem: Any, solver: str, steps: int) -> tuple[float, float]:
    found = moments(problem.sampler(solver, steps), problem.operator.domain, problem.prior.mean.dtype)
    error, spread = problem.errors(*found)
    return error, spread


@cache
def drawn(name: str) -> torch.Tensor:
    problem = next(p for p in PROBLEMS if p.name == name)
    noise = standard_noise((DRAWS, *problem.operator.domain), problem.prior.mean.dtype, torch.Generator().manual_seed(7))
    return problem.sampler("heun", 16)(noise)  # type: ignore[no-any-return]


@pytest.mark.parametrize("problem", EXACT, ids=lambda p: p.name)
def test_the_mean_is_right_at_any_number_of_steps(problem: Any) -> None:
    for solver in ("euler", "heun"):
        for steps in (1, 4, 16):
            assert errors(problem, solver, steps)[0] < 1e-3


@pytest.mark.parametrize("problem", EXACT, ids=lambda p: p.name)
def test_the_spread_grows_to_the_posterior_as_steps_grow(problem: Any) -> None:
    euler = [1 - errors(problem, "euler", steps)[1] for steps in (8, 16, 32)]
    assert euler[0] > euler[1] > euler[2] > 0
    assert 1.7 < euler[1] / euler[2] < 2.2, "first order: half the step, half the error"
    heun = [1 - errors(problem, "heun", steps)[1] for steps in (8, 16, 32)]
    assert 3.0 < heun[1] / heun[2] < 5.0, "second order: half the step, a quarter of the error"
    assert abs(heun[2]) < 0.006


@pytest.mark.parametrize("problem", EXACT, ids=lambda p: p.name)
def test_every_voxel_has_the_analytic_mean_and_variance_within_monte_carlo_error(problem: Any) -> None:
    sample = drawn(problem.name)
    mean, variance = problem.prior.posterior(problem.operator, problem.y, problem.sigma)
    parts = 2 if sample.is_complex() else 1
    assert ((sample.mean(0) - mean).abs() / (variance * parts / DRAWS).sqrt()).max() < 4.5
    ratio = sample.var(0) / (parts * variance)
    assert (ratio - 1).abs().max() < 0.06 + 4.5 * (2 / (parts * DRAWS)) ** 0.5


@pytest.mark.parametrize("problem", CHEAP, ids=lambda p: p.name)
def test_isotropic_consistency_is_close_but_not_exact_when_the_prior_is_correlated(problem: Any) -> None:
    error, spread = errors(problem, "heun", 64)
    assert 0.01 < error < 1.5
    assert abs(spread - 1) < 0.25


@pytest.mark.parametrize("problem", EXACT, ids=lambda p: p.name)
def test_evidence_of_the_draws_equals_its_analytic_value(problem: Any) -> None:
    sample = drawn(problem.name).numpy()
    parts = 2 if np.iscomplexobj(sample) else 1
    prior = problem.prior.covariance.diagonal().real.reshape(problem.operator.domain).numpy()
    _, variance = problem.prior.posterior(problem.operator, problem.y, problem.sigma)
    truth = 1 - variance.numpy() / prior
    found = evidence(sample, parts * prior, width=0.0)
    assert np.abs(found - truth).max() < 0.02 + 4.5 * (1 - truth).max() * (2 / (parts * DRAWS)) ** 0.5


@pytest.mark.parametrize("draws", [8, 64])
def test_the_interval_equals_the_analytic_prediction_interval(draws: int) -> None:
    """Mean and spread of m Gaussian draws: the band is Student's, t(0.95, m - 1) sqrt(1 + 1/m) spreads at 90 %."""
    problem = next(p for p in PROBLEMS if p.name == "channel selection, white prior, proximal")
    prior, operator, sigma, patients = problem.prior, problem.operator, problem.sigma, 300
    generator = torch.Generator().manual_seed(9)
    x = prior.sample(standard_noise((patients, 1, *operator.domain), torch.float64, generator))
    clean = operator.forward(x)
    y = clean + sigma * standard_noise(tuple(clean.shape), torch.float64, generator)
    start = standard_noise((patients, draws, *operator.domain), torch.float64, generator)
    sample = heun(prior.denoise, start, times(24), consistent(operator, y, sigma, 0.8))
    error = (sample.mean(1) - x[:, 0]).abs().numpy()
    spread = sample.std(1).numpy()
    cases = [Case(error[i], spread[i], np.ones(error[i].shape, bool), str(i)) for i in range(patients)]
    found = calibrate(cases, level=0.9, floor=1e-6, calibrated_on="draws of a Gaussian").multiplier
    student = float(stats.t.ppf(0.95, draws - 1)) * (1 + 1 / draws) ** 0.5
    assert found == pytest.approx(student, rel=0.05)


def test_times_near_the_data_keep_the_spread_at_few_steps() -> None:
    for problem in (p for p in EXACT if p.name.endswith("proximal")):
        domain, dtype = problem.operator.domain, problem.prior.mean.dtype
        even, late = (problem.errors(*moments(problem.sampler("heun", 4, s), domain, dtype))[1] for s in (1.0, 0.4))
        assert abs(late - 1) < 0.05 < 1 - even


def test_a_gaussian_prior_draws_what_it_says() -> None:
    prior: Gaussian = PROBLEMS[1].prior
    drawn = prior.sample(standard_noise((20_000, *prior.mean.shape), torch.float64, torch.Generator().manual_seed(0)))
    sample = torch.cov(drawn.flatten(1).T)
    assert (sample - prior.covariance).abs().max() < 0.06
    assert (drawn.mean(0) - prior.mean).abs().max() < 0.05


def test_the_table_of_the_benchmark_names_every_problem_and_step() -> None:
    lines = BENCH["table"](draws=20, steps=(1, 2)).splitlines()
    assert len(lines) == 2 + 2 * len(PROBLEMS)
