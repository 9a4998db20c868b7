"""Training samples of a denoiser: clean stacks of slices, and the noise that is put on them.

Noise is white or coloured, even or varying over the image, complex, real or Rician; phases are
smooth and random. All of it is drawn for a whole batch at once from one generator, so that a step's
number gives its samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical.generative.preconditioned import LEAST, MOST
from veridical.training.packed_cache import PackedCache

USUAL, USUAL_SHARE = (0.006, 0.25), 0.8
"""Noise levels that most samples have; the rest spans all levels."""
COMPLEX, COMPLEX_NOISE_ONLY = 0.5, 0.1
"""Share of samples with a phase, and of real images under complex noise; the rest is real with real
noise.
"""
STEEPNESS, TISSUE, BRIGHT, EDGE = (0.1, 1.0), 0.4, (0.4, 1.2), 0.05
"""Of phases: half turns over a patch; share of samples whose bright tissue has a phase of its own,
above which magnitude, and how far the step is smeared. Real heads have about one turn over all, and
another phase in the fat of the scalp.
"""
RICIAN = 0.2
"""Share of the real samples that are magnitudes of complex data."""
COLOURED, VARYING = 0.25, 0.3
STACKED = 0.7
"""Share of samples shown with their neighbours, where there are any."""
AVERAGED, ENLARGED = 0.3, 0.2
"""Share of patches that are averaged 2 x 2 first, which makes a cleaner truth, and of those that
are interpolated.
"""
GAIN, GAMMA = (0.4, 1.2), (0.7, 1.4)


@dataclass(frozen=True, eq=False)
class NoisyBatch:
    """A batch.

    Args:
        noisy: `(batch, slice, 2, y, x)`.
        clean: `(batch, 2, y, x)`.
        sigma: `(batch, 1, y, x)`.
        real: `(batch,)` bool.
    """

    noisy: Tensor
    clean: Tensor
    sigma: Tensor
    real: Tensor

    def to(self, device: torch.device) -> NoisyBatch:
        """Return the same on a device."""
        return NoisyBatch(
            *(part.to(device) for part in (self.noisy, self.clean, self.sigma, self.real))
        )


def clean_stack(
    cache: PackedCache, number: int, depth: int, side: int, rng: np.random.Generator
) -> Tensor:
    """Cut, turn, average or enlarge one random stack `(depth, side, side)` of a volume."""
    entry = cache.entries[number]
    axis = int(rng.integers(3)) if entry.isotropic else 0
    centre = cache.centres[number][int(rng.integers(len(cache.centres[number])))]
    plane = sorted(n for k, n in enumerate(entry.shape) if k != axis)
    kind, pick = rng.random(), side
    if kind < AVERAGED and plane[0] >= 1.5 * side:
        pick = 2 * side
    elif kind > 1 - ENLARGED:
        pick = 2 * int(side / rng.uniform(1.2, 2.2) / 2)
    place = [
        int(p + rng.integers(-pick // 3, pick // 3 + 1)) if k != axis else int(p)
        for k, p in enumerate(centre)
    ]
    stack = torch.from_numpy(cache.stack(number, place, axis, depth, pick))[:, None]
    if pick > side:
        stack = functional.avg_pool2d(stack, 2)
    elif pick < side:
        stack = functional.interpolate(stack, (side, side), mode="bicubic").clamp_min(0)
    if rng.random() < 0.5:
        stack = stack.mT
    stack = stack.flip([axis for axis in (-1, -2, 0) if rng.random() < 0.5])[:, 0]
    if entry.source not in ("sarcoma-ct", "openkbp", "head-ct") and rng.random() < 0.5:
        stack = stack ** float(rng.uniform(*GAMMA))
    return stack * float(rng.uniform(*GAIN))


def add_noise(stacks: Tensor, deep: Sequence[bool], generator: torch.Generator) -> NoisyBatch:
    """Put phase and noise on clean stacks.

    Args:
        stacks: `(batch, slice, y, x)`, real.
        deep: of each, whether its neighbours may be shown.
        generator: source of randomness.
    """
    batch, depth, side = stacks.shape[:3]

    def chance() -> Tensor:
        return torch.rand(batch, generator=generator)

    kind = chance()
    real = kind >= COMPLEX + COMPLEX_NOISE_ONLY
    phase = torch.where(kind < COMPLEX, 1.0, 0.0)[:, None, None, None] * phases(stacks, generator)
    clean = torch.stack([stacks * phase.cos(), stacks * phase.sin()], 2)
    sigma = noise_levels(batch, generator)[:, None, None, None]
    uneven = torch.where(chance() < VARYING, 0.6, 0.0)[:, None, None, None]
    sigma = (sigma * torch.exp(uneven * smooth(batch, side, 4, generator))).clamp(LEAST, MOST)
    noise = torch.randn(clean.shape, generator=generator)
    noise = coloured_at_random(noise, chance() < COLOURED, generator)
    noisy = clean + sigma[:, :, None] * noise
    rician = real & (chance() < RICIAN)
    magnitude = torch.hypot(noisy[:, :, 0], noisy[:, :, 1])
    noisy[:, :, 0] = torch.where(rician[:, None, None, None], magnitude, noisy[:, :, 0])
    noisy[:, :, 1] = torch.where(real[:, None, None, None], 0.0, noisy[:, :, 1])
    alone = (chance() >= STACKED) | ~torch.tensor(deep)
    middle = noisy[:, depth // 2].clone()
    noisy[alone] = 0
    noisy[:, depth // 2] = middle
    return NoisyBatch(noisy, clean[:, depth // 2], sigma, real)


def phases(stacks: Tensor, generator: torch.Generator) -> Tensor:
    """Draw phases `(batch, slice, y, x)` for magnitudes of that shape: gentle or steep over the
    patch, and in some of them another phase in what is bright, as fat and flowing blood have beside
    water.
    """
    batch, _, side, _ = stacks.shape

    def number(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)

    over_all = number(*STEEPNESS) * math.pi * smooth(batch, side, 3, generator)
    bright = torch.sigmoid((stacks - number(*BRIGHT)) / EDGE)
    with_tissue = (torch.rand(batch, 1, 1, 1, generator=generator) < TISSUE).float()
    return over_all + with_tissue * number(-math.pi, math.pi) * bright


def noise_levels(batch: int, generator: torch.Generator) -> Tensor:
    """Draw noise levels `(batch,)`, uniform in their logarithm."""
    usual = torch.rand(batch, generator=generator) < USUAL_SHARE
    low = torch.where(usual, math.log(USUAL[0]), math.log(LEAST))
    high = torch.where(usual, math.log(USUAL[1]), math.log(MOST))
    return (low + (high - low) * torch.rand(batch, generator=generator)).exp()


def smooth(batch: int, side: int, knots: int, generator: torch.Generator) -> Tensor:
    """Return smooth random fields `(batch, 1, side, side)` of about unit size."""
    coarse = torch.randn(batch, 1, knots, knots, generator=generator)
    return functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)


def coloured_at_random(noise: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Give the chosen noise `(batch, slice, 2, y, x)` a random spectrum of unit power:
    interpolated, filtered back-projected, or sampled more densely along one axis.
    """
    for index in torch.nonzero(chosen).flatten().tolist():
        gain = random_spectrum(noise.shape[-1], generator)
        both = torch.complex(noise[index, :, 0], noise[index, :, 1])
        both = torch.fft.ifft2(torch.fft.fft2(both) * gain)
        noise[index, :, 0], noise[index, :, 1] = both.real, both.imag
    return noise


def random_spectrum(side: int, generator: torch.Generator) -> Tensor:
    """Return a symmetric gain `(side, side)` of unit mean power, in the order of `torch.fft`."""
    kind, size, angle = torch.rand(3, generator=generator).tolist()
    frequency = torch.fft.fftfreq(side)
    y, x = frequency[:, None], frequency[None]
    radius = torch.hypot(y, x)
    if kind < 0.4:  # smoothing, as interpolation does
        gain = torch.exp(-0.5 * (radius / (0.12 + 0.4 * size)) ** 2)
    elif kind < 0.75:  # ramp filter with a window
        gain = radius.clamp_min(0.01) * torch.exp(-0.5 * (radius / (0.12 + 0.3 * size)) ** 2)
    else:  # one axis more than the other
        along = y.abs() if angle < 0.5 else x.abs()
        gain = torch.exp(-0.5 * (along / (0.1 + 0.3 * size)) ** 2).expand(side, side)
    return gain / gain.square().mean().sqrt()
