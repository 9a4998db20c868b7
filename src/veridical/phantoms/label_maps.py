"""Label maps of real whole heads at 1 mm: which structure is which tissue.

Sixteen maps with FreeSurfer's labels in the brain and further ones outside of it are public
(Billot et al., Medical Image Analysis 2023, 10.1016/j.media.2023.102789). Maps of other heads are
taken too, if they hold the same ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import FormatError, InputError
from veridical.physics.tissue import TissueClass as T

RANKS = 54
"""A map holds ranks 0 to 53; the table that comes with the maps says which label each is."""
SKIN = 2
"""Voxels of the outer layer of the head that are skin; below them is fat."""
NEAR = 12
"""Voxels from a ventricle up to which white matter is periventricular."""

STRUCTURES: dict[str, tuple[T, tuple[int, ...]]] = {
    "background": (T.AIR, (0,)),
    "white matter": (T.WHITE, (1, 21, 39, 40)),
    "cortex": (T.GREY, (2, 22)),
    "lateral ventricle": (T.CSF, (3, 4, 23, 24, 37)),
    "cerebellar white matter": (T.WHITE, (5, 25)),
    "cerebellar cortex": (T.GREY, (6, 26)),
    "thalamus": (T.DEEP_GREY, (7, 27)),
    "caudate": (T.DEEP_GREY, (8, 28, 18, 34)),
    "putamen": (T.DEEP_GREY, (9, 29, 41, 42)),
    "pallidum": (T.DEEP_GREY, (10, 30)),
    "third and fourth ventricle": (T.CSF, (11, 12)),
    "brain stem": (T.WHITE, (13, 19, 35, 38)),
    "hippocampus and amygdala": (T.GREY, (14, 15, 31, 32)),
    "fluid around the brain": (T.CSF, (16,)),
    "lesion": (T.MS_LESION, (17, 33)),
    "vessel": (T.BLOOD, (20, 36, 43)),
    "sinus and dura": (T.BLOOD, (50,)),
    "eye": (T.VITREOUS, (44,)),
    "muscle": (T.MUSCLE, (45, 46, 53)),
    "mucosa": (T.SKIN, (47,)),
    "fat": (T.FAT, (48,)),
    "spinal cord": (T.WHITE, (49,)),
    "compact bone": (T.BONE, (51,)),
    "spongy bone": (T.MARROW, (52,)),
    "skin": (T.SKIN, ()),
}
"""Structure -> its tissue, and the ranks of the maps that show it."""
NAMES = tuple(STRUCTURES)
BRAIN = frozenset(NAMES[1:16])
"""Structures inside of the dura; what is left of a head whose skull was removed."""
DEVIATION = {
    "thalamus": 0.5,
    "pallidum": -1.5,
    "brain stem": 1.2,
    "hippocampus and amygdala": 0.6,
    "cerebellar cortex": -0.5,
    "spinal cord": 1.0,
}
"""How relaxation times of a structure differ from its tissue's, in the tissue's own texture: the
pallidum holds iron, the thalamus and the brain stem hold grey and white matter.
"""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A head.

    Args:
        structures: `(x, y, z)` uint8, position in `NAMES`, 1 mm, RAS+.
        centre: `(3,)` voxels, middle of the brain.
        periventricular: `(n, 3)` mm from the centre, white matter close to a ventricle.
        white: `(n, 3)` mm from the centre, white matter.
        name: of the file.
    """

    structures: NDArray[np.uint8]
    centre: NDArray[np.float32]
    periventricular: NDArray[np.float32]
    white: NDArray[np.float32]
    name: str


def structure(name: str) -> int:
    """Return the position of a structure in `NAMES`."""
    return NAMES.index(name)


@lru_cache(maxsize=2)
def label_maps(folder: str) -> tuple[LabelMap, ...]:
    """Read all maps of a folder, `head*.nii.gz`.

    Raises:
        InputError: there is none.
        FormatError: one is not a map of ranks at 1 mm.
    """
    paths = sorted(Path(folder).glob("head*.nii.gz"))
    if not paths:
        raise InputError(
            f"{folder} holds no label maps; expected files head01.nii.gz, head02.nii.gz, ... Check "
            "the path."
        )
    return tuple(read(path) for path in paths)


def read(path: Path) -> LabelMap:
    """Read one map.

    Raises:
        FormatError: it is not at 1 mm, or holds other values than ranks.
    """
    image = nib.as_closest_canonical(nib.load(path))
    ranks = np.asarray(image.dataobj)
    spacing = tuple(round(float(size), 3) for size in image.header.get_zooms()[:3])
    known = np.isin(ranks, np.arange(RANKS)).all()
    if ranks.ndim != 3 or not np.allclose(spacing, 1.0, atol=0.05) or not known:
        raise FormatError(
            f"{path.name}: shape {ranks.shape}, spacing {spacing} mm, values {ranks.min():g} to "
            f"{ranks.max():g}; expected a three-dimensional map of ranks 0 to {RANKS - 1} at 1 mm. "
            "Resample it by the nearest neighbour, and number its structures as the table does."
        )
    return label_map(np.asarray(ranks, np.uint8), path.name.split(".")[0])


def label_map(ranks: NDArray[np.uint8], name: str) -> LabelMap:
    """Turn ranks into structures. The outer layer of the head is skin above fat; the maps call
    both one.
    """
    table = np.zeros(RANKS, np.uint8)
    for position, (_, members) in enumerate(STRUCTURES.values()):
        table[list(members)] = position
    found = table[ranks]
    below = ndimage.binary_erosion(_enclosed(found > 0), iterations=SKIN)
    found[(found == structure("fat")) & ~below] = structure("skin")
    brain = np.isin(found, [structure(n) for n in BRAIN - {"fluid around the brain"}])
    white = found == structure("white matter")
    ventricle = found == structure("lateral ventricle")
    near = white & ndimage.binary_dilation(ventricle, iterations=NEAR)
    middle = np.argwhere(brain).mean(0).astype(np.float32)
    places = [np.argwhere(w)[::29].astype(np.float32) - middle for w in (near, white)]
    return LabelMap(found, middle, places[0], places[1], name)


def _enclosed(shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the head with the air inside it: a slice of the neck is open below, so slice by
    slice.
    """
    return np.stack([ndimage.binary_fill_holes(s) for s in np.moveaxis(shown, 2, 0)], 2)
