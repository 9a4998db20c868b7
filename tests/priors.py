"""Image models whose draws are known beforehand, untrained generators with a card, and volumes to
use them on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

import cards
from veridical.audit.interval import Calibration
from veridical.conditioning.request import Request
from veridical.models.base import ImageModel
from veridical.models.generator import Generator
from veridical.training.checkpoints import write_tensors
from veridical.types import Array, Geometry, Image

HEAD = ("T1w", "T2w", "FLAIR", "PD", "T1c")
BODY = ("T1w", "CT", "PET")
SHAPE = (24, 28, 6)
SPREAD = 0.3
"""Standard deviation, in network units, of every contrast of which nothing is known."""
ERROR = 0.1
"""Of every map from one contrast to another, which is the contrast itself."""


def maps(contrasts: Sequence[str]) -> dict[str, Any]:
    """Intensity maps that make each contrast the same as the one that is given, or 0.4 of
    nothing.
    """
    alone = {"": {"terms": [0.4], "error": SPREAD, "range": [-1.0, 4.0]}}
    same = {"terms": [0.0, 1.0, 0.0, 0.0], "error": ERROR, "range": [-1.0, 4.0]}
    return {
        made: alone | {given: same for given in contrasts if given != made} for made in contrasts
    }


def band(multiplier: float = 2.0) -> dict[str, Any]:
    """A calibration as a card holds it."""
    return Calibration(0.9, 20, multiplier, 0.01, "made-up patients", (0.8, 0.9, 1.0)).to_dict()


def known_card(
    contrasts: Sequence[str] = HEAD, jobs: Sequence[str] = (), **net: Any
) -> dict[str, Any]:
    """The card of a generator that is calibrated for some jobs."""
    said = {
        "model": "generator",
        "net": {"contrasts": list(contrasts), "widths": [8, 8], "blocks": 1, **net},
        "intensity_maps": maps(contrasts),
        "calibration": {job: band() for job in jobs},
    }
    return cards.complete(said)


@dataclass(frozen=True)
class KnownForSure(ImageModel):
    """Draws the initial estimate plus `share` of its expected error, as noise: 1 knows nothing
    more, 0 is sure.
    """

    name: ClassVar[str] = "known-for-sure"
    share: float = 1.0
    stored: Mapping[str, Any] = field(default_factory=known_card)

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def card(self) -> dict[str, Any]:
        return dict(self.stored)

    def make(self, requests: Sequence[Request], draws: int, noise: Array | None = None) -> Array:
        assert noise is not None
        assert noise.shape == (len(requests), draws, *requests[0].initial.shape)
        found = [r.initial + self.share * r.level * n for r, n in zip(requests, noise, strict=True)]
        return np.asarray(np.stack(found), np.float32)


def awake(net: nn.Module, size: float = 0.05) -> nn.Module:
    """Add noise to the zeros of the initialization, so that every part of the net counts."""
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data += size * torch.randn(parameter.shape, generator=generator)
    return net


def weights(
    folder: Path,
    contrasts: Sequence[str] = HEAD,
    jobs: Sequence[str] = (),
    name: str = "",
    **net: Any,
) -> str:
    """Write an untrained small generator with its card, calibrated for some jobs, and return the
    path.
    """
    card = known_card(contrasts, jobs, **net)
    torch.manual_seed(0)
    words = [str(len(contrasts)), str(len(jobs)), *map(str, net.values())]
    path = folder / f"{name or '-'.join(['generator', *words])}.safetensors"
    write_tensors(path, dict(awake(Generator.build(card["net"])).state_dict()), {})
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return str(path)


def volume(
    channels: tuple[str, ...] = ("T1w", "T2w"),
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = (2.0, 2.0, 4.0),
    **header: Any,
) -> Image:
    """An ellipsoid in a.u., CT in HU and PET in SUV, brighter towards right, front and top."""
    x, y, z = np.meshgrid(
        *[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij"
    )
    inside = x**2 + y**2 + 0.5 * z**2 < 0.8
    body = inside * (100.0 + 10 * x + 20 * y + 15 * z)
    made = {"CT": np.where(inside, 40.0 + 10 * x, -1000.0), "PET": 0.02 * body}
    data = np.stack([made.get(name, (1 + 0.3 * k) * body) for k, name in enumerate(channels)])
    each = {name: {"CT": "HU", "PET": "SUV"}.get(name, "a.u.") for name in channels}
    units = next(iter(each.values())) if len(set(each.values())) == 1 else "mixed"
    grid = Geometry(shape, np.diag([*spacing, 1.0]))
    return Image(data.astype(np.float32), grid, units, channels, {"units": each, **header})


def request(
    contrast: str = "FLAIR",
    given: Sequence[str] = ("T1w",),
    size: tuple[int, int] = (16, 20),
    seed: int = 0,
    **known: Any,
) -> Request:
    """A slice of random numbers of which some contrasts were measured."""
    rng = np.random.default_rng(seed)
    support = np.zeros(size, np.float32)
    support[2:-2, 3:-3] = 1
    images = {name: rng.uniform(0.2, 1, (3, *size)).astype(np.float32) * support for name in given}
    initial = np.mean([image[0] for image in images.values()], 0) if images else 0.4 * support
    settings = {"level": 0.1, "attributes": {"field": 1.5, "height": 0.2}} | known
    return Request(
        contrast, np.asarray(initial, np.float32), support=support, images=images, **settings
    )
