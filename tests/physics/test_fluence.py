"""Laws of fluence optimization: it falls, no fluence is negative, a dense solver agrees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import nnls

from veridical.errors import InputError
from veridical.physics.fluence import Goals, curvature, optimized
from veridical.physics.photon_beams import BeamSet
from veridical.types import Array

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def beams() -> BeamSet:
    return BeamSet(np.ones(SHAPE, np.float32), (5.0, 5.0, 5.0), (0, 120, 240))


@pytest.fixture(scope="module")
def goals() -> Goals:
    target = np.zeros(SHAPE, np.float32)
    target[3:6, 3:5, 1:] = 1
    limit = np.where(target > 0, 70, 15).astype(np.float32)
    return Goals(70 * target, target, limit, np.where(target > 0, 0, 0.2).astype(np.float32))


@pytest.fixture(scope="module")
def dense(beams: BeamSet) -> Array:
    """The matrix of the beams, one column a ray."""
    columns = []
    for ray in range(int(np.prod(beams.fluence_shape))):
        one = np.zeros(beams.fluence_shape, np.float32)
        one.flat[ray] = 1
        columns.append(beams.dose(one).ravel())
    return np.array(columns).T


def test_the_objective_falls_and_no_fluence_is_negative(beams: BeamSet, goals: Goals) -> None:
    found = [goals.objective(beams.dose(optimized(beams, goals, n))) for n in (1, 5, 20, 80, 320)]
    assert all(late < early for early, late in pairwise(found))
    assert optimized(beams, goals, 20).min() >= 0


def test_the_slope_is_the_derivative(goals: Goals) -> None:
    rng = np.random.default_rng(0)
    dose, way = 40 * rng.random(SHAPE), rng.standard_normal(SHAPE)
    step = 1e-3
    ahead, behind = goals.objective(dose + step * way), goals.objective(dose - step * way)
    assert float((goals.slope(dose) * way).sum()) == pytest.approx(
        (ahead - behind) / (2 * step), rel=1e-3
    )


def test_without_a_penalty_it_is_nonnegative_least_squares(
    beams: BeamSet, goals: Goals, dense: Array
) -> None:
    plain = Goals(goals.wanted, goals.weight + 0.05, goals.limit, 0 * goals.penalty)
    root = np.sqrt(plain.weight).ravel()
    _, residual = nnls(root[:, None] * dense, root * plain.wanted.ravel())
    found = plain.objective(beams.dose(optimized(beams, plain, 2000)))
    assert found == pytest.approx(0.5 * residual**2, rel=0.01)


def test_curvature_is_the_largest_eigenvalue(beams: BeamSet, goals: Goals, dense: Array) -> None:
    weight = (goals.weight + goals.penalty).ravel()
    largest = np.linalg.eigvalsh(dense.T @ (weight[:, None] * dense)).max()
    assert curvature(beams, goals) == pytest.approx(largest, rel=0.05)


def test_targets_that_no_beam_reaches_are_refused(beams: BeamSet, goals: Goals) -> None:
    nothing = Goals(goals.wanted, 0 * goals.weight, goals.limit, goals.penalty)
    with pytest.raises(InputError, match="No beam reaches a target"):
        optimized(beams, nothing)
