"""Maps as DICOM Parametric Maps in 32-bit floats: interval width, evidence, and estimates that are
quantities; label maps as Segmentations.

Units are UCUM codes, quantities are defined by codes (PS3.3, C.7.6.16.2.11: real-world value
mapping), and places are those of the grid itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical import __version__
from veridical.errors import InputError
from veridical.io.dicom_images import EXACT, real, window_of
from veridical.io.dicom_objects import (
    ARBITRARY,
    MAKER,
    SCHEME,
    UCUM,
    DerivedJob,
    ascii_text,
    frame_of,
    highdicom,
    identity_of,
    moment,
    part_of_body,
    series_number,
    stamped,
)
from veridical.io.dicom_series import LPS, SourceSeries
from veridical.types import Array, Geometry

NUMBERS = {"width": "VER-WIDTH", "evidence": "VER-EVIDENCE", "estimate": "VER-ESTIMATE"}
MEANINGS = {
    "width": "Width of prediction interval",
    "evidence": "Share of voxel owed to measurement",
    "estimate": "Estimate",
}
STRUCTURES = {
    "white matter": "CerebralWhiteMatter",
    "cortex": "CerebralCortex",
    "lateral ventricle": "LateralVentricle",
    "cerebellar white matter": "CerebellarWhiteMatter",
    "thalamus": "Thalamus",
    "caudate": "CaudateNucleus",
    "putamen": "Putamen",
    "pallidum": "GlobusPallidus",
    "brain stem": "BrainStem",
    "fluid around the brain": "CerebrospinalFluid",
    "fluid": "CerebrospinalFluid",
    "grey matter": "GrayMatter",
    "skull": "Skull",
    "brain": "Brain",
}
"""Name of a label -> keyword of its SNOMED CT code; all else is an anatomical structure, or for
lesions a lesion.
"""


@dataclass(frozen=True)
class Where:
    """Where an object belongs: the series beside which it lies, its role and its numbers.

    Args:
        job: that made it.
        series: beside which it lies.
        role: of its series, `T1w interval`.
        offset: of its series number.
        channels: that it is about.
    """

    job: DerivedJob
    series: SourceSeries
    role: str
    offset: int
    channels: tuple[str, ...]


def parametric_map(data: Array, geometry: Geometry, quantity: str, units: str, where: Where) -> Any:
    """Return a map as a Parametric Map.

    Args:
        data: `(x, y, z)`, finite.
        geometry: its grid.
        quantity: `width`, `evidence` or `estimate`.
        units: of the values.
        where: it belongs.

    Raises:
        FormatError: there are NaN or infinities.
        MissingExtra: highdicom is not installed.
    """
    hd = highdicom()
    values = np.ascontiguousarray(real(data, where.role).transpose(2, 1, 0))
    centre, width = window_of(values, "1")
    code = hd.sr.CodedConcept(NUMBERS[quantity], SCHEME, MEANINGS[quantity])
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=quantity,
        lut_explanation=ascii_text(f"{MEANINGS[quantity]}, {where.role}", 64),
        unit=unit_code(units),
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=code,
    )
    made = hd.pm.ParametricMap(
        [*where.series.headers],
        values,
        content_label=re.sub(r"[^A-Z0-9_]", "_", quantity.upper())[:16],
        content_description=ascii_text(MEANINGS[quantity], 64),
        contains_recognizable_visual_features=quantity == "estimate",
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(centre, width, voi_lut_function=EXACT)],
        **_identity(where),
        **_planes(geometry),
    )
    return finished(made, where)


def segmentation(labels: Array, geometry: Geometry, names: Mapping[int, str], where: Where) -> Any:
    """Return a label map as a Segmentation with one binary segment a label; 0 is background.

    Args:
        labels: `(x, y, z)` integers.
        geometry: its grid.
        names: label -> name.
        where: it belongs.

    Raises:
        InputError: there is no label above 0.
        MissingExtra: highdicom is not installed.
    """
    hd = highdicom()
    held = [int(label) for label in np.unique(labels) if label > 0]
    if not held:
        raise InputError(f"{where.role} holds background only; there is no segment to write.")
    frames = labels.transpose(2, 1, 0)
    masks = np.stack([frames == label for label in held], axis=-1).astype(np.uint8)
    family = hd.sr.CodedConcept("123109", "DCM", "Artificial Intelligence")
    algorithm = hd.AlgorithmIdentificationSequence(
        ascii_text(where.job.model, 64), family, __version__, source=MAKER
    )
    described = [
        _segment(number, names.get(label, f"label {label}"), algorithm, where.job)
        for number, label in enumerate(held, 1)
    ]
    made = hd.seg.Segmentation(
        [*where.series.headers],
        masks,
        segmentation_type="BINARY",
        segment_descriptions=described,
        content_label="SEGMENTATION",
        content_description=ascii_text(where.role, 64),
        **_identity(where),
        **_planes(geometry),
    )
    return finished(made, where)


def finished(made: Any, where: Where) -> Any:
    """Return an object of highdicom's with our marks, and nothing in it that another run would make
    otherwise: dates of the source, UIDs of the job.
    """
    job, series = where.job, where.series
    identity_of(made, series)
    date, time = moment(series)
    made.ContentDate = made.SeriesDate = date
    made.ContentTime = made.SeriesTime = time
    for tag in ("InstanceCreationDate", "InstanceCreationTime"):
        if tag in made:
            delattr(made, tag)
    if "FrameOfReferenceUID" in made:
        made.FrameOfReferenceUID = frame_of(job, series)
        part_of_body(made, series)
    made.SeriesDescription = ascii_text(f"Veridical {job.task}: {where.role}, research", 64)
    dimension = job.uid(where.role, "dimensions")

    def settled(item: Any, element: Any) -> None:
        if element.keyword == "DimensionOrganizationUID":
            element.value = dimension
        if element.keyword == "SpacingBetweenSlices" and int(made.NumberOfFrames) == 1:
            element.value = item.SliceThickness  # highdicom puts 1 mm where there is one frame

    made.walk(settled)
    stamped(made, job, series, where.channels)
    return made


def unit_code(units: str) -> Any:
    """Return the UCUM code of units."""
    value, meaning = UCUM.get(units, UCUM["SUV"] if units.startswith("SUV") else ARBITRARY)
    return highdicom().sr.CodedConcept(value, "UCUM", meaning)


def _identity(where: Where) -> dict[str, Any]:
    job = where.job
    return {
        "series_instance_uid": job.uid(where.role),
        "series_number": series_number(where.series, where.offset),
        "sop_instance_uid": job.uid(where.role, 0),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": f"{MAKER} {job.task}"[:64],
        "software_versions": __version__,
        "device_serial_number": __version__,
    }


def _planes(geometry: Geometry) -> dict[str, Any]:
    """Return where the frames of a grid lie, as highdicom wants it."""
    hd = highdicom()
    lps = LPS @ geometry.affine
    axes = [lps[:3, k] / np.linalg.norm(lps[:3, k]) for k in range(2)]
    thickness = abs(float(np.cross(*axes) @ lps[:3, 2]))
    positions = [(lps @ np.array([0, 0, k, 1.0]))[:3] for k in range(geometry.shape[2])]
    return {
        "pixel_measures": hd.PixelMeasuresSequence(
            (geometry.spacing[1], geometry.spacing[0]), thickness, thickness
        ),
        "plane_orientation": hd.PlaneOrientationSequence(
            "PATIENT", tuple(np.concatenate(axes).tolist())
        ),
        "plane_positions": [
            hd.PlanePositionSequence("PATIENT", tuple(position.tolist())) for position in positions
        ],
    }


def _segment(number: int, name: str, algorithm: Sequence[Any], job: DerivedJob) -> Any:
    from pydicom.sr.codedict import codes

    sick = "lesion" in name or "tumour" in name
    kind = codes.SCT.Lesion if sick else codes.SCT.AnatomicalStructure
    category = codes.SCT.MorphologicallyAbnormalStructure if sick else codes.SCT.AnatomicalStructure
    if name in STRUCTURES:
        kind = getattr(codes.SCT, STRUCTURES[name])
    return highdicom().seg.SegmentDescription(
        number,
        ascii_text(name, 64),
        category,
        kind,
        "AUTOMATIC",
        algorithm,
        tracking_uid=job.uid("segment", name),
        tracking_id=ascii_text(name, 64),
    )
