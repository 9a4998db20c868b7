"""Frechet distance between Gaussians fitted to two sets of features: Dowson and Landau 1982; as
FID, Heusel et al. 2017.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Pool, Value, checked
from veridical.types import Array

ABOUT = Facts(
    "Frechet distance",
    "squared feature units",
    "lower",
    "feature",
    target=(
        "real against real of the same number of patients, never 0: few samples raise it by about "
        "d^2/(2n) + 2d/n"
    ),
    cites="Heusel M, Ramsauer H, Unterthiner T, Nessler B, Hochreiter S. GANs trained by a two "
    "time-scale update rule converge "
    "to a local Nash equilibrium. NeurIPS 2017.",
)
SPREAD = "jackknife"
DIRECT = 4
"""Resampling works on features where rows are more than this many times the columns, else on
products of all pairs.
"""


def frechet(candidate_features: Array, reference_features: Array) -> float:
    """Return `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` of the sample means and covariances.

    Exact for any number of rows. With fewer rows than columns, `tr (S1 S2)^(1/2)` is the sum of the
    singular values of `A B^T`, with A and B the centred rows over `sqrt(n - 1)`; no covariance is
    formed.

    Args:
        candidate_features, reference_features: `(n, d)` and `(m, d)`, two rows at least.

    Returns:
        0 for sets with the same moments. Biased upwards with few rows: compare at equal size only.

    Raises:
        GeometryError: not two matrices with one number of columns.
        InputError: NaN, infinity, complex values or fewer than two rows.
    """
    return _distance(*checked(candidate_features, reference_features))


def frechet_gaussian(
    candidate_mean: Array,
    candidate_covariance: Array,
    reference_mean: Array,
    reference_covariance: Array,
) -> float:
    """Return the distance between two Gaussians, from means `(d,)` and covariances `(d, d)`; for
    N(0, I8), N(1, 4 I8): 16.

    Raises:
        GeometryError: shapes do not fit.
        InputError: NaN, infinity, or a covariance that is not symmetric.
    """
    means = [np.asarray(m, dtype=np.float64) for m in (candidate_mean, reference_mean)]
    covariances = [
        np.asarray(c, dtype=np.float64) for c in (candidate_covariance, reference_covariance)
    ]
    d = means[0].size
    if any(m.shape != (d,) for m in means) or any(c.shape != (d, d) for c in covariances):
        shapes = ", ".join(str(a.shape) for a in (*means, *covariances))
        raise GeometryError(
            f"Means and covariances of shapes {shapes} were given; expected (d,), (d,), (d, d), "
            "(d, d)."
        )
    for c in covariances:
        if not np.isfinite(c).all() or not np.allclose(
            c, c.T, rtol=1e-6, atol=1e-9 * float(np.abs(c).max())
        ):
            raise InputError(
                "A covariance is not finite or not symmetric. Take numpy.cov(features, "
                "rowvar=False)."
            )
    overlap = _overlap(*covariances)
    shift = float(((means[0] - means[1]) ** 2).sum())
    return max(
        0.0, shift + float(np.trace(covariances[0]) + np.trace(covariances[1])) - 2 * overlap
    )


def prepared(pool: Pool) -> Value:
    """Return rows -> value, from the products of all pairs of rows where these are few beside the
    columns.
    """
    if len(pool.features) > DIRECT * pool.features.shape[1]:
        return lambda candidate, reference: _distance(
            pool.features[candidate], pool.features[reference]
        )
    centred = pool.features - pool.features.mean(0)
    products = centred @ centred.T

    def value(candidate: Array, reference: Array) -> float:
        own, other, cross = (
            products[np.ix_(a, b)]
            for a, b in ((candidate,) * 2, (reference,) * 2, (candidate, reference))
        )
        n, m = cross.shape
        spread = (np.trace(own) - n * own.mean()) / (n - 1) + (
            np.trace(other) - m * other.mean()
        ) / (m - 1)
        shift = own.mean() + other.mean() - 2 * cross.mean()
        cross = cross - cross.mean(0) - cross.mean(1, keepdims=True) + cross.mean()
        overlap = np.linalg.svd(cross, compute_uv=False).sum() / np.sqrt((n - 1) * (m - 1))
        return max(0.0, float(shift + spread - 2 * overlap))

    return value


def _distance(candidate: Array, reference: Array) -> float:
    means = candidate.mean(0), reference.mean(0)
    shift = float(((means[0] - means[1]) ** 2).sum())
    a, b = candidate - means[0], reference - means[1]
    n, m = len(a) - 1, len(b) - 1
    if min(len(a), len(b)) < a.shape[1]:
        spread = float(np.vdot(a, a) / n + np.vdot(b, b) / m)
        overlap = float(np.linalg.svd(a @ b.T, compute_uv=False).sum() / np.sqrt(n * m))
    else:
        covariances = a.T @ a / n, b.T @ b / m
        spread = float(np.trace(covariances[0]) + np.trace(covariances[1]))
        overlap = _overlap(*covariances)
    return max(0.0, shift + spread - 2 * overlap)


def _overlap(first: Array, second: Array) -> float:
    """Return `tr (S1 S2)^(1/2)` as the sum of the roots of the eigenvalues of `L^T S1 L`, with `S2
    = L L^T`.
    """
    factor, failed = linalg.lapack.dpotrf(second, lower=1)
    size = np.diagonal(factor)
    if failed or size.min() < 1e-7 * size.max():
        values, vectors = np.linalg.eigh(second)
        kept = values > 1e-12 * values.max()
        factor = vectors[:, kept] * np.sqrt(values[kept])
        product = factor.T @ first @ factor
    else:
        # The lower triangle of L^T S1 L, which is all that the next line reads.
        product, _ = linalg.lapack.dsygst(first, factor, itype=2, lower=1)
    return float(np.sqrt(np.linalg.eigvalsh(product).clip(0)).sum())
