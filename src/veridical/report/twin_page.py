"""The page of a twin: scans, forecasts, belief, choices and the outcome of a simulated patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.models.twin import Choice, Fan
from veridical.models.world import Belief
from veridical.report import paper, pictures
from veridical.report.fan_plot import FanPlot, Points, fan
from veridical.report.panels import Cell
from veridical.report.pictures import View
from veridical.types import Array, Image

TEMPLATE, STYLES = "twin.html.j2", ("page.css", "judgement.css", "twin.css")
LEVELS = (0.9, 0.5)
UNITS = {
    "diffusion": "mm²/d in white matter",
    "proliferation": "1/d",
    "alpha": "1/Gy",
    "kill": "1/d under the drug",
    "volume": "ml enhancing at the first scan",
    "enhancing level": "density that enhances",
    "visible level": "density that is visible",
}
TESTBED = (
    "The patient is simulated: this is an in-silico twin testbed. It shows whether the method "
    "finds what is there when the world is as its model says, and how it behaves when it is not.",
    "Nothing here was shown on patients. Gains of simulated schedules are those of the model.",
)


@dataclass(frozen=True, eq=False)
class TwinStory:
    """What the page shows.

    Args:
        title, lead, headline, said: in words.
        verdict: `pass`, or `warn` where the alarm was raised.
        tiles: a few numbers, each with what it means.
        images: caption -> image and the slice to show.
        forecasts: title -> forecast, and the scans that were known, `(day, ml)`.
        truth: name -> `(day, ml)` of the visible volume; empty where it is not known.
        marks: name -> day of what is done.
        prior, belief: before and after all scans.
        biology: name -> true value, where it is known.
        choices: title -> choice and, where known, what each option came to.
        facts: about the run.
        kind: twin, or in-silico twin testbed.
        promises: what holds and what does not.
    """

    title: str
    lead: str
    headline: str
    said: str
    verdict: str
    tiles: Sequence[tuple[str, str]]
    images: Mapping[str, tuple[Image, int]]
    forecasts: Mapping[str, tuple[Fan, Points]]
    truth: Mapping[str, Points]
    marks: Mapping[str, float]
    prior: Belief
    belief: Belief
    biology: Mapping[str, float]
    choices: Mapping[str, tuple[Choice, str, Mapping[str, float]]]
    facts: Mapping[str, str]
    kind: str = "in-silico twin testbed"
    promises: Sequence[str] = field(default=TESTBED)


def render(story: TwinStory) -> str:
    """Return the page; it loads nothing and runs nothing. The same input gives the same bytes."""
    content: dict[str, Any] = {
        name: getattr(story, name)
        for name in ("title", "lead", "headline", "said", "verdict", "tiles", "kind", "promises")
    }
    content |= {
        "pictures": [_cell(name, *shown) for name, shown in story.images.items()],
        "fans": list(_fans(story)),
        "truths": list(story.truth),
        "beliefs": list(_beliefs(story)),
        "truth_known": bool(story.biology),
        "choices": [_choice(title, *one) for title, one in story.choices.items()],
        "facts": story.facts.items(),
    }
    return paper.render(TEMPLATE, STYLES, content)


def _cell(name: str, image: Image, index: int) -> Cell:
    view, data = View(image.geometry, index), image.data[0]
    seen: Array = data[data > np.percentile(data, 60)]
    drawn = pictures.grey(view.plane(data), pictures.percentile_window(data, seen), view)
    return Cell(name, "", f"{name}, {view.said}", drawn)


def _fans(story: TwinStory) -> Any:
    for title, (one, scans) in story.forecasts.items():
        bands = [tuple(end.tolist() for end in one.interval(level)) for level in LEVELS]
        plot = FanPlot(
            title, "visible volume, ml", one.days.tolist(),
            [(low, high) for low, high in bands], one.median().tolist(), scans,
            story.truth, story.marks,
        )  # fmt: skip
        yield {"title": title, "drawn": fan(plot)}


def _beliefs(story: TwinStory) -> Any:
    for name, unit in UNITS.items():
        before, now = story.prior.posterior(name), story.belief.posterior(name)
        learned = 1 - _spread(now) ** 2 / _spread(before) ** 2
        truth = story.biology.get(name)
        yield {
            "name": f"{name}, {unit}",
            "before": _span(before),
            "now": _span(now),
            "learned": f"{max(learned, 0.0):.0%}",
            "truth": "–" if truth is None else f"{truth:.3g}",
        }


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation of the logarithms."""
    return max(float(np.log(np.maximum(values, 1e-9)).std()), 1e-9)


def _span(values: NDArray[np.float64]) -> str:
    low, high = np.quantile(values, (0.05, 0.95))
    return f"{low:.3g} to {high:.3g}"


def _choice(title: str, choice: Choice, said: str, came: Mapping[str, float]) -> dict[str, Any]:
    certain = not any(choice.spread.values())
    heads = ["expected", *([] if certain else ["± SD"]), *(["came to"] if came else [])]
    rows = []
    for name, value in choice.values.items():
        cells = [f"{value:.1f}", *([] if certain else [f"{choice.spread[name]:.1f}"])]
        cells += [f"{came[name]:.1f}"] if name in came else []
        rows.append({"name": name, "chosen": name == choice.name, "cells": cells})
    return {
        "title": title,
        "objective": choice.objective,
        "said": said,
        "heads": heads,
        "rows": rows,
    }
