"""Learned proximal gradient (VarNet type) for Cartesian multi-coil MRI: one estimate, no draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from veridical.models import weights
from veridical.models.base import MRIModel, Trainable, make, pick_device
from veridical.models.prepared_scan import Scan
from veridical.nets.unrolled import UnrolledNet


@dataclass(frozen=True)
class Unrolled(MRIModel, Trainable):
    """The network of `nets/unrolled.py` with its shipped weights; their card says what they were trained on."""

    name: ClassVar[str] = "unrolled"
    weights: str = "unrolled"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""

    @property
    def weights_hash(self) -> str:
        return weights.fingerprint(self.weights)

    def solve(self, scan: Scan, draws: int, seed: int, contrast: str) -> Tensor:
        device = pick_device(self.device)
        net, here = _net(self.weights, device), scan.to(device)
        return self.predict(net, here, contrast)[None].cpu()

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        return make(UnrolledNet, settings)

    @classmethod
    def objective(cls, net: nn.Module, scan: Scan, truth: Tensor, contrast: str, generator: torch.Generator) -> Tensor:
        """Log of the squared error (so that decibels count alike on easy and hard scans), the last cascade counting most."""
        losses = [torch.log((image[0] - truth).abs().square().mean() + 1e-6) for image in _run(net, scan)]
        return losses[-1] + 0.1 * torch.stack(losses[:-1]).mean()

    @classmethod
    def predict(cls, net: nn.Module, scan: Scan, contrast: str) -> Tensor:
        with torch.inference_mode():
            return _run(net, scan)[-1][0]


def _run(net: nn.Module, scan: Scan) -> list[Tensor]:
    operator, kspace = scan.operator, scan.kspace
    condition = torch.tensor([scan.condition], device=kspace.device)
    images: list[Tensor] = net(operator.normal, operator.adjoint(kspace)[None], scan.start[None], scan.support[None], condition)
    return images


@cache
def _net(name: str, device: torch.device) -> nn.Module:
    return weights.network(Unrolled.name, Unrolled.build, name).to(device).eval()
