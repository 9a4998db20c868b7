"""De-identification of DICOM objects: the Basic Application Level Confidentiality Profile of
PS3.15, annex E, with two of its options.

The table of what to do with which attribute is that of dicom-anonymizer (edition 2026c). It is
applied here at every depth, since names also lie in sequences. UIDs are replaced by ones that
follow from a secret key, so that objects that belonged together still do, in this run and in later
ones with the same key, and nobody without the key can find the old ones.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from veridical import __version__
from veridical.errors import FormatError, MissingExtra
from veridical.io.dicom_objects import MAKER, SYNTHETIC, coded

EDITION = "dicomfields_2026c"
KINDS = ("Image Storage", "Segmentation Storage", "Parametric Map Storage", "RT Dose Storage",
         "RT Structure Set Storage", "RT Plan Storage")  # fmt: skip
"""Ends of the names of SOP classes that are redacted. Reports, documents, waveforms and
presentations hold free text and are left out.
"""
PICTURES = ("Secondary Capture", "Ultrasound", "VL ", "Video")
"""In the names of SOP classes whose pixels are likely to show a name."""
DUMMY = {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "CS": "REMOVED",
         "DS": "0", "IS": "0", "UR": "http://removed.invalid"}  # fmt: skip
"""VR -> a value that names nobody; numbers are 0, bytes none, all else `REMOVED`."""
NUMBERS = ("FD", "FL", "SS", "US", "SL", "UL", "SV", "UV")
BYTES = ("OB", "OW", "UN", "OF", "OD", "OL", "OV")
CHARACTERISTICS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "EthnicGroup",
                   "SmokingStatus", "PregnancyStatus", "PatientBodyMassIndex")  # fmt: skip
"""Kept by the Retain Patient Characteristics Option; SUV need the weight."""
BASIC = ("113100", "Basic Application Confidentiality Profile")
PATIENT = ("113108", "Retain Patient Characteristics Option")
MOVED = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")
FACELESS = ("113102", "Clean Recognizable Visual Features Option")
STANDARD = "1.2.840.10008."
"""Root of the UIDs that the standard assigns."""
DAYS = 3650
"""Dates are moved into the past by up to so many days, the same for all of a patient."""


@dataclass(frozen=True)
class Redaction:
    """How to de-identify.

    Args:
        key: secret that new UIDs and pseudonyms follow from.
        characteristics: keep sex, age, size and weight.
        dates: move all dates of a patient by the same number of days, and keep times; otherwise
            they are removed.
    """

    key: str = field(repr=False)
    characteristics: bool = False
    dates: bool = False

    def pseudonym(self, patient: str) -> str:
        """Return the new ID of a patient."""
        return f"VER-{self._hash('patient', patient)[:12].upper()}"

    def uid(self, old: str) -> str:
        """Return the UID that takes the place of another one; those of the standard stay."""
        from pydicom.uid import UID_dictionary

        if old in UID_dictionary or old.startswith(STANDARD):
            return old
        return f"2.25.{int(self._hash('uid', old)[:32], 16)}"

    def days(self, patient: str) -> int:
        """Return by how many days the dates of a patient are moved into the past."""
        return 1 + int(self._hash("days", patient)[:8], 16) % DAYS

    def _hash(self, what: str, text: str) -> str:
        return hmac.new(self.key.encode(), f"{what}/{text}".encode(), hashlib.sha256).hexdigest()


def refusal(one: Any) -> str:
    """Say why an object cannot be redacted; empty where it can."""
    kind = str(getattr(one.get("SOPClassUID"), "name", ""))
    if not kind.endswith(KINDS):
        return f"{kind or 'an unknown object'} may hold free text"
    if any(word in kind for word in PICTURES):
        return f"{kind} may show names in its pixels"
    if one.get("BurnedInAnnotation") == "YES":
        return "its pixels show annotations (BurnedInAnnotation YES)"
    return ""


def deidentify(one: Any, how: Redaction) -> Counter[tuple[str, str]]:
    """De-identify an object in place.

    Args:
        one: pydicom's dataset, with its file meta.
        how: key and options.

    Returns:
        How often what was done to which attribute: `(keyword, action)` -> count; no values.

    Raises:
        FormatError: it is none that can be (`refusal`).
        MissingExtra: dicom-anonymizer is not installed.
    """
    why = refusal(one)
    if why:
        raise FormatError(f"The object cannot be de-identified: {why}. Leave it out.")
    patient = str(one.get("PatientID") or one.get("PatientName") or "")
    synthetic, done = one.get(SYNTHETIC), Counter[tuple[str, str]]()
    before = one.get("BurnedInAnnotation")
    _clean(one, how, patient, done)
    one.PatientID = one.PatientName = how.pseudonym(patient)
    for tag, value in ((SYNTHETIC, synthetic), ("BurnedInAnnotation", before)):
        if value is not None:
            setattr(one, tag, value)
    _state(one, how)
    _fresh_meta(one)
    return done


def face_removed(one: Any) -> None:
    """State of a redacted object that its face was removed."""
    one.RecognizableVisualFeatures = "NO"
    one.DeidentificationMethodCodeSequence.append(_code(FACELESS))


@cache
def actions() -> Mapping[tuple[int, ...], str]:
    """Return the table of PS3.15: tag, or tag and mask of a repeating group -> action.

    Raises:
        MissingExtra: dicom-anonymizer is not installed.
    """
    try:
        from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
    except ImportError as error:
        raise MissingExtra(
            "De-identifying needs dicom-anonymizer. Install the extra: pip install "
            "'veridical[clinical]'."
        ) from error
    table = dicom_anonymization_database_selector(EDITION)
    return {tuple(tag): kind for kind, tags in table.items() if kind != "ALL_TAGS" for tag in tags}


def _clean(one: Any, how: Redaction, patient: str, done: Counter[tuple[str, str]]) -> None:
    """Apply the table to a dataset and all sequences that stay."""
    for tag in list(one.keys()):
        element = one[tag]
        name = element.keyword or f"({tag.group:04X},{tag.element:04X})"
        action = _action(element, how)
        if action == "keep" and element.VR == "SQ":
            for item in element.value:
                _clean(item, how, patient, done)
            continue
        if action == "keep":
            continue
        if action == "remove":
            del one[tag]
        elif action == "move":
            element.value = _each(element.value, lambda text: _moved(text, how.days(patient)))
        elif action == "uid":
            element.value = _each(element.value, lambda text: how.uid(str(text)))
        else:
            element.value = "" if action == "empty" else _dummy(element.VR)
        done[("private" if tag.is_private else name, action)] += 1


def _action(element: Any, how: Redaction) -> str:
    """Return what becomes of an element: keep, remove, empty, dummy, uid or move."""
    tag = element.tag
    if tag.is_private or element.VR == "UN":  # what is not known may hold anything
        return "remove"
    if element.VR == "UI":
        held = _listed(element.value)
        return "uid" if any(how.uid(str(one)) != str(one) for one in held) else "keep"
    kind = _kind((tag.group, tag.element))
    if not kind or (how.characteristics and element.keyword in CHARACTERISTICS):
        return "keep"
    if kind == "X_Z_U_STAR_TAGS":
        return "keep"
    if how.dates and element.VR in ("DA", "DT"):
        return "move"
    if how.dates and element.VR == "TM":
        return "keep"
    if kind == "X_TAGS" or element.VR == "SQ":
        return "remove"
    if kind in ("Z_TAGS", "X_Z_TAGS"):
        return "empty" if element.VR not in (*NUMBERS, *BYTES) else "remove"
    if kind == "Z_D_TAGS" and element.VR not in ("DA", "TM", "DT"):
        return "empty"  # a contrast agent `REMOVED` would read as one
    return "dummy"


def _kind(tag: tuple[int, int]) -> str:
    table = actions()
    found = table.get(tag)
    if found is None and tag[0] >> 8 in (0x50, 0x60):
        groups = (key for key in table if len(key) == 4)
        found = next(
            (
                table[key]
                for key in groups
                if tag[0] & key[2] == key[0] & key[2] and tag[1] & key[3] == key[1] & key[3]
            ),
            None,
        )
    return found or ""


def _dummy(kind: str) -> Any:
    if kind in NUMBERS:
        return 0
    return b"" if kind in BYTES else DUMMY.get(kind, "REMOVED")


def _each(value: Any, change: Any) -> Any:
    return [change(one) for one in value] if _is_list(value) else change(value)


def _listed(value: Any) -> list[Any]:
    return list(value) if _is_list(value) else [value] if value else []


def _is_list(value: Any) -> bool:
    return not isinstance(value, str | bytes) and hasattr(value, "__iter__")


def _moved(text: Any, days: int) -> str:
    """Return a date or date-time moved into the past; empty where it is none."""
    plain = str(text or "")
    try:
        moved = datetime.strptime(plain[:8], "%Y%m%d") - timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return moved.strftime("%Y%m%d") + plain[8:]


def _state(one: Any, how: Redaction) -> None:
    """Write what was done into the object."""
    one.PatientIdentityRemoved = "YES"
    one.DeidentificationMethod = f"{MAKER} {__version__}: PS3.15 annex E, table 2026c"
    options = [BASIC, *([PATIENT] if how.characteristics else []), *([MOVED] if how.dates else [])]
    one.DeidentificationMethodCodeSequence = [_code(option) for option in options]
    one.LongitudinalTemporalInformationModified = "MODIFIED" if how.dates else "REMOVED"


def _code(option: tuple[str, str]) -> Any:
    from pydicom.sr.coding import Code

    return coded(Code(option[0], "DCM", option[1]))


def _fresh_meta(one: Any) -> None:
    """Give the file a meta header and a preamble that say nothing of where it came from."""
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = one.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = one.SOPClassUID
    meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.file_meta, one.preamble = meta, b"\0" * 128
