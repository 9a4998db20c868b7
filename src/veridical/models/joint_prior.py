"""Amortized flow matching over the joint state of a slice: draws from p(all contrasts | what is known of them).

Shown nothing, the same network is the prior. `brain_prior.py` and `body_prior.py` are its shipped forms.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.generative import flow
from veridical.generative.coloured import BEND, coloured
from veridical.generative.samplers import Denoise, euler
from veridical.models import weights
from veridical.models.base import ImageModel, make, pick_device
from veridical.models.known import DEGRADED, MISSING, RELOOK, Known
from veridical.models.runtime import exported, graph_hash, resolve
from veridical.nets.joint import JointNet

AT_START = 0.3
"""Share of the training at t = 0, where the network is the posterior mean in one step."""
SHIFT = 0.5
"""Puts more of a few sampler steps near the data, where the spread of the draws is made (see `generative.flow.times`)."""
COARSE_SHARE = {MISSING: 1.0, RELOOK: 1.0, DEGRADED: 0.3}
"""Share of the noise's power that has the spectrum of images: what is not known of a degraded channel is mostly fine."""
SOFT = 0.05
"""Where the noise that draws start from bends, sooner than in training: fine noise that the network leaves shows as grain."""
CEILING = 0.05
"""Limits the weight of late times: errors count relative to those of the best linear denoiser, plus this."""


@dataclass(frozen=True)
class JointPrior(ImageModel, ABC):
    """Sampler of slices given any of their channels, whole or degraded."""

    stochastic: ClassVar[bool] = True
    steps: int = 4
    """Sampler steps. One gives the posterior mean; more give texture and spread. Time grows as steps."""
    weights: str = ""
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    runtime: str = "auto"
    """What runs the U-Net: `auto`, `torch`, `onnxruntime`, `openvino`, or quantized `onnxruntime-int8`, `openvino-int8`."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise SettingError(f"steps = {self.steps}; the sampler takes 1 to 1000 steps.")

    @property
    def weights_hash(self) -> str:
        return graph_hash(weights.fingerprint(self.weights), self.runtime)

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(weights.card(self.weights)["net"]["channels"])

    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        batch, *size = known.anchor.shape
        if noise is None:
            noise = torch.randn(batch, draws, *size, generator=torch.Generator().manual_seed(seed))
        place = self.place()
        drawn = sample(self.net(), known.to(place), draws, noise.flatten(0, 1).to(place), self.steps)
        return drawn.reshape(batch, draws, *size).cpu()

    def net(self) -> JointNet:
        """Return the network with its weights, loaded once."""
        dims = weights.card(self.weights)["net"].get("dims", 2)
        return _net(type(self), self.weights, self.place(), resolve(self.runtime, self.place(), dims))

    def place(self) -> torch.device:
        """Return the device it runs on."""
        return pick_device(self.device)

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        return make(JointNet, settings)

    @classmethod
    def lesson_loss(cls, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error of the clean residual over the drawn channels, relative to that of the best linear denoiser.

        Each slice has its own time; errors are relative to the size of the slice's residual.
        """
        batch = truth.shape[0]
        time = flow.training_times(batch, generator, AT_START).to(truth)
        residual = unknown(known, truth)
        noise = start(known, torch.randn(truth.shape, generator=generator).to(truth), BEND)
        state = flow.interpolate(noise, residual, time)
        return relative_error(denoise(net, known, state, time) - residual, known, residual, time)

    @classmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        """Return the posterior mean in one step, `(batch, channel, y, x)`: the network at t = 0."""
        time = torch.zeros(known.anchor.shape[0], device=known.anchor.device)
        with torch.inference_mode():
            clean = denoise(net, known, torch.zeros_like(known.anchor), time)
            return known.anchor + known.over(known.level) * clean


def sample(net: nn.Module, known: Known, draws: int, noise: Tensor, steps: int) -> Tensor:
    """Draw slices.

    Args:
        net: a `JointNet`.
        known: a batch of slices.
        draws: of each.
        noise: `(batch * draws, channel, y, x)`, white, of unit variance.
        steps: sampler steps.

    Returns:
        `(batch * draws, channel, y, x)`: the drawn channels, the measured ones as they are, zero where not in the state.
    """
    many = known.repeat(draws)
    with torch.inference_mode():
        u = euler(denoiser(net, known, draws), start(many, noise), flow.times(steps, SHIFT))
        return many.anchor + many.over(many.level) * u


def start(known: Known, white: Tensor, bend: float = SOFT) -> Tensor:
    """Return where draws start, `(batch, channel, y, x)`, from white noise of that shape; zero where nothing is drawn.

    The noise of channels of which little is known has the spectrum of images, falling twice as fast beyond `bend`.
    """
    share = torch.zeros(known.status.shape, device=white.device)
    for status, coarse in COARSE_SHARE.items():
        share[known.status == status] = coarse
    return coloured(white, share, bend) * known.drawn


def denoiser(net: nn.Module, known: Known, draws: int = 1) -> Denoise:
    """Return the network as samplers call it, for so many draws of each slice, one after the other."""
    many = known.repeat(draws)
    around = many.around()

    def clean(state: Tensor, t: float) -> Tensor:
        if t == 0:  # the net sees no state yet: one pass serves all draws of a slice
            at_start = torch.zeros(known.anchor.shape[0], device=state.device)
            return denoise(net, known, torch.zeros_like(known.anchor), at_start).repeat_interleave(draws, 0)
        condition = many.condition(torch.full((state.shape[0],), t, device=state.device))
        found: Tensor = net(state, around, condition)
        return found * many.drawn

    return clean


def denoise(net: nn.Module, known: Known, state: Tensor, time: Tensor) -> Tensor:
    """Return the network's clean residual `(batch, channel, y, x)` for states at times `(batch,)`, zero where not drawn."""
    found: Tensor = net(state, known.around(), known.condition(time))
    return found * known.drawn


def unknown(known: Known, truth: Tensor) -> Tensor:
    """Return what the anchors lack of the truth `(batch, channel, y, x)`, in units of the level; zero if not drawn."""
    return (truth - known.anchor) / known.over(known.level.clamp_min(1e-6)) * known.drawn


def relative_error(error: Tensor, known: Known, residual: Tensor, time: Tensor) -> Tensor:
    """Return the mean over slices of the squared error of a clean residual, relative to the best linear denoiser's.

    Args:
        error: `(batch, channel, y, x)`, zero where not drawn.
        known: the slices.
        residual: `unknown` of the truth; errors count relative to its size.
        time: `(batch,)`.
    """
    count = known.drawn.sum(1).clamp_min(1.0).flatten()
    grid = tuple(range(2, error.ndim))
    size = residual.square().mean(grid).sum(1) / count
    per_slice = error.square().mean(grid).sum(1) / count / size.clamp_min(0.1)
    linear = (1 - time).square() / (time.square() + (1 - time).square())
    return (per_slice / (linear + CEILING)).mean()


@cache
def _net(kind: type[JointPrior], name: str, device: torch.device, run_by: str) -> JointNet:
    net = weights.network(kind.name, kind.build, name).to(device).eval()
    if not isinstance(net, JointNet):
        raise AssertionError("JointPrior.build makes a JointNet")
    if run_by != "torch":
        net.register_module("net", exported(net.net, weights.fingerprint(name), run_by))
    return net
