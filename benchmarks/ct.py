"""CT from sinograms and from images: low dose, 60 views, limited angle; accuracy, and bias in bone
and soft tissue.

python benchmarks/ct.py [--weights FILE] [--quick] [--only "60 views"] [--slices 4]

Slices of real CT, cut to a round field of view, are projected by the fan beam of
`physics.low_dose.CTScanner` (984 views over a full turn) and counted (`poisson_gaussian`, a million
photons a bin at full dose, no electronic noise): 25 % and 10 % dose; 60 views at the photons of the
whole full-dose scan; 120 degrees of 328 views at full dose. All methods get the same line integrals
and the operator that made them (no error of the model, alike for all). The reference has noise of
its own: a method that takes that away is punished, alike for all. OpenKBP is so coarse (some 45
pixels across) that 60 views are many.

Rivals, tuned for every slice by the truth: total variation over weights 1e-6 to 1e-3 in half
decades (150 FISTA iterations); non-local means on filtered back-projection with ramp and Hann
window over h 0.3 to 1.3 of the error and patches of 3, 5, 7. `low dose, images`: `enhance` for
low-dose-ct on the ramp's image, its noise in the body given, against non-local means.

PSNR is over the whole slice with a peak of 2000 HU; RMSE in the body (smoothed above -400 HU); bias
is the mean error where the smoothed reference is above 300 HU (bone) and from -100 to 100 HU (soft
tissue). Mean and SD over patients. Gain is over the best tuned rival.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from patients import (
    Volume,
    arguments,
    head_ct,
    openkbp,
    parsed,
    sarcoma,
    say,
    single,
    spread,
    table,
)
from scipy import ndimage
from skimage.restoration import denoise_nl_means
from torch import Tensor

from veridical.models.tv_ct import TvCt
from veridical.physics.backprojection import filtered_backprojection
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.low_dose import GE, attenuation, hounsfield
from veridical.physics.noise import poisson_gaussian
from veridical.tasks.enhance import Enhance
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array, Geometry, Measurement, Noise

PEAK, EDGE = 2000.0, 0.1
TV = (1e-6, 3e-6, 1e-5, 2e-5, 3e-5, 5e-5, 1e-4, 3e-4, 1e-3)
STRENGTHS, PATCHES = (0.3, 0.45, 0.6, 0.8, 1.0, 1.3), (3, 5, 7)
SCANS = {
    "25 % dose": (full_turn(GE.views), 0.25),
    "10 % dose": (full_turn(GE.views), 0.1),
    "60 views": (full_turn(60), GE.views / 60),
    "120 degrees": (full_turn(GE.views)[: GE.views // 3], 1.0),
}
"""Name -> angles and photons as a share of full dose a view."""
COLUMNS = (
    *(
        "scan",
        "set",
        "patients",
        "method",
        "PSNR dB",
        "RMSE body HU",
        "bias soft HU",
        "bias bone HU",
        "gain dB",
    ),
    "s a slice",
)


@dataclass(frozen=True)
class Scan:
    """One slice `(y, x)` in HU, scanned."""

    truth: Array
    spacing: tuple[float, float]
    angles: Tensor
    photons: float
    seed: int

    @cached_property
    def beam(self) -> FanBeam:
        return FanBeam(self.truth.shape, self.spacing, self.angles, GE.source, pitch=GE.pitch)

    @cached_property
    def data(self) -> Tensor:
        clean = self.beam.forward(attenuation(self.truth))
        return poisson_gaussian(clean, self.photons, 0.0, torch.Generator().manual_seed(self.seed))

    @cached_property
    def body(self) -> Array:
        return np.asarray(ndimage.gaussian_filter(self.truth, 2) > -400)

    def error(self, hu: Array, inside: Array | None = None) -> float:
        difference = hu - self.truth if inside is None else (hu - self.truth)[inside]
        return float(np.sqrt(np.square(difference, dtype=np.float64).mean()))

    def scores(self, hu: Array) -> tuple[float, float, float, float]:
        smooth = ndimage.gaussian_filter(self.truth, 1)
        biases = []
        for tissue in ((smooth > -100) & (smooth < 100), smooth > 300):
            biases.append(
                float((hu - self.truth)[tissue].mean()) if tissue.sum() > 50 else float("nan")
            )
        return 20 * np.log10(PEAK / self.error(hu)), self.error(hu, self.body), biases[0], biases[1]


Method = Callable[[Scan], Array]


def scanned(volume: Volume, name: str, count: int) -> list[Scan]:
    """Scan `count` slices of a patient."""
    angles, share = SCANS[name]
    data, size = volume.data, volume.image.geometry.spacing
    positions = np.linspace(0.3, 0.7, count) * (data.shape[2] - 1)
    found = []
    for seed, position in enumerate(positions.round().astype(int)):
        hu, (dx, dy) = tapered(data[:, :, position].T), size[:2]
        if dx < 0.6:
            hu, dx, dy = (
                hu.reshape(hu.shape[0] // 2, 2, hu.shape[1] // 2, 2).mean((1, 3)),
                2 * dx,
                2 * dy,
            )
        body = ndimage.gaussian_filter(hu, 2) > -400
        y, x = (np.flatnonzero(body.any(axis)) for axis in (1, 0))
        hu = np.ascontiguousarray(hu[y[0] : y[-1] + 1, x[0] : x[-1] + 1])
        found.append(
            Scan(np.pad(hu, 4, constant_values=-1000.0), (dy, dx), angles, share * GE.photons, seed)
        )
    return found


def tapered(hu: Array) -> Array:
    """Let what lies outside of the inscribed ellipse be air, its edge soft: a straight cut of the
    stored field of view is no anatomy, and lies along the rays of some views.
    """
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in hu.shape), indexing="ij")
    inside = np.clip((1 - np.hypot(y, x)) / EDGE, 0, 1)
    return ((np.maximum(hu, -1000.0) + 1000) * inside - 1000).astype(np.float32)


def fbp(window: str) -> Method:
    """Return filtered back-projection, or what stands for it where views are missing."""

    def apply(scan: Scan) -> Array:
        if len(scan.angles) == GE.views // 3:
            return hounsfield(scan.beam.classical(scan.data).numpy())
        return hounsfield(filtered_backprojection(scan.beam, scan.data, window).numpy())

    return apply


def tuned_tv(scan: Scan) -> Array:
    """Return total variation with the weight of least error: from the middle of the grid downhill
    to a minimum.
    """
    tried: dict[int, Array] = {}

    def error(place: int) -> float:
        if not 0 <= place < len(TV):
            return np.inf
        if place not in tried:
            tried[place] = hounsfield(
                TvCt(weight=TV[place]).reconstruct(scan.beam, scan.data).numpy()
            )
        return scan.error(tried[place])

    best = len(TV) // 2
    for step in (-1, 1):
        while error(best + step) < error(best):
            best += step
    if best in (0, len(TV) - 1):
        say(f"total variation is best at {TV[best]:g}, an end of its grid")
    return tried[best]


def tuned_nlm(scan: Scan) -> Array:
    """Return non-local means of filtered back-projection, of least error over window, strength and
    patch.
    """
    best, least = scan.truth, np.inf
    for window in ("ramp", "hann"):
        image = fbp(window)(scan)
        level = scan.error(image, scan.body)
        for patch in PATCHES:
            for strength in STRENGTHS:
                settings = {
                    "patch_size": patch,
                    "patch_distance": 7,
                    "h": strength * level,
                    "sigma": level,
                }
                made = denoise_nl_means(image, fast_mode=True, **settings)
                if (error := scan.error(made)) < least:
                    best, least = made, error
    return best


def ours(weights: str) -> Method:
    """Return our reconstruction of the line integrals."""
    task = Reconstruct(draws=1, weights=weights)

    def apply(scan: Scan) -> Array:
        rows, columns = scan.truth.shape
        grid = Geometry((columns, rows, 1), np.diag([*scan.spacing[::-1], 3.0, 1.0]))
        measured = Measurement(
            scan.data[None].numpy(), scan.beam, Noise("poisson_gaussian", scan.photons), grid
        )
        return hounsfield(task(measured, seed=0).image.data[0, :, :, 0].T)

    return apply


def ours_of_images(weights: str) -> Method:
    """Return `enhance` for low-dose-ct, told the noise in the body."""

    def apply(scan: Scan) -> Array:
        image = fbp("ramp")(scan)
        clean = hounsfield(
            filtered_backprojection(scan.beam, scan.beam.forward(attenuation(scan.truth))).numpy()
        )
        task = Enhance(
            job="low-dose-ct",
            draws=1,
            noise=float((image - clean)[scan.body].std()),
            weights=weights,
        )
        subject = single(image.T[:, :, None], (*scan.spacing[::-1], 3.0), "CT", "HU")
        return np.asarray(task(subject, seed=0).image.data[0, :, :, 0].T)

    return apply


def rows(name: str, volumes: Sequence[Volume], count: int, weights: str) -> list[list[str]]:
    """Return the lines of one kind of scan of one set."""
    methods: dict[str, Method] = {
        "fbp": fbp("ramp"),
        "tv-ct, tuned": tuned_tv,
        "non-local means, tuned": tuned_nlm,
    }
    methods["ours"] = ours(weights)
    if "dose" in name:
        methods["ours, images alone"] = ours_of_images(weights)
    scans = {volume.patient: scanned(volume, name, count) for volume in volumes}
    found: dict[str, Array] = {}
    for method, apply in methods.items():
        begun = time.perf_counter()
        by_patient = [
            np.nanmean([scan.scores(apply(scan)) for scan in part], 0) for part in scans.values()
        ]
        seconds = (time.perf_counter() - begun) / sum(map(len, scans.values()))
        found[method] = np.column_stack([by_patient, np.full(len(by_patient), seconds)])
        say(f"{name}, {volumes[0].group}, {method}: {found[method].mean(0).round(2)}")
    rival = max(found[one][:, 0].mean() for one in methods if not one.startswith("ours"))
    made = []
    for method, values in found.items():
        cells = [
            spread(values[:, column], digits) for column, digits in ((0, 2), (1, 1), (2, 1), (3, 1))
        ]
        gain = f"{values[:, 0].mean() - rival:+.2f}" if method.startswith("ours") else ""
        made.append(
            [name, volumes[0].group, str(len(volumes)), method, *cells, gain, f"{values[0, 4]:.2f}"]
        )
    return made


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=tuple(SCANS))
    parser.add_argument("--slices", type=int, default=4, help="of each patient")
    given = parsed(parser)
    names = (
        [given.only] if given.only else ["25 % dose", "60 views"] if given.quick else list(SCANS)
    )
    sets = [sarcoma("CT")] if given.quick else [sarcoma("CT"), openkbp(), head_ct()]
    count = 1 if given.quick else given.slices
    found = [
        row for name in names for part in sets for row in rows(name, part, count, given.weights)
    ]
    print(table(COLUMNS, found))


if __name__ == "__main__":
    main()
