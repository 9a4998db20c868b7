"""A probabilistic atlas of heads: how many of the learned heads have each structure at a place.

Made by `veridical.training.head_atlas` from the shapes in `phantoms/files/heads.npz`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from veridical.errors import FormatError

FILE = Path(__file__).parent / "files" / "head_atlas.npz"


@dataclass(frozen=True, eq=False)
class HeadAtlas:
    """Shares of heads by place.

    Args:
        shares: `(group, x, y, z)` float32 from 0 to 1, RAS.
        origin: `(3,)` mm from the middle of the brain, the first voxel.
        spacing: mm.
    """

    shares: Tensor
    origin: Tensor
    spacing: float

    def blurred(self, width: float) -> HeadAtlas:
        """Return the atlas under a Gaussian, `width` mm its standard deviation, on a grid of about
        twice that: a small array is looked up faster.
        """
        sigma, step = width / self.spacing, max(1, int(2 * width / self.spacing))
        blurred = [
            ndimage.gaussian_filter(one, sigma)[::step, ::step, ::step]
            for one in self.shares.cpu().numpy()
        ]
        shares = torch.from_numpy(np.stack(blurred)).to(self.shares)
        return HeadAtlas(shares, self.origin, self.spacing * step)

    def to(self, device: torch.device) -> HeadAtlas:
        return replace(self, shares=self.shares.to(device), origin=self.origin.to(device))

    def at(self, points: Tensor) -> Tensor:
        """Return the shares `(group, x, y, z)` at points `(x, y, z, 3)` in mm."""
        return sampled(self.shares, points, self.origin, self.spacing)

    @cached_property
    def centroids(self) -> Tensor:
        """Where the middle of each group lies, `(group, 3)` mm."""
        return centroids(self.shares, grid(self.origin, self.spacing, tuple(self.shares.shape[1:])))


def grid(origin: Tensor, spacing: float, shape: tuple[int, ...]) -> Tensor:
    """Return the points of a grid, `(x, y, z, 3)` mm."""
    axes = [
        start + spacing * torch.arange(n, dtype=torch.float32, device=origin.device)
        for start, n in zip(origin, shape, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def centroids(weights: Tensor, points: Tensor) -> Tensor:
    """Return the mean point `(group, 3)` under weights `(group, x, y, z)`."""
    flat = weights.flatten(1)
    return flat @ points.reshape(-1, 3) / (flat.sum(1, keepdim=True) + 1e-6)


def sampled(volume: Tensor, points: Tensor, origin: Tensor, spacing: float) -> Tensor:
    """Return `(channel, x, y, z)` of a volume `(channel, i, j, k)` at points `(x, y, z, 3)`;
    linear, beyond the border as at the border.
    """
    last = torch.tensor(volume.shape[1:], dtype=points.dtype, device=points.device) - 1
    place = 2 * (points - origin) / spacing / last - 1
    found = functional.grid_sample(
        volume[None], place.flip(-1)[None], padding_mode="border", align_corners=True
    )
    return found[0]


@cache
def head_atlas() -> HeadAtlas:
    """Return the atlas that ships.

    Raises:
        FormatError: the file in the package is damaged.
    """
    try:
        with np.load(FILE) as file:
            shares = torch.from_numpy(file["shares"].astype(np.float32) / 255)
            return HeadAtlas(shares, torch.from_numpy(file["origin"]), float(file["spacing"]))
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            f"{FILE.name}, the atlas in the package, cannot be read ({error}). Install "
            "Veridical again."
        ) from error
