"""The dose predictor: what a planner would make of a head-and-neck patient, with its spread.

A small three-dimensional U-Net corrects the mean of two optimized doses of nine beams
(`physics/fluence.py`) and says how far off it may be, as the scale of a Laplace distribution for
each voxel. The image and its mirror image are both predicted and averaged, with the parotids
exchanged. Boosted trees (`dose_trees.py`) predict the dose too; a weighted mean counts. In the
shipped weights the trees alone give the dose, and the network its spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from veridical.models import weights
from veridical.models.base import DoseModel, WithWeights, pick_device
from veridical.models.dose_anatomy import PlanAnatomy
from veridical.models.dose_features import CHANNELS, MIRRORED, STRATEGIES, UNIT, features
from veridical.models.dose_trees import dose_trees
from veridical.nets.backbone import backbone
from veridical.types import Array

INSIDE = CHANNELS.index("inside")
TREES = "trees"
"""Setting `start` of a network that corrects the dose of the boosted trees."""
LEAST_SCALE = 0.003
"""Of the Laplace distribution, in units of `UNIT`: 0.2 Gy."""
USUAL = -3.5
"""Logarithm of the scale before anything is learned."""


@dataclass(frozen=True)
class DosePredictor(WithWeights, DoseModel):
    """Dose in Gy from targets, organs and CT."""

    name: ClassVar[str] = "dose-predictor"
    learns: ClassVar[str] = "dose"
    weights: str = "dose"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def predict(self, anatomy: PlanAnatomy) -> tuple[Array, Array]:
        """Return dose and its standard deviation, `(x, y, z)` in Gy; 0 where no dose may be."""
        place = pick_device(self.device)
        seen = features(anatomy)
        share = float(self.card["net"].get("trees", 0.0))
        trees = dose_trees().predict(seen, anatomy.spacing)
        if self.card["net"].get("start", "") == TREES:
            seen = with_start(seen, trees)
        dose, scale = predicted(_network(self.weights, place), seen)
        dose = share * UNIT * trees + (1 - share) * dose
        return dose, np.sqrt(np.float32(2)) * scale

    def spread(self, seen: Array) -> Array:
        """Return the standard deviation `(x, y, z)`, Gy, from features."""
        _, scale = predicted(_network(self.weights, pick_device(self.device)), seen)
        return np.asarray(np.sqrt(np.float32(2)) * scale)

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained network from the recipe's `[model]` table: `backbone` and its
        settings; `trees`, the share of the boosted trees in the dose; and `start`, what the network
        corrects: the dose of the `trees`, or nothing said: the optimized doses.
        """
        left = {name: value for name, value in settings.items() if name not in ("trees", "start")}
        inputs = len(CHANNELS) + (settings.get("start", "") == TREES)
        return backbone(str(left.pop("backbone", "unet")), inputs, 2, 1, {"dims": 3, **left})


def estimates(net: nn.Module, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return dose and scale of its Laplace distribution, in units of `UNIT`.

    Args:
        net: the network.
        seen: features `(batch, channel, x, y, z)`.
    """
    found = net(seen, torch.zeros(len(seen), 1, device=seen.device)).float()
    inside = seen[:, INSIDE].float()
    first = len(CHANNELS) if seen.shape[1] > len(CHANNELS) else 0
    start = seen[:, first : first + len(STRATEGIES)].float().mean(1)
    scale = torch.exp((found[:, 1] + USUAL).clamp(-8.0, 1.0)) + LEAST_SCALE
    return (start + found[:, 0]) * inside, scale * inside


def predicted(net: nn.Module, seen: Array) -> tuple[Array, Array]:
    """Return dose and scale `(x, y, z)` in Gy, the mean over the patient and his mirror image."""
    device = next(net.parameters()).device
    box = inner(seen[INSIDE])
    shown = seen[(slice(None), *box)]
    batch = torch.from_numpy(np.stack([shown, mirrored(shown)]).astype(np.float32)).to(device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cpu")
    with torch.inference_mode(), half:
        dose, scale = estimates(net, batch)
    found = np.zeros((2, *seen.shape[1:]), np.float32)
    for place, one in enumerate((dose.clamp(min=0), scale)):
        found[(place, *box)] = UNIT * 0.5 * (one[0] + one[1].flip(0)).cpu().numpy()
    return found[0], found[1]


def inner(inside: Array) -> tuple[slice, slice, slice]:
    """Return the box of where dose may be, which is all that the network looks at."""
    boxes = ndimage.find_objects((inside > 0).astype(np.uint8))
    x, y, z = boxes[0] if boxes else (slice(None),) * 3
    return x, y, z


def mirrored(seen: Array) -> Array:
    """Return the features of a patient who is mirrored left to right."""
    order = [*MIRRORED, *range(len(MIRRORED), len(seen))]
    return np.ascontiguousarray(seen[order, ::-1])


def with_start(seen: Array, dose: Array) -> Array:
    """Return features with a dose, in units of `UNIT`, that the network is to correct."""
    return np.concatenate([seen, dose[None].astype(seen.dtype)])


@cache
def _network(name: str, device: torch.device) -> nn.Module:
    return weights.network(DosePredictor.name, DosePredictor.build, name).to(device).eval()
