"""One door for all files: `read` looks at the content to find the reader, `write` makes a NIfTI."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.io.guards import BUDGET
from veridical.io.nifti import write_nifti
from veridical.registry import entries
from veridical.types import Array, Image, Measurement


def read(
    path: str | Path,
    *,
    axes: str | None = None,
    mask: str | Path | Array | None = None,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    slices: tuple[int, int] | None = None,
    geometry: str | Path | None = None,
    trajectory: str | Path | None = None,
    budget: int = BUDGET,
) -> Image | Measurement:
    """Read any file or folder that a reader recognises by its content.

    Args:
        path: NIfTI, DICOM file or folder with one series, fastMRI or ISMRMRD HDF5, BART `.cfl`/`.hdr`, `.npy` or `.npz`.
        axes: names of the axes of a bare array, e.g. `coil,y,x`; needed for `.npy` without geometry, possible for BART.
        mask: which samples of raw data were taken: a file or an array; otherwise found from exact zeros.
        contrast: e.g. `T1w`, `FLAIR`; one a channel for images. Otherwise what the file says.
        units: of an image. Otherwise what the file says.
        slices: first and last slice of a DICOM series, counted from 1 along the slice axis.
        geometry: TOML file with the operator that measured a bare array, e.g. a fan beam; see `io.stated_geometry`.
        trajectory: `.npy` file with the positions `(ky, kx)` of the samples of a bare array of non-Cartesian k-space.
        budget: bytes of memory that the read may take; checked before anything is allocated.

    Returns:
        An image, or the measurement when the file holds raw data. `header["source"]` says how to read it again.

    Raises:
        InputError: the path does not exist, or no reader knows what lies there.
        SettingError: an option is given that the reader of this file does not have.
        FormatError, GeometryError, BudgetError: as the reader says.
    """
    found = Path(path)
    name, reader = _reader(found)
    options = {"axes": axes, "mask": mask, "contrast": contrast, "units": units, "slices": slices}
    options |= {"geometry": geometry, "trajectory": trajectory}
    known = set(inspect.signature(reader).parameters)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            offered = known & set(options)
            raise SettingError(f"{found} is read by {name!r}, which has no option {key!r}. {nearest(key, offered)}")
    return _with_source(cast("Image | Measurement", reader(found, **given, budget=budget)), found, {**given, "budget": budget})


def write(image: Image, path: str | Path) -> Path:
    """Write an image as `.nii` or `.nii.gz` and return the path; the file appears whole or not at all.

    Raises:
        FormatError: the data hold NaN or infinities.
        InputError: the name does not end in `.nii` or `.nii.gz`.
    """
    target = Path(path)
    write_nifti(image, target)
    return target


def _with_source(subject: Image | Measurement, path: Path, given: Mapping[str, Any]) -> Image | Measurement:
    """Note path and options in the header, unless a mask came as an array: then the file alone does not make the subject."""
    if isinstance(given.get("mask"), np.ndarray):
        return subject
    source = {"path": str(path.resolve()), **given}
    source |= {key: str(Path(given[key]).resolve()) for key in ("mask", "geometry", "trajectory") if key in given}
    return replace(subject, header={**subject.header, "source": source})


def _reader(path: Path) -> tuple[str, Any]:
    known = entries("reader")
    if not path.exists() and not path.with_name(path.name + ".cfl").exists():
        raise InputError(f"{path} does not exist; expected a file or a folder. Check the path.")
    if path.is_file() and path.stat().st_size == 0:
        raise FormatError(f"{path} is empty (0 bytes). Copy or export it again.")
    for name, entry in known.items():
        module = importlib.import_module(entry.target.partition(":")[0])
        if module.recognises(path):
            return name, entry.load()
    what = "holds no DICOM series" if path.is_dir() else "is not a file that a reader recognises by its content"
    raise FormatError(f"{path} {what}. Readers: {', '.join(sorted(known))}. Convert it to one of these.")
