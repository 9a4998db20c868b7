"""The report of an evaluation: one HTML file, understood in a minute at its top, complete at its
end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from veridical.errors import GeometryError
from veridical.evaluation.protocol import LEVELS
from veridical.evaluation.results import Curve, Evaluation
from veridical.report import firstpage, paper, pictures, plots, rows
from veridical.report.crosswalk import crosswalk
from veridical.report.methods import methods
from veridical.report.panels import Scale
from veridical.report.pictures import Picture, View
from veridical.report.words import capital
from veridical.types import Array, Geometry

Role = Literal["best", "median", "worst 5 %"]
SIMILARITY = "viridis"


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One case to look at, one slice of it.

    Args: role: why it is shown. case: its name. metric: what it scored, in words, e.g. `MAE 21 HU,
        SSIM 0.94`. reference, candidate: `(x, y)`, real, a slice `volume[:, :, k]`. baseline: the
        same of the simple baseline, or None. error: `(x, y)`, absolute difference, or None where
        there is no pixel to compare. ssim: `(x, y)` local structural similarity, or None. window:
        lowest and highest intensity shown, one for all exhibits. geometry: of the volume that the
        slices come from: gives pixels their size and the slice its orientation.
    """

    role: Role
    case: str
    metric: str
    reference: Array
    candidate: Array
    baseline: Array | None
    error: Array | None
    ssim: Array | None
    window: tuple[float, float]
    geometry: Geometry

    def __post_init__(self) -> None:
        shape = self.geometry.shape[:2]
        planes = (self.reference, self.candidate, self.baseline, self.error, self.ssim)
        wrong = next(
            (plane.shape for plane in planes if plane is not None and plane.shape != shape), None
        )
        if wrong is not None:
            raise GeometryError(
                f"A slice of shape {wrong} of {self.case} was given; expected {shape}, volume[:, "
                ":, k] of its grid."
            )

    @property
    def view(self) -> View:
        """How the slices are turned to be shown."""
        return View(
            Geometry((*self.geometry.shape[:2], 1), self.geometry.affine, self.geometry.frame), 0
        )


@dataclass(frozen=True)
class Shown:
    """An exhibit as pictures: those that flicker in place, and its maps with their captions."""

    role: str
    case: str
    metric: str
    images: tuple[tuple[str, Picture], ...]
    maps: tuple[tuple[str, Picture, Scale], ...]


def render(evaluation: Evaluation, exhibits: Sequence[Exhibit], head: str) -> str:
    """Return the report as one page that loads nothing and runs nothing. The same input gives the
    same bytes.

    Args: evaluation: what was found. exhibits: cases to show, in their order; all in one window.
        head: last hash of the chain over inputs, protocol and results, in hex; printed with how to
        check it.
    """
    refused = firstpage.refused(evaluation)
    content: dict[str, Any] = {
        "title": evaluation.title,
        "evaluation": evaluation,
        "head": head,
        "refused": refused,
        "opening": firstpage.opening(evaluation),
        "gate": firstpage.gate(evaluation),
        "tiles": firstpage.tiles(evaluation),
        "uncovered": firstpage.uncovered(evaluation),
        "rows": rows,
        "levels": [] if refused else _levels(evaluation),
        "shown": _shown(exhibits),
        "window": "" if not exhibits else _window(exhibits[0].window),
        "failed": [row for row in evaluation.cases if row.failed],
        "columns": rows.columns(evaluation),
        "groups": sorted({column for row in evaluation.cases for column in row.groups}),
        "forests": rows.forests(evaluation),
        "methods": methods(evaluation),
        "checklists": () if refused else crosswalk(evaluation),
        "records": _records(evaluation),
        "entries": _entries,
    }
    return paper.render("judgement.html.j2", ("page.css", "judgement.css"), content)


def _levels(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return what each level's section shows: its verdict, primary and exploratory rows, plots."""
    found = []
    verdicts = {one.level: one for one in evaluation.levels}
    for level in LEVELS:
        ours = [e for e in evaluation.endpoints if e.level == level]
        drawn = [_drawn(curve) for curve in evaluation.curves if curve.level == level]
        if level not in verdicts and not ours and not drawn:
            continue
        found.append(
            {
                "level": level,
                "name": capital(firstpage.NAMES[level]),
                "verdict": verdicts.get(level),
                "primary": [rows.row(e) for e in ours if e.primary],
                "exploratory": [rows.row(e) for e in ours if not e.primary],
                "curves": drawn,
            }
        )
    return found


def _drawn(curve: Curve) -> dict[str, Any]:
    named = [(f"series-{n}", name) for n, name in enumerate(curve.lines, 1)]
    marks = (
        [("mark", f"{name} {value:.3g}") for name, value in curve.marks.items()]
        if curve.kind == "bars"
        else []
    )
    return {
        "curve": curve,
        "svg": plots.curve(curve),
        "legend": named + marks if len(named + marks) > 1 else [],
    }


def _shown(exhibits: Sequence[Exhibit]) -> list[Shown]:
    """Return the exhibits as pictures; error maps share one scale, that of the largest 99.5th
    percentile.
    """
    tops = [
        pictures.percentile_window(e.error, e.error)[1] for e in exhibits if e.error is not None
    ]
    top = max(tops, default=1.0) or 1.0
    return [_pictures(exhibit, top) for exhibit in exhibits]


def _pictures(e: Exhibit, top: float) -> Shown:
    view = e.view
    sides = {"real": e.reference, "candidate": e.candidate, "baseline": e.baseline}
    images = tuple(
        (name, pictures.grey(view.plane(plane[..., None]), e.window, view))
        for name, plane in sides.items()
        if plane is not None
    )
    maps = []
    if e.error is not None:
        drawn = pictures.coloured(view.plane(e.error[..., None]), (0.0, top), pictures.ERROR, view)
        maps.append(
            ("Error", drawn, Scale(pictures.bar(pictures.ERROR), "0", f"{top:.3g} or more"))
        )
    if e.ssim is not None:
        drawn = pictures.coloured(view.plane(e.ssim[..., None]), (0.0, 1.0), SIMILARITY, view)
        maps.append(("Local SSIM", drawn, Scale(pictures.bar(SIMILARITY), "0 unlike", "1 alike")))
    return Shown(e.role, e.case, e.metric, images, tuple(maps))


def _window(window: tuple[float, float]) -> str:
    low, high = (f"{end:.4g}".replace("-", "−") for end in window)
    return f"Black is {low}, white is {high} in every picture."


def _records(evaluation: Evaluation) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what the evaluation rests on, each part with its entries as text."""
    parts = {
        "Settings": evaluation.settings,
        "Protocol": evaluation.protocol,
        "What is known of the data": evaluation.about,
        f"{len(evaluation.inputs)} input files with their SHA-256": evaluation.inputs,
        "Versions": evaluation.versions,
    }
    return [(name, _entries(entries)) for name, entries in parts.items()]


def _entries(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, _plain(value)) for key, value in found.items()]


def _plain(value: Any) -> str:
    """Return a setting as text: numbers short, lists with commas, mappings as `key: value`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
