"""Balls to the nearest neighbours: what precision, recall, density and coverage count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from veridical.errors import InputError, SettingError
from veridical.metrics.feature_sets import Pool, Value, checked
from veridical.types import Array

BLOCK = 1024
"""Rows whose distances are in memory at a time: 8 MB a thousand rows of the other set."""
ROUNDING = 1.2e-7
"""Of single precision; the error of a squared distance stays well below this times the root of d
and the squared norms.
"""
NEAREST = 5
Counted = Callable[[Array, Array], float]
"""From the number of balls that hold each point, and of points inside each ball, to a metric's
value.
"""


def counted(
    candidate_features: Array, reference_features: Array, nearest: int, swapped: bool = False
) -> tuple[Array, Array]:
    """Return how many balls hold each point, and how many points each ball holds.

    A ball reaches from its centre to the nearest-th other centre, which lies on its surface and so
    outside. Distances are computed in single precision; rows in which one is too near to a radius
    to tell are computed again in double, so that the counts are those of double precision.

    Args:
        candidate_features, reference_features: `(n, d)` and `(m, d)`: points and centres.
        nearest: above 0.
        swapped: the reference rows are the points, and the candidate rows the centres.

    Raises:
        GeometryError: not two matrices with one number of columns.
        InputError: NaN, infinity, complex values, or a set of no more than `nearest` rows.
        SettingError: `nearest` is below 1.
    """
    if nearest < 1:
        raise SettingError(
            f"{nearest} nearest neighbours were asked for; expected 1 or more (5 is usual)."
        )
    sets = checked(candidate_features, reference_features, fewest=nearest + 1)
    x, y = _unit(*reversed(sets)) if swapped else _unit(*sets)
    fast_x, fast_y = x.float(), y.float()
    squared = _squared_radii(fast_y, nearest).double()
    exact = torch.zeros(len(y), dtype=torch.bool)
    slack = 1e-6 + ROUNDING * x.shape[1] ** 0.5
    norms = _norms(fast_y)
    reach = (slack * (4 * norms + 2 * squared)).float()
    of_point, of_ball = np.zeros(len(x), dtype=np.int64), np.zeros(len(y), dtype=np.int64)
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        gap = squared_distances(fast_x[block], fast_y, norms).sub_(squared.float())
        inside = gap < 0
        doubt = gap.abs_() <= torch.addcmul(
            reach[None], _norms(fast_x[block])[:, None], torch.tensor(slack)
        )
        columns = doubt.any(0) & ~exact
        if columns.any():
            squared[columns] = _exact_radii(y, columns, nearest)
            exact |= columns
        rows = doubt.any(1)
        if rows.any():
            inside[rows] = torch.from_numpy(
                within(squared_distances(x[block][rows], y).numpy(), squared.numpy())
            )
        of_point[block] = np.count_nonzero(inside.numpy(), axis=1)
        of_ball += np.count_nonzero(inside.numpy(), axis=0)
    return of_point, of_ball


def chosen(pool: Pool, value_of: Counted, swapped: bool = False) -> Value:
    """Return rows -> value for the usual number of neighbours, from the distances of all pairs,
    computed once.

    Args:
        pool: all rows.
        value_of: the metric from its counts.
        swapped: points are the reference rows, and centres the candidate's.
    """
    x = torch.from_numpy(pool.features - pool.features.mean(0))
    table = (
        torch.cat([squared_distances(rows, x) for rows in torch.split(x, BLOCK)])
        .fill_diagonal_(0)
        .numpy()
    )

    def value(candidate: Array, reference: Array) -> float:
        points, centres = (reference, candidate) if swapped else (candidate, reference)
        if len(centres) <= NEAREST:
            raise InputError(
                f"{len(centres)} rows have no {NEAREST}th neighbour; expected more than {NEAREST}. "
                "Add images."
            )
        among = table[np.ix_(centres, centres)]
        radii = np.partition(among, NEAREST, axis=1)[:, NEAREST]
        inside = within(table[np.ix_(points, centres)], radii)
        return value_of(inside.sum(1), inside.sum(0))

    return value


def squared_distances(x: Tensor, y: Tensor, norms: Tensor | None = None) -> Tensor:
    """Return `|x - y|^2` of all pairs, `(n, m)`; rows should be centred, since digits are lost to
    their norm.

    Args:
        x, y: `(n, d)` and `(m, d)`.
        norms: `|y|^2`, `(m,)`, where they are known.
    """
    known = _norms(y) if norms is None else norms
    return torch.addmm(known[None], x, y.T, alpha=-2).add_(_norms(x)[:, None]).clamp_min_(0)


def within(distances: Array, radii: Array) -> Array:
    """Say which squared distances are below the squared radii; those equal but for rounding are
    not.
    """
    return np.asarray(distances < radii * (1 - 1e-9))


def _unit(points: Array, centres: Array) -> tuple[Tensor, Tensor]:
    """Return both sets about the mean of the centres, in a unit in which no number is above 1."""
    middle = centres.mean(0)
    sets = points - middle, centres - middle
    largest = max(float(np.abs((rows.min(), rows.max())).max()) for rows in sets) or 1.0
    for rows in sets:
        rows /= largest
    return torch.from_numpy(sets[0]), torch.from_numpy(sets[1])


def _squared_radii(centres: Tensor, nearest: int) -> Tensor:
    """Return the squared distance to the nearest-th other row; each pair of blocks is computed
    once.
    """
    blocks = torch.split(centres, BLOCK)
    best = [torch.full((len(b), nearest), torch.inf) for b in blocks]
    for i, a in enumerate(blocks):
        for j, b in enumerate(blocks[i:], i):
            found = squared_distances(a, b)
            if i == j:
                found.fill_diagonal_(torch.inf)
            else:
                best[j] = _smallest(torch.cat([best[j], _smallest(found.T, nearest)], 1), nearest)
            best[i] = _smallest(torch.cat([best[i], _smallest(found, nearest)], 1), nearest)
    return torch.cat([found.amax(1) for found in best])


def _norms(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norms.square()


def _smallest(rows: Tensor, count: int) -> Tensor:
    return rows.topk(min(count, rows.shape[1]), largest=False, sorted=False).values


def _exact_radii(centres: Tensor, which: Tensor, nearest: int) -> Tensor:
    """Return the squared radii of the balls around some centres in double precision."""
    found = [
        squared_distances(centres[index], centres)
        for index in torch.split(which.nonzero()[:, 0], BLOCK)
    ]
    # The smallest is the centre itself.
    return torch.cat([_smallest(rows, nearest + 1).amax(1) for rows in found])
