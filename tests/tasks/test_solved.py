"""What reconstruction and enhancement share: the detail that evidence is about, and slices put together."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.models.cg_sense import CgSense
from veridical.models.denoiser import Denoiser
from veridical.models.problem import Problem
from veridical.physics import masks
from veridical.physics.fourier import fft
from veridical.physics.identity import Identity
from veridical.tasks import solved as module
from veridical.tasks.solved import Solved
from veridical.types import Finding, Geometry


@cache
def solved() -> Solved:
    """One slice by a classical model."""
    return module.solve(CgSense(), toys.problem(), 1, 0)


def findings(*slices: Solved) -> tuple[Finding, ...]:
    """The findings of a result of several slices."""
    grid = Geometry.index((toys.SIZE[1], toys.SIZE[0], len(slices)))
    return module.assemble(slices, CgSense(), {}, grid, "reconstruct-mri", "T1w", "a.u.").findings


@pytest.mark.parametrize("size", [(48, 40), (47, 41)])
def test_detail_is_what_lies_beyond_the_fully_sampled_centre(size: tuple[int, int]) -> None:
    image, mask = toys.picture(size), masks.poisson_disc(size, 3, acs=12, seed=0)
    centre = masks.fully_sampled_centre(mask)
    kspace, left = fft(image), fft(module.detail(image, mask))
    assert float(left[centre].abs().max()) < 1e-5
    kspace[centre] = 0
    torch.testing.assert_close(left, kspace, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(48, 40), (47, 41)])
def test_where_all_was_sampled_detail_lies_beyond_a_quarter_of_each_axis(size: tuple[int, int]) -> None:
    left = fft(module.detail(toys.picture(size), np.ones(size, bool)))
    gone = left.abs() < 1e-6
    assert float(gone.float().mean()) == pytest.approx(module.DETAIL**2, abs=0.01)
    assert gone[size[0] // 2, size[1] // 2]


def test_a_solved_slice_is_in_the_units_of_the_data() -> None:
    truth = toys.magnitude()
    assert np.linalg.norm(solved().estimate[0] - truth) < 0.1 * np.linalg.norm(truth)
    assert solved().estimate.shape == solved().measured.shape == solved().unmeasured.shape == (1, *toys.SIZE)
    assert solved().draws is solved().spread is solved().evidence is None


def model() -> Denoiser:
    return Denoiser(str(toys.weights("denoiser")), "cpu")


@pytest.mark.parametrize("raw", [True, False])
def test_measured_and_unmeasured_sum_to_the_estimate_exactly(raw: bool) -> None:
    """As numbers in float32, so that whoever reads the files can check it."""
    for found in (module.solve(model(), toys.problem(), 4, 7, raw=raw), solved()):
        assert found.estimate.dtype == found.measured.dtype == found.unmeasured.dtype == np.float32
        np.testing.assert_array_equal(found.measured + found.unmeasured, found.estimate)


def test_the_estimate_of_a_sampler_is_that_of_its_complex_mean_and_the_spread_is_that_of_its_draws() -> None:
    problem = toys.problem()
    found, images = module.solve(model(), problem, 4, 7), model().solve(problem, 4, 7)
    np.testing.assert_allclose(found.estimate, problem.image(images.mean(0)).numpy(), rtol=1e-5, atol=1e-6)
    assert found.draws is not None
    assert found.spread is not None
    np.testing.assert_allclose((found.spread**2).mean(), found.draws.var(0, ddof=1).mean(), rtol=0.1)
    assert found.evidence is not None
    assert 0 <= found.evidence.min() <= found.evidence.max() <= 1


def test_a_scan_is_calibrated_by_its_own_samples_and_an_image_is_not() -> None:
    scan, image = (module.solve(model(), toys.problem(), 4, 7, raw=raw) for raw in (True, False))
    assert [finding.check for finding in scan.findings] == ["consistency", "sampling"]
    assert [finding.check for finding in image.findings] == ["consistency"]
    assert scan.draws is not None
    assert image.draws is not None
    np.testing.assert_array_equal(scan.estimate, image.estimate)
    assert not np.allclose(scan.draws, image.draws)


def test_a_model_without_randomness_is_not_calibrated() -> None:
    found = module.solve(CgSense(), toys.problem(), 8, 0, raw=True)
    assert [finding.check for finding in found.findings] == ["consistency"]
    assert found.believable


@pytest.mark.parametrize("stacked", [False, True])
def test_an_image_measured_as_it_is_keeps_its_grid(stacked: bool) -> None:
    shape = (3, 16, 12) if stacked else (16, 12)
    noisy = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    problem = Problem(Identity(shape), noisy, 0.05, noisy, scale=3.0, stacked=stacked)
    found = module.solve(model(), problem, 4, 0)
    size = shape if stacked else (1, *shape)
    assert found.estimate.shape == found.measured.shape == size
    assert found.draws is not None
    assert found.draws.shape == (4, *size)
    assert found.evidence is not None
    assert found.evidence.shape == size


def test_draws_are_widened_to_the_calibrated_width() -> None:
    """A multiplier of 1.645 at 90 % is that of a normal distribution as wide as the draws."""
    card = json.loads(toys.calibrated().with_suffix(".json").read_text(encoding="utf-8"))
    assert module.spread_factor_of(card, "reconstruct-mri") == pytest.approx(2.0 / 1.6449, rel=1e-3)
    assert module.spread_factor_of(card, "unknown") == module.spread_factor_of({}, "reconstruct-mri") == 1.0


def test_evidence_falls_and_spread_grows_as_the_draws_are_widened() -> None:
    means, spreads = [], []
    for wider in (1.0, 4.0, 16.0):
        found = module.solve(model(), toys.problem(), 4, 7, wider)
        assert found.evidence is not None
        assert found.spread is not None
        means.append(float(found.evidence.mean()))
        spreads.append(float(found.spread.mean()))
    assert means[0] > means[1] > means[2]
    assert spreads[1] == pytest.approx(4 * spreads[0], rel=1e-4)


def test_slices_lie_along_z_with_x_first() -> None:
    grid = Geometry.index((toys.SIZE[1], toys.SIZE[0], 2))
    second = replace(solved(), estimate=2 * solved().estimate)
    image = module.assemble([solved(), second], CgSense(), {}, grid, "reconstruct-mri", "T1w", "a.u.").image
    np.testing.assert_array_equal(image.data[0, :, :, 0], solved().estimate[0].T)
    np.testing.assert_array_equal(image.data[0, :, :, 1], 2 * solved().estimate[0].T)


def verdict(which: str, check: str = "consistency") -> Solved:
    return replace(solved(), findings=(Finding(check, which, f"it {which}s"),))  # type: ignore[arg-type]


def test_the_worst_slice_speaks_for_all_and_says_how_many_it_speaks_for() -> None:
    found = findings(*(verdict(v) for v in ("pass", "fail", "warn", "fail")))[0]
    assert found.verdict == "fail"
    assert "2 of 4 slices: it fails" in found.reason
    assert findings(verdict("pass"))[0].reason == "it passs"


def test_where_the_sampling_fails_interval_and_evidence_are_withheld_and_say_why() -> None:
    card = json.loads(toys.calibrated().with_suffix(".json").read_text(encoding="utf-8"))
    grid = Geometry.index((toys.SIZE[1], toys.SIZE[0], 1))
    drawn = module.solve(model(), toys.problem(), 4, 7)
    for which in ("warn", "fail"):
        one = replace(drawn, findings=(Finding("sampling", which, "too little"),))  # type: ignore[arg-type]
        done = module.assemble([one], model(), card, grid, "reconstruct-mri", "T1w", "a.u.")
        assert (done.interval is None) == (which == "fail")
        assert done.evidence is not None
        assert (done.evidence.map is None) == (which == "fail")
        assert set(done.absent) == ({"interval", "evidence"} if which == "fail" else set())
    assert "sampling" in done.absent["interval"]


def test_scope_is_not_run_and_says_for_which_job() -> None:
    scope = findings(solved())[-1]
    assert (scope.check, scope.verdict) == ("scope", "not_run")
    assert "reconstruct-mri" in scope.reason


def test_a_result_turned_back_lies_along_its_axis_and_its_parts_still_sum_to_it() -> None:
    grid = Geometry.index((toys.SIZE[1], toys.SIZE[0], 1))
    done = module.assemble([solved()], CgSense(), {}, grid, "enhance-denoise", "CT", "HU")
    whole = Geometry.index((1, toys.SIZE[1], toys.SIZE[0]))
    turned = module.moved(done, whole, 0, -1000.0)
    assert turned.image.data.shape == (1, *whole.shape)
    np.testing.assert_allclose(turned.image.data[0, 0] + 1000, done.image.data[0, :, :, 0], atol=1e-3)
    assert turned.evidence is not None
    assert turned.evidence.measured is not None
    assert turned.evidence.unmeasured is not None
    np.testing.assert_array_equal(turned.evidence.measured + turned.evidence.unmeasured, turned.image.data)
