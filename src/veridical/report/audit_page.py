"""The page of an audit, and its signed JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.audit.audited_study import Audited
from veridical.evaluation import signature
from veridical.evaluation.regions import foreground
from veridical.io.guards import replacing
from veridical.report import paper, pictures, words
from veridical.report.panels import Cell, Scale
from veridical.report.result_page import beside, finite
from veridical.report.view import views
from veridical.types import SEVERITY, Finding


@dataclass(frozen=True)
class Row:
    """A finding as the page shows it; `numbers` are its evidence, in words."""

    finding: Finding
    numbers: tuple[tuple[str, str], ...]


def write(found: Audited, folder: Path, document: Mapping[str, Any]) -> str:
    """Write report.html and report.json and return the head of the chain; the same audit gives the
    same bytes.

    Args:
        found: by the audit.
        folder: made when missing.
        document: machine-readable, without a signature.
    """
    results = signature.links(document, form=signature.AUDIT)[-1]["head"]
    page = render(found, document, results)
    folder.mkdir(parents=True, exist_ok=True)
    paper.write(folder / signature.PAGE, page)
    signed = signature.sign(document, page.encode("utf-8"), signature.AUDIT)
    with replacing(folder / signature.REPORT) as temporary:
        temporary.write_bytes(signed)
    return signature.head(folder / signature.REPORT)


def render(found: Audited, document: Mapping[str, Any], head: str) -> str:
    """Return the page as a string."""
    ordered = sorted(found.findings, key=lambda one: -SEVERITY.index(one.verdict))
    content = {
        "title": f"Audit: {found.title}",
        "lead": _lead(found),
        "headline": words.headline(found.findings),
        "rows": [Row(one, tuple(_numbers(one.evidence))) for one in ordered],
        "pictures": [] if found.study.generated else list(_pictures(found)),
        "promises": document["promises"],
        "policy": document.get("policy"),
        "results": {found.title: found.subject},
        "inputs": found.inputs,
        "head": head,
    }
    return paper.render("audit.html.j2", ("page.css",), content)


def _lead(found: Audited) -> str:
    count, study = len(found.study.generated), found.study
    what = f"{count} images" if count else f"{words.capital(found.subject.kind)}"
    shown = words.listed(found.subject.image.channels)
    held = [*(study.visit() if study.visits else {})]
    with_ = [
        *([f"held against {words.listed(held)}"] if held else []),
        *(["compared with the truth"] if study.reference is not None else []),
        *([f"and with {len(study.training)} training images"] if study.training else []),
    ]
    said = f" {', '.join(with_)}" if with_ else ", on its own"
    return f"{what} of {shown}; {found.subject.image.geometry};{said}."


def _pictures(found: Audited) -> list[Cell]:
    """Return the middle slice of the subject and of the truth."""
    image = finite(found.subject.image)
    view = views(image.geometry, foreground(image).mask)[0]
    shown = {found.subject.kind: image}
    if found.study.reference is not None:
        shown["truth"] = finite(found.study.reference)
    cells = []
    for name, one in shown.items():
        data, units = np.abs(one.data[0]), one.units_of(one.channels[0])
        window = pictures.percentile_window(data, data)
        ends = (words.amount(end, units) for end in window)
        scale = Scale(pictures.bar("grey"), *ends)
        drawn = pictures.grey((v := beside(view, one.geometry)).plane(data), window, v)
        cells.append(Cell(name, one.channels[0], f"{name}, {v.said}", drawn, "", scale))
    return cells


def _numbers(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values in words; long lists by their number of entries."""
    return [(name.replace("_", " "), _word(value)) for name, value in evidence.items()]


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_word(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_word, value)) if len(value) <= 12 else f"{len(value)} values"
    return str(value)
