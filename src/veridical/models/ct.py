"""What all models of CT slices share: the call, the check of what they can take, the axes of the result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from veridical.errors import GeometryError, InputError
from veridical.physics.projection import PlanarBeam
from veridical.task import Progress, silent
from veridical.types import Array, Measurement


@dataclass(frozen=True)
class CTModel(ABC):
    """A solver of parallel-beam or fan-beam slices. Subclasses are frozen dataclasses; their fields are their settings."""

    name: ClassVar[str]
    stochastic: ClassVar[bool] = False

    @abstractmethod
    def solve(self, operator: PlanarBeam, sinogram: Tensor, progress: Progress) -> Tensor:
        """Return attenuation `(slice, y, x)` in 1/mm from line integrals `(slice, angle, detector)`."""

    def sample(
        self,
        measurement: Measurement,
        condition: Mapping[str, Any] | None = None,
        draws: int = 1,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Array:
        """Reconstruct every slice.

        Args:
            measurement: data `(slice, angle, detector)` line integrals, dimensionless; operator a `ParallelBeam` or `FanBeam`.
            condition, draws, seed: taken from every caller and not used: nothing here is learned or random.
            progress: called as work goes on.

        Returns:
            `(1, 1, x, y, z)` float32: one draw, one channel, linear attenuation in 1/mm.

        Raises:
            InputError: not a CT measurement.
            GeometryError: the data do not fit the operator, or the operator does not fit the measurement's grid.
        """
        operator = measurement.operator
        if not isinstance(operator, PlanarBeam):
            raise InputError(
                f"{self.name} was given a measurement by {operator.name}; expected parallel-beam or fan-beam. Choose a model "
                "for that operator: veridical list models."
            )
        data = np.array(measurement.data, dtype=np.float32)
        rows, columns = operator.domain
        if data.shape[1:] != operator.range or measurement.geometry.shape != (columns, rows, len(data)):
            raise GeometryError(
                f"{self.name}: data {data.shape} on a grid {measurement.geometry.shape}; expected (slice, "
                f"{operator.range[0]}, {operator.range[1]}) and the grid ({columns}, {rows}, slice)."
            )
        image = self.solve(operator, torch.from_numpy(data), progress).numpy()
        return np.ascontiguousarray(image.transpose(2, 1, 0))[None, None]

    def accepts(self, measurement: Measurement) -> bool:
        """Say whether this model can take the measurement."""
        return isinstance(measurement.operator, PlanarBeam)

    @property
    def weights_hash(self) -> str:
        """`none`: nothing is learned."""
        return "none"


def sensitivities(operator: PlanarBeam) -> tuple[Tensor, Tensor]:
    """Return 1 / (A 1) and 1 / (A^T 1), 0 where a ray misses the image or a pixel is not seen."""
    chords = operator.forward(torch.ones(operator.domain))
    visits = operator.adjoint(torch.ones(operator.range))
    return _inverse(chords), _inverse(visits)


def _inverse(sums: Tensor) -> Tensor:
    return torch.where(sums > 1e-3 * sums.max(), 1 / sums, torch.zeros_like(sums))
