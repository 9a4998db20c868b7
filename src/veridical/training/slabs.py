"""Slabs: a slice with its neighbours in all contrasts that a patient has, from the digital cohort or from real sets.

What trains the joint prior: `training/lessons.py` decides what of a slab is shown and what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np

from veridical.errors import InputError, SettingError, nearest
from veridical.layouts.pool import data_root
from veridical.models.known import AIR, HOUNSFIELD, UPTAKE
from veridical.phantoms.population import Population
from veridical.phantoms.rendering import render
from veridical.types import Array

MAY_SHIP = ("cohort", "openms", "ixi", "sarcoma", "sarcoma-mr", "sarcoma-ct", "sarcoma-pet")
"""Sources whose licence lets weights trained on them ship."""
MOST_UPTAKE = 6.0
"""In network units: 30 SUV."""
LEAST_SHOWN = 0.08
"""Share of a slice that must show something for it to be used."""


@dataclass(frozen=True, eq=False)
class Slab:
    """One slice between its neighbours, or a piece of a volume.

    Args:
        images: `(channel, 3, y, x)`: below, the slice itself, above; or of a volume `(channel, z, y, x)`. MR relative to
            the 99th percentile of the foreground, CT in thousands of HU, PET in units of 5 SUV. Where there is no neighbour
            the slice itself stands there.
        names: of the channels.
        patient, source: where it comes from.
        height: position along the slice axis in [-1, 1], or None.
        field: tesla, or None.
        body: `(y, x)`, or `(z, y, x)`, bool of what is kept where the image is to be stripped of all else (the brain), or None.
        pixel: of the images, mm; None where not known.
    """

    images: Array
    names: tuple[str, ...]
    patient: str
    source: str
    height: float | None = None
    field: float | None = None
    body: Array | None = None
    pixel: float | None = None


def cohort_slab(
    cohort: Population, index: int, names: tuple[str, ...], gap: float, size: tuple[int, int] = (256, 256), spacing: float = 0.9
) -> Slab:
    """Return a slab of a digital patient, its neighbours `gap` mm away; size in pixels, spacing in mm."""
    below, middle, above = cohort.slab(index, gap, size, spacing)
    images = np.stack([np.stack([render(head, name) for head in (below, middle, above)]) for name in names])
    return Slab(
        np.stack([normalized(image, name) for image, name in zip(images, names, strict=True)]), names,
        f"{type(cohort).__name__.lower()}-{cohort.seed}-{index}", "cohort", None, middle.site.field, middle.brain,
        middle.spacing,
    )  # fmt: skip


def normalized(image: Array, name: str) -> Array:
    """Scale an image as networks see it: CT to 1000 HU, PET to 5 SUV, MR to the 99th percentile of the foreground.

    An MR image of nothing stays nothing.
    """
    if name == "CT":
        return np.asarray(np.clip(image, -1024, 3071) / HOUNSFIELD, np.float32)
    if name == "PET":
        return np.asarray(np.clip(image / UPTAKE, 0, MOST_UPTAKE), np.float32)
    if not image.max() > 0:
        return np.zeros(image.shape, np.float32)
    return np.asarray(np.clip(image / scale_of(image), 0, 2.0), np.float32)


def scale_of(image: Array) -> float:
    """Return the 99th percentile of the foreground, which is what lies above a tenth of the image's own 99th percentile.

    Raises:
        InputError: the image shows nothing.
    """
    top = float(np.percentile(image, 99))
    if not top > 0:
        top = float(image.max())
    if not top > 0:
        raise InputError("An image shows nothing above zero, so it has no scale. Leave it out, or crop it to what it shows.")
    return float(np.percentile(image[image > 0.1 * top], 99))


@dataclass(frozen=True, eq=False)
class Volume:
    """A patient's aligned channels `(channel, slice, y, x)` float16, normalized, and what is known beside them."""

    images: Array
    names: tuple[str, ...]
    patient: str
    source: str
    field: float | None = None
    pixel: float | None = None
    gap: float | None = None
    """Distance of slices, mm; None where not known."""

    def only(self, channels: Sequence[str]) -> Volume | None:
        """Return the same with those of its images alone that are among the channels; None where none is."""
        kept = [k for k, name in enumerate(self.names) if name in channels]
        if len(kept) == len(self.names):
            return self
        return replace(self, images=self.images[kept], names=tuple(self.names[k] for k in kept)) if kept else None

    def usable(self) -> list[int]:
        """Return the slices that show enough to learn from."""
        air = np.array([-0.5 if name == "CT" else 0.1 for name in self.names])
        shown = (self.images > air[:, None, None, None]).any(0)
        return [int(i) for i in np.flatnonzero(shown.mean((1, 2)) > LEAST_SHOWN)]

    def slab(self, index: int) -> Slab:
        """Return the slice `index` with its neighbours."""
        last = self.images.shape[1] - 1
        chosen = self.images[:, [max(index - 1, 0), index, min(index + 1, last)]].astype(np.float32)
        height = 2 * index / max(1, last) - 1
        return Slab(chosen, self.names, self.patient, self.source, height, self.field, None, self.pixel)


def volumes(source: str, held_out: tuple[str, ...] = (), validation: bool = False) -> list[Volume]:
    """Load the patients of a real set.

    Args:
        source: `openms`, `ixi`, `sarcoma`, its modalities each on its own grid, or `lgg`, which may not train what ships.
        held_out: patients (or beginnings of their names) kept from training.
        validation: return those instead.

    Raises:
        SettingError: the set is unknown.
        InputError: its folder is not there.
    """
    if source not in LOADERS:
        raise SettingError(f"No training set is called {source!r}. {nearest(source, LOADERS)}")
    found = [v for v in LOADERS[source](data_root()) if v.patient.startswith(held_out or ("\0",)) == validation]
    if not found and not validation:
        raise InputError(f"{data_root()} holds nothing of {source!r}. Set VERIDICAL_DATA to the folder of real data.")
    return found


def _openms(root: Path) -> Iterator[Volume]:
    """Raw whole-head scans of two patients: T1w and T2w resampled onto the FLAIR of the same visit."""
    for flair in sorted(root.glob("openms/longitudinal_raw/*/study*_FLAIR.nii.gz")):
        target = nibabel.as_closest_canonical(nibabel.load(flair))
        images, names = [canonical(target)], ["FLAIR"]
        for name, key in (("T1w", "T1W"), ("T2w", "T2W")):
            path = flair.with_name(flair.name.replace("FLAIR", key))
            if path.is_file():
                images.append(resampled(nibabel.load(path), target))
                names.append(name)
        yield _volume(images, names, f"openms-{flair.parent.name}", "openms", 3.0, float(target.header.get_zooms()[0]))


def _ixi(root: Path) -> Iterator[Volume]:
    for path in sorted(root.glob("ixi_t1_2mm/nifti/*.nii.gz")):
        image = canonical(nibabel.as_closest_canonical(nibabel.load(path)))
        for axis, view in enumerate(("axial", "coronal", "sagittal")):
            whole = _volume([viewed(image, axis)], ["T1w"], path.name.split("-")[0], f"ixi-{view}", None, 2.0)
            yield whole if axis else replace(whole, gap=2.0)  # nets of volumes see each volume once


def _sarcoma_mr(root: Path) -> Iterator[Volume]:
    for path in sorted(root.glob("sts_mr_ct_pet/nifti/*/MR_T1_image.nii.gz")):
        target = nibabel.as_closest_canonical(nibabel.load(path))
        yield _volume([canonical(target)], ["T1w"], path.parent.name, "sarcoma", None, float(target.header.get_zooms()[0]))


def _sarcoma(root: Path) -> Iterator[Volume]:
    """CT and PET resampled onto the T1w MR of the same patient, whose field of view is the smallest."""
    return _on_one_grid(root, "T1w", ("CT", "PET"))


def _sarcoma_ct(root: Path) -> Iterator[Volume]:
    """CT as it was reconstructed, and PET resampled onto it."""
    return _on_one_grid(root, "CT", ("PET",))


def _sarcoma_pet(root: Path) -> Iterator[Volume]:
    """PET as it was reconstructed, and CT resampled onto it."""
    return _on_one_grid(root, "PET", ("CT",))


def _on_one_grid(root: Path, first: str, others: tuple[str, ...]) -> Iterator[Volume]:
    """Yield the sarcoma patients' `first` image as it is and the others on its grid."""
    files = {"T1w": "MR_T1_image.nii.gz", "CT": "CT_image.nii.gz", "PET": "PET_image.nii.gz"}
    for folder in sorted((root / "sts_mr_ct_pet/nifti").glob("STS_*")):
        target = nibabel.as_closest_canonical(nibabel.load(folder / files[first]))
        moved = [resampled(nibabel.load(folder / files[n]), target, HOUNSFIELD * AIR.get(n, 0.0)) for n in others]
        pixel = float(target.header.get_zooms()[0])
        yield _volume([canonical(target), *moved], [first, *others], folder.name, "sarcoma", None, pixel)


def _lgg(root: Path) -> Iterator[Volume]:
    for path in sorted(root.glob("lgg_tcga/TCGA_*.npz")):
        with np.load(path) as file:
            images = np.moveaxis(file["image"].astype(np.float32), 1, 0)
        real = [k for k in range(3) if images[k].max() > 0]
        names = [("T1w", "FLAIR", "T1c")[k] for k in real]
        scaled = np.stack([normalized(images[k], n) for k, n in zip(real, names, strict=True)]).astype(np.float16)
        yield Volume(scaled, tuple(names), path.stem, "lgg")


LOADERS = {
    "openms": _openms, "ixi": _ixi, "sarcoma": _sarcoma, "sarcoma-mr": _sarcoma_mr, "sarcoma-ct": _sarcoma_ct,
    "sarcoma-pet": _sarcoma_pet, "lgg": _lgg,
}  # fmt: skip


def _volume(
    images: list[Array], names: list[str], patient: str, source: str, field: float | None, pixel: float | None
) -> Volume:
    scaled = [normalized(image, name).astype(np.float16) for image, name in zip(images, names, strict=True)]
    return Volume(np.stack(scaled), tuple(names), patient, source, field, pixel)


def canonical(image: nibabel.Nifti1Image) -> Array:
    """Return `(z, y, x)` with the front of the patient on top, from an image that is closest to RAS+."""
    return upright(np.transpose(image.get_fdata(dtype=np.float32), (2, 1, 0)))


def viewed(image: Array, axis: int) -> Array:
    """Return `(slice, row, column)` of an upright `(z, y, x)`, slices along one of its axes, each upright."""
    return upright(np.moveaxis(image, axis, 0)) if axis else image


def upright(image: Array) -> Array:
    """Turn the second axis around."""
    return np.asarray(image[:, ::-1])


def resampled(image: nibabel.Nifti1Image, target: nibabel.Nifti1Image, outside: float = 0.0) -> Array:
    """Resample an image linearly onto the grid of another, as `canonical` turns it; thick voxels are averaged first."""
    from scipy import ndimage

    data = image.get_fdata(dtype=np.float32)
    step = np.linalg.inv(image.affine) @ target.affine
    width = np.maximum(0.0, np.abs(step[:3, :3]).max(1) - 1.0) * 0.45
    if width.max() > 0.1:
        data = ndimage.gaussian_filter(data, width)
    moved = ndimage.affine_transform(data, step[:3, :3], step[:3, 3], target.shape[:3], order=1, cval=outside)
    return upright(np.transpose(moved, (2, 1, 0)))
