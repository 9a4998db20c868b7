"""Raw MR data on their way to a `Measurement`: axes, masks, oversampling, three-dimensional scans,
the grid.

K-space is centred: the zero frequency lies at index `n // 2` of each axis, and transforms are
unitary. An object image is `(channel, x, y, z)` with x along kx (the last axis of the data), y
along ky and z along the slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft

from veridical.errors import FormatError, GeometryError, InputError, nearest
from veridical.io.guards import BUDGET, existing, finite, within
from veridical.types import Array, Geometry, Measurement, Noise

if TYPE_CHECKING:
    from veridical.physics.coils import Coils

AXES = ("slice", "coil", "z", "y", "x")
MOST_COILS = 128
PLAUSIBLE_SPACING = (0.01, 100.0)
SPREAD = 30.0
"""Standard deviation of the binary exponents of numbers that can be no signal: k-space has about 5,
bytes in the other order about 70.
"""
LOOKED_AT = 2**16
"""Samples that are looked at for the order of bytes."""


def measurement(
    data: Array,
    path: Path,
    header: Mapping[str, Any],
    *,
    taken: Array | None = None,
    mask: str | Path | Array | None = None,
    geometry: Geometry | None = None,
    noise: Noise | None = None,
    coils: Coils | None = None,
) -> Measurement:
    """Check raw data and put them together with what is known of how they were taken.

    Args: data: `(slice, coil, ky, kx)` complex. path: the file, for messages. header: plain values.
        taken: `(slice, ky, kx)` bool, when the file itself says which samples were acquired. mask:
        given by the caller, a file or an array; samples outside it are set to zero. Counts most.
        geometry: the grid of the object, x y z; an index grid when None. noise: Gaussian of unknown
        level when None. coils: what is known of the coils.

    Raises:
        FormatError: NaN or infinite samples.
        InputError: nothing was measured, or an unlikely number of coils.
        GeometryError: the mask does not fit.
    """
    from veridical.physics.cartesian_mri import CartesianScan
    from veridical.physics.coils import Coils

    slices, channels, rows, columns = data.shape
    if channels > MOST_COILS:
        raise InputError(
            f"{path} would have {channels} coils (shape {data.shape} as slice, coil, y, x); the "
            "axes are in another order."
        )
    with np.errstate(over="ignore"):
        samples = np.ascontiguousarray(data, dtype=np.complex64)
    byte_order(samples, path)
    finite(samples, path)
    seen = nonzero(samples, 1)
    said: dict[str, Any] = {} if "mask_source" in header else {"mask_source": "exact zeros"}
    sampled = seen if taken is None else taken
    if mask is not None:
        sampled = given_mask(mask, (slices, rows, columns), path)
        said = {"mask_source": "given", "samples_dropped": int((seen & ~sampled).sum())}
        samples = samples * sampled[:, None]
    if not (sampled & seen).any():
        raise InputError(
            f"{path} holds no sample that is not zero; expected k-space. Check the file and the "
            "mask."
        )
    silent = [int(coil) for coil in np.flatnonzero(~(samples != 0).any((0, 2, 3)))]
    said |= {"silent_coils": silent} if silent else {}
    grid = geometry or Geometry.index((columns, rows, slices))
    operator = CartesianScan(sampled, coils or Coils())
    return Measurement(samples, operator, noise or Noise("gaussian"), grid, {**header, **said})


def given_mask(mask: str | Path | Array, shape: tuple[int, int, int], path: Path) -> Array:
    """Return a caller's mask, a `.npy` file or an array, as bool `(slice, ky, kx)`.

    A mask may be `(slice, ky, kx)`, `(ky, kx)`, or one line of the length of exactly one of ky and
    kx.

    Raises:
        GeometryError: its shape does not fit, or fits two ways.
        InputError: it holds other values than 0 and 1, or only zeros.
    """
    from veridical.io.npy import load_npy

    values = load_npy(existing(mask), BUDGET) if isinstance(mask, str | Path) else np.asarray(mask)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(
            f"The mask for {path} holds values other than 0 and 1 (type {values.dtype}); expected "
            "1 where sampled."
        )
    rows, columns = shape[1:]
    if values.ndim == 1 and rows != columns and values.size in (rows, columns):
        values = values[None, :] if values.size == columns else values[:, None]
    elif values.ndim not in (2, 3) or any(
        n not in (m, 1) for n, m in zip(values.shape[::-1], shape[::-1], strict=False)
    ):
        raise GeometryError(
            f"The mask has shape {values.shape}; {path} is (slice, ky, kx) = {shape}. Give a mask "
            "of that shape, or (ky, kx); "
            "a single line of values needs its second axis: (1, kx) or (ky, 1)."
        )
    sampled = np.broadcast_to(values.astype(bool), shape)
    if not sampled.any():
        raise InputError(
            f"The mask for {path} is empty: nothing would be measured. Expected 1 where sampled."
        )
    return sampled


def parse_axes(text: str, shape: tuple[int, ...], path: Path) -> tuple[str, ...]:
    """Return the names of the axes of a bare array from `coil,y,x` (or `coil,ky,kx`).

    Raises: InputError: a name is unknown or doubled, x or y is missing, or their number is not that
        of the array's axes.
    """
    names = tuple(
        name.strip().lower().removeprefix("k") if len(name.strip()) == 2 else name.strip().lower()
        for name in text.split(",")
    )
    for name in names:
        if name not in AXES:
            raise InputError(f"--axes {text}: no axis is called {name!r}. {nearest(name, AXES)}")
    if (
        len(set(names)) != len(names)
        or not {"x", "y"} <= set(names)
        or {"slice", "z"} <= set(names)
    ):
        raise InputError(
            f"--axes {text}: expected y and x, at most one each of coil and slice (or z for a 3D "
            "scan)."
        )
    if len(names) != len(shape):
        raise InputError(
            f"{path} has {len(shape)} axes {shape}, but --axes {text} names {len(names)}. Name "
            "every axis once."
        )
    return names


def arrange(
    array: Array, names: tuple[str, ...], path: Path
) -> tuple[Array, Array | None, dict[str, Any]]:
    """Bring a bare array into the order `(slice, coil, ky, kx)`.

    Returns: The data; which samples were taken, `(slice, ky, kx)` (None: to be found from exact
        zeros); header entries.
    """
    whole = array.transpose([names.index(name) for name in AXES if name in names])
    if "coil" not in names:
        whole = np.expand_dims(whole, int("slice" in names))
    if "z" in names:
        return decouple(whole, nonzero(whole, 0), path)
    return (whole if "slice" in names else whole[None]), None, {}


def decouple(kspace: Array, taken: Array, path: Path) -> tuple[Array, Array, dict[str, Any]]:
    """Turn a 3D scan into a stack of 2D ones by an inverse transform along a fully sampled axis.

    Args:
        kspace: `(coil, kz, ky, kx)` complex.
        taken: `(kz, ky, kx)` bool.
        path: for messages.

    Returns: `(slice, coil, ky, kx)` with its `(slice, ky, kx)` mask and header entries. Along kz
        when that is full; else along the readout kx, and then the last two axes are (kz, ky) and
        `header["decoupled"]` says so.

    Raises:
        InputError: neither axis is fully sampled.
    """
    for axis, name in ((0, "z"), (2, "x")):
        if (taken == taken.any(axis, keepdims=True)).all():
            stack = np.moveaxis(centred_ifft(kspace, axis + 1), axis + 1, 0)
            plane = taken.any(axis)
            return (
                stack,
                np.broadcast_to(plane, (stack.shape[0], *plane.shape)),
                {"decoupled": name},
            )
    raise InputError(
        f"{path} is a 3D scan that is undersampled along kz and along the readout kx; at least one "
        "must be full, so that "
        "it falls into independent slices. Drop incomplete readouts, or give a mask for a single "
        "slice."
    )


def separated(kspace: Array, axis: str) -> Array:
    """Return `(coil, kz, ky, kx)` transformed along `z` or `x`, `(slice, coil, ...)`, whether or
    not that is full.
    """
    where = {"z": 1, "x": 3}[axis]
    plane = nonzero(kspace, 0).any(where - 1)
    stack = np.moveaxis(centred_ifft(kspace, where), where, 0)
    return np.asarray((stack * plane).astype(np.complex64))


def remove_oversampling(
    data: Array, taken: Array, axis: int, keep: int
) -> tuple[Array, Array] | None:
    """Cut the field of view along a readout to its central `keep` voxels; exact, and smaller.

    Args:
        data: `(slice, coil, ..., kx)`, any number of phase encodings.
        taken: `(slice, ..., kx)` bool.
        axis: the readout, -1 (kx) or -2 (ky).
        keep: voxels to keep.

    Returns: Data and mask with `keep` samples along `axis`; noise per sample unchanged. None where
        it would not be exact: a readout is partial. Of twofold oversampling the very first sample
        may be missing, as it is of reversed lines: its signal reaches no other sample that is kept.
    """
    size = data.shape[axis]
    first = np.take(taken, [0], axis)
    if not full_lines(taken, axis):
        others = np.take(taken, range(1, size), axis)
        if not full_lines(others, axis) or 2 * keep != size or size % 4:
            return None
    kept = np.array(np.take(taken, range(size - keep, size), axis))
    np.moveaxis(kept, axis, 0)[:1] = np.moveaxis(first, axis, 0)
    smaller = readout_cropped(data, keep, axis)
    smaller *= kept[:, None]
    return smaller, kept


def readout_cropped(data: Array, keep: int, axis: int = -1) -> Array:
    """Return k-space of the central `keep` voxels along an axis, item by item of the first; phase
    encodings stay as zero.
    """
    start = data.shape[axis] // 2 - keep // 2
    shape = list(data.shape)
    shape[axis] = keep
    smaller = np.empty(shape, np.complex64)
    for index, whole in enumerate(data):
        smaller[index] = centred_fft(
            np.take(centred_ifft(whole, axis), range(start, start + keep), axis), axis
        )
    return smaller


def byte_order(data: Array, path: Path) -> None:
    """Raise a FormatError when complex numbers are such as reading them in the wrong order of bytes
    gives.
    """
    flat = np.ascontiguousarray(data).reshape(-1).view(np.float32)
    looked = flat[np.flatnonzero(flat)]
    looked = looked[:: max(1, len(looked) // LOOKED_AT)]

    def spread(numbers: Array) -> float:
        plain = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)].astype(np.float64))
        return float(np.log2(plain).std()) if 2 * len(plain) > len(numbers) else np.inf

    if len(looked) >= 64 and spread(looked) > SPREAD > spread(looked.byteswap()):
        raise FormatError(
            f"{path}: its numbers run from {np.nanmin(np.abs(looked)):.3g} to "
            f"{np.nanmax(np.abs(looked)):.3g} and make sense "
            "with their bytes in the other order; expected little-endian numbers. Write the file "
            "again: a.byteswap()."
        )


def nonzero(data: Array, axis: int) -> Array:
    """Say which samples are not exactly zero in at least one coil, the coils lying on `axis`."""
    with np.errstate(invalid="ignore"):
        return np.asarray((data != 0).any(axis))


def full_lines(taken: Array, axis: int) -> bool:
    """Say whether every line along `axis` was taken whole or not at all."""
    return bool((taken == taken.any(axis, keepdims=True)).all())


def local_grid(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> tuple[Geometry, str]:
    """Return a grid whose spacing is known and whose position is not, centred on the field of view;
    and a note on it.

    When the spacing is not believable (outside 0.01 to 100 mm) it is an index grid.
    """
    low, high = PLAUSIBLE_SPACING
    if not all(low <= size <= high for size in spacing):
        return Geometry.index(
            shape
        ), f"field of view not believed: voxels of {' x '.join(f'{s:.4g}' for s in spacing)} mm"
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n // 2) * size for n, size in zip(shape, spacing, strict=True)]
    return Geometry(shape, affine, "local"), "spacing only; position and orientation not stated"


def centred_fft(array: Array, axis: int) -> Array:
    """Unitary Fourier transform along one axis, zero frequency and origin at `n // 2`."""
    moved = scipy.fft.fft(scipy.fft.ifftshift(array, axis), axis=axis, norm="ortho")
    return np.asarray(scipy.fft.fftshift(moved, axis))


def centred_ifft(array: Array, axis: int) -> Array:
    """Inverse of `centred_fft`."""
    moved = scipy.fft.ifft(scipy.fft.ifftshift(array, axis), axis=axis, norm="ortho")
    return np.asarray(scipy.fft.fftshift(moved, axis))


def room(shape: tuple[int, ...], itemsize: int, budget: int, path: Path) -> None:
    """Refuse k-space whose stored form (`itemsize` bytes a sample), complex64 form and mask
    together exceed the budget.
    """
    count = 1
    for size in shape:
        count *= int(size)
    within(count * (itemsize + 9), budget, path)


def damaged(path: Path, error: Exception, what: str) -> FormatError:
    """Return the error for a file that a library could not read to its end."""
    return FormatError(
        f"{path} is damaged or truncated: {what} could not be read ({error}). Copy or download it "
        "again."
    )
