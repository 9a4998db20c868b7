"""A batch of slices and untrained or awakened networks around it, for tests of families."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from priors import awake, request
from veridical import registry
from veridical.conditioning.condition import conditions
from veridical.conditioning.request import Request
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given

CONDITIONS = conditions(("contrast", "images", "initial-estimate", "degradation-kind"))
FAMILIES = list(registry.entries("family"))
SIZE = (16, 20)


def family(name: str) -> Family:
    made: Family = registry.get("family", name)()
    return made


def requests() -> list[Request]:
    """One contrast that is missing, and one that is degraded."""
    return [
        request("FLAIR", seed=1),
        request("T2w", seed=2, degradation="motion-ghosts", level=0.2),
    ]


def given(*chosen: Request) -> Given:
    return Given.of(CONDITIONS, chosen or requests())


def noise(draws: int, slices: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(slices, draws, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


def truth() -> Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.uniform(0.2, 1, (2, 1, *SIZE)).astype(np.float32))


SMALL = {
    "unet": {"widths": (8, 8), "blocks": 1},
    "dit": {"width": 16, "blocks": 1},
    "mamba": {"width": 16, "blocks": 1},
}


def network(name: str, trained: bool = True, backbone: str = "unet") -> nn.Module:
    """A network prepared for a family; `trained` stands for weights that are not those of the
    start.
    """
    torch.manual_seed(0)
    made = family(name).prepare(Conditioned(CONDITIONS, backbone, SMALL[backbone]))
    return awake(made) if trained else made
