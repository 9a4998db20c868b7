"""Laws of lessons: every job is rehearsed, what is said of a channel is true, and degradations are what they are called."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import folders
from veridical.models.known import ABSENT, DEGRADATIONS, DEGRADED, MEASURED, MISSING, RELOOK
from veridical.nets.joint import JointNet
from veridical.physics.fourier import fft
from veridical.training.lessons import (
    JOBS,
    Lesson,
    cut_kspace,
    degrade,
    ghosted,
    lesson,
    magnitude_noise,
    patch,
    smooth_field,
    thicken,
)
from veridical.training.slabs import Slab

CHANNELS = ("T1w", "T2w", "FLAIR", "other")
NET = JointNet(CHANNELS, (4, 6), 1, (0.4, 0.5, 0.6, 0.4), (0.2, 0.3, 0.25, 0.3))
SIZE = 32


def slab(names: tuple[str, ...] = ("T1w", "FLAIR")) -> Slab:
    """A head in two contrasts with its neighbours, of known height and field."""
    images = [folders.head(place, (60, 72, 3)).transpose(2, 1, 0)[:, ::-1] / 120 for place in range(len(names))]
    return Slab(np.stack(images), names, "p", "s", 0.25, 1.5, None, 1.0)


def lessons(count: int, names: tuple[str, ...] = ("T1w", "FLAIR"), **jobs: float) -> Iterator[Lesson]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield lesson(slab(names), NET, SIZE, rng, jobs or JOBS)


def image() -> torch.Tensor:
    """Three slices of a head `(3, y, x)`."""
    return torch.from_numpy(folders.head(1, (48, 64, 3)).transpose(2, 1, 0).copy()) / 100


def test_channels_the_patient_has_not_are_not_part_of_the_state() -> None:
    for one in lessons(30):
        assert one.known.status[0, [1, 3]].tolist() == [ABSENT, ABSENT]
        assert not one.truth[0, [1, 3]].any()
        assert not one.known.anchor[0, [1, 3]].any()


def test_what_was_measured_is_the_truth() -> None:
    for one in lessons(60):
        for k in torch.nonzero(one.known.status[0] == MEASURED).flatten().tolist():
            assert torch.equal(one.known.anchor[0, k], one.truth[0, k])
            assert one.known.level[0, k] == 0


def test_a_missing_channel_is_asked_for_at_the_mean_of_such_images_over_the_object() -> None:
    asked = 0
    for one in lessons(60, complete=1.0):
        for k in torch.nonzero(one.known.status[0] == MISSING).flatten().tolist():
            asked += 1
            torch.testing.assert_close(one.known.anchor[0, k], NET.prior_mean[k] * one.known.support[0, 0])
            assert float(one.known.level[0, k]) == pytest.approx(NET.prior_std[k])
            assert not one.known.neighbours[0, [k, len(CHANNELS) + k]].any()
    assert asked >= 60


@pytest.mark.parametrize(
    ("job", "first", "others"),
    [
        ("nothing", MISSING, {ABSENT, MISSING}),
        ("enhance", DEGRADED, {ABSENT, DEGRADED, MEASURED}),
        ("harmonize", RELOOK, {ABSENT, RELOOK, MEASURED}),
        ("complete", MISSING, {ABSENT, MISSING, MEASURED, DEGRADED}),
    ],
)
def test_each_job_has_its_roles(job: str, first: int, others: set[int]) -> None:
    for one in lessons(40, **{job: 1.0}):
        found = set(one.known.status[0].tolist())
        assert first in found
        assert found <= others


def test_a_patient_of_one_contrast_has_nothing_to_complete_and_is_enhanced() -> None:
    for one in lessons(20, ("T2w",), complete=1.0):
        assert int(one.known.status[0, 1]) == DEGRADED


def test_jobs_are_drawn_by_their_share() -> None:
    found = [bool((one.known.status[0] >= DEGRADED).any()) for one in lessons(200, nothing=0.25, harmonize=0.75)]
    assert np.mean(found) == pytest.approx(0.75, abs=0.1)


def test_the_level_is_about_the_size_of_the_error_of_the_anchor() -> None:
    """Within a factor of 2.5 for the most; it is what the flow has to add."""
    ratios: dict[str, list[float]] = {}
    for one in lessons(300, enhance=1.0):
        for k in torch.nonzero(one.known.status[0] == DEGRADED).flatten().tolist():
            if one.known.kind[0].sum() == 1:
                inside = one.known.support[0, 0] > 0.5
                error = float((one.known.anchor[0, k] - one.truth[0, k])[inside].square().mean().sqrt())
                kind = DEGRADATIONS[int(one.known.kind[0].argmax())]
                ratios.setdefault(kind, []).append(error / float(one.known.level[0, k]))
    assert set(ratios) == set(DEGRADATIONS)
    for kind, found in ratios.items():
        assert 0.4 < np.median(found) < 2.5, kind
    assert np.median(ratios["noise"]) == pytest.approx(1, abs=0.2)


def test_neighbours_height_and_field_are_told_now_and_then_and_are_true() -> None:
    shown, heights, fields = [], [], []
    for one in lessons(100, complete=1.0):
        shown.append(bool(one.known.neighbours.any()))
        heights += [one.known.height[0].tolist()]
        fields += [one.known.field[0].tolist()]
    assert 0.3 < np.mean(shown) < 0.8
    assert {tuple(h) for h in heights} == {(0.25, 1.0), (0.0, 0.0)}
    assert {tuple(f) for f in fields} == {(0.5, 1.0), (0.0, 0.0)}


def test_the_look_that_is_told_is_that_of_the_truth() -> None:
    told = 0
    for one in lessons(60, harmonize=1.0):
        for k in torch.nonzero(one.known.look_known[0]).flatten().tolist():
            told += 1
            inside = one.truth[0, k][one.known.support[0, 0] > 0.5]
            assert float(one.known.look[0, k, 2]) == pytest.approx(float(inside.median()), abs=0.02)
    assert told >= 50


def test_the_same_random_numbers_give_the_same_lesson() -> None:
    one, again = (list(lessons(5)) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        assert torch.equal(first.truth, second.truth)
        assert torch.equal(first.known.anchor, second.known.anchor)


@pytest.mark.parametrize("share", [(0.3, 0.3), (1.0, 0.5)])
def test_blur_keeps_the_centre_of_kspace_and_nothing_else(share: tuple[float, float]) -> None:
    blurred = cut_kspace(image(), share)
    left = fft(blurred.to(torch.complex64)).abs()
    rows, columns = (int(n * part / 2) for n, part in zip(image().shape[-2:], share, strict=True))
    middle = tuple(n // 2 for n in image().shape[-2:])
    outside = left.clone()
    outside[
        :, max(0, middle[0] - rows - 1) : middle[0] + rows + 2, max(0, middle[1] - columns - 1) : middle[1] + columns + 2
    ] = 0
    assert float(outside.square().sum() / left.square().sum()) < 2e-3, "the magnitude spreads a little"
    torch.testing.assert_close(cut_kspace(image(), (1.0, 1.0)), image(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("axis", [-1, -2])
def test_thick_slices_keep_what_is_constant_along_them_and_average_the_rest(axis: int) -> None:
    flat = torch.ones(2, 40, 40)
    inner = thicken(flat, 4.0, axis, 0.3).movedim(axis, -1)[..., 8:-8]
    torch.testing.assert_close(inner, torch.ones_like(inner), atol=1e-4, rtol=0)
    ramp = torch.arange(40.0).expand(2, 40, 40) if axis == -1 else torch.arange(40.0)[:, None].expand(2, 40, 40)
    moved = thicken(ramp.contiguous(), 4.0, axis, 0.3).movedim(axis, -1)[0, 0, 8:-8]
    torch.testing.assert_close(moved, torch.arange(8.0, 32.0), atol=0.1, rtol=0)
    stripes = (
        (torch.arange(40) % 2 * 1.0).expand(2, 40, 40)
        if axis == -1
        else (torch.arange(40) % 2 * 1.0)[:, None].expand(2, 40, 40)
    )
    assert float(thicken(stripes.contiguous(), 4.0, axis, 0.0).movedim(axis, -1)[0, 0, 8:-8].std()) < 0.1


def test_ghosts_move_signal_and_keep_its_energy_about() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        moved, level = ghosted(image(), rng)
        assert float(moved.square().sum() / image().square().sum()) == pytest.approx(1, abs=1e-3)
        assert level > 0.03
        assert not torch.allclose(moved, image(), atol=1e-2)


def test_noise_is_rician_of_the_size_said() -> None:
    rng = np.random.default_rng(0)
    bright, dark = (torch.full((8, 64, 64), value) for value in (1.0, 0.0))
    spread = np.mean([float(magnitude_noise(bright, 0.1, rng).std()) for _ in range(20)])
    assert spread == pytest.approx(0.1, rel=0.1)
    floor = np.mean([float(magnitude_noise(dark, 0.1, rng).mean()) for _ in range(20)])
    assert floor == pytest.approx(0.1 * (np.pi / 2) ** 0.5, rel=0.1)


def test_bias_fields_are_smooth_and_of_zero_mean() -> None:
    field = smooth_field(torch.Size((64, 64)), np.random.default_rng(1))
    assert float(field.mean()) == pytest.approx(0, abs=1e-5)
    assert float(field.diff(dim=0).abs().max()) < 0.4


def test_a_cube_is_judged_as_a_whole() -> None:
    """The expected error of a blurred cube is that over all of its slices, not over the first."""
    cube = torch.zeros(16, 32, 32)
    cube[8:] = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (8, 32, 32)).astype(np.float32))
    rng = np.random.default_rng(3)
    _, level = degrade(cube, "blur", torch.ones(16, 32, 32), rng)
    assert level > 0.005


def test_a_specialist_sees_one_way_of_degrading_alone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        kind = lesson(slab(), NET, SIZE, rng, {"enhance": 1.0}, {"blur": 1.0}).known.kind[0]
        assert torch.nonzero(kind).flatten().tolist() == [DEGRADATIONS.index("blur")]


def test_four_patches_in_ten_keep_the_pixels_as_they_were_reconstructed() -> None:
    """White noise shows it: neighbours are alike only where pixels were interpolated."""
    rng = np.random.default_rng(0)
    noise = Slab(rng.uniform(0.2, 1, (1, 3, 80, 80)).astype(np.float32), ("T1w",), "p", "s", 0.0, 1.5, None, 1.0)
    kept = []
    for _ in range(150):
        rows = patch(noise, SIZE, rng)[0, 1, 8:24, 8:24]
        kept.append(abs(float(torch.corrcoef(torch.stack([rows[:, 1:].flatten(), rows[:, :-1].flatten()]))[0, 1])) < 0.15)
    assert np.mean(kept) == pytest.approx(0.4, abs=0.12)
