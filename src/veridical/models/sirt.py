"""Simultaneous iterative reconstruction (Gilbert 1972; weights as in Gregor and Benson 2008,
10.1109/TMI.2008.923696).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from veridical.models.ct import CTModel, sensitivities
from veridical.physics.projection import PlanarBeam


@dataclass(frozen=True)
class Sirt(CTModel):
    """Weighted least squares by scaled gradient steps; stopping early keeps the noise down."""

    name: ClassVar[str] = "sirt"
    iterations: int = 100
    """Steps from an empty image; more sharpen and amplify noise."""
    nonnegative: bool = True
    """Attenuation is never below 0; set to False for data that are not attenuation."""

    def reconstruct(self, operator: PlanarBeam, sinogram: Tensor) -> Tensor:
        per_ray, per_pixel = sensitivities(operator)
        image = torch.zeros(*sinogram.shape[:-2], *operator.domain)
        for _ in range(self.iterations):
            image = image + per_pixel * operator.adjoint(
                per_ray * (sinogram - operator.forward(image))
            )
            if self.nonnegative:
                image = image.clamp_min(0)
        return image
