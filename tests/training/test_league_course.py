"""Laws of what a league learns from: the same samples for every entry, nobody on both sides, and
only what is given is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import folders
from veridical.conditioning.request import LEAST_LEVEL
from veridical.errors import InputError, SettingError
from veridical.training.league_course import (
    LeagueCourse,
    LeagueData,
    fitted,
    patients,
    request,
    spread,
    window,
)
from veridical.training.training_data import training_data

HELD_OUT = ("sub-01", "sub-04")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folders.bids(tmp_path_factory.mktemp("data") / "ward", 4))


def data(ward: str, **more: Any) -> LeagueData:
    usual: dict[str, Any] = {"made": "FLAIR", "given": ("T1w",), "held_out": HELD_OUT}
    return LeagueData(sources={ward: 1.0}, batch=2, patch=24, **{**usual, **more})


def net(family: str) -> dict[str, Any]:
    return {"family": family, "backbone": "unet", "contrasts": ["T1w", "FLAIR"], "widths": [8, 8]}


def course(found: LeagueData, family: str = "regression", seed: int = 0) -> LeagueCourse:
    made = LeagueCourse(found, net(family), seed)
    made.facts()
    return made


def test_every_entry_learns_from_the_same_samples(ward: str) -> None:
    one, other = (course(data(ward), family) for family in ("regression", "rectified-flow"))
    for step in (0, 7):
        assert torch.equal(one[step].truth, other[step].truth)
        assert torch.equal(one[step].given.initial, other[step].given.initial)
    assert not torch.equal(one[0].truth, course(data(ward), seed=1)[0].truth)


def test_nobody_is_on_both_sides_and_all_are_on_one(ward: str) -> None:
    learned, judged = (
        {one.visit.patient for one in patients(data(ward), validation)}
        for validation in (False, True)
    )
    assert judged == set(HELD_OUT)
    assert learned == {"sub-02", "sub-03"}


def test_maps_are_fitted_on_those_who_are_learned_from_alone(ward: str) -> None:
    assert fitted(data(ward)) != fitted(data(ward, held_out=("sub-02", "sub-03")))


def test_only_what_is_given_is_shown(ward: str) -> None:
    found = data(ward)
    slab = patients(found, True)[0].visit.slab(5)
    asked, truth = request(found, slab, fitted(found), np.random.default_rng(0))
    assert (asked.contrast, set(asked.images)) == ("FLAIR", {"T1w"})
    assert (asked.masks, asked.degradation) == ({}, "")
    assert np.array_equal(truth, slab.images[1][0].astype(np.float32))
    assert not asked.initial[asked.support == 0].any()


def test_from_nothing_not_even_the_outline_is_known(ward: str) -> None:
    found = data(ward, job="synthesize", given=())
    slab = patients(found, True)[0].visit.slab(5)
    asked, _ = request(found, slab, fitted(found), np.random.default_rng(0))
    assert (asked.images, asked.support.min(), np.ptp(asked.initial)) == ({}, 1, 0)


def test_a_degraded_image_comes_with_its_error_and_its_truth(ward: str) -> None:
    found = data(ward, job="restore", given=(), degradation="rician-noise")
    slab = patients(found, True)[0].visit.slab(5)
    asked, truth = request(found, slab, fitted(found), np.random.default_rng(0))
    again, _ = request(found, slab, fitted(found), np.random.default_rng(0))
    assert asked.degradation == "rician-noise"
    assert asked.level >= LEAST_LEVEL
    assert not np.array_equal(asked.initial, truth)
    assert np.array_equal(asked.initial, again.initial)


def test_several_jobs_are_learned_and_one_is_judged(ward: str) -> None:
    found = data(ward, job="several", degradation="rician-noise")
    made = course(found)
    asked = [made.sample(np.random.default_rng(seed))[0] for seed in range(24)]
    assert {one.contrast for one in asked} == {"T1w", "FLAIR"}
    assert {one.degradation for one in asked} == {"", "rician-noise"}


def test_digital_patients_who_are_held_out_are_others() -> None:
    found = LeagueData(digital=2, digital_held_out=2, size=48, patch=16, scene="dose",
                       made="dose", given=("CT", "target"))  # fmt: skip
    learned, judged = (patients(found, validation) for validation in (False, True))
    assert len(learned) == len(judged) == 2
    assert not np.array_equal(learned[0].visit.images, judged[0].visit.images)


def test_nobody_with_the_channels_is_an_error(ward: str) -> None:
    with pytest.raises(InputError, match="T2w"):
        patients(data(ward, given=("T2w",)), True)


def test_slices_are_spread_evenly_and_windows_lie_within(ward: str) -> None:
    assert spread(range(10, 20), 3) == [10, 14, 18]
    assert spread([4, 5, 6], 12) == [4, 5, 6]
    assert spread(range(100), 1) == [49]
    slab = patients(data(ward), True)[0].visit.slab(5)
    cut = window(slab, 24, np.random.default_rng(0))
    assert cut.images.shape[-2:] == (24, 24)
    with pytest.raises(SettingError, match="at most 40"):
        window(slab, 64, np.random.default_rng(0))


def test_leagues_are_no_training_data_of_recipes(tmp_path: Path) -> None:
    with pytest.raises(SettingError):
        training_data("league")
