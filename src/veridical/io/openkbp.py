"""OpenKBP patients: CT, structures, where dose may be, and the planned dose where it is known
(Babier et al., Medical Physics 2021, 10.1002/mp.14845).

Two forms are read: the folder of the challenge, with a `.csv` of voxel indices for each of `ct`,
`dose`, `possible_dose_mask`, `voxel_dimensions` and the structures on a grid of 128 x 128 x 128;
and one cropped `.npz` with `ct`, `structures`, `possible`, `shape`, `corner`, `voxel_mm` and maybe
`dose`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError
from veridical.io.guards import BUDGET, within
from veridical.physics.prescriptions import ALLOWED, STRUCTURES
from veridical.types import Array, Geometry, Image

SIDE = 128
NEEDED = {"ct", "structures", "possible", "shape", "voxel_mm"}
OFFSET, HU_STEP, DOSE_STEP = 1024, 16, 0.1
"""HU that a stored CT of 0 means less than water, HU a step, Gy a step."""


def recognises(path: Path) -> bool:
    """Say whether this is a folder of the challenge, or an archive with its arrays."""
    if path.is_dir():
        return (path / "ct.csv").is_file() and (path / "voxel_dimensions.csv").is_file()
    if path.suffix.lower() != ".npz":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in NEEDED} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def openkbp(path: str | Path, *, budget: int = BUDGET) -> Image:
    """Read a patient.

    Args:
        path: `pt_N.npz`, or the folder with the `.csv` files.
        budget: bytes of memory that the read may take.

    Returns:
        Channels `CT` (HU), one mask for each structure that is outlined, `possible_dose`, and
        `dose` (Gy) where it is known.

    Raises:
        FormatError: a file is damaged, or its arrays do not fit each other.
    """
    file = Path(path)
    try:
        parts = _of_folder(file, budget) if file.is_dir() else _of_archive(file, budget)
        return _image(*parts)
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{file} is not a whole OpenKBP patient ({error}). Expected CT, structures, where dose "
            "may be, and voxel size; copy it again."
        ) from error


def _image(volumes: Mapping[str, Array], spacing: Array, corner: Array) -> Image:
    """Put volumes `(y, x, z)`, to the back, the left and the feet, onto a grid in RAS."""
    if spacing.shape != (3,) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"a voxel size of {spacing.tolist()} mm; expected three above 0")
    turned = {name: volume.transpose(1, 0, 2) for name, volume in volumes.items()}
    size = np.array([spacing[1], spacing[0], spacing[2]], float)
    first = np.array([corner[1], corner[0], corner[2]], float)
    affine = np.diag([*-size, 1.0])
    affine[:3, 3] = -size * (first - (SIDE - 1) / 2)
    units = {name: {"CT": "HU", "dose": "Gy"}.get(name, "label") for name in turned}
    x, y, z = turned["CT"].shape
    return Image(
        np.stack([volume.astype(np.float32) for volume in turned.values()]),
        Geometry((x, y, z), affine),
        "mixed",
        tuple(turned),
        {"units": units, "modality": "OpenKBP"},
    )


def _of_archive(file: Path, budget: int) -> tuple[dict[str, Array], Array, Array]:
    with np.load(file, allow_pickle=False) as stored:
        shape = tuple(int(n) for n in stored["shape"])
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a shape of {shape}; expected three numbers above 0")
        within(int(np.prod(shape)) * 4 * (len(STRUCTURES) + 3), budget, file)
        ct, bits = stored["ct"], stored["structures"]
        if ct.shape != shape or bits.shape != shape:
            raise ValueError(f"CT {ct.shape} and structures {bits.shape} on a grid {shape}")
        found = {"CT": ct.astype(np.float32) * HU_STEP - OFFSET}
        masks = {name: (bits >> place) & 1 for place, name in enumerate(STRUCTURES)}
        found |= {name: mask for name, mask in masks.items() if mask.any()}
        count = int(np.prod(shape))
        found[ALLOWED] = np.unpackbits(stored["possible"])[:count].reshape(shape)
        if "dose" in stored:
            found["dose"] = stored["dose"].reshape(shape).astype(np.float32) * DOSE_STEP
        corner = stored["corner"] if "corner" in stored else np.zeros(3)
        return found, stored["voxel_mm"], corner


def _of_folder(folder: Path, budget: int) -> tuple[dict[str, Array], Array, Array]:
    shape = (SIDE, SIDE, SIDE)
    within(SIDE**3 * 4 * (len(STRUCTURES) + 3), budget, folder)
    found: dict[str, Array] = {"CT": _sparse(folder / "ct.csv") - OFFSET}
    for name in STRUCTURES:
        if (folder / f"{name}.csv").is_file():
            found[name] = _sparse(folder / f"{name}.csv", mask=True)
    found[ALLOWED] = _sparse(folder / "possible_dose_mask.csv", mask=True)
    if (folder / "dose.csv").is_file():
        found["dose"] = _sparse(folder / "dose.csv")
    spacing = np.loadtxt(folder / "voxel_dimensions.csv")
    return {name: one.reshape(shape) for name, one in found.items()}, spacing, np.zeros(3)


def _sparse(file: Path, mask: bool = False) -> Array:
    """Return the voxels that a table of `index,value` lists; the header's first column is empty."""
    columns = (0,) if mask else (0, 1)  # the value of a mask is empty
    rows: Any = np.loadtxt(file, delimiter=",", skiprows=1, usecols=columns, ndmin=2)
    found = np.zeros(SIDE**3, np.float32)
    places = rows[:, 0].astype(np.int64)
    if len(places) and (places.min() < 0 or places.max() >= found.size):
        raise ValueError(f"{file.name} names voxels outside of {SIDE} x {SIDE} x {SIDE}")
    found[places] = 1 if mask else rows[:, 1]
    return found
