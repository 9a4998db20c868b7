"""A segmenter whose answers are known beforehand, and heads to try it on.

Its network tells groups apart by brightness alone, which rises from the outside of its heads to
their middle: skull, fluid, cortex, white matter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import cards
from veridical.models.head_segmenter import GROUPS, HeadSegmenter
from veridical.nets.unet import ResidualBlock
from veridical.training.checkpoints import write_tensors
from veridical.types import Array, Geometry, Image

NET = {"backbone": "unet", "dims": 3, "widths": [8, 8], "blocks": 1}
ORDER = ("background", "skull", "fluid around the brain", "cortex", "white matter")
"""Groups from dark to bright."""
SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Brightness of each in `head`."""
EDGES = (0.125, 0.375, 0.625, 0.875)
"""Brightness between two of them, relative to the brightest voxels."""
SHELLS = (("skull", 1.0), ("fluid around the brain", 0.9), ("cortex", 0.82), ("white matter", 0.6))
HALF = np.array([72.0, 88.0, 76.0])
"""Half axes of the head, mm."""
SLOPE = 60.0


def weights(folder: Path, name: str = "segmenter") -> str:
    """Write the segmenter with its card, and return the path."""
    net = HeadSegmenter.build(NET)
    _by_brightness(net)
    path = folder / f"{name}.safetensors"
    write_tensors(path, dict(net.state_dict()), {})
    path.with_suffix(".json").write_text(
        json.dumps(cards.complete({"model": "head-segmenter", "net": NET})), encoding="utf-8"
    )
    return str(path)


def _by_brightness(net: nn.Module) -> None:
    """Let every logit be a line over brightness, whose upper envelope has the edges above."""
    for module in net.modules():
        if isinstance(module, ResidualBlock) and module.second.bias is not None:
            nn.init.zeros_(module.second.bias)
    parts: Any = net
    for layer in (*parts.grow, parts.enter, parts.leave):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    bias = torch.full((len(GROUPS),), -100.0)
    slope = torch.zeros(len(GROUPS))
    lower = 0.0
    for place, name in enumerate(ORDER):
        lower += SLOPE * EDGES[place - 1] if place else 0.0
        slope[GROUPS.index(name)], bias[GROUPS.index(name)] = SLOPE * place, -lower
    with torch.no_grad():
        for part in range(8):
            parts.enter.weight[part, part, 1, 1, 1] = 1.0
            for group in range(len(GROUPS)):
                parts.leave.weight[8 * group + part, part, 1, 1, 1] = slope[group]
                parts.leave.bias[8 * group + part] = bias[group]


def truth(at: Array, size: float = 1.0) -> Array:
    """The group at points `(3, ...)`, mm from the middle of the head: shells of a head."""
    depth = np.sqrt(((at / (size * HALF).reshape(3, *[1] * (at.ndim - 1))) ** 2).sum(0))
    found = np.zeros(depth.shape, np.uint8)
    for name, size in SHELLS:
        found[depth < size] = GROUPS.index(name)
    return found


def head(
    spacing: tuple[float, float, float] = (4.0, 4.0, 4.0),
    directions: str = "RAS",
    turn: float = 0.0,
    cut: float = 0.0,
    channel: str = "T1w",
    size: float = 1.0,
) -> tuple[Image, Array]:
    """A head in values that the segmenter knows, and its groups `(x, y, z)`.

    Args:
        spacing: mm along the axes of the array.
        directions: where these run: `RAS`, `LPS`, `PIR`, ...
        turn: degrees about the patient's x.
        cut: mm that are missing at the top.
        channel: CT is in HU.
        size: of the head, relative to an adult's.
    """
    frame = np.zeros((3, 3))
    for axis, letter in enumerate(directions):
        frame["RLAPSI".index(letter) // 2, axis] = 1 if letter in "RAS" else -1
    angle = np.radians(turn)
    about = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    steps = about @ frame * np.array(spacing)
    reach = np.abs(np.linalg.inv(steps)) @ (size * HALF + 14)
    shape = tuple(int(n) for n in np.ceil(2 * reach))
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ ((np.array(shape) - 1) / 2) + (5.0, -20.0, 30.0)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    at = np.tensordot(affine[:3, :3], index, 1) + affine[:3, 3, None, None, None]
    groups = truth(at - np.array([5.0, -20.0, 30.0])[:, None, None, None], size)
    shown = np.zeros(len(GROUPS), np.float32)
    shown[[GROUPS.index(name) for name in ORDER]] = SHOWN
    data = shown[groups]
    kept = np.ones(shape, bool) if not cut else (at[2] < 30.0 + size * HALF[2] - cut)
    if cut:
        axis = next(a for a, letter in enumerate(directions) if letter in "SI")
        every = kept.all(tuple(a for a in range(3) if a != axis))
        data, groups = (np.compress(every, one, axis) for one in (data, groups))
        first = np.zeros(3)
        first[axis] = int(np.argmax(every))
        affine[:3, 3] += affine[:3, :3] @ first
    scaled = 2000.0 * data - 1000.0 if channel == "CT" else 300.0 * data
    units = "HU" if channel == "CT" else "a.u."
    grid = Geometry(data.shape, affine)  # type: ignore[arg-type]
    return Image(scaled[None].astype(np.float32), grid, units, (channel,)), groups
