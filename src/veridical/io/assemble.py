"""Several images of one patient as the channels of one, on the grid of the first.

Grids that are the same stay as they are. An image of another spacing, orientation or extent in the
same frame of reference is resampled linearly, which `header["resampled"]` and the provenance of
what is made from it say. Patients move between scans: MR volumes that would fit better a little way
off are registered rigidly first. Images whose positions cannot be compared are refused, unless they
are registered or the caller says that they lie in one space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from veridical.errors import GeometryError, InputError
from veridical.io.files import read
from veridical.io.guards import BUDGET
from veridical.types import Array, Geometry, Image

LESIONS = "lesions"
"""Name of the channel that is a mask of lesions."""
SAME = 0.05
"""Grids count as one when no corner differs by more than this share of the smallest voxel side."""
OVERLAP = 0.5
"""Least share of the first image's object that another must cover."""
STILL = 0.25
"""Voxels at every corner up to which a registered image is left where it was: resampling would cost
more than it gains.
"""
LEAST_SLICES = 8
"""Sides in voxels of MR volumes that are registered without being asked: thinner ones hold too
little to be sure of.
"""
PLACELESS = ("index", "local")
"""Frames in which nothing says where the image lies."""
AIR = -1000.0
"""Hounsfield units outside of the field of view."""


def read_together(
    paths: Sequence[str | Path],
    *,
    lesions: str | Path | None = None,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    same_space: bool = False,
    register: bool | None = None,
    budget: int = BUDGET,
) -> Image:
    """Read several images of one patient as the channels of one.

    Args: paths: files, or folders of one DICOM series; the first gives the grid. lesions: file with
        a mask of lesions; it becomes the channel `lesions`. contrast: one a file, a sequence or
        separated by commas. Otherwise what the files say. units: one for all or, separated by
        commas, one a file. Otherwise what the files say. same_space: take all positions as
        coordinates of one space, whatever frames of reference the files state. register: move every
        image rigidly so that it fits the first; by default only MR volumes that do not fit as they
        lie; False moves none. budget: bytes of memory that all of them may take.

    Returns:
        As `stacked`. `header["notes"]` says what was assumed, chosen or moved, for each file.

    Raises:
        InputError: one is no image, or the options are not one a file.
        GeometryError: as `stacked`; and all that `veridical.read` raises.
    """
    names = _one_each("contrast", contrast, paths)
    measures = _one_each("units", units, paths) if units and "," in units else [units] * len(paths)
    left, images = budget, list[Image]()
    for path, name, measure in zip(paths, names, measures, strict=True):
        images.append(_image(path, name, measure, left))
        left -= images[-1].data.nbytes
    mask = None if lesions is None else _image(lesions, None, "label", left)
    source: dict[str, Any] = {
        "paths": tuple(str(Path(path).resolve()) for path in paths),
        "budget": budget,
    }
    source |= {} if lesions is None else {"lesions": str(Path(lesions).resolve())}
    options = {
        "contrast": contrast,
        "units": units,
        "same_space": same_space or None,
        "register": register,
    }
    source |= {key: value for key, value in options.items() if value is not None}
    whole = stacked(images, mask, same_space=same_space, register=register)
    return replace(whole, header={**whole.header, "source": source})


def stacked(
    images: Sequence[Image],
    lesions: Image | None = None,
    *,
    same_space: bool = False,
    register: bool | None = None,
) -> Image:
    """Stack images of one patient.

    Args: images: each of one or several channels; the first gives the grid and the header. lesions:
        mask, above zero inside; becomes the channel `lesions`, by nearest neighbours. Drawn on the
        grid of one of the images, it moves with that image. same_space, register: as in
        `read_together`.

    Returns:
        `(channel, x, y, z)` float32; units `mixed` where channels differ.

    Raises: InputError: two channels of one name, or complex numbers. GeometryError: grids differ
        and share no frame of reference, or fields of view do not overlap enough.
    """
    first = images[0]
    if any(np.iscomplexobj(image.data) for image in images):
        held = ", ".join(name for image in images for name in image.channels)
        raise InputError(
            f"One of {held} is complex; images that stand beside others are magnitudes. Take it "
            "first."
        )
    moved, said = _moved_all(images, register)
    if lesions is not None:
        drawn = next(
            (k for k, image in enumerate(images) if image.geometry.matches(lesions.geometry)), 0
        )
        moved.append(_mask(replace(lesions, geometry=moved[drawn].geometry) if drawn else lesions))
    parts = [first]
    resampled: dict[str, str] = {}
    for image in moved[1:]:
        part, note, assumed = onto(image, first, same_space)
        parts.append(part)
        resampled |= dict.fromkeys(part.channels, note) if note else {}
        said += assumed
    names = tuple(name for part in parts for name in part.channels)
    if len(set(names)) < len(names):
        raise InputError(
            f"Two channels have one name: {', '.join(names)}. Name each file: --contrast T1w,T2w."
        )
    each = {name: part.units_of(name) for part in parts for name in part.channels}
    header = {
        key: value
        for key, value in first.header.items()
        if key not in ("source", "units", "resampled", "notes")
    }
    header |= {"resampled": resampled} if resampled else {}
    header["notes"] = (*(note for image in images for note in image.header.get("notes", ())), *said)
    data = np.empty((len(names), *first.geometry.shape), np.float32)
    np.concatenate([part.data for part in parts], out=data, casting="unsafe")
    if len(set(each.values())) == 1:
        return Image(data, first.geometry, first.units_of(names[0]), names, header)
    return Image(data, first.geometry, "mixed", names, {**header, "units": each})


def _moved_all(images: Sequence[Image], register: bool | None) -> tuple[list[Image], list[str]]:
    """Return the images, each after the first moved to fit it where they are to be registered, and
    what is to be said of it.
    """
    from veridical.preprocessing.registration import register as rigid

    first, moved, said = images[0], [images[0]], list[str]()
    for image in images[1:]:
        if not (may_have_moved(image, first) if register is None else register):
            moved.append(image)
            continue
        found = rigid(first.data[0], first.geometry, image.data[0], image.geometry)
        affine = np.linalg.inv(found.matrix) @ image.geometry.affine
        geometry = Geometry(image.geometry.shape, affine, first.geometry.frame)
        aligned = geometry.matches(image.geometry, STILL * min(image.geometry.spacing))
        affine = image.geometry.affine if aligned else affine
        moved.append(
            replace(image, geometry=Geometry(image.geometry.shape, affine, first.geometry.frame))
        )
        name, of = ", ".join(image.channels), first.channels[0]
        said.append(
            f"{name} fits {of} as it lies: a rigid registration moves it by less than {STILL:g} "
            "voxels."
            if aligned
            else f"{name} was registered rigidly to {of}: {found}."
        )
    return moved, said


def may_have_moved(image: Image, first: Image) -> bool:
    """Say whether an image should be registered without being asked: MR volumes that overlap in one
    frame of reference, and would fit better a little way off. CT and PET come from other scanners,
    where mutual information can mislead.
    """
    from veridical.preprocessing.registration import fits

    own, grid = image.geometry, first.geometry
    units = {one.units_of(name) for one in (image, first) for name in one.channels}
    placed = own.frame == grid.frame and own.frame not in PLACELESS
    if not placed or units != {"a.u."} or min(*own.shape, *grid.shape) < LEAST_SLICES:
        return False
    if covered(first, np.linalg.inv(own.affine) @ grid.affine, own) < OVERLAP:
        return False
    return not fits(first.data[0], grid, image.data[0], own)


def onto(image: Image, first: Image, same_space: bool = False) -> tuple[Image, str, list[str]]:
    """Return an image on the grid of another, in words how it came there, and what was assumed;
    nothing where grids are one.

    Raises:
        GeometryError: as `stacked`.
    """
    grid, own = first.geometry, image.geometry
    if own.matches(grid, SAME * min(grid.spacing)):
        return replace(image, geometry=grid), "", []
    names, assumed = ", ".join(image.channels), list[str]()
    if own.frame != grid.frame or own.frame in PLACELESS:
        frames = f"frames of reference: {own.frame}, {grid.frame}"
        if not same_space:
            raise GeometryError(
                f"{names} has {own}, {', '.join(first.channels)} has {grid}, and their positions "
                "cannot be compared "
                f"({frames}). Register one to the other: --register; or, where their coordinates "
                "are of one space all the "
                "same: --same-space."
            )
        assumed.append(
            f"{names} and {first.channels[0]} were assumed to lie in one space ({frames})."
        )
    step = np.linalg.inv(own.affine) @ grid.affine
    share = covered(first, step, own)
    if share < OVERLAP:
        raise GeometryError(
            f"{names} covers {share:.0%} of what {first.channels[0]} shows; expected {OVERLAP:.0%} "
            "or more: the fields of view "
            "do not overlap. Is it of another part of the body or another visit? Leave it out, or "
            "register it: --register."
        )
    moved = np.stack([_moved(image, name, step, grid.shape) for name in image.channels])
    note = f"resampled from {own} to {grid}; covers {share:.0%} of what {first.channels[0]} shows"
    return Image(moved, grid, image.units, image.channels, image.header), note, assumed


def covered(first: Image, step: Array, own: Geometry) -> float:
    """Return the share of an image's foreground that lies within another grid.

    Args: first: its first channel counts, where it is above its 1st percentile by a tenth of the
        way to the 99th. step: `(4, 4)`, voxel index of `first` to voxel index of the other. own:
        the other grid.
    """
    index = np.stack(
        np.meshgrid(
            *[np.arange(0, n, max(1, n // 64)) for n in first.geometry.shape], indexing="ij"
        )
    )
    shown = np.asarray(first.data[0], np.float32)[tuple(index)]
    low, high = np.percentile(shown, [1, 99])
    places = index[:, shown >= low + 0.1 * (high - low)]
    there = step[:3, :3] @ places + step[:3, 3:]
    limits = np.array(own.shape)[:, None]
    return float(((there >= -0.5) & (there <= limits - 0.5)).all(0).mean())


def _moved(image: Image, name: str, step: Array, shape: tuple[int, int, int]) -> Array:
    """Resample one channel; voxels much finer than the new ones are averaged first."""
    units, data = image.units_of(name), image[name]
    if units == "label":
        found: Array = ndimage.affine_transform(
            data, step[:3, :3], step[:3, 3], shape, order=0, mode="constant"
        )
        return found
    width = np.maximum(0.0, np.abs(step[:3, :3]).max(1) - 1.0) * 0.45
    smooth = (
        ndimage.gaussian_filter(np.asarray(data, np.float32), width) if width.max() > 0.1 else data
    )
    outside = AIR if units == "HU" else 0.0
    found = ndimage.affine_transform(
        smooth, step[:3, :3], step[:3, 3], shape, np.float32, 1, "constant", outside, False
    )
    return found


def _image(path: str | Path, contrast: str | None, units: str | None, budget: int) -> Image:
    found = read(path, contrast=contrast, units=units, budget=budget)
    if isinstance(found, Image):
        return found
    raise InputError(
        f"{path} holds raw data; only images can stand beside each other. Reconstruct it first."
    )


def _one_each(
    what: str, given: str | Sequence[str] | None, paths: Sequence[str | Path]
) -> Sequence[str | None]:
    """Return one option a file."""
    if given is None:
        return [None] * len(paths)
    found = given.split(",") if isinstance(given, str) else list(given)
    if len(found) != len(paths):
        raise InputError(
            f"{len(paths)} files, but {what} = {','.join(found)}: give one a file, in their order."
        )
    return found


def _mask(lesions: Image) -> Image:
    if len(lesions.channels) != 1:
        raise InputError(
            f"A mask of lesions has one channel; this one has {len(lesions.channels)}: "
            f"{lesions.channels}."
        )
    return Image(
        (np.asarray(lesions.data) > 0).astype(np.uint8), lesions.geometry, "label", (LESIONS,)
    )
