"""A small residual U-Net, fast on a CPU: pixel-unshuffled by two, conditioned by scale and shift.

Images keep their intensities in a denoiser, which has no normalization. What has to recognize
tissue in any contrast, a segmenter or a generator, learns twice as fast with it.

FiLM conditioning: Perez et al. 2018, arXiv 1709.07871. Pixel-unshuffle halves the grid before the
first convolution, which quarters the cost of the widest layers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.errors import SettingError
from veridical.nets.backbone import Backbone

if TYPE_CHECKING:
    from onnx import ModelProto

CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
NORMS: dict[int, type[nn.InstanceNorm2d] | type[nn.InstanceNorm3d]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


class ResidualBlock(nn.Module):
    """Two convolutions of width 3 with scale and shift from the condition; the identity at
    initialization.
    """

    def __init__(self, width: int, embedding: int, dims: int = 2, normalized: bool = False) -> None:
        super().__init__()
        self.norm = NORMS[dims](width) if normalized else nn.Identity()
        self.first = CONVOLUTIONS[dims](width, width, 3, padding=1)
        self.second = CONVOLUTIONS[dims](width, width, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        film = self.film(embedding)
        scale, shift = film.reshape(*film.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        hidden = functional.silu(torch.addcmul(shift, self.norm(self.first(x)), 1.0 + scale))
        out: Tensor = x + self.second(hidden)
        return out


class UNet(Backbone):
    """Map `(batch, inputs, y, x)` and a condition `(batch, conditions)` to `(batch, outputs, y,
    x)`; any image size.

    In three dimensions the grid is `(z, y, x)`.

    Args:
        inputs, outputs: channels.
        conditions: length of the condition vector.
        widths: channels per level, the first at half resolution.
        blocks: residual blocks per level, on the way down and up.
        embedding: width of the condition's embedding.
        dims: 2 or 3.
        normalized: instance normalization in every block (Ulyanov et al. 2016, arXiv 1607.08022):
            for what has to be recognized, labels and other contrasts, in images of any brightness.

    Raises:
        SettingError: another number of dimensions.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conditions: int,
        widths: tuple[int, ...] = (32, 48, 96),
        blocks: int = 2,
        embedding: int = 64,
        dims: int = 2,
        normalized: bool = False,
    ) -> None:
        super().__init__()
        if dims not in CONVOLUTIONS:
            raise SettingError(f"dims = {dims}; a U-Net works on slices, 2, or on volumes, 3.")
        convolution, transposed, corners = CONVOLUTIONS[dims], TRANSPOSED[dims], 2**dims
        self.inputs, self.conditions, self.multiple, self.dims = (
            inputs,
            conditions,
            2 ** len(widths),
            dims,
        )
        self.embed = nn.Sequential(
            nn.Linear(conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.enter = convolution(corners * inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(ResidualBlock(w, embedding, dims, normalized) for _ in range(blocks))
            for w in widths
        )
        self.shrink = nn.ModuleList(convolution(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.grow = nn.ModuleList(transposed(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            nn.ModuleList(ResidualBlock(w, embedding, dims, normalized) for _ in range(blocks))
            for w in widths[:-1]
        )
        self.leave = convolution(widths[0], corners * outputs, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    @property
    def exports(self) -> bool:
        return self.dims == 2

    def onnx(self) -> ModelProto:
        from veridical.nets.unet_onnx import unet_onnx

        return unet_onnx(self)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shape = x.shape[2:]
        pad = [side for n in reversed(shape) for side in (0, -n % self.multiple)]
        x = halved(functional.pad(x, pad)).contiguous(memory_format=LAYOUTS[self.dims])
        embedding = self.embed(condition)
        hidden = self.enter(x)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            for block in _blocks(stage):
                hidden = block(hidden, embedding)
            if level < len(self.shrink):
                skips.append(hidden)
                hidden = self.shrink[level](hidden)
        for level in reversed(range(len(self.up))):
            hidden = self.grow[level](hidden) + skips[level]
            for block in _blocks(self.up[level]):
                hidden = block(hidden, embedding)
        out = doubled(self.leave(hidden))
        for axis, n in enumerate(shape, 2):
            out = out.narrow(axis, 0, n)
        return out


def halved(x: Tensor) -> Tensor:
    """Move each 2 x 2 square of `(batch, channel, y, x)`, or 2 x 2 x 2 cube of `(batch, channel, z,
    y, x)`, into channels.
    """
    if x.ndim == 4:
        return functional.pixel_unshuffle(x, 2)
    batch, count, *shape = x.shape
    z, y, columns = (n // 2 for n in shape)
    split = x.reshape(batch, count, z, 2, y, 2, columns, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return split.reshape(batch, 8 * count, z, y, columns)


def doubled(x: Tensor) -> Tensor:
    """The inverse of `halved`."""
    if x.ndim == 4:
        return functional.pixel_shuffle(x, 2)
    batch, count, z, y, columns = x.shape
    split = x.reshape(batch, count // 8, 2, 2, 2, z, y, columns).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return split.reshape(batch, count // 8, 2 * z, 2 * y, 2 * columns)


def _blocks(stage: nn.Module) -> list[ResidualBlock]:
    return [block for block in stage.children() if isinstance(block, ResidualBlock)]
