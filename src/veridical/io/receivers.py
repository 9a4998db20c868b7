"""Coil maps and noise scans that stand in other files than the raw MR data that they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError, SettingError
from veridical.io import bart, ismrmrd
from veridical.io.guards import existing, finite, within
from veridical.io.noise_scans import NoiseScan, noise_of
from veridical.io.npy import load_npy
from veridical.types import Array, Image, Measurement

if TYPE_CHECKING:
    from veridical.physics.cartesian_mri import CartesianScan
    from veridical.physics.noncartesian_mri import NoncartesianScan

MAPS = {"x": 0, "y": 1, "slice": 2, "coil": 3, "set": 4}
"""Dimensions of coil maps in BART; slices may lie in dimension 13 too."""
FAINT = 0.05
"""Share of the largest sensitivity below which maps fall to zero with it, rather than being brought
to unit norm.
"""


def with_maps(subject: Image | Measurement, maps: str | Path | Array, budget: int) -> Measurement:
    """Return raw MR data that are reconstructed with given coil maps.

    Args: subject: Cartesian or not, of any number of slices. maps: file or array: complex, centred,
        on the matrix of the data without readout oversampling. `.npy`: `(coil, y, x)` or `(set,
        coil, y, x)` for one slice, `(slice, coil, y, x)` or `(slice, set, coil, y, x)` for several,
        in the order of the slices of the result. `.cfl`: dimensions x, y, slice, coil, set as BART
        has them. They are brought to unit norm over the coils, so the image is the root sum of
        squares over the coils whatever their scale. budget: bytes of memory that the maps may take.

    Raises:
        SettingError: the data are not raw MR data.
        GeometryError: the maps do not fit the data.
        InputError: they are not complex, or all zero.
        FormatError: not a readable file, NaN or infinite values.
        BudgetError: they would take more memory than `budget`.
    """
    subject, scan = _raw(subject, "--maps")
    name = "The given coil maps" if isinstance(maps, np.ndarray) else str(maps)
    array = maps if isinstance(maps, np.ndarray) else _maps_in(existing(_cfl(maps)), budget)
    if array.dtype.kind != "c":
        raise InputError(
            f"{name}: coil maps of {array.dtype}; expected complex numbers. Join the parts first: "
            "a[..., 0] + 1j * a[..., 1]."
        )
    within(array.size * (array.dtype.itemsize + 8), budget, Path(name))
    shape, slices = _matrix(subject), len(subject.data)
    finite(array, Path(name))
    whole = _as_sets(array, slices, subject.data.shape[1], shape, name)
    norm = np.sqrt((np.abs(whole) ** 2).sum(2, keepdims=True))
    if not norm.max((1, 2, 3, 4)).all():
        raise InputError(
            f"{name}: coil maps that are all zero in a slice; expected sensitivities. Check the "
            "file."
        )
    largest = norm.max((1, 2, 3, 4), keepdims=True)
    whole = whole / (np.maximum(norm, FAINT * largest) if whole.shape[1] == 1 else largest)
    said = (
        f"Coil maps were given ({whole.shape[1]} set{'s' * (whole.shape[1] > 1)}) and brought to "
        "unit norm over the coils."
    )
    operator = replace(scan, coils=replace(scan.coils, maps=whole.astype(np.complex64)))
    return replace(subject, operator=operator, header=_noted(subject, said))


def with_noise_scan(
    subject: Image | Measurement, scan: str | Path | Array, budget: int
) -> Measurement:
    """Return raw MR data whose noise is known from a scan without excitation.

    Args: subject: raw MR data. scan: file or array: complex `(coil, sample)`, further axes are
        samples too; an ISMRMRD file (its noise acquisitions, or all when none is marked as one),
        `.npy`, or `.cfl` with the coils in dimension 3. budget: bytes of memory that it may take.

    Raises:
        SettingError: the data are not raw MR data.
        GeometryError: another number of coils, or too few samples.
        InputError: not complex.
        FormatError: not a readable file, NaN or infinite values.
        BudgetError: it would take more memory than `budget`.
    """
    subject, operator = _raw(subject, "--noise-scan")
    coils = subject.data.shape[1]
    noise = _noise_in(scan, coils, budget)
    level, known, notes = noise_of(noise, subject.header, operator.coils)
    return replace(
        subject,
        noise=level,
        operator=replace(operator, coils=known),
        header=_noted(subject, *notes),
    )


def _raw(
    subject: Image | Measurement, flag: str
) -> tuple[Measurement, CartesianScan | NoncartesianScan]:
    from veridical.physics.cartesian_mri import CartesianScan
    from veridical.physics.noncartesian_mri import NoncartesianScan

    if not isinstance(subject, Measurement) or not isinstance(
        subject.operator, CartesianScan | NoncartesianScan
    ):
        what = subject.operator.name if isinstance(subject, Measurement) else "an image"
        raise SettingError(f"{flag} is for raw MR data; the input is {what}. Leave it out.")
    return subject, subject.operator


def _matrix(subject: Measurement) -> tuple[int, int]:
    x, y, _ = subject.geometry.shape
    return y, x


def _as_sets(array: Array, slices: int, coils: int, matrix: tuple[int, int], name: str) -> Array:
    """Return `(slice, set, coil, y, x)`."""
    want = (coils, *matrix)
    if array.ndim in (3, 4, 5) and array.shape[-3:] == want:
        whole = array
        if array.ndim == 3:
            whole = array[None, None]
        elif array.ndim == 4:
            whole = array[None] if slices == 1 else array[:, None]
        if whole.shape[0] == slices and whole.shape[1] in (1, 2):
            return whole
    fitting = f"(coil, y, x) = {want}, or {(1, *want)} or {(2, *want)} with the sets first"
    if slices > 1:
        fitting = (
            f"(slice, coil, y, x) = {(slices, *want)}, or (slice, set, coil, y, x) with 1 or 2 sets"
        )
    raise GeometryError(
        f"{name}: coil maps of shape {array.shape}; the data want {fitting}. Transpose or crop the "
        "maps."
    )


def _cfl(path: str | Path) -> Path:
    found = Path(path)
    return found if found.exists() else found.with_name(found.name + ".cfl")


def _maps_in(path: Path, budget: int) -> Array:
    """Return the coil maps of a file, with the axes that it has, `(slice, set, coil, y, x)`."""
    if not bart.recognises(path):
        return load_npy(path, budget)
    array = bart.array_in(path, budget)
    array = array.reshape(*array.shape, *[1] * (14 - array.ndim))
    kept = (13, *MAPS.values())
    others = [index for index, length in enumerate(array.shape) if length > 1 and index not in kept]
    if others or (array.shape[13] > 1 and array.shape[2] > 1):
        raise GeometryError(
            f"{path} has dimensions {array.shape}; expected coil maps as BART has them: x, y, "
            "slice, coil, set (0 to 4). Take "
            "one part out: bart slice DIMENSION 0 IN OUT."
        )
    slices = 13 if array.shape[13] > 1 else MAPS["slice"]
    order = [slices, MAPS["set"], MAPS["coil"], MAPS["y"], MAPS["x"]]
    rest = [index for index in range(array.ndim) if index not in order]
    return array.transpose(order + rest).reshape([array.shape[index] for index in order])


def _noise_in(scan: str | Path | Array, coils: int, budget: int) -> NoiseScan:
    """Return the noise scan of a file or array that has these coils."""
    name = "The given noise scan" if isinstance(scan, np.ndarray) else str(scan)
    path = None if isinstance(scan, np.ndarray) else existing(_cfl(scan))
    if path is not None and ismrmrd.recognises(path):
        found = ismrmrd.noise_rows(path, coils, budget)
        if found is None:
            raise GeometryError(
                f"{path} holds no noise acquisitions of {coils} coils; expected those of the same "
                "scan."
            )
        return found
    array = scan if isinstance(scan, np.ndarray) else np.empty(0)
    if path is not None:
        array = (
            np.moveaxis(bart.array_in(path, budget), 3, 0)
            if bart.recognises(path)
            else load_npy(path, budget)
        )
    if array.dtype.kind != "c":
        raise InputError(
            f"{name} holds {array.dtype}; expected complex noise. Join the parts: a[..., 0] + 1j * "
            "a[..., 1]."
        )
    if array.ndim < 2 or array.shape[0] != coils or array.size < 2 * coils**2:
        raise GeometryError(
            f"{name} has shape {array.shape}; the data have {coils} coils: expected (coil, sample) "
            f"with at least {2 * coils} "
            "samples. Transpose it, or take a longer scan."
        )
    samples = array.reshape(coils, -1).astype(np.complex64)
    if not np.isfinite(samples).all() or not samples.any():
        raise FormatError(
            f"{name} holds NaN, infinities or only zeros; expected samples of noise. Check the "
            "file."
        )
    return NoiseScan(samples)


def _noted(subject: Measurement, *notes: str) -> dict[str, object]:
    return {**subject.header, "notes": (*subject.header.get("notes", ()), *notes)}
