"""What reconstruction and enhancement share: the detail that evidence is about, and slices put together."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.audit.scope import Scope
from veridical.models.brain_prior import BrainPrior
from veridical.models.cg_sense import CgSense
from veridical.physics import masks
from veridical.physics.fourier import fft
from veridical.tasks import slicewise
from veridical.tasks.slicewise import Solved
from veridical.types import Finding, Geometry


@cache
def solved() -> Solved:
    """One slice by a classical model."""
    return slicewise.solve(CgSense(), next(toys.scans()), 1, 0, "T1w")


def assemble(*slices: Solved, card: dict[str, object] | None = None, task: str = "reconstruct") -> tuple[Finding, ...]:
    """The findings of a result of several slices."""
    grid = Geometry.index((toys.SIZE[1], toys.SIZE[0], len(slices)))
    return slicewise.assemble(slices, CgSense(), card or {}, grid, task, "T1w", "a.u.").findings


@pytest.mark.parametrize("size", [(48, 40), (47, 41)])
def test_detail_is_what_lies_beyond_the_fully_sampled_centre(size: tuple[int, int]) -> None:
    image, mask = toys.picture(size), masks.poisson_disc(size, 3, acs=12, seed=0)
    centre = masks.fully_sampled_centre(mask)
    kspace, left = fft(image), fft(slicewise.detail(image, mask))
    assert float(left[centre].abs().max()) < 1e-5
    kspace[centre] = 0
    torch.testing.assert_close(left, kspace, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(48, 40), (47, 41)])
def test_where_all_was_sampled_detail_lies_beyond_a_quarter_of_each_axis(size: tuple[int, int]) -> None:
    left = fft(slicewise.detail(toys.picture(size), np.ones(size, bool)))
    gone = left.abs() < 1e-6
    assert float(gone.float().mean()) == pytest.approx(slicewise.DETAIL**2, abs=0.01)
    assert gone[size[0] // 2, size[1] // 2]


def test_a_solved_slice_is_in_the_units_of_the_data() -> None:
    truth = toys.magnitude()
    assert np.linalg.norm(solved().estimate - truth) < 0.1 * np.linalg.norm(truth)
    assert solved().estimate.shape == solved().measured.shape == solved().unmeasured.shape == toys.SIZE
    assert solved().draws is solved().spread is solved().evidence is None


def test_the_estimate_of_a_sampler_is_the_mean_of_its_complex_draws_and_the_spread_is_theirs() -> None:
    scan = next(toys.scans())
    model = BrainPrior(2, str(toys.weights("brain-prior")), "cpu")
    found = slicewise.solve(model, scan, 4, 7, "T1w")
    images = model.solve(scan, 4, 7, "T1w")
    mean = scan.operator.coil_images(images.mean(0)).norm(dim=0) * scan.scale
    np.testing.assert_allclose(found.estimate, mean.numpy(), rtol=1e-5)
    assert found.draws is not None
    assert found.spread is not None
    np.testing.assert_allclose((found.spread**2).mean(), found.draws.var(0, ddof=1).mean(), rtol=0.1)
    assert found.evidence is not None
    assert 0 <= found.evidence.min() <= found.evidence.max() <= 1


def test_draws_are_widened_to_the_calibrated_width() -> None:
    """A multiplier of 1.645 at 90 % is that of a normal distribution as wide as the draws."""
    card = json.loads(toys.calibrated().with_suffix(".json").read_text(encoding="utf-8"))
    assert slicewise.widening(card, "reconstruct") == pytest.approx(2.0 / 1.6449, rel=1e-3)
    assert slicewise.widening(card, "unknown") == slicewise.widening({}, "reconstruct") == 1.0


def test_evidence_falls_as_the_draws_are_widened() -> None:
    scan = next(toys.scans())
    model = BrainPrior(2, str(toys.weights("brain-prior")), "cpu")
    means = []
    for wider in (1.0, 4.0, 16.0):
        found = slicewise.solve(model, scan, 4, 7, "T1w", wider).evidence
        assert found is not None
        means.append(float(found.mean()))
    assert means[0] > means[1] > means[2]


def test_slices_lie_along_z_with_x_first() -> None:
    grid = Geometry.index((toys.SIZE[1], toys.SIZE[0], 2))
    second = replace(solved(), estimate=2 * solved().estimate)
    image = slicewise.assemble([solved(), second], CgSense(), {}, grid, "reconstruct", "T1w", "a.u.").image
    np.testing.assert_array_equal(image.data[0, :, :, 0], solved().estimate.T)
    np.testing.assert_array_equal(image.data[0, :, :, 1], 2 * solved().estimate.T)


def test_the_worst_slice_speaks_for_all_and_says_how_many_it_speaks_for() -> None:
    verdicts = [replace(solved(), consistency=Finding("consistency", v, f"it {v}s")) for v in ("pass", "fail", "warn", "fail")]  # type: ignore[arg-type]
    found = assemble(*verdicts)[0]
    assert found.verdict == "fail"
    assert "2 of 4 slices: it fails" in found.reason
    assert assemble(verdicts[0])[0].reason == "it passs"


def test_scope_is_asked_where_the_card_describes_the_scans_and_not_run_elsewhere() -> None:
    names = tuple(solved().descriptors)
    usual = np.array([solved().descriptors[name] for name in names])
    rows = usual + np.random.default_rng(0).normal(0, 0.1, (200, len(names))) * np.maximum(1, np.abs(usual))
    card: dict[str, object] = {"scope": Scope.fit(rows, names, "toys").to_dict()}
    assert assemble(solved(), card=card)[1].verdict == "pass"
    strange = replace(solved(), descriptors={name: value + 50 for name, value in solved().descriptors.items()})
    assert assemble(solved(), strange, card=card)[1].verdict == "fail"
    assert assemble(solved(), card=card, task="enhance-denoise")[1].verdict == "not_run"
    assert assemble(solved())[1].verdict == "not_run"
