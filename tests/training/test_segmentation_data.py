"""Laws of what a segmenter learns from: the step decides the crop, heads held out stay apart, and
the loss is that of an overlap.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import painted
import segmenters
from veridical.errors import SettingError
from veridical.models.head_segmenter import GROUPS, HeadSegmenter, grouped
from veridical.models.weights import card
from veridical.phantoms.label_maps import structure
from veridical.training import segmentation_data as module
from veridical.training.segmentation_data import (
    Crops,
    SegmentationCourse,
    SegmentationData,
    soft_dice,
)
from veridical.training.train import train
from veridical.training.training_data import training_data

CPU = torch.device("cpu")
CROP = (24, 24, 20)


@pytest.fixture(autouse=True)
def heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three small heads be the label maps on disk, and crops lie about their middle."""
    monkeypatch.setenv("VERIDICAL_DATA", str(painted.data_root()))
    monkeypatch.setattr(module, "OFF", (4.0, 4.0, 4.0))


def course(validation: bool = False, seed: int = 0, **settings: Any) -> SegmentationCourse:
    data = SegmentationData(held_out=("head02",), crop=CROP, **settings)
    found = data.course(HeadSegmenter, segmenters.NET, seed, validation)
    assert isinstance(found, SegmentationCourse)
    return found


@cache
def crops(step: int) -> Crops:
    return course()[step]


def test_the_step_decides_the_crop_whoever_prepares_it() -> None:
    first, again, other = course()[3], course()[3], course(seed=1)[3]
    for part in ("images", "labels"):
        assert torch.equal(getattr(first, part), getattr(again, part))
        assert not torch.equal(getattr(first, part), getattr(other, part))
    (loaded,) = course().loader([3], workers=1)
    assert torch.equal(loaded.images, first.images)


def test_images_and_groups_have_the_size_asked_for_and_the_range_that_the_model_sees() -> None:
    item = course(batch=2)[0]
    assert item.images.shape == (2, 1, *CROP)
    assert item.labels.shape == (2, *CROP)
    for step in range(8):
        images, labels = crops(step).images, crops(step).labels
        assert torch.isfinite(images).all()
        assert 0 <= float(images.min()) <= float(images.max()) <= 1.5**2.2
        assert int(labels.max()) < len(GROUPS)
        assert len(labels.unique()) > 4
        assert float(images[:, 0][labels > 0].mean()) > 1.5 * float(
            images[:, 0][labels == 0].mean()
        )


def test_groups_are_those_of_the_patient_on_the_grid_of_the_image() -> None:
    """White matter is even inside; where the image is sampled twice as fine, it is the same."""
    made = course()
    for index in range(6):
        image, labels = made.sample(index)
        white = labels == GROUPS.index("white matter")
        if white.sum() > 200:
            assert image[white].std() < 0.6 * (image.std() + image[white].mean())
    drawn = made.heads.structures(0, np.full(3, -20.0), 2.0, (20, 20, 20))
    assert set(np.unique(grouped(drawn))) <= set(range(len(GROUPS)))
    assert grouped(np.array([structure("spongy bone")]))[0] == GROUPS.index("skull")


def test_heads_held_out_are_never_trained_on_and_are_all_that_is_validated_on() -> None:
    seen, unseen = course(), course(True)
    assert {head.name for head in seen.heads.maps} == {"head01", "head03"}
    assert {head.name for head in unseen.heads.maps} == {"head02"}
    assert seen.heads.seed != unseen.heads.seed
    assert (seen.patients(), unseen.patients()) == ({"painted": 2}, {"painted": 1})
    assert seen.barred() == []
    assert "Apache-2.0" in seen.licences()["painted"]


def perfect(labels: Tensor, sharp: float = 40.0) -> Tensor:
    return sharp * functional.one_hot(labels, len(GROUPS)).movedim(-1, 1).float()


def test_the_soft_dice_of_a_perfect_answer_is_one_for_every_group() -> None:
    labels = crops(0).labels
    torch.testing.assert_close(
        soft_dice(perfect(labels), labels), torch.ones(len(GROUPS)), atol=1e-4, rtol=0
    )


def test_the_soft_dice_is_the_overlap_and_groups_that_are_not_there_do_not_count() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    labels[0, :2] = 1
    found = labels.clone()
    found[0, 1:3] = 1
    found[0, :1] = 0
    dice = soft_dice(perfect(found), labels)
    assert float(dice[1]) == pytest.approx((2 * 16 + 1) / (64 + 1), abs=1e-4)
    assert torch.equal(dice[2:], torch.ones(len(GROUPS) - 2))
    shared = soft_dice(torch.zeros(1, len(GROUPS), 4, 4, 4), labels)
    share = 1 / len(GROUPS)
    assert float(shared[1]) == pytest.approx((2 * 32 * share + 1) / (64 * share + 32 + 1), rel=1e-4)


class Known(nn.Module):
    """Answers with groups that are known beforehand."""

    def __init__(self, answers: list[Tensor]) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, images: Tensor, blank: Tensor) -> Tensor:
        assert images.shape[1] == blank.shape[1] == 1
        assert not blank.any()
        return perfect(self.answers.pop(0))


def test_the_loss_of_a_perfect_answer_is_zero_and_of_none_that_of_chance() -> None:
    made, item = course(), crops(0)
    generator = torch.Generator().manual_seed(0)
    (best,) = made.losses(Known([item.labels]), item, generator, CPU)
    assert float(best) == pytest.approx(0, abs=1e-3)
    net = HeadSegmenter.build(segmenters.NET)
    (loss,) = made.losses(net, item, generator, CPU)
    even = soft_dice(torch.zeros(1, len(GROUPS), *CROP), item.labels).mean()
    assert float(loss.detach()) == pytest.approx(math.log(len(GROUPS)) + 1 - float(even), rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert net.get_submodule("leave").weight.grad.any()


def test_validation_is_the_dice_of_each_group_on_heads_held_out() -> None:
    made = course(True)
    answers = [made[index].labels for index in range(2)]
    scores = made.validate(Known([*answers]), 2, CPU)
    assert scores["dice"] == 1.0
    assert {name for name in scores if name != "dice"} == {
        f"dice_{name}"
        for name in ("white_matter", "cortex", "lateral_ventricle", "skull", "lesion")
    }, "these heads have no putamen"
    assert scores["dice_white_matter"] == 1.0
    nothing = made.validate(Known([torch.zeros_like(answer) for answer in answers]), 2, CPU)
    assert nothing["dice"] == 0.0


def test_a_segmenter_has_nothing_to_calibrate() -> None:
    assert training_data("segmentation") is SegmentationData
    assert SegmentationData.jobs_of({}) == ()
    with pytest.raises(SettingError, match="no interval"):
        SegmentationData.cases("segmenter", "labels", None, 3, lambda *_: None)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"sources": {"ixi": 1.0}}, "'painted' heads alone"),
        ({"crop": (80, 96)}, "three sides"),
        ({"crop": (80, 8, 80)}, "at least 16"),
        ({"batch": 0}, "batch = 0"),
    ],
)
def test_data_out_of_range_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        SegmentationData(**settings)


def test_a_recipe_trains_weights_that_label(tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        '[model]\nname = "head-segmenter"\ndims = 3\nwidths = [8, 8]\nblocks = 1\n'
        '[data]\nheld_out = ["head02"]\ncrop = [16, 16, 16]\n'
        "[training]\nsteps = 2\nworkers = 0\nwarmup = 1\nvalidate = 1\n",
        encoding="utf-8",
    )
    weights = train(recipe, tmp_path / "run")
    found = card(str(weights))
    assert found["model"] == "head-segmenter"
    assert (found["patients"], found["validation_patients"]) == ({"painted": 2}, {"painted": 1})
    assert found["may_ship"]
    assert 0 <= found["validation"]["dice"] <= 1
    volume = np.random.default_rng(0).uniform(0, 1, (20, 20, 20))
    probabilities = HeadSegmenter(str(weights), "cpu").probabilities(volume)
    assert probabilities.shape == (len(GROUPS), 20, 20, 20)
