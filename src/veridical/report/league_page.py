"""The page of a league: the same slice by every entry beside the truth, scores with intervals, who
is ahead and how sure that is, and what each entry cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical.evaluation.standings import Standing, Standings
from veridical.report import league_tables, paper, pictures, plots
from veridical.report.panels import Scale
from veridical.report.pictures import Picture, View
from veridical.report.words import listed
from veridical.types import Array, Image

TEMPLATE, STYLES = "league.html.j2", ("page.css", "judgement.css", "league.css")
PAD = 0.06
"""Of the range of a strip, on both sides."""
WORST = 99.0
"""Percentile of all errors that the error maps end at."""


@dataclass(frozen=True, eq=False)
class LeagueExhibit:
    """One case of the league to look at.

    Args:
        case: its name.
        truth: the real image, one channel.
        given: what entries began from, name -> image on the same grid.
        made: entry -> image on the same grid.
        paired: whether the images show this case; otherwise there is no error to map.
    """

    case: str
    truth: Image
    given: Mapping[str, Image]
    made: Mapping[str, Image]
    paired: bool = True


@dataclass(frozen=True)
class LeagueCell:
    """One picture of a row, with what stands under it."""

    name: str
    caption: str
    picture: Picture


@dataclass(frozen=True)
class LeagueRow:
    """The pictures of one case: images in one window, error maps on one scale."""

    case: str
    said: str
    images: tuple[LeagueCell, ...]
    errors: tuple[LeagueCell, ...]
    scale: Scale | None


def render(standings: Standings, exhibits: Sequence[LeagueExhibit], protocol: str) -> str:
    """Return the page; it loads nothing and runs nothing. The same input gives the same bytes.

    Args:
        standings: of the league.
        exhibits: cases to show.
        protocol: as TOML or JSON, printed at the end.
    """
    heads = league_tables.headings(standings)
    done = [one for one in standings.entries if one.status == "done"]
    content: dict[str, Any] = {
        "title": standings.title,
        "about": league_tables.about(standings),
        "opening": opening(standings),
        "standings": standings,
        "done": done,
        "others": [one for one in standings.entries if one.status != "done"],
        "heads": heads,
        "strips": {head.key: strips(done, head.key) for head in heads},
        "ranks": strips_of_ranks(done),
        "tables": league_tables,
        "rows": [row(exhibit, done) for exhibit in exhibits],
        "protocol": protocol,
    }
    return paper.render(TEMPLATE, STYLES, content)


def opening(standings: Standings) -> tuple[str, str]:
    """Return the headline, and a sentence on how sure it is."""
    done = [one for one in standings.entries if one.status == "done"]
    ranked = [one for one in done if one.rank is not None]
    if not ranked or not standings.headline:
        return "Nothing to compare yet.", "A comparison needs two entries with scores in common."
    first, key = ranked[0], standings.headline[0]
    close = [
        one.name
        for one in ranked[1:]
        if one.rank is not None and first.rank is not None and one.rank[1] <= first.rank[2]
    ]
    sure = (
        f"Its rank overlaps with {listed(close)}."
        if close
        else "Its rank overlaps with that of no other."
    )
    label = league_tables.headings(standings)[0].label
    alike = league_tables.alike(standings, key, first.name)
    said = f"{sure} By {label} it is not told apart from: {alike}."
    return f"{first.name} is ahead of {len(ranked) - 1} others.", said


def strips(entries: Sequence[Standing], key: str) -> dict[str, Any]:
    """Return entry -> its score as a dot with an interval, all on one scale."""
    known = {one.name: one.scores[key] for one in entries if key in one.scores}
    ends = [v for s in known.values() for v in (s.value, *(s.interval or ()))]
    if not ends:
        return {}
    ruler = _ruler(ends)
    return {
        name: plots.strip(s.value, s.interval, ruler, f"{name}: {league_tables.score(s)}")
        for name, s in known.items()
    }


def strips_of_ranks(entries: Sequence[Standing]) -> dict[str, Any]:
    """Return entry -> its mean rank as a dot with an interval."""
    ruler = plots.Ruler(0.5, len(entries) + 0.5, {})
    return {
        one.name: plots.strip(
            one.rank[0], one.rank[1:], ruler, f"{one.name}: rank {league_tables.rank(one)}"
        )
        for one in entries
        if one.rank is not None
    }


def row(exhibit: LeagueExhibit, entries: Sequence[Standing]) -> LeagueRow:
    """Return the pictures of one case at its fullest slice, entries in their order."""
    truth = exhibit.truth.data[0]
    low, high = np.percentile(truth, (0.5, 99.5))
    window = (float(low), float(high) if high > low else float(low) + 1)
    shown = truth > low + 0.1 * (high - low)
    view = View(exhibit.truth.geometry, int(shown.sum(axis=(0, 1)).argmax()))
    images = [LeagueCell("truth", "real image", _grey(truth, window, view))]
    for name, image in exhibit.given.items():
        values = image.data[0]
        ends = np.percentile(values, (0.5, 99.5))
        own = (float(ends[0]), float(max(ends[1], ends[0] + 1e-6)))
        images.append(LeagueCell(name, "given", _grey(values, own, view)))
    listed = [one for one in entries if one.name in exhibit.made]
    errors: list[LeagueCell] = []
    planes = {one.name: exhibit.made[one.name].data[0] for one in listed}
    images += [
        LeagueCell(one.name, _how(one), _grey(planes[one.name], window, view)) for one in listed
    ]
    scale = None
    if exhibit.paired and listed:
        wrong = {name: np.abs(plane - truth)[:, :, view.index] for name, plane in planes.items()}
        top = float(np.percentile(np.stack(list(wrong.values())), WORST)) or 1.0
        for name, plane in wrong.items():
            drawn = pictures.coloured(
                View(view.geometry, 0).plane(plane[..., None]), (0.0, top), pictures.ERROR, view
            )
            mean = f"mean {plane.mean():.3g}"
            errors.append(LeagueCell(name, mean, drawn))
        scale = Scale(pictures.bar(pictures.ERROR), "0", f"{top:.3g} or more")
    said = f"{view.said}; black is {window[0]:.4g}, white {window[1]:.4g}".replace("-", "−")
    return LeagueRow(exhibit.case, said, tuple(images), tuple(errors), scale)


def _how(one: Standing) -> str:
    return f"{one.family}, {one.backbone}" if one.family else "classical"


def _grey(volume: Array, window: tuple[float, float], view: View) -> Picture:
    return pictures.grey(view.plane(volume), window, view)


def _ruler(ends: Sequence[float]) -> plots.Ruler:
    low, high = min(ends), max(ends)
    pad = PAD * ((high - low) or abs(high) or 1.0)
    return plots.Ruler(low - pad, high + pad, {})
