"""Grid and kind of a file from its header, without its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veridical.errors import FormatError
from veridical.io import analyze, metaimage, nifti
from veridical.layouts.issues import Issue
from veridical.types import Geometry


@dataclass(frozen=True)
class Head:
    """What the headers of an entry say.

    Args:
        geometry: None where the file states none.
        channels: number of them.
        slices: number of slices, where it is not that of the grid.
        patient: of whom the file itself says it is; empty where it does not.
        issues: what is wrong with the headers.
    """

    geometry: Geometry | None
    channels: int = 1
    slices: int = 0
    patient: str = ""
    issues: tuple[Issue, ...] = ()


def head_of(path: Path) -> Head:
    """Return the grid and the number of channels of an image file; nothing is known of other kinds.

    Raises:
        FormatError: damaged, or too short for what its header promises.
        GeometryError: a spacing of zero, or a singular affine.
    """
    name = path.name.lower()
    if not path.exists():
        raise FormatError(
            f"{path} is a link to a file that is not there. Fetch it first (e.g. datalad get)."
        )
    if name.endswith((".nii", ".nii.gz")):
        return Head(*nifti.grid_of(path))
    if name.endswith((".mha", ".mhd")):
        return Head(*metaimage.grid_of(path))
    if name.endswith((".img", ".hdr")):
        return Head(*analyze.grid_of(path))
    return Head(None)
