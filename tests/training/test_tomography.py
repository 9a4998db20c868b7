"""Laws of degraded CT and PET: sizes are as told, means are kept, noise is where physics puts it, absolute units stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.models.known import ABSENT, DEGRADATIONS, DEGRADED, MISSING
from veridical.nets.joint import JointNet
from veridical.tasks.view import scale
from veridical.training import tomography
from veridical.training.lessons import lesson, patch
from veridical.training.slabs import Slab, normalized, volumes
from veridical.types import Array

NET = JointNet(("T1w", "CT", "PET"), (8, 8), 1, (0.5, 0.0, 0.2), (0.27, 0.2, 0.25))
SIZE = 64


def limb(size: int = SIZE) -> Array:
    """A disc of muscle with a bone in it, `(3, y, x)` in thousands of HU."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.where(x**2 + y**2 < 0.6, 0.05, -1.0)
    image = np.where((x - 0.2) ** 2 + y**2 < 0.02, 0.9, image)
    return np.stack([image] * 3).astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def slab() -> Slab:
    ct = limb()
    return Slab(np.stack([0.4 * (ct > -0.5), ct, 0.3 * (ct > -0.5)]), ("T1w", "CT", "PET"), "one", "made", pixel=1.0)


def size_of(change: Array, inside: Array) -> float:
    return float(np.sqrt(np.square(change[0])[inside].mean()))


@pytest.mark.parametrize("degrade", [tomography.low_dose, tomography.sparse_views])
def test_the_size_that_is_told_is_that_of_the_first_slice_in_the_body(degrade) -> None:  # type: ignore[no-untyped-def]
    truth = limb()
    inside = truth[0] > -0.5
    for seed in range(4):
        poor, size = degrade(truth, inside.astype(np.float32), rng(seed))
        assert size_of(poor - truth, inside) == pytest.approx(size, rel=1e-3)


def test_noise_of_a_lower_dose_has_no_mean_and_neighbours_hold_other_noise() -> None:
    truth = np.zeros((3, SIZE, SIZE), np.float32)
    poor, size = tomography.low_dose(truth, np.ones((SIZE, SIZE), np.float32), rng())
    assert tomography.CT_NOISE[0] <= size <= tomography.CT_NOISE[1]
    assert abs(float(poor.mean())) < 0.05 * size
    assert abs(np.corrcoef(poor[0].ravel(), poor[1].ravel())[0, 1]) < 0.1


def test_noise_of_ct_has_less_power_at_low_frequencies_than_white_noise() -> None:
    truth = np.zeros((3, SIZE, SIZE), np.float32)
    poor, _ = tomography.low_dose(truth, np.ones((SIZE, SIZE), np.float32), rng())
    power = (np.abs(np.fft.fft2(poor)) ** 2).mean(0)
    low = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")) < 0.06
    assert power[low].mean() < 0.6 * power.mean()


def test_fewer_views_make_stronger_streaks(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, sizes = limb(), []
    for views in (10, 20, 45):
        monkeypatch.setattr(tomography, "VIEWS", (views, views + 1e-6))
        sizes.append(tomography.sparse_views(truth, np.ones((SIZE, SIZE), np.float32), rng())[1])
    assert sizes == sorted(sizes, reverse=True)


def test_noise_of_pet_is_stronger_where_more_is_taken_up_and_nothing_is_negative() -> None:
    truth = np.full((3, SIZE, SIZE), 0.05, np.float32)
    truth[:, :, SIZE // 2 :] = 2.0
    poor, size = tomography.low_counts(truth, np.ones((SIZE, SIZE), np.float32), 4.0, rng())
    assert size > 0
    assert float(poor.min()) >= 0
    change = poor - truth
    assert change[:, :, -20:].std() > 3 * change[:, :, :20].std()


def test_a_lesson_names_how_a_channel_was_degraded_and_its_level_is_about_the_error() -> None:
    seen, ratios = set(), []
    for seed in range(60):
        found = lesson(slab(), NET, SIZE, rng(seed), {"enhance": 1.0})
        known = found.known
        for k, name in ((1, "CT"), (2, "PET")):
            if known.status[0, k] == DEGRADED and int(known.kind.sum()) == 1:
                kind = DEGRADATIONS[int(known.kind[0].argmax())]
                seen.add((name, kind))
                error = (found.truth[0, k] - known.anchor[0, k])[known.support[0, 0] > 0.5]
                if kind == "noise":
                    ratios.append(float(error.square().mean().sqrt() / known.level[0, k]))
    assert {("CT", "noise"), ("CT", "ghosts"), ("CT", "blur"), ("PET", "noise")} <= seen
    assert all(kind in tomography.ODDS[name] for name, kind in seen if name in tomography.ODDS)
    assert 0.5 < np.median(ratios) < 1.5


def test_missing_ct_is_asked_for_with_air_around_the_body() -> None:
    for seed in range(40):
        known = lesson(slab(), NET, SIZE, rng(seed), {"complete": 1.0}).known
        if known.status[0, 1] == MISSING and known.status[0, 0] not in (ABSENT, MISSING):
            outside = known.support[0, 0] == 0
            assert (known.anchor[0, 1][outside] == -1).all()
            return
    pytest.fail("no lesson asked for CT from MR")


def test_ct_and_pet_keep_their_values_in_patches_and_ct_has_air_around_what_was_imaged() -> None:
    for seed in range(8):
        found = patch(slab(), 2 * SIZE, rng(seed))
        middle = found[1, 1][(found[2, 1] > 0.299) & (found[1, 1] < 0.06)]
        assert float(middle.median()) == pytest.approx(0.05, abs=1e-3)
        assert float(found[2].max()) == pytest.approx(0.3, abs=1e-3)
        assert float(found[0].min()) == pytest.approx(0.0, abs=1e-6)
        assert float(found[1].min()) == pytest.approx(-1.0, abs=1e-3)


def test_some_patches_of_ct_keep_every_pixel() -> None:
    noisy = slab()
    grain = rng(3).normal(size=noisy.images.shape[1:]).astype(np.float32)
    images = np.stack([noisy.images[0], grain, noisy.images[2]])
    kept = 0
    for seed in range(20):
        found = patch(Slab(images, noisy.names, "one", "made", pixel=1.0), 16, rng(seed))[1].numpy()
        kept += any(
            np.isclose(grain[:, y, x].reshape(-1, 1, 1), found[:, :1, :1], atol=1e-4).all()
            for y in range(SIZE)
            for x in range(SIZE)
        )
    assert 2 <= kept <= 12


def test_units_of_ct_and_pet_are_fixed_and_the_same_in_training_and_use() -> None:
    for name, value in (("CT", 250.0), ("PET", 12.0)):
        image = np.array([0.0, value], np.float32)
        assert float(normalized(image, name)[1]) == pytest.approx(value / scale(name, image))
    assert float(normalized(np.array([1e6]), "PET")[0]) == 6.0
    assert float(normalized(np.zeros(3), "CT").max()) == 0.0


@pytest.mark.real
def test_the_sarcoma_modalities_lie_on_one_grid_and_held_out_patients_stay_out(
    monkeypatch: pytest.MonkeyPatch, real_data
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("VERIDICAL_DATA", str(real_data))
    for source, names in (("sarcoma", ("T1w", "CT", "PET")), ("sarcoma-ct", ("CT", "PET")), ("sarcoma-pet", ("PET", "CT"))):
        found = volumes(source, ("STS_025", "STS_032"))
        assert len(found) == 6
        assert all(volume.names == names for volume in found)
        muscle = [float(np.median(v.images[v.names.index("CT")][v.images[v.names.index("CT")] > -0.2])) for v in found]
        assert all(-0.1 < value < 0.1 for value in muscle)
    assert torch.is_tensor(patch(found[0].slab(20), 32, rng()))
