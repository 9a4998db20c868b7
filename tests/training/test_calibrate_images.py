"""Calibration of image jobs: what a task would be given, cases inside the object, looks and scopes of training slices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.phantoms.cohort_b import CohortB
from veridical.training import calibrate_images as images
from veridical.training.slabs import Slab, cohort_slab

CHANNELS = ("T1w", "T2w", "FLAIR")


@pytest.fixture(scope="module")
def slab() -> Slab:
    """A coarse slab of a patient of the second simulator."""
    return cohort_slab(CohortB(3), 1, CHANNELS, 3.0, (64, 56), 3.6)


def test_the_contrast_to_be_completed_is_not_among_those_given(slab: Slab) -> None:
    for seed in range(8):
        view, plan = images.posed(slab, "complete", "FLAIR", "", np.random.default_rng(seed))
        assert plan.asked == ("FLAIR",)
        assert set(view.images) == set(plan.measured) <= {"T1w", "T2w"}
        assert plan.measured


def test_given_contrasts_carry_noise_of_the_stated_size(slab: Slab) -> None:
    view, plan = images.posed(slab, "complete", "FLAIR", "", np.random.default_rng(0))
    name = plan.measured[0]
    difference = view.images[name] - slab.images[slab.names.index(name)]
    inside = slab.images[slab.names.index(name)] > 0.3
    assert images.QUIET[0] * 0.3 < difference[inside].std() < images.QUIET[1] * 2


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_degraded_contrast_is_said_to_be_so_and_differs_from_the_truth(slab: Slab, kind: str) -> None:
    view, plan = images.posed(slab, "enhance", "T2w", kind, np.random.default_rng(2))
    assert plan.degraded["T2w"].kind == kind
    assert plan.measured == ()
    truth = slab.images[slab.names.index("T2w")]
    assert np.abs(view.images["T2w"] - truth)[1].max() > 0.02


def test_another_look_keeps_the_order_of_intensities(slab: Slab) -> None:
    view, plan = images.posed(slab, "harmonize", "T1w", "", np.random.default_rng(1))
    truth, seen = slab.images[slab.names.index("T1w")][1], view.images["T1w"][1]
    assert plan.relook == ("T1w",)
    assert len(plan.looks["T1w"]) == 5
    inside = truth > 0.2
    ranks = [np.argsort(np.argsort(x[inside])) for x in (truth, seen)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95


def test_the_look_of_a_brighter_image_has_higher_quantiles() -> None:
    ramp = np.tile(np.linspace(0.2, 1.0, 40, dtype=np.float32), (40, 1))
    low, high = (images._mean_look([ramp**power], "T1w") for power in (2.0, 0.5))
    assert all(a < b for a, b in zip(low, high, strict=True))
    assert low == sorted(low)


def test_scopes_need_198_slices_and_know_their_own() -> None:
    card = {"net": {"channels": ["T1w"]}, "data": {"sources": {"cohort": 1.0}, "held_out": []}}
    torch.manual_seed(0)
    found = images.fit_image_scopes(card, 198, lambda *_: None)
    assert set(found) == {"T1w"}
    assert "198 training slices of T1w" in found["T1w"]["fitted_on"]
