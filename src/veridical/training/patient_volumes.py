"""Training volumes from any folder of images whose layout is known: BIDS, BraTS, DICOM collections, plain files and more.

The contrasts of a visit are put onto one grid: that with the thickest slices, so that no slice learned from was made up by
interpolation, and where none are thick the finest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import nibabel
import numpy as np

from veridical.errors import BudgetError, GeometryError, InputError
from veridical.layouts.discovery import patients
from veridical.training.slabs import Volume, canonical, normalized, resampled, viewed
from veridical.types import Array, Image, Study

BUDGET = 8 * 2**30
"""Bytes of images that a training may hold in memory."""
THICK = 1.5
"""Slices count as thick, and are kept as they were acquired, when they are so many times thicker than a pixel is wide."""
OVERLAP = 0.1
"""Least share of a grid that another image of the same visit must reach."""


def held_out_of(folder: str | Path, named: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return the patients of a folder that are kept for validation.

    Args:
        folder: of a known layout.
        named: names, or beginnings of names; where any of them is there, these are taken.
        count: else so many, chosen by the hash of their name; one is always left to train on.
    """
    if not named and not count:
        return ()
    every = [patient.id for patient in patients(folder)]
    if said := [name for name in every if name.startswith(named or ("\0",))]:
        return tuple(said)
    drawn = sorted(every, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return tuple(drawn[: min(count, len(every) - 1)])


def patient_volumes(folder: str | Path, channels: Sequence[str], held_out: tuple[str, ...], validation: bool) -> list[Volume]:
    """Load the patients of a folder, every visit a volume, with the contrasts that a net has a channel for.

    Args:
        folder: of a known layout.
        channels: of the net; other images, label maps and raw data are left out.
        held_out: patients kept from training.
        validation: return those instead; may be none.

    Raises:
        InputError: nothing in it fits, or it cannot be read.
        GeometryError: the contrasts of a visit cannot be put onto one grid.
        BudgetError: it does not fit into memory.
    """
    found: list[Volume] = []
    size = 0
    for patient in patients(folder):
        if (patient.id in held_out) == validation:
            for volume in volumes_of(patient, channels, Path(folder).name):
                found.append(volume)
                size += volume.images.nbytes
        if size > BUDGET:
            raise BudgetError(
                f"The images of {folder} need more than {BUDGET / 2**30:.0f} GiB of memory. Train on a part of the folder."
            )
    if not found and not validation:
        raise InputError(_nothing(folder, channels, held_out))
    return found


def volumes_of(patient: Study, channels: Sequence[str], source: str) -> Iterator[Volume]:
    """Yield a volume for every visit of a patient in which one of the channels was imaged."""
    for visit in patient.visits.values():
        images = {name: visit[name] for name in channels if name in visit}
        shown = {name: i for name, i in images.items() if isinstance(i, Image) and i.data.shape[0] == 1 and i.data.max() > 0}
        if not shown:
            continue
        names = tuple(shown)
        whole = [nibabel.Nifti1Image(np.asarray(i.data[0], np.float32), i.geometry.affine) for i in shown.values()]
        target = nibabel.as_closest_canonical(max(whole, key=_rank))
        stacks = [_onto(image, target, name, patient.id) for name, image in zip(names, whole, strict=True)]
        spacing = np.array(target.header.get_zooms(), float)[::-1]
        axis = int(spacing.argmax()) if _thickness(target) else 0
        across = np.delete(spacing, axis)
        known = next(iter(shown.values())).geometry.frame != "index"
        field = next((float(i.header["field"]) for i in shown.values() if i.header.get("field")), None)
        yield Volume(
            np.stack([viewed(normalized(s, n), axis).astype(np.float16) for s, n in zip(stacks, names, strict=True)]),
            names, patient.id, source, field, float(across.mean()) if known else None, float(spacing[axis]) if known else None,
        )  # fmt: skip


def _rank(image: nibabel.Nifti1Image) -> tuple[float, float]:
    return _thickness(image), -float(np.prod(image.header.get_zooms()))


def _thickness(image: nibabel.Nifti1Image) -> float:
    """Return the distance of slices, mm, where they are thick; else 0."""
    spacing = np.array(image.header.get_zooms(), float)
    return float(spacing.max()) if spacing.max() > THICK * np.median(spacing) else 0.0


def _onto(image: nibabel.Nifti1Image, target: nibabel.Nifti1Image, name: str, patient: str) -> Array:
    """Return an image `(z, y, x)` on the grid of another of the same visit."""
    turned = nibabel.as_closest_canonical(image)
    if turned.shape == target.shape and np.allclose(turned.affine, target.affine, atol=1e-3):
        return canonical(turned)
    reached = resampled(nibabel.Nifti1Image(np.ones(image.shape, np.float32), image.affine), target) > 0.5
    if reached.mean() < OVERLAP:
        raise GeometryError(
            f"The images of {patient} do not lie in one space: {name} reaches {100 * reached.mean():.0f} % of the grid of the "
            "others. Register them to each other first, or leave that image out."
        )
    return resampled(image, target, -1000.0 if name == "CT" else 0.0)


def _nothing(folder: str | Path, channels: Sequence[str], held_out: tuple[str, ...]) -> str:
    some = list(islice(patients(folder), 100))
    if some and all(patient.id in held_out for patient in some):
        return f"All patients of {folder} are held out; leave one to train on."
    names = sorted({name for patient in some for visit in patient.visits.values() for name in visit})
    return (
        f"{folder} holds {', '.join(names) or 'no image'}; this net has channels for {', '.join(channels)}: nothing fits. "
        "Name the files by their contrast (sub-01_T1w.nii.gz), or train a net with these channels."
    )
