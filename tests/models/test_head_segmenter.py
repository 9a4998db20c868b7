"""Laws of the segmenter of heads: probabilities, any brightness, and groups of
structures.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import segmenters
import toys
from veridical import testing
from veridical.errors import FormatError, InputError, SettingError
from veridical.models import head_segmenter as module
from veridical.models.base import LabelModel, chosen
from veridical.models.head_segmenter import BRAIN, GROUPS, MEMBERS, HeadSegmenter, empty, grouped
from veridical.phantoms.label_maps import NAMES, structure


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HeadSegmenter:
    return HeadSegmenter(segmenters.weights(tmp_path_factory.mktemp("segmenter")), "cpu")


def test_it_keeps_the_promises_of_a_model_that_labels(model: HeadSegmenter) -> None:
    testing.check_model(model)
    assert model.labels[0] == "background"
    assert (model.spacing, model.stochastic, model.learns) == (2.0, False, "segmentation")
    assert len(model.weights_hash) == 64


def test_every_structure_of_the_label_maps_is_in_one_group() -> None:
    members = [name for names in MEMBERS.values() for name in names]
    assert sorted(members) == sorted(NAMES)
    found = grouped(np.arange(len(NAMES), dtype=np.uint8))
    for name in NAMES:
        assert name in MEMBERS[GROUPS[found[structure(name)]]]
    assert {GROUPS[g] for g in BRAIN} == set(GROUPS) - {"background", "skull", "rest of the head"}


def test_groups_told_apart_by_brightness_are_found_whatever_the_units(
    model: HeadSegmenter,
) -> None:
    image, truth = segmenters.head()
    found = model.probabilities(image.data[0])
    assert found.shape == (len(GROUPS), *image.geometry.shape)
    np.testing.assert_array_equal(found.argmax(0), truth)
    np.testing.assert_allclose(model.probabilities(7.5 * image.data[0]), found, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16, 16), (21, 18, 35), (9, 40, 1)])
def test_any_size_will_do_and_probabilities_sum_to_one(
    model: HeadSegmenter, shape: tuple[int, int, int]
) -> None:
    found = model.probabilities(np.random.default_rng(0).uniform(0, 90, shape))
    assert found.shape == (len(GROUPS), *shape)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_an_empty_image_is_background(model: HeadSegmenter) -> None:
    assert (model.probabilities(np.zeros((8, 8, 8))).argmax(0) == 0).all()


def test_it_is_built_undecided_with_one_output_a_group() -> None:
    net = HeadSegmenter.build(segmenters.NET)
    assert isinstance(net, nn.Module)
    logits = net(torch.rand(1, 1, 16, 16, 16), torch.zeros(1, 1))
    assert logits.shape == (1, len(GROUPS), 16, 16, 16)
    assert not logits.any()
    with pytest.raises(SettingError, match="'widths'"):
        HeadSegmenter.build({**segmenters.NET, "widhts": [8]})


def test_it_is_chosen_by_name_and_other_models_are_refused(model: HeadSegmenter) -> None:
    found = chosen("head-segmenter", LabelModel, weights=model.weights, device="cpu", draws=3)
    assert found == model
    with pytest.raises(SettingError, match=r"denoiser is no LabelModel.*head-segmenter"):
        chosen("denoiser", LabelModel)


def test_weights_of_another_model_or_none_are_refused() -> None:
    with pytest.raises(FormatError, match=r"weights of denoiser; expected weights of head-segm"):
        HeadSegmenter(str(toys.weights("denoiser")), "cpu").probabilities(np.ones((8, 8, 8)))
    with pytest.raises(InputError, match="no weights at 'nothing'"):
        HeadSegmenter("nothing", "cpu").probabilities(np.ones((8, 8, 8)))
    assert module.GROUPS[0] == "background"


def test_zeros_that_reach_the_border_are_empty_and_holes_are_not() -> None:
    volume = np.zeros((9, 9, 9))
    volume[2:7, 2:7, 2:7] = 1.0
    volume[4, 4, 4] = 0.0
    found = empty(volume)
    assert found.sum() == 9**3 - 5**3
    assert not found[4, 4, 4]
    assert not empty(np.ones((4, 4, 4))).any()
