"""A reference sequence and the few measurements of each frame that is to be found: NIfTI with a
frame a channel, and an `.npz` of plain arrays.

The archive holds `times` `(frame,)` and `reference_times` `(reference frame,)` in seconds, and one
of these:

- `kspace` complex `(frame, coil, sample)` and `trajectory` `(frame, sample, 2)`: `(ky, kx)` in
  cycles per field of view; maybe `maps` `(coil, y, x)`, coil sensitivities with the phase of the
  object.
- `projections` `(frame, view, detector)`, of volumes `(frame, view, z, detector)`: line integrals
  of parallel rays; `angles` `(frame, view)` in degrees; maybe `pitch`, mm of a bin.
- `surrogate` `(frame, signal)` and `reference_surrogate` `(reference frame, signal)`.

Maybe `noise`: standard deviation of a measured number, per real component.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.files import read_image
from veridical.io.guards import BUDGET, existing, finite, named_target, replacing, within
from veridical.physics.coils import Coils
from veridical.physics.frames import ProjectionFrames, SurrogateFrames
from veridical.physics.noncartesian_mri import NoncartesianScan
from veridical.types import Array, Image, Measurement, Noise, Operator, Study

REFERENCE, FRAMES = "reference", "frames"
"""Names of the two in a study."""
KINDS = {
    "kspace": ("trajectory",),
    "projections": ("angles",),
    "surrogate": ("reference_surrogate",),
}
"""What is measured -> the arrays that it needs besides."""
OPTIONAL = ("maps", "pitch", "noise")


def read_sequence(
    reference: str | Path, measurements: str | Path, *, budget: int = BUDGET, **options: Any
) -> Study:
    """Read both as a study.

    Args:
        reference: image file; its channels are the frames.
        measurements: archive of the measurements.
        budget: bytes of memory that each read may take.
        options: of `veridical.read`, for the reference.

    Raises:
        InputError, FormatError, GeometryError: a file is not there, damaged, or does not fit.
    """
    image = read_image(reference, budget=budget, **options)
    arrays = _arrays(existing(measurements), budget)
    times = _times(arrays, "reference_times", len(image.channels), "frames of the reference")
    image = replace(image, header={**image.header, "times": times})
    scan = _measurement(arrays, image, Path(measurements))
    given = {key: value for key, value in options.items() if value is not None}
    source = {
        "path": str(Path(reference).resolve()),
        "measurements": str(Path(measurements).resolve()),
        "budget": budget,
        **given,
    }
    notes = tuple(str(note) for note in image.header.get("notes", ()))
    return Study("", {0.0: {REFERENCE: image, FRAMES: scan}}, notes=notes, source=source)


def write_measurements(scan: Measurement, reference: Image, path: str | Path) -> Path:
    """Write measurements of frames as such an archive and return the path; the file appears whole
    or not at all.

    Args:
        scan: the measurements, with `times` in their header.
        reference: with `times` in its header.
        path: ends in `.npz`.

    Raises:
        InputError: it is no measurement of frames, or the name does not end in `.npz`.
    """
    target, operator = Path(path), scan.operator
    named_target(target)
    if target.suffix.lower() != ".npz":
        raise InputError(f"{target} does not end in .npz. Give it that ending.")
    if isinstance(operator, NoncartesianScan):
        maps = operator.coils.maps
        arrays = {"kspace": scan.data, "trajectory": operator.trajectory}
        arrays |= {} if maps is None else {"maps": maps[0, 0]}
    elif isinstance(operator, ProjectionFrames):
        arrays = {"projections": scan.data, "angles": np.rad2deg(operator.angles)}
        arrays |= {} if operator.pitch is None else {"pitch": np.array(operator.pitch)}
    elif isinstance(operator, SurrogateFrames):
        arrays = {"surrogate": scan.data, "reference_surrogate": operator.reference}
    else:
        raise InputError(
            f"Raw data of {operator.name!r} are no frames of a sequence; expected radial k-space, "
            "projections or a surrogate signal."
        )
    arrays |= {} if scan.noise.level is None else {"noise": np.array(scan.noise.level)}
    arrays |= {
        "times": np.asarray(scan.header["times"], float),
        "reference_times": np.asarray(reference.header["times"], float),
    }
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return target


def _arrays(file: Path, budget: int) -> dict[str, Array]:
    """Return the arrays of the archive that are known here."""
    if not zipfile.is_zipfile(file):
        raise FormatError(
            f"{file} is no .npz archive; expected one with times, reference_times and one of "
            f"{', '.join(KINDS)}. Save it with numpy.savez."
        )
    wanted = {*KINDS, *OPTIONAL, "times", "reference_times"}
    wanted |= {name for needed in KINDS.values() for name in needed}
    try:
        with zipfile.ZipFile(file) as archive:
            within(sum(one.file_size for one in archive.infolist()), budget, file)
        with np.load(file, allow_pickle=False) as stored:
            found = {name: np.asarray(stored[name]) for name in stored.files if name in wanted}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{file} is damaged ({error}). Copy or save it again.") from error
    for array in found.values():
        finite(array, file)
    return found


def _measurement(arrays: Mapping[str, Array], image: Image, file: Path) -> Measurement:
    kinds = [name for name in KINDS if name in arrays]
    if len(kinds) != 1:
        raise FormatError(
            f"{file} holds {', '.join(kinds) or 'none'} of {', '.join(KINDS)}; expected exactly "
            "one. Save what was measured of the frames."
        )
    kind = kinds[0]
    missing = [name for name in KINDS[kind] if name not in arrays]
    if missing:
        raise FormatError(f"{file} holds {kind} but no {missing[0]}. Save it with them.")
    data: Array = np.asarray(arrays[kind])
    operator: Operator
    times = _times(arrays, "times", len(data) if data.ndim else 0, kind)
    level = float(arrays["noise"]) if "noise" in arrays else None
    if kind == "surrogate":
        data, operator = _surrogate(arrays)
    else:
        data, operator = (_kspace if kind == "kspace" else _projections)(arrays, image)
    return Measurement(data, operator, Noise("gaussian", level), image.geometry, {"times": times})


def _kspace(arrays: Mapping[str, Array], image: Image) -> tuple[Array, NoncartesianScan]:
    data, where = np.asarray(arrays["kspace"], np.complex64), arrays["trajectory"]
    data = data[:, None] if data.ndim == 2 else data
    if data.ndim != 3 or where.shape != (len(data), data.shape[2], 2):
        raise GeometryError(
            f"kspace {data.shape} with a trajectory {where.shape}; expected (frame, coil, sample) "
            "and (frame, sample, 2)."
        )
    across = [size for size in image.geometry.shape if size > 1]
    if len(across) != 2:
        raise GeometryError(f"Spokes of {image.geometry}; expected a reference of a single slice.")
    maps = arrays.get("maps")
    kept = Coils() if maps is None else Coils(np.asarray(maps, np.complex64)[None, None])
    return data, NoncartesianScan(where, (across[1], across[0]), kept)


def _projections(arrays: Mapping[str, Array], image: Image) -> tuple[Array, ProjectionFrames]:
    data = np.asarray(arrays["projections"], np.float32)
    data = data[:, :, None] if data.ndim == 3 else data
    pitch = float(arrays["pitch"]) if "pitch" in arrays else None
    return data, ProjectionFrames(np.deg2rad(arrays["angles"]), pitch)


def _surrogate(arrays: Mapping[str, Array]) -> tuple[Array, SurrogateFrames]:
    now, known = (
        np.asarray(array, float)[:, None] if np.ndim(array) == 1 else np.asarray(array, float)
        for array in (arrays["surrogate"], arrays["reference_surrogate"])
    )
    return now, SurrogateFrames(known)


def _times(arrays: Mapping[str, Array], name: str, count: int, what: str) -> tuple[float, ...]:
    """Return times in s, checked."""
    found = np.atleast_1d(np.asarray(arrays.get(name, []), float))
    if found.shape != (count,) or (np.diff(found) <= 0).any():
        raise FormatError(
            f"{name} of shape {found.shape} for {count} {what}; expected one time in s each, "
            "rising. Save them in the archive."
        )
    return tuple(float(time) for time in found)
