"""Motion fields between the frames of a sequence: from the frame in the middle of the motion to all
others.

Symmetric-forces demons of SimpleITK, coarse to fine (Vercauteren et al., NeuroImage 2009,
10.1016/j.neuroimage.2008.10.040). Fields of one body that moves again and again are alike, so they
are projected onto their few principal components, which takes most of the noise away, and refined
from there against the average of all frames brought back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError
from veridical.models.warped import inverse, warped
from veridical.task import Progress, silent

Floats = NDArray[np.float32]

LEVELS = ((4, 60), (2, 40), (1, 20))
"""Factors by which the grid is coarser, and steps on it."""
AGAIN = ((2, 30), (1, 20))
"""The same for the refinement."""
SMOOTH = 2.5
"""Standard deviation in voxels of the Gaussian that smooths a field after every step."""
LEAST = 5
"""Frames from which a motion can be learned."""
COARSEST = 16
"""Voxels across which a grid keeps at least."""


def middle_frame(frames: Floats) -> int:
    """Return the frame that differs least from all others, `(t, x, y, z)`."""
    flat = frames.reshape(len(frames), -1).astype(np.float64)
    products = flat @ flat.T
    square = np.diag(products)
    distances = square[:, None] + square[None] - 2 * products
    return int(np.sqrt(np.maximum(distances, 0)).mean(1).argmin())


def fields_to(
    fixed: Sequence[Floats] | Floats, moving: Floats, starts: Floats | None = None,
    progress: Progress = silent,
) -> Floats:  # fmt: skip
    """Return where each voxel of some frames comes from in another, `(t, 3, x, y, z)` voxels.

    Args:
        fixed: frames `(t, x, y, z)`.
        moving: `(x, y, z)`, which is warped to look like each.
        starts: fields to begin from; None: none, and from a coarse grid.
        progress: told after every frame.
    """
    import SimpleITK as sitk

    kept = [axis for axis, size in enumerate(moving.shape) if size > 1]
    if len(kept) < 2:
        raise InputError(
            f"Frames of {moving.shape} voxels were given; expected slices or volumes. Give images."
        )
    unit = 1 / max(float(np.percentile(np.abs(moving), 99)), 1e-12)
    found = np.zeros((len(fixed), 3, *moving.shape), np.float32)
    for place, frame in enumerate(fixed):
        start = None if starts is None else starts[place][kept]
        pair = [np.squeeze(one * unit) for one in (frame, moving)]
        flow = _demons(sitk, pair[0], pair[1], start)
        found[place][kept] = flow.reshape(len(kept), *moving.shape)
        progress("learning motion", place + 1, len(fixed))
    return found


def average_at_rest(frames: Floats, fields: Floats) -> Floats:
    """Return the median of all frames brought back to the template, `(x, y, z)`."""
    back = [warped(frame, inverse(field)) for frame, field in zip(frames, fields, strict=True)]
    return np.asarray(np.median(back, 0), np.float32)


def _demons(sitk: Any, fixed: Floats, moving: Floats, start: Floats | None) -> Floats:
    """Return the field `(axis, ...)` in voxels."""
    images = [sitk.GetImageFromArray(np.ascontiguousarray(one)) for one in (fixed, moving)]
    field = None
    if start is not None:
        last = np.moveaxis(np.asarray(start, np.float64), 0, -1).reshape(*fixed.shape, -1)
        field = sitk.GetImageFromArray(np.ascontiguousarray(last[..., ::-1]), isVector=True)
    for factor, steps in LEVELS if start is None else AGAIN:
        shrink = [max(1, min(factor, size // COARSEST)) for size in fixed.shape[::-1]]
        pair = [
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(one, max(0.5 * factor, 0.7)), shrink)
            for one in images
        ]
        method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        method.SetNumberOfThreads(1)
        method.SetNumberOfIterations(steps)
        method.SetSmoothDisplacementField(True)
        method.SetStandardDeviations(SMOOTH)
        field = (
            method.Execute(*pair)
            if field is None
            else method.Execute(*pair, sitk.Resample(field, pair[0]))
        )
    whole = sitk.GetArrayFromImage(sitk.Resample(field, images[0]))
    return np.ascontiguousarray(np.moveaxis(whole[..., ::-1], -1, 0), np.float32)
