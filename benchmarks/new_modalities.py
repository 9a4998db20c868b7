"""Modalities that are one operator file each: radial MRI, photoacoustic tomography and plane-wave
ultrasound.

python benchmarks/new_modalities.py [--weights FILE] [--quick]

Adjoint: |<A x, y> - <x, A^H y>| over |A x| |y|, random x and y, five pairs. Each measurement has
white noise of a stated level and is reconstructed by what the operator is usually inverted by
(`classical`), by damped least squares (conjugate gradient, the damping chosen by the truth over
1e-4 to 1 of the squared operator norm), and by ours.

- radial MRI: the trajectory of `kspace_sigpy_tutorial` (96 spokes; every second one is kept), and
  48 golden-angle spokes; simulated: a T1w slice of a held-out patient (STS_042, IXI049) with smooth
  phase, 8 coils, noise 1 % of the centre's mean; coil maps are found from the data. The image is
  the root sum of squares over the coils.
- photoacoustic: a vessel tree and discs, 128 detectors on a ring, and on half of one; noise 2 % of
the largest trace.
- ultrasound: points, an anechoic and a bright cyst in speckle (normal reflectivity), 5 plane waves;
  noise 5 % of the traces' standard deviation. Scores are of the reflectivity; of its envelope, the
  contrast of the dark cyst and the width of a point.

PSNR over the foreground (above a tenth of the peak) and over the whole image, scaled to fit best,
peak the 99th percentile of the foreground (ultrasound: of the magnitude).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from patients import DATA, arguments, ixi, parsed, sarcoma, scores, spread, table, views
from scipy import ndimage, signal
from torch import Tensor

from veridical.models.problems import problems
from veridical.physics.linear import LinearOperator, conjugate_gradient
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan
from veridical.physics.photoacoustic import Photoacoustic
from veridical.physics.ultrasound import Probe, Ultrasound
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array, Geometry, Measurement, Noise

DAMPINGS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
GOLDEN = math.pi * (math.sqrt(5) - 1) / 2
COLUMNS = ("measurement", "adjoint", "method", "PSNR foreground", "PSNR whole", "more", "s")
More = Callable[[Array], str]


@dataclass(frozen=True)
class Case:
    """A measurement whose truth `(y, x)` is known; `operator` is the one that made it."""

    name: str
    truth: Array
    operator: LinearOperator
    measurement: Measurement
    more: More = lambda image: ""


def adjoint_error(operator: LinearOperator) -> float:
    """Return the largest mismatch of the adjoint over five random pairs."""
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(5):
        x = torch.randn(operator.domain, dtype=operator.dtype, generator=generator)
        seen = operator.forward(x)
        y = torch.randn(operator.range, dtype=seen.dtype, generator=generator)
        back, there = operator.adjoint(y).to(torch.complex128), seen.to(torch.complex128)
        gap = (there.conj() * y).sum() - (x.conj() * back).sum()
        worst = max(worst, float(gap.abs() / (there.norm() * y.norm())))
    return worst


def grid(shape: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0)) -> Geometry:
    return Geometry((shape[1], shape[0], 1), np.diag([spacing[1], spacing[0], 1.0, 1.0]))


def coils(shape: tuple[int, int], count: int = 8) -> Tensor:
    """Return smooth coil maps `(1, coil, y, x)` around the object, their sum of squares 1."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    maps = []
    for angle in np.arange(count) * 2 * np.pi / count:
        away = np.hypot(y - 1.2 * np.sin(angle), x - 1.2 * np.cos(angle))
        maps.append(
            np.exp(-0.7 * away**2)
            * np.exp(1j * (angle + 0.7 * y * np.cos(angle) + 0.7 * x * np.sin(angle)))
        )
    stacked = np.stack(maps) / np.sqrt(np.square(np.abs(maps)).sum(0))
    return torch.from_numpy(stacked[None].astype(np.complex64))


def spokes(count: int, size: int) -> Array:
    """Return golden-angle spokes `(count, sample, 2)` in cycles per field of view, twofold
    oversampled.
    """
    radius = np.arange(-size, size) / 2
    angles = np.arange(count) * GOLDEN
    return np.stack([np.sin(angles)[:, None] * radius, np.cos(angles)[:, None] * radius], -1)


def real_spokes(size: int) -> Array:
    """Return every second spoke of the stored trajectory, scaled to the matrix."""
    stored = np.load(DATA / "kspace_sigpy_tutorial/data/projection_coord.npy")[::2, :, ::-1]
    return np.ascontiguousarray(stored / np.abs(stored).max() * (size / 2))


def radial(name: str, image: Array, readouts: Array, seed: int) -> Case:
    """Simulate a multi-coil scan of a slice whose peak is 1."""
    size = max(image.shape)
    pad = [((size - n) // 2, size - n - (size - n) // 2) for n in image.shape]
    truth = np.pad(image, pad)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in truth.shape), indexing="ij")
    phased = torch.from_numpy((truth * np.exp(1j * (0.8 * y + 0.5 * x * y))).astype(np.complex64))[
        None
    ]
    trajectory = torch.from_numpy(readouts.reshape(-1, 2).astype(np.float32)).clamp(
        -size / 2, size / 2 - 1e-3
    )
    operator = NoncartesianMRI(trajectory, coils(truth.shape))
    clean = operator.forward(phased)
    generator = torch.Generator().manual_seed(seed)
    sigma = 0.01 * float(clean.abs()[:, trajectory.norm(dim=1) < 8].mean())
    noisy = clean + sigma * torch.view_as_complex(torch.randn(*clean.shape, 2, generator=generator))
    scan = NoncartesianScan(trajectory.numpy()[None], truth.shape)
    measured = Measurement(
        noisy.numpy()[None], scan, Noise("gaussian", sigma), grid(truth.shape), {"contrast": "T1w"}
    )
    return Case(name, truth, operator, measured)


def vessels(size: int) -> Array:
    """Return a branching tree of vessels and three discs, absorbed energy from 0 to 1, 2 x 2
    averaged.
    """
    fine, rng = np.zeros((2 * size, 2 * size)), np.random.default_rng(3)
    walkers = [(0.8 * size, 1.0 * size, angle, 6.0) for angle in np.linspace(0, 2 * np.pi, 6)[:-1]]
    while walkers:
        y, x, angle, width = walkers.pop()
        for _ in range(int(0.32 * size)):
            angle += rng.normal(0, 0.08)
            y, x = y + np.sin(angle), x + np.cos(angle)
            if np.hypot(y - size, x - size) > 0.9 * size:
                break
            rows, columns = np.ogrid[: 2 * size, : 2 * size]
            fine[np.hypot(rows - y, columns - x) < width / 2] = 0.4 + 0.1 * width
        else:
            if width > 2:
                walkers += [(y, x, angle + turn, width * 0.7) for turn in (-0.5, 0.5)]
    rows, columns = np.ogrid[: 2 * size, : 2 * size]
    for y, x, radius, value in ((0.5, 1.3, 0.1, 0.5), (1.5, 0.8, 0.14, 0.3), (1.4, 1.5, 0.07, 0.8)):
        fine[np.hypot(rows - y * size, columns - x * size) < radius * size] = value
    return (
        ndimage.gaussian_filter(fine, 0.8).reshape(size, 2, size, 2).mean((1, 3)).astype(np.float32)
    )


def photoacoustic(name: str, arc: float, detectors: int, size: int) -> Case:
    """Simulate traces of detectors on an arc of the ring."""
    truth, step = vessels(size), 0.1
    angles = torch.arange(detectors) * (arc / detectors)
    radius = 0.75 * size * step
    samples = math.ceil(2 * radius / (1.5 / 15)) + 8
    operator = Photoacoustic(truth.shape, (step, step), angles, radius, samples, 15.0, 1500.0)
    return real_case(name, truth, operator, 0.02, "largest", (step, step))


def ultrasound(size: int) -> Case:
    """Simulate plane waves on speckle with cysts and points."""
    spacing, rng = (0.1, 0.15), np.random.default_rng(5)
    truth = 0.2 * rng.standard_normal((2 * size, size)).astype(np.float32)
    rows, columns = np.ogrid[: 2 * size, :size]
    dark = (
        np.hypot((rows - 0.7 * size) * spacing[0], (columns - 0.35 * size) * spacing[1])
        < 0.018 * size
    )
    bright = (
        np.hypot((rows - 1.4 * size) * spacing[0], (columns - 0.65 * size) * spacing[1])
        < 0.018 * size
    )
    truth[dark], truth[bright] = 0.0, 3 * truth[bright]
    points = [(int(f * size), int(g * size)) for f, g in ((0.3, 0.7), (1.0, 0.5), (1.7, 0.3))]
    for row, column in points:
        truth[row, column] = 3.0
    probe = Probe(64, 0.3, 5.0, 0.7, 20.0, 1540.0)
    angles = torch.linspace(-0.2, 0.2, 5)
    samples = math.ceil(2.3 * (2 * size * spacing[0] + 5) / 1.54 * 20)
    operator = Ultrasound(truth.shape, spacing, angles, probe, samples, 5.0)

    def more(image: Array) -> str:
        envelope = np.abs(signal.hilbert(image, axis=0))
        level = envelope[np.roll(dark, size // 3, 1)].mean()
        row, column = points[1]
        line = envelope[row, max(0, column - 8) : column + 9]
        width = float((line > 0.5 * line.max()).sum()) * spacing[1]
        return f"cyst {20 * np.log10(envelope[dark].mean() / level):.1f} dB, point {width:.2f} mm"

    return real_case("ultrasound, 5 plane waves", truth, operator, 0.05, "deviation", spacing, more)


def real_case(
    name: str,
    truth: Array,
    operator: LinearOperator,
    share: float,
    of: str,
    spacing: tuple[float, float],
    more: More = Case.more,
) -> Case:
    """Simulate a measurement by a real operator with white noise, a share of the largest value or
    of the deviation.
    """
    clean = operator.forward(torch.from_numpy(truth))
    sigma = share * float(clean.abs().max() if of == "largest" else clean.std())
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    measured = Measurement(
        noisy[None].numpy(), operator, Noise("gaussian", sigma), grid(truth.shape, spacing)
    )
    return Case(name, truth, operator, measured, more)


def least_squares(case: Case) -> Array:
    """Return damped least squares, the damping of least error; for MRI with the coil maps that are
    found from the data.
    """
    problem = next(iter(problems(case.measurement)))
    top, adjoint = problem.operator.largest_singular_value() ** 2, problem.adjoint(problem.data)
    tried = []
    for damping in DAMPINGS:
        x = conjugate_gradient(
            problem.normal, adjoint, len(problem.operator.domain), 30, damping * top
        )
        made = problem.image(x)[0].numpy()
        tried.append((judged(made, case.truth)[0], made))
    return max(tried, key=lambda one: one[0])[1]


def judged(made: Array, truth: Array) -> tuple[float, float]:
    """Return PSNR, foreground and whole, at the scale that fits best; by magnitude where the truth
    has signs.
    """
    fitted = made * float((made * truth).sum() / np.square(made).sum())
    if truth.min() >= 0:
        return scores(fitted, truth)
    peak = float(np.percentile(np.abs(truth), 99))
    error = np.square(fitted - truth, dtype=np.float64)
    return tuple(
        float(10 * np.log10(peak**2 / part.mean()))
        for part in (error[np.abs(truth) > 0.1 * peak], error)
    )


def rows(case: Case, weights: str) -> list[list[str]]:
    """Return the lines of one measurement."""

    def task(model: str) -> Callable[[Case], Array]:
        chosen = Reconstruct(model=model, draws=1, weights=weights if model == "denoiser" else "")
        return lambda one: np.asarray(chosen(one.measurement, seed=0).image.data[0, :, :, 0].T)

    exact, made = f"{adjoint_error(case.operator):.0e}", []
    for name, method in (
        ("classical", task("classical")),
        ("least squares, tuned", least_squares),
        ("ours", task("denoiser")),
    ):
        begun = time.perf_counter()
        image = method(case)
        seconds = time.perf_counter() - begun
        inside, whole = judged(image, case.truth)
        made.append(
            [
                case.name,
                exact,
                name,
                spread([inside]),
                spread([whole]),
                case.more(image),
                f"{seconds:.2f}",
            ]
        )
        exact = ""
    return made


def main() -> None:
    given = parsed(arguments(__doc__))
    size = 96 if given.quick else 160
    limb, head = views(sarcoma()[0], 1)[0], views(ixi()[0], 1)[0]
    cases = [
        radial("radial MRI, 48 golden-angle spokes, head", head, spokes(48, max(head.shape)), 0)
    ]
    if not given.quick:
        cases.append(
            radial("radial MRI, 48 stored spokes, head", head, real_spokes(max(head.shape)), 1)
        )
        cases.append(
            radial("radial MRI, 24 golden-angle spokes, limb", limb, spokes(24, max(limb.shape)), 2)
        )
    cases.append(photoacoustic("photoacoustic, 128 on a ring", 2 * math.pi, 128, size))
    if not given.quick:
        cases.append(photoacoustic("photoacoustic, 32 on a ring", 2 * math.pi, 32, size))
        cases.append(photoacoustic("photoacoustic, 64 on half a ring", math.pi, 64, size))
    cases.append(ultrasound(size))
    print(table(COLUMNS, [row for case in cases for row in rows(case, given.weights)]))


if __name__ == "__main__":
    main()
