from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from veridical.audit.evidence import evidence, local_variance, split
from veridical.errors import InputError
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.selection import Selection

SHAPE = (1, 40, 40, 1)


def draws(count: int, sd: float, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return sd * np.random.default_rng(seed).standard_normal((count, *shape))


def test_evidence_is_what_the_data_took_off_the_prior_variance() -> None:
    for sd in (0.2, 0.5, 0.9):
        found = evidence(draws(400, sd), 1.0, width=2.0)
        assert found.mean() == pytest.approx(1 - sd**2, abs=0.01)


def test_draws_that_agree_are_measured_and_draws_like_the_prior_are_imagined() -> None:
    assert (evidence(np.ones((4, *SHAPE)), 1.0) == 1).all()
    wide = evidence(draws(300, 1.5), 1.0)
    assert (wide == 0).all()


def test_more_agreement_never_means_less_evidence() -> None:
    base = draws(8, 1.0)
    maps = [evidence(sd * base, 1.0) for sd in (0.1, 0.3, 0.6, 1.0)]
    assert all((a >= b).all() for a, b in pairwise(maps))


def test_smoothing_mends_the_noise_of_a_variance_of_eight_draws() -> None:
    rough, smooth = (evidence(draws(8, 0.6), 1.0, width=w)[0, 5:-5, 5:-5] for w in (0.0, 2.0))
    assert rough.std() > 4 * smooth.std()
    assert smooth.mean() == pytest.approx(1 - 0.36, abs=0.02)


def test_width_is_in_the_units_of_the_spacing() -> None:
    sample = draws(8, 0.6)
    assert np.array_equal(
        evidence(sample, 1.0, 4.0, (2.0, 2.0, 5.0)), evidence(sample, 1.0, 2.0, (1.0, 1.0, 2.5))
    )


def test_a_prior_variance_from_few_draws_is_corrected_for_its_own_scatter() -> None:
    """The mean of 1 / s^2 over samples of nu degrees of freedom is nu / (nu - 2) too large."""
    prior = draws(8, 1.0, seed=1, shape=(1, 200, 200, 1)).var(0, ddof=1)
    posterior = draws(100, 0.3, seed=2, shape=(1, 200, 200, 1))
    assert 1 - evidence(posterior, prior, 0.0, prior_draws=8).mean() == pytest.approx(
        0.09, rel=0.03
    )
    assert 1 - evidence(posterior, prior, 0.0).mean() == pytest.approx(0.09 * 7 / 5, rel=0.03)


def test_complex_draws_count_both_parts() -> None:
    sample = draws(300, 0.5) + 1j * draws(300, 0.5, seed=1)
    assert evidence(sample, 2.0, 2.0).mean() == pytest.approx(0.75, abs=0.01)
    assert local_variance(sample).mean() == pytest.approx(0.5, abs=0.01)


def test_one_draw_or_a_prior_without_spread_says_nothing() -> None:
    with pytest.raises(InputError, match="at least 2"):
        evidence(draws(1, 1.0), 1.0)
    with pytest.raises(InputError, match="above 0"):
        evidence(draws(4, 1.0), 0.0)
    with pytest.raises(InputError, match="at least 4"):
        evidence(draws(4, 1.0), 1.0, prior_draws=3)


@pytest.mark.parametrize(
    "operator", [CartesianMRI.example(0), Selection.example(0)], ids=["mri", "selection"]
)
def test_the_split_adds_up_and_its_parts_are_seen_and_unseen(operator) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(
        2, *operator.domain, dtype=operator.dtype, generator=torch.Generator().manual_seed(0)
    )
    measured, unmeasured = split(operator, x, iterations=300)
    assert torch.allclose(measured + unmeasured, x, atol=1e-5)
    assert operator.forward(unmeasured).norm() < 1e-3 * operator.forward(x).norm()
    again, _ = split(operator, measured, iterations=300)
    assert (again - measured).norm() < 2e-3 * measured.norm()
