"""Positron emission tomography: expected coincidence counts of an activity, with attenuation,
resolution and background.

`expected(x) = scale . attenuation . P(blur x) + background` is the mean of the Poisson counts
(Shepp and Vardi 1982, 10.1109/TMI.1982.4307558; additive randoms and scatter as in Politte and
Snyder, IEEE TMI 10, 1991).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from veridical.errors import GeometryError, InputError, SettingError
from veridical.physics.blur import Blur
from veridical.physics.geometry_table import ANGLES, GeometryTable
from veridical.physics.linear import LinearOperator
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.projection import PlanarBeam

BEAM = ("views", *ANGLES, "detectors", "pitch")
"""Optional keys that a geometry file gives to the lines of response."""


class PET(LinearOperator):
    """The linear part of the mean counts; `expected` adds the background.

    Args: projector: lines of response, activity `(y, x)` to `(angle, detector)`. attenuation:
        `(angle, detector)` survival factors in (0, 1]; None: no attenuation. See
        `attenuation_factors`. background: `(angle, detector)` mean randoms and scatter in counts,
        >= 0; None: none. blur: resolution of the scanner in image space, with the projector's image
        as domain and range; None: perfect. scale: counts per line integral of the activity:
        sensitivity x time x branching ratio, > 0.

    Domain `(y, x)`, activity per mm (non-negative in nature; a linear operator takes any sign);
    range `(angle, detector)`, mean trues in counts.

    Raises:
        GeometryError: a factor, the background or the blur is not of the projector's shapes.
        SettingError: a factor is outside (0, 1], the background negative or the scale not positive.
    """

    name = "pet"
    nonnegative = True

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
        for what, factor in (
            ("the attenuation", self.attenuation),
            ("the background", self.background),
        ):
            if tuple(factor.shape) != self.range:
                raise GeometryError(
                    f"pet: {what} is {tuple(factor.shape)}; expected {self.range}, as the "
                    "projector's range."
                )
        if blur is not None and not blur.domain == blur.range == self.domain:
            raise GeometryError(
                f"pet: the blur maps {blur.domain} to {blur.range}; expected {self.domain} on both "
                "sides. Use factor 1."
            )
        if (
            self.scale <= 0
            or self.attenuation.min() <= 0
            or self.attenuation.max() > 1
            or self.background.min() < 0
        ):
            raise SettingError(
                "pet: expected attenuation factors in (0, 1], a background >= 0 and a scale > 0. "
                "From a map of attenuation "
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

    def penalized(
        self, x: Tensor, counts: Tensor, towards: Tensor, weight: float | Tensor, subsets: int
    ) -> Tensor:
        """Return one pass of penalized expectation maximization, `(y, x)`, >= 0.

        Maximizes Poisson likelihood minus `weight / 2 |x - towards|^2` (De Pierro 1995,
        10.1109/42.370409).

        Args:
            x: `(y, x)` activity to start from, >= 0.
            counts: `(angle, detector)` as measured, background included.
            towards: `(y, x)`, where the penalty pulls to.
            weight: of the penalty, in units of one over squared activity; a number or `(y, x)`.
            subsets: interleaved subsets of the angles.
        """
        x = x.clamp_min(1e-6 * float(x.max().clamp_min(1e-12)))
        pull = weight / subsets
        for first in range(subsets):
            part, measured = self._part(first, subsets), counts[first::subsets]
            seen = part.adjoint(torch.ones(part.range, device=counts.device))
            gained = x * part.adjoint(measured / part.expected(x).clamp_min(1e-9))
            slope = pull * towards - seen
            x = (slope + torch.sqrt(slope.square() + 4 * pull * gained)) / (2 * pull)
        return x

    def expected(self, activity: Tensor) -> Tensor:
        """Return the mean of the Poisson counts, `(..., angle, detector)`, >= 0 for a non-negative
        activity.
        """
        return self.forward(activity) + self.background

    @property
    def spacing(self) -> tuple[float, float] | None:
        """`(dy, dx)` pixel size in mm, None when the projector does not know it."""
        found: tuple[float, float] | None = getattr(self.projector, "spacing", None)
        return found

    def osem(self, y: Tensor, iterations: int = 4, subsets: int = 8) -> Tensor:
        """Return the activity by ordered-subset expectation maximization; one subset is MLEM.

        `x <- x / (A_s^T 1) . A_s^T (y / (A_s x + b_s))` for one subset s of the angles after the
        other (Shepp and Vardi 1982; Hudson and Larkin 1994, 10.1109/42.363108). MLEM never lowers
        the Poisson likelihood; without background it keeps the counts. More iterations sharpen and
        amplify noise.

        Args:
            y: `(..., angle, detector)` measured counts, trues and background together, >= 0.
            iterations: passes through all angles.
            subsets: how many, of every so-manieth angle; at most as many as angles.

        Returns:
            `(..., y, x)` activity per mm, >= 0; 0 where no line of response passes.

        Raises: InputError: negative counts, as of data from which randoms or scatter were
            subtracted. SettingError: numbers below 1, more subsets than angles, or subsets of a
            projector that is not a planar beam.
        """
        self.check(y, self.range, "the counts")
        if bool((y < 0).any()):
            raise InputError(
                f"pet: the counts go down to {float(y.min()):g}; expected counts >= 0 as they were "
                "measured. Give what was "
                "subtracted as background instead."
            )
        if min(iterations, subsets) < 1 or subsets > self.range[0]:
            raise SettingError(
                f"pet: iterations = {iterations}, subsets = {subsets}; expected 1 to "
                f"{self.range[0]} subsets."
            )
        parts = [
            (self._part(first, subsets), y[..., first::subsets, :]) for first in range(subsets)
        ]
        visits = [
            part.adjoint(torch.ones(part.range, dtype=y.dtype, device=y.device))
            for part, _ in parts
        ]
        whole = torch.stack(visits).sum(0)
        trues = (y - self.background).sum((-2, -1), keepdim=True).clamp_min(1e-3)
        x = (trues / whole.sum()).expand(*y.shape[:-2], *self.domain) * (whole > 1e-6 * whole.max())
        for _ in range(iterations):
            for (part, counts), seen in zip(parts, visits, strict=True):
                ratio = counts / part.expected(x).clamp_min(1e-12)
                x = torch.where(
                    seen > 1e-6 * seen.max(), x * part.adjoint(ratio) / seen.clamp_min(1e-30), x
                )
        return x

    def classical(self, y: Tensor) -> Tensor:
        """Return four iterations of OSEM with up to eight subsets, `(..., y, x)`; MLEM where there
        can be no subsets.
        """
        if not isinstance(self.projector, PlanarBeam):
            return self.osem(y, 20, 1)
        return self.osem(y, 4, min(8, max(1, self.range[0] // 5)))

    def _part(self, first: int, step: int) -> PET:
        """Return the operator of every `step`-th angle from `first` on."""
        if step == 1:
            return self
        if not isinstance(self.projector, PlanarBeam):
            raise SettingError(
                f"pet: {step} subsets of {self.projector.name}; expected a planar beam, or 1 "
                "subset."
            )
        projector = copy.copy(self.projector)
        projector.angles = self.projector.angles[first::step]
        projector.range = (len(projector.angles), self.range[1])
        part = copy.copy(self)
        part.projector, part.range = projector, projector.range
        part.attenuation, part.background = (
            self.attenuation[first::step],
            self.background[first::step],
        )
        return part

    def describe(self) -> dict[str, Any]:
        """Return the scale, the parts and hashes of the factors and the background."""
        blur = None if self.blur is None else self.blur.describe()
        return super().describe() | {
            "scale": self.scale,
            "projector": self.projector.describe(),
            "blur": blur,
        }

    @classmethod
    def from_geometry(cls, settings: Mapping[str, Any]) -> PET:
        """Build the scanner from plain values.

        Args: settings: the keys of `ParallelBeam.from_geometry`, and if need be `attenuation`,
            survival factors `(angle, detector)` in (0, 1], or `coefficients`, a map `(y, x)` in
            1/mm at 511 keV; `background` in counts, a number or `(angle, detector)`; `resolution`,
            full width at half maximum in mm; `scale` (1), counts per line integral. Arrays are
            lists, or names of `.npy` files beside the geometry file.

        Raises: SettingError: a key is unknown, missing or of a wrong value, or both attenuation and
            coefficients are given.
        """
        own = ("attenuation", "coefficients", "background", "resolution", "scale")
        table = GeometryTable.of(cls.name, settings, ("shape", "spacing"), (*BEAM, *own))
        if {"attenuation", "coefficients"} <= set(settings):
            raise SettingError(
                "pet: attenuation and coefficients are both given; expected one of them. Leave one "
                "out."
            )
        rays = ParallelBeam.from_geometry(
            {key: value for key, value in settings.items() if key not in own}
        )
        shape = (rays.domain[0], rays.domain[1])
        survival, coefficients = (
            table.tensor("attenuation", rays.range),
            table.tensor("coefficients", shape),
        )
        if coefficients is not None:
            survival = attenuation_factors(rays, coefficients)
        width = table.number("resolution", 0.0, least=0)
        blur = Blur(shape, rays.spacing, (width, width)) if width else None
        return cls(
            rays,
            survival,
            table.tensor("background", rays.range),
            blur,
            table.number("scale", 1.0, above=0),
        )

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        projector = ParallelBeam((12, 15), (2.0, 2.0), half_turn(10), 19)
        survival = 0.2 + 0.8 * torch.rand(projector.range, generator=generator)
        background = torch.rand(projector.range, generator=generator)
        return cls(projector, survival, background, Blur((12, 15), (2.0, 2.0), (4.5, 4.5)), 3.0)


def attenuation_factors(projector: LinearOperator, coefficients: Tensor) -> Tensor:
    """Return the share of photon pairs that survive, `exp(-P mu)`, `(..., angle, detector)` in (0,
    1].

    Args:
        projector: lines of response.
        coefficients: `(..., y, x)` linear attenuation at 511 keV in 1/mm, >= 0; water 0.0096.
    """
    return torch.exp(-projector.forward(coefficients.clamp_min(0))).clamp(1e-30, 1.0)
