"""Laws of self-calibration: what is withheld, what that says of the unsampled rest, and what is
rescaled by it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from veridical.audit import self_calibration as audit
from veridical.audit.self_calibration import ExpectedError, expected_error, recoloured, withhold
from veridical.models.problem import Problem, prepare
from veridical.physics import masks
from veridical.physics.fourier import fft

SIZE = (96, 80)
PATTERNS = {
    "uniform": masks.uniform(SIZE, 3, acs=16),
    "variable": masks.variable_density(SIZE, 3, 16, 1),
    "variable rows": masks.variable_density(SIZE[::-1], 3, 16, 1).T,
    "poisson": masks.poisson_disc(SIZE, 3, acs=16, seed=0),
    "one-sided": masks.uniform(SIZE, 1, acs=16) & masks.partial_fourier(SIZE, 0.6),
}


@cache
def scan(name: str = "variable") -> Problem:
    mask = torch.from_numpy(PATTERNS[name].astype(np.float32))
    return prepare(toys.kspace(SIZE) * mask, mask, toys.sensitivities(SIZE)[None], toys.SIGMA)


def truth(of: Problem) -> Tensor:
    """The true image in a problem's units."""
    return toys.picture(SIZE)[None] / of.scale


def oracle(share: float, whole: Problem) -> audit.Estimate:
    """An estimate that lacks a share of all detail, of a problem made of the data of another in its
    units.
    """

    def estimate(of: Problem) -> Tensor:
        return (1 - share) * truth(whole) / of.scale

    return estimate


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_centre_is_never_withheld_and_what_is_was_sampled(name: str, seed: int) -> None:
    mask = PATTERNS[name]
    kept, hidden = withhold(mask, seed)
    centre = masks.fully_sampled_centre(mask)
    assert hidden.any()
    assert not hidden[centre].any()
    assert kept[centre].all()
    assert not (hidden & ~mask).any()
    assert not (kept & hidden).any()
    assert not (kept & ~mask).any()


@pytest.mark.parametrize(("name", "axis"), [("uniform", 0), ("variable", 0), ("variable rows", 1)])
def test_whole_lines_are_withheld_where_whole_lines_were_sampled(name: str, axis: int) -> None:
    mask = PATTERNS[name]
    kept, _ = withhold(mask, 0)
    assert (kept == kept.any(axis, keepdims=True)).all()
    outer = mask.copy()
    outer[masks.fully_sampled_centre(mask)] = False
    lines = outer.any(axis).sum()
    assert (mask.any(axis) & ~kept.any(axis)).sum() == round(audit.WITHHELD * lines)


def test_about_a_quarter_of_single_samples_is_withheld() -> None:
    mask = PATTERNS["poisson"]
    _, hidden = withhold(mask, 0)
    outer = mask.copy()
    outer[masks.fully_sampled_centre(mask)] = False
    assert hidden.sum() / outer.sum() == pytest.approx(audit.WITHHELD, abs=0.05)


def test_other_seeds_withhold_other_samples_and_the_same_seed_the_same() -> None:
    mask = PATTERNS["poisson"]
    first, again, other = (withhold(mask, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["uniform", "variable", "poisson"])
def test_the_reach_grows_and_the_expected_error_falls_as_prediction_gets_better(name: str) -> None:
    found = [expected_error(scan(name), oracle(share, scan(name)), 0) for share in (0.9, 0.5, 0.0)]
    reaches, sizes = [one.reach for one in found], [one.size for one in found]
    assert reaches[0] <= reaches[1] < reaches[2]
    assert sizes[0] >= sizes[1] > sizes[2]
    assert all(one.withheld > audit.LEAST_WITHHELD for one in found)
    ratios = [one.ratio for one in found]
    assert ratios[0] > ratios[1] > ratios[2] >= 0  # type: ignore[operator]


@pytest.mark.parametrize("name", PATTERNS)
def test_no_error_is_expected_where_something_was_sampled_and_some_everywhere_else(
    name: str,
) -> None:
    found = expected_error(scan(name), oracle(0.5, scan(name)), 0)
    assert not found.power[PATTERNS[name]].any()
    assert (found.power[~PATTERNS[name]] > 0).all()


def test_the_expected_error_is_within_a_factor_of_the_true_one() -> None:
    """An estimate that is zero outside of the samples lacks all of the power there: so much is
    expected.
    """
    of = scan("variable")
    mask = torch.from_numpy(PATTERNS["variable"])

    def filled(given: Problem) -> Tensor:
        return given.operator.adjoint(given.data)

    found = expected_error(of, filled, 0)
    lacking = fft(of.operator.coil_images(truth(of)))[:, ~mask]  # type: ignore[attr-defined]
    actual = float(lacking.abs().square().sum() / mask.numel()) ** 0.5
    assert 0.4 < found.size * found.bright / actual < 2.5


def test_the_expected_error_is_a_share_of_the_brightest_whatever_the_units() -> None:
    one = ExpectedError(np.full(SIZE, 0.01), 3.0, 500, 1.1, 2.0)
    assert one.size == pytest.approx(0.05)
    assert expected_error(scan(), oracle(0.5, scan()), 0).bright == pytest.approx(
        float(truth(scan()).abs().quantile(0.99)), rel=0.1
    )


def test_where_too_little_can_be_withheld_other_scans_speak() -> None:
    mask = np.zeros(SIZE, bool)
    mask[38:58, 30:50] = True
    mask[:4, :20] = True
    sampled = torch.from_numpy(mask.astype(np.float32))
    of = prepare(toys.kspace(SIZE) * sampled, sampled, toys.sensitivities(SIZE)[None], toys.SIGMA)

    def never(given: Problem) -> Tensor:
        raise AssertionError("nothing is to be solved again")

    found = expected_error(of, never, 0)
    assert (found.reach, found.withheld, found.ratio) == (audit.REACH, 0, None)
    assert "other scans" in found.finding("sampling").reason


@pytest.mark.parametrize("reach", [1.5, 3.0, 8.0])
def test_the_reach_is_found_from_the_error_that_it_makes(reach: float) -> None:
    rng = np.random.default_rng(0)
    power, distance = rng.uniform(0.1, 1, 500), rng.uniform(0.5, 6, 500)
    error = float((power * audit.lost(distance, reach)).sum())
    assert audit.matching_reach(power, distance, error) == pytest.approx(reach, rel=1e-3)


def test_more_is_lost_further_from_the_samples_and_less_where_the_opposite_was_sampled() -> None:
    distance = np.linspace(0, 20, 50)
    for reach in (1.0, 5.0):
        lost = audit.lost(distance, reach)
        assert lost[0] == 0
        assert (np.diff(lost) >= 0).all()
        assert lost.max() <= audit.LIMIT
    mask = PATTERNS["one-sided"]
    far = audit.distances(mask) > 12
    opposite = audit.lost_of(mask, 2.0)[far]
    assert opposite.min() == pytest.approx(audit.MIRRORED, abs=0.05), (
        "the opposite half was sampled"
    )


def test_few_lines_are_drawn_towards_other_scans_and_saturated_ones_do_not_lengthen_the_reach() -> (
    None
):
    few, many = audit.blended(8.0, 2, False), audit.blended(8.0, 60, False)
    assert audit.REACH < few < many < 8.0
    assert audit.blended(8.0, 60, True) == audit.REACH
    assert audit.blended(1.0, 60, True) == 1.0


def test_power_falls_outwards_and_rings_without_samples_continue_the_fall() -> None:
    of = scan("variable")
    mask = PATTERNS["variable"]
    ring = audit.rings(mask)
    power = audit.ring_power(of, mask, ring)
    assert power.shape == (audit.RINGS,)
    assert (power > 0).all()
    inner = np.hypot(*np.ogrid[-48:48, -40:40]) < 20
    cut = mask & inner
    sampled = torch.from_numpy(cut.astype(np.float32))
    fewer = prepare(
        toys.kspace(SIZE) * sampled, sampled, toys.sensitivities(SIZE)[None], toys.SIGMA
    )
    beyond = audit.ring_power(fewer, cut, ring)[7:]
    assert (np.diff(beyond) <= 0).all()


def samples(of: Problem, count: int = 64, size: float = 0.05) -> Tensor:
    """White deviations about the truth."""
    noise = torch.randn(count, *of.start.shape, 2, generator=torch.Generator().manual_seed(0))
    return truth(of) + size * torch.view_as_complex(noise)


def test_rescaled_samples_have_the_expected_energy_outside_of_the_mask_and_the_same_inside() -> (
    None
):
    of = scan("variable")
    expected = expected_error(of, oracle(0.5, of), 0)
    before = samples(of)
    after = recoloured(before, expected, of.operator.mask)  # type: ignore[attr-defined]
    torch.testing.assert_close(after.mean(0), before.mean(0), atol=1e-5, rtol=0)
    sampled = torch.from_numpy(PATTERNS["variable"])
    variances = [
        fft(x - x.mean(0)).abs().square().sum((0, 1)) / (len(x) - 1) for x in (before, after)
    ]
    torch.testing.assert_close(variances[1][sampled], variances[0][sampled], rtol=1e-3, atol=1e-6)
    found, wanted = float(variances[1][~sampled].sum()), float(expected.power.sum())
    limits = [gain**2 * float(variances[0][~sampled].sum()) for gain in audit.GAINS]
    assert found == pytest.approx(float(np.clip(wanted, *limits)), rel=0.5)


def test_gains_stay_within_their_range() -> None:
    of = scan("variable")
    sampled = torch.from_numpy(PATTERNS["variable"])
    for power, gain in ((1e6, audit.GAINS[1]), (1e-12, audit.GAINS[0])):
        expected = ExpectedError(np.where(PATTERNS["variable"], 0.0, power), 3.0, 0, None)
        before = samples(of)
        after = recoloured(before, expected, of.operator.mask)  # type: ignore[attr-defined]
        ratio = (
            fft(after - after.mean(0))[..., ~sampled].abs()
            / fft(before - before.mean(0))[..., ~sampled].abs()
        )
        torch.testing.assert_close(ratio, torch.full_like(ratio, gain), rtol=1e-2, atol=0)


@pytest.mark.parametrize(("size", "verdict"), [(0.01, "pass"), (0.03, "warn"), (0.06, "fail")])
def test_the_finding_warns_and_fails_by_the_expected_error(size: float, verdict: str) -> None:
    expected = ExpectedError(np.full(SIZE, size**2), 3.0, 500, 1.1)
    assert expected.size == pytest.approx(size)
    found = expected.finding("sampling")
    assert (found.check, found.verdict) == ("sampling", verdict)
    assert f"{size:.1%}" in found.reason
    assert "500 samples" in found.reason
