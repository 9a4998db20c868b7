"""Nets of volumes: lessons are cubes, the loss falls, and draws keep what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import folders
from veridical.errors import SettingError
from veridical.models.brain_prior import BrainPrior
from veridical.models.known import ABSENT, MEASURED, collate
from veridical.nets.joint import JointNet
from veridical.phantoms.cohort import Cohort
from veridical.training.cubes import MARGIN, cohort_cube, cut, is_whole, piece
from veridical.training.image_data import ImageData
from veridical.training.image_samples import ImageCourse
from veridical.training.lessons import lesson
from veridical.training.patient_volumes import patient_volumes
from veridical.training.slabs import Slab, Volume
from veridical.training.train import train

CHANNELS = ("T1w", "T2w", "FLAIR")
SETTINGS = {"channels": CHANNELS, "widths": [6, 8], "blocks": 1, "dims": 3}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of whole volumes of 3 mm."""
    root = tmp_path_factory.mktemp("whole")
    for index in range(3):
        for place, contrast in enumerate(("T1w", "FLAIR")):
            head = folders.head(10 * index + place, (36, 40, 32))
            folders.write(root / f"p{index}" / f"p{index}_{contrast}.nii.gz", head, (3.0, 3.0, 3.0))
    return root


def net(seed: int = 0) -> JointNet:
    torch.manual_seed(seed)
    made = BrainPrior.build(SETTINGS)
    assert isinstance(made, JointNet)
    return made


def whole(tree: Path) -> Volume:
    return patient_volumes(tree, CHANNELS, (), False)[0]


def test_a_digital_head_is_a_cube_in_which_the_front_is_on_top() -> None:
    slab = cohort_cube(Cohort(3), 5, ("T1w", "FLAIR"), 6.0)
    assert slab.images.shape == (2, 33, 38, 32)
    assert slab.body is not None
    assert slab.body.shape == slab.images.shape[1:]
    assert 0.9 < float(np.percentile(slab.images[0][slab.images[0] > 0.1], 99)) <= 1.1
    shown = slab.images[0] > 0.1
    assert shown[22:].mean() < shown[8:22].mean(), "the top of the head is narrower"


def test_a_piece_lies_in_the_volume_and_shows_something(tree: Path) -> None:
    volume, rng = whole(tree), np.random.default_rng(0)
    for _ in range(20):
        found = piece(volume, 12, rng)
        assert found.images.ndim == 4
        assert max(found.images.shape[1:]) <= MARGIN * 12
        assert min(found.images.shape[1:]) >= 12
        assert (found.images > 0.1).any()


def test_what_is_cut_has_the_size_and_air_where_the_images_end() -> None:
    images = torch.full((1, 20, 20, 20), 0.5)
    found = cut(images, -1.0, 64, np.random.default_rng(0))
    assert found.shape == (1, 64, 64, 64)
    assert float(found[0, 0, 0, 0]) == pytest.approx(-1.0)
    assert float(found.max()) == pytest.approx(0.5, abs=1e-5)


def test_thick_slices_are_no_volume(tree: Path, tmp_path: Path) -> None:
    assert is_whole(whole(tree))
    thick = folders.bids(tmp_path, 1)
    assert not is_whole(patient_volumes(thick, CHANNELS, (), False)[0])
    with pytest.raises(SettingError, match="volumes without thick slices"):
        ImageCourse(BrainPrior, net(), ImageData({str(thick): 1.0}, patch=16), 0)


def test_lessons_of_volumes_are_cubes_of_every_kind_without_neighbours(tree: Path) -> None:
    slab, rng, made = piece(whole(tree), 16, np.random.default_rng(0)), np.random.default_rng(1), net()
    seen = set()
    for _ in range(60):
        found = lesson(slab, made, 16, rng)
        assert found.truth.shape == found.known.anchor.shape == (1, 3, 16, 16, 16)
        assert found.known.neighbours.shape == (1, 0, 16, 16, 16)
        assert int(found.known.status[0, 1]) == ABSENT, "this patient has no T2w"
        seen |= set(found.known.status[0].tolist())
        measured = found.known.status[0] == MEASURED
        assert torch.equal(found.known.anchor[0, measured], found.truth[0, measured])
        assert torch.isfinite(found.known.condition(torch.zeros(1))).all()
    assert seen == {0, 1, 2, 3, 4}


def test_a_cube_is_degraded_along_all_of_its_axes(tree: Path) -> None:
    """Thick slices make neighbouring voxels alike along the axis across them, whichever that is."""
    rng = np.random.default_rng(2)
    images = rng.uniform(0.2, 1, (1, 24, 24, 24)).astype(np.float32)
    slab, smooth = Slab(images, ("T1w",), "p", "s"), set()
    for _ in range(120):
        known = lesson(slab, net(), 16, rng, {"enhance": 1.0}).known
        if known.kind[0, 2]:
            steps = [float(known.anchor[0, 0].diff(dim=axis).abs().mean()) for axis in range(3)]
            if min(steps) < 0.6 * sorted(steps)[1]:
                smooth.add(int(np.argmin(steps)))
    assert smooth == {0, 1, 2}


def test_the_loss_falls_on_one_batch(tree: Path) -> None:
    slab, rng, made = piece(whole(tree), 16, np.random.default_rng(0)), np.random.default_rng(1), net()
    lessons = [lesson(slab, made, 16, rng, {"complete": 1.0}) for _ in range(2)]
    known, truth = collate([one.known for one in lessons]), torch.cat([one.truth for one in lessons])
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = BrainPrior.lesson_loss(made, known, truth, torch.Generator().manual_seed(0))
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[2] < losses[0], "after two steps"
    assert losses[-1] < 0.9 * losses[0]
    guess = BrainPrior.lesson_guess(made, known)
    assert guess.shape == truth.shape


def test_a_recipe_of_volumes_trains_and_its_weights_draw_volumes(tree: Path, tmp_path: Path) -> None:
    lines = [
        '[model]\nname = "brain-prior"\nchannels = ["T1w", "T2w", "FLAIR"]\nwidths = [6, 8]\nblocks = 1\ndims = 3',
        "[data]\nsources = { data = 1.0 }\nvalidate_on = 1\nbatch = 2\npatch = 16",
        '[training]\nsteps = 2\ncheckpoint = 2\nvalidate = 1\nworkers = 0\ndevice = "cpu"',
    ]
    (tmp_path / "cubes.toml").write_text("\n".join(lines), encoding="utf-8")
    weights = train(tmp_path / "cubes.toml", tmp_path / "run", data=tree)
    (line,) = (json.loads(one) for one in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines())
    assert np.isfinite(line["loss"])
    known = lesson(piece(whole(tree), 16, np.random.default_rng(0)), net(), 16, np.random.default_rng(3)).known
    draws = BrainPrior(2, str(weights), "cpu").complete(known, 2, 0)
    assert draws.shape == (1, 2, 3, 16, 16, 16)
    measured = known.status[0] == MEASURED
    assert torch.equal(draws[0, 0, measured], known.anchor[0, measured])
