"""Filtered back-projection (Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from veridical.errors import SettingError, nearest
from veridical.models.ct import CTModel
from veridical.physics.projection import PlanarBeam
from veridical.task import Progress

WINDOWS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")


@dataclass(frozen=True)
class Fbp(CTModel):
    """The analytic inverse; fast, exact for many views without noise, streaks where views are few."""

    name: ClassVar[str] = "fbp"
    window: str = "ramp"
    """What the ramp filter is multiplied by: ramp (nothing), shepp-logan, cosine, hamming or hann; later ones are smoother."""
    cutoff: float = 1.0
    """Where the window ends, as a share of the detector's Nyquist frequency; above it nothing passes."""

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise SettingError(f"fbp has no window {self.window!r}. {nearest(self.window, WINDOWS)}")
        if not 0 < self.cutoff <= 1:
            raise SettingError(f"fbp: cutoff = {self.cutoff}; expected a share of the Nyquist frequency above 0, up to 1.")

    def solve(self, operator: PlanarBeam, sinogram: Tensor, progress: Progress) -> Tensor:
        oblique = 1 / torch.sqrt(1 + (operator.curvature * operator.positions) ** 2)
        size = 2 ** math.ceil(math.log2(2 * operator.range[1]))
        response = ramp(size, operator.pitch) * window(size, self.window, self.cutoff)
        filtered = torch.fft.irfft(torch.fft.rfft(sinogram * oblique, size) * response, size)[..., : operator.range[1]]
        image = operator.backproject(filtered)
        progress("back-projecting", 1, 1)
        return image


def ramp(size: int, pitch: float) -> Tensor:
    """Return the band-limited ramp, `(size // 2 + 1,)`, in 1/mm: the transform of its samples, so that its mean is right."""
    lag = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64).round()
    kernel = torch.where(lag % 2 == 1, -1 / (math.pi * pitch * lag) ** 2, torch.zeros_like(lag))
    kernel[0] = 1 / (4 * pitch**2)
    response: Tensor = torch.fft.rfft(kernel).real
    return (pitch * response).float()


def window(size: int, name: str, cutoff: float) -> Tensor:
    """Return the values of a window on the frequencies of a real transform of `size` samples; 1 at frequency 0."""
    share = torch.fft.rfftfreq(size) * 2 / cutoff
    shape = {
        "ramp": torch.ones_like(share),
        "shepp-logan": torch.sinc(share / 2),
        "cosine": torch.cos(math.pi / 2 * share),
        "hamming": 0.54 + 0.46 * torch.cos(math.pi * share),
        "hann": 0.5 + 0.5 * torch.cos(math.pi * share),
    }[name]
    return torch.where(share <= 1, shape, torch.zeros_like(share))
