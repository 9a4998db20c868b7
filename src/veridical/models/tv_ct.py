"""Total-variation CT: the minimiser of `1/2 ||A x - y||^2 + weight TV(x)`, x >= 0, by FISTA.

Beck and Teboulle 2009 (10.1109/TIP.2009.2028250). Few views: Sidky and Pan 2008
(10.1088/0031-9155/53/17/021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from veridical.models.ct import CTModel
from veridical.models.total_variation import denoise
from veridical.physics.projection import PlanarBeam


@dataclass(frozen=True)
class TvCt(CTModel):
    """Piecewise smooth, consistent with the data, never negative; made for few views."""

    name: ClassVar[str] = "tv-ct"
    iterations: int = 150
    """FISTA iterations, each one projection and one back-projection."""
    inner: int = 10
    """Dual steps of the total-variation step per iteration; the dual variable is kept between
    iterations.
    """
    weight: float = 3e-4
    """Total-variation weight as a share of the largest value of `A^T y`, so that neither units nor
    views matter.
    """
    nonnegative: bool = True
    """Attenuation is never below 0; set to False for data that are not attenuation."""

    def reconstruct(self, operator: PlanarBeam, sinogram: Tensor) -> Tensor:
        seen = operator.adjoint(sinogram)
        steepest = float(operator.normal(torch.ones(operator.domain)).max())
        weight = max(self.weight * float(seen.abs().max()), 1e-20) / steepest
        image = ahead = torch.zeros_like(seen)
        dual = torch.zeros(2, *image.shape)
        momentum = 1.0
        for _ in range(self.iterations):
            descended = ahead - (operator.normal(ahead) - seen) / steepest
            renewed, dual = denoise(descended, weight, self.inner, dual)
            if self.nonnegative:
                renewed = renewed.clamp_min(0)
            following = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
            ahead = renewed + (momentum - 1) / following * (renewed - image)
            image, momentum = renewed, following
        return image
