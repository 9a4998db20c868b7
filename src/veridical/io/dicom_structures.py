"""RT Structure Sets: contours to masks and masks to contours; and what an RT Plan says.

A contour runs half-way between the voxels inside and outside, so that a mask drawn as contours and
filled again is the same mask. Contours of one plane are combined by the even-odd rule: one inside
another is a hole (PS3.3, C.8.8.6.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.io.dicom_series import LPS, PLAN, read_header
from veridical.io.dicom_slice import DAMAGE
from veridical.types import Array, Geometry, Image

T = TypeVar("T")
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
PLANAR = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FLAT = 0.5
"""Slices by which a contour may leave its plane, and that plane the nearest slice."""


@dataclass(frozen=True, eq=False)
class Structures:
    """A structure set.

    Args:
        frame: frame of reference UID.
        series: instance UIDs of the image series that it was drawn on.
        rois: name -> contours, each `(point, 3)` in mm, LPS.
    """

    frame: str
    series: tuple[str, ...]
    rois: Mapping[str, tuple[Array, ...]]

    def on(self, geometry: Geometry) -> Image:
        """Return masks on a grid whose slices the contours lie in.

        Args:
            geometry: of the image that it was drawn on.

        Returns:
            one channel a structure, 0 or 1, units `label`.

        Raises:
            GeometryError: contours cross the slices, or lie between them; or there is none.
        """
        if not self.rois:
            raise GeometryError("The structure set has no closed contour; there is no mask.")
        masks = [filled(contours, geometry, name) for name, contours in self.rois.items()]
        return Image(np.stack(masks), geometry, "label", tuple(self.rois), {"modality": "RTSTRUCT"})


def structures(path: str | Path) -> Structures:
    """Read an RT Structure Set.

    Raises:
        FormatError: it is damaged, or no structure set.
    """
    return _read(Path(path), STRUCTURE_SET, "an RT Structure Set", _structures)


def filled(contours: tuple[Array, ...], geometry: Geometry, name: str) -> Array:
    """Return the mask `(x, y, z)` of contours, uint8.

    Raises:
        GeometryError: contours cross the slices, or lie between them.
    """
    from skimage.draw import polygon2mask

    mask = np.zeros(geometry.shape, bool)
    inverse = np.linalg.inv(LPS @ geometry.affine)
    for contour in contours:
        voxels = contour @ inverse[:3, :3].T + inverse[:3, 3]
        planes = voxels[:, 2]
        plane = round(float(planes.mean()))
        if np.ptp(planes) > FLAT or np.abs(planes - plane).max() > FLAT:
            raise GeometryError(
                f"{name}: a contour lies at slices {planes.min():.2f} to {planes.max():.2f} of the "
                f"grid ({geometry}); expected one slice. Give the series that it was drawn on."
            )
        if 0 <= plane < geometry.shape[2]:
            low = np.clip(np.floor(voxels[:, :2].min(0)).astype(int), 0, geometry.shape[:2])
            high = np.clip(np.ceil(voxels[:, :2].max(0)).astype(int) + 1, 0, geometry.shape[:2])
            if (high > low).all():
                inside = polygon2mask(tuple(high - low), voxels[:, :2] - low)
                mask[low[0] : high[0], low[1] : high[1], plane] ^= inside
    return mask.astype(np.uint8)


def outlined(mask: Array, geometry: Geometry) -> list[tuple[int, Array]]:
    """Return the contours of a mask `(x, y, z)`: slice, and points `(point, 3)` in mm, LPS."""
    from skimage.measure import find_contours

    lps, found = LPS @ geometry.affine, []
    for plane in np.flatnonzero(mask.any((0, 1))).tolist():
        padded = np.pad(mask[:, :, plane].astype(np.float32), 1)
        for line in find_contours(padded, 0.5):
            points = np.column_stack([line[:-1] - 1, np.full(len(line) - 1, plane)])
            found.append((plane, points @ lps[:3, :3].T + lps[:3, 3]))
    return found


def plan(path: str | Path) -> dict[str, Any]:
    """Read what an RT Plan prescribes, without names and dates.

    Returns:
        `label`, `intent`, `fractions`, `prescribed` (Gy), and `beams`: of each its `type`,
        `radiation`, `energy` (MV or MeV), `meterset` and gantry angle (`gantry`, degrees).

    Raises:
        FormatError: it is damaged, or no plan.
    """
    return _read(Path(path), PLAN, "an RT Plan", _plan)


def _read(file: Path, storage: str, kind: str, taken: Callable[[Any], T]) -> T:
    """Return what is taken of the header of an object of one kind."""
    one = read_header(file)
    if str(one.get("SOPClassUID", "")) != storage:
        raise FormatError(f"{file} is {one.get('Modality')}; expected {kind}.")
    try:
        return taken(one)
    except DAMAGE as error:
        raise FormatError(
            f"{file} is damaged or not whole ({error}). Copy or export it again."
        ) from error


def _structures(one: Any) -> Structures:
    names = {
        int(roi.ROINumber): str(roi.get("ROIName") or f"roi {roi.ROINumber}")
        for roi in one.get("StructureSetROISequence") or ()
    }
    frames = [
        str(roi.get("ReferencedFrameOfReferenceUID") or "")
        for roi in one.get("StructureSetROISequence") or ()
    ]
    series = [
        str(item.SeriesInstanceUID)
        for frame in one.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for item in study.get("RTReferencedSeriesSequence") or ()
    ]
    rois: dict[str, tuple[Array, ...]] = {}
    for roi in one.get("ROIContourSequence") or ():
        contours = tuple(
            np.array(contour.ContourData, float).reshape(-1, 3)
            for contour in roi.get("ContourSequence") or ()
            if contour.get("ContourGeometricType") in PLANAR and len(contour.ContourData) >= 9
        )
        if contours:
            name = _free(names.get(int(roi.ReferencedROINumber), "roi"), rois)
            rois[name] = contours
    return Structures(next(filter(None, frames), "scanner"), tuple(series), rois)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name that is not taken, in letters, digits and dots."""
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_") or "roi"
    number, found = 2, plain
    while found in taken:
        found, number = f"{plain}.{number}", number + 1
    return found


def _plan(one: Any) -> dict[str, Any]:
    groups = one.get("FractionGroupSequence") or ()
    metersets = {
        int(beam.ReferencedBeamNumber): float(beam.get("BeamMeterset") or 0)
        for group in groups
        for beam in group.get("ReferencedBeamSequence") or ()
    }
    doses = [
        float(dose.TargetPrescriptionDose)
        for dose in one.get("DoseReferenceSequence") or ()
        if dose.get("TargetPrescriptionDose") is not None
    ]
    beams = []
    for beam in one.get("BeamSequence") or ():
        first = (beam.get("ControlPointSequence") or [{}])[0]
        energy, gantry = first.get("NominalBeamEnergy"), first.get("GantryAngle")
        beams.append(
            {
                "type": str(beam.get("BeamType") or ""),
                "radiation": str(beam.get("RadiationType") or ""),
                "energy": None if energy is None else float(energy),
                "gantry": None if gantry is None else float(gantry),
                "meterset": metersets.get(int(beam.BeamNumber)),
            }
        )
    return {
        "label": str(one.get("RTPlanLabel") or ""),
        "intent": str(one.get("PlanIntent") or ""),
        "fractions": sum(int(group.get("NumberOfFractionsPlanned") or 0) for group in groups),
        "prescribed": max(doses, default=None),
        "beams": beams,
    }
