"""Metrics over sets against scipy, torchmetrics and prdc: time, ratio and agreement, on the same
features in the same run.

    python benchmarks/set_metric_speed.py [threads] [rows]

Each time is the best of three, of one where it takes more than five seconds. Both sides have the
same number of threads; prdc asks for eight workers, so with one thread the whole process is held to
one core.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
os.environ |= {
    "OMP_NUM_THREADS": str(THREADS),
    "OPENBLAS_NUM_THREADS": str(THREADS),
    "MKL_NUM_THREADS": str(THREADS),
}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from prdc import compute_prdc  # noqa: E402
from scipy import linalg  # noqa: E402
from torchmetrics.image.kid import KernelInceptionDistance  # noqa: E402

from veridical.metrics import feature_sets  # noqa: E402
from veridical.metrics.density import density  # noqa: E402
from veridical.metrics.frechet import frechet, frechet_gaussian  # noqa: E402
from veridical.metrics.kid import kid  # noqa: E402
from veridical.metrics.manifold_coverage import manifold_coverage  # noqa: E402
from veridical.metrics.precision import precision  # noqa: E402
from veridical.metrics.recall import recall  # noqa: E402
from veridical.types import Array  # noqa: E402

COLUMNS = 2048
SETS = (
    "frechet",
    "kid",
    "mmd",
    "precision",
    "recall",
    "density",
    "manifold-coverage",
    "classifier-two-sample",
)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
        if best > 5:
            break
    return best, result


def features(rows: int, columns: int, seed: int = 0) -> tuple[Array, Array]:
    """Return two sets that differ a little, half of their entries 0 as after a rectifier."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(0.02, 1, (rows, columns)), 0), np.maximum(
        rng.normal(0, 1, (rows, columns)), 0
    )


def moments(features: Array) -> tuple[Array, Array]:
    return features.mean(0), np.cov(features, rowvar=False)


def from_moments(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    """Return the distance with scipy's matrix square root."""
    root = linalg.sqrtm(first[1] @ second[1])
    shift = ((first[0] - second[0]) ** 2).sum()
    return float(shift + np.trace(first[1]) + np.trace(second[1]) - 2 * np.trace(root).real)


def by_subsets(candidate: Array, reference: Array) -> tuple[float, float]:
    """Return mean and standard deviation over 100 subsets of 1000 rows, torchmetrics' defaults."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = KernelInceptionDistance(
            feature=torch.nn.Flatten(), subset_size=min(1000, len(reference))
        )
    metric.update(torch.from_numpy(reference).float(), real=True)
    metric.update(torch.from_numpy(candidate).float(), real=False)
    mean, deviation = metric.compute()
    return float(mean), float(deviation)


def by_prdc(candidate: Array, reference: Array) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, float] = compute_prdc(reference, candidate, 5)
    return found


def row(name: str, ours: tuple[float, float], theirs: float, other: str, agreement: str) -> None:
    print(
        f"| {name} | {ours[0]:.3g} | {other} | {theirs:.3g} | {theirs / ours[0]:.1f} | {agreement} "
        "|",
        flush=True,
    )


def main() -> None:
    print(f"{THREADS} thread(s), numpy {np.__version__}, torch {torch.__version__.split('+')[0]}\n")
    print(
        "| metric, n x d | ours, s | other | other, s | ratio | agreement "
        "|\n|---|---|---|---|---|---|"
    )
    for rows in (200, ROWS):
        candidate, reference = features(rows, COLUMNS)
        ours = timed(lambda c=candidate, r=reference: frechet(c, r))
        theirs = timed(lambda c=candidate, r=reference: from_moments(moments(c), moments(r)))
        row(
            f"Frechet, {rows} x {COLUMNS}",
            ours,
            theirs[0],
            "scipy sqrtm",
            f"relative {abs(theirs[1] / ours[1] - 1):.0e}",
        )
    known = moments(candidate), moments(reference)
    ours = timed(lambda: frechet_gaussian(*known[0], *known[1]))
    theirs = timed(lambda: from_moments(*known))
    row(
        "Frechet, covariances known",
        ours,
        theirs[0],
        "scipy sqrtm",
        f"relative {abs(theirs[1] / ours[1] - 1):.0e}",
    )
    ours = timed(lambda: kid(candidate, reference))
    slow, (mean, deviation) = timed(lambda: by_subsets(candidate, reference))
    agreement = f"{ours[1]:.4e} against {mean:.4e} +- {deviation / 10:.0e}"
    row(f"KID, {ROWS} x {COLUMNS}", ours, slow, "torchmetrics, 100 subsets", agreement)
    slow, values = timed(lambda: by_prdc(candidate, reference))
    total = 0.0
    for metric, key in (
        (precision, "precision"),
        (recall, "recall"),
        (density, "density"),
        (manifold_coverage, "coverage"),
    ):
        ours = timed(lambda m=metric: m(candidate, reference))
        total += ours[0]
        row(
            f"{metric.__name__}, {ROWS} x {COLUMNS}",
            ours,
            slow,
            "prdc (all four)",
            f"difference {abs(ours[1] - values[key]):.0e}",
        )
    row(
        f"all four, one after another, {ROWS} x {COLUMNS}",
        (total, 0.0),
        slow,
        "prdc (all four)",
        "",
    )
    candidate, reference = features(200, 1280)
    print("\n200 x 1280 features of 200 patients a set, seconds\n")
    print("| metric | 2000 halves | 1000 permutations |\n|---|---|---|")
    for name in SETS:
        half, _ = timed(lambda n=name: feature_sets.resampled(n, candidate, reference))
        permuted, _ = timed(lambda n=name: feature_sets.permutation_p(n, candidate, reference))
        print(f"| {name} | {half:.2f} | {permuted:.2f} |", flush=True)


if __name__ == "__main__":
    main()
