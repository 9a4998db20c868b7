"""ISMRMRD HDF5 files (Inati et al., MRM 2017, 10.1002/mrm.26089): acquisitions one by one, and a
header in XML.

Cartesian lines are placed by their encoding counters, or by trajectory coordinates when these lie
on a regular grid; any other trajectory, slice by slice, is read as it is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.acquisitions import ALONE, Sorted, sort
from veridical.io.guards import BUDGET, within
from veridical.io.hdf5 import Encoding, dataset, has, opened, parse_header, values
from veridical.io.kspace import (
    decouple,
    local_grid,
    measurement,
    readout_cropped,
    remove_oversampling,
    room,
    separated,
)
from veridical.io.noise_scans import NoiseScan, noise_of
from veridical.io.placing import Lines, fill, place
from veridical.io.trajectories import cycles_per_field_of_view, has_coordinates, stack
from veridical.types import Array, Geometry, Measurement

if TYPE_CHECKING:
    from veridical.physics.coils import Coils

HEAD = {
    *(
        "flags",
        "number_of_samples",
        "active_channels",
        "discard_pre",
        "discard_post",
        "center_sample",
        "encoding_space_ref",
    ),
    *(
        "trajectory_dimensions",
        "sample_time_us",
        "position",
        "read_dir",
        "phase_dir",
        "slice_dir",
        "idx",
    ),
}
COUNTERS = {"kspace_encode_step_1", "kspace_encode_step_2", "slice", "average", *ALONE}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
SAME_FIELD = 0.01
"""Largest relative difference of two fields of view that count as one."""


def recognises(path: Path) -> bool:
    """Say whether this is HDF5 with `dataset/data` and `dataset/xml`."""
    return has(path, "dataset/data", "dataset/xml")


def ismrmrd(
    path: str | Path,
    *,
    mask: str | Path | Array | None = None,
    contrast: str | None = None,
    select: str | None = None,
    budget: int = BUDGET,
) -> Measurement:
    """Read one scan of an ISMRMRD file.

    Args: path: HDF5 with `dataset/data` and `dataset/xml`. mask: `.npy` file or array, 1 where
        sampled; otherwise the acquired samples. Cartesian scans only. contrast: e.g. `T1w`, kept in
        the header. select: which scan of several, e.g. `encoding=1,repetition=2`; see
        `io.acquisitions.sort` for the rule without it. budget: bytes of memory that the read may
        take.

    Returns: Measurement with data `(slice, coil, ky, kx)` complex64: lines lie where their counters
        and `center_sample` say, reversed ones turned (no phase correction), averages averaged,
        embedded calibration lines part of the data, readout oversampling removed, a 3D scan split
        into slices. Its grid comes from the positions and directions in the file. The operator's
        `coils` hold a separate calibration scan, and the noise covariance where noise was measured,
        scaled to the dwell time and averages of the data. `header["notes"]` says what was chosen,
        assumed and left out. Of a non-Cartesian scan: data `(slice, coil, sample)` in the order of
        acquisition, all averages kept, with a `NoncartesianScan` on the encoded matrix;
        `trajectory_units` in the header says which units the coordinates were taken to have.

    Raises: FormatError: not ISMRMRD, truncated, counters outside the matrix, NaN. InputError: no
        imaging acquisition; not Cartesian and without coordinates, in three dimensions, with
        differing numbers of samples a slice or with a mask. SettingError: `select` names what is
        not there. GeometryError: slices of several orientations or uneven distances; coordinates in
        units that cannot be told. BudgetError: it would take more memory than `budget`.
    """
    file = Path(path)
    rows, encodings, technical = _content(file, budget)
    bandwidth = technical.pop("noise_bandwidth", 1.0)
    scan = sort(rows, encodings, select, file)
    slices = np.unique(scan.imaging["head"]["idx"]["slice"], return_inverse=True)[1]
    header = {
        **technical,
        **scan.header,
        "sample_time_us": float(scan.imaging["head"]["sample_time_us"][0]),
    }
    header |= {"contrast": contrast} if contrast else {}
    noise = NoiseScan.of_rows(
        scan.noise, int(scan.imaging["head"]["active_channels"][0]), bandwidth, file
    )
    try:
        lines, notes = place(scan.imaging, scan.encoding, slices, file)
    except FormatError:
        raise
    except InputError as off_grid:
        if not has_coordinates(scan.imaging):
            raise InputError(_without_coordinates(scan.encoding, file)) from off_grid
        return _noncartesian(scan, slices, noise, header, mask is not None, file)
    return _cartesian(
        scan, lines, noise, {**header, "notes": (*scan.notes, *notes)}, mask, budget, file
    )


def noise_rows(path: Path, coils: int, budget: int = BUDGET) -> NoiseScan | None:
    """Return the noise acquisitions of a file; all acquisitions of one without such a flag."""
    rows, _, technical = _content(path, budget)
    flagged = rows[(rows["head"]["flags"].astype(np.uint64) >> np.uint64(18)) & np.uint64(1) == 1]
    return NoiseScan.of_rows(
        flagged if len(flagged) else rows, coils, technical.get("noise_bandwidth", 1.0), path
    )


def _content(file: Path, budget: int) -> tuple[Array, tuple[Encoding, ...], dict[str, Any]]:
    """Return acquisitions, encoding spaces and technical entries."""
    with opened(file) as handle:
        stored, xml = dataset(handle, "dataset/data", file), dataset(handle, "dataset/xml", file)
        if not _are_acquisitions(stored) or not xml.size:
            raise FormatError(
                f"{file}: 'dataset/data' is {stored.shape} of {stored.dtype.names}; expected "
                "acquisitions."
            )
        within(3 * file.stat().st_size, budget, file)
        text, rows = values(xml, file).ravel()[0], values(stored, file, budget)
    return rows, *parse_header(text, file)


def _are_acquisitions(stored: Any) -> bool:
    """Say whether a data set has the compound type of ISMRMRD acquisitions, as far as it is used
    here.
    """
    kind = stored.dtype
    if kind.names != ("head", "traj", "data") or stored.ndim != 1 or not stored.size:
        return False
    fields = set(kind["head"].names or ())
    return fields >= HEAD and set(kind["head"]["idx"].names or ()) >= COUNTERS


def _without_coordinates(encoding: Encoding, file: Path) -> str:
    said = (
        f"{file}: a scan along a trajectory ({encoding.trajectory or 'not named'}) whose "
        "acquisitions are neither on a regular "
        "grid nor each with 2 or 3 coordinates a sample. Write the coordinates into the file"
    )
    if encoding.trajectory == "epi":
        return (
            f"{said}; or, when samples are evenly spaced along kx, name the trajectory cartesian "
            "or describe its timing."
        )
    return f"{said}."


def _cartesian(
    scan: Sorted,
    lines: Lines,
    noise: NoiseScan | None,
    header: dict[str, Any],
    mask: Any,
    budget: int,
    path: Path,
) -> Measurement:
    """Return the measurement of a Cartesian scan, lines on the grid."""
    from veridical.physics.coils import Coils

    encoding, heads = scan.encoding, scan.imaging["head"]
    width, height, depth = encoding.matrix
    shape = (int(lines.slice.max()) + 1, int(heads["active_channels"][0]), depth, height, width)
    room(shape, 24, budget, path)
    kspace, count = fill(scan.imaging, lines, shape)
    averages = float(np.mean(count[count > 0])) if count.any() else 1.0
    if averages != 1:
        header["averages"] = averages
        header["notes"] += (
            f"Samples that were acquired several times were averaged, {averages:.3g} times on "
            "average.",
        )
    if lines.reverse.any():
        header["reversed_lines"] = int(lines.reverse.sum())
    calibration, more = _calibration(scan, shape, path)
    coils = Coils(calibration=calibration)
    data, taken, geometry, grid_said, coils = _slices(
        kspace, count > 0, heads, lines, encoding, coils, path
    )
    notes = (*header["notes"], *more, *grid_said.pop("notes", ()), *_recon_note(encoding))
    level, coils, noise_said = noise_of(noise, header, coils)
    header |= {**grid_said, "mask_source": "acquisitions", "notes": (*notes, *noise_said)}
    return measurement(
        data, path, header, taken=taken, mask=mask, geometry=geometry, noise=level, coils=coils
    )


def _calibration(
    scan: Sorted, shape: tuple[int, ...], path: Path
) -> tuple[Array | None, list[str]]:
    """Return k-space of a separate calibration scan on the grid of the image, and what is to be
    said.
    """
    other, target = scan.calibration_encoding, scan.encoding
    if other is None:
        return None, []
    rows, count = scan.calibration, f"{len(scan.calibration)} lines of a separate calibration scan"
    apart = np.abs(np.divide(other.field_of_view, target.field_of_view) - 1)[
        : 3 if shape[2] > 1 else 2
    ]
    if (apart > SAME_FIELD).any() or not (other.even and target.even):
        return None, [
            f"{count} were left out: its field of view or trajectory is not that of the image."
        ]
    known = np.unique(scan.imaging["head"]["idx"]["slice"])
    # Lines of a smaller matrix are counted from its own centre, and lie around the centre of the
    # larger one.
    within_own, notes = place(
        rows, other, np.searchsorted(known, rows["head"]["idx"]["slice"]), path
    )
    shift = [big // 2 - small // 2 for big, small in zip(target.matrix, other.matrix, strict=True)]
    if min(shift) < 0:
        return None, [f"{count} were left out: its matrix is larger than that of the image."]
    lines = replace(
        within_own,
        start=within_own.start + shift[0],
        ky=within_own.ky + shift[1],
        kz=within_own.kz + shift[2],
    )
    return fill(rows, lines, shape)[0], [
        f"Coil maps come from {count}.",
        *[f"Of the calibration scan: {n}" for n in notes],
    ]


def _noncartesian(
    scan: Sorted,
    slices: Array,
    noise: NoiseScan | None,
    header: dict[str, Any],
    masked: bool,
    path: Path,
) -> Measurement:
    """Return the measurement of a scan along a trajectory, on the encoded matrix and field of
    view.
    """
    from veridical.physics.coils import Coils
    from veridical.physics.noncartesian_mri import NoncartesianScan

    imaging, encoding, notes = scan.imaging, scan.encoding, list(scan.notes)
    if masked:
        raise InputError(
            f"{path} is not Cartesian, so a mask says nothing about its samples. Read it without "
            "--mask."
        )
    width, height, depth = encoding.matrix
    if depth > 1:
        raise InputError(
            f"{path} is a 3D scan of {depth} partitions along a trajectory; expected 2D slices. "
            "Transform it along kz first."
        )
    data, points = stack(imaging, slices, path)
    if not data.any():
        raise InputError(
            f"{path} holds no sample that is not zero; expected k-space. Check the file."
        )
    trajectory, units = cycles_per_field_of_view(points, encoding, path)
    millimetres = encoding.field_of_view
    spacing = (millimetres[0] / width, millimetres[1] / height, millimetres[2])
    geometry, order, note = _grid(
        imaging["head"], slices, (width, height, len(data)), spacing, path
    )
    header |= {
        "trajectory": encoding.trajectory or "not named",
        "trajectory_units": units,
        "affine_source": note,
    }
    header |= {"readouts": len(imaging)}
    notes.append(f"Trajectory coordinates: {units}.")
    if encoding.readout_kept < width:
        header["readout_oversampling"] = "kept: the grid is that of the encoded field of view"
    if len(scan.calibration):
        notes.append(
            f"{len(scan.calibration)} lines of a separate calibration scan were left out: the scan "
            "is not Cartesian."
        )
    silent = [int(coil) for coil in np.flatnonzero(~data.any((0, 2)))]
    header |= {"silent_coils": silent} if silent else {}
    level, coils, more = noise_of(noise, header, Coils())
    header["notes"] = (*notes, *more)
    operator = NoncartesianScan(trajectory[order], (height, width), coils)
    return Measurement(data[order], operator, level, geometry, header)


def _slices(
    kspace: Array,
    taken: Array,
    heads: Array,
    lines: Lines,
    encoding: Encoding,
    coils: Coils,
    path: Path,
) -> tuple[Array, Array, Geometry, dict[str, Any], Coils]:
    """Bring filled k-space `(slice, coil, kz, ky, kx)` to 2D slices on their grid, and the
    calibration scan with it.
    """
    said: dict[str, Any] = {}
    slices, _, depth, height, width = kspace.shape
    readout_mm, keep, calibration = (
        encoding.field_of_view[0],
        encoding.readout_kept,
        coils.calibration,
    )
    if keep < width and (cropped := remove_oversampling(kspace, taken, -1, keep)) is not None:
        said["readout_oversampling"] = f"removed: {width} to {keep}"
        readout_mm *= keep / width
        kspace, taken = cropped
        calibration = None if calibration is None else readout_cropped(calibration, keep)
    elif keep < width:
        said["readout_oversampling"] = "kept: some readouts are partial"
        said["notes"] = (
            "Readout oversampling was kept, since some readouts are partial: the image shows a "
            "wider field.",
        )
    width = kspace.shape[-1]
    spacing = (
        readout_mm / width,
        encoding.field_of_view[1] / height,
        encoding.field_of_view[2] / depth,
    )
    if depth == 1:
        geometry, order, note = _grid(heads, lines.slice, (width, height, slices), spacing, path)
        coils = replace(
            coils, calibration=None if calibration is None else calibration[order, :, 0]
        )
        return (
            kspace[order, :, 0],
            taken[order, 0],
            geometry,
            {**said, "affine_source": note},
            coils,
        )
    if slices > 1:
        raise InputError(
            f"{path} holds {slices} slabs of a 3D scan; expected one. Choose one: --select slice=0."
        )
    geometry, _, note = _grid(heads, lines.slice, (width, height, depth), spacing, path)
    data, plane, more = decouple(kspace[0], taken[0], path)
    if calibration is not None:
        coils = replace(coils, calibration=separated(calibration[0], more["decoupled"]))
    if more["decoupled"] == "x":
        geometry = Geometry(
            (height, depth, width), geometry.affine[:, [1, 2, 0, 3]], geometry.frame
        )
    return data, plane, geometry, {**said, **more, "affine_source": note}, coils


def _recon_note(encoding: Encoding) -> list[str]:
    """Say where the scanner would have made another image of the same data."""
    seen, shown = encoding.field_of_view[1], encoding.recon_field_of_view[1]
    if abs(seen / shown - 1) <= SAME_FIELD:
        return []
    return [
        f"The image shows the encoded field of view along y, {seen:g} mm; the header asks for "
        f"{shown:g} mm."
    ]


def _grid(
    heads: Array,
    slices: Array,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    path: Path,
) -> tuple[Geometry, Array, str]:
    """Return the grid from positions and directions (LPS, turned to RAS), the order of slices along
    it, and a note.

    Where positions or directions are not set, or the field of view is not believable, only what is
    known is used.
    """
    local, note = local_grid(shape, spacing)
    firsts = heads[np.unique(slices, return_index=True)[1]]
    given = np.arange(len(firsts))
    axes = np.stack(
        [firsts[name].astype(float) for name in ("read_dir", "phase_dir", "slice_dir")], -1
    )
    if not np.allclose(axes, axes[:1], atol=1e-3):
        raise GeometryError(
            f"{path} holds slices of several orientations; expected one. Choose one: --select "
            "slice=0."
        )
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
                f"{path}: slices lie {steps.round(2).tolist()} mm apart; expected even distances. "
                "Choose one: --select slice=0."
            )
        spacing, middle = (spacing[0], spacing[1], float(steps.mean())), 0
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ axes[0] * spacing
    affine[:3, 3] = LPS_TO_RAS @ places[order[0]] - affine[:3, :3] @ (
        shape[0] // 2,
        shape[1] // 2,
        middle,
    )
    return Geometry(shape, affine, "scanner"), order, "position and directions of the acquisitions"
