"""Positron emission tomography: expected coincidence counts of an activity, with attenuation, resolution and background.

`expected(x) = scale . attenuation . P(blur x) + background` is the mean of the Poisson counts (Shepp and Vardi 1982,
10.1109/TMI.1982.4307558; additive randoms and scatter as in Politte and Snyder, IEEE TMI 10, 1991).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from veridical.errors import GeometryError, SettingError
from veridical.physics.blur import Blur
from veridical.physics.linear import LinearOperator
from veridical.physics.parallel_beam import ParallelBeam, half_turn


class PET(LinearOperator):
    """The linear part of the mean counts; `expected` adds the background.

    Args:
        projector: lines of response, activity `(y, x)` to `(angle, detector)`.
        attenuation: `(angle, detector)` survival factors in (0, 1]; None: no attenuation. See `attenuation_factors`.
        background: `(angle, detector)` mean randoms and scatter in counts, >= 0; None: none.
        blur: resolution of the scanner in image space, with the projector's image as domain and range; None: perfect.
        scale: counts per line integral of the activity: sensitivity x time x branching ratio, > 0.

    Domain `(y, x)`, activity per mm (non-negative in nature; a linear operator takes any sign); range `(angle, detector)`,
    mean trues in counts.

    Raises:
        GeometryError: a factor, the background or the blur is not of the projector's shapes.
        SettingError: a factor is outside (0, 1], the background negative or the scale not positive.
    """

    name = "pet"

    def __init__(
        self,
        projector: LinearOperator,
        attenuation: Tensor | None = None,
        background: Tensor | None = None,
        blur: Blur | None = None,
        scale: float = 1.0,
    ) -> None:
        self.projector, self.blur, self.scale = projector, blur, float(scale)
        self.domain, self.range = projector.domain, projector.range
        self.attenuation = torch.ones(self.range) if attenuation is None else attenuation
        self.background = torch.zeros(self.range) if background is None else background
        for what, factor in (("the attenuation", self.attenuation), ("the background", self.background)):
            if tuple(factor.shape) != self.range:
                raise GeometryError(f"pet: {what} is {tuple(factor.shape)}; expected {self.range}, as the projector's range.")
        if blur is not None and not blur.domain == blur.range == self.domain:
            raise GeometryError(
                f"pet: the blur maps {blur.domain} to {blur.range}; expected {self.domain} on both sides. Use factor 1."
            )
        if self.scale <= 0 or self.attenuation.min() <= 0 or self.attenuation.max() > 1 or self.background.min() < 0:
            raise SettingError(
                "pet: expected attenuation factors in (0, 1], a background >= 0 and a scale > 0. From a map of attenuation "
                "coefficients in 1/mm: attenuation_factors(projector, coefficients)."
            )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the activity")
        blurred = x if self.blur is None else self.blur.forward(x)
        return self.projector.forward(blurred) * (self.scale * self.attenuation)

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the counts")
        smeared = self.projector.adjoint(y * (self.scale * self.attenuation))
        return smeared if self.blur is None else self.blur.adjoint(smeared)

    def expected(self, activity: Tensor) -> Tensor:
        """Return the mean of the Poisson counts, `(..., angle, detector)`, >= 0 for a non-negative activity."""
        return self.forward(activity) + self.background

    def describe(self) -> dict[str, Any]:
        """Return the scale, the parts and hashes of the factors and the background."""
        blur = None if self.blur is None else self.blur.describe()
        return super().describe() | {"scale": self.scale, "projector": self.projector.describe(), "blur": blur}

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        projector = ParallelBeam((12, 15), (2.0, 2.0), half_turn(10), 19)
        survival = 0.2 + 0.8 * torch.rand(projector.range, generator=generator)
        background = torch.rand(projector.range, generator=generator)
        return cls(projector, survival, background, Blur((12, 15), (2.0, 2.0), (4.5, 4.5)), 3.0)


def attenuation_factors(projector: LinearOperator, coefficients: Tensor) -> Tensor:
    """Return the share of photon pairs that survive, `exp(-P mu)`, `(..., angle, detector)` in (0, 1].

    Args:
        projector: lines of response.
        coefficients: `(..., y, x)` linear attenuation at 511 keV in 1/mm, >= 0; water 0.0096.
    """
    return torch.exp(-projector.forward(coefficients.clamp_min(0))).clamp(1e-30, 1.0)
