"""A result as FHIR resources: ImagingStudy, Observation, DiagnosticReport, Provenance, Device.

FHIR R5 (https://hl7.org/fhir/R5) and R4B (https://hl7.org/fhir/R4B). Identifiers follow from the
source and the job, so that the same result gives the same resources again. Every resource is marked
as asserted by an algorithm (security label `AIAST`), as research only, and as synthetic where a
contrast was synthesized. Nothing is final: a person has not looked at it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from veridical import __version__
from veridical.evaluation.regions import foreground
from veridical.governance.gate import findings_of
from veridical.io.dicom_objects import synthesized
from veridical.report import numbers, words
from veridical.report.result_page import finite
from veridical.types import Finding, Result, Score
from veridical.workflow.dicom_index import IndexedInstance, IndexedStudy

Version = Literal["R5", "R4B"]
Resource = dict[str, Any]

NAMESPACE = uuid.UUID("5d2d7b5e-8f64-5c2b-9a0e-3f0c5a0a7c11")
OURS = "urn:veridical:"
"""Start of the code systems of our own: check, verdict, measure, mark, weights."""
HL7 = "http://terminology.hl7.org/CodeSystem/"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
URI = "urn:ietf:rfc3986"
XHTML = "http://www.w3.org/1999/xhtml"
UNITS = {
    "HU": "[hnsf'U]",
    "SUV": "g/mL{SUVbw}",
    "ms": "ms",
    "mm": "mm",
    "ml": "mL",
    "dB": "dB",
    "%": "%",
    "1": "1",
    "a.u.": "[arb'U]",
}
"""Units -> UCUM; others are said in words only."""
RESEARCH = "Research only, not for diagnosis."


@dataclass(frozen=True)
class FhirJob:
    """What all resources of one result share.

    Args:
        version: of FHIR.
        key: that identifies source and job.
        subject: reference to the patient.
        study: source and derived objects.
        synthetic: whether a contrast was synthesized, of the result or already of its source.
        recorded: when the result was made, ISO 8601 with its zone.
    """

    version: Version
    key: str
    subject: Mapping[str, Any]
    study: IndexedStudy
    synthetic: bool
    recorded: str

    def id(self, kind: str, name: str = "") -> str:
        """Return the id of a resource: the same for the same source, job and name."""
        return str(uuid.uuid5(NAMESPACE, f"{self.key}/{kind}/{name}"))

    def refer(self, kind: str, name: str = "") -> dict[str, str]:
        """Return a reference to another resource of this result."""
        return {"reference": f"{kind}/{self.id(kind, name)}"}

    def start(self, kind: str, name: str = "") -> Resource:
        """Return a resource with its type, id and marks."""
        by = _coding(f"{HL7}v3-ObservationValue", "AIAST", "Artificial Intelligence asserted")
        tags = [_coding(f"{OURS}mark", "research-only", RESEARCH)]
        if self.synthetic:
            tags.append(_coding(f"{OURS}mark", "synthetic", "Synthesized contrast."))
        meta = {"security": [by], "tag": tags}
        return {"resourceType": kind, "id": self.id(kind, name), "meta": meta}


def job(
    result: Result, source: IndexedStudy, study: IndexedStudy, version: Version, patient: str,
    recorded: str,
) -> FhirJob:  # fmt: skip
    """Return what the resources of a result share.

    Args:
        result: to be told.
        source: objects that it was made from; they and the job decide the ids.
        study: those, and the derived ones.
        version: of FHIR.
        patient: reference on the server, `Patient/123`; the identifier of the DICOM files when
            empty.
        recorded: when the result was made, ISO 8601 with its zone.
    """
    steps = [
        [step.task, dict(step.settings), dict(step.inputs), step.model, step.weights, step.seed]
        for step in result.steps
    ]
    said = [source.uid, sorted(source.series()), steps]
    subject: dict[str, Any] = {"type": "Patient"}
    if patient:
        subject["reference"] = patient
    elif source.patient:
        subject["identifier"] = {"value": source.patient}
    else:
        subject["display"] = "not stated"
    key = json.dumps(said, sort_keys=True, default=str)
    return FhirJob(version, key, subject, study, source.synthetic or synthetic(result), recorded)


def synthetic(result: Result) -> bool:
    """Say whether a result, or one that it holds besides, has a contrast that was not measured; by
    the rule of its DICOM objects.
    """
    return bool(synthesized(result)) or any(map(synthetic, result.also.values()))


def resources(result: Result, about: FhirJob, scores: Sequence[Score] = ()) -> Iterator[Resource]:
    """Yield all resources of a result; what one refers to comes before it."""
    device, study = _device(result, about), _study(about)
    observations = [
        *(_finding(finding, number, about) for number, finding in enumerate(findings_of(result))),
        *(_score(score, number, about) for number, score in enumerate(scores)),
        *_measures(result, about),
    ]
    report = _report(result, observations, about)
    yield from (device, study, *observations, report)
    yield _provenance(result, [study, *observations, report], about)


def _coding(system: str, code: str, display: str = "") -> dict[str, str]:
    clean = re.sub(r"\s+", "-", code.strip()) or "unknown"
    return {"system": system, "code": clean} | ({"display": display} if display else {})


def _concept(system: str, code: str, text: str = "") -> dict[str, Any]:
    return {"coding": [_coding(system, code)], "text": text or code}


def _narrative(lines: Sequence[str]) -> dict[str, str]:
    """Return lines as the text that a person reads; everything in them is escaped."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return {"status": "generated", "div": f'<div xmlns="{XHTML}">{paragraphs}</div>'}


def _quantity(value: float, units: str) -> dict[str, Any]:
    said: dict[str, Any] = {"value": float(f"{value:.6g}"), "unit": units}
    return said | ({"system": UCUM, "code": UNITS[units]} if units in UNITS else {})


def _device(result: Result, about: FhirJob) -> Resource:
    model = result.steps[-1].model if result.steps else "none"
    name = f"Veridical, model {model}"
    r5 = about.version == "R5"
    kind = {"text": "Generative medical imaging software"}
    return {
        **about.start("Device"),
        "identifier": [{"system": f"{OURS}weights", "value": weights}
                       for weights in _weights(result)] or None,
        ("name" if r5 else "deviceName"): [
            {"value": name, "type": "user-friendly-name"}
            if r5
            else {"name": name, "type": "user-friendly-name"}
        ],
        "type": [kind] if r5 else kind,
        "manufacturer": "The Veridical developers",
        "version": [{"value": __version__}],
    }  # fmt: skip


def _weights(result: Result) -> list[str]:
    """Return the hashes of the weights of all steps, each once."""
    known = [step.weights for step in result.steps if step.weights not in ("", "none")]
    return list(dict.fromkeys(known))


def _study(about: FhirJob) -> Resource:
    """Return the ImagingStudy: the series that the result was made from, and those made of it."""
    series, r5 = about.study.series(), about.version == "R5"

    def modality(code: str) -> dict[str, Any]:
        return {"coding": [_coding(DCM, code)]} if r5 else _coding(DCM, code)

    kinds = sorted({one.modality for one in about.study.instances})
    identifiers: list[dict[str, Any]] = [
        {"system": "urn:dicom:uid", "value": f"urn:oid:{about.study.uid}"}
    ]
    if about.study.accession:
        label = {"coding": [_coding(f"{HL7}v2-0203", "ACSN", "Accession ID")]}
        identifiers.append({"type": label, "value": about.study.accession})
    return {
        **about.start("ImagingStudy"),
        "identifier": identifiers,
        "status": "available",
        "modality": [modality(code) for code in kinds],
        "subject": dict(about.subject),
        "started": about.study.started or None,
        "numberOfSeries": len(series),
        "numberOfInstances": len(about.study.instances),
        "description": f"Series that a result was made from, and series made of it. {RESEARCH}",
        "series": [
            {
                "uid": uid,
                "modality": modality(instances[0].modality),
                "numberOfInstances": len(instances),
                "instance": [_instance(one) for one in instances],
            }
            for uid, instances in series.items()
        ],
    }


def _instance(one: IndexedInstance) -> dict[str, Any]:
    kind = {"system": URI, "code": f"urn:oid:{one.sop_class}"}
    return {"uid": one.uid, "sopClass": kind} | (
        {} if one.number is None else {"number": one.number}
    )


def _observation(name: str, code: Mapping[str, Any], method: str, about: FhirJob) -> Resource:
    return {
        **about.start("Observation", name),
        "status": "preliminary",
        "category": [_concept(f"{HL7}observation-category", "imaging", "Imaging")],
        "code": dict(code),
        "subject": dict(about.subject),
        "effectiveDateTime": about.study.started or None,
        "method": {"text": method},
        "device": about.refer("Device"),
        "derivedFrom": [about.refer("ImagingStudy")],
    }


def _finding(finding: Finding, number: int, about: FhirJob) -> Resource:
    """Return the Observation of a finding: its verdict, why, and the numbers behind it."""
    code = _concept(f"{OURS}check", finding.check)
    made = _observation(f"finding {number} {finding.check}", code, "Veridical audit", about)
    if finding.verdict == "not_run":
        absent = _concept(f"{HL7}data-absent-reason", "not-performed", "Not performed")
        made["dataAbsentReason"] = absent
    else:
        made["valueCodeableConcept"] = _concept(f"{OURS}verdict", finding.verdict)
    components = [
        {"code": {"text": key}, "valueQuantity": {"value": float(f"{float(value):.6g}")}}
        for key, value in finding.evidence.items()
        if _is_number(value)
    ]
    return made | {"note": [{"text": finding.reason or RESEARCH}], "component": components or None}


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | str | bytes) or value is None:
        return False
    try:
        return bool(abs(float(value)) < float("inf"))
    except (TypeError, ValueError):
        return False


def _score(score: Score, number: int, about: FhirJob) -> Resource:
    """Return the Observation of a score against a reference, with its interval."""
    code = _concept(f"{OURS}metric", score.metric)
    made = _observation(
        f"score {number} {score.metric}", code, "Comparison with a reference", about
    )
    if _is_number(score.value):
        made["valueQuantity"] = _quantity(score.value, score.units)
    else:
        made["dataAbsentReason"] = _concept(f"{HL7}data-absent-reason", "not-applicable")
    ends = zip(("lower", "upper"), score.interval or (), strict=False)
    components = [
        {
            "code": {"text": f"{end} end of the interval"},
            "valueQuantity": _quantity(value, score.units),
        }
        for end, value in ends
        if _is_number(value)
    ]
    note = f"Region: {score.region}; {score.better} is better."
    return made | {"note": [{"text": note}], "component": components or None}


def _measures(result: Result, about: FhirJob) -> Iterator[Resource]:
    """Yield Observations of what the companions say in one number each."""
    image = finite(result.image)
    region, known = foreground(image), numbers.evidence(result)
    said: list[tuple[str, str, float, str]] = []
    width = numbers.half_width(result, region.mask)
    if width is not None and result.interval is not None and image.units != "mixed":
        level = words.percent(result.interval.level)
        name = f"Median half-width of the {level} interval"
        said.append(("interval-half-width", name, width[0], image.units))
    if known is not None:
        shares = numbers.shares(known, region.mask)
        said.append(("measured-share", "Share that was measured", 100 * shares.measured, "%"))
        said.append(("imagined-share", "Share that was imagined", 100 * shares.imagined, "%"))
    for code, text, value, units in said:
        made = _observation(
            code, _concept(f"{OURS}measure", code, text), region.said or region.name, about
        )
        yield made | {"valueQuantity": _quantity(value, units)}


def _report(result: Result, observations: Sequence[Resource], about: FhirJob) -> Resource:
    """Return the DiagnosticReport: the headline, and all observations."""
    head = words.headline(result.findings)
    made = words.listed(result.image.channels)
    conclusion = f"{RESEARCH} {head.title} {head.text}"
    kind = "Synthesized" if about.synthetic else "Derived"
    lines = [f"{kind} image: {made}; {result.kind}.", conclusion, *head.reasons]
    return {
        **about.start("DiagnosticReport"),
        "text": _narrative(lines),
        "status": "preliminary",
        "category": [{"coding": [_coding(f"{HL7}v2-0074", "RAD", "Radiology")]}],
        "code": _concept(LOINC, "18748-4", "Diagnostic imaging study"),
        "subject": dict(about.subject),
        "effectiveDateTime": about.study.started or None,
        ("study" if about.version == "R5" else "imagingStudy"): [about.refer("ImagingStudy")],
        "result": [{"reference": f"Observation/{one['id']}"} for one in observations] or None,
        "conclusion": conclusion,
    }


def _provenance(result: Result, targets: Sequence[Resource], about: FhirJob) -> Resource:
    """Return the Provenance: what was run on what, by which weights, with which seed."""
    lines = [
        f"{step.task} by {step.model} (weights {step.weights}), seed {step.seed}, "
        f"Veridical {step.versions.get('veridical', __version__)}; settings "
        f"{json.dumps(_settings(step.settings), sort_keys=True)}"
        for step in result.steps
    ]
    weights = [
        {"role": "source", "what": {"identifier": {"system": f"{OURS}weights", "value": value}}}
        for value in _weights(result)
    ]
    assembler = _concept(f"{HL7}provenance-participant-type", "assembler", "Assembler")
    return {
        **about.start("Provenance"),
        "text": _narrative([RESEARCH, *lines]),
        "target": [{"reference": f"{one['resourceType']}/{one['id']}"} for one in targets],
        "recorded": about.recorded,
        "activity": _concept(f"{HL7}v3-DataOperation", "CREATE", "create"),
        "agent": [{"type": assembler, "who": about.refer("Device")}],
        "entity": [{"role": "source", "what": about.refer("ImagingStudy")}, *weights],
    }


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as text and numbers; of paths the last name only, since folders may be named
    after patients.
    """
    return {
        key: re.split(r"[\\/]", str(value))[-1] if isinstance(value, str) else value
        for key, value in json.loads(json.dumps(dict(settings), default=str)).items()
    }
