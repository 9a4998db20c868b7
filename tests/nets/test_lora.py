"""Laws of adapting: it begins as the network that it adapts, learns only its part, and ends as
plain weights that give the same numbers.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from veridical.errors import SettingError
from veridical.nets import lora
from veridical.nets.backbone import Backbone, backbone

NETS: dict[str, dict[str, Any]] = {
    "unet": {"widths": (8, 16)},
    "dit": {"width": 16, "blocks": 1, "heads": 2},
    "mamba": {"width": 16, "blocks": 1},
}


def trained(name: str, **more: Any) -> Backbone:
    """A backbone whose weights are not those that it is made with."""
    torch.manual_seed(0)
    net = backbone(name, 2, 1, 1, NETS[name] | more)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def output(net: nn.Module, dims: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, *[8] * dims, generator=generator)
    with torch.inference_mode():
        out: torch.Tensor = net(x, torch.ones(1, 1))
    return out


@pytest.mark.parametrize(("name", "dims"), [("unet", 2), ("unet", 3), ("dit", 2), ("mamba", 2)])
def test_adapters_begin_as_nothing_and_merge_into_plain_weights(name: str, dims: int) -> None:
    more = {"dims": 3} if dims == 3 else {}
    net, plain = trained(name, **more), trained(name, **more)
    before = output(net, dims)
    lora.adapt(net, "lora", 2)
    assert torch.allclose(output(net, dims), before, atol=1e-6)
    with torch.no_grad():
        for parameter in lora.learned(net):
            parameter.add_(0.1 * torch.randn_like(parameter))
    plain.load_state_dict(lora.merged(net))
    assert not torch.allclose(output(net, dims), before, atol=1e-3)
    assert torch.allclose(output(plain, dims), output(net, dims), atol=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_the_change_of_a_layer_has_the_rank_asked_for(name: str) -> None:
    net, before = trained(name), trained(name).state_dict()
    lora.adapt(net, "lora", 2)
    with torch.no_grad():
        for parameter in lora.learned(net):
            parameter.add_(torch.randn_like(parameter))
    changed = [
        torch.linalg.matrix_rank((value - before[key]).flatten(1), rtol=1e-3)
        for key, value in lora.merged(net).items()
        if value.ndim > 1 and not torch.equal(value, before[key])
    ]
    assert changed
    assert all(int(rank) == 2 for rank in changed)


def test_with_head_the_last_layer_and_biases_learn_and_nothing_else() -> None:
    net = lora.adapt(trained("unet"), "head", 8)
    named = dict(net.named_parameters())
    assert named["leave.weight"].requires_grad
    others = {n for n, p in named.items() if p.requires_grad and p.ndim > 1}
    assert others == {"leave.weight"}
    assert all(p.requires_grad for n, p in named.items() if n.endswith("bias"))


def test_with_all_every_weight_learns() -> None:
    net = trained("unet")
    assert len(lora.learned(lora.adapt(net, "all", 8))) == len(list(net.parameters()))


def test_a_way_that_is_not_known_and_a_rank_of_none_are_refused() -> None:
    with pytest.raises(SettingError, match="Did you mean 'lora'"):
        lora.adapt(trained("unet"), "lorra", 8)
    with pytest.raises(SettingError, match="rank = 0"):
        lora.adapt(trained("unet"), "lora", 0)
