"""What reconstruction and enhancement share: the detail that evidence is about, the parts, and
slices put together.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.audit.residual import Misfit
from veridical.models.cg_sense import CgSense
from veridical.models.denoiser import Denoiser
from veridical.models.problem import Problem
from veridical.physics import masks
from veridical.physics.fourier import fft
from veridical.physics.identity import Identity
from veridical.tasks import measured as module
from veridical.tasks.measured import Solved, solve, stacked

JOB = "reconstruct-mri"


@cache
def solved() -> Solved:
    """One slice by a classical model."""
    return solve(CgSense(), toys.problem(), 1, 0, JOB)


@cache
def drawn(raw: bool = False) -> Solved:
    """One slice by a sampler."""
    return solve(model(), toys.problem(), 4, 7, JOB, raw=raw)


def model(calibrated: bool = False) -> Denoiser:
    return Denoiser(
        str(toys.calibrated() if calibrated else toys.weights("denoiser")), "cpu", "torch"
    )


@pytest.mark.parametrize("size", [(48, 40), (47, 41)])
def test_detail_is_what_lies_beyond_the_fully_sampled_centre(size: tuple[int, int]) -> None:
    image, mask = toys.picture(size), masks.poisson_disc(size, 3, acs=12, seed=0)
    centre = masks.fully_sampled_centre(mask)
    kspace, left = fft(image), fft(module.detail(image, mask))
    assert float(left[centre].abs().max()) < 1e-5
    kspace[centre] = 0
    torch.testing.assert_close(left, kspace, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(48, 40), (47, 41)])
@pytest.mark.parametrize("mask", [True, False])
def test_where_all_was_sampled_detail_lies_beyond_a_quarter_of_each_axis(
    size: tuple[int, int], mask: bool
) -> None:
    left = fft(module.detail(toys.picture(size), np.ones(size, bool) if mask else None))
    gone = left.abs() < 1e-6
    assert float(gone.float().mean()) == pytest.approx(module.DETAIL**2, abs=0.01)
    assert gone[size[0] // 2, size[1] // 2]


def test_a_solved_slice_is_in_the_units_of_the_data() -> None:
    truth = toys.magnitude()
    assert np.linalg.norm(solved().estimate[0] - truth) < 0.1 * np.linalg.norm(truth)
    assert (
        solved().estimate.shape
        == solved().measured.shape
        == solved().unmeasured.shape
        == (1, *toys.SIZE)
    )
    assert solved().draws is solved().spread is solved().evidence is solved().sampling is None


@pytest.mark.parametrize("raw", [True, False])
def test_measured_and_unmeasured_sum_to_the_estimate_exactly(raw: bool) -> None:
    """As numbers in float32, so that whoever reads the files can check it."""
    for found in (drawn(raw), solved()):
        assert found.estimate.dtype == found.measured.dtype == found.unmeasured.dtype == np.float32
        np.testing.assert_array_equal(found.measured + found.unmeasured, found.estimate)


def test_the_estimate_is_that_of_the_complex_mean_and_the_spread_that_of_the_draws() -> None:
    problem, found = toys.problem(), drawn()
    images = model().solve(problem, 4, 7)
    np.testing.assert_allclose(
        found.estimate, problem.image(images.mean(0)).numpy(), rtol=1e-5, atol=1e-6
    )
    assert found.draws is not None
    assert found.spread is not None
    np.testing.assert_allclose(
        (found.spread**2).mean(), found.draws.var(0, ddof=1).mean(), rtol=0.1
    )
    assert found.evidence is not None
    assert 0 <= found.evidence.min() <= found.evidence.max() <= 1


def test_a_scan_is_calibrated_by_its_own_samples_and_an_image_is_not() -> None:
    scan, image = drawn(raw=True), drawn()
    assert scan.sampling is not None
    assert image.sampling is None
    assert scan.draws is not None
    assert image.draws is not None
    np.testing.assert_array_equal(scan.estimate, image.estimate)
    assert not np.allclose(scan.draws, image.draws)
    assert solve(CgSense(), toys.problem(), 8, 0, JOB, raw=True).sampling is None, (
        "a classical model has no draws"
    )


@pytest.mark.parametrize("volume", [False, True])
def test_an_image_measured_as_it_is_keeps_its_grid_and_its_estimate_is_the_posterior_mean(
    volume: bool,
) -> None:
    shape = (3, 16, 12) if volume else (16, 12)
    noisy = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    problem = Problem(Identity(shape), noisy, 0.05, noisy, scale=3.0, stacked=volume)
    found = solve(model(), problem, 4, 0, "enhance-denoise")
    size = shape if volume else (1, *shape)
    assert found.estimate.shape == found.measured.shape == size
    assert found.draws is not None
    assert found.draws.shape == (4, *size)
    assert found.evidence is not None
    assert found.evidence.shape == size
    kinds = [stacked([one], "x", "T1w", "a.u.").kind for one in (found, drawn(), solved())]
    assert kinds == ["posterior mean", "plug-and-play estimate", "point estimate"]


def test_evidence_falls_as_the_calibration_says_that_draws_spread_too_little() -> None:
    """The calibration of the toys is 1.2 times as wide as the draws."""
    plain, wider = drawn(), solve(model(calibrated=True), toys.problem(), 4, 7, JOB)
    assert plain.evidence is not None
    assert wider.evidence is not None
    assert wider.evidence.mean() < plain.evidence.mean()
    np.testing.assert_array_equal(wider.estimate, plain.estimate)
    other = solve(model(calibrated=True), toys.problem(), 4, 7, "enhance-nothing")
    np.testing.assert_array_equal(other.evidence, plain.evidence)


def test_slices_are_stacked_in_their_order_in_the_units_of_the_image() -> None:
    one = drawn()
    second = replace(
        one, measured=2 * one.measured, unmeasured=2 * one.unmeasured, scale=3 * one.scale
    )
    found = stacked([one, second], JOB, "T2w", "HU", offset=-1000.0)
    assert (found.channels, found.units, found.jobs) == (("T2w",), ("HU",), (JOB,))
    assert found.scales == (pytest.approx(2 * one.scale),)
    np.testing.assert_allclose(
        found.estimate[0], np.concatenate([one.estimate, second.estimate]) - 1000, rtol=1e-6
    )
    assert found.measured is not None
    assert found.unmeasured is not None
    np.testing.assert_array_equal(found.measured + found.unmeasured, found.estimate)
    assert found.draws is not None
    assert found.draws.shape == (4, 1, 2, *toys.SIZE)
    assert found.spread is not None
    assert found.spread.shape == found.estimate.shape, "and a spread is not shifted"
    assert one.spread is not None
    np.testing.assert_allclose(found.spread[0, 0], one.spread[0], rtol=1e-6)
    assert len(found.facts["misfit"]) == 2
    assert isinstance(found.facts["misfit"][0], Misfit)
    assert found.unbelievable == ""


def test_where_the_sampling_fails_the_spread_is_not_believed() -> None:
    scan = drawn(raw=True)
    assert scan.sampling is not None
    assert scan.sampling.verdict != "fail"
    assert stacked([scan], JOB, "T2w", "a.u.").unbelievable == ""
    broken = type("Sampling", (), {"verdict": "fail"})()
    found = stacked([scan, replace(scan, sampling=broken)], JOB, "T2w", "a.u.")
    assert found.unbelievable == module.TOO_LITTLE
