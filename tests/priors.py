"""Image models whose draws are known beforehand, small weights for them, and volumes to use them on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from known_slices import awake
from veridical.audit.interval import Calibration
from veridical.models.base import ImageModel
from veridical.models.joint_prior import JointPrior
from veridical.models.known import Known
from veridical.training.train import write_tensors
from veridical.types import Geometry, Image

HEAD = ("T1w", "T2w", "FLAIR", "PD", "T1c", "other")
BODY = ("T1w", "CT", "PET")
SHAPE = (24, 28, 6)


@dataclass(frozen=True)
class Known4Sure(JointPrior):
    """Draws the anchor plus `share` of what is not known, as noise: 1 is the prior itself, 0 a model that is sure."""

    name: ClassVar[str] = "brain-prior"
    share: float = 1.0

    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        assert noise is not None
        levels = (known.level * known.drawn.flatten(1))[:, None, :, None, None]
        return known.anchor[:, None] + self.share * levels * noise


def band(multiplier: float = 2.0) -> dict[str, Any]:
    """A calibration as a card holds it."""
    return Calibration(0.9, 20, multiplier, 0.01, "made-up patients", (0.8, 0.9, 1.0)).to_dict()


def weights(
    kind: type[ImageModel], folder: Path, channels: tuple[str, ...] = HEAD, jobs: tuple[str, ...] = (), **card: Any
) -> str:
    """Write an untrained net of a model with its card, calibrated for some jobs, and return the path."""
    settings = {"channels": channels, "widths": (8, 8), "blocks": 1, "prior_mean": (0.4,) * len(channels)}
    settings["prior_std"] = (0.25,) * len(channels)
    torch.manual_seed(0)
    path = folder / f"{kind.name}-{len(channels)}-{len(jobs)}-{len(card)}.safetensors"
    write_tensors(path, dict(awake(kind.build(settings)).state_dict()), {})
    said = {"model": kind.name, "net": settings, "calibration": {job: band() for job in jobs}, **card}
    path.with_suffix(".json").write_text(json.dumps(said), encoding="utf-8")
    return str(path)


def volume(
    channels: tuple[str, ...] = ("T1w", "T2w"),
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = (2.0, 2.0, 4.0),
    **header: Any,
) -> Image:
    """An ellipsoid in a.u., CT in HU and PET in SUV, brighter towards right, front and top."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = x**2 + y**2 + 0.5 * z**2 < 0.8
    body = inside * (100.0 + 10 * x + 20 * y + 15 * z)
    made = {"CT": np.where(inside, 40.0 + 10 * x, -1000.0), "PET": 0.02 * body}
    data = np.stack([made.get(name, (1 + 0.3 * k) * body) for k, name in enumerate(channels)]).astype(np.float32)
    each = {name: {"CT": "HU", "PET": "SUV"}.get(name, "a.u.") for name in channels}
    units = next(iter(each.values())) if len(set(each.values())) == 1 else "mixed"
    return Image(data, Geometry(shape, np.diag([*spacing, 1.0])), units, channels, {"units": each, **header})
