"""The U-Net as an ONNX graph (opset 17), written node by node: the same network for runtimes other
than torch.

Written here and not traced, so that exporting takes milliseconds, needs no compiler and gives the
same file with every version of torch. Scale and shift of each block are one matrix product; all
else is as in `nets/unet.py`, and whoever loads the graph compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from veridical.errors import MissingExtra, SettingError
from veridical.nets.unet import ResidualBlock, UNet

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

OPSET, IR = 17, 9
INPUTS, OUTPUT = ("inputs", "condition"), "outputs"


def unet_onnx(net: UNet) -> ModelProto:
    """Return the graph of a U-Net.

    Args:
        net: on slices, float32, on any device.

    Returns: A model from `inputs` `(batch, channel, y, x)`, whose sides are multiples of
        `net.multiple`, and `condition` `(batch, conditions)` to `outputs` `(batch, channel, y, x)`.
        Batch and sides are free.

    Raises:
        SettingError: the network is one of volumes.
        MissingExtra: `onnx` is not installed.
    """
    if net.dims != 2:
        raise SettingError(
            "Networks on slices are exported; this one works on volumes. Use it by torch."
        )
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtra(
            "Exporting needs the package onnx, which is not there: pip install 'veridical[fast]'."
        ) from error
    graph = Graph()
    graph.unet(net)
    kind = TensorProto.FLOAT
    inputs, outputs = net.enter.in_channels // 4, net.leave.out_channels // 4
    said = helper.make_graph(
        graph.nodes,
        "unet",
        [
            helper.make_tensor_value_info(INPUTS[0], kind, ["batch", inputs, "y", "x"]),
            helper.make_tensor_value_info(INPUTS[1], kind, ["batch", conditions_of(net)]),
        ],
        [helper.make_tensor_value_info(OUTPUT, kind, ["batch", outputs, "y", "x"])],
        graph.constants,
    )
    return helper.make_model(
        said,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="veridical",
    )


def conditions_of(net: UNet) -> int:
    """Return the length of the condition vector of a U-Net."""
    return int(next(net.embed.parameters()).shape[1])


class Graph:
    """Nodes and constants in the order in which they are made; every method returns the name of
    what it adds.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def unet(self, net: UNet) -> None:
        """Add the whole network, from `inputs` and `condition` to `outputs`."""
        embedding = INPUTS[1]
        for index in (0, 2):
            embedding = self.silu(self.linear(f"embed.{index}", net.embed[index], embedding))
        halved = self.node("SpaceToDepth", "halve", INPUTS[0], blocksize=2)
        hidden = self.conv("enter", net.enter, halved, weight=depth_first(net.enter.weight))
        skips: list[str] = []
        for level, stage in enumerate(net.down):
            hidden = self.stage(f"down.{level}", stage, hidden, embedding)
            if level < len(net.shrink):
                skips.append(hidden)
                hidden = self.conv(f"shrink.{level}", net.shrink[level], hidden)
        for level in reversed(range(len(net.up))):
            grown = self.conv(f"grow.{level}", net.grow[level], hidden)
            hidden = self.stage(
                f"up.{level}",
                net.up[level],
                self.node("Add", f"skip.{level}", grown, skips[level]),
                embedding,
            )
        left = self.conv("leave", net.leave, hidden)
        self.nodes.append(
            self.made("DepthToSpace", "double", (left,), OUTPUT, blocksize=2, mode="CRD")
        )

    def stage(self, name: str, blocks: nn.Module, hidden: str, embedding: str) -> str:
        """Add the residual blocks of a level."""
        for index, block in enumerate(blocks.children()):
            if isinstance(block, ResidualBlock):
                hidden = self.block(f"{name}.{index}", block, hidden, embedding)
        return hidden

    def block(self, name: str, block: ResidualBlock, hidden: str, embedding: str) -> str:
        """Add one residual block; the 1 of its scale is added to the bias beforehand."""
        width = block.first.out_channels
        bias = block.film.bias.detach() + torch.cat([torch.ones(width), torch.zeros(width)]).to(
            block.film.bias
        )
        film = self.linear(f"{name}.film", block.film, embedding, bias)
        film = self.node(
            "Reshape",
            f"{name}.film.maps",
            film,
            self.constant(f"{name}.film.shape", torch.tensor([0, -1, 1, 1])),
        )
        scale, shift = f"{name}.scale", f"{name}.shift"
        self.nodes.append(self.made("Split", f"{name}.film.parts", (film,), scale, shift, axis=1))
        first = self.conv(f"{name}.first", block.first, hidden)
        if isinstance(block.norm, nn.InstanceNorm2d):
            first = self.norm(f"{name}.norm", block.norm, first)
        scaled = self.node("Mul", f"{name}.scaled", first, scale)
        active = self.silu(self.node("Add", f"{name}.shifted", scaled, shift))
        return self.node(
            "Add", f"{name}.sum", hidden, self.conv(f"{name}.second", block.second, active)
        )

    def norm(self, name: str, layer: nn.InstanceNorm2d, x: str) -> str:
        """Add an instance normalization without weights of its own."""
        width = layer.num_features
        parts = (torch.ones(width), torch.zeros(width))
        names = [
            self.constant(f"{name}.{n}", one)
            for n, one in zip(("scale", "bias"), parts, strict=True)
        ]
        return self.node("InstanceNormalization", name, x, *names, epsilon=layer.eps)

    def silu(self, x: str) -> str:
        """Add `x sigmoid(x)`."""
        return self.node("Mul", f"{x}.silu", x, self.node("Sigmoid", f"{x}.sigmoid", x))

    def linear(self, name: str, layer: nn.Module, x: str, bias: Tensor | None = None) -> str:
        """Add a linear layer."""
        parts = self.weights(name, layer, bias=bias)
        return self.node("Gemm", name, x, *parts, transB=1)

    def conv(self, name: str, layer: nn.Module, x: str, weight: Tensor | None = None) -> str:
        """Add a convolution or a transposed one."""
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            raise AssertionError("a U-Net has convolutions of two kinds")
        kind = "Conv" if isinstance(layer, nn.Conv2d) else "ConvTranspose"
        pads = [int(p) for p in layer.padding] * 2
        parts = self.weights(name, layer, weight=weight)
        return self.node(
            kind,
            name,
            x,
            *parts,
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=pads,
        )

    def weights(self, name: str, layer: nn.Module, **other: Tensor | None) -> list[str]:
        """Add weight and bias of a layer as constants."""
        own = {part: getattr(layer, part).detach() for part in ("weight", "bias")}
        own |= {part: tensor.detach() for part, tensor in other.items() if tensor is not None}
        return [self.constant(f"{name}.{part}", tensor) for part, tensor in own.items()]

    def constant(self, name: str, tensor: Tensor) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(tensor.cpu().contiguous().numpy(), name))
        return name

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one result, which has its name."""
        self.nodes.append(self.made(kind, name, inputs, name, **attributes))
        return name

    def made(
        self, kind: str, name: str, inputs: tuple[str, ...], *outputs: str, **attributes: Any
    ) -> NodeProto:
        """Return a node."""
        from onnx import helper

        return helper.make_node(kind, list(inputs), list(outputs), name, **attributes)


def depth_first(weight: Tensor) -> Tensor:
    """Reorder the inputs of a convolution after pixel-unshuffle as ONNX's SpaceToDepth orders them:
    place before channel.
    """
    out, inputs = weight.shape[:2]
    return (
        weight.detach()
        .reshape(out, inputs // 4, 4, *weight.shape[2:])
        .transpose(1, 2)
        .reshape(weight.shape)
    )
