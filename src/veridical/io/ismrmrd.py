"""ISMRMRD HDF5 files (Inati et al., MRM 2017, 10.1002/mrm.26089): acquisitions one by one, and a header in XML.

Cartesian lines are placed by their encoding counters, or by trajectory coordinates when these lie on a regular grid; any other
trajectory, slice by slice, is read as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.acquisitions import ALONE, Lines, fill, place, sort
from veridical.io.guards import BUDGET, within
from veridical.io.hdf5 import Encoding, dataset, has, opened, parse_header, values
from veridical.io.kspace import decouple, full_lines, local_grid, measurement, remove_oversampling, room
from veridical.io.trajectories import cycles_per_field_of_view, has_coordinates, stack
from veridical.types import Array, Geometry, Measurement, Noise

HEAD = {
    *("flags", "number_of_samples", "active_channels", "discard_pre", "discard_post", "center_sample", "encoding_space_ref"),
    *("trajectory_dimensions", "sample_time_us", "position", "read_dir", "phase_dir", "slice_dir", "idx"),
}
COUNTERS = {"kspace_encode_step_1", "kspace_encode_step_2", "slice", *ALONE}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def recognises(path: Path) -> bool:
    """Say whether this is HDF5 with `dataset/data` and `dataset/xml`."""
    return has(path, "dataset/data", "dataset/xml")


def ismrmrd(
    path: str | Path, *, mask: str | Path | Array | None = None, contrast: str | None = None, budget: int = BUDGET
) -> Measurement:
    """Read an ISMRMRD file.

    Args:
        path: HDF5 with `dataset/data` and `dataset/xml`; one contrast, phase, repetition and set.
        mask: `.npy` file or array, 1 where sampled; otherwise the acquired samples. Cartesian scans only.
        contrast: e.g. `T1w`, kept in the header.
        budget: bytes of memory that the read may take.

    Returns:
        Measurement with data `(slice, coil, ky, kx)` complex64: reversed lines turned (no phase correction), averages
        averaged, readout oversampling removed, a 3D scan split into slices. Its grid comes from the positions and directions
        in the file. The header tells what was left out and, where noise was measured, holds `noise_covariance`: `(coil,
        coil)` complex, `E[n n^H]` per sample, scaled to the dwell time and averages of the data, for
        `physics.coils.prewhiten`. Of a non-Cartesian scan: data `(slice, coil, sample)` in the order of acquisition, all
        averages kept, with a `NoncartesianScan` on the encoded matrix; `trajectory_units` in the header says which units
        the coordinates of the file were taken to have.

    Raises:
        FormatError: not ISMRMRD, truncated, counters outside the matrix, NaN.
        InputError: several contrasts, phases, repetitions or sets; not Cartesian and without coordinates, in three
            dimensions, with differing numbers of samples a slice or with a mask.
        GeometryError: slices of several orientations or uneven distances; coordinates in units that cannot be told.
        BudgetError: it would take more memory than `budget`.
    """
    file = Path(path)
    with opened(path) as handle:
        stored, xml = dataset(handle, "dataset/data", file), dataset(handle, "dataset/xml", file)
        if not _are_acquisitions(stored) or not xml.size:
            raise FormatError(f"{file}: 'dataset/data' is {stored.shape} of {stored.dtype.names}; expected acquisitions.")
        within(3 * file.stat().st_size, budget, file)
        text, rows = values(xml, file).ravel()[0], values(stored, file)
    encoding, technical = parse_header(text, file)
    bandwidth = technical.pop("noise_bandwidth", 1.0)
    imaging, noise_rows, said = sort(rows, file)
    said |= {"contrast": contrast} if contrast else {}
    try:
        lines, more = place(imaging, encoding, file)
    except FormatError:
        raise
    except InputError as off_grid:
        if not has_coordinates(imaging):
            raise InputError(
                f"{file}: a scan along a trajectory ({encoding.trajectory or 'not named'}) whose acquisitions are neither on a "
                "regular grid nor each with 2 or 3 coordinates a sample. Write the coordinates into the file."
            ) from off_grid
        level, more = _noise(noise_rows, imaging, bandwidth, 1.0, file)
        return _noncartesian(imaging, encoding, level, {**technical, **said, **more}, mask is not None, file)
    width, height, depth = encoding.matrix
    shape = (int(lines.slice.max()) + 1, int(imaging["head"]["active_channels"][0]), depth, height, width)
    room(shape, 24, budget, file)
    kspace, count = fill(imaging, lines, shape, file)
    repeats = np.unique(count[count > 0]).tolist()
    said |= more | ({"averages": repeats} if repeats != [1] else {})
    noise, noise_said = _noise(noise_rows, imaging, bandwidth, float(np.mean(count[count > 0])), file)
    data, taken, geometry, grid_said = _slices(kspace, count > 0, imaging["head"], lines, encoding, file)
    header = {**technical, **said, **noise_said, **grid_said, "mask_source": "acquisitions"}
    return measurement(data, file, header, taken=taken, mask=mask, geometry=geometry, noise=noise)


def _are_acquisitions(stored: Any) -> bool:
    """Say whether a data set has the compound type of ISMRMRD acquisitions, as far as it is used here."""
    kind = stored.dtype
    if kind.names != ("head", "traj", "data") or stored.ndim != 1 or not stored.size:
        return False
    fields = set(kind["head"].names or ())
    return fields >= HEAD and set(kind["head"]["idx"].names or ()) >= COUNTERS


def _noise(rows: Array, imaging: Array, bandwidth: float, averages: float, path: Path) -> tuple[Noise, dict[str, Any]]:
    """Return level and covariance from noise acquisitions, scaled by dwell time, receiver bandwidth and averages."""
    from veridical.physics.coils import noise_covariance

    coils = int(imaging["head"]["active_channels"][0])
    usable = [row for row in rows if int(row["head"]["active_channels"]) == coils and len(row["data"]) >= 2 * coils]
    if not usable:
        return Noise("gaussian"), {}
    samples = np.concatenate([row["data"].astype(np.float32).view(np.complex64).reshape(coils, -1) for row in usable], 1)
    there, here = float(usable[0]["head"]["sample_time_us"]), float(imaging["head"]["sample_time_us"][0])
    ratio = there / here if there > 0 and here > 0 else 1.0
    covariance = noise_covariance(samples).numpy() * (ratio * bandwidth / averages)
    if not np.isfinite(covariance).all():
        raise FormatError(f"{path}: its noise acquisitions hold NaN or infinite samples; expected finite numbers.")
    level = float(np.sqrt(np.diagonal(covariance).real.mean() / 2))
    said = {"noise_covariance": covariance, "noise_samples": samples.shape[1], "noise_dwell_ratio": ratio}
    return Noise("gaussian", level), said


def _noncartesian(
    imaging: Array, encoding: Encoding, noise: Noise, header: dict[str, Any], masked: bool, path: Path
) -> Measurement:
    """Return the measurement of a scan along a trajectory, on the encoded matrix and field of view."""
    from veridical.physics.noncartesian_mri import NoncartesianScan

    if masked:
        raise InputError(f"{path} is not Cartesian, so a mask says nothing about its samples. Read it without the mask.")
    width, height, depth = encoding.matrix
    if depth > 1:
        raise InputError(
            f"{path} is a 3D scan of {depth} partitions along a trajectory; expected 2D slices. Transform it along kz first."
        )
    slices = np.unique(imaging["head"]["idx"]["slice"], return_inverse=True)[1]
    data, points = stack(imaging, slices, path)
    if not data.any():
        raise InputError(f"{path} holds no sample that is not zero; expected k-space. Check the file.")
    trajectory, units = cycles_per_field_of_view(points, encoding, path)
    millimetres = encoding.field_of_view
    spacing = (millimetres[0] / width, millimetres[1] / height, millimetres[2])
    geometry, order, note = _grid(imaging["head"], slices, (width, height, len(data)), spacing, path)
    header |= {"trajectory": encoding.trajectory or "not named", "trajectory_units": units, "affine_source": note}
    header |= {"readouts": len(imaging)}
    if encoding.readout_kept < width:
        header["readout_oversampling"] = "kept: the grid is that of the encoded field of view"
    silent = [int(coil) for coil in np.flatnonzero(~data.any((0, 2)))]
    header |= {"silent_coils": silent} if silent else {}
    return Measurement(data[order], NoncartesianScan(trajectory[order], (height, width)), noise, geometry, header)


def _slices(
    kspace: Array, taken: Array, heads: Array, lines: Lines, encoding: Encoding, path: Path
) -> tuple[Array, Array, Geometry, dict[str, Any]]:
    """Bring filled k-space `(slice, coil, kz, ky, kx)` to 2D slices on their grid."""
    said: dict[str, Any] = {}
    slices, _, depth, height, width = kspace.shape
    readout_mm, keep = encoding.field_of_view[0], encoding.readout_kept
    if keep < width and full_lines(taken, -1):
        said["readout_oversampling"] = f"removed: {width} to {keep}"
        readout_mm *= keep / width
        kspace, taken = remove_oversampling(kspace, taken, -1, keep)
    elif keep < width:
        said["readout_oversampling"] = "kept: some readouts are partial"
    width = kspace.shape[-1]
    spacing = (readout_mm / width, encoding.field_of_view[1] / height, encoding.field_of_view[2] / depth)
    if depth == 1:
        geometry, order, note = _grid(heads, lines.slice, (width, height, slices), spacing, path)
        return kspace[order, :, 0], taken[order, 0], geometry, {**said, "affine_source": note}
    if slices > 1:
        raise InputError(f"{path} holds {slices} slabs of a 3D scan; expected one. Split it first.")
    geometry, _, note = _grid(heads, lines.slice, (width, height, depth), spacing, path)
    data, plane, more = decouple(kspace[0], taken[0], path)
    if more["decoupled"] == "x":
        geometry = Geometry((height, depth, width), geometry.affine[:, [1, 2, 0, 3]], geometry.frame)
    return data, plane, geometry, {**said, **more, "affine_source": note}


def _grid(
    heads: Array, slices: Array, shape: tuple[int, int, int], spacing: tuple[float, float, float], path: Path
) -> tuple[Geometry, Array, str]:
    """Return the grid from positions and directions (LPS, turned to RAS), the order of slices along it, and a note.

    Where positions or directions are not set, or the field of view is not believable, only what is known is used.
    """
    local, note = local_grid(shape, spacing)
    firsts = heads[np.unique(slices, return_index=True)[1]]
    given = np.arange(len(firsts))
    axes = np.stack([firsts[name].astype(float) for name in ("read_dir", "phase_dir", "slice_dir")], -1)
    if not np.allclose(axes, axes[:1], atol=1e-3):
        raise GeometryError(f"{path} holds slices of several orientations; expected one. Split it first.")
    if local.frame == "index" or not np.allclose(axes[0].T @ axes[0], np.eye(3), atol=1e-3):
        return local, given, note
    places = firsts["position"].astype(float)
    along = places @ axes[0, :, 2]
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    middle = shape[2] // 2
    if len(steps):
        if not steps.any():
            return local, given, note
        if np.ptp(steps) > 0.01 * steps.max() + 1e-3:
            raise GeometryError(
                f"{path}: slices lie {steps.round(2).tolist()} mm apart; expected even distances. Split it first."
            )
        spacing, middle = (spacing[0], spacing[1], float(steps.mean())), 0
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ axes[0] * spacing
    affine[:3, 3] = LPS_TO_RAS @ places[order[0]] - affine[:3, :3] @ (shape[0] // 2, shape[1] // 2, middle)
    return Geometry(shape, affine, "scanner"), order, "position and directions of the acquisitions"
