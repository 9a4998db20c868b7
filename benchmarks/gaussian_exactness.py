"""How far sampler and data consistency are from the analytic posterior of a Gaussian prior, over the number of steps.

    python benchmarks/gaussian_exactness.py

With the exact denoiser in the network's place the only error left is the solver's. `mean` is the root mean square over
voxels of (mean drawn - posterior mean) / posterior standard deviation; `spread` is the root mean square standard deviation
drawn over the posterior's, so 1 is right. Both are exact (the sampler is affine in its noise); the last columns repeat
them from independent draws, with the Monte-Carlo standard error of the spread. Proximal consistency under a correlated
prior is the cheap isotropic form where it is not exact: what more steps do not mend there is its price.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from veridical.generate.consistency import consistent
from veridical.generate.flow import standard_noise, times
from veridical.generate.gaussian import Gaussian, moments
from veridical.generate.guidance import guide
from veridical.generate.samplers import euler, heun
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.identity import Identity
from veridical.physics.linear import LinearOperator
from veridical.physics.selection import Selection

STEPS = (1, 2, 4, 8, 16, 32, 64)
DRAWS = 1000
ITERATIONS = 37  # one more than the largest rank here: the solvers then end exactly
SOLVERS = {"euler": euler, "heun": heun}


@dataclass(frozen=True, eq=False)
class Problem:
    """A prior, a measurement of one of its draws, and what ties the sampler to it."""

    name: str
    prior: Gaussian
    operator: LinearOperator
    y: Tensor
    sigma: float
    guided: bool

    def sampler(self, solver: str, steps: int, shift: float = 1.0) -> Callable[[Tensor], Tensor]:
        """Return noise -> draws of the posterior."""
        grid = times(steps, shift)
        if self.guided:
            posterior = guide(self.prior.denoise, self.operator, self.y, self.sigma, iterations=ITERATIONS, earliest=1e-4)
            return lambda noise: SOLVERS[solver](posterior, noise, grid)
        variance = float(self.prior.covariance.diagonal().real.mean())
        correct = consistent(self.operator, self.y, self.sigma, variance, iterations=ITERATIONS)
        return lambda noise: SOLVERS[solver](self.prior.denoise, noise, grid, correct)

    def errors(self, mean: Tensor, variance: Tensor) -> tuple[float, float]:
        """Return the error of the mean in posterior standard deviations, and the ratio of spreads."""
        true_mean, true_variance = self.prior.posterior(self.operator, self.y, self.sigma)
        error = ((mean - true_mean).abs().square() / true_variance).mean().sqrt()
        return float(error), float((variance.mean() / true_variance.mean()).sqrt())


def problems(sigma: float = 0.3) -> list[Problem]:
    """Return every operator under a white prior (proximal consistency) and a correlated one (guidance)."""
    shape, real, imaginary = (1, 6, 5), torch.float64, torch.complex128
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(shape[1:], dtype=real)
    mask[:, ::2] = 1.0
    phase = torch.polar(torch.ones(1, *shape, dtype=real), torch.rand(1, *shape, dtype=real, generator=generator))
    coils = torch.randn(1, 3, *shape[1:], dtype=imaginary, generator=generator)
    coils = coils / coils.abs().square().sum(1, keepdim=True).sqrt()
    state = (3, 4, 3)
    operators: list[tuple[str, LinearOperator, torch.dtype]] = [
        ("identity", Identity(state, real), real),
        ("undersampled Fourier", CartesianMRI(mask, phase), imaginary),
        ("multi-coil MRI", CartesianMRI(mask, coils), imaginary),
        ("channel selection", Selection((2, 0), state, real), real),
    ]
    found = []
    for name, operator, dtype in operators:
        for correlated, guided in ((False, False), (True, True), (True, False)):
            prior = gaussian_prior(operator.domain, dtype, correlated)
            y = measure(operator, prior.sample(standard_noise(operator.domain, dtype, generator)), sigma, generator)
            kind = f"{'correlated' if correlated else 'white'} prior, {'guidance' if guided else 'proximal'}"
            found.append(Problem(f"{name}, {kind}", prior, operator, y, sigma, guided))
    return found


def measure(operator: LinearOperator, x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Return `A x` with noise of standard deviation `sigma` per real component where there are samples."""
    clean = operator.forward(x)
    noise = standard_noise(tuple(clean.shape), x.dtype, generator)
    return clean + sigma * (noise * operator.mask if isinstance(operator, CartesianMRI) else noise)


def gaussian_prior(domain: tuple[int, ...], dtype: torch.dtype, correlated: bool) -> Gaussian:
    """Return a prior of mean nonzero: white of variance 0.8, or with correlations that decay and random ones."""
    generator = torch.Generator().manual_seed(2)
    size = int(torch.Size(domain).numel())
    mean = 1.0 + 0.5 * torch.randn(domain, dtype=dtype, generator=generator)
    if not correlated:
        return Gaussian(mean, 0.8 * torch.eye(size, dtype=dtype))
    factor = torch.randn(size, size, dtype=dtype, generator=generator)
    smooth = torch.exp(-(torch.arange(size)[:, None] - torch.arange(size)).abs().double() / 4)
    return Gaussian(mean, 0.6 * smooth.to(dtype) + 0.4 * factor @ factor.mH / size)


def monte_carlo(problem: Problem, solver: str, steps: int, draws: int, seed: int) -> tuple[float, float, float]:
    """Return error of the mean (its Monte-Carlo part removed), spread ratio, and the standard error of the latter."""
    generator = torch.Generator().manual_seed(seed)
    noise = standard_noise((draws, *problem.operator.domain), problem.prior.mean.dtype, generator)
    drawn = problem.sampler(solver, steps)(noise)
    parts = 2 if drawn.is_complex() else 1
    variance = drawn.var(0) / parts
    error, spread = problem.errors(drawn.mean(0), variance)
    _, truth = problem.prior.posterior(problem.operator, problem.y, problem.sigma)
    chance = parts * float((variance / truth).mean()) / draws
    degrees = parts * (draws - 1)
    each = variance.square().sum() / variance.sum().square()
    return max(0.0, error**2 - chance) ** 0.5, spread, spread * float(each / (2 * degrees)) ** 0.5


def table(draws: int = DRAWS, steps: tuple[int, ...] = STEPS) -> str:
    """Return the table as markdown."""
    lines = [
        "| problem | steps | euler mean | euler spread | heun mean | heun spread "
        f"| heun mean, n = {draws} | heun spread, n = {draws} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for problem in problems():
        domain, dtype = problem.operator.domain, problem.prior.mean.dtype
        for count in steps:
            cells = [f"{v:.4f}" for s in SOLVERS for v in problem.errors(*moments(problem.sampler(s, count), domain, dtype))]
            error, spread, chance = monte_carlo(problem, "heun", count, draws, seed=count)
            lines.append(f"| {problem.name} | {count} | {' | '.join(cells)} | {error:.3f} | {spread:.4f} ± {chance:.4f} |")
    return "\n".join(lines)


def shift_table(shifts: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0)) -> str:
    """Return, as markdown, the spread ratio at about 8 network calls over the time grid's shift and two noise levels."""
    lines = [f"| problem | noise | solver | {' | '.join(f'shift {s:g}' for s in shifts)} |", "|---" * (3 + len(shifts)) + "|"]
    for sigma in (0.3, 0.05):
        for problem in (p for p in problems(sigma) if p.name.endswith("white prior, proximal")):
            domain, dtype = problem.operator.domain, problem.prior.mean.dtype
            for solver, steps in (("euler", 8), ("heun", 4)):
                found = (problem.errors(*moments(problem.sampler(solver, steps, s), domain, dtype))[1] for s in shifts)
                cells = " | ".join(f"{spread:.3f}" for spread in found)
                lines.append(f"| {problem.name} | {sigma:g} | {solver}, {steps} steps | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print()
    print(shift_table())
