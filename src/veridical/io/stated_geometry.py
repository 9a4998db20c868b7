"""Bare arrays whose acquisition geometry stands in another file: a TOML file with an operator, or a
trajectory of k-space.

The reader of `.npy` calls this when it is given `geometry` or `trajectory`; an operator needs no
reader of its own.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError, SettingError, nearest
from veridical.io.guards import existing, finite, within
from veridical.io.kspace import MOST_COILS, local_grid
from veridical.io.npy import load_npy
from veridical.physics.linear import LinearOperator
from veridical.types import Array, Geometry, Measurement, Noise

NOISES = ("gaussian", "rician", "poisson", "poisson_gaussian", "unknown")
OWN = ("operator", "noise", "photons", "electronic", "units", "slice_spacing")
"""Keys of a geometry file that are the reader's; all others are the operator's."""
TRAJECTORY_AXES = ("slice", "coil", "readout", "sample")
SMALLEST_MATRIX = 8
"""A trajectory of a smaller extent is in another unit than cycles per field of view."""
LARGEST_MATRIX = 4096
LONGEST = 2**22
"""Bytes of a geometry file."""


def measured_by(file: Path, geometry: str | Path, contrast: str | None, budget: int) -> Measurement:
    """Read an array that was measured as a geometry file says.

    Args: file: `.npy` or `.npz`; real numbers `(slice, *range)` or `(*range)`, complex ones for an
        operator of complex images. geometry: TOML: `operator`, one of `veridical list operator`,
        and its own keys; if need be `noise = {kind, level}`, for CT `photons` and `electronic`
        (counts a detector bin without an object, and electronic noise in counts), `units` of the
        image, and `slice_spacing` in mm, needed for several slices. A value that ends in `.npy`
        names an array, relative to the geometry file. contrast: kept in the header. budget: bytes
        of memory that the read may take.

    Returns: Measurement with data `(slice, *range)` float32 or complex64, the operator, and the
        grid `(x, y, slice)`: with the operator's pixel spacing where it has one, else an index
        grid.

    Raises:
        SettingError: a key is unknown, missing or of a wrong value.
        FormatError: not TOML, not numpy, or NaN or infinite values.
        GeometryError: the array is not of the operator's range.
        InputError: complex numbers for an operator of real images.
        BudgetError: it would take more memory than `budget`.
    """
    path = existing(geometry)
    settings = _settings(path, budget)
    operator = _operator(path, settings)
    data = _fitting(file, load_npy(file, budget), operator, path, budget)
    header: dict[str, Any] = {
        "geometry_file": path.name,
        **({"contrast": contrast} if contrast else {}),
    }
    for key in ("photons", "electronic"):
        if key in settings:
            header[key] = _number(path, key, settings[key], 0.0, exclusive=key == "photons")
    if "units" in settings:
        if not isinstance(settings["units"], str) or not settings["units"]:
            raise SettingError(
                f"{path}: units = {settings['units']!r}; expected a word, e.g. units = '1/mm'."
            )
        header["units"] = settings["units"]
    grid, said = _grid(path, operator, len(data), settings.get("slice_spacing"))
    return Measurement(data, operator, _noise(path, settings), grid, {**header, **said})


def along_trajectory(
    file: Path, trajectory: str | Path, axes: str | None, contrast: str | None, budget: int
) -> Measurement:
    """Read non-Cartesian k-space whose sample positions stand in another file.

    Args: file: `.npy` or `.npz`, complex. trajectory: `.npy`, real `(..., 2)`, `(ky, kx)` in cycles
        per field of view: a matrix of N pixels holds [-N/2, N/2]. Its other axes are those of the
        data without the coil: `(readout, sample)`, `(readout * sample,)`, or either with the slice
        before it. axes: of the data in their order: `sample` and if need be `readout`, `coil` and
        `slice`; e.g. `coil,readout,sample`. contrast: kept in the header. budget: bytes of memory
        that the read may take.

    Returns: Measurement with data `(slice, coil, sample)` complex64, a `NoncartesianScan` as
        operator, and an index grid of the smallest even matrix that holds the trajectory.

    Raises: InputError: `axes` is missing or wrong, the array is not complex, or the trajectory is
        in another unit. GeometryError: data and trajectory do not fit. FormatError: not numpy, or
        NaN or infinite values. BudgetError: it would take more memory than `budget`.
    """
    from veridical.physics.noncartesian_mri import NoncartesianScan

    array = load_npy(file, budget)
    names = _axes(axes, array.shape, file)
    if array.dtype.kind != "c":
        raise InputError(
            f"{file} holds {array.dtype}; expected complex k-space. Join the parts: a[..., 0] + 1j "
            "* a[..., 1]."
        )
    within(array.size * (array.dtype.itemsize + 16), budget, file)
    whole = array.transpose([names.index(name) for name in TRAJECTORY_AXES if name in names])
    for place, name in enumerate(TRAJECTORY_AXES):
        whole = whole if name in names else np.expand_dims(whole, place)
    slices, coils, readouts, samples = whole.shape
    if coils > MOST_COILS:
        raise InputError(
            f"{file} would have {coils} coils (shape {array.shape}, axes {axes}); the axes are in "
            "another order."
        )
    points = _points(existing(trajectory), (slices, readouts, samples), budget)
    data = np.ascontiguousarray(
        whole.reshape(slices, coils, readouts * samples), dtype=np.complex64
    )
    finite(data, file)
    matrix = _matrix(points, Path(trajectory))
    header = {"axes": ",".join(names), **({"contrast": contrast} if contrast else {})}
    grid = Geometry.index((matrix[1], matrix[0], slices))
    return Measurement(data, NoncartesianScan(points, matrix), Noise("gaussian"), grid, header)


def _settings(path: Path, budget: int) -> dict[str, Any]:
    """Return the table of a geometry file, with arrays in place of names of `.npy` files."""
    within(path.stat().st_size, LONGEST, path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path} is not a TOML file ({error}). A geometry file has lines such as operator = "
            "'fan-beam'."
        ) from error
    return {
        key: load_npy(existing(path.parent / value), budget)
        if isinstance(value, str) and value.endswith(".npy")
        else value
        for key, value in table.items()
    }


def _operator(path: Path, settings: Mapping[str, Any]) -> LinearOperator:
    """Return the operator that a geometry file describes."""
    from veridical import registry

    name = settings.get("operator")
    if not isinstance(name, str):
        raise SettingError(
            f"{path} names no operator; expected a line such as operator = 'fan-beam'. "
            + nearest("", registry.entries("operator"))
        )
    kind: type[LinearOperator] = registry.get("operator", name)
    try:
        return kind.from_geometry({key: value for key, value in settings.items() if key not in OWN})
    except (SettingError, GeometryError) as error:
        raise type(error)(f"{path}: {error}") from error


def _fitting(file: Path, array: Array, operator: LinearOperator, path: Path, budget: int) -> Array:
    """Return `(slice, *range)` in the operator's precision."""
    shape, wanted = array.shape, tuple(operator.range)
    if shape != wanted and shape[1:] != wanted:
        raise GeometryError(
            f"{file} has shape {shape}; {operator.name} of {path.name} measures {wanted}, or "
            f"(slice, {str(wanted)[1:]} for "
            "several slices. Transpose the array, or correct the numbers of the geometry file."
        )
    if array.dtype.kind not in ("iufc" if operator.dtype.is_complex else "iuf"):
        kind = "complex or real" if operator.dtype.is_complex else "real"
        raise InputError(
            f"{file} holds {array.dtype}; {operator.name} measures {kind} numbers. Convert the "
            "array first."
        )
    within(array.size * (array.dtype.itemsize + 8), budget, file)
    with np.errstate(over="ignore"):
        data = np.array(
            array.reshape(-1, *wanted),
            dtype=np.complex64 if operator.dtype.is_complex else np.float32,
        )
    finite(data, file)
    return data


def _grid(
    path: Path, operator: LinearOperator, slices: int, apart: Any
) -> tuple[Geometry, dict[str, Any]]:
    """Return the grid `(x, y, slice)` and what is to be said of it."""
    rows, columns = operator.domain[-2:]
    spacing = getattr(operator, "spacing", None)
    if spacing is None:
        return Geometry.index((columns, rows, slices)), {}
    if apart is None and slices > 1:
        raise SettingError(
            f"{path} describes {slices} slices; expected slice_spacing, their distance in mm. Add "
            "it."
        )
    thick = 1.0 if apart is None else _number(path, "slice_spacing", apart, 0.0, exclusive=True)
    grid, note = local_grid((columns, rows, slices), (spacing[1], spacing[0], thick))
    return grid, {
        "grid": note if apart is not None else f"{note}; slice thickness not stated, 1 mm written"
    }


def _noise(path: Path, settings: Mapping[str, Any]) -> Noise:
    """Return the noise that a geometry file states."""
    table = settings.get("noise")
    if table is None:
        return Noise("poisson_gaussian") if "photons" in settings else Noise()
    if not isinstance(table, dict):
        raise SettingError(
            f"{path}: noise = {table!r}; expected a table, e.g. noise = "
            f"{{kind = 'gaussian', level = 0.01}}."
        )
    for key in table:
        if key not in ("kind", "level"):
            raise SettingError(
                f"{path}: noise has no key {key!r}. {nearest(key, ('kind', 'level'))}"
            )
    kind, level = table.get("kind", "unknown"), table.get("level")
    if kind not in NOISES:
        raise SettingError(
            f"{path}: there is no noise of kind {kind!r}. {nearest(str(kind), NOISES)}"
        )
    return Noise(kind, None if level is None else _number(path, "noise level", level, 0.0))


def _number(path: Path, key: str, value: Any, least: float, exclusive: bool = False) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fine or value < least or (exclusive and value == least):
        limit = "above" if exclusive else "of at least"
        raise SettingError(
            f"{path}: {key} = {value!r}; expected a number {limit} {least:g}. Correct it."
        )
    return float(value)


def _axes(text: str | None, shape: tuple[int, ...], file: Path) -> tuple[str, ...]:
    """Return the names of the axes of non-Cartesian k-space."""
    if text is None:
        raise InputError(
            f"{file} is a bare array of shape {shape}; say what its axes are, e.g. --axes "
            "coil,readout,sample."
        )
    names = tuple(name.strip().lower() for name in text.split(","))
    for name in names:
        if name not in TRAJECTORY_AXES:
            raise InputError(
                f"--axes {text}: along a trajectory no axis is called {name!r}. "
                f"{nearest(name, TRAJECTORY_AXES)}"
            )
    if len(set(names)) != len(names) or "sample" not in names:
        raise InputError(
            f"--axes {text}: expected sample once, and at most one each of slice, coil and readout."
        )
    if len(names) != len(shape):
        raise InputError(
            f"{file} has {len(shape)} axes {shape}, but --axes {text} names {len(names)}. Name "
            "every axis once."
        )
    return names


def _points(path: Path, sizes: tuple[int, int, int], budget: int) -> Array:
    """Return the trajectory as `(slice, sample, 2)` float32."""
    slices, readouts, samples = sizes
    array = load_npy(path, budget)
    each = [(readouts, samples), (readouts * samples,)]
    fitting = [*each, *[(slices, *shape) for shape in each]]
    if array.dtype.kind not in "iuf" or array.shape[-1:] != (2,) or array.shape[:-1] not in fitting:
        raise GeometryError(
            f"The trajectory {path} is {array.dtype} of shape {array.shape}; for data of {slices} "
            f"slices, {readouts} readouts "
            f"and {samples} samples expected real (readout, sample, 2) = {(readouts, samples, 2)}, "
            "with (ky, kx) last, or with "
            "the slice before it. Check the axes."
        )
    finite(array, path)
    points = array.astype(np.float32).reshape(-1, readouts * samples, 2)
    return np.broadcast_to(points, (slices, *points.shape[1:]))


def _matrix(points: Array, path: Path) -> tuple[int, int]:
    """Return the smallest even `(rows, columns)` that hold a trajectory."""
    extent = 2 * np.abs(points).max(tuple(range(points.ndim - 1))).astype(np.float64)
    rows, columns = (2 * math.ceil(reach / 2 * (1 - 1e-4)) for reach in extent)
    if not SMALLEST_MATRIX <= max(rows, columns) <= LARGEST_MATRIX or min(rows, columns) < 2:
        raise InputError(
            f"The trajectory {path} reaches {extent[0] / 2:g} along ky, {extent[1] / 2:g} along "
            "kx; expected cycles per field "
            "of view, up to half the matrix. From cycles per pixel multiply by the matrix, from "
            "radians by matrix / (2 pi)."
        )
    return rows, columns
