"""How often 95 % intervals of metrics over sets hold what they should: Gaussian features, 40
patients a set, one row each.

    python benchmarks/set_intervals.py [repeats] [dimension] [metrics ...]

What an interval should hold is the metric's expected value for sets of this size, the mean over
2000 fresh pairs of sets; for unbiased metrics (KID, MMD) that is the population value. Bootstraps
draw rows with replacement; for KID and MMD pairs of copies are left out. `chosen` is
`feature_sets.interval`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy.stats import norm, t

from veridical import registry
from veridical.metrics import feature_sets
from veridical.metrics.mmd import median_distance
from veridical.types import Array

METRICS = (
    "frechet",
    "kid",
    "mmd",
    "precision",
    "recall",
    "density",
    "manifold-coverage",
    "classifier-two-sample",
)
N, RESAMPLES, TRUTHS = 40, 400, 2000
SCENES = {"alike": (0.0, 1.0), "near": (0.25, 0.9), "apart": (0.7, 1.3)}
"""Shift of a quarter of the features, and standard deviation, of the candidate; the reference is
N(0, I).
"""
Draw = tuple[float, Array, Array, Array]
"""Value, bootstrap values, jackknife values, values over halves."""
QUANTILES = (0.025, 0.975)


def sets(rng: np.random.Generator, d: int, scene: str) -> tuple[Array, Array]:
    shift, spread = SCENES[scene]
    candidate = spread * rng.normal(size=(N, d))
    candidate[:, : d // 4] += shift
    return candidate, rng.normal(size=(N, d))


def percentile(draw: Draw) -> tuple[float, float]:
    return tuple(np.quantile(draw[1], QUANTILES))


def basic(draw: Draw) -> tuple[float, float]:
    low, high = np.quantile(draw[1], QUANTILES)
    return 2 * draw[0] - high, 2 * draw[0] - low


def bca(draw: Draw) -> tuple[float, float]:
    value, boot, left, _ = draw
    share = (np.count_nonzero(boot < value) + 0.5 * np.count_nonzero(boot == value)) / len(boot)
    bias = norm.ppf(np.clip(share, 0.5 / len(boot), 1 - 0.5 / len(boot)))
    away = left.mean() - left
    skew = (away**3).sum() / (6 * max((away**2).sum() ** 1.5, 1e-300))
    z = bias + norm.ppf(QUANTILES)
    return tuple(np.quantile(boot, norm.cdf(bias + z / (1 - skew * z))))


def jackknife_t(draw: Draw) -> tuple[float, float]:
    value, _, left, _ = draw
    error = np.sqrt((N - 1) / N * ((left - left.mean()) ** 2).sum())
    return value - t.ppf(0.975, N - 1) * error, value + t.ppf(0.975, N - 1) * error


def halves(draw: Draw) -> tuple[float, float]:
    low, high = np.quantile(draw[3], QUANTILES)
    return draw[0] - (high - draw[3].mean()), draw[0] + (draw[3].mean() - low)


def halves_direct(draw: Draw) -> tuple[float, float]:
    low, high = np.quantile(draw[3], QUANTILES)
    return draw[0] - (draw[3].mean() - low), draw[0] + (high - draw[3].mean())


def halves_t(draw: Draw) -> tuple[float, float]:
    reach = t.ppf(0.975, N - 1) * draw[3].std()
    return draw[0] - reach, draw[0] + reach


SCHEMES: dict[str, Callable[[Draw], tuple[float, float]]] = {
    "percentile": percentile,
    "basic": basic,
    "BCa": bca,
    "jackknife t": jackknife_t,
    "halves, reflected": halves,
    "halves, direct": halves_direct,
    "halves, t": halves_t,
}


def bootstrapped(
    metric: str, candidate: Array, reference: Array, rng: np.random.Generator
) -> Array:
    pool, sides = feature_sets.pooled(candidate, reference, None, None)
    value = feature_sets.prepared(metric, pool)
    if metric in ("kid", "mmd"):
        value = without_copies(metric, pool.features, reference)
    return np.array(
        [value(rng.choice(sides[0], N), rng.choice(sides[1], N)) for _ in range(RESAMPLES)]
    )


def without_copies(metric: str, features: Array, reference: Array) -> feature_sets.Value:
    products = features @ features.T
    if metric == "kid":
        kernel = (products / features.shape[1] + 1) ** 3
    else:
        squares = np.diag(products)
        kernel = np.exp(
            (products - squares / 2 - squares[:, None] / 2) / median_distance(reference) ** 2
        )

    def value(first: Array, second: Array) -> float:
        own = [np.average(kernel[np.ix_(r, r)], weights=r[:, None] != r) for r in (first, second)]
        return float(sum(own) - 2 * kernel[np.ix_(first, second)].mean())

    return value


def study(
    metric: str, d: int, scene: str, repeats: int
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return the expected value, and for each scheme how often it was inside and how wide the
    interval was on average.
    """
    function, rng = registry.get("metric", metric), np.random.default_rng(0)
    expected = float(np.mean([function(*sets(rng, d, scene)) for _ in range(TRUTHS)]))
    inside: dict[str, list[tuple[bool, float]]] = {name: [] for name in (*SCHEMES, "chosen")}
    for repeat in range(repeats):
        candidate, reference = sets(rng, d, scene)
        boot = bootstrapped(metric, candidate, reference, rng)
        left = feature_sets.jackknife(metric, candidate, reference)
        half = feature_sets.resampled(
            metric, candidate, reference, resamples=RESAMPLES, seed=repeat
        )
        own = feature_sets.interval(metric, candidate, reference, resamples=RESAMPLES, seed=repeat)
        inside["chosen"].append((own[0] <= expected <= own[1], own[1] - own[0]))
        draw = float(function(candidate, reference)), boot, left, half
        for name, scheme in SCHEMES.items():
            low, high = scheme(draw)
            inside[name].append((low <= expected <= high, high - low))
    return expected, {
        name: (float(found[:, 0].mean()), float(found[:, 1].mean()))
        for name, found in ((name, np.array(pairs, dtype=float)) for name, pairs in inside.items())
    }


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    dimensions = [int(sys.argv[2])] if len(sys.argv) > 2 else [16, 64]
    metrics = sys.argv[3:] or METRICS
    print(f"Coverage in % (mean width), {repeats} pairs of sets, {RESAMPLES} resamples\n")
    print("| metric | d | scene | expected | " + " | ".join(SCHEMES) + " | chosen |")
    print("|---|---|---|---|" + "---|" * (len(SCHEMES) + 1))
    for metric in metrics:
        for d in dimensions:
            for scene in SCENES:
                expected, found = study(metric, d, scene, repeats)
                cells = " | ".join(
                    f"{100 * covered:.0f} ({width:.3g})" for covered, width in found.values()
                )
                print(f"| {metric} | {d} | {scene} | {expected:.3g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
