"""fastMRI HDF5 files: `kspace`, an ISMRMRD header, and sometimes a mask (Zbontar et al.,
arXiv:1811.08839).

Their k-space is `(slice, coil, readout, phase)`: the columns, the last axis, are what is
undersampled. The order is kept, so the image looks as fastMRI shows it: its y axis is the readout,
its x axis the phase encoding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.io.guards import BUDGET
from veridical.io.hdf5 import Encoding, attribute, dataset, has, holds, opened, parse_header, values
from veridical.io.kspace import local_grid, measurement, nonzero, remove_oversampling, room
from veridical.types import Array, Geometry, Measurement

CONTRASTS = {
    "AXT1": "T1w",
    "AXT1PRE": "T1w",
    "AXT1POST": "T1c",
    "AXT2": "T2w",
    "AXFLAIR": "FLAIR",
    "CORPD_FBK": "PD",
}


def recognises(path: Path) -> bool:
    """Say whether this is HDF5 with a `kspace` data set."""
    return has(path, "kspace")


def fastmri(
    path: str | Path,
    *,
    mask: str | Path | Array | None = None,
    contrast: str | None = None,
    budget: int = BUDGET,
) -> Measurement:
    """Read a fastMRI file.

    Args: path: HDF5 with `kspace` `(slice, coil, readout, phase)` or, single-coil, `(slice,
        readout, phase)`. mask: `.npy` file or array, 1 where sampled, on the matrix without readout
        oversampling; otherwise the file's own mask, else exact zeros. contrast: otherwise from the
        `acquisition` attribute (`AXFLAIR`: FLAIR). budget: bytes of memory that the read may take.

    Returns: Measurement with data `(slice, coil, ky, kx)` complex64, readout oversampling removed;
        spacing from the header's field of view (position unknown: frame `local`), or an index grid
        when there is no header.

    Raises:
        FormatError: not HDF5, truncated, no `kspace`, wrong shape or type, NaN.
        GeometryError: a mask does not fit.
        BudgetError: it would take more memory than `budget`.
    """
    with opened(path) as handle:
        file = Path(path)
        stored = dataset(handle, "kspace", file)
        if stored.ndim not in (3, 4) or stored.dtype.kind != "c" or 0 in stored.shape:
            raise FormatError(
                f"{file}: 'kspace' is {stored.shape} of {stored.dtype}; expected complex (slice, "
                "coil, readout, phase), or "
                "(slice, readout, phase) from one coil. Real and imaginary parts on an axis of "
                "their own are joined first: "
                "a[..., 0] + 1j * a[..., 1]."
            )
        room(stored.shape, stored.dtype.itemsize, budget, file)
        own = _own_mask(handle, stored.shape, file)
        described = _described(handle, file)
        acquisition = attribute(handle, "acquisition")
        data = values(stored, file, budget)
    data = data if data.ndim == 4 else data[:, None]
    header: dict[str, Any] = {"mask_source": "exact zeros" if own is None else "file"}
    header |= {"acquisition": acquisition} if acquisition else {}
    known = contrast or CONTRASTS.get(acquisition)
    header |= {"contrast": known} if known else {}
    seen = nonzero(data, 1)
    taken = seen if own is None else seen & own
    geometry = None
    if described is not None:
        encoding, technical = described
        data, taken, geometry, said = _on_grid(data, taken, encoding)
        header |= {**technical, **said}
    if own is not None:
        data = data * taken[:, None]
    return measurement(data, file, header, taken=taken, mask=mask, geometry=geometry)


def _own_mask(handle: Any, shape: tuple[int, ...], path: Path) -> Array | None:
    if not holds(handle, "mask", path):
        return None
    own = values(dataset(handle, "mask", path), path).squeeze()
    if own.shape not in ((shape[-1],), shape[-2:]):
        raise GeometryError(
            f"{path}: its mask has shape {own.shape}; its k-space has columns {shape[-1]}. Give "
            "one instead: --mask mask.npy."
        )
    return np.broadcast_to(own.astype(bool), (shape[0], *shape[-2:]))


def _described(handle: Any, path: Path) -> tuple[Encoding, dict[str, Any]] | None:
    if not holds(handle, "ismrmrd_header", path):
        return None
    encodings, technical = parse_header(
        values(dataset(handle, "ismrmrd_header", path), path).item(), path
    )
    return encodings[0], technical


def _on_grid(
    data: Array, taken: Array, encoding: Encoding
) -> tuple[Array, Array, Geometry, dict[str, Any]]:
    """Remove readout oversampling where the lines are whole, and find the spacing."""
    said: dict[str, Any] = {}
    readout_mm = encoding.field_of_view[0]
    keep = encoding.readout_kept
    if data.shape[-2] == encoding.matrix[0] and keep < data.shape[-2]:
        cropped = remove_oversampling(data, taken, -2, keep)
        if cropped is not None:
            said["readout_oversampling"] = f"removed: {data.shape[-2]} to {keep}"
            readout_mm *= keep / data.shape[-2]
            data, taken = cropped
        else:
            said["readout_oversampling"] = "kept: some readouts are partial"
    slices, _, rows, columns = data.shape
    spacing = (encoding.field_of_view[1] / columns, readout_mm / rows, encoding.field_of_view[2])
    geometry, note = local_grid((columns, rows, slices), spacing)
    return data, taken, geometry, {**said, "affine_source": note}
