"""A finer grid on patients who were not trained on: in plane from k-space or from pixel means, and
through plane.

python benchmarks/super_resolution.py [--weights FILE] [--quick] [--only k-space]

1. k-space: the centre of k-space of a slice is kept, 1/2 or 1/4 of each axis (`super-resolve`),
against zero filling.
2. pixels: means of 2 x 2 pixels (`upsample`), against the cubic spline alone and with
back-projection until it fits the means.
3. slices: means of 4 slices along z of isotropic volumes (`isotropic`), against linear
   interpolation, cubic spline, and cubic spline with back-projection.

The truth is real, so real parts are taken. PSNR over the foreground (above a tenth of the peak) and
over the whole image; peak is the 99th percentile of the foreground of the truth. Means over the
slices of a patient, mean and SD over patients (of tcga: over contrasts); gain is over the strongest
rival of the row's group. Nothing is tuned: no noise is added, and the classical methods have no
setting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from patients import (
    Volume,
    arguments,
    ixi,
    parsed,
    sarcoma,
    say,
    scores,
    single,
    spread,
    table,
    tcga,
    views,
)
from scipy import ndimage

from veridical.physics.fourier import centre, fft, ifft
from veridical.tasks.enhance import Enhance
from veridical.types import Array, Image

COLUMNS = (
    "job",
    "set",
    "patients",
    "method",
    "PSNR foreground",
    "PSNR whole",
    "gain dB",
    "s a case",
)
Method = Callable[[Image], Array]


@dataclass
class Group:
    """Results of one job on one set: method -> patient -> scores."""

    job: str
    name: str
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = field(default_factory=dict)

    def add(self, method: str, patient: str, made: Array, truth: Array, seconds: float) -> None:
        self.found.setdefault(method, {}).setdefault(patient, []).append(
            (*scores(made, truth), seconds)
        )

    def rows(self) -> list[list[str]]:
        means = {
            name: np.array([np.mean(one, 0) for one in by.values()])
            for name, by in self.found.items()
        }
        rival = max(
            (m for name, m in means.items() if name != "ours"), key=lambda m: float(m[:, 0].mean())
        )
        made = []
        for name, values in means.items():
            gain = f"{(values[:, 0] - rival[:, 0]).mean():+.2f}" if name == "ours" else ""
            cells = [
                self.job,
                self.name,
                str(len(values)),
                name,
                spread(values[:, 0]),
                spread(values[:, 1]),
            ]
            made.append([*cells, gain, f"{values[:, 2].mean():.2f}"])
        return made


def enhance(job: str, model: str, weights: str, factor: float = 2.0) -> Method:
    """Return a job of `enhance` as `(x, y, z)` of the first channel."""
    task = Enhance(job=job, model=model, draws=1, factor=factor, weights="" if model else weights)  # type: ignore[arg-type]
    return lambda image: np.asarray(task(image, seed=0).image.data[0])


def low_pass(truth: Array, factor: int) -> tuple[Array, Array]:
    """Return a slice `(y, x)` of which the centre of k-space was kept, on its own coarse grid, and
    zero-filled.
    """
    spectrum = fft(torch.from_numpy(truth).to(torch.complex64))
    size = (truth.shape[0] // factor, truth.shape[1] // factor)
    kept = centre(spectrum, size)
    coarse = ifft(kept) * (size[0] * size[1] / truth.size) ** 0.5
    filled = ifft(centre(kept, truth.shape))
    return coarse.real.contiguous().numpy(), filled.real.contiguous().numpy()


def from_kspace(volumes: Sequence[Volume], factor: int, slices: int, weights: str) -> Group:
    """Keep the centre of k-space of slices."""
    group = Group(f"k-space, {factor}x", volumes[0].group)
    for volume in volumes:
        for whole in views(volume, slices):
            rows, columns = (n - n % (2 * factor) for n in whole.shape)
            truth = np.ascontiguousarray(whole[:rows, :columns])
            coarse, filled = low_pass(truth, factor)
            group.add("zero filling", volume.patient, filled, truth, 0.0)
            begun = time.perf_counter()
            made = enhance("super-resolve", "", weights, factor)(single(coarse.T[:, :, None]))[
                :, :, 0
            ].T
            group.add("ours", volume.patient, made, truth, time.perf_counter() - begun)
    return group


def compared(
    group: Group, patient: str, seen: Image, truth: Array, methods: dict[str, Method]
) -> None:
    """Make the finer image by each method."""
    for name, method in methods.items():
        begun = time.perf_counter()
        made = method(seen)
        group.add(name, patient, made, truth, time.perf_counter() - begun)


def from_pixels(volumes: Sequence[Volume], slices: int, weights: str) -> Group:
    """Average 2 x 2 pixels of slices."""
    group = Group("pixels, 2x", volumes[0].group)
    methods = {
        "cubic spline": lambda image: ndimage.zoom(
            image.data[0], (2, 2, 1), order=3, mode="nearest", grid_mode=True
        ),
        "spline with back-projection": enhance("upsample", "classical", weights),
        "ours": enhance("upsample", "", weights),
    }
    for volume in volumes:
        for whole in views(volume, slices):
            rows, columns = (n - n % 2 for n in whole.shape)
            truth = np.ascontiguousarray(whole[:rows, :columns].T[:, :, None])
            means = truth.reshape(columns // 2, 2, rows // 2, 2, 1).mean((1, 3))
            compared(group, volume.patient, single(means, (2.0, 2.0, 5.0)), truth, methods)
    return group


def from_slices(volumes: Sequence[Volume], weights: str, thick: int = 4, crop: int = 0) -> Group:
    """Average slices of isotropic volumes along z."""
    group = Group(f"slices, {thick}x", volumes[0].group)
    methods = {
        "linear": lambda image: ndimage.zoom(
            image.data[0], (1, 1, thick), order=1, mode="nearest", grid_mode=True
        ),
        "cubic spline": lambda image: ndimage.zoom(
            image.data[0], (1, 1, thick), order=3, mode="nearest", grid_mode=True
        ),
        "spline with back-projection": enhance("isotropic", "classical", weights),
        "ours": enhance("isotropic", "", weights),
    }
    for volume in volumes:
        x, y, z = volume.data.shape
        low, high = (z // 2 - crop // 2, z // 2 + crop // 2) if crop else (0, z - z % thick)
        truth = np.maximum(volume.data[:, :, low:high], 0)
        means = truth.reshape(x, y, -1, thick).mean(3)
        compared(group, volume.patient, single(means, (1.0, 1.0, float(thick))), truth, methods)
    return group


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=("k-space", "pixels", "slices"))
    given = parsed(parser)
    slices, sets = (1, [ixi()[:1]]) if given.quick else (6, [ixi(), sarcoma(), tcga()])
    groups = []
    for volumes in sets:
        for factor in (2, 4) if given.only in (None, "k-space") else ():
            groups.append(from_kspace(volumes, factor, slices, given.weights))
        if given.only in (None, "pixels"):
            groups.append(from_pixels(volumes, slices, given.weights))
        say(volumes[0].group)
    if given.only in (None, "slices"):
        groups.append(
            from_slices(
                ixi()[:1] if given.quick else ixi(), given.weights, crop=32 if given.quick else 0
            )
        )
    print(table(COLUMNS, [row for group in groups for row in group.rows()]))


if __name__ == "__main__":
    main()
