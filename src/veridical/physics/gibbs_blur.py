"""Low resolution in plane with Gibbs ringing: an MR scan that measured only the centre of k-space,
and zeros around it.

The rings and what they hide: Kellner et al. 2016, 10.1002/mrm.26054.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from veridical.physics.degradation import Degradation, checked
from veridical.physics.fourier import centre, fft, ifft
from veridical.types import Array


@dataclass(frozen=True)
class GibbsBlur(Degradation):
    """The magnitude of the centre of k-space, zero-filled to the same matrix."""

    name: ClassVar[str] = "gibbs-blur"
    harmless: ClassVar[Mapping[str, Any]] = {"share": (1.0, 1.0)}
    share: tuple[float, float] = (0.22, 0.8)
    """Share of k-space measured along each axis, up to 1: 0.5 is twice the pixel size."""
    even: float = 0.6
    """Share of scans with the same resolution along both axes."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `matrix` that was measured, along y and x."""
        along, across = rng.uniform(*self.share, 2)
        both = (along, along if rng.random() < self.even else across)
        return {
            "matrix": [
                min(n, max(2, round(n * share))) for n, share in zip(shape, both, strict=True)
            ]
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        kspace = fft(torch.from_numpy(checked(image)).to(torch.complex64))
        rows, columns = parameters["matrix"]
        kept = centre(centre(kspace, (rows, columns)), (image.shape[1], image.shape[2]))
        return np.asarray(ifft(kept).abs().numpy())
