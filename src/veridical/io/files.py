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
from veridical.io.contrast import given_names
from veridical.io.guards import BUDGET, named_target
from veridical.io.nifti import write_nifti
from veridical.io.plausible import checked, noted
from veridical.registry import entries
from veridical.types import Array, Geometry, Image, Measurement

FILES = ("mask", "geometry", "trajectory", "maps", "noise_scan")
"""Options that name a file."""


def read(
    path: str | Path,
    *,
    spacing: str | Sequence[float] | None = None,
    maps: str | Path | Array | None = None,
    noise_scan: str | Path | Array | None = None,
    budget: int = BUDGET,
    **options: Any,
) -> Image | Measurement:
    """Read any file or folder that a reader recognises by its content.

    Args: path: NIfTI, Analyze, MetaImage, DICOM file or folder with one series, fastMRI or ISMRMRD
        HDF5, BART `.cfl`/`.hdr`, `.npy` or `.npz`. spacing: voxel size in mm along x, y, z, of a
        file that does not state it: numbers, or as text `1,1,2`. maps: of raw MR data, coil maps to
        reconstruct with: `.npy`, `.cfl` or an array, `(coil, y, x)` or `(set, coil, y, x)`; see
        `io.receivers.with_maps`. noise_scan: of raw MR data, noise-only samples of its coils: an
        ISMRMRD file, `.npy`, `.cfl` or an array `(coil, sample)`; see
        `io.receivers.with_noise_scan`. budget: bytes of memory that the read may take; checked
        before anything is allocated. options: what the file does not say itself; each reader has
        its own, which its signature lists. None counts as not given. `contrast`: `T1w`, `FLAIR`,
        ..., one a channel. `units`: of an image. `slices`, `stack`: which part of a DICOM series.
        `axes`: names of the axes of a bare array, e.g. `coil,y,x`. `mask`: which samples of raw
        data were taken. `select`: which scan of an ISMRMRD file, e.g. `repetition=2`. `geometry`,
        `trajectory`: files that say how a bare array was measured.

    Returns: An image, or the measurement when the file holds raw data. `header["source"]` says how
        to read it again, and `header["notes"]` what was assumed or changed while reading, one
        sentence each.

    Raises: InputError: the path does not exist, or no reader knows what lies there. UnitsError: a
        contrast that is not known, or values that cannot be in the units that were given.
        SettingError: an option is given that the reader of this file does not have. FormatError,
        GeometryError, BudgetError: as the reader says.
    """
    found = Path(path)
    name, reader = _reader(found)
    given = {key: value for key, value in options.items() if value is not None}
    known = set(inspect.signature(reader).parameters) - {"path", "budget"}
    for key in given:
        if key not in known:
            flags = [_flag(one) for one in (*known, "spacing")]
            raise SettingError(
                f"{found} is read by {name!r}, which has no {_flag(key)}. "
                f"{nearest(_flag(key), flags)}"
            )
    said = dict(given)
    if "contrast" in said and said.get("units") != "label":
        said["contrast"] = ",".join(given_names(said["contrast"]))
    subject = cast("Image | Measurement", reader(found, **said, budget=budget))
    if spacing is not None:
        subject = replace(subject, geometry=_spaced(subject.geometry, spacing, found))
        given["spacing"] = spacing
    elif isinstance(subject, Image) and subject.geometry.frame == "index":
        subject = noted(
            subject,
            f"{found.name} does not state its voxel size: --spacing 1,1,2 (x, y, z in mm) gives "
            "it.",
        )
    if isinstance(subject, Image):
        subject = checked(subject, found)
    if maps is not None or noise_scan is not None:
        from veridical.io import receivers
    if maps is not None:
        subject, given["maps"] = receivers.with_maps(subject, maps, budget), maps
    if noise_scan is not None:
        subject, given["noise_scan"] = (
            receivers.with_noise_scan(subject, noise_scan, budget),
            noise_scan,
        )
    return _with_source(subject, found, {**given, "budget": budget})


def read_image(path: str | Path, **options: Any) -> Image:
    """Read a file that must hold an image; options and errors are those of `read`.

    Raises:
        InputError: it holds raw data.
    """
    found = read(path, **options)
    if isinstance(found, Measurement):
        raise InputError(f"{path} holds raw data; expected an image. Reconstruct it first.")
    return found


def write(image: Image, path: str | Path) -> Path:
    """Write an image as `.nii` or `.nii.gz` and return the path; the file appears whole or not at
    all.

    Raises:
        FormatError: the data hold NaN or infinities.
        InputError: the name does not end in `.nii` or `.nii.gz`.
    """
    target = Path(path)
    write_nifti(image, target)
    return target


def _with_source(
    subject: Image | Measurement, path: Path, given: Mapping[str, Any]
) -> Image | Measurement:
    """Note path and options in the header, unless one came as an array: then files alone do not
    make the subject.
    """
    if any(isinstance(value, np.ndarray) for value in given.values()):
        return subject
    source = {"path": str(path.resolve()), **given}
    source |= {
        key: str(Path(value).resolve())
        for key, value in given.items()
        if key in FILES or isinstance(value, Path)
    }
    return replace(subject, header={**subject.header, "source": source})


def _spaced(geometry: Geometry, spacing: str | Sequence[float], path: Path) -> Geometry:
    """Return the grid of a file that states no spacing, with one."""
    try:
        sizes = [
            float(size) for size in (spacing.split(",") if isinstance(spacing, str) else spacing)
        ]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or not all(0 < size < np.inf for size in sizes):
        raise SettingError(
            f"spacing = {spacing}; expected three sizes in mm above 0, along x, y and z: --spacing "
            "1,1,2."
        )
    if geometry.frame != "index":
        raise SettingError(
            f"{path} states {geometry}; --spacing is for files that do not. Leave it out."
        )
    return Geometry(geometry.shape, np.diag([*sizes, 1.0]), "local")


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _reader(path: Path) -> tuple[str, Any]:
    known = entries("reader")
    named_target(path)
    if not path.exists() and not path.with_name(path.name + ".cfl").exists():
        raise InputError(f"{path} does not exist; expected a file or a folder. Check the path.")
    if path.is_file() and path.stat().st_size == 0:
        raise FormatError(f"{path} is empty (0 bytes). Copy or export it again.")
    for name, entry in known.items():
        module = importlib.import_module(entry.target.partition(":")[0])
        if module.recognises(path):
            return name, entry.load()
    what = (
        "holds no DICOM series"
        if path.is_dir()
        else "is not a file that a reader recognises by its content"
    )
    raise FormatError(
        f"{path} {what}. Readers: {', '.join(sorted(known))}. Convert it to one of these."
    )
