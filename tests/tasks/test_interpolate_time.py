"""Laws of interpolation in time: measured frames stay, those between follow the tissue, and where
that does not help frames are linear.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import cines
from veridical.errors import InputError, SettingError
from veridical.models.time_interpolation import TimeInterpolation
from veridical.tasks.interpolate_time import HeldOut, InterpolateTime, _made
from veridical.types import Image, Result, Study


@cache
def made(factor: int = 2) -> Result:
    task = InterpolateTime(factor=factor)  # type: ignore[arg-type]
    return task.apply(Study.of(cines.breath()), 0, lambda *_: None)


def test_measured_frames_stay_as_they_are_and_are_said_to_be_measured() -> None:
    result, frames = made(), cines.breath().data
    assert result.image.data.shape[0] == 2 * len(frames)
    assert np.array_equal(result.image.data[::2], frames)
    assert result.evidence is not None
    assert (result.evidence.map[::2] == 1).all()
    assert result.evidence.map[1::2].mean() < 1
    assert result.image.channels[:3] == ("t0001.00", "t0001.50", "t0002.00")


def test_frames_between_are_nearer_to_the_truth_than_linear_ones() -> None:
    scan, period = cines.breathing()
    count = len(cines.breath().channels)
    true = scan.truth(period * (np.arange(count) + 0.5) / count).data
    frames = cines.breath().data
    linear = (frames + np.roll(frames, -1, 0)) / 2
    result = made()
    moves = true.std(0) > 0.1 * true.std(0).max()
    off = np.sqrt(((result.image.data[1::2] - true)[:, moves] ** 2).mean())
    other = np.sqrt(((linear - true)[:, moves] ** 2).mean())
    assert off < other
    assert result.interval is not None
    inside = (true >= result.interval.lower[1::2]) & (true <= result.interval.upper[1::2])
    assert inside[:, moves].mean() > 0.8


def test_four_times_has_the_frames_of_twice() -> None:
    twice, four = made(2), made(4)
    assert four.image.data.shape[0] == 4 * len(cines.breath().channels)
    assert np.allclose(four.image.data[2::4], twice.image.data[1::2])


def test_where_motion_does_not_help_frames_are_linear_and_it_is_said() -> None:
    frames = np.asarray(cines.breath().data, np.float32)
    sequence = TimeInterpolation.of(frames, True)
    (frame, _), *_ = list(_made(sequence, [0.5], False))
    assert np.allclose(frame, (frames[0] + frames[1]) / 2)
    zero = np.zeros(frames.shape[1:])
    worse = HeldOut(2.0, 1.0, zero, zero, (1.6, 1.6)).finding(False)
    assert worse.verdict == "warn"
    assert "-6.0 dB" in worse.reason


def test_without_a_period_nothing_lies_beyond_the_last_frame() -> None:
    task = InterpolateTime(cyclic=False)
    assert task.places(4) == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert InterpolateTime().places(3) == [0, 0.5, 1, 1.5, 2, 2.5]


def test_time_goes_round() -> None:
    frames = np.asarray(cines.breath().data, np.float32)
    sequence = TimeInterpolation.of(frames, True)
    last = len(frames) - 0.5
    assert np.allclose(sequence.linear(last), (frames[-1] + frames[0]) / 2)
    assert np.allclose(sequence.linear(0.0, (0,)), (frames[-1] + frames[1]) / 2)


def test_what_is_no_cine_is_refused() -> None:
    image = cines.breath()
    short = Image(image.data[:3], image.geometry, "a.u.", image.channels[:3])
    with pytest.raises(InputError, match="6 frames or more"):
        InterpolateTime()(short)
    with pytest.raises(SettingError, match="expected 2 or 4"):
        InterpolateTime(factor=3)  # type: ignore[arg-type]
