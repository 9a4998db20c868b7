"""Few-view CT and low-count PET on real patients that no model here was trained on: by the body prior and by simple filters.

CT: of the 984 views of a turn every 6th, 10th or 16th is kept (`sparse_view_ct`), on the limbs and the head of
`low_dose_ct.py`, whose windows and measures are used. PET: a quarter, a tenth or a twentieth of the counts (`low_count_pet`,
OSEM), on the grid it was reconstructed on. Filters are tuned on STS_024 and STS_035 by the error itself. Streaks are sized by
the task from the image; the noise of PET is told. The reference has the noise of its own scan.

Usage: python benchmarks/few_views_low_counts.py [--weights WEIGHTS] [--slices N]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import completion as shared
import low_dose_ct as dose
import nibabel
import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import denoise_tv_chambolle

from veridical.datasets.pool import data_root
from veridical.physics.low_count import PETScanner, low_count_pet
from veridical.physics.low_dose import sparse_view_ct
from veridical.tasks.enhance import Enhance
from veridical.types import Geometry, Image

EVERY, FRACTIONS = (6, 10, 16), (0.25, 0.1, 0.05)
SHOWS = 0.2
"""SUV above which a voxel counts as body."""
Array = np.ndarray
Method = Callable[[Array, tuple[float, float], float], Array]
"""Gives slices `(slice, y, x)` from degraded ones, their pixels in mm, and the size of what is wrong with them."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A patient's PET slices in SUV, and where the tumour is."""

    suv: Array
    tumour: Array
    spacing: tuple[float, float]


def scan(patient: str, slices: int) -> Scan:
    """Read PET slices at even distances through the tumour."""
    folder = data_root() / "sts_mr_ct_pet/nifti" / patient
    image, mask = (nibabel.load(folder / f"PET_{what}.nii.gz") for what in ("image", "mask"))
    suv, tumour = (np.moveaxis(one.get_fdata(dtype=np.float32), 2, 0).swapaxes(1, 2) for one in (image, mask))
    at = np.flatnonzero(tumour.any((1, 2)))
    chosen = np.unique(np.linspace(at[0], at[-1], slices).round().astype(int))
    dx, dy = (float(step) for step in image.header.get_zooms()[:2])
    return Scan(np.maximum(suv[chosen], 0), tumour[chosen] > 0.5, (dy, dx))


def as_it_is(images: Array, spacing: tuple[float, float], size: float) -> Array:
    return images


def gaussian(width: float) -> Method:
    """Smoothing by a Gaussian of so many mm."""
    return lambda images, spacing, size: ndimage.gaussian_filter(images, (0, width / spacing[0], width / spacing[1]))


def total_variation(weight: float) -> Method:
    """Rudin, Osher and Fatemi 1992, of so many sizes of what is wrong."""
    return lambda images, spacing, size: np.stack([denoise_tv_chambolle(one, weight * size, eps=1e-5) for one in images])


def learned(job: str, weights: str, told: bool) -> Method:
    """The mean of the draws of `enhance`."""
    channel, units = ("CT", "HU") if job == "sparse-view-ct" else ("PET", "SUV")

    def apply(images: Array, spacing: tuple[float, float], size: float) -> Array:
        task = Enhance(job=job, weights=weights, noise=size if told else 0.0)  # type: ignore[arg-type]
        grid = Geometry((images.shape[2], images.shape[1], 1), np.diag([spacing[1], spacing[0], 3.0, 1.0]))
        found = [task(Image(one.T[None, :, :, None], grid, units, (channel,)), seed=k).image for k, one in enumerate(images)]
        return np.stack([one.data[0, :, :, 0].T for one in found])

    return apply


def tuned(make: Callable[[float], Method], values: Sequence[float], errors: Callable[[Method], float]) -> Method:
    best = min(values, key=lambda value: errors(make(value)))
    return make(best)


def few_views(weights: str, slices: int) -> list[list[str]]:
    tuning = [dose.case(patient, 3) for patient in dose.TUNING]
    rows = []
    for every in EVERY:
        poor = {id(one): sparse(one, every) for one in tuning}

        def error(method: Method, poor: dict[int, tuple[Array, float]] = poor) -> float:
            return -float(np.mean([dose.accuracy(method(poor[id(c)][0], c.spacing, poor[id(c)][1]), c)[0] for c in tuning]))

        methods = {
            "as it is": as_it_is,
            "Gaussian": tuned(gaussian, (0.4, 0.7, 1.0, 1.4, 2.0), error),
            "total variation": tuned(total_variation, (0.3, 0.6, 1.0, 1.5, 2.5), error),
            "body-prior": learned("sparse-view-ct", weights, told=False),
        }
        for group, patients in dose.TEST.items():
            cases = [dose.case(patient, slices) for patient in patients]
            for name, method in methods.items():
                scores = [dose.accuracy(method(*_given(one, every)), one) for one in cases]
                means = [float(np.mean([v for s in scores for v in s[k]])) for k in (0, 1)]
                rows.append([group, str(984 // every), name, f"{means[0]:.2f}", f"{means[1]:.3f}"])
    return rows


def _given(one: dose.Case, every: int) -> tuple[Array, tuple[float, float], float]:
    hu, size = sparse(one, every)
    return hu, one.spacing, size


def sparse(one: dose.Case, every: int) -> tuple[Array, float]:
    """Return slices of few views and the root mean square of their streaks in the body."""
    hu = np.stack([sparse_view_ct(plane, one.spacing, every) for plane in one.reference])
    return hu, float(np.sqrt(((hu - one.reference)[one.body] ** 2).mean()))


def low_counts(weights: str, slices: int) -> list[list[str]]:
    tuning = [scan(patient, slices) for patient in dose.TUNING]
    rows = []
    for fraction in FRACTIONS:
        poor = [lowered(one, fraction) for one in tuning]

        def error(method: Method, poor: Sequence[tuple[Array, float]] = tuple(poor)) -> float:
            pairs = zip(tuning, poor, strict=True)
            return float(
                np.mean([((method(hu, c.spacing, size) - c.suv)[c.suv > SHOWS] ** 2).mean() for c, (hu, size) in pairs])
            )

        methods = {
            "as it is": as_it_is,
            "Gaussian": tuned(gaussian, (1.0, 2.0, 3.0, 4.0, 6.0), error),
            "total variation": tuned(total_variation, (0.1, 0.2, 0.4, 0.7, 1.0), error),
            "body-prior": learned("low-count-pet", weights, told=True),
        }
        for patient in dose.TEST["limbs"]:
            one = scan(patient, slices)
            given, size = lowered(one, fraction)
            for name, method in methods.items():
                made = method(given, one.spacing, size)
                wrong = made - one.suv
                rest = (one.suv > SHOWS) & ~one.tumour
                errors = [f"{np.sqrt((wrong[region] ** 2).mean()):.3f}" for region in (one.tumour, rest)]
                top = 100 * (made[one.tumour].max() / one.suv[one.tumour].max() - 1)
                mean = 100 * (made[one.tumour].mean() / one.suv[one.tumour].mean() - 1)
                rows.append([patient, f"{fraction:.0%}", name, *errors, f"{mean:+.1f}", f"{top:+.1f}"])
    return rows


def lowered(one: Scan, fraction: float) -> tuple[Array, float]:
    """Return slices of fewer counts, and the root mean square of the noise put in where the body is."""
    rng = np.random.default_rng(4)
    suv = np.stack([low_count_pet(plane, one.spacing, fraction, rng, PETScanner()) for plane in one.suv])
    return suv, float(np.sqrt(((suv - one.suv)[one.suv > SHOWS] ** 2).mean()))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weights", default="body-prior")
    words.add_argument("--slices", type=int, default=6)
    given = words.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    print(shared.table(("region", "views a turn", "method", "PSNR dB", "SSIM"), few_views(given.weights, given.slices)))
    head = ("patient", "counts", "method", "RMSE tumour SUV", "RMSE elsewhere", "tumour mean %", "tumour maximum %")
    print(shared.table(head, low_counts(given.weights, given.slices)))


if __name__ == "__main__":
    main()
