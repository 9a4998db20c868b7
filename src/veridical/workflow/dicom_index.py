"""What DICOM files say of the study that they belong to: its UIDs, day and patient; no pixels.

Headers are read one at a time and kept as plain values.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from veridical.errors import FormatError, InputError
from veridical.io.dicom import recognises
from veridical.io.dicom_file import dataset_of
from veridical.io.dicom_objects import SYNTHETIC

UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
"""PS3.5, 9.1: numbers without leading zeros between dots; at most 64 characters."""
TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "InstanceNumber",
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyTime",
    "TimezoneOffsetFromUTC",
    SYNTHETIC,
)


@dataclass(frozen=True)
class IndexedInstance:
    """One object: its UID, class, series, modality and number in the series."""

    uid: str
    sop_class: str
    series: str
    modality: str
    number: int | None


@dataclass(frozen=True)
class IndexedStudy:
    """One study.

    Args:
        uid: of the study.
        patient: identifier that the hospital gave the patient; empty where there is none.
        accession: number of the order; empty where there is none.
        started: day, or moment where the time zone is known, as ISO 8601; empty where not known.
        instances: sorted by series and number.
        synthetic: an object is marked as SyntheticData.
    """

    uid: str
    patient: str
    accession: str
    started: str
    instances: tuple[IndexedInstance, ...]
    synthetic: bool = False

    def series(self) -> dict[str, tuple[IndexedInstance, ...]]:
        """Return the instances by the UID of their series."""
        found: dict[str, list[IndexedInstance]] = {}
        for one in self.instances:
            found.setdefault(one.series, []).append(one)
        return {uid: tuple(instances) for uid, instances in found.items()}


def index(*sources: str | Path | Sequence[Path]) -> IndexedStudy:
    """Read the headers of DICOM files of one study.

    Args:
        sources: files, folders of files, or lists of files.

    Raises:
        InputError: there is no DICOM file, or they are of several studies.
        FormatError: a file is damaged or deflated, or a UID is none.
    """
    headers = [_header(path) for source in sources for path in _files(source)]
    if not headers:
        raise InputError(
            f"{sources[0] if sources else 'Nothing'} holds no DICOM file. Give the folder of the "
            "series that the result was made from."
        )
    studies = sorted({str(one["StudyInstanceUID"]) for one in headers})
    if len(studies) != 1:
        raise InputError(
            f"The DICOM files are of {len(studies)} studies; expected one. Give the files of the "
            "series that the result was made from."
        )
    found = {one["SOPInstanceUID"]: _instance(one) for one in headers}
    order = sorted(found.values(), key=lambda one: (one.series, one.number or 0, one.uid))
    first = headers[0]
    return IndexedStudy(
        studies[0],
        first["PatientID"],
        first["AccessionNumber"],
        _started(first),
        tuple(order),
        any(one[SYNTHETIC] == "YES" for one in headers),
    )


def checked_uid(value: str, path: Path) -> str:
    """Return a UID, which may then name files and addresses.

    Raises:
        FormatError: it is none.
    """
    if len(value) > 64 or not UID.fullmatch(value):
        raise FormatError(
            f"{path} has a UID that is none ({value[:40]!r}); expected numbers with dots between "
            "them. Export the file again."
        )
    return value


def _files(source: str | Path | Sequence[Path]) -> Iterator[Path]:
    if not isinstance(source, str | Path):
        for path in source:
            yield from _files(path)
        return
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path} does not exist; expected DICOM files. Check the path.")
    if path.is_dir():
        yield from (one for one in sorted(path.rglob("*")) if one.is_file() and recognises(one))
    elif not recognises(path):
        raise InputError(f"{path} is no DICOM file. Give the source that the result was made from.")
    else:
        yield path


def _header(path: Path) -> dict[str, str]:
    from pydicom import config

    try:
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = dataset_of(path, stop_before_pixels=True, specific_tags=list(TAGS))
            values = {tag: said.get(tag) for tag in TAGS}
        found = {tag: "" if one is None else str(one).strip() for tag, one in values.items()}
    except FormatError:
        raise
    except Exception as error:  # pydicom raises what its parser stumbles on
        raise FormatError(
            f"{path} is damaged, truncated or not DICOM ({type(error).__name__}). Copy or export "
            "it again."
        ) from error
    for tag in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        checked_uid(found[tag], path)
    return found


def _instance(said: dict[str, Any]) -> IndexedInstance:
    number = said["InstanceNumber"]
    return IndexedInstance(
        said["SOPInstanceUID"],
        said["SOPClassUID"],
        said["SeriesInstanceUID"],
        said["Modality"] or "OT",
        int(number) if re.fullmatch(r"[0-9]{1,9}", number) else None,
    )


def _started(said: dict[str, str]) -> str:
    """Return when a study began: with its time only where the time zone is stated too."""
    day, time, zone = said["StudyDate"], said["StudyTime"], said["TimezoneOffsetFromUTC"]
    for form, text in (("%Y%m%d%H%M%S%z", f"{day}{time[:6]}{zone}"), ("%Y%m%d", day)):
        with suppress(ValueError):
            moment = datetime.strptime(text, form)
            return moment.isoformat() if moment.tzinfo else moment.date().isoformat()
    return ""
