"""PET at 10 % of the counts, with attenuation from the CT of the same patient: ours against OSEM
with a Gaussian filter.

python benchmarks/pet.py [--weights FILE] [--quick] [--slices 6] [--trained]

Slices of real PET (SUV) are projected (90 views over half a turn), attenuated by the patient's CT
at 511 keV, and counted (Poisson, 10 % of `FULL` counts a slice, flat background of a quarter of
them). Ours is `reconstruct` of the counts; `images` is `enhance` for low-count-pet of the
unfiltered OSEM image, its noise given. OSEM (4 iterations, 8 subsets) is followed by a Gaussian
filter whose full width at half maximum, 0 to 24 mm, is chosen for every slice by the truth. The
reference has noise of its own. `--trained` adds patients who were trained on, marked so.

PSNR over the foreground (above a tenth of the peak) and over the whole slice; the peak is the 99th
percentile of the slice's foreground. Bias is the mean error in the hottest 2 % of the foreground,
in per cent. Mean and SD over slices of each patient.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from patients import (
    FOREGROUND,
    Volume,
    arguments,
    parsed,
    peak_of,
    sarcoma,
    say,
    scores,
    single,
    spread,
    table,
)
from scipy import ndimage
from torch import Tensor

from veridical.physics.noise import poisson
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET, attenuation_factors
from veridical.tasks.enhance import Enhance
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array, Geometry, Measurement, Noise

FULL, SHARE, BACKGROUND, VIEWS = 2e6, 0.1, 0.25, 90
WIDTHS = (0.0, 3.0, 5.0, 7.0, 9.0, 12.0, 15.0, 19.0, 24.0)
"""Full width at half maximum in mm; the largest is at least four pixels of the coarsest volume."""
WATER = 0.0096
"""Attenuation of water at 511 keV in 1/mm; of bone about half as much more as its HU say."""
OTHERS = ("STS_002", "STS_024", "STS_025", "STS_032", "STS_041")
COLUMNS = (
    "patient",
    "slices",
    "method",
    "PSNR foreground",
    "PSNR whole",
    "bias of the hottest %",
    "gain dB",
    "s a slice",
)


@dataclass(frozen=True)
class Scan:
    """One slice `(y, x)` in SUV, and what attenuates it, HU on the same grid."""

    truth: Array
    hu: Array
    spacing: tuple[float, float]
    seed: int

    @cached_property
    def operator(self) -> PET:
        rays = ParallelBeam(
            self.truth.shape, self.spacing, half_turn(VIEWS), pitch=min(self.spacing)
        )
        tissue = np.where(self.hu > 0, 1 + 0.5 * self.hu / 1000, 1 + self.hu / 1000)
        survival = attenuation_factors(rays, torch.from_numpy((WATER * tissue).astype(np.float32)))
        trues = float(PET(rays, survival).forward(self.activity).sum())
        flat = torch.full(rays.range, BACKGROUND * SHARE * FULL / np.prod(rays.range))
        return PET(rays, survival, flat, scale=SHARE * FULL / trues)

    @property
    def activity(self) -> Tensor:
        return torch.from_numpy(self.truth)

    @cached_property
    def counts(self) -> Tensor:
        return poisson(
            self.operator.expected(self.activity), torch.Generator().manual_seed(self.seed)
        )

    @cached_property
    def osem(self) -> Array:
        return self.operator.osem(self.counts).numpy()


Method = Callable[[Scan], Array]


def scanned(patient: str, count: int) -> list[Scan]:
    """Return `count` slices of a patient in which there is most activity."""
    pet, ct = sarcoma("PET", (patient,))[0], sarcoma("CT", (patient,))[0]
    hu = on_grid(ct, pet)
    suv, (dx, dy) = np.maximum(pet.data, 0), pet.image.geometry.spacing[:2]
    order = np.argsort(-(suv > FOREGROUND * peak_of(suv)).sum((0, 1)), kind="stable")
    chosen = np.sort(order[: 2 * count])[::2]
    return [
        Scan(suv[:, :, z].T.copy(), hu[:, :, z].T.copy(), (dy, dx), seed)
        for seed, z in enumerate(chosen)
    ]


def on_grid(volume: Volume, like: Volume) -> Array:
    """Return a CT on the grid of another image; air outside of it."""
    transform = np.linalg.inv(volume.image.geometry.affine) @ like.image.geometry.affine
    shrink = [
        max(0.0, 0.4 * (n / o - 1))
        for n, o in zip(like.image.geometry.spacing, volume.image.geometry.spacing, strict=True)
    ]
    smooth = ndimage.gaussian_filter(volume.data, shrink)
    shape = like.image.geometry.shape
    return np.asarray(
        ndimage.affine_transform(
            smooth, transform[:3, :3], transform[:3, 3], shape, order=1, cval=-1000.0
        )
    )


def filtered(scan: Scan) -> Array:
    """Return the OSEM image, smoothed by the width of least error."""
    tried = []
    for width in WIDTHS:
        made = ndimage.gaussian_filter(scan.osem, [width / 2.3548 / step for step in scan.spacing])
        tried.append((scores(made, scan.truth)[0], width, made))
    best = max(tried, key=lambda one: one[0])
    if best[1] == WIDTHS[-1]:
        say("the widest filter is the best one")
    return best[2]


def ours(weights: str) -> Method:
    """Return our reconstruction of the counts."""
    task = Reconstruct(draws=1, weights=weights)

    def apply(scan: Scan) -> Array:
        rows, columns = scan.truth.shape
        grid = Geometry((columns, rows, 1), np.diag([*scan.spacing[::-1], 3.0, 1.0]))
        measured = Measurement(scan.counts[None].numpy(), scan.operator, Noise("poisson"), grid)
        return np.asarray(task(measured, seed=0).image.data[0, :, :, 0].T)

    return apply


def ours_of_images(weights: str) -> Method:
    """Return `enhance` for low-count-pet of the OSEM image, told its noise in the foreground."""

    def apply(scan: Scan) -> Array:
        inside = scan.truth > FOREGROUND * peak_of(scan.truth)
        noiseless = scan.operator.osem(scan.operator.expected(scan.activity)).numpy()
        task = Enhance(
            job="low-count-pet",
            draws=1,
            noise=float((scan.osem - noiseless)[inside].std()),
            weights=weights,
        )
        subject = single(scan.osem.T[:, :, None], (*scan.spacing[::-1], 3.0), "PET", "SUV")
        return np.asarray(task(subject, seed=0).image.data[0, :, :, 0].T)

    return apply


def bias(made: Array, truth: Array) -> float:
    """Return the mean error in the hottest fiftieth of the foreground, in per cent of its mean."""
    inside = truth > FOREGROUND * peak_of(truth)
    hottest = truth >= np.percentile(truth[inside], 98)
    return 100 * float(made[hottest].mean() / truth[hottest].mean() - 1)


def rows(patient: str, count: int, weights: str) -> list[list[str]]:
    """Return the lines of one patient."""
    methods: dict[str, Method] = {"OSEM": lambda scan: scan.osem, "OSEM, Gaussian tuned": filtered}
    methods |= {"ours": ours(weights), "ours, images alone": ours_of_images(weights)}
    scans = scanned(patient, count)
    found = {}
    for name, method in methods.items():
        begun = time.perf_counter()
        made = [method(scan) for scan in scans]
        seconds = (time.perf_counter() - begun) / len(scans)
        every = [
            (*scores(one, scan.truth), bias(one, scan.truth))
            for one, scan in zip(made, scans, strict=True)
        ]
        found[name] = (np.array(every), seconds)
    rival = found["OSEM, Gaussian tuned"][0][:, 0].mean()
    mark = patient if patient.startswith("STS_042") else f"{patient}, trained on"
    lines = []
    for name, (values, seconds) in found.items():
        cells = [
            mark,
            str(len(scans)),
            name,
            spread(values[:, 0]),
            spread(values[:, 1]),
            spread(values[:, 2], 1),
        ]
        lines.append(
            [
                *cells,
                f"{values[:, 0].mean() - rival:+.2f}" if name.startswith("ours") else "",
                f"{seconds:.2f}",
            ]
        )
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--trained", action="store_true", help="patients who were trained on too")
    given = parsed(parser)
    chosen = ("STS_042", *(OTHERS if given.trained else ()))
    found = [
        row
        for patient in chosen
        for row in rows(patient, 2 if given.quick else given.slices, given.weights)
    ]
    print(table(COLUMNS, found))


if __name__ == "__main__":
    main()
