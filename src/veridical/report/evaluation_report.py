"""The report of an evaluation on disk: pictures of chosen cases, one HTML page, one signed JSON."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import VeridicalError
from veridical.evaluation import signature
from veridical.evaluation.cases import Case, Cases
from veridical.evaluation.measure import constant, region
from veridical.evaluation.results import CaseRow, Evaluation
from veridical.evaluation.sources import Source
from veridical.io.guards import replacing
from veridical.metrics.ssim import ssim_map
from veridical.report import paper
from veridical.report.crosswalk import crosswalk
from veridical.report.judgement import Exhibit, Role, render
from veridical.types import Array, Image

RANKED = ("pixel/ssim/foreground", "pixel/mae/foreground")
"""Endpoints by which cases are put in order to be shown; the first that there is."""
MOST_WORST = 3
REPORT = "report.json"


def write(evaluation: Evaluation, cases: Cases, folder: Path) -> str:
    """Write report.html and report.json and return the head of the chain. The same input gives the
    same bytes.

    Args:
        evaluation: what was found.
        cases: with their files.
        folder: made when missing.
    """
    document = document_of(evaluation)
    results = signature.links(document)[-1]["head"]
    page = render(evaluation, exhibits(evaluation, cases), results)
    folder.mkdir(parents=True, exist_ok=True)
    paper.write(folder / signature.PAGE, page)
    signed = signature.sign(document, page.encode("utf-8"))
    with replacing(folder / REPORT) as temporary:
        temporary.write_bytes(signed)
    return signature.links(document, page.encode("utf-8"))[-1]["head"]


def document_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return the machine-readable report without its signature."""
    checklists = () if not evaluation.cases else crosswalk(evaluation)
    return {
        **evaluation.to_dict(),
        "checklists": [dataclasses.asdict(checklist) for checklist in checklists],
    }


def exhibits(evaluation: Evaluation, cases: Cases) -> list[Exhibit]:
    """Return the best, the median and the worst 5 % of the cases, each at its fullest slice; none
    where there are no pairs.
    """
    by_name = {case.name: case for case in cases.cases}
    shown = []
    for role, row in _chosen(evaluation):
        case = by_name[row.case]
        if case.candidate is None or case.reference is None:
            continue
        try:
            shown.append(_exhibit(role, row, case, evaluation))
        except VeridicalError:
            continue
    return shown


def _chosen(evaluation: Evaluation) -> list[tuple[Role, CaseRow]]:
    """Return the cases to show, with the reason for each."""
    known = {endpoint.key for endpoint in evaluation.endpoints}
    key = next(
        (
            key
            for key in RANKED
            if key in known and any(key in row.values for row in evaluation.cases)
        ),
        None,
    )
    if key is None:
        return []
    better = evaluation[key].better
    rows = sorted(
        (row for row in evaluation.cases if key in row.values),
        key=lambda row: (row.values[key], row.case),
    )
    rows = rows if better == "higher" else rows[::-1]
    worst = rows[: min(MOST_WORST, max(1, math.ceil(0.05 * len(rows))))]
    found: list[tuple[Role, CaseRow]] = [("worst 5 %", row) for row in worst]
    if len(rows) > len(worst):
        found.insert(0, ("best", rows[-1]))
    if len(rows) > len(worst) + 1:
        found.insert(1, ("median", rows[len(rows) // 2]))
    return found


def _exhibit(role: Role, row: CaseRow, case: Case, evaluation: Evaluation) -> Exhibit:
    candidate, reference = (
        source.load() for source in (case.candidate, case.reference) if source is not None
    )
    mask = region(case, reference)
    labels = case.roles.get("labels")
    inside = labels.load().data[0] != 0 if isinstance(labels, Source) else mask
    z = int((inside if inside.any() else mask).sum(axis=(0, 1)).argmax())
    given = case.roles.get("baseline")
    baseline = given.load() if isinstance(given, Source) else constant(reference, mask)
    low, high = evaluation.protocol["window"]
    slices = [
        np.asarray(image.data[0, :, :, z], dtype=np.float32)
        for image in (reference, candidate, baseline)
    ]
    similarity = _similarity(candidate, reference, z, evaluation.protocol["data_range"])
    shown = {endpoint.key: endpoint.label for endpoint in evaluation.endpoints}
    words = ", ".join(
        f"{shown[key]} {row.values[key]:.4g}"
        for key in RANKED
        if key in row.values and key in shown
    )
    real, made, simple = slices
    window = (float(low), float(high))
    return Exhibit(
        role,
        row.case,
        words,
        real,
        made,
        simple,
        np.abs(made - real),
        similarity,
        window,
        reference.geometry,
    )


def _similarity(candidate: Image, reference: Image, z: int, data_range: float) -> Array | None:
    planes = [
        np.asarray(image.data[0, :, :, z], dtype=np.float64) for image in (candidate, reference)
    ]
    return ssim_map(*planes, data_range=data_range) if min(planes[0].shape) >= 7 else None
