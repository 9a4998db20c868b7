"""One image of a painted head as a site would take it: sequence, resolution, shading, noise, and
the units of its modality.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from veridical.errors import SettingError, nearest
from veridical.phantoms.head_painting import Labels
from veridical.phantoms.label_maps import structure
from veridical.phantoms.rendering import PhantomVolume, render
from veridical.phantoms.scanners import CONTRASTS, SITES, Site
from veridical.physics.bias_shading import random_polynomial, smooth_field
from veridical.physics.tissue import Sequence, TissueClass
from veridical.types import Array

MODALITIES = (*CONTRASTS, "CT", "PET")
UNITS = {"CT": "HU", "PET": "SUV"}
"""Units of a modality; arbitrary ones where it is not here."""
Slices = Literal["3d", "site"]

INNER = 100.0
"""Median of the brain tissue of MR images."""
POINT = 0.5
"""Standard deviation of the point spread in voxels, where voxels of the label map are no finer than
those of the image: it makes the partial volume at borders.
"""
CT_NOISE, CT_GRAIN = (5.0, 12.0), 0.6
"""Range of the standard deviation in HU, and the width in mm of the kernel that colours it
(assumed: head protocols).
"""
GREY_SUV, SUV_SPREAD = 8.0, 0.25
"""FDG uptake of grey matter in SUV, and standard deviation of its logarithm between patients."""
PET_POINT, PET_NOISE = 2.3, (0.02, 0.08)
"""Standard deviation in mm of the point spread of a PET scanner (FWHM 5.4 mm), and range of the
noise of grey matter, relative; that of other tissue grows with the root of its uptake.
"""


@dataclass(frozen=True, eq=False)
class Scan:
    """An image and how it came about.

    Args:
        data: `(x, y, z)` float32.
        units: `a.u.`, `HU` or `SUV`.
        settings: of scanner and sequence, under the names of BIDS; times in seconds.
    """

    data: Array
    units: str
    settings: dict[str, Any]


def scan(
    head: PhantomVolume,
    labels: Labels,
    modality: str,
    rng: np.random.Generator,
    blurred: bool,
    slices: Slices = "3d",
) -> Scan:
    """Image a head.

    Args:
        head: painted.
        labels: `(x, y, z)` on its grid; they tell where the brain is.
        modality: one of `MODALITIES`.
        rng: draws sequence, shading and noise.
        blurred: spread points over half a voxel, where the labels are no finer than the image.
        slices: `3d`: as thick as the voxels; `site`: as thick as the site's, along the last axis.

    Raises:
        SettingError: the modality is unknown.
    """
    if modality not in MODALITIES:
        raise SettingError(f"No contrast is called {modality!r}. {nearest(modality, MODALITIES)}")
    if modality == "CT":
        return _tomogram(head, rng, blurred)
    if modality == "PET":
        return _uptake(head, rng)
    return _magnetic(head, labels, modality, rng, blurred, slices)


def site_of(name: str, field: float, rng: np.random.Generator) -> Site:
    """Return a site by its name, or one of its own kind where no name is given.

    Args:
        name: one of `scanners.SITES`; empty: settings of any clinical protocol.
        field: tesla; 0: that of the site.
        rng: draws a site.

    Raises:
        SettingError: the name is not known.
    """
    known = {site.name: site for site in SITES}
    if name and name not in known:
        raise SettingError(f"No site is called {name!r}. {nearest(name, known)}")
    kind = ("mprage", "spgr", "se")[int(rng.choice(3, p=(0.4, 0.25, 0.35)))]
    any_site = Site(
        "any", float(rng.choice([1.5, 3.0])), kind, (2200, 7000), (70, 125), (8, 30),
        (6000, 11500), 0.35, (0.0, 2.0), (0.004, 0.04), float(rng.uniform(0.05, 0.25)), (1, 5),
    )  # fmt: skip
    found = known.get(name, any_site)
    return replace(found, field=field) if field else found


def _magnetic(
    head: PhantomVolume,
    labels: Labels,
    contrast: str,
    rng: np.random.Generator,
    blurred: bool,
    slices: Slices,
) -> Scan:
    site = head.site
    sequence = site.sequence(contrast, rng, float(head.relaxation().t1[TissueClass.CSF]))
    image = render(head, contrast, rng=rng, sequence=sequence)
    if blurred:
        image = ndimage.gaussian_filter(image, POINT)
    thin = head.geometry.spacing[2]
    drawn = float(rng.uniform(*site.thickness))
    thickness = max(thin, drawn) if slices == "site" and sequence.kind != "mprage" else thin
    if thickness > thin:
        image = ndimage.correlate1d(image, _box(thickness / thin), axis=2, mode="nearest")
    image = image * _shading(image.shape, site.bias, rng)
    brain = np.isin(labels, [structure("white matter"), structure("cortex")])
    level = float(np.median(image[brain if brain.any() else labels > 0])) or 1.0
    share = float(rng.uniform(*site.noise))
    size = share * float(np.percentile(image, 99))
    parts = rng.standard_normal((2, *image.shape), np.float32) * np.float32(size)
    data = np.hypot(image + parts[0], parts[1]) * np.float32(INNER / level)
    return Scan(
        np.asarray(data, np.float32),
        "a.u.",
        {
            "Modality": "MR",
            "MagneticFieldStrength": site.field,
            "SequenceKind": sequence.kind,
            **_times(sequence),
            "SliceThickness": thickness,
            "NoiseOfComponents": size * INNER / level,
            **({"ContrastBolusIngredient": "GADOLINIUM"} if sequence.agent else {}),
        },
    )


def _times(sequence: Sequence) -> dict[str, float]:
    """Return the settings of a sequence as BIDS names them, times in seconds."""
    found = {"RepetitionTime": sequence.tr / 1000, "EchoTime": sequence.te / 1000}
    if sequence.kind in ("flair", "mprage"):
        found["InversionTime"] = sequence.ti / 1000
    if sequence.kind in ("spgr", "mprage"):
        found["FlipAngle"] = sequence.flip
    return {name: round(value, 6) for name, value in found.items()}


def _shading(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> Array:
    """Return a smooth factor whose logarithm has the standard deviation `strength`."""
    if min(shape) < 2:
        return np.ones(shape, np.float32)
    field = np.log(smooth_field(shape, random_polynomial(3, rng), 1.0))
    return np.asarray(np.exp(np.float32(strength / max(float(field.std()), 1e-6)) * field))


def _box(width: float) -> Array:
    """Return the weights of a mean over `width` voxels, which may be a fraction."""
    half = int(np.ceil((width - 1) / 2))
    distance = np.abs(np.arange(-half, half + 1))
    weights = np.clip(width / 2 + 0.5 - distance, 0, 1)
    return np.asarray(weights / weights.sum(), np.float32)


def _tomogram(head: PhantomVolume, rng: np.random.Generator, blurred: bool) -> Scan:
    image = render(head, "CT", rng=rng)
    if blurred:
        image = ndimage.gaussian_filter(image, POINT)
    size = float(rng.uniform(*CT_NOISE))
    grain = ndimage.gaussian_filter(
        rng.standard_normal(image.shape, np.float32),
        [CT_GRAIN / spacing for spacing in head.geometry.spacing],
    )
    data = image + grain * np.float32(size / max(float(grain.std()), 1e-6))
    settings = {"Modality": "CT", "NoiseInHU": round(size, 3)}
    return Scan(np.asarray(np.clip(data, -1024, 3071), np.float32), "HU", settings)


def _uptake(head: PhantomVolume, rng: np.random.Generator) -> Scan:
    grey = GREY_SUV * float(np.exp(SUV_SPREAD * rng.standard_normal()))
    widths = [PET_POINT / spacing for spacing in head.geometry.spacing]
    image = ndimage.gaussian_filter(render(head, "FDG", rng=rng) * np.float32(grey / 128), widths)
    image = np.maximum(image, 0)
    share = float(rng.uniform(*PET_NOISE))
    grain = ndimage.gaussian_filter(
        rng.standard_normal(image.shape, np.float32), [0.6 * width for width in widths]
    )
    grain /= np.float32(max(float(grain.std()), 1e-6))
    data = image + np.float32(share) * np.sqrt(image * np.float32(grey)) * grain
    settings = {"Modality": "PT", "TracerName": "FDG", "GreyMatterSUV": round(grey, 3)}
    return Scan(np.asarray(np.maximum(data, 0), np.float32), "SUV", settings)
