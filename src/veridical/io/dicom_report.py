"""Scores and findings of a result as a Structured Report: TID 1500, Measurement Report
(Comprehensive 3D SR).

One measurement group for each channel holds what the companions say of it; one for each finding
holds its verdict as a code, its numbers as measurements and its reason as text. Codes that the
standard lacks are private, of the scheme 99VERIDICAL, which the report declares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical import __version__
from veridical.io.dicom_maps import Where, finished, unit_code
from veridical.io.dicom_objects import (
    MAKER,
    SCHEME,
    ascii_text,
    highdicom,
    series_number,
)
from veridical.types import Finding, Result

SCHEME_UID = "2.25.197313337366246187107946042478317838346"
"""Of our coding scheme."""
VERDICT = "VER-VERDICT"
TITLE = "report"
LONGEST = 1024
"""Characters of a reason, the length of an unlimited text that viewers still show."""
REFERENCES = 20
"""Images that a measurement group refers to at most."""


def report(result: Result, where: Where, evidence: Sequence[Any]) -> Any:
    """Return the report.

    Args:
        result: with its findings and companions.
        where: it belongs.
        evidence: source images and derived objects that it is about, as datasets.

    Raises:
        MissingExtra: highdicom is not installed.
    """
    hd = highdicom()
    sr, job = hd.sr, where.job
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=job.uid("observer"),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=ascii_text(f"{job.task}, model {job.model}", 64),
        serial_number=__version__,
    )
    observer = sr.ObserverContext(
        observer_type=_dcm("Device"), observer_identifying_attributes=device
    )
    groups = [*_companions(result, where), *(_finding(one, k, where) for k, one in _all(result))]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_sct("ImagingProcedure"),
        imaging_measurements=groups,
        title=_dcm("ImagingMeasurementReport"),
    )
    scheme = hd.coding_schemes.CodingSchemeIdentificationItem(
        SCHEME, name="Veridical codes", version=__version__, uid=SCHEME_UID
    )
    made = sr.Comprehensive3DSR(
        evidence=[*evidence],
        content=content[0],
        series_instance_uid=job.uid(where.role),
        series_number=series_number(where.series, where.offset),
        sop_instance_uid=job.uid(where.role, 0),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        coding_schemes=[scheme],
        manufacturer_model_name=f"{MAKER} {job.task}"[:64],
        software_versions=__version__,
        device_serial_number=__version__,
    )
    return finished(made, where)


def _companions(result: Result, where: Where) -> Iterator[Any]:
    """Yield a group for each channel: mean interval width, mean evidence, share that was imagined;
    where they are absent, why.
    """
    image, band, parts = result.image, result.interval, result.evidence
    for index, channel in enumerate(image.channels):
        numbers: list[Any] = []
        if band is not None:
            wide = np.abs(np.asarray(band.upper[index]) - np.asarray(band.lower[index]))
            units = unit_code(image.units_of(channel))
            numbers.append(_number("mean width of interval", float(wide.mean()), units))
            numbers.append(_number("level of interval", float(band.level), unit_code("1")))
        if parts is not None and parts.map is not None:
            shares = np.asarray(parts.map[index])
            numbers.append(_number("mean evidence", float(shares.mean()), unit_code("1")))
        said = [f"{name} is absent: {why}" for name, why in sorted(result.absent.items())]
        said.insert(0, f"{result.kind} in {image.units_of(channel)}; {where.job.description()}")
        if band is not None:
            said.append(band.promises)
        yield _group(f"channel {channel}", where, numbers, [], " ".join(said))


def _finding(finding: Finding, number: int, where: Where) -> Any:
    """Return the group of a finding."""
    sr = highdicom().sr
    verdict = sr.QualitativeEvaluation(
        name=sr.CodedConcept(VERDICT, SCHEME, "Verdict"),
        value=_private(finding.verdict.replace("_", " ")),
    )
    numbers = [_number(name, value, unit_code("1")) for name, value in numeric(finding.evidence)]
    name = f"finding {number}: {finding.check}"
    return _group(name, where, numbers, [verdict], finding.reason, _private(finding.check))


def numeric(evidence: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of a finding's evidence, nested ones by `outer inner`."""
    for key, value in evidence.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from numeric(value, f"{name} ")
        elif isinstance(value, bool | np.bool_):
            continue
        elif isinstance(value, int | float | np.number) and np.isfinite(value):
            yield name, float(value)


def _group(
    name: str,
    where: Where,
    numbers: list[Any],
    verdicts: list[Any],
    text: str,
    kind: Any = None,
) -> Any:
    """Return a measurement group (TID 1501) with a comment."""
    sr = highdicom().sr
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=where.job.uid(where.role, name), identifier=ascii_text(name, 64)
        ),
        finding_type=kind,
        measurements=numbers or None,
        qualitative_evaluations=verdicts or None,
        source_images=[
            sr.SourceImageForMeasurementGroup(str(header.SOPClassUID), str(header.SOPInstanceUID))
            for header in where.series.headers[:REFERENCES]
        ],
    )
    if text.strip():
        comment = sr.TextContentItem(
            name=_dcm("Comment"),
            value=ascii_text(text.strip(), LONGEST),
            relationship_type="CONTAINS",
        )
        group[0].ContentSequence.append(comment)
    return group


def _number(name: str, value: float, units: Any) -> Any:
    return highdicom().sr.Measurement(name=_private(name), value=value, unit=units)


def _private(meaning: str) -> Any:
    """Return one of our codes, whose value follows from its meaning."""
    plain = re.sub(r"[^A-Z0-9]+", "-", ascii_text(meaning, 64).upper()).strip("-")
    return highdicom().sr.CodedConcept(f"VER-{plain}"[:64], SCHEME, ascii_text(meaning, 64))


def _dcm(keyword: str) -> Any:
    from pydicom.sr.codedict import codes

    return getattr(codes.DCM, keyword)


def _sct(keyword: str) -> Any:
    from pydicom.sr.codedict import codes

    return getattr(codes.SCT, keyword)


def _all(result: Result) -> Iterator[tuple[int, Finding]]:
    yield from enumerate(result.findings, 1)
