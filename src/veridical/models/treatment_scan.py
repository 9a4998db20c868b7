"""CT of a patient as the dose engine wants it, and doses back on the grid of the CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.errors import InputError
from veridical.models.dose_anatomy import body_of, turned, turned_back, turned_spacing
from veridical.models.dose_grid import sampled
from veridical.physics.photon_dose import PhotonField, photon_dose
from veridical.physics.photon_plan import conformal
from veridical.physics.relative_density import relative_electron_density
from veridical.types import Array, Geometry

REACH = 120.0
"""mm beside the target, along the body, that scatter comes from."""


@dataclass(frozen=True, eq=False)
class TreatmentScan:
    """Where doses of one target are computed: voxels of one size, cut to body and target.

    Args:
        geometry: of the CT.
        voxel: mm.
        box: where the cut lies in the CT, turned to the patient's axes.
        target: bool, in the cut, on voxels of the CT.
    """

    geometry: Geometry
    voxel: float
    box: tuple[slice, ...]
    target: Array

    @classmethod
    def of(
        cls, cts: Sequence[Array], target: Array, geometry: Geometry, voxel: float
    ) -> TreatmentScan:
        """Cut to the bodies of all scans of a patient, and to what lies near the target.

        Args:
            cts: HU, `(x, y, z)` each.
            target: bool, of that shape.
            geometry: of them.
            voxel: of the dose, mm.

        Raises:
            InputError: the target has no voxel in the body of the first scan.
        """
        spacing, aimed = turned_spacing(geometry), turned(target, geometry) > 0
        bodies = [body_of(turned(ct, geometry)) for ct in cts]
        if not (aimed & bodies[0]).any():
            raise InputError(
                "No voxel of the target lies in the body; expected a mask on the grid of the CT."
            )
        (around,) = ndimage.find_objects(np.logical_or.reduce([aimed, *bodies]).astype(np.uint8))
        (near,) = ndimage.find_objects(aimed.astype(np.uint8))
        more = int(np.ceil(REACH / spacing[2]))
        along = slice(max(around[2].start, near[2].start - more), near[2].stop + more)
        box = (around[0], around[1], along)
        return cls(geometry, voxel, box, aimed[box])

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm of the CT along the patient's axes."""
        return turned_spacing(self.geometry)

    @property
    def fine(self) -> tuple[float, float, float]:
        """mm of the dose."""
        return self.voxel, self.voxel, self.voxel

    def fields(self, angles: Sequence[float], margin: float) -> list[PhotonField]:
        """Return conformal fields, in mm from the first voxel of the dose; as `conformal`."""
        aimed = self._brought(self.target.astype(np.float32)) > 0.5
        return conformal(aimed, self.fine, angles, margin)

    def dose(self, ct: Array, fields: Sequence[PhotonField]) -> Array:
        """Return the dose `(x, y, z)` in Gy on the grid of the CT, 0 outside of its body.

        Args:
            ct: HU, `(x, y, z)`, on the grid.
            fields: as `fields` gives them.
        """
        whole = turned(ct, self.geometry)
        body = body_of(whole)
        cut = body[self.box]
        density = self._brought(relative_electron_density(whole[self.box]) * cut)
        found = sampled(photon_dose(density, self.fine, fields), self.fine, self.spacing, cut.shape)
        placed = np.zeros(whole.shape, np.float32)
        placed[self.box] = np.maximum(found, 0) * cut
        return turned_back(placed, self.geometry)

    def _brought(self, volume: Array) -> Array:
        sizes = zip(volume.shape, self.spacing, strict=True)
        shape = tuple(max(1, int(np.ceil(n * size / self.voxel - 1e-6))) for n, size in sizes)
        return sampled(volume.astype(np.float32), self.spacing, self.fine, shape)
