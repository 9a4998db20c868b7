"""How often 95 % intervals over patients hold the true mean, and how often a limit set at the truth
is passed.

python benchmarks/bootstrap_coverage.py [repeats] [resamples]

`BCa` is the interval of an evaluation, `not widened` is Efron's, without the correction for few
patients; `percentile` and `t` (every patient's mean as one number) are the usual two. `pass` is the
share of p-values of at most 2.5 % against a limit at the truth, from above and from below: 2.5 %
each would be nominal. Scenes: normal and lognormal values; Dice of beta(12, 3) with one case in
twenty failed; three correlated cases a patient, and one to six; two sites four standard deviations
apart.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from veridical.evaluation.statistics import Resamples, bca, bootstrap, p_value
from veridical.types import Array

SIZES = (10, 20, 40, 100)
METHODS = ("BCa", "not widened", "percentile", "t")
Interval = tuple[float, float]


@dataclass(frozen=True)
class Sample:
    """Values, whose they are, and from which site."""

    values: Array
    patients: Sequence[str]
    strata: Sequence[str] | None = None


def names(n: int) -> list[str]:
    return [f"{i:04d}" for i in range(n)]


def dice(rng: np.random.Generator, n: int) -> Sample:
    return Sample(np.where(rng.random(n) < 0.05, 0.0, rng.beta(12, 3, n)), names(n))


def clustered(rng: np.random.Generator, n: int) -> Sample:
    return Sample(
        (rng.normal(size=(n, 1)) + rng.normal(size=(n, 3))).ravel(), np.repeat(names(n), 3).tolist()
    )


def unequal(rng: np.random.Generator, n: int) -> Sample:
    owner = np.repeat(np.arange(n), rng.integers(1, 7, n))
    return Sample(
        rng.normal(size=n)[owner] + rng.normal(size=len(owner)), [names(n)[i] for i in owner]
    )


def sites(rng: np.random.Generator, n: int) -> Sample:
    return Sample(
        rng.normal(size=n) + 4 * (np.arange(n) % 2), names(n), [str(i % 2) for i in range(n)]
    )


SCENES: dict[str, tuple[Callable[[np.random.Generator, int], Sample], float]] = {
    "normal": (lambda rng, n: Sample(rng.normal(size=n), names(n)), 0.0),
    "lognormal": (lambda rng, n: Sample(rng.lognormal(size=n), names(n)), float(np.exp(0.5))),
    "Dice with failures": (dice, 0.95 * 0.8),
    "three cases a patient": (clustered, 0.0),
    "one to six cases a patient": (unequal, 0.0),
    "two sites": (sites, 2.0),
}


def not_widened(resamples: Resamples) -> Interval:
    """Efron's interval by the same code: the level that the widening turns into 95 %."""
    n = len(resamples.influence)
    degrees = n - resamples.strata
    inside = stats.t.cdf(stats.norm.ppf(0.975) * np.sqrt(degrees / n), degrees)
    return bca(resamples, 2 * float(inside) - 1) or (np.nan, np.nan)


def t_interval(sample: Sample) -> Interval:
    means = np.array(
        [sample.values[np.array(sample.patients) == p].mean() for p in sorted(set(sample.patients))]
    )
    reach = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - reach), float(means.mean() + reach)


def study(scene: str, n: int, repeats: int, resamples: int) -> str:
    """Return one row of the table."""
    draw, truth = SCENES[scene]
    rng = np.random.default_rng(n)
    inside, passed = np.zeros(len(METHODS)), np.zeros(2)
    for repeat in range(repeats):
        sample = draw(rng, n)
        found = bootstrap(
            sample.values, sample.patients, sample.strata, resamples=resamples, seed=repeat
        )
        low, high = np.quantile(found.values, (0.025, 0.975))
        intervals = (
            bca(found) or (np.nan, np.nan),
            not_widened(found),
            (low, high),
            t_interval(sample),
        )
        inside += [low <= truth <= high for low, high in intervals]
        passed += [
            p_value(found, truth, "higher") <= 0.025,
            p_value(found, truth, "lower") <= 0.025,
        ]
    cells = " | ".join(f"{100 * share:.1f}" for share in (*inside / repeats, *passed / repeats))
    return f"| {scene} | {n} | {cells} |"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    resamples = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    error = 100 * np.sqrt(0.95 * 0.05 / repeats)
    print(
        f"Share in %, {repeats} repeats, {resamples} resamples; standard error of a 95 "
        f"{error:.1f}\n"
    )
    print(
        f"| scene | patients | {' | '.join(METHODS)} | pass above | pass below "
        f"|\n|---|---|{'---|' * (len(METHODS) + 2)}"
    )
    for scene in SCENES:
        for n in SIZES:
            print(study(scene, n, repeats, resamples), flush=True)


if __name__ == "__main__":
    main()
