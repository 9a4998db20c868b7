"""Visits brought together for a forecast: one anatomy, that of the last visit; images of all visits
on a grid about it; and what changed between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import InputError
from veridical.layouts.selection import LESION
from veridical.models.base import LabelModel
from veridical.models.regional_change import RegionalChange, measured, total_displacement
from veridical.models.regional_flow import RegionalFlow, regional_flow
from veridical.phantoms.head_labels import LABELS, LESIONS, Numbering, from_numbers
from veridical.preprocessing import registration
from veridical.tasks.labelling import labelled
from veridical.types import Array, Geometry, Image, Study

Floats = NDArray[np.float32]
GRID = 4.0
"""mm of the grid on which changes are measured: deformations are smooth, and a change of a part of
a voxel is seen in its brightness.
"""
NEARLY = (3.0, 4.5)
"""mm of isotropic images that are that grid themselves."""
STRUCTURES = "structures"


@dataclass(frozen=True, eq=False)
class PastVisit:
    """A visit.

    Args:
        years: before the last one, 0 or negative.
        images: contrast -> image.
        labels: structures `(x, y, z)` in `head_labels.LABELS` with their grid; None where there is
            no label map.
        lesions: label map of lesions alone; None where there is none.
        matrix: `(4, 4)`: mm of the last visit to mm of this one.
        moved: how far it was moved, in words.
        change: what changed until the last one; None of that, and where nothing could be compared.
        displacement: `(x, y, z, 3)` mm on the working grid, from the last visit to this one.
    """

    years: float
    images: Mapping[str, Image]
    labels: Image | None = None
    lesions: Image | None = None
    matrix: Array = field(default_factory=lambda: np.eye(4))
    moved: str = ""
    change: RegionalChange | None = None
    displacement: Floats | None = None


@dataclass(frozen=True, eq=False)
class Visits:
    """All visits of a patient.

    Args:
        every: in order; the last is the reference.
        grid: on which changes are measured.
        flow: the anatomy of the last visit; None where no head is seen, `why` says why.
        why: there is none.
        anatomy: where its structures come from, in words.
    """

    every: tuple[PastVisit, ...]
    grid: Geometry
    flow: RegionalFlow | None
    why: str
    anatomy: str

    @property
    def last(self) -> PastVisit:
        """The reference."""
        return self.every[-1]

    @property
    def changes(self) -> tuple[list[float], list[RegionalChange]]:
        """Years and changes of the earlier visits that could be compared."""
        known = [one for one in self.every if one.change is not None]
        return [one.years for one in known], [one.change for one in known if one.change is not None]


def visits_of(study: Study, numbering: Numbering, model: LabelModel) -> Visits:
    """Read, align and compare the visits of a study.

    Args:
        study: visits on their days.
        numbering: of its label maps.
        model: that segments the last visit where it has no label map.

    Raises:
        InputError: the last visit has no image that fits.
    """
    past = [_read(study, day, numbering) for day in study.days]
    past = [one for one in past if one.images]
    if not past or past[-1].years != 0:
        raise InputError(
            "The last visit has no MR or CT image; a forecast starts from one. Add a T1w image, or "
            "leave the visit out."
        )
    first = next(iter(past[-1].images.values()))
    if first.geometry.frame == "index":
        raise InputError(
            "The voxel size of the last visit is not known; changes are in millimetres. Read it "
            "with its header, or state it: --spacing 1,1,1."
        )
    grid = _working(first.geometry)
    try:
        shares, anatomy = _anatomy(past[-1], grid, model)
        flow, why = regional_flow(shares, grid), ""
    except InputError as error:
        flow, why, anatomy = None, str(error), "none"
    every = [*(_compared(one, past[-1], grid, flow) for one in past[:-1]), past[-1]]
    return Visits(tuple(every), grid, flow, why, anatomy)


def on_grid(image: Image, grid: Geometry, matrix: Array | None = None) -> Floats:
    """Return the first channel of an image `(x, y, z)` on another grid: linearly, as the mean over
    its voxels where these are larger.

    Args:
        image: any.
        grid: the other.
        matrix: `(4, 4)`: mm of the grid to mm of the image.
    """
    factors = np.maximum(1.0, np.array(grid.spacing) / np.array(image.geometry.spacing))
    data = ndimage.gaussian_filter(
        np.asarray(image.data[0], np.float32), 0.45 * (factors - 1), mode="nearest"
    )
    step = np.linalg.inv(image.geometry.affine) @ (np.eye(4) if matrix is None else matrix)
    step = step @ grid.affine
    found = ndimage.affine_transform(
        data, step[:3, :3], step[:3, 3], grid.shape, order=1, mode="nearest"
    )
    return np.asarray(found, np.float32)


def _read(study: Study, day: float, numbering: Numbering) -> PastVisit:
    """Return a visit: real images by contrast, the label map of structures, that of lesions."""
    images: dict[str, Image] = {}
    labels = lesions = None
    for name, one in study.visits[day].items():
        if not isinstance(one, Image):
            continue
        if one.units == "label":
            if LESION.search(name):
                lesions = one
            elif STRUCTURES in name:
                found = from_numbers(np.asarray(one.data[0]), numbering)
                labels = Image(found[None], one.geometry, "label", (STRUCTURES,))
            continue
        if np.iscomplexobj(one.data) or not np.isfinite(one.data).all():
            raise InputError(
                f"{name} of day {day:g} is complex or holds NaN; expected real, finite values."
            )
        images |= {channel: one.channel(channel) for channel in one.channels}
    return PastVisit((day - study.days[-1]) / 365.25, images, labels, lesions)


def _working(geometry: Geometry) -> Geometry:
    """Return the grid on which changes are measured, RAS+, over the field of view of an image."""
    size = np.array(geometry.spacing)
    straight = np.allclose(geometry.affine[:3, :3], np.diag(size), atol=1e-3)
    if straight and np.ptp(size) < 0.02 * size[0] and NEARLY[0] <= size[0] <= NEARLY[1]:
        return geometry
    ends = [(-0.5, n - 0.5) for n in geometry.shape]
    corners = np.stack(np.meshgrid(*ends, [1.0], indexing="ij")).reshape(4, -1)
    at = (geometry.affine @ corners)[:3]
    low, extent = at.min(1), np.ptp(at, axis=1)
    shape = tuple(int(n) for n in np.maximum(1, np.round(extent / GRID)))
    affine = np.diag([GRID, GRID, GRID, 1.0])
    affine[:3, 3] = low + (extent - GRID * (np.array(shape) - 1)) / 2
    return Geometry((shape[0], shape[1], shape[2]), affine, geometry.frame)


def _anatomy(last: PastVisit, grid: Geometry, model: LabelModel) -> tuple[dict[str, Floats], str]:
    """Return structure -> share of each voxel of the working grid, and where it comes from."""
    if min(grid.shape) < 12:
        raise InputError(f"{grid}: too small for a head.")
    if last.labels is not None:
        numbers = np.asarray(last.labels.data[0])
        shown = [int(n) for n in np.unique(numbers) if n]
        parts = {LABELS[n]: (numbers == n).astype(np.float32) for n in shown}
        source, said = last.labels.geometry, "the label map of the last visit"
    else:
        image = Image.stack([next(iter(last.images.values()))])
        found = labelled(model, image, image.channels[:1])
        parts = dict(zip(found.names, found.probabilities, strict=True))
        source, said = found.grid, f"{model.name}, from {image.channels[0]} of the last visit"
    every = {
        name: on_grid(Image(data[None], source, "1", (name,)), grid) for name, data in parts.items()
    }
    if source.shape != grid.shape:  # beyond the field of view of the labels there is none
        seen = on_grid(
            Image(np.pad(np.ones(np.array(source.shape) - 2), 1)[None], source, "1", ("seen",)),
            grid,
        )
        every = {name: share * (seen > 0.5) for name, share in every.items()}
    return every, said


def _compared(
    visit: PastVisit, last: PastVisit, grid: Geometry, flow: RegionalFlow | None
) -> PastVisit:
    """Return an earlier visit, aligned with the last and compared with it."""
    shared = [name for name in visit.images if name in last.images]
    one = shared[0] if shared else next(iter(visit.images))
    moving, fixed = visit.images[one], last.images.get(one) or next(iter(last.images.values()))
    matrix, moved = np.eye(4), "taken as it lies"
    if not moving.geometry.matches(fixed.geometry) and min(moving.geometry.shape) >= 4:
        found = registration.register(
            np.asarray(fixed.data[0]), fixed.geometry, np.asarray(moving.data[0]), moving.geometry
        )
        matrix, moved = np.asarray(found.matrix), str(found)
    if flow is None or not shared:
        return replace(visit, matrix=matrix, moved=moved)
    now, then = (
        {name: on_grid(who.images[name], grid, place) for name in shared}
        for who, place in ((last, None), (visit, matrix))
    )
    aligned = replace(visit, matrix=matrix, moved=moved)
    change = measured(flow, now, then, ignored(aligned, last, grid))
    return replace(aligned, change=change, displacement=total_displacement(flow, change))


def ignored(visit: PastVisit, last: PastVisit, grid: Geometry) -> NDArray[np.bool_]:
    """Return where lesions or tumours are on either day, bool `(x, y, z)`."""
    found = np.zeros(grid.shape, bool)
    for one, matrix in ((visit, visit.matrix), (last, None)):
        mask = lesions_of(one)
        if mask is not None:
            found |= on_grid(mask, grid, matrix) > 0.1
    return ndimage.binary_dilation(found) if found.any() else found


def lesions_of(visit: PastVisit) -> Image | None:
    """Return the mask of lesions and tumours of a visit, 0 and 1; None where nobody marked any."""
    if visit.lesions is not None:
        data = np.asarray(visit.lesions.data[0]) > 0
        return Image(data.astype(np.float32)[None], visit.lesions.geometry, "1", ("lesions",))
    if visit.labels is None:
        return None
    data = np.isin(np.asarray(visit.labels.data[0]), LESIONS)
    return Image(data.astype(np.float32)[None], visit.labels.geometry, "1", ("lesions",))
