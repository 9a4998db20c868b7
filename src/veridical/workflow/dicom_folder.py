"""Results of a folder of patients as DICOM objects, each beside the series it was made from."""

from __future__ import annotations

from pathlib import Path

from veridical.errors import InputError
from veridical.io.dicom_objects import highdicom
from veridical.layouts.base import Visit
from veridical.layouts.dicom_collection import DicomCollection
from veridical.layouts.discovery import Found
from veridical.terms import Terms
from veridical.types import Study
from veridical.workflow import dicom_results

OBJECTS = "dicom"
"""Name of the folder of the objects, in that of a result."""


def check(data: Found) -> None:
    """Refuse before the work what could not be written after it.

    Raises:
        InputError: the folder holds no DICOM series.
        MissingExtra: highdicom is not installed.
    """
    highdicom()
    if not isinstance(data.layout, DicomCollection):
        raise InputError(
            f"{data.listing.root} holds {data.layout.title}; --dicom writes beside DICOM series. "
            "Leave it out, or write a result with: veridical dicom RESULT FOLDER --source SERIES."
        )


def write(
    folder: Path, study: Study, images: tuple[tuple[float, str], ...], terms: Terms
) -> list[Path]:
    """Write a stored result, and return the files.

    Args:
        folder: of the result.
        study: the patient.
        images: day and name of each image that it was made from.
        terms: policy, ledger and override.
    """
    sources = []
    for day, name in images:
        visit = study.visits[day]
        assert isinstance(visit, Visit)  # patients of a folder are read by a layout
        sources += [visit.root / file for file in visit.entries[name].files]
    return dicom_results.write(folder, sources, folder / OBJECTS, terms=terms, overwrite=True)
