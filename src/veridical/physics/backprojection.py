"""Filtered back-projection: the ramp, its windows, and the analytic inverse (Kak and Slaney 1988,
chapter 3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from veridical.errors import SettingError, nearest
from veridical.physics.projection import PlanarBeam

WINDOWS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")


def check_window(name: str, cutoff: float) -> None:
    """Raise a SettingError for an unknown window, or a cutoff outside (0, 1]."""
    if name not in WINDOWS:
        raise SettingError(f"fbp has no window {name!r}. {nearest(name, WINDOWS)}")
    if not 0 < cutoff <= 1:
        raise SettingError(
            f"fbp: cutoff = {cutoff}; expected a share of the Nyquist frequency above 0, up to 1."
        )


def filtered_backprojection(
    operator: PlanarBeam, sinogram: Tensor, name: str = "ramp", cutoff: float = 1.0
) -> Tensor:
    """Return attenuation `(..., y, x)` in 1/mm from line integrals `(..., angle, detector)`; linear
    in them.

    Args:
        operator: the beam.
        sinogram: dimensionless.
        name: of the window on the ramp, one of `WINDOWS`.
        cutoff: where the window ends, as a share of the detector's Nyquist frequency.

    Raises: GeometryError: the views leave too much of the turn out, or the sinogram is not the
        operator's. SettingError: an unknown window, or a cutoff outside (0, 1].
    """
    oblique = 1 / torch.sqrt(1 + (operator.curvature * operator.positions) ** 2)
    size = 2 ** math.ceil(math.log2(2 * operator.range[1]))
    response = ramp(size, operator.pitch) * window(size, name, cutoff)
    filtered = torch.fft.irfft(torch.fft.rfft(sinogram * oblique, size) * response, size)[
        ..., : operator.range[1]
    ]
    return operator.backproject(filtered)


def ramp(size: int, pitch: float) -> Tensor:
    """Return the band-limited ramp, `(size // 2 + 1,)`, in 1/mm: the transform of its samples, so
    that its mean is right.
    """
    lag = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64).round()
    kernel = torch.where(lag % 2 == 1, -1 / (math.pi * pitch * lag) ** 2, torch.zeros_like(lag))
    kernel[0] = 1 / (4 * pitch**2)
    response: Tensor = torch.fft.rfft(kernel).real
    return (pitch * response).float()


def window(size: int, name: str, cutoff: float) -> Tensor:
    """Return the values of a window on the frequencies of a real transform of `size` samples; 1 at
    frequency 0.
    """
    check_window(name, cutoff)
    share = torch.fft.rfftfreq(size) * 2 / cutoff
    shape = {
        "ramp": torch.ones_like(share),
        "shepp-logan": torch.sinc(share / 2),
        "cosine": torch.cos(math.pi / 2 * share),
        "hamming": 0.54 + 0.46 * torch.cos(math.pi * share),
        "hann": 0.5 + 0.5 * torch.cos(math.pi * share),
    }[name]
    return torch.where(share <= 1, shape, torch.zeros_like(share))
