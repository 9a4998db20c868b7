"""Enhancement by solvers of MR scans: the image as fully sampled k-space, or as the centre of a larger one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from veridical.errors import InputError
from veridical.models import weights
from veridical.models.prepared_scan import Scan, prepare
from veridical.physics.fourier import centre, fft
from veridical.physics.noise import estimate_sigma
from veridical.task import Progress
from veridical.tasks import slicewise
from veridical.tasks.reconstruct import solver
from veridical.types import Array, Derived, Image

if TYPE_CHECKING:
    from veridical.tasks.enhance import Enhance


def enhanced(task: Enhance, image: Image, seed: int, progress: Progress) -> Derived:
    """Denoise or super-resolve an image of one channel, slice by slice, by a solver of MR scans."""
    from veridical.tasks.enhance import finer

    if len(image.channels) != 1:
        raise InputError(f"{task.model} enhances images of one channel; this one has {', '.join(image.channels)}.")
    model = solver(task.model, task.weights, steps=task.steps, device=task.device)
    total, name = image.geometry.shape[2], getattr(model, "weights", "")
    card = weights.card(name) if name else {}
    job = f"{task.name}-{task.job}"
    factor = task.factor if task.job == "super-resolve" else 1.0
    solved = []
    for index in range(total):
        scan = as_scan(image.data[0, :, :, index].T, task.noise, factor)
        solved.append(slicewise.solve(model, scan, task.draws, seed + index, image.channels[0]))
        progress("enhancing slices", index + 1, total)
    grid = image.geometry if factor == 1 else finer(image.geometry, factor)
    return slicewise.assemble(solved, model, card, grid, job, image.channels[0], image.units)


def as_scan(image: Array, noise: float, factor: float) -> Scan:
    """Turn one slice `(y, x)` into a prepared scan: fully sampled, or the centre of a k-space `factor` times as large.

    Raises:
        InputError: the slice is all zero.
    """
    if not np.abs(image).max() > 0:
        raise InputError("A slice of the image is all zero. Crop the volume to the slices that show something.")
    kspace = fft(torch.from_numpy(np.array(image, dtype=np.complex64)))[None]
    mask = torch.ones(image.shape)
    sigma = noise or estimate_sigma(kspace, mask) * (1 if np.iscomplexobj(image) else 2**0.5)
    if factor != 1:
        size = (round(factor * image.shape[0]), round(factor * image.shape[1]))
        kept = (size[0] * size[1] / mask.numel()) ** 0.5
        kspace, mask, sigma = kept * centre(kspace, size), centre(mask, size), kept * sigma
    maps = torch.zeros(2, 1, *mask.shape, dtype=torch.complex64)
    maps[0] = 1
    return prepare(kspace, mask, maps, sigma)
