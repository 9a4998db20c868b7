"""Units of DICOM images: CT in HU where the file rescales to them, PET in SUV where it says what
they are computed from.

SUV by body weight, as the pseudocode of the Quantitative Imaging Biomarkers Alliance has it: `SUV =
activity concentration (Bq/mL) * weight (g) / dose (Bq)`, the dose decayed to the time that
`DecayCorrection` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import UnitsError
from veridical.io.dicom_slice import Slice

PET = {
    "BQML": "Bq/mL",
    "GML": "SUV",
    "CNTS": "counts",
    "PROPCNTS": "counts",
    "PROPCPS": "counts/s",
    "CPS": "counts/s",
}
TO_SUV, TO_BQML = (0x7053, 0x1000), (0x7053, 0x1009)
"""Philips: factors by which counts become SUV or Bq/mL."""
BODY_WEIGHT = ("", "BW")
LONGEST = 10.0
"""Half-lives between injection and scan beyond which the times cannot be right."""


@dataclass(frozen=True)
class Units:
    """Units of an image, where they come from, the factor that brings the values into them, and
    what is to be said.
    """

    units: str
    source: str
    factor: float = 1.0
    notes: tuple[str, ...] = ()


def units_of(images: Sequence[Slice], given: str | None, path: Path) -> Units:
    """Return the units of a series.

    Args:
        images: its slices; the first states the units.
        given: by the caller; None: what the file says, PET in SUV where they can be computed.
        path: for messages.

    Raises:
        UnitsError: units are given that contradict those of the file.
    """
    first = images[0]
    if first.modality == "PT":
        return _pet(images, given, path)
    if given:
        return Units(given, "given")
    if first.modality != "CT":
        return Units("a.u.", "modality MR" if first.modality == "MR" else "not stated")
    stated = str(first.entries.get("RescaleType") or "")
    if stated not in ("", "US"):
        return Units(stated, "RescaleType")
    if stated == "" and first.entries.get("RescaleIntercept") is not None:
        return Units("HU", "modality CT")
    why = "RescaleType US: unspecified" if stated else "no RescaleIntercept"
    note = (
        f"{path.name}: the CT does not state that its values are HU ({why}). If they are: --units "
        "HU."
    )
    return Units("a.u.", "not stated", notes=(note,))


def _pet(images: Sequence[Slice], given: str | None, path: Path) -> Units:
    entries = images[0].entries
    code = str(entries.get("Units") or "")
    stated, kind = PET.get(code, code), str(entries.get("SUVType") or "")
    if stated == "SUV" and kind not in BODY_WEIGHT:
        stated = f"SUV {kind}"
    if not stated:
        note = (
            f"{path.name}: the PET does not state its units. If they are SUV by body weight: "
            "--units SUV."
        )
        return Units(given, "given") if given else Units("a.u.", "not stated", notes=(note,))
    if given == stated or (given is None and stated.startswith("SUV")):
        return Units(stated, "Units")
    if given not in (None, "SUV"):
        raise UnitsError(
            f"{path} states its units, {stated} ({code}); --units {given} contradicts it. Leave it "
            "out."
        )
    factor, said = _to_suv(images, code)
    if factor is not None:
        return Units(
            "SUV",
            f"computed from {stated}",
            factor,
            (f"{path.name}: {stated} turned into SUV: {said}.",),
        )
    why = f"cannot be turned into SUV: {said}"
    if given == "SUV":
        raise UnitsError(
            f"{path} is in {stated} and {why}. Add what is missing; without --units it is read in "
            f"{stated}."
        )
    return Units(stated, "Units", notes=(f"{path.name} is in {stated} and {why}.",))


def _to_suv(images: Sequence[Slice], code: str) -> tuple[float | None, str]:
    """Return the factor to SUV by body weight and what it rests on; or None and why there is
    none.
    """
    entries = images[0].entries
    if code == "CNTS":
        direct, activity = (_positive(entries.get(tag)) for tag in (TO_SUV, TO_BQML))
        if direct:
            return direct, f"the factor {direct:g} of the manufacturer (7053,1000)"
        if not activity:
            return None, "counts need the factor (7053,1000) or (7053,1009) of the manufacturer"
        factor, said = _by_dose(images)
        return (
            (None, said)
            if factor is None
            else (factor * activity, f"{activity:g} Bq/mL a count (7053,1009), {said}")
        )
    if code != "BQML":
        return None, f"only Bq/mL and counts with a factor can be, not {code}"
    return _by_dose(images)


def _by_dose(images: Sequence[Slice]) -> tuple[float | None, str]:
    entries = images[0].entries
    items = entries.get("RadiopharmaceuticalInformationSequence") or ()
    tracer: Any = items[0] if items else {}
    weight, dose = (
        _positive(entries.get("PatientWeight")),
        _positive(tracer.get("RadionuclideTotalDose")),
    )
    life = _positive(tracer.get("RadionuclideHalfLife"))
    correction = str(entries.get("DecayCorrection") or "")
    needed = {"PatientWeight": weight, "RadionuclideTotalDose": dose, "DecayCorrection": correction}
    needed |= {"RadionuclideHalfLife": life} if correction != "ADMIN" else {}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        return None, f"{', '.join(missing)} not stated"
    said = f"weight {weight:g} kg, {dose / 1e6:.4g} MBq injected"
    if correction == "ADMIN":
        return (
            weight * 1000 / dose,
            f"{said}, values decay-corrected to the injection (DecayCorrection ADMIN)",
        )
    if correction != "START":
        return None, f"DecayCorrection is {correction}; START or ADMIN can be used"
    elapsed, clock = _elapsed(images, tracer)
    if elapsed is None:
        return None, clock
    if not 0 <= elapsed <= LONGEST * life:
        return (
            None,
            f"the scan began {elapsed / 60:.0f} minutes after the injection, which cannot be",
        )
    remaining = dose * 0.5 ** (elapsed / life)
    return weight * 1000 / remaining, (
        f"{said} {elapsed / 60:.1f} min before {clock}, half-life {life / 60:.1f} min, values "
        "decay-corrected to the start of "
        "the scan (DecayCorrection START)"
    )


def _elapsed(images: Sequence[Slice], tracer: Any) -> tuple[float | None, str]:
    """Return the seconds from the injection to the start of the scan, and which time that is; or
    None and why.
    """
    entries = images[0].entries
    series = _moment(entries.get("SeriesDate"), entries.get("SeriesTime"))
    taken = [
        _moment(one.entries.get("AcquisitionDate"), one.entries.get("AcquisitionTime"))
        for one in images
    ]
    first = min((moment for moment in taken if moment is not None), default=None)
    start, clock = series, "the series"
    if first is not None and (series is None or series > first):
        start, clock = first, "the first acquisition, since the series was made later"
    if start is None:
        return None, "SeriesTime and AcquisitionTime not stated"
    injected = _stamp(tracer.get("RadiopharmaceuticalStartDateTime"))
    if injected is None:
        injected = _moment(start.strftime("%Y%m%d"), tracer.get("RadiopharmaceuticalStartTime"))
        if injected is None:
            return None, "RadiopharmaceuticalStartTime not stated"
        injected -= timedelta(days=1) if injected > start else timedelta()
    return (start - injected).total_seconds(), clock


def _moment(date: Any, time: Any) -> datetime | None:
    return _stamp(f"{date or ''}{time or ''}") if date and time else None


def _stamp(text: Any) -> datetime | None:
    """Return a moment written `YYYYMMDDHHMMSS.FFFFFF`, without its time zone."""
    plain = str(text or "").replace(":", "").split("+")[0].split("-")[0]
    whole, _, rest = plain.partition(".")
    try:
        return datetime.strptime(whole.ljust(14, "0")[:14], "%Y%m%d%H%M%S") + timedelta(
            seconds=float(f"0.{rest or 0}")
        )
    except ValueError:
        return None


def _positive(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) and number > 0 else 0.0
