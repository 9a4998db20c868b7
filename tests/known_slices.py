"""Small slices of which something is known, and untrained nets saved as weights, for tests of models of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from veridical.models.base import ImageModel
from veridical.models.known import MEASURED, Known, ask, nothing
from veridical.training.train import write_tensors

SETTINGS: dict[str, Any] = {
    "channels": ("T1w", "FLAIR", "T1c"), "widths": (8, 8), "blocks": 1,
    "prior_mean": (0.3, 0.4, 0.5), "prior_std": (0.1, 0.2, 0.25),
}  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return unit noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def known_slices(
    measured: tuple[int, ...] = (0, 2), missing: tuple[int, ...] = (1,), batch: int = 2, size: tuple[int, int] = (16, 16)
) -> tuple[Known, Tensor]:
    """Return slices and their truth `(batch, channel, y, x)`."""
    truth = 0.5 + 0.2 * noise(batch, 3, *size)
    known = nothing(3, torch.ones(size))
    for k in missing:
        ask(known, k, SETTINGS["prior_mean"][k], SETTINGS["prior_std"][k])
    known = known.repeat(batch)
    for k in measured:
        known.status[:, k], known.anchor[:, k] = MEASURED, truth[:, k]
    return known, truth


def awake(net: nn.Module) -> nn.Module:
    """Replace the zeros of the initialization, so that every part of the net counts."""
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return net


def saved(kind: type[ImageModel], folder: Path) -> str:
    """Write an untrained net of a model with its card, and return the path."""
    torch.manual_seed(0)
    path = folder / f"{kind.name}.safetensors"
    write_tensors(path, dict(awake(kind.build(SETTINGS)).state_dict()), {})
    path.with_suffix(".json").write_text(json.dumps({"model": kind.name, "net": SETTINGS}), encoding="utf-8")
    return str(path)
