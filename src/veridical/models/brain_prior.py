"""The joint brain prior: amortized flow matching over MR measurements; draws from p(image | measurement, contrast).

The network of `nets/flow.py` is shown the noisy state, an anchor and what was measured; shown nothing, it is the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.generate import flow
from veridical.generate.samplers import euler
from veridical.models import weights
from veridical.models.base import CONTRASTS, MRIModel, Trainable, make, pick_device
from veridical.models.prepared_scan import Scan
from veridical.models.unrolled import Unrolled
from veridical.nets.flow import FlowNet

NOTHING = 0.1
"""Share of the training in which nothing was measured, which makes the network the prior."""
AT_START = 0.15
"""Share of the training at t = 0, where the network is the posterior mean in one step."""
SHIFT = 0.5
"""Puts more of a few sampler steps near the data, where the spread of the draws is made (see `generate.flow.times`)."""


@dataclass(frozen=True)
class BrainPrior(MRIModel, Trainable):
    """Sampler of brain slices given any Cartesian MR measurement."""

    name: ClassVar[str] = "brain-prior"
    stochastic: ClassVar[bool] = True
    steps: int = 8
    """Sampler steps. One gives the posterior mean; more give texture and spread. Time grows as steps."""
    weights: str = "brain-prior"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise SettingError(f"steps = {self.steps}; the sampler takes 1 to 1000 steps.")

    @property
    def weights_hash(self) -> str:
        return weights.fingerprint(self.weights)

    def solve(self, scan: Scan, draws: int, seed: int, contrast: str) -> Tensor:
        return self._sample(scan, draws, seed, contrast, measured=True)

    def imagine(self, scan: Scan, draws: int, seed: int, contrast: str) -> Tensor:
        """Return draws `(draw, set, y, x)` of the prior: nothing is known but where the object is."""
        return self._sample(scan, draws, seed, contrast, measured=False)

    def _sample(self, scan: Scan, draws: int, seed: int, contrast: str, measured: bool) -> Tensor:
        device = pick_device(self.device)
        net, here = _net(self.weights, device), scan.to(device)
        generator = torch.Generator().manual_seed(seed)
        noise = flow.standard_noise((draws, *scan.start.shape), torch.complex64, generator).to(device)
        with torch.inference_mode():
            anchor = anchored(net, here, measured)
            drawn = euler(lambda state, t: denoise(net, here, anchor, state, t, contrast), noise, flow.times(self.steps, SHIFT))
            return (anchor.image + anchor.scale * drawn).cpu()

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        return make(FlowNet, settings)

    @classmethod
    def objective(cls, net: nn.Module, scan: Scan, truth: Tensor, contrast: str, generator: torch.Generator) -> Tensor:
        """Squared error of the clean residual, weighted as the error of the velocity (capped near t = 1)."""
        chance = torch.rand(3, generator=generator)
        time = 0.0 if chance[0] < AT_START else float(chance[1])
        anchor = anchored(net, scan, measured=bool(chance[2] >= NOTHING))
        residual = (truth - anchor.image) / anchor.scale
        noise = flow.standard_noise(tuple(truth.shape), torch.complex64, generator).to(truth.device)
        state = flow.interpolate(noise, residual, time)
        estimate = denoise(net, scan, anchor, state[None], time, contrast)[0]
        error = (estimate - residual).abs().square().mean() / residual.abs().square().mean().clamp_min(0.1)
        return error / ((1 - time) ** 2 + 0.05)

    @classmethod
    def predict(cls, net: nn.Module, scan: Scan, contrast: str) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = flow.standard_noise((1, *scan.start.shape), torch.complex64, generator).to(scan.start.device)
        with torch.inference_mode():
            anchor = anchored(net, scan, measured=True)
            return anchor.image + anchor.scale * denoise(net, scan, anchor, noise, 0.0, contrast)[0]


@dataclass(frozen=True, eq=False)
class Anchor:
    """Where the flow starts: `(set, y, x)` image and hint, and the size of what is not known yet; all in the scan's units."""

    image: Tensor
    hint: Tensor
    scale: float
    measured: bool


def anchored(net: nn.Module, scan: Scan, measured: bool) -> Anchor:
    """Return the anchor of a scan: the unrolled reconstruction, or zero and scale 1 when nothing was measured."""
    if not measured:
        nothing = torch.zeros_like(scan.start)
        return Anchor(nothing, nothing, 1.0, measured)
    with torch.no_grad():
        image = Unrolled(weights=str(net.anchor), device=str(scan.start.device)).solve(scan, 1, 0, "other")[0].to(scan.start)
    changed = image - scan.start
    level = error_level(net.error, scan, changed)  # type: ignore[arg-type]
    return Anchor(image, changed / level, level, measured)


def error_level(coefficients: tuple[float, ...], scan: Scan, changed: Tensor) -> float:
    """Return the expected error of the anchor from what is known without a truth."""
    return math.exp(sum(c * f for c, f in zip(coefficients, error_features(scan, changed), strict=True)))


def error_features(scan: Scan, changed: Tensor) -> tuple[float, float, float, float]:
    """Return constant, log noise, log sampled fraction and log size of what the unrolled model changed, in the object."""
    share = scan.support.mean().clamp_min(1e-3)
    size = float((changed.abs().square().sum(0).mean() / share).sqrt())
    return 1.0, *scan.condition, math.log(size + 1e-4)


def denoise(net: nn.Module, scan: Scan, anchor: Anchor, state: Tensor, time: float, contrast: str) -> Tensor:
    """Return the network's clean residual for a batch of states `(draw, set, y, x)` at one time."""
    batch = state.shape[0]
    name = contrast if contrast in CONTRASTS else "other"
    sigma, fraction = scan.condition if anchor.measured else (0.0, 0.0)
    row = [time, sigma, fraction, float(anchor.measured), *(float(name == other) for other in CONTRASTS)]
    condition = torch.tensor(row, device=state.device).expand(batch, -1)
    misfit = scan.operator.normal(anchor.image) - scan.operator.adjoint(scan.kspace)

    def gradient(residual: Tensor) -> Tensor:
        return scan.operator.normal(residual) + misfit / anchor.scale

    support = scan.support.expand(batch, *scan.support.shape)
    around = (anchor.image.expand_as(state), anchor.hint.expand_as(state), support)
    residual: Tensor = net(state, *around, condition, gradient if anchor.measured else None)
    return residual


@cache
def _net(name: str, device: torch.device) -> nn.Module:
    return weights.network(BrainPrior.name, BrainPrior.build, name).to(device).eval()
