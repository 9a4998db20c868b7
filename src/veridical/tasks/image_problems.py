"""Images as measurements: what was measured of the image that is wanted, as a problem that any
model of raw data solves.

Noise: the image itself. A finer grid in plane: the centre of a larger k-space, or means over larger
voxels. Thick slices: means along the slice axis. Blur: a point spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from veridical.errors import InputError, SettingError
from veridical.models.base import MeasurementModel
from veridical.models.problem import Problem, prepare
from veridical.physics.blur import Blur
from veridical.physics.fourier import centre, fft
from veridical.physics.identity import Identity
from veridical.physics.linear import LinearOperator
from veridical.physics.voxel_average import VoxelAverage
from veridical.preprocessing.preprocessing import Preprocessing, slice_axis
from veridical.preprocessing.tissue_level import air_level, bright_level
from veridical.task import Progress
from veridical.tasks import grids, measured
from veridical.tasks.assemble import assemble
from veridical.tasks.empty_slices import ShownSlices, shown
from veridical.types import Array, Geometry, Image, Result

if TYPE_CHECKING:
    from veridical.tasks.enhance import Enhance

AIR_HU = -1000.0
CUBIC = 1.3
"""Voxels whose sides differ by no more than this factor are cut along all three axes."""
UNSURE = {"super-resolve": 0.02, "upsample": 0.01, "isotropic": 0.033}
"""How far an image made finer is from the truth, in network units: denoising ends at this level."""
QUIET = 0.005
"""Noise of an image that is made finer, as a share of its 99th percentile, where none is given."""


@dataclass(frozen=True, eq=False)
class Posed:
    """Problems that an image poses, and how their solutions become an image again.

    Args:
        problems: one for each slice, or one for the volume.
        geometry: of the result.
        along: axis of the image, 0 to 2, that the slices are stacked along.
        shown: which slices show something.
        solved: `(slice)` bool, the slices of the image that the problems are about.
        offset: added to the solution in the units of the image: what its air is, which is made 0.
        count: how many problems there are.
    """

    problems: Iterator[Problem]
    geometry: Geometry
    along: int
    shown: ShownSlices
    solved: Array
    offset: float = 0.0
    count: int = 1

    def restore(self, array: Array) -> Array:
        """Turn `(..., slice, y, x)` into `(..., x, y, z)` of the grid."""
        lead = array.ndim - 3
        turned = np.swapaxes(array, -1, -3)  # (..., x, y, slice)
        return np.moveaxis(turned, -1, lead + self.along)


def enhanced(
    task: Enhance,
    model: MeasurementModel,
    image: Image,
    channel: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Enhance one channel by a model of measurements."""
    posed = pose(task, image, channel)
    job, slices = f"{task.name}-{task.job}", []
    for index, problem in enumerate(posed.problems):
        if not model.accepts(problem.operator):
            raise SettingError(
                f"--model {model.name} does not take --job {task.job}. Leave --model out: the "
                "denoiser does."
            )
        slices.append(measured.solve(model, problem, task.draws, seed + index, job))
        progress("enhancing", index + 1, posed.count)
    solved = measured.stacked(slices, job, channel, image.units_of(channel), posed.offset)
    found = posed.shown.complete(solved, posed.solved, posed.geometry.shape[posed.along])
    return assemble(
        replace(found, facts={**found.facts, "measured": (channel,)}),
        posed.geometry,
        posed.restore,
        model,
    )


def pose(task: Enhance, image: Image, channel: str) -> Posed:
    """Return the problems of a job on a channel."""
    geometry, offset = image.geometry, air(image, channel)
    along = slice_axis(geometry.spacing, geometry.shape)
    every = np.ascontiguousarray(stacked(np.asarray(image[channel], np.float32), along))
    slices = shown(every, channel, offset)
    one_by_one = task.job == "super-resolve"
    solved = ~slices.empty if one_by_one else slices.between
    stack = torch.from_numpy(every[solved] - np.float32(offset))
    if one_by_one:
        scans = (as_scan(part.numpy(), task.noise, task.factor) for part in stack)
        fine = grids.finer(geometry, task.factor, along)
        return Posed(scans, fine, along, slices, solved, offset, len(stack))
    scale = unit(image, channel, stack.numpy(), along)
    if task.job in ("upsample", "isotropic"):
        operator, geometry = finer_grid(task, geometry, stack, along)
        level = UNSURE[task.job]
        problem = volume_problem(operator, stack, task.noise, geometry, scale, level)
    elif task.job == "deblur":
        problem = blurred(task, stack, geometry, along, scale)
    else:
        noise = task.noise or grids.noise_of(image, channel)
        problem = noisy(stack, noise, geometry, scale, task.varying)
    return Posed(iter([problem]), geometry, along, slices, solved, offset)


def unit(image: Image, channel: str, stack: Array, along: int) -> float:
    """Return what one network unit is for `(slice, y, x)` whose air is 0: by inner tissue for MR,
    by what is bright else.
    """
    if image.units_of(channel) in ("HU", "SUV"):
        return bright_level(np.abs(stack))
    spacing = [image.geometry.spacing[axis] for axis in (0, 1, 2) if axis != along]
    return Preprocessing().unit(stack, (image.geometry.spacing[along], spacing[1], spacing[0]))


def air(image: Image, channel: str) -> float:
    """Return what a channel shows where nothing is: -1000 HU, 0, or where an MR image was shifted
    below zero its low end.
    """
    return AIR_HU if image.units_of(channel) == "HU" else air_level(image[channel])


def stacked(data: Array, along: int) -> Array:
    """Return `(slice, y, x)` of `(x, y, z)`, stacked along an axis."""
    return np.moveaxis(data, along, 2).transpose(2, 1, 0)


def cubic(geometry: Geometry) -> bool:
    """Say whether voxels are about as long as they are wide."""
    return geometry.frame != "index" and max(geometry.spacing) / min(geometry.spacing) <= CUBIC


def noisy(stack: Tensor, noise: float, geometry: Geometry, scale: float, varying: bool) -> Problem:
    """Return the problem of a volume under noise of a standard deviation in its own units; `scale`
    is one network unit.
    """
    weights = None
    if varying:
        local = torch.from_numpy(grids.noise_map(stack.numpy()))
        weights = (local.mean() / local).square()
    return Problem(
        Identity(tuple(stack.shape)),
        stack / scale,
        noise / scale,
        stack / scale,
        weights,
        scale=scale,
        support=(stack.abs() > 0.1 * scale).float(),
        stacked=True,
        isotropic=cubic(geometry) and min(stack.shape) > 16,
    )


def finer_grid(
    task: Enhance, geometry: Geometry, stack: Tensor, along: int
) -> tuple[VoxelAverage, Geometry]:
    """Return the operator from the finer grid to the image, and that grid."""
    if task.job == "upsample":
        step = max(2, round(task.factor))
        factors = tuple(1 if axis == along else step for axis in (0, 1, 2))
    else:
        thin = float(
            np.sqrt(np.prod([s for axis, s in enumerate(geometry.spacing) if axis != along]))
        )
        ratio = geometry.spacing[along] / thin
        if ratio <= grids.THIN or geometry.frame == "index":
            raise InputError(
                f"The image has {geometry}; its slices are not thicker than its pixels, or their "
                "spacing is not known. "
                "Nothing is to be made isotropic."
            )
        factors = tuple(max(2, round(ratio)) if axis == along else 1 for axis in (0, 1, 2))
    ordered = stacked_factors(factors, along)
    fine = tuple(n * f for n, f in zip(stack.shape, ordered, strict=True))
    return VoxelAverage(fine, ordered), grids.subdivided(
        geometry, (factors[0], factors[1], factors[2])
    )


def stacked_factors(factors: tuple[int, ...], along: int) -> tuple[int, ...]:
    """Return factors of `(x, y, z)` in the order of `stacked`."""
    rest = [factors[axis] for axis in (0, 1, 2) if axis != along]
    return (factors[along], rest[1], rest[0])


def volume_problem(
    operator: LinearOperator,
    stack: Tensor,
    noise: float,
    geometry: Geometry,
    scale: float,
    level: float | None = None,
) -> Problem:
    """Return the problem of a whole volume under an operator, from its classical solution; `scale`
    is one network unit.
    """
    start = operator.classical(stack)
    sigma = (noise / scale) or QUIET
    return Problem(
        operator, stack / scale, sigma, start / scale, None, level, scale=scale,
        support=(start.abs() > 0.1 * scale).float(), stacked=True,
        isotropic=cubic(geometry) and min(start.shape) > 16,
    )  # fmt: skip


def blurred(task: Enhance, stack: Tensor, geometry: Geometry, along: int, scale: float) -> Problem:
    """Return the problem of a volume that was blurred in plane by a Gaussian of a full width at
    half maximum in mm.
    """
    spacing = [geometry.spacing[axis] for axis in (0, 1, 2) if axis != along]
    across = (geometry.spacing[along], spacing[1], spacing[0])
    operator = Blur(tuple(stack.shape), across, (0.0, task.blur, task.blur))
    return volume_problem(operator, stack, task.noise, geometry, scale)


def as_scan(image: Array, noise: float, factor: float) -> Problem:
    """Turn one slice `(y, x)`, which shows something, into the centre of a k-space `factor` times
    as large.
    """
    kspace = fft(torch.from_numpy(np.array(image, dtype=np.complex64)))[None]
    mask = torch.ones(image.shape)
    sigma = noise or QUIET * bright_level(
        np.abs(image)
    )  # the outer ring of a k-space that was cut short is signal
    size = (round(factor * image.shape[0]), round(factor * image.shape[1]))
    kept = (size[0] * size[1] / mask.numel()) ** 0.5
    kspace, mask, sigma = kept * centre(kspace, size), centre(mask, size), kept * sigma
    prepared = prepare(kspace, mask, torch.ones(1, 1, *mask.shape, dtype=torch.complex64), sigma)
    return replace(prepared, level=max(prepared.sigma, UNSURE["super-resolve"]))
