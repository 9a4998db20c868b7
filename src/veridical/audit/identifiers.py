"""Identifiers: what in the files of a subject still says who the patient is?

Looked at are the tags of DICOM files (after the confidentiality profile of DICOM PS3.15, annex E),
the text fields and extensions of NIfTI headers, JSON sidecars, tables, and names of files. Names
tell of tags and kinds, never of values, so that no finding repeats what it warns of. What a free
text says in other words than a date, a name in DICOM form, a number that a person can be reached
at, or a hospital, is not seen; images are the business of `burned-in` and `face`.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from veridical.audit.audited_study import AuditedStudy
from veridical.io.dicom_file import dataset_of
from veridical.types import Finding, Result, Study, Verdict

NAME = "identifiers"
SUBJECT = "set"
DIRECT = frozenset(
    [
        "patientname",
        "patientid",
        "patientbirthdate",
        "patientbirthtime",
        "otherpatientids",
        "otherpatientnames",
        "patientbirthname",
        "patientaddress",
        "patienttelephonenumbers",
        "patientmothersbirthname",
        "issuerofpatientid",
        "medicalrecordlocator",
        "militaryrank",
        "countryofresidence",
        "responsibleperson",
        "accessionnumber",
        "insuranceplanidentification",
        "name",
        "surname",
        "firstname",
        "lastname",
        "birthdate",
        "dateofbirth",
        "dob",
        "address",
        "phone",
        "telephone",
        "email",
        "mrn",
        "ssn",
    ]
)
"""Tags, keys and columns that name a patient, without punctuation."""
INDIRECT = frozenset(
    [
        "institutionname",
        "institutionaddress",
        "institutionaldepartmentname",
        "referringphysicianname",
        "referringphysicianaddress",
        "performingphysicianname",
        "physiciansofrecord",
        "operatorsname",
        "nameofphysiciansreadingstudy",
        "requestingphysician",
        "scheduledperformingphysicianname",
        "stationname",
        "deviceserialnumber",
        "studydate",
        "seriesdate",
        "acquisitiondate",
        "contentdate",
        "acquisitiondatetime",
        "studytime",
        "seriestime",
        "acquisitiontime",
        "contenttime",
        "instancecreationdate",
        "instancecreationtime",
        "performedprocedurestepstartdate",
        "scanstartdate",
        "acqtime",
        "studyid",
        "studyinstanceuid",
        "seriesinstanceuid",
        "sopinstanceuid",
        "frameofreferenceuid",
        "requestattributessequence",
        "additionalpatienthistory",
        "patientcomments",
        "imagecomments",
        "studycomments",
        "occupation",
        "ethnicgroup",
        "patientreligiouspreference",
    ]
)
"""Those that tell a patient together with other knowledge: dates, places, people, devices, unique
identifiers, free text.
"""
PSEUDONYMS = frozenset({"patientname", "patientid"})
UIDS = frozenset({"studyinstanceuid", "seriesinstanceuid", "sopinstanceuid", "frameofreferenceuid"})
"""Taken as replaced where the file says that the patient's identity was removed."""
EMPTY = frozenset(
    {"", "n/a", "na", "none", "unknown", "anonymous", "anonymized", "anonymised", "anon"}
    | {"removed", "deidentified", "de-identified", "xxx", "xxxx", "0", "000000", "000000.000000"}
    | {"19000101", "00010101", "19700101"}
)
"""Values that say nothing."""
TEXTS = {
    "a date": re.compile(
        r"(?<![\w.])(?:19|20)\d\d([-/.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\w|\.\d)"
    ),
    "a name in DICOM form": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}"),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"),
    "a telephone number": re.compile(r"(?<![\w.])\+\d[\d ()/-]{7,}\d"),
    "a hospital": re.compile(r"hospital|clinic\b|klinik|hôpital|infirmary", re.IGNORECASE),
    "a time of acquisition": re.compile(r"\bTime=\d{5,6}"),
}
"""Kind -> how a text of it looks."""
TABLES = {".tsv": "\t", ".csv": ","}
IMAGES = (".nii", ".nii.gz", ".hdr")
OWN = frozenset({"report.json", "provenance.json"})
"""Records of ours, in which dates are of computations."""
LARGEST = 2**24
"""Bytes of a text file beyond which it is not looked at."""
SHOWN = 6
OLDEST = 89
"""Years from which an age tells a person (US Code of Federal Regulations, title 45, 164.514)."""

Found = tuple[str, bool]
"""Where something was found, and whether it names the patient."""


def identifiers(study: Study, result: Result) -> Finding | None:
    """Look for identifiers in the files of a subject; None for what is in memory."""
    if not isinstance(study, AuditedStudy) or not study.files:
        return None
    direct, indirect, unread = Counter[str](), Counter[str](), 0
    for file in study.files:
        try:
            found = set(of_file(file))
        except (OSError, ValueError):
            unread += 1
            continue
        direct.update(where for where, names in found if names)
        indirect.update(where for where, names in found if not names)
    evidence = {
        "direct": dict(direct),
        "indirect": dict(indirect),
        "files": len(study.files),
        "unread": unread,
    }
    verdict: Verdict = "fail" if direct else "warn" if indirect or unread else "pass"
    said = f"{len(study.files)} files were looked at"
    if unread:
        said += f", {unread} of them could not be read"
    if verdict == "pass":
        reason = f"{said}; no tag, field or name that is known to identify a patient is filled."
        return Finding(NAME, verdict, reason, evidence)
    parts = [
        f"{what}: {_shown(found)}" for what, found in
        (("these name a patient", direct), ("these can tell one", indirect)) if found
    ]  # fmt: skip
    advice = "Values are not repeated here. Empty these fields, or replace them, before you share."
    return Finding(NAME, verdict, f"{said}. {'; '.join(parts)}. {advice}", evidence)


def _shown(found: Counter[str]) -> str:
    named = [f"{where} ({count})" for where, count in found.most_common(SHOWN)]
    more = len(found) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def of_file(file: Path) -> Iterator[Found]:
    """Yield where a file says who the patient is: the tag, key, column or field, and no value."""
    yield from ((f"file name: {kind}", False) for kind in kinds(file.name.replace("_", " ")))
    suffix = file.suffix.lower()
    if file.name in OWN:
        return
    if file.name.lower().endswith(IMAGES):
        yield from _nifti(file)
    elif suffix == ".json" and file.stat().st_size < LARGEST:
        yield from _mapping(json.loads(file.read_text(encoding="utf-8")))
    elif suffix in TABLES and file.stat().st_size < LARGEST:
        yield from _table(file, TABLES[suffix])
    elif _is_dicom(file):
        yield from _dicom(file)


def kinds(text: str) -> list[str]:
    """Return what kinds of identifying text are in a text."""
    return [kind for kind, pattern in TEXTS.items() if pattern.search(text)]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _filled(value: Any) -> bool:
    return str(value).strip().lower() not in EMPTY


def _named(name: str, value: Any) -> Iterator[Found]:
    """Judge one value by its name, and by what it looks like where it is text."""
    plain = _plain(name)
    if not _filled(value):
        return
    if plain in DIRECT or plain in INDIRECT:
        yield name, plain in DIRECT
    elif plain in ("age", "patientage") and _years(value) > OLDEST:
        yield f"{name} above {OLDEST}", False
    elif isinstance(value, str):
        yield from ((f"{name}: {kind}", kind.startswith("a name")) for kind in kinds(value))


def _years(value: Any) -> float:
    found = re.fullmatch(r"0*(\d+(?:\.\d+)?)Y?", str(value).strip())
    return float(found[1]) if found else 0.0


def _mapping(content: Any) -> Iterator[Found]:
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, dict | list):
                yield from _mapping(value)
            else:
                yield from _named(str(key), value)
    elif isinstance(content, list):
        for one in content:
            yield from _mapping(one) if isinstance(one, dict | list) else ()


def _table(file: Path, delimiter: str) -> Iterator[Found]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream, delimiter=delimiter):
            for column, value in row.items():
                if isinstance(value, str):
                    yield from _named(f"column {column}" if not column else str(column), value)


def _nifti(file: Path) -> Iterator[Found]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        header: Any = nibabel.load(file).header
    except ImageFileError as error:
        raise ValueError(str(error)) from error
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        if field in header:
            text = bytes(header[field].tobytes()).split(b"\0")[0].decode("latin-1")
            yield from _named(f"NIfTI {field}", text)
    for extension in getattr(header, "extensions", ()):
        content = extension.get_content()
        if hasattr(content, "walk"):
            yield from ((f"NIfTI extension, {name}", names) for name, names in _dataset(content))
        else:
            text = content.decode("latin-1") if isinstance(content, bytes) else str(content)
            yield from ((f"NIfTI extension: {kind}", False) for kind in kinds(text))


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _dicom(file: Path) -> Iterator[Found]:
    yield from _dataset(dataset_of(file, stop_before_pixels=True))


def _dataset(dataset: Any) -> Iterator[Found]:
    """Judge the tags of a DICOM data set, those within sequences too."""
    removed = str(dataset.get("PatientIdentityRemoved", "")).upper() == "YES"
    spared: Iterable[str] = PSEUDONYMS | UIDS if removed else ()
    for element in dataset.iterall():
        if element.tag.is_private:
            if not element.tag.is_private_creator and _filled(element.value):
                yield "private tags", False
        elif element.VR != "SQ" and _plain(element.keyword) not in spared:
            value = element.value
            yield from _named(element.keyword or str(element.tag), _text(value))


def _text(value: Any) -> str:
    """Return a value as text; several values are joined."""
    return "\\".join(map(str, value)) if isinstance(value, list) else str(value or "")
