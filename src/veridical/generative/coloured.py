"""Noise with the spectrum of images, so that a sampler of few steps draws coarse and fine content
alike.

Images have a thousand times more power at coarse scales than at fine ones. Under white noise all
that is coarse is decided within the first hundredth of the way, which a sampler of four steps
crosses in one: its draws then share their coarse content. Under noise with the spectrum of what is
to be drawn, every scale is decided at the same pace. The spectrum is that of the errors of a
regressor of missing contrasts, measured over 463 patches
(docs/measurements/completion-and-translation.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

COARSE, BEND = 1 / 96, 0.1
"""Frequencies in cycles a pixel: below the first the power is level, beyond the second it falls
twice as fast.
"""


def coloured(white: Tensor, share: Tensor, bend: float = BEND) -> Tensor:
    """Give white noise of unit variance the spectrum of images; its variance stays 1.

    Args: white: `(batch, channel, y, x)` or `(batch, channel, z, y, x)` real, on a periodic grid.
        share: `(batch, channel)` in [0, 1], of the power that falls with frequency; the rest stays
        white. bend: cycles a pixel beyond which it falls twice as fast.

    Returns:
        The shape of `white`; white noise itself where the share is 0.
    """
    grid = tuple(range(2, white.ndim))
    share = share.reshape(*share.shape, *[1] * len(grid))
    gain = (share * power(white.shape[2:], bend).to(white) + (1 - share)).sqrt()
    found: Tensor = torch.fft.ifftn(torch.fft.fftn(white, dim=grid) * gain, dim=grid).real
    return found


def power(shape: torch.Size, bend: float = BEND) -> Tensor:
    """Return the power spectrum on the grid of `fftn`, of mean 1, so that coloured noise has unit
    variance.
    """
    square = torch.zeros(())
    for axis, n in enumerate(shape):
        line = torch.fft.fftfreq(n).square()
        square = square + line.reshape(-1, *[1] * (len(shape) - 1 - axis))
    found = ((square + COARSE**2) * (square + bend**2)) ** (-len(shape) / 2)
    return found / found.mean()
