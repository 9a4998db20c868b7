"""Patches cut out of slabs: turned, scaled, bent and mirrored at random, under slightly other
contrasts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical.preprocessing.preprocessing import UNITS, Preprocessing
from veridical.training.prepared_visits import Slab
from veridical.types import Array

AT_LESION = 0.2
"""Share of patches about a pixel of a lesion, where there is one: lesions are few, and what matters
most.
"""
AS_IT_IS = 0.4
"""Share of patches that keep pixels and noise as they were: neither turned, scaled nor bent, all of
which smooth.
"""
ZOOM, STRETCH, TURN, BEND = 0.18, 0.05, 0.12, 2.5
"""Standard deviations of the log of zoom and stretch and of the angle in radians; most pixels that
a patch is bent by.
"""
GAMMA, GAIN = 0.18, 0.05
"""Standard deviations of the logs of gamma and brightness: what another scanner of the same
sequence would have done.
"""


def patch(slab: Slab, size: int, preprocessing: Preprocessing, rng: np.random.Generator) -> Slab:
    """Cut a patch `(size, size)` out of a slab.

    Args:
        slab: at least as large as a few pixels; what lies outside of it is air.
        size: of the patch.
        preprocessing: says what air is and where the body is.
        rng: everything random comes from it.
    """
    body = np.max(
        [preprocessing.foreground(n, i[0]) for n, i in zip(slab.names, slab.images, strict=True)], 0
    )
    inside = np.argwhere(_wanted(slab, body, rng))
    rows, columns = slab.images.shape[-2:]
    centre = (
        inside[int(rng.integers(len(inside)))].astype(float)
        if len(inside)
        else np.array([rows / 2, columns / 2])
    )
    if rng.random() < AS_IT_IS:
        grid = _grid(
            (rows, columns), size, np.floor(centre) + (size - 1) % 2 / 2, (1.0, 1.0), 0.0, None
        )
    else:
        zoom, stretch = np.exp(rng.normal(0, ZOOM)), np.exp(rng.normal(0, STRETCH))
        grid = _grid(
            (rows, columns),
            size,
            centre,
            (zoom * stretch, zoom / stretch),
            rng.normal(0, TURN),
            rng,
        )
    mirrored = bool(rng.random() < 0.5)
    found = _cut(slab, grid, mirrored, preprocessing, rng)
    if slab.elsewhere is None:
        return found
    return replace(found, elsewhere=_cut(slab.elsewhere, grid, mirrored, preprocessing, rng))


def _cut(
    slab: Slab, grid: Tensor, mirrored: bool, preprocessing: Preprocessing, rng: np.random.Generator
) -> Slab:
    """Return what of a slab a grid shows, tinted at random."""
    air = np.array([preprocessing.air(name) for name in slab.names], np.float32)[
        :, None, None, None
    ]
    images = _sampled(slab.images - air, grid) + air
    masks = {
        name: _sampled(mask[None, None].astype(np.float32), grid)[0, 0] > 0.5
        for name, mask in slab.masks.items()
    }
    if mirrored:
        images, masks = images[..., ::-1], {name: mask[..., ::-1] for name, mask in masks.items()}
    tints = {name: (np.exp(rng.normal(0, GAMMA)), np.exp(rng.normal(0, GAIN)))
             for name in slab.names if name not in UNITS}  # fmt: skip
    tinted = [_tinted(image, tints.get(n)) for image, n in zip(images, slab.names, strict=True)]
    styles = {name: _tinted(style, tints.get(name)) for name, style in slab.styles.items()}
    return replace(slab, images=np.stack(tinted), masks=masks, styles=styles)


def _wanted(slab: Slab, body: Array, rng: np.random.Generator) -> Array:
    """Return where the middle of a patch may lie: in a lesion now and then, else in the body."""
    lesions = [mask for mask in slab.masks.values() if mask.any()]
    if not lesions or rng.random() > AT_LESION:
        return body
    return np.asarray(np.max(lesions, 0) > 0)


def _sampled(images: Array, grid: Tensor) -> Array:
    """Sample `(contrast, slice, y, x)` linearly at `(size, size, 2)`; zero outside."""
    flat = torch.from_numpy(
        np.ascontiguousarray(images.reshape(1, -1, *images.shape[-2:]), np.float32)
    )
    moved = functional.grid_sample(flat, grid[None], mode="bilinear", align_corners=True)
    return np.asarray(moved.numpy().reshape(*images.shape[:2], *moved.shape[-2:]))


def _grid(
    shape: tuple[int, int],
    size: int,
    centre: Array,
    zoom: tuple[float, float],
    angle: float,
    rng: np.random.Generator | None,
) -> Tensor:
    """Return where a patch is sampled, `(size, size, 2)`, for `grid_sample`; bent at random where
    there is a generator.
    """
    steps = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(steps * zoom[0], steps * zoom[1], indexing="ij")
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    bend = torch.zeros(2, size, size)
    if rng is not None:
        coarse = torch.from_numpy(rng.standard_normal((1, 2, 5, 5), dtype=np.float32)) * float(
            rng.uniform(0, BEND)
        )
        bend = functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)[0]
    where_y = cos * y - sin * x + centre[0] + bend[0]
    where_x = sin * y + cos * x + centre[1] + bend[1]
    return torch.stack(
        [2 * where_x / (shape[1] - 1) - 1, 2 * where_y / (shape[0] - 1) - 1], -1
    ).float()


def _tinted(images: Array, tint: tuple[float, float] | None) -> Array:
    """Change contrast and brightness mildly, by gamma and gain; the inner tissue keeps its place.
    Absolute units have no tint.
    """
    if tint is None:
        return images
    gamma, gain = tint
    tissue = Preprocessing().tissue
    return np.asarray(gain * tissue * (np.clip(images, 0, None) / tissue) ** gamma, np.float32)
