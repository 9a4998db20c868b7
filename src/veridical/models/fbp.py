"""Filtered back-projection (Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988,
chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.ct import CTModel
from veridical.physics.backprojection import check_window, filtered_backprojection
from veridical.physics.projection import PlanarBeam


@dataclass(frozen=True)
class Fbp(CTModel):
    """The analytic inverse; fast, exact for many views without noise, streaks where views are
    few.
    """

    name: ClassVar[str] = "fbp"
    window: str = "ramp"
    """What the ramp filter is multiplied by: ramp (nothing), shepp-logan, cosine, hamming or hann;
    later ones are smoother.
    """
    cutoff: float = 1.0
    """Where the window ends, as a share of the detector's Nyquist frequency; above it nothing
    passes.
    """

    def __post_init__(self) -> None:
        check_window(self.window, self.cutoff)

    def reconstruct(self, operator: PlanarBeam, sinogram: Tensor) -> Tensor:
        image = filtered_backprojection(operator, sinogram, self.window, self.cutoff)
        return image
