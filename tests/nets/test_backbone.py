"""Laws of every backbone: built by name with settings of its own, laid out for CPUs, exported or
not.
"""

from __future__ import annotations

import pytest
import torch

from veridical import registry
from veridical.errors import SettingError
from veridical.nets.backbone import Backbone, backbone

NAMES = list(registry.entries("backbone"))


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_that_exports_gives_a_graph_and_one_that_does_not_says_so(name: str) -> None:
    net = backbone(name, 3, 1, 4, {})
    if net.exports:
        pytest.importorskip("onnx")
        assert [each.name for each in net.onnx().graph.input] == ["inputs", "condition"]
    else:
        with pytest.raises(NotImplementedError, match="not exported"):
            net.onnx()


def test_it_is_built_by_name_with_its_own_settings_and_laid_out_for_cpus() -> None:
    net = backbone("unet", 3, 2, 4, {"widths": (8, 8), "blocks": 1})
    assert isinstance(net, Backbone)
    assert (net.inputs, net.conditions, net.multiple) == (3, 4, 4)
    wide = [p for p in net.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert wide
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)


@pytest.mark.parametrize(
    ("settings", "word"), [({"widhts": (8,)}, "'widths'"), ({"inputs": 3}, "no setting 'inputs'")]
)
def test_settings_that_it_has_not_are_refused_with_the_nearest(
    settings: dict[str, object], word: str
) -> None:
    with pytest.raises(SettingError, match=word):
        backbone("unet", 3, 1, 4, settings)


def test_an_unknown_backbone_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SettingError, match=r"No backbone is called 'unett'\. Did you mean 'unet'"):
        backbone("unett", 3, 1, 4, {})
