"""The segmenter of heads: structures of brain and skull in any contrast, at 2 mm.

A small three-dimensional U-Net, trained on heads that were painted from label maps in random
contrasts (Billot et al., Medical Image Analysis 2023, 10.1016/j.media.2023.102789), proposes where
structures lie. An atlas of real heads is then fitted to the image, whose own brightness decides:
neither prefers a scanner or a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from veridical.models import weights
from veridical.models.atlas_fit import segmented_by_atlas
from veridical.models.base import LabelModel, WithWeights, pick_device
from veridical.models.head_atlas import head_atlas
from veridical.nets.backbone import backbone
from veridical.phantoms.free_contrast import scaled
from veridical.phantoms.label_maps import NAMES
from veridical.types import Array

SPACING = 2.0
"""mm of the grid that it works on."""
MULTIPLE = 16
"""Sides are padded to multiples of this."""
MEMBERS: dict[str, tuple[str, ...]] = {
    "background": ("background",),
    "white matter": ("white matter",),
    "cortex": ("cortex",),
    "lateral ventricle": ("lateral ventricle",),
    "third and fourth ventricle": ("third and fourth ventricle",),
    "cerebellar white matter": ("cerebellar white matter",),
    "cerebellar cortex": ("cerebellar cortex",),
    "thalamus": ("thalamus",),
    "caudate": ("caudate",),
    "putamen": ("putamen",),
    "pallidum": ("pallidum",),
    "brain stem": ("brain stem",),
    "hippocampus and amygdala": ("hippocampus and amygdala",),
    "fluid around the brain": ("fluid around the brain", "sinus and dura", "vessel"),
    "lesion": ("lesion",),
    "skull": ("compact bone", "spongy bone"),
    "rest of the head": ("eye", "muscle", "mucosa", "fat", "spinal cord", "skin"),
}
"""Group that is told apart -> structures of the label maps."""
GROUPS = tuple(MEMBERS)
BRAIN = tuple(range(1, 15))
"""Positions of the groups inside of the skull."""
GAUSSIANS = {"background": 2, "fluid around the brain": 2, "skull": 2, "rest of the head": 3}
"""Groups of several tissues, and how many kinds of brightness each has in an image; others one."""
INNER = tuple(
    GROUPS.index(name) for name in GROUPS[1:15] if name not in ("fluid around the brain", "lesion")
)
"""Groups that show where a head is."""
_TABLE = np.array(
    [next(g for g, names in enumerate(MEMBERS.values()) if name in names) for name in NAMES],
    np.uint8,
)


def grouped(structures: Array) -> Array:
    """Return the groups, positions in `GROUPS`, of structures of the label maps."""
    return np.asarray(_TABLE[structures])


@dataclass(frozen=True)
class HeadSegmenter(WithWeights, LabelModel):
    """Structures of heads in any MR contrast or CT."""

    name: ClassVar[str] = "head-segmenter"
    learns: ClassVar[str] = "segmentation"
    weights: str = "segmenter"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    @property
    def labels(self) -> tuple[str, ...]:
        return GROUPS

    @property
    def spacing(self) -> float:
        return SPACING

    def probabilities(self, volume: Array) -> Array:
        """Return probabilities `(label, x, y, z)`.

        Args:
            volume: `(x, y, z)` at 2 mm, RAS, non-negative: MR, or CT as HU + 1000.
        """
        place = pick_device(self.device)
        image = torch.from_numpy(scaled(volume)).to(place)
        pad = [side for n in reversed(volume.shape) for side in (0, -n % MULTIPLE)]
        padded = functional.pad(image, pad)[None, None]
        with torch.inference_mode():
            found = _network(self.weights, place)(padded, torch.zeros(1, 1, device=place))
        x, y, z = volume.shape
        found = found[0, :, :x, :y, :z].softmax(0).clone()
        if self.card["net"].get("atlas", False):
            counts = [GAUSSIANS.get(name, 1) for name in GROUPS]
            found = segmented_by_atlas(image, found, head_atlas().to(place), SPACING, counts, INNER)
            outside = torch.from_numpy(empty(volume)).to(place)
            found[:, outside], found[0, outside] = 0.0, 1.0
        return np.asarray(found.cpu().numpy())

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained network from the recipe's `[model]` table: `backbone`, its settings,
        and `atlas`: whether an atlas of real heads and the image's own brightness decide, guided
        by the network.
        """
        left = {name: value for name, value in settings.items() if name != "atlas"}
        return backbone(str(left.pop("backbone", "unet")), 1, len(GROUPS), 1, {"dims": 3, **left})


def empty(volume: Array) -> Array:
    """Return the zeros of a volume that reach its border, bool `(x, y, z)`: air, or what was
    removed with the skull, where the atlas would have one.
    """
    parts, _ = ndimage.label(volume == 0)
    sides = [np.take(parts, (0, -1), axis).ravel() for axis in range(3)]
    return np.asarray(np.isin(parts, np.setdiff1d(np.concatenate(sides), 0)))


@cache
def _network(name: str, device: torch.device) -> nn.Module:
    return weights.network(HeadSegmenter.name, HeadSegmenter.build, name).to(device).eval()
