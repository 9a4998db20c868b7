"""Adapt a trained network to little data: low-rank changes of its layers, or its last layer alone,
that end as plain weights.

Hu et al., LoRA: low-rank adaptation of large language models, ICLR 2022 (arXiv 2106.09685): a
layer learns the product of two thin matrices that is added to its weights. The product begins as
zero, so that training begins with the network as it was; merged, it costs nothing at run time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from veridical.errors import SettingError, nearest
from veridical.nets.backbone import Backbone

WAYS = ("all", "lora", "head")
"""What is learned: every weight; low-rank changes of all layers, and biases; or the last layer of
each backbone, and biases.
"""
LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class LowRank(nn.Module):
    """A change of a weight: the product of two thin matrices, zero when it is made.

    Args:
        weight: of a linear layer or a convolution of any dimension; its first axis makes the rows.
        rank: columns of the first and rows of the second matrix.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.down = nn.Parameter(torch.empty(rank, columns).to(weight))
        nn.init.normal_(self.down, std=1 / math.sqrt(columns))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its change."""
        changed: Tensor = weight + (self.up @ self.down).view(weight.shape)
        return changed


def adapt(net: nn.Module, way: str, rank: int) -> nn.Module:
    """Return the network with only that part of it left to learn which a way of adapting learns.

    Args:
        net: trained; changed in place.
        way: one of `WAYS`.
        rank: of `lora`; a layer too thin for it stays as it is.

    Raises:
        SettingError: there is no such way, or the rank is below 1.
    """
    if way not in WAYS:
        raise SettingError(f"adapt = {way!r} is not known. {nearest(way, WAYS)}")
    if rank < 1:
        raise SettingError(f"rank = {rank}; expected 1 or more.")
    if way == "all":
        return net
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.ndim <= 1)  # biases, and norms where there are any
    layers = [layer for layer in net.modules() if isinstance(layer, LAYERS)]
    if way == "head":
        for backbone in (part for part in net.modules() if isinstance(part, Backbone)):
            last = [layer for layer in backbone.modules() if isinstance(layer, LAYERS)][-1]
            last.weight.requires_grad_(True)
        return net
    for layer in layers:
        if rank < min(len(layer.weight), layer.weight[0].numel()):
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
    return net


def merged(net: nn.Module) -> dict[str, Tensor]:
    """Return the weights as the network without adapters has them: name -> tensor, detached."""
    found = {}
    for name, value in net.state_dict().items():
        layer, within, part = name.partition(".parametrizations.weight.")
        if not within:
            found[name] = value.detach()
        elif part == "original":
            found[f"{layer}.weight"] = torch.as_tensor(net.get_submodule(layer).weight).detach()
    return found


def learned(net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are left to learn."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]
