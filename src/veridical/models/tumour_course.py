"""A tumour in a forecast: extents read from label maps are told to the twin, and its members say
where tumour will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError
from veridical.models.regional_flow import RegionalFlow
from veridical.models.twin import Fan, Twin
from veridical.models.world import BOUNDS, Brain, Observed, WorldModel
from veridical.phantoms.glioma_biology import biology
from veridical.physics import tumour
from veridical.physics.treatment import Treatment
from veridical.physics.tumour_extent import NECROSIS, Extent
from veridical.types import Geometry

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]

CLASSES = ("oedema", "enhancing tumour", "necrosis")
SIDE = 96.0
"""mm of the cube in which a tumour grows."""
TOLD = 0.1
"""ml of enhancing tumour that the first scan must show."""


@dataclass(frozen=True, eq=False)
class TumourCourse:
    """What the twin believes.

    Args:
        twin: after the last visit.
        first: day of the first visit that shows the tumour; the twin's day 0.
        treatment: days since that.
        spans: of the twin's cube in the working grid.
    """

    twin: Twin
    first: float
    treatment: Treatment
    spans: tuple[slice, slice, slice]

    def fan(self, days: Sequence[float]) -> Fan:
        """Return what is expected on some days since the first visit."""
        return self.twin.forecast(self.treatment, [day - self.first for day in days])

    def classes(self, day: float, shape: tuple[int, int, int], count: int) -> NDArray[np.uint8]:
        """Return where members see tumour on a day, `(member, x, y, z)`: 0 none, else the position
        in `CLASSES` and 1; on the working grid.
        """
        belief, until = self.twin.belief, day - self.first
        found = np.zeros((count, *shape), np.uint8)
        for place in range(count):
            p, state = belief.parameters[place], belief.states[place]
            if until > belief.day:
                state = next(iter(tumour.grown(state, biology(p[:4]), self.treatment, [until])))
            low = float(np.clip(p[9], *BOUNDS[1]))
            high = float(np.clip(p[8], *BOUNDS[0]))
            seen = np.digitize(state.seen, [low, high, NECROSIS]).astype(np.uint8)
            found[(place, *self.spans)] = seen
        return found


def extent_of(labels: Labels, names: Sequence[str], geometry: Geometry) -> Extent:
    """Return the extent of the tumour of a label map.

    Args:
        labels: `(x, y, z)`, positions in `names`.
        names: of the labels.
        geometry: their grid.
    """
    voxel = abs(float(np.linalg.det(geometry.affine[:3, :3]))) / 1000
    masks = {name: labels == list(names).index(name) for name in CLASSES}
    seen = np.argwhere(np.any([*masks.values()], 0))
    core = int(masks["enhancing tumour"].sum() + masks["necrosis"].sum())
    if not len(seen):
        return Extent(0.0, 0.0, (float("nan"),) * 3)
    at = geometry.affine[:3, :3] @ seen.mean(0) + geometry.affine[:3, 3]
    return Extent(core * voxel, len(seen) * voxel, (float(at[0]), float(at[1]), float(at[2])))


def course(
    scans: Mapping[float, Extent],
    flow: RegionalFlow,
    grid: Geometry,
    treatment: Treatment,
    genes: Mapping[str, str] | None,
    model: WorldModel,
) -> TumourCourse:
    """Tell the twin all scans.

    Args:
        scans: day since the first visit -> extent.
        flow: brain of the last visit.
        grid: its grid.
        treatment: days since the first visit.
        genes: where they are known.
        model: of the world.

    Raises:
        InputError: no scan shows enhancing tumour.
    """
    days = [day for day in sorted(scans) if scans[day].enhancing >= TOLD]
    if not days:
        raise InputError(
            f"No visit shows {TOLD:g} ml of enhancing tumour, from which one is forecast. Outline "
            "it in the label map of a visit."
        )
    first = days[0]
    shifted = _shifted(treatment, first)
    spans = _spans(grid, scans[first])
    brain = _brain(flow, grid, spans)
    twin = Twin.begun(model, Observed(0.0, scans[first]), brain, genes or None)
    for day in sorted(scans):
        if day > first:
            twin = twin.told(Observed(day - first, scans[day]), shifted)
    return TumourCourse(twin, first, shifted, spans)


def _shifted(treatment: Treatment, days: float) -> Treatment:
    """Return a treatment whose days count from a later one."""
    return Treatment(
        tuple((day - days, dose) for day, dose in treatment.fractions),
        tuple((start - days, end - days, level) for start, end, level in treatment.drug),
        None if treatment.surgery is None else treatment.surgery - days,
        treatment.extent,
        treatment.name,
    )


def _spans(grid: Geometry, one: Extent) -> tuple[slice, slice, slice]:
    side = round(SIDE / grid.spacing[0])
    middle = np.linalg.inv(grid.affine) @ np.array([*one.centre, 1.0])
    found = []
    for axis, n in enumerate(grid.shape):
        size = min(side, n)
        start = int(np.clip(round(float(middle[axis]) - size / 2), 0, n - size))
        found.append(slice(start, start + size))
    return found[0], found[1], found[2]


def _brain(flow: RegionalFlow, grid: Geometry, spans: tuple[slice, slice, slice]) -> Brain:
    """Return white and grey matter in the cube; what is tumour today counts as white matter."""
    grey = sum(flow.shares[name] for name in ("cortex", "deep grey matter", "caudate"))
    white, rest = (
        np.ascontiguousarray(np.clip(one[spans], 0, 1), np.float32)
        for one in (flow.shares["white matter"], np.asarray(grey))
    )
    corner = grid.affine @ np.array([*(one.start for one in spans), 1.0])
    return Brain(tumour.medium(white, rest, grid.spacing[0]), np.asarray(corner[:3], float))
