"""Where a NIfTI image lies: its sform, its qform where that cannot be used, its spacing alone, or
nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import GeometryError
from veridical.types import Array, Geometry

FRAMES = {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni"}
"""Code of sform or qform -> frame of reference."""
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Code of the spatial unit -> millimetres; not stated is taken as millimetres, as all readers do.
"""
UNIT = 0.02
"""By how much the norm of a quaternion may exceed 1 from rounding and still be normalized."""
APART = 0.1
"""Millimetres at a corner by which sform and qform may differ unmentioned: the qform is rounded,
and holds no shear.
"""


def placed_by(
    header: Any, shape: tuple[int, int, int], frame: str | None, path: Path
) -> tuple[Geometry, str, list[str]]:
    """Return the grid, where it comes from, and what was assumed, one sentence each.

    Args:
        header: nibabel's, with the spacings as they are stored.
        shape: of the grid.
        frame: of reference, where the file states it otherwise; None: by the code of the form.
        path: for messages.

    Raises:
        GeometryError: sform and qform are both singular or not finite.
    """
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    forms = {
        "sform": _sform(header) if codes["sform"] else None,
        "qform": _qform(header, shape) if codes["qform"] else None,
    }
    usable = {name: form for name, form in forms.items() if form is not None and _invertible(form)}
    if not usable and any(codes.values()):
        raise GeometryError(
            f"{path}: neither sform (code {codes['sform']}) nor qform (code {codes['qform']}) can "
            "be used: they are singular, "
            "not finite or not set. Set one of them from the source of the image, for instance "
            "with nibabel."
        )
    if not usable:
        return _unplaced(header, shape, path)
    name = next(iter(usable))
    notes = _said(name, usable, codes, shape, path)
    if min(shape) == 1 and name == "qform" and 0 in header["pixdim"][1:4]:
        notes.append(f"{path.name} does not state the thickness of its slice; 1 mm was assumed.")
    affine = usable[name].copy()
    affine[:3] *= MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    return Geometry(shape, affine, frame or FRAMES.get(codes[name], "aligned")), name, notes


def _sform(header: Any) -> Array:
    return np.array([*(header[f"srow_{axis}"] for axis in "xyz"), [0, 0, 0, 1]], np.float64)


def _qform(header: Any, shape: tuple[int, int, int]) -> Array | None:
    """Return the matrix of the quaternion; None where that is no rotation or a spacing is
    missing.
    """
    from nibabel.quaternions import quat2mat

    vector = np.array([header[f"quatern_{name}"] for name in "bcd"], np.float64)
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length > 1 + UNIT:
        return None
    vector /= max(length, 1.0)
    spacing = np.array(header["pixdim"][1:4], np.float64)
    spacing[(spacing == 0) & (np.array(shape) == 1)] = 1.0
    spacing[2] *= -1.0 if header["pixdim"][0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([max(0.0, 1 - float(vector @ vector)) ** 0.5, *vector]) * spacing
    affine[:3, 3] = [header[f"qoffset_{axis}"] for axis in "xyz"]
    return affine


def _invertible(affine: Array) -> bool:
    return bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) > 1e-12


def _said(
    name: str,
    usable: dict[str, Array],
    codes: dict[str, int],
    shape: tuple[int, int, int],
    path: Path,
) -> list[str]:
    """Return what is to be said about the choice of one form."""
    if name == "qform" and codes["sform"]:
        return [
            f"{path.name}: the sform is singular or not finite; the qform (code {codes['qform']}) "
            "was used."
        ]
    if len(usable) < 2:
        return []
    ends = np.array([[0, 0, 0, 1], *np.diag([*(n - 1 for n in shape), 1])], float).T
    ends[3] = 1
    apart = float(np.linalg.norm(((usable["sform"] - usable["qform"]) @ ends)[:3], axis=0).max())
    if apart <= APART:
        return []
    named = f"sform (code {codes['sform']}) and qform (code {codes['qform']})"
    return [f"{path.name}: {named} differ by up to {apart:.3g} mm; the sform was used."]


def _unplaced(
    header: Any, shape: tuple[int, int, int], path: Path
) -> tuple[Geometry, str, list[str]]:
    """Return the grid of a file without sform and qform: its spacing where that is stated."""
    axes = int(header["dim"][0])
    spacing = np.array(header["pixdim"][1:4], np.float64)
    spacing[min(axes, 3) :] = 1.0
    spacing[(spacing == 0) & (np.array(shape) == 1)] = 1.0
    unit = int(header["xyzt_units"]) & 7
    if not np.isfinite(spacing).all() or spacing.min() <= 0 or (unit == 0 and (spacing == 1).all()):
        return Geometry.index(shape), "none; neither spacing nor position stated", []
    spacing *= MILLIMETRES.get(unit, 1.0)
    return by_spacing(shape, spacing, path)


def by_spacing(
    shape: tuple[int, int, int], spacing: Array, path: Path
) -> tuple[Geometry, str, list[str]]:
    """Return the grid of a file that states its voxel size in mm alone, what that rests on, and the
    note about it.
    """
    note = (
        f"{path.name} states its voxel size only: position and orientation, left and right are not "
        "known."
    )
    return (
        Geometry(shape, np.diag([*spacing, 1.0]), "local"),
        "spacing only; position, left and right not stated",
        [note],
    )
