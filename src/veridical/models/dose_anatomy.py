"""What a dose prediction depends on: CT, outlined structures and where dose may be, on one grid.

Grids here are `(x, y, z)` with x to the patient's right, y to the front and z to the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from veridical.errors import InputError, UnitsError, nearest
from veridical.physics.photon_beams import PENUMBRA
from veridical.physics.prescriptions import ALLOWED, STRUCTURES, TARGETS
from veridical.types import Array, Geometry, Image, Study

FAR, DEEP = 60.0, 30.0
"""Distances in mm beyond which, outside and inside, they are all the same."""
BODY = -400.0
"""HU above which the body begins."""
USUAL = {
    "Brainstem": re.compile(r"brainstem|stem"),
    "SpinalCord": re.compile(r"(spinal)?cord|spinalcanal"),
    "RightParotid": re.compile(r"r(igh)?t?parotid|parotid(gland)?r(igh)?t?"),
    "LeftParotid": re.compile(r"l(ef)?t?parotid|parotid(gland)?l(ef)?t?"),
    "Esophagus": re.compile(r"o?esophagus(s|up)?"),
    "Larynx": re.compile(r"larynx|glottis"),
    "Mandible": re.compile(r"mandible|bonemandible"),
    **{name: re.compile(rf"ptv{dose:.0f}(00|gy)?") for name, dose in TARGETS.items()},
}
"""Our name -> how others write it, in small letters and digits alone (AAPM TG-263 and older)."""


@dataclass(frozen=True, eq=False)
class PlanAnatomy:
    """What a plan depends on, on one grid `(x, y, z)`.

    Args:
        ct: HU.
        structures: name -> bool, of `STRUCTURES`; those not outlined are left out.
        inside: bool, where dose may be.
        spacing: mm.
    """

    ct: Array
    structures: Mapping[str, Array]
    inside: Array
    spacing: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not any(name in TARGETS for name in self.structures):
            raise InputError(
                f"No target is outlined; expected at least one of {', '.join(TARGETS)}, got "
                f"{', '.join(self.structures) or 'nothing'}."
            )

    def mask(self, *names: str) -> Array:
        """Return the voxels of any of these structures, bool."""
        found = np.zeros(self.ct.shape, bool)
        for name in names:
            if name in self.structures:
                found |= self.structures[name]
        return found

    @classmethod
    def of(cls, image: Image) -> PlanAnatomy:
        """Return the anatomy of an image with the channels `CT`, structures, and maybe
        `possible_dose`; without it dose may be in the whole body.

        Raises:
            InputError: there is no CT, or no target.
        """
        grid = image.geometry
        ct = turned(image["CT"], grid).astype(np.float32)
        structures = {
            name: turned(image[name], grid) > 0 for name in STRUCTURES if name in image.channels
        }
        allowed = ALLOWED in image.channels
        inside = turned(image[ALLOWED], grid) > 0 if allowed else body_of(ct)
        size = turned_spacing(grid)
        return cls(ct, {k: m for k, m in structures.items() if m.any()}, inside, size)

    @property
    def prescription(self) -> Array:
        """Gy prescribed, 0 outside of targets; the highest where they overlap."""
        level = np.zeros(self.ct.shape, np.float32)
        for name, dose in TARGETS.items():
            level = np.maximum(level, np.float32(dose) * self.mask(name))
        return level

    def distance(self, mask: Array) -> Array:
        """Return mm to the surface of a structure, negative inside, cut at `FAR` and `-DEEP`."""
        found = np.full(mask.shape, FAR, np.float32)
        if mask.any():
            box = self._around(mask, FAR)
            near = mask[box]
            outside = ndimage.distance_transform_edt(~near, self.spacing)
            within = np.zeros(near.shape)
            tight = self._around(near, max(self.spacing))
            within[tight] = ndimage.distance_transform_edt(near[tight], self.spacing)
            found[box] = np.clip(outside - within, -DEEP, FAR)
        return found

    def _around(self, mask: Array, margin: float) -> tuple[slice, ...]:
        """Return the box of a mask with a margin in mm."""
        (box,) = ndimage.find_objects(mask.astype(np.uint8))
        return tuple(
            slice(max(0, side.start - int(margin / size) - 1), side.stop + int(margin / size) + 1)
            for side, size in zip(box, self.spacing, strict=True)
        )

    def near_targets(self) -> tuple[slice, PlanAnatomy]:
        """Return the slices that beams at the targets can reach, and the anatomy there."""
        z = self._around(self.prescription > 0, PENUMBRA * 3)[2]
        cut = {name: mask[..., z] for name, mask in self.structures.items()}
        return z, PlanAnatomy(self.ct[..., z], cut, self.inside[..., z], self.spacing)


def body_of(ct: Array) -> Array:
    """Return the body in CT in HU, slice by slice filled, bool: the largest piece above `BODY`."""
    pieces, count = ndimage.label(ct > BODY)
    if count > 1:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        pieces = pieces == sizes.argmax()
    filled = [ndimage.binary_fill_holes(pieces[..., k] > 0) for k in range(ct.shape[2])]
    return np.stack(filled, -1)


def turned(data: Array, grid: Geometry) -> Array:
    """Return `(x, y, z)` data of a grid with its axes along those of the patient."""
    from nibabel.orientations import apply_orientation, io_orientation

    return np.ascontiguousarray(apply_orientation(data, io_orientation(grid.affine)))


def turned_back(data: Array, grid: Geometry) -> Array:
    """The inverse of `turned`."""
    from nibabel.orientations import (
        apply_orientation,
        axcodes2ornt,
        io_orientation,
        ornt_transform,
    )

    way = ornt_transform(axcodes2ornt("RAS"), io_orientation(grid.affine))
    return np.ascontiguousarray(apply_orientation(data, way))


def turned_spacing(grid: Geometry) -> tuple[float, float, float]:
    """Return the voxel size along the axes of the patient, mm."""
    from nibabel.orientations import io_orientation

    axes = io_orientation(grid.affine)[:, 0].astype(int)
    x, y, z = (grid.spacing[int(np.flatnonzero(axes == axis)[0])] for axis in range(3))
    return x, y, z


def channels_of(study: Study) -> dict[str, Image]:
    """Return every channel of the images of the last visit, by name."""
    return {
        name: image.channel(name)
        for image in study.visit().values()
        if isinstance(image, Image)
        for name in image.channels
    }


def ct_of(channels: Mapping[str, Image], advice: str) -> Image:
    """Return the CT.

    Args:
        channels: by name.
        advice: what helps where there is none.

    Raises:
        InputError: there is none, or NaN in any channel.
        UnitsError: it is not in HU.
    """
    ct = channels.get("CT")
    if ct is None:
        raise InputError(
            f"There is no CT among {', '.join(channels) or 'nothing'}; expected one in HU. {advice}"
        )
    if ct.units != "HU":
        raise UnitsError(f"CT is in {ct.units}; expected HU. Say so if it is: --units HU.")
    if not all(np.isfinite(one.data).all() for one in channels.values()):
        raise InputError("CT or structures hold NaN or infinite values; write numbers there.")
    return ct


def gathered(study: Study, said: Mapping[str, str]) -> tuple[Image, dict[str, str]]:
    """Return CT, structures, and what else is known (where dose may be, a planned dose), as one
    image; and our name of each structure -> how it is called in the study.

    Args:
        study: whose last visit has a CT and masks on its grid; one image may hold them all.
        said: our name -> theirs, for structures that no usual name tells.

    Raises:
        InputError: no CT, a CT with NaN, a name that is not there, or no target.
        UnitsError: a CT that is not in HU.
    """
    channels = channels_of(study)
    ct = ct_of(channels, "Add structures on its grid.")
    on_grid = {k: one for k, one in channels.items() if one.geometry.matches(ct.geometry)}
    names = named(on_grid, said)
    parts = [ct, *(replace(on_grid[theirs], channels=(ours,)) for ours, theirs in names.items())]
    for name in (ALLOWED, "dose"):
        if name in on_grid:
            parts.append(on_grid[name])
    if not any(name in TARGETS for name in names):
        raise InputError(
            f"No target is outlined among {', '.join(on_grid)}; expected at least one of "
            f"{', '.join(TARGETS)}. Say which it is: --structures PTV70=NAME."
        )
    return Image.stack(parts), names


def named(known: Iterable[str], said: Mapping[str, str]) -> dict[str, str]:
    """Return our name -> theirs, of what is there: what was said first, then usual names.

    Raises:
        InputError: a structure that is not ours, or one that is not there.
    """
    there = list(known)
    for ours, theirs in said.items():
        if ours not in STRUCTURES:
            raise InputError(f"No structure is called {ours!r}. {nearest(ours, STRUCTURES)}")
        if theirs not in there:
            raise InputError(f"There is no structure {theirs!r}. {nearest(theirs, there)}")
    found = dict(said)
    for theirs in there:
        plain = re.sub(r"[^a-z0-9]", "", theirs.lower())
        for ours, pattern in USUAL.items():
            if ours not in found and theirs not in found.values() and pattern.fullmatch(plain):
                found[ours] = theirs
    return {ours: found[ours] for ours in STRUCTURES if ours in found}
