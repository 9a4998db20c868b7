"""Studies with changed data, for audits that ask how a result depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from veridical.audit.audited_study import AuditedStudy
from veridical.audit.inputs import images, scan
from veridical.types import Array, Finding, Image, Measurement, Result, Study


def unrepeatable(check: str, study: AuditedStudy, result: Result) -> Finding | None:
    """Return why a result cannot be made again, as the finding of a check; None where it can."""
    if study.alone is not None and data_of(study, result):
        return None
    reason = (
        "The result cannot be made again: its task or its data are not known. Audit the folder of "
        "a result of Veridical, with its input at hand."
    )
    return Finding(check, "not_run", reason)


def data_of(study: Study, result: Result) -> dict[str, Array]:
    """Return the data that a result was made from, by name: those of its raw data, or of its
    images, one channel each.
    """
    raw = scan(study)
    if raw is not None:
        return {_name_of(study, raw): np.asarray(raw.data)}
    return {name: np.asarray(image.data) for name, image in images(study, result).items()}


def with_data(study: Study, changed: Mapping[str, Array]) -> Study:
    """Return the study with other data in its last visit."""
    day = study.days[-1]
    visit: dict[str, Image | Measurement] = dict(study.visits[day])
    for name, array in changed.items():
        visit[name] = replace(visit[name], data=array.astype(visit[name].data.dtype))
    return Study(study.id, {day: visit}, study.covariates, study.report, study.genes)


def with_scan(study: Study, raw: Measurement) -> Study:
    """Return the study with other raw data in its last visit."""
    day, before = study.days[-1], scan(study)
    assert before is not None
    visit = {**study.visits[day], _name_of(study, before): raw}
    return Study(study.id, {day: visit}, study.covariates, study.report, study.genes)


def sampled(array: Array) -> Array:
    """Return where numbers were measured: of raw data wherever they are not exactly zero, of an
    image wherever it has an object.
    """
    return np.asarray(array != 0)


def norm(data: Mapping[str, Array]) -> float:
    """Return the Euclidean norm over all arrays."""
    return float(np.sqrt(sum(float(np.square(np.abs(array)).sum()) for array in data.values())))


def _name_of(study: Study, raw: Measurement) -> str:
    return next(name for name, one in study.visit().items() if one is raw)
