"""The joint brain prior: amortized flow matching over MR measurements; draws from p(image | measurement, contrast).

The network of `nets/flow.py` is shown the noisy state, an estimate and what was measured; shown nothing, it is the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.generate import flow
from veridical.generate.samplers import euler
from veridical.models import weights
from veridical.models.base import CONTRASTS, MRIModel, Trainable, channels_last, pick_device
from veridical.models.prepared_scan import Scan
from veridical.models.unrolled import Unrolled
from veridical.nets.flow import FlowNet

NOTHING = 0.1
"""Share of the training in which nothing was measured, which makes the network the prior."""
AT_START = 0.3
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
        device = pick_device(self.device)
        net = _net(self.weights, device)
        with torch.inference_mode():
            return self._sample(net, refined(net, scan.to(device)), draws, seed, contrast, measured=True)

    def imagine(self, scan: Scan, draws: int, seed: int, contrast: str) -> Tensor:
        """Return draws `(draw, set, y, x)` of the prior: nothing measured but where the object is."""
        device = pick_device(self.device)
        with torch.inference_mode():
            return self._sample(_net(self.weights, device), scan.to(device), draws, seed, contrast, measured=False)

    def _sample(self, net: nn.Module, scan: Scan, draws: int, seed: int, contrast: str, measured: bool) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = flow.standard_noise((draws, *scan.start.shape), torch.complex64, generator).to(scan.start.device)
        times = flow.times(self.steps, SHIFT)
        return euler(lambda state, t: denoise(net, scan, state, t, contrast, measured), noise, times).cpu()

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        return channels_last(FlowNet(**settings))

    @classmethod
    def objective(cls, net: nn.Module, scan: Scan, truth: Tensor, contrast: str, generator: torch.Generator) -> Tensor:
        """Squared error of the clean image, weighted as the error of the velocity (capped near t = 1)."""
        chance = torch.rand(3, generator=generator)
        time = 0.0 if chance[0] < AT_START else float(chance[1])
        measured = bool(chance[2] >= NOTHING)
        noise = flow.standard_noise(tuple(truth.shape), torch.complex64, generator).to(truth.device)
        state = flow.interpolate(noise, truth, time)
        if measured:
            with torch.no_grad():
                scan = refined(net, scan)
        estimate = denoise(net, scan, state[None], time, contrast, measured)[0]
        weight = 1.0 / ((1 - time) ** 2 + 0.05)
        error = (estimate - truth).abs().square().mean()
        return weight * error / truth.abs().square().mean().clamp_min(0.04)

    @classmethod
    def predict(cls, net: nn.Module, scan: Scan, contrast: str) -> Tensor:
        with torch.inference_mode():
            generator = torch.Generator().manual_seed(0)
            noise = flow.standard_noise((1, *scan.start.shape), torch.complex64, generator).to(scan.start.device)
            return denoise(net, refined(net, scan), noise, 0.0, contrast)[0]


def refined(net: nn.Module, scan: Scan) -> Scan:
    """Return the scan with the estimate that the net was trained to start from."""
    name = str(net.start)
    if not name:
        return scan
    return replace(scan, start=Unrolled(weights=name, device=str(scan.start.device)).solve(scan, 1, 0, "other")[0])


def denoise(net: nn.Module, scan: Scan, state: Tensor, time: float, contrast: str, measured: bool = True) -> Tensor:
    """Return the network's clean image for a batch of states `(draw, set, y, x)` at one time."""
    batch = state.shape[0]
    name = contrast if contrast in CONTRASTS else "other"
    sigma, fraction = scan.condition if measured else (0.0, 0.0)
    row = [time, sigma, fraction, float(measured), *(float(name == other) for other in CONTRASTS)]
    condition = torch.tensor(row, device=state.device).expand(batch, -1)
    start = scan.start if measured else torch.zeros_like(scan.start)
    adjoint = scan.operator.adjoint(scan.kspace)

    def gradient(image: Tensor) -> Tensor:
        return scan.operator.normal(image) - adjoint

    support = scan.support.expand(batch, *scan.support.shape)
    image: Tensor = net(state, start.expand_as(state), support, condition, gradient if measured else None)
    return image


@cache
def _net(name: str, device: torch.device) -> nn.Module:
    net = BrainPrior.build(weights.card(name)["net"])
    net.load_state_dict(weights.load(name))
    return net.to(device).eval()
