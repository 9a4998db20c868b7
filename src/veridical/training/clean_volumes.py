"""Clean volumes that a denoiser learns from: real MR, CT and PET, images painted from label maps,
and photographs.

Every volume is `(slice, y, x)`, never interpolated, air 0. MR is scaled by its inner tissue, as
`preprocessing` does; CT, shifted to HU + 1000, PET and photographs by what is bright in them. The
sets are those whose licence allows weights trained on them to be passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from veridical.errors import InputError, SettingError, UnitsError, nearest
from veridical.layouts.discovery import studies
from veridical.layouts.pool import data_root
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.tissue_level import bright_level, tissue_level
from veridical.types import Array, Image

AIR_HU = -1000.0
BRIGHTEST = 2.5
"""Densities and uptakes above are clipped: metal, bladder."""
PAINTED = 3
"""Images painted from each label map: two MR contrasts and one CT."""
BONE, AIR_LABEL, FAT, FLUID = (51, 52), 0, (48, 52), (3, 4, 11, 12, 16, 37, 44)
"""Ranks in the whole-head label maps."""
BLUR = (0.3, 0.8)
"""Standard deviation in voxels of the partial-volume blur of painted images."""
OPENKBP_STEP = 16.0
"""HU between neighbouring values of the stored CT."""


@dataclass(frozen=True, eq=False)
class CleanVolume:
    """One volume to learn from.

    Args:
        image: `(slice, y, x)` float32, air 0, in network units.
        source: name of the set.
        patient: who it is of; held-out patients are told by this.
        isotropic: whether slices may be cut along any axis.
        deep: whether neighbouring slices belong together; false for photographs.
    """

    image: Array
    source: str
    patient: str
    isotropic: bool
    deep: bool = True


def clean_volumes(source: str) -> Iterator[CleanVolume]:
    """Yield the volumes of a set.

    Args:
        source: one of `SOURCES`, or the absolute path of a folder of images of any known layout.

    Raises:
        SettingError: the set is unknown.
        InputError: its folder is not there, or holds no images.
    """
    folder = Path(source).is_absolute()
    if source not in SOURCES and not folder:
        raise SettingError(
            f"No set of clean volumes is called {source!r}. {nearest(source, SOURCES)}"
        )
    some = False
    for volume in of_folder(source) if folder else SOURCES[source].load():
        some = True
        yield volume
    if not some and folder:
        raise InputError(f"{source} holds no images to learn from. Give a folder of scans.")
    if not some:
        raise InputError(
            f"Nothing of {source!r} was found in {data_root()} or beside it. Set VERIDICAL_DATA to "
            "the folder of real data, "
            "or leave this set out of the recipe."
        )


def normalized(image: Array) -> Array:
    """Scale an image `(slice, y, x)` without negative values by its inner tissue, as
    `preprocessing` does.
    """
    positive, unit = np.clip(np.asarray(image, np.float32), 0, None), Preprocessing()
    return np.asarray(unit.clipped(positive / (tissue_level(positive) / unit.tissue)), np.float32)


def brightened(image: Array) -> Array:
    """Scale an image without negative values by what is bright in it: CT densities, uptake,
    photographs.
    """
    positive = np.clip(np.asarray(image, np.float32), 0, None)
    return np.asarray(np.clip(positive / bright_level(positive), 0, BRIGHTEST), np.float32)


def density(hounsfield: Array) -> Array:
    """Turn HU into a density that is 0 in air, scaled by what is bright."""
    return brightened(np.asarray(hounsfield, np.float32) - AIR_HU)


def of_folder(folder: str) -> Iterator[CleanVolume]:
    """Yield the images of a folder of any known layout, one volume a contrast and visit.

    Raises:
        UnitsError: CT that is not in HU.
    """
    for study in studies(folder):
        for day in study.days:
            for image in study.visit(day).values():
                if isinstance(image, Image) and image.units_of(image.channels[0]) != "label":
                    yield from _channels(image, folder, study.id)


def _channels(image: Image, source: str, patient: str) -> Iterator[CleanVolume]:
    size = np.array(image.geometry.spacing[::-1])
    thick, isotropic = int(np.argmax(size)), bool(size.max() / size.min() < 1.3)
    for channel in image.channels:
        modality = channel.split(".")[0]
        if modality == "CT" and image.units_of(channel) != "HU":
            raise UnitsError(
                f"CT of a patient in {Path(source).name} is in {image.units_of(channel)!r}; "
                "expected HU. Convert it."
            )
        convert = {"CT": density, "PET": brightened}.get(modality, normalized)
        data = np.moveaxis(np.transpose(image[channel], (2, 1, 0)), thick, 0)
        yield CleanVolume(convert(data), source, patient, isotropic)


def _roots(*places: str) -> Iterator[Path]:
    """Yield the files that match any of the patterns in the data folder and in `training_data`
    beside it.
    """
    for root in (data_root(), data_root().parent / "training_data"):
        for place in places:
            yield from sorted(root.glob(place))


def _nifti(path: Path) -> tuple[Array, bool]:
    """Return `(slice, y, x)` with the thickest axis first, and whether voxels are isotropic."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    size = np.array(image.header.get_zooms()[:3], dtype=float)
    data = np.transpose(image.get_fdata(dtype=np.float32), (2, 1, 0))[:, ::-1]
    thick = int(np.argmax(size[::-1]))
    return np.moveaxis(data, thick, 0), bool(size.max() / size.min() < 1.3)


def _of_files(
    source: str, convert: Callable[[Array], Array], *places: str
) -> Iterator[CleanVolume]:
    for path in _roots(*places):
        data, isotropic = _nifti(path)
        patient = next(
            p for p in (path.name.split("-")[0], path.parent.name) if p[:3] in ("IXI", "pat", "STS")
        )
        yield CleanVolume(convert(data), source, patient, isotropic)


def _head_ct() -> Iterator[CleanVolume]:
    """The head CT slice by slice: its gantry was tilted."""
    import pydicom

    files = [
        pydicom.dcmread(path)
        for path in _roots("ct_head_ge/*.dcm", "dicom_rt_dicompyler/example_data/ct.*.dcm")
    ]
    for name in sorted({str(file.SeriesInstanceUID) for file in files}):
        series = [file for file in files if str(file.SeriesInstanceUID) == name]
        series.sort(key=lambda file: float(file.ImagePositionPatient[2]))
        stack = [
            file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept)
            for file in series
        ]
        yield CleanVolume(
            density(np.stack(stack)), "head-ct", f"ct-{len(series)}-slices", False, len(series) > 1
        )


def _openkbp() -> Iterator[CleanVolume]:
    """Planning CT of heads and necks; the rounding to steps of 16 HU is made smooth by noise of one
    step.
    """
    for path in _roots("openkbp/*/pt_*.npz"):
        with np.load(path) as file:
            stored = file["ct"].astype(np.float32)
        noise = np.random.default_rng(len(stored.ravel())).uniform(-0.5, 0.5, stored.shape)
        hounsfield = (stored + np.where(stored > 0, noise, 0)) * OPENKBP_STEP - 1024
        yield CleanVolume(density(np.transpose(hounsfield, (2, 1, 0))), "openkbp", path.stem, True)


def label_maps() -> Iterator[tuple[str, Array]]:
    """Yield name and labels `(slice, y, x)` of the whole heads."""
    for path in _roots("synthseg_labels/head*.nii.gz"):
        yield (
            path.name.split(".")[0],
            np.transpose(np.asarray(nibabel.load(path).dataobj), (2, 1, 0))[:, ::-1],
        )


def _painted() -> Iterator[CleanVolume]:
    """Images painted from whole-head label maps: MR under random contrasts, and CT."""
    for number, (head, labels) in enumerate(label_maps()):
        for image in range(PAINTED):
            rng = np.random.default_rng([number, image])
            values = ct_of_labels(rng) if image == PAINTED - 1 else contrast_of_labels(rng)
            painted = paint(labels, values, rng)
            yield CleanVolume(
                brightened(painted) if image == PAINTED - 1 else normalized(painted),
                "painted",
                head,
                True,
            )


def contrast_of_labels(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return mean and texture of every label under a random MR contrast; bone and air are dark, fat
    often bright.
    """
    mean, texture = rng.uniform(0.1, 1.0, 54), rng.uniform(0, 0.06, 54)
    mean[AIR_LABEL], texture[AIR_LABEL] = 0.0, 0.0
    mean[BONE[0]] = rng.uniform(0.0, 0.12)
    if rng.random() < 0.7:
        mean[list(FAT)] = rng.uniform(0.7, 1.4, len(FAT))
    mean[list(FLUID)] = rng.uniform(0.0, 1.2)
    return mean, texture


def ct_of_labels(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return mean and texture of every label as CT density, HU + 1000 over 1000."""
    mean, texture = 1.0 + rng.uniform(0.02, 0.05, 54), rng.uniform(0, 0.01, 54)
    mean[AIR_LABEL], texture[AIR_LABEL] = 0.0, 0.0
    mean[list(FLUID)] = rng.uniform(1.0, 1.015)
    mean[list(FAT)] = rng.uniform(0.9, 0.95)
    mean[BONE[0]], texture[BONE[0]] = rng.uniform(1.8, 2.3), 0.15
    mean[BONE[1]], texture[BONE[1]] = rng.uniform(1.2, 1.6), 0.1
    return mean, texture


def paint(labels: Array, values: tuple[Array, Array], rng: np.random.Generator) -> Array:
    """Give every label its mean and a smooth texture, and blur the borders as voxels do."""
    mean, texture = (np.asarray(v, np.float32) for v in values)
    grain = ndimage.gaussian_filter(
        rng.standard_normal(labels.shape, np.float32), float(rng.uniform(0.5, 2.0))
    )
    image = mean[labels] + texture[labels] * grain / grain.std()
    return np.asarray(ndimage.gaussian_filter(image, float(rng.uniform(*BLUR))).clip(0), np.float32)


def _photographs() -> Iterator[CleanVolume]:
    """Photographs that ship inside scikit-image and scikit-learn: sharp edges and textures of all
    kinds.
    """
    from skimage import color, data
    from sklearn.datasets import load_sample_image

    names = (
        "astronaut",
        "brick",
        "camera",
        "cat",
        "chelsea",
        "clock",
        "coffee",
        "coins",
        "grass",
        "gravel",
        "hubble_deep_field",
        "immunohistochemistry",
        "moon",
        "page",
        "rocket",
        "text",
    )
    loaders = {name: getattr(data, name) for name in names if hasattr(data, name)}
    for name in ("china.jpg", "flower.jpg"):
        loaders[name] = lambda name=name: load_sample_image(name)
    for name, load in loaders.items():
        try:
            picture = np.asarray(load())
        except OSError:  # not in the wheel of this version, only for download
            continue
        grey = color.rgb2gray(picture) if picture.ndim == 3 else picture / 255.0
        yield CleanVolume(brightened(grey[None]), "photographs", name.split(".")[0], False, False)


@dataclass(frozen=True)
class CleanSet:
    """A set: how it is loaded, and its licence."""

    load: Callable[[], Iterator[CleanVolume]]
    licence: str


SOURCES = {
    "ixi": CleanSet(
        lambda: _of_files("ixi", normalized, "ixi_t1_2mm/nifti/*.nii.gz"), "CC BY-SA 3.0"
    ),
    "openms-mni": CleanSet(
        lambda: _of_files(
            "openms-mni", normalized, "openms/cross_sectional_MNI/*/[FT]*_regtoMNI.nii.gz"
        ),
        "CC BY",
    ),
    "openms-raw": CleanSet(
        lambda: _of_files(
            "openms-raw",
            normalized,
            "openms/longitudinal_raw/*/study*_[FT]*.nii.gz",
            "openms_longitudinal_raw/*/study*_[FT]*.nii.gz",
        ),
        "CC BY",
    ),
    "sarcoma-mr": CleanSet(
        lambda: _of_files(
            "sarcoma-mr",
            normalized,
            "sts_mr_ct_pet/nifti/*/MR_T1_image.nii.gz",
            "sts_mr_ct_pet/*/MR_T1_image.nii.gz",
        ),
        "CC BY 3.0",
    ),
    "sarcoma-ct": CleanSet(
        lambda: _of_files(
            "sarcoma-ct",
            density,
            "sts_mr_ct_pet/nifti/*/CT_image.nii.gz",
            "sts_mr_ct_pet/*/CT_image.nii.gz",
        ),
        "CC BY 3.0",
    ),
    "sarcoma-pet": CleanSet(
        lambda: _of_files(
            "sarcoma-pet",
            brightened,
            "sts_mr_ct_pet/nifti/*/PET_image.nii.gz",
            "sts_mr_ct_pet/*/PET_image.nii.gz",
        ),
        "CC BY 3.0",
    ),
    "head-ct": CleanSet(_head_ct, "BSD"),
    "openkbp": CleanSet(_openkbp, "MIT"),
    "painted": CleanSet(_painted, "Apache-2.0 (label maps), painted by this package"),
    "photographs": CleanSet(_photographs, "as the wheels of scikit-image and scikit-learn state"),
}
