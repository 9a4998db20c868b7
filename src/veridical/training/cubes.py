"""Cubes: whole pieces of a volume in all contrasts that a patient has, to train nets of volumes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical.phantoms.population import Population, rotation
from veridical.phantoms.rendering import render
from veridical.training.slabs import Slab, Volume, normalized, upright
from veridical.types import Array

THIN = 1.5
"""A volume is whole when its slices are no further apart than so many pixels; of thicker ones the truth is not known."""
MARGIN = 2
"""A piece of a volume is so many times larger than the cube that is then cut out of it turned and bent."""


def cohort_cube(cohort: Population, index: int, names: tuple[str, ...], spacing: float) -> Slab:
    """Return the whole head of a digital patient, `images` being `(channel, z, y, x)`.

    Args:
        cohort: of digital patients.
        index: of the patient.
        names: of the contrasts.
        spacing: voxel size, mm.
    """
    head = cohort.volume(index, spacing)
    images = np.stack([normalized(_turned(render(head, name)), name) for name in names])
    patient = f"{type(cohort).__name__.lower()}-{cohort.seed}-{index}"
    return Slab(images, names, patient, "cohort", None, head.site.field, _turned(head.brain), spacing)


def is_whole(volume: Volume) -> bool:
    """Say whether the slices of a volume are known to be as close to each other as its pixels."""
    return volume.gap is not None and volume.pixel is not None and volume.gap <= THIN * volume.pixel


def piece(volume: Volume, size: int, rng: np.random.Generator) -> Slab:
    """Return a random piece of a volume that shows something, `(channel, z, y, x)`, of at most twice `size` along each axis."""
    usable = volume.usable()
    middle = usable[int(rng.integers(len(usable)))]
    shown = np.argwhere((volume.images[:, middle] > 0.1).any(0))
    row, column = shown[int(rng.integers(len(shown)))] if len(shown) else np.array(volume.images.shape[2:]) // 2
    reach = size * MARGIN // 2
    box = [slice(max(0, int(at) - reach), int(at) + reach) for at in (middle, row, column)]
    images = volume.images[(slice(None), *box)].astype(np.float32)
    return Slab(images, volume.names, volume.patient, volume.source, None, volume.field, None, volume.pixel)


def cut(images: Tensor, air: float | Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Cut a cube `(channel, size, size, size)` out of images `(channel, z, y, x)`, turned, scaled and bent at random.

    Args:
        images: of one patient.
        air: what lies outside of them, of all channels or of each, `(channel, 1, 1, 1)`.
        size: of the cube.
        rng: everything random comes from it.
    """
    shape = torch.tensor(images.shape[1:])
    inside = torch.nonzero((images > 0.1).any(0))
    centre = inside[int(rng.integers(len(inside)))].float() if len(inside) else shape / 2
    scale = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, 3))
    turn = torch.from_numpy(rotation(rng.normal(0, 7.0, 3)) * scale).float()
    steps = torch.arange(size) - (size - 1) / 2
    grid = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1) @ turn.T
    bend = torch.from_numpy(rng.standard_normal((1, 3, 4, 4, 4), dtype=np.float32)) * float(rng.uniform(0, 2.0))
    bend = functional.interpolate(bend, (size, size, size), mode="trilinear", align_corners=True)[0].movedim(0, -1)
    where = 2 * (grid + bend + centre) / (shape - 1).clamp_min(1) - 1
    moved = functional.grid_sample(images[None] - air, where.flip(-1)[None], mode="bilinear", align_corners=True)[0] + air
    return moved.flip(-1) if rng.random() < 0.5 else moved


def _turned(image: Array) -> Array:
    """Return an image `(x, y, z)`, RAS+, as `(z, y, x)` with the front of the patient on top."""
    return upright(np.transpose(image, (2, 1, 0)))
