"""Low-dose CT made from real CT slices: what a scan at a lower dose would have shown, and its raw
data, of fewer views too.

A real slice carries the noise of its own scan, so only the *extra* noise of the lower dose is put
in. The slice is projected; each ray's counts `N` become `d N` plus Poisson noise of variance `d (1
- d) N` and electronic noise of variance `(1 - d^2) e^2`, so that the original's noise scaled by `d`
and the new one together are those of dose `d` (Zabic et al., Med Phys 40, 031102, 2013; the
variance of the line integral is that of Yu et al., J Comput Assist Tomogr 36, 2012). The change of
the line integrals is reconstructed and added: at dose 1 nothing changes, the slice keeps its own
resolution, and a field of view that cuts the body makes no artefact.

The beam is a monochromatic fan without bow-tie filter, scatter or detector crosstalk, one slice at
a time. `ct_noise.low_dose_surrogate` is the fast model to train on (`LowDoseNoise`); this one is to
test with. Streaks of few views in images: `SparseViewStreaks`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.errors import InputError, SettingError, UnitsError
from veridical.physics.backprojection import check_window, filtered_backprojection
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.types import Array, Image, Measurement, Noise

WATER = 0.0193
"""Linear attenuation of water in 1/mm at 70 keV, about the mean energy of a 120 kV beam (NIST
XCOM).
"""


@dataclass(frozen=True)
class CTScanner:
    """A scanner at full dose. The defaults are the geometry of GE's LightSpeed and Discovery (541
    and 949 mm, 984 views).
    """

    photons: float = 1e6
    """Counts of the unattenuated beam per bin and view at full dose. A million make a noise of 5 HU
    in the middle of 200 mm of water and of 16 HU in 320 mm. `photons_of` estimates them from a
    slice's own noise.
    """
    electronic: float = 10.0
    """Standard deviation of the electronic noise in counts (La Riviere and Billmire, IEEE TMI 24,
    2005).
    """
    views: int = 984
    """Over a full turn."""
    source: float = 541.0
    """Distance of the source from the centre of rotation, mm."""
    pitch: float = 0.584
    """Bin distance at the centre of rotation, mm."""
    window: str = "hann"
    """On the ramp filter. Hann up to 0.86 / mm halves the contrast at 0.43 / mm, about as GE's
    Standard kernel does.
    """
    cutoff: float = 1.0
    """Where the window ends, as a share of the detector's Nyquist frequency."""

    def __post_init__(self) -> None:
        if (
            not self.photons > 0
            or not self.electronic >= 0
            or self.views < 8
            or not min(self.source, self.pitch) > 0
        ):
            raise SettingError(
                f"CT scanner: photons = {self.photons}, electronic = {self.electronic}, views = "
                f"{self.views}, source = "
                f"{self.source} mm, pitch = {self.pitch} mm; expected positive numbers, at least 8 "
                "views and electronic >= 0."
            )
        check_window(self.window, self.cutoff)

    def beam(self, shape: tuple[int, int], spacing: tuple[float, float], every: int = 1) -> FanBeam:
        """Return the projector of a slice `(y, x)` with pixels `(dy, dx)` in mm, with every
        `every`-th view.
        """
        if every < 1 or self.views // every < 8:
            raise SettingError(
                f"every = {every} of {self.views} views; expected 1 or more, and at least 8 views "
                "kept."
            )
        return FanBeam(
            shape, spacing, full_turn(self.views)[::every], self.source, pitch=self.pitch
        )

    def reconstruct(self, beam: FanBeam, sinogram: Tensor) -> Tensor:
        """Return attenuation in 1/mm by filtered back-projection with this scanner's kernel."""
        return filtered_backprojection(beam, sinogram, self.window, self.cutoff)


GE = CTScanner()


def attenuation(hu: Array) -> Tensor:
    """Return `(..., y, x)` in 1/mm, never below 0, from Hounsfield units.

    Raises:
        InputError: NaN or infinite values.
    """
    if not np.isfinite(hu).all():
        raise InputError(
            "The CT slice holds NaN or infinite values. Write -1000 (air) where nothing was "
            "measured."
        )
    return torch.from_numpy(
        np.asarray(WATER * (1 + np.asarray(hu, np.float64) / 1000), np.float32)
    ).clamp_min(0)


def hounsfield(mu: Array) -> Array:
    """Return Hounsfield units from attenuation in 1/mm; the inverse of `attenuation` where that is
    above 0.
    """
    return np.asarray(1000 * (np.asarray(mu, np.float64) / WATER - 1), np.float32)


def low_dose_ct(
    hu: Array,
    spacing: tuple[float, float],
    dose: float,
    rng: np.random.Generator,
    scanner: CTScanner = GE,
) -> Array:
    """Return real slices as a scan at a share of the dose would have shown them.

    Args:
        hu: `(..., y, x)`, Hounsfield units.
        spacing: `(dy, dx)` in mm.
        dose: share of the dose of the original, in (0, 1]; 1 changes nothing.
        rng: source of randomness.
        scanner: at full dose.

    Returns:
        `(..., y, x)` float32, HU.

    Raises:
        SettingError: the dose is not in (0, 1].
        InputError: NaN or infinite values.
        GeometryError: the slice is larger than the scanner's bore.
    """
    beam = scanner.beam(hu.shape[-2:], spacing)
    lines = beam.forward(attenuation(hu))
    extra = scanner.reconstruct(beam, at_dose(lines, dose, rng, scanner) - lines)
    return np.asarray(hu + extra.numpy() * (1000 / WATER), np.float32)


def low_dose_scan(
    image: Image, dose: float, rng: np.random.Generator, every: int = 1, scanner: CTScanner = GE
) -> Measurement:
    """Return the raw data of such a scan, for methods that reconstruct from line integrals (FBP,
    SIRT, total variation).

    The operator is the one that made the data, on the grid of the image: a method that inverts it
    has no error of the model, only noise and missing views to deal with. Say so where such a method
    is compared with one that sees images only.

    Args:
        image: one channel, in HU, axial slices along z; the truth.
        dose: share of the dose of the original, in (0, 1].
        rng: source of randomness.
        every: of the scanner's views one in so many is kept.
        scanner: at full dose.

    Returns: Data `(slice, angle, detector)`, dimensionless, by a `FanBeam`; the object is
        attenuation in 1/mm (`hounsfield` turns it into HU).

    Raises:
        UnitsError: the image is not in HU.
        SettingError, InputError, GeometryError: as `low_dose_ct`; fewer than 8 views would be left.
    """
    if image.units != "HU" or len(image.channels) != 1:
        raise UnitsError(
            f"A low-dose scan was asked for of {image.channels} in {image.units}; expected one "
            "channel in HU. "
            "Pass the CT alone: its header gives slope and intercept."
        )
    beam = scanner.beam(image.geometry.shape[1::-1], image.geometry.spacing[1::-1], every)
    lines = beam.forward(attenuation(image.data[0].transpose(2, 1, 0)))
    about: dict[str, Any] = {
        "contrast": "CT",
        "photons": dose * scanner.photons,
        "electronic": scanner.electronic,
    }
    noisy = at_dose(lines, dose, rng, scanner)
    return Measurement(noisy.numpy(), beam, Noise("poisson_gaussian"), image.geometry, about)


def at_dose(
    lines: Tensor, dose: float, rng: np.random.Generator, scanner: CTScanner = GE
) -> Tensor:
    """Return line integrals with the extra noise of a lower dose; those of full dose are given,
    with their own noise.

    Counts of less than one photon are taken as one (photon starvation).

    Args:
        lines: dimensionless, any shape.
        dose: share of full dose, in (0, 1]; at 1 the same numbers come back.
        rng: source of randomness.
        scanner: photons and electronic noise at full dose.

    Raises:
        SettingError: the dose is not in (0, 1].
    """
    check_dose(dose)
    expected = dose * scanner.photons * np.exp(-lines.numpy().astype(np.float64))
    missing = (1 - dose) * expected
    quantum = rng.poisson(missing) - missing
    counts = (
        expected
        + quantum
        + scanner.electronic * np.sqrt(1 - dose**2) * rng.standard_normal(lines.shape)
    )
    lowered = np.log(np.maximum(counts, np.minimum(expected, 1.0)) / expected)
    return lines - torch.from_numpy(lowered.astype(np.float32))


def extra_variance(lines: Tensor, dose: float, scanner: CTScanner = GE) -> Tensor:
    """Return the variance that `at_dose` adds to line integrals, to first order (Yu et al. 2012).

    `(1 - d) / (d N) + (1 - d^2) e^2 / (d N)^2` with `N` the counts at full dose.
    """
    check_dose(dose)
    counts = dose * scanner.photons * torch.exp(-lines)
    return (1 - dose) / counts + (1 - dose**2) * scanner.electronic**2 / counts.square()


def photons_of(
    hu: Array, spacing: tuple[float, float], rng: np.random.Generator, scanner: CTScanner = GE
) -> float:
    """Estimate the photons of a slice's own scan: those at which the simulated full-dose noise is
    as strong as the slice's.

    Noise is the median absolute deviation of what a Gaussian of 1.5 mm takes away, in the evener
    half of the soft tissue (0 to 100 HU when smoothed). Anatomy counts as noise, so the estimate is
    rather low. Where the field of view cuts the body it is the flux behind what was cut off.

    Args:
        hu: `(y, x)`, Hounsfield units.
        spacing, scanner: as in `low_dose_ct`; the scanner's own `photons` do not matter.
        rng: source of randomness.

    Raises:
        InputError: less than 10 cm^2 of soft tissue, NaN or infinite values.
    """
    smooth = ndimage.gaussian_filter(hu, [3 / step for step in spacing])
    slope = ndimage.gaussian_gradient_magnitude(hu, [4 / step for step in spacing])
    soft = (smooth > 0) & (smooth < 100)
    area = float(soft.sum()) * spacing[0] * spacing[1]
    if area < 1000:
        raise InputError(
            f"{area / 100:.1f} cm^2 of soft tissue; noise is estimated in 10 or more. Choose "
            "another slice."
        )
    even = soft & (slope <= np.median(slope[soft]))

    def level(image: Array) -> float:
        rest = image - ndimage.gaussian_filter(image, [1.5 / step for step in spacing])
        return float(np.median(np.abs(rest[even])))

    trial = replace(scanner, photons=1e6, electronic=0.0)
    added = level(low_dose_ct(hu, spacing, 0.5, rng, trial) - hu)
    return trial.photons * (added / level(hu)) ** 2


def check_dose(dose: float) -> None:
    """Raise a SettingError when the dose is not in (0, 1]."""
    if not 0 < dose <= 1:
        raise SettingError(
            f"dose = {dose}; expected a share of the full dose above 0, up to 1 (1: nothing "
            "changes)."
        )
