"""Small studies, scans and problems that parts are checked on; all made from one picture, all from
fixed seeds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from veridical import registry
from veridical.errors import MissingExtra
from veridical.models.problem import Problem, prepare, scaled
from veridical.models.problems import problems
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianScan
from veridical.types import Array, Geometry, Image, Measurement, Noise, Study

SIZE = (48, 40)


def disc(size: tuple[int, int] = SIZE) -> Array:
    """Return a bright ellipse with a dark and a bright hole, `(y, x)` in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    image = (
        0.6 * (x**2 + y**2 / 0.8 < 0.7)
        + 0.3 * ((x - 0.2) ** 2 + y**2 < 0.05)
        - 0.4 * ((x + 0.3) ** 2 + y**2 < 0.03)
    )
    return np.asarray(image, np.float32)


def coils(size: tuple[int, int] = SIZE, count: int = 4) -> Array:
    """Return smooth sensitivities with unit root sum of squares, `(coil, y, x)` complex64."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    angles = 2 * np.pi * np.arange(count) / count
    maps = np.stack(
        [np.exp(-((x - np.cos(a)) ** 2) - (y - np.sin(a)) ** 2 + 1j * (a + x * y)) for a in angles]
    )
    return np.asarray(maps / np.sqrt((np.abs(maps) ** 2).sum(0)), np.complex64)


@cache
def measurement() -> Measurement:
    """Return a scan of one slice: four coils, 2x, with a fully sampled centre."""
    rng = np.random.default_rng(0)
    images = coils() * disc()
    kspace = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(images, (-2, -1)), norm="ortho"), (-2, -1)
    )
    noise = rng.normal(0, 0.005, (*kspace.shape, 2)).astype(np.float64).view(np.complex128)[..., 0]
    mask = masks.uniform(SIZE, 2, acs=20)
    data = ((kspace + noise) * mask).astype(np.complex64)[None]
    return Measurement(
        data,
        CartesianScan(mask[None]),
        Noise("gaussian", 0.005),
        Geometry.index((SIZE[1], SIZE[0], 1)),
    )


@cache
def image(*channels: str) -> Image:
    """Return the picture with noise as an image of one slice, `T1w` alone when no channel is
    named.
    """
    names = channels or ("T1w",)
    grid = Geometry((SIZE[1], SIZE[0], 1), np.diag([2.0, 2.0, 3.0, 1.0]))
    noise = np.random.default_rng(0).normal(0, 0.05, (len(names), *SIZE)).astype(np.float32)
    data = np.stack([(1 + 0.2 * k) * disc() + noise[k] for k in range(len(names))])
    return Image(np.ascontiguousarray(data.swapaxes(1, 2)[..., None]), grid, "a.u.", names)


@cache
def label_map() -> Image:
    """Return a ball of white matter in cortex, fluid and bone about a ventricle, in FreeSurfer's
    numbers.
    """
    axis = np.mgrid[-1:1:20j]
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    labels = np.zeros(radius.shape, np.float32)
    for number, size in ((515, 0.9), (24, 0.8), (3, 0.7), (2, 0.6), (4, 0.2)):
        labels[radius < size] = number
    grid = Geometry(labels.shape, np.diag([8.0, 8.0, 8.0, 1.0]))
    return Image(labels[None], grid, "label", ("structures",))


def study(takes: str) -> Study:
    """Return a study that fits a task by what it takes: `image`, `visit`, `raw`, `study` (two
    visits, a year apart) or `nothing` (a label map).
    """
    if takes == "nothing":
        return Study.of(label_map())
    if takes == "raw":
        return Study.of(measurement())
    if takes == "study":
        return Study("patient", {0.0: {"T1w": image()}, 365.0: {"T1w": image()}}, {"age": 61})
    return Study.of(image("T1w", "T2w") if takes == "visit" else image())


@cache
def measured() -> tuple[Problem, ...]:
    """Return one small problem of each kind of operator; operators whose extra is not installed are
    left out.
    """
    scan = measurement()
    mask = torch.from_numpy(np.asarray(scan.operator.mask[0], np.float32))  # type: ignore[attr-defined]
    maps = torch.from_numpy(coils())[None]
    found = [
        prepare(
            torch.from_numpy(scan.data[0].copy()),
            mask,
            torch.cat([maps, torch.zeros_like(maps)]),
            0.005,
        )
    ]
    for name in ("parallel-beam", "fan-beam", "pet", "photoacoustic", "noncartesian-mri"):
        try:
            operator: Any = registry.get("operator", name).example(0)
        except MissingExtra:
            continue
        truth = torch.ones(
            operator.domain, dtype=torch.complex64 if operator.dtype.is_complex else torch.float32
        )
        if name == "noncartesian-mri":
            data = operator.forward(truth)
            found.append(scaled(operator, data, operator.classical(data), 0.01))
            continue
        data = operator.expected(truth) if name == "pet" else operator.forward(truth)
        grid = Geometry.index((operator.domain[-1], operator.domain[-2], 1))
        noise = Noise("poisson") if name == "pet" else Noise("gaussian", 0.01)
        found += problems(Measurement(data.numpy()[None], operator, noise, grid))
    return tuple(found)
