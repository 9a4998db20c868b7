"""What words and sequence times say of a contrast, and where they contradict a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WORDS = {
    **dict.fromkeys(("t1", "t1w", "t1n", "t1pre", "mprage", "mpr"), "T1w"),
    **dict.fromkeys(("t1c", "t1ce", "t1gd", "t1post", "t1km"), "T1c"),
    **dict.fromkeys(("t2", "t2w"), "T2w"),
    **dict.fromkeys(("flair", "fla", "t2f", "t2flair"), "FLAIR"),
    **dict.fromkeys(("pd", "pdw"), "PD"),
    **dict.fromkeys(("ct", "ldct", "ndct"), "CT"),
    **dict.fromkeys(("pet", "suv"), "PET"),
    **dict.fromkeys(("mr", "mri"), "MR"),
    **{
        "cbct": "CBCT",
        "mra": "MRA",
        "swi": "SWI",
        "dwi": "DWI",
        "adc": "ADC",
        "bold": "bold",
        "dti": "DTI",
    },
}
"""Word in a file name -> contrast or modality."""
LABELS = frozenset(
    {
        "mask",
        "masks",
        "seg",
        "segmentation",
        "dseg",
        "aseg",
        "label",
        "labels",
        "gt",
        "roi",
        "brainmask",
        "annotation",
    }
    | {"lesion", "lesions", "tumor", "tumour"}
)
"""Words in a file name that mean a label map."""
AGENT = frozenset(
    {"gd", "gad", "gado", "gadolinium", "post", "ce", "km", "contrast", "postcontrast"}
)
ACQUISITION = {"T1": "T1w", "T2": "T2w", "PROTON_DENSITY": "PD", "FLUID_ATTENUATED": "FLAIR"}
"""`AcquisitionContrast` of enhanced MR -> contrast."""
MODALITIES = {"CT": {"CT", "CBCT"}, "PT": {"PET"}}
"""DICOM modality -> contrasts it may have; all others belong to MR."""
MR = frozenset(
    {"T1w", "T1c", "T2w", "FLAIR", "PD", "MR", "MRA", "SWI", "DWI", "ADC", "DTI", "bold", "cine"}
)


def words_of(text: str) -> list[str]:
    """Return the words of a name in small letters."""
    return [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]


def contrast_in(text: str) -> str | None:
    """Return the contrast that the last such word of a file name means, or None."""
    return next((WORDS[word] for word in reversed(words_of(text)) if word in WORDS), None)


def label_in(text: str) -> str | None:
    """Return the last word of a file name that means a label map, or None."""
    return next((word for word in reversed(words_of(text)) if word in LABELS), None)


def described(text: str) -> str | None:
    """Return the contrast that a series description means, where it is clear: `T2 FLAIR` is FLAIR,
    `T1 FLAIR` is not.
    """
    words = words_of(text)
    found = {WORDS[word] for word in words if word in WORDS} - {"MR"}
    if found == {"T2w", "FLAIR"}:
        return "FLAIR"
    if len(found) != 1:
        return None
    only = found.pop()
    return "T1c" if only == "T1w" and AGENT & set(words) else only


def contradiction(contrast: str, said: Mapping[str, Any]) -> str:
    """Return what of a header contradicts a contrast, in words, or nothing.

    Args: contrast: that the name of the file or folder says. said: `Modality`, `SeriesDescription`,
        `ProtocolName` as text; `EchoTime` and `InversionTime` in seconds; any may be absent.
    """
    modality = str(said.get("Modality") or "")
    if modality in ("CT", "PT", "MR"):
        allowed = MODALITIES.get(modality, MR)
        if contrast in MR | {"CT", "CBCT", "PET"} and contrast not in allowed:
            return f"the modality {modality}"
    for key in ("SeriesDescription", "ProtocolName"):
        other = described(str(said.get(key) or ""))
        if other and contrast in MR | {"CT", "CBCT", "PET"} and not _agree(contrast, other):
            return f"a {key} that means {other}"
    echo, inversion = _seconds(said.get("EchoTime")), _seconds(said.get("InversionTime"))
    if contrast == "T1w" and echo is not None and echo > 0.06:
        return f"an echo time of {1000 * echo:g} ms" + (
            f" and an inversion time of {1000 * inversion:g} ms" if inversion else ""
        )
    if contrast in ("T2w", "FLAIR") and echo is not None and 0 < echo < 0.02:
        return f"an echo time of {1000 * echo:g} ms"
    return ""


def of_header(said: Mapping[str, Any]) -> tuple[str, str]:
    """Return the contrast that the header of an MR image tells, and by what; empty where it does
    not.

    Args: said: `SeriesDescription`, `ProtocolName`, `AcquisitionContrast`, `ScanningSequence`,
        `EchoPulseSequence`, `ContrastBolusAgent`; `EchoTime`, `RepetitionTime`, `InversionTime` in
        ms; any may be absent.
    """
    words = {
        key: described(str(said.get(key) or "")) for key in ("SeriesDescription", "ProtocolName")
    }
    words["AcquisitionContrast"] = ACQUISITION.get(str(said.get("AcquisitionContrast") or ""))
    words["its sequence and its times"] = _by_times(said)
    basis, found = next(((key, value) for key, value in words.items() if value), ("", ""))
    if found == "T1w" and said.get("ContrastBolusAgent"):
        return "T1c", f"{basis} and ContrastBolusAgent"
    return str(found), basis


def _by_times(said: Mapping[str, Any]) -> str:
    """Return what sequence and times tell where they leave no doubt: spin echoes, and
    inversion-prepared gradient echoes.
    """
    kinds = said.get("ScanningSequence") or ()
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    echo, repetition = _seconds(said.get("EchoTime")), _seconds(said.get("RepetitionTime"))
    inversion = _seconds(said.get("InversionTime")) or 0.0
    if echo is None or repetition is None or "EP" in kinds:
        return ""
    if "SE" in kinds or said.get("EchoPulseSequence") == "SPIN":
        if echo >= 60 and repetition >= 2000:
            return "FLAIR" if inversion >= 1500 else "T2w" if not inversion else ""
        if 0 < echo <= 30 and not inversion:
            return "T1w" if repetition <= 1000 else "PD" if repetition >= 2000 else ""
    return "T1w" if {"GR", "IR"} <= kinds and echo <= 10 and 500 <= inversion <= 1300 else ""


def _agree(name: str, other: str) -> bool:
    """Say whether a header's contrast fits a name's; an agent that only one of them mentions is no
    contradiction.
    """
    return (
        name == other
        or {name, other} <= {"T1w", "T1c"}
        or (name == "MR" and other in MR)
        or name not in WORDS.values()
    )


def _seconds(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
