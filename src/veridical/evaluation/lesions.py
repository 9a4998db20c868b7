"""Lesions over all cases: how many are found at how many false alarms, and how well faint ones
stand out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from veridical.metrics.lesion_f1 import Detections, detections
from veridical.metrics.observer import dense_gaussians
from veridical.types import Array, Image

THRESHOLD = 0.1
"""Least probability of a candidate lesion."""
SIDE = 32
"""Side of the patches that the observer sees, in voxels."""
PER_CASE = 3
"""Lesions of a case that are shown to the observer, the largest."""
SIDES = ("candidate", "reference")


def detected(probability: Array, structure: Array, image: Image) -> dict[str, Array]:
    """Return the scores of the lesions found and of the false alarms in one case, as plain
    arrays.
    """
    found = detections(probability, structure, image.geometry.spacing, threshold=THRESHOLD)
    return {"found": found.found, "imagined": found.imagined}


def as_detections(arrays: Mapping[str, Array], side: str) -> Detections:
    """Return what `detected` stored of one side."""
    return Detections(arrays[f"{side}-found"], arrays[f"{side}-imagined"])


def patches(
    images: Mapping[str, Image], structure: Array, counted: Array, seed: int
) -> dict[str, Array]:
    """Return patches around lesions, and as many from where none is near, of each image at the same
    places.

    Args:
        images: side -> image of one grid; the first channel is taken.
        structure: bool `(x, y, z)`, the lesions.
        counted: bool `(x, y, z)`, the foreground; patches without a lesion are centred in it.
        seed: of these places.

    Returns: `SIDE-present` and `SIDE-absent` -> `(n, 32, 32)`; none where the image is smaller or
        holds no lesion.
    """
    half = SIDE // 2
    places = _lesions(structure)
    fits = np.zeros(structure.shape, dtype=bool)
    fits[half:-half, half:-half] = True
    near = ndimage.maximum_filter(structure, size=(SIDE, SIDE, 1))
    free = np.argwhere(fits & counted & ~near)
    places = [place for place in places if fits[place]]
    if not places or not len(free):
        return {}
    rng = np.random.default_rng(seed)
    others = [
        tuple(free[i])
        for i in rng.choice(len(free), size=min(len(places), len(free)), replace=False)
    ]
    found = {}
    for side, image in images.items():
        for what, chosen in (("present", places), ("absent", others)):
            cuts = [
                image.data[0, x - half : x + half, y - half : y + half, z] for x, y, z in chosen
            ]
            found[f"{side}-{what}"] = np.stack(cuts).astype(np.float32)
    return found


def channels() -> Array:
    """Return the observer's channels: four differences of Gaussians from the patch's size to two
    voxels, as few as few lesions allow.
    """
    return dense_gaussians((SIDE, SIDE), count=4, first=0.02, growth=1.8)


def _lesions(structure: Array) -> list[tuple[int, int, int]]:
    """Return the centre of the largest lesions, in the slice where each is largest."""
    labels, count = ndimage.label(structure, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    found: list[tuple[int, int, int]] = []
    for number in _largest(sizes):
        inside = labels == number
        z = int(inside.sum(axis=(0, 1)).argmax())
        x, y = (round(float(c)) for c in np.argwhere(inside[:, :, z]).mean(axis=0))
        found.append((x, y, z))
    return found


def _largest(sizes: Sequence[int] | Array) -> list[int]:
    order = np.argsort(-np.asarray(sizes), kind="stable")[:PER_CASE]
    return [int(i) for i in order if sizes[i] > 0]
