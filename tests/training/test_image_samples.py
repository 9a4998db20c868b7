"""Laws of the course of models of images: the number decides the batch, sources and channels fit the net, scores are true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import folders
from veridical.errors import SettingError
from veridical.models.brain_prior import BrainPrior
from veridical.models.known import Known
from veridical.nets.joint import JointNet
from veridical.training.image_data import YOURS, ImageData
from veridical.training.image_samples import Batch, ImageCourse, recoloured, unnamed

CHANNELS = ("T1w", "T2w", "FLAIR", "other")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.bids(tmp_path_factory.mktemp("set"), 3)


def course(data: ImageData, validation: bool = False, channels: tuple[str, ...] = CHANNELS) -> ImageCourse:
    return ImageCourse(BrainPrior, JointNet(channels, (4, 6), 1), data, 0, validation)


def mix(tree: Path, **settings: float | int) -> ImageData:
    return ImageData({str(tree): 1.0}, **({"batch": 4, "patch": 32} | settings))  # type: ignore[arg-type]


def alike(one: Batch, other: Batch) -> bool:
    return torch.equal(one.truth, other.truth) and torch.equal(one.known.anchor, other.known.anchor)


def test_the_number_decides_the_batch_whoever_prepares_it(tree: Path) -> None:
    first, again = course(mix(tree)), course(mix(tree))
    assert alike(first[5], again[5])
    assert not alike(first[5], first[6])
    loaded = list(first.loader([5, 6], workers=1))
    assert alike(loaded[0], again[5])
    assert alike(loaded[1], again[6])


def test_a_batch_has_the_size_asked_for(tree: Path) -> None:
    batch = course(mix(tree, batch=5, patch=24))[0]
    assert batch.truth.shape == batch.known.anchor.shape == (5, 4, 24, 24)


def test_sets_are_mixed_by_their_weight(tree: Path, tmp_path: Path) -> None:
    other = folders.bids(tmp_path / "other", 2, ("T2w",))
    made = course(ImageData({str(tree): 1.0, str(other): 3.0}, batch=8, patch=16))
    names = [name for number in range(40) for name in [made.pick(made.generator(number))]]
    assert np.mean([name == str(other) for name in names]) == pytest.approx(0.75, abs=0.15)
    assert made.patients() == {str(tree): 3, str(other): 2}


def test_images_without_a_channel_of_the_net_are_left_out_and_a_set_of_them_alone_is_refused(tree: Path) -> None:
    made = course(mix(tree), channels=("FLAIR", "CT"))
    assert {volume.names for volume, _ in made.pools[str(tree)]} == {("FLAIR",)}
    with pytest.raises(Exception, match="nothing fits"):
        course(mix(tree), channels=("CT",))


def test_now_and_then_a_slab_is_one_contrast_without_a_name(tree: Path) -> None:
    made, rng = course(mix(tree)), np.random.default_rng(0)
    slab = made.real(str(tree), rng)
    found = unnamed(slab, rng)
    assert found.names == ("other",)
    assert found.images.shape == (1, 3, *slab.images.shape[2:])
    rows = [row for number in range(30) for row in made[number].known.status.tolist()]
    assert 0.02 < np.mean([row[3] != 0 for row in rows]) < 0.25


def net() -> nn.Module:
    return BrainPrior.build({"channels": CHANNELS, "widths": [4, 6], "blocks": 1})


class Oracle(BrainPrior):
    """A model that is half way between the anchor and the truth."""

    truth: Tensor

    @classmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        return known.anchor + 0.5 * (cls.truth - known.anchor)


def test_validation_scores_the_drawn_channels_in_decibels(tree: Path) -> None:
    made = course(mix(tree, validate_on=1), validation=True)
    Oracle.truth = made[0].truth
    made.model = Oracle
    scores = made.validate(net(), 1, torch.device("cpu"))
    kinds = {name.split("_")[0] for name in scores}
    assert kinds
    for kind in kinds:
        gain = scores[f"{kind}_net_db"] - scores[f"{kind}_start_db"]
        assert gain == pytest.approx(20 * np.log10(2), abs=2e-3), "half the error is 6 dB"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"sources": {"cohrt": 1.0}}, "'cohort'"),
        ({"sources": {"cohort": 0.0}}, "above 0"),
        ({"sources": {"/nowhere/at/all": 1.0}}, "does not exist"),
        ({"sources": {YOURS: 1.0}}, "--data FOLDER"),
    ],
)
def test_sources_that_are_none_are_refused(data: dict[str, dict[str, float]], word: str) -> None:
    with pytest.raises(Exception, match=word):
        course(ImageData(**data))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"batch": 0}, "batch = 0"),
        ({"patch": 8}, "patch = 8"),
        ({"validate_on": -1}, "validate_on = -1"),
        ({"jobs": {"complte": 1.0}}, "'complete'"),
        ({"jobs": {"complete": 0.0}}, "no share above 0"),
        ({"degraded_by": {"blurr": 1.0}}, "'blur'"),
        ({"degraded_by": {"noise": 0.0}}, "no share above 0"),
    ],
)
def test_data_out_of_range_are_refused(settings: dict[str, float], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        ImageData(**settings)  # type: ignore[arg-type]


def test_a_new_contrast_keeps_air_dark_and_equal_values_equal() -> None:
    image = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8).repeat(2, 0)
    for seed in range(12):
        found = recoloured(image, np.random.default_rng(seed)).numpy()
        assert found[0, 0] == 0
        np.testing.assert_array_equal(found[::2], found[1::2])
        assert found.min() >= 0
        assert np.isfinite(found).all()
