"""Laws of the scenes that digital patients show: what is known exactly of motion, growth, dose and
numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.phantoms.cohort import Cohort
from veridical.training.league_scenes import LOAD, SCENES, YEARS, ScenePlace, scene
from veridical.types import Array

SIDE = 64


@cache
def shown(name: str, channels: tuple[str, ...], index: int = 2) -> dict[str, Array]:
    slab = scene(name, ScenePlace(Cohort(0), index, SIDE), channels)
    assert slab.names == channels
    assert slab.images.shape == (len(channels), 3, SIDE, SIDE)
    return {
        name: image[0].astype(float) for name, image in zip(slab.names, slab.images, strict=True)
    }


def distance(one: Array, other: Array) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


def test_a_head_is_in_the_units_of_networks() -> None:
    head = shown("head", ("T1w", "CT", "PET"))
    assert head["CT"].min() == -1
    assert 0.9 < head["CT"].max() < 2.5
    assert head["PET"].min() >= 0
    assert 0.2 < np.median(head["T1w"][head["T1w"] > 0.1]) < 0.7


def test_frames_move_and_the_navigator_shows_the_one_of_now_coarsely() -> None:
    frames = shown("cine", ("before", "now", "after", "reference", "navigator"))
    moving = [frames[name] for name in ("before", "now", "after")]
    assert min(distance(moving[i], moving[j]) for i, j in ((0, 1), (1, 2), (0, 2))) > 0.01
    assert max(abs(one.mean() - frames["reference"].mean()) for one in moving) < 0.01
    spectrum = np.abs(np.fft.fft2(frames["navigator"]))
    assert spectrum[SIDE // 4, SIDE // 4] < 0.02 * spectrum[0, 0]
    assert abs(frames["navigator"].mean() - frames["now"].mean()) < 0.05


def test_lesions_grow_and_what_is_far_from_them_stays() -> None:
    changed = []
    for index in range(4):
        visits = shown("follow-up", ("earlier", "later"), index)
        moved = np.abs(visits["later"] - visits["earlier"]) > 0.02
        changed.append(moved.mean())
        assert visits["later"].mean() > visits["earlier"].mean() - 0.01
    assert min(changed) > 0
    assert max(changed) < 0.25


def test_the_dose_is_one_in_the_target_and_falls_off_outside_of_it() -> None:
    planned = shown("dose", ("CT", "target", "dose"))
    inside = planned["target"] > 0.5
    assert planned["dose"][inside].mean() == pytest.approx(1, abs=0.01)
    assert planned["dose"][inside].std() < 0.15
    assert planned["dose"][~inside].mean() < 0.5
    assert not planned["dose"][planned["CT"] < -0.9].any()


def test_numbers_and_labels_are_channels() -> None:
    numbers = shown("clinical", ("age", "load", "FLAIR"))
    assert np.ptp(numbers["age"]) == np.ptp(numbers["load"]) == 0
    assert 15 < YEARS * numbers["age"][0, 0] < 100
    assert 0 <= LOAD * numbers["load"][0, 0] < 0.5
    labels = shown("anatomy", ("anatomy", "T1w"))
    assert 4 < len(np.unique(labels["anatomy"])) < 20


def test_a_patient_is_the_same_whoever_asks() -> None:
    for name, channels in (("cine", ("now",)), ("dose", ("dose",)), ("follow-up", ("later",))):
        first, again = (
            scene(name, ScenePlace(Cohort(0), 2, SIDE), channels).images for _ in range(2)
        )
        assert np.array_equal(first, again)


def test_scenes_and_channels_that_are_not_there_are_refused() -> None:
    place = ScenePlace(Cohort(0), 0, SIDE)
    with pytest.raises(SettingError, match="Did you mean 'cine'"):
        scene("cinema", place, ("now",))
    with pytest.raises(SettingError, match="Did you mean 'before'"):
        scene("cine", place, ("befor",))
    assert set(SCENES) == {"head", "cine", "follow-up", "dose", "anatomy", "clinical"}
