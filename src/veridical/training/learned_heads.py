"""Learn the shapes of heads from label maps and write what `phantoms.head_shapes` draws from.

Made once for the file in the package; on maps of your own:
`python -c "from veridical.training.learned_heads import learn; learn('maps', 'heads.npz')"`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.linalg import logm, polar

from veridical.errors import InputError
from veridical.phantoms.head_distance import at_4mm, distances
from veridical.phantoms.head_labels import Labels
from veridical.phantoms.head_shapes import UNIT
from veridical.phantoms.label_maps import BRAIN, LabelMap, read, structure
from veridical.task import Progress, silent
from veridical.training.head_registration import USUAL, Mapped, RegistrationSchedule, register

HELD_OUT = ("head14", "head15", "head16")
"""Maps that no part of Veridical learns from."""
LEAST = 4
"""Heads below which there is no distribution of shapes."""
DEPTH = 104
"""mm below the middle of the brain that are kept of a map."""


def learn(
    folder: str | Path,
    out: str | Path,
    held_out: Sequence[str] = HELD_OUT,
    schedule: RegistrationSchedule = USUAL,
    progress: Progress = silent,
) -> Path:
    """Learn from the maps `head*.nii.gz` of a folder.

    Args:
        folder: with the maps, see `label_maps`.
        out: the `.npz` file to write.
        held_out: beginnings of names that are left out.
        schedule: of the registration.
        progress: called after every round.

    Raises:
        InputError: there are too few maps.
    """
    paths = sorted(Path(folder).glob("head*.nii.gz"))
    named = [path for path in paths if not path.name.startswith(tuple(held_out))]
    heads = [cropped(read(path)) for path in named]
    if len(heads) < LEAST:
        raise InputError(
            f"{folder} holds {len(heads)} label maps to learn from; expected {LEAST} or more files "
            "head01.nii.gz, head02.nii.gz, ..."
        )
    return write(described(heads, register(heads, schedule, progress)), Path(out))


def cropped(head: LabelMap) -> LabelMap:
    """Return a map without what lies far below the brain, and without empty slices there."""
    shown = np.flatnonzero(head.structures.any((0, 1)))
    cut = max(int(shown[0]), int(np.floor(head.centre[2])) - DEPTH)
    centre = head.centre - np.array([0, 0, cut], np.float32)
    return replace(head, structures=head.structures[:, :, cut:], centre=centre)


def without_strays(structures: Labels) -> Labels:
    """Return a map without what does not touch the head."""
    parts, count = ndimage.label(structures > 0)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.where(parts == sizes.argmax(), structures, 0).astype(np.uint8)


def described(heads: Sequence[LabelMap], mapped: Sequence[Mapped]) -> dict[str, Any]:
    """Return the arrays of the file: see `head_shapes.ShapeModel`."""
    found: dict[str, Any] = {"names": np.array([head.name for head in heads])}
    stretches, affines, volumes, coarse = [], [], [], []
    for head, one in zip(heads, mapped, strict=True):
        turn, stretch = polar(one.affine[:, :3].astype(np.float64))
        centre = head.centre.astype(np.float64)
        found[f"map_{head.name}"] = np.asfortranarray(without_strays(head.structures))
        stretches.append(logm(stretch).real)
        affines.append(np.concatenate([one.affine[:, :3], (one.affine[:, 3] + centre)[:, None]], 1))
        upright = np.concatenate([turn.T, -(turn.T @ centre)[:, None]], 1)
        coarse.append(at_4mm(head.structures, upright.astype(np.float32)))
        ventricle = float((head.structures == structure("lateral ventricle")).sum()) / 1000
        inner = [structure(name) for name in BRAIN - {"fluid around the brain"}]
        volumes.append((ventricle, float(np.isin(head.structures, inner).sum()) / 1000 - ventricle))
    fluid, brain = np.array(volumes).T
    share = np.log(fluid / (brain + fluid))
    between = np.stack([distances(one, coarse) for one in coarse])
    between = np.minimum(between, between.T)
    np.fill_diagonal(between, 0.0)
    return found | {
        "fields": np.rint(np.stack([one.velocity for one in mapped]) / UNIT).astype(np.int16),
        "affines": np.array(affines, np.float32),
        "stretches": np.array(stretches, np.float32),
        "atrophy": np.asarray((share - share.mean()) / share.std(), np.float32),
        "scale": np.array([share.mean(), share.std()], np.float32),
        "brain": np.float32(brain.mean()),
        "coarse": np.stack(coarse),
        "between": np.asarray(between, np.float32),
    }


def write(arrays: dict[str, Any], path: Path) -> Path:
    """Write arrays as an `.npz` file that numpy reads, packed by LZMA; the same arrays give the
    same bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_LZMA
            with packed.open(entry, "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return path
