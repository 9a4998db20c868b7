"""The report: one HTML file that a person reads, with nothing outside it and nothing that runs in
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import GeometryError, InputError, nearest
from veridical.evaluation import regions
from veridical.evaluation.regions import Region
from veridical.report import numbers, paper, pictures, table, words
from veridical.report.panels import Panels, Scale
from veridical.report.pictures import View
from veridical.report.words import Lesion
from veridical.types import Image, Result, Score


@dataclass(frozen=True, eq=False)
class Story:
    """What the page cannot know from the results.

    Args: lead: what was done, in a sentence or two. facts: how it was scanned, name -> value, e.g.
        `{"acceleration": "4x, uniform", "coils": "8"}`. region: what the shares and windows are of;
        None takes the foreground of the truth or of the main result. lesion: a known lesion, or
        None. main: name of the result that the verdict is about; empty takes the first one with
        evidence, else the last. rerun: commands that make this page again. slice: index along the
        third axis; None takes the slice with most of the lesion, else of the region. channel: which
        one is shown; empty takes the first.
    """

    lead: str
    facts: Mapping[str, str] = field(default_factory=dict)
    region: Region | None = None
    lesion: Lesion | None = None
    main: str = ""
    rerun: str = ""
    slice: int | None = None
    channel: str = ""


def write(
    path: str | Path,
    title: str,
    truth: Image | None,
    results: Mapping[str, Result],
    scores: Mapping[str, Sequence[Score]],
    story: Story,
) -> Path:
    """Write the report of one case. The same input gives the same bytes.

    Args: path: of the HTML file; its folder is made when missing. title: of the page. truth: the
        true image where it is known. results: name -> result, in the order to show, the simplest
        first; all on the grid of the truth. scores: name of a result -> its scores. story: the
        rest.

    Returns:
        The path.

    Raises:
        InputError: no result, or a name that is no result's.
        GeometryError: images, region or lesion on different grids.
    """
    return paper.write(path, render(title, truth, results, scores, story))


def render(
    title: str,
    truth: Image | None,
    results: Mapping[str, Result],
    scores: Mapping[str, Sequence[Score]],
    story: Story,
) -> str:
    """Return the page as a string; arguments and errors as in `write`."""
    content = _content(title, truth, results, scores, story)
    return paper.render("page.html.j2", ("page.css",), content)


def _content(
    title: str,
    truth: Image | None,
    results: Mapping[str, Result],
    scores: Mapping[str, Sequence[Score]],
    story: Story,
) -> dict[str, Any]:
    main = _main(results, scores, story)
    _one_grid(truth, results, story)
    chosen = results[main]
    known = numbers.evidence(chosen)
    region = story.region or regions.foreground(truth or chosen.image)
    index = _slice(story, region)
    channels = chosen.image.channels
    if story.channel and story.channel not in channels:
        raise InputError(
            f"No channel is called {story.channel!r}. {nearest(story.channel, channels)}"
        )
    channel = channels.index(story.channel) if story.channel else 0
    panels = Panels(truth, results, region, View(chosen.image.geometry, index), channel)
    columns = table.columns(results, scores)
    images = panels.images(table.captions(results, columns))
    lesion = words.lesion(results, main, region, story.lesion, truth) if story.lesion else []
    return {
        "title": title,
        "story": story,
        "main": main,
        "chosen": chosen,
        "results": results,
        "headline": words.headline(chosen.findings),
        "tiles": _tiles(main, chosen, region, columns, results, story, truth),
        "truth_known": truth is not None,
        "images": images,
        "close": panels.close(story.lesion, words.contrasts(results, region, story.lesion, truth))
        if story.lesion
        else None,
        "maps": [
            row
            for row in (panels.errors(), panels.widths(), panels.evidence(), panels.filled())
            if row
        ],
        "imagined": panels.imagined(main),
        "overlay_scale": Scale(pictures.bar("overlay"), "0 imagined", "1 measured"),
        "outline": panels.outline(story.lesion.mask) if story.lesion else None,
        "shares": None if known is None else numbers.shares(known, region.mask),
        "measured": words.measured(chosen, region)
        + (words.against_truth(chosen, region, truth) if truth else []),
        "interval": words.interval(chosen, region, truth),
        "lesion": lesion,
        "columns": columns,
        "ranking": table.ranking(columns, list(results)),
        "region": region,
        "view": f"{channels[channel]}, {panels.view.said}",
        "window": _window(panels),
        "percent": words.percent,
        "absences": _absences(results),
        "found": [
            (n, results[n].findings)
            for n in sorted(results, key=lambda name: name != main)
            if results[n].findings
        ],
    }


def _main(
    results: Mapping[str, Result], scores: Mapping[str, Sequence[Score]], story: Story
) -> str:
    if not results:
        raise InputError("A report needs at least one result; none was given.")
    for name in (*scores, *([story.main] if story.main else [])):
        if name not in results:
            raise InputError(f"No result is called {name!r}. {nearest(name, results)}")
    known = [name for name, derived in results.items() if numbers.evidence(derived) is not None]
    return story.main or (known[0] if known else list(results)[-1])


def _one_grid(truth: Image | None, results: Mapping[str, Result], story: Story) -> None:
    first, derived = next(iter(results.items()))
    grid, channels = derived.image.geometry, derived.image.channels
    others = {name: other.image for name, other in results.items()} | (
        {"the truth": truth} if truth is not None else {}
    )
    for name, image in others.items():
        if not image.geometry.matches(grid) or image.channels != channels:
            raise GeometryError(
                f"{name} is {image.geometry} with channels {image.channels}, {first} is {grid} "
                f"with {channels}; a report "
                "compares images of one grid. Resample one."
            )
    for region in (
        story.region,
        Region(story.lesion.name, story.lesion.mask) if story.lesion else None,
    ):
        if region is not None:
            region.checked(grid)


def _slice(story: Story, region: Region) -> int:
    if story.slice is not None:
        return story.slice
    mask = story.lesion.mask if story.lesion else region.mask
    return int(mask.sum(axis=(0, 1)).argmax())


def _absences(results: Mapping[str, Result]) -> list[tuple[str, str, str]]:
    """Return each absent companion with its reason and the results that lack it for that reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, derived in results.items():
        for companion, reason in derived.absent.items():
            found.setdefault((companion, reason), []).append(name)
    return [
        (companion, reason, words.listed(names)) for (companion, reason), names in found.items()
    ]


def _tiles(
    main: str,
    chosen: Result,
    region: Region,
    columns: Sequence[table.Column],
    results: Mapping[str, Result],
    story: Story,
    truth: Image | None,
) -> list[tuple[str, str]]:
    """Return the few numbers of the first screen, each with what it means."""
    tiles = []
    known = numbers.evidence(chosen)
    if known is not None:
        split = numbers.shares(known, region.mask)
        tiles.append((words.percent(split.measured), f"of the {region.name} is measured"))
        tiles.append((words.percent(split.imagined), "is imagined by the prior"))
    if chosen.interval is not None and truth is not None:
        inside = words.held(chosen.interval, truth, region.mask)
        tiles.append(
            (
                words.percent(inside),
                f"of the {region.name} lies inside its {chosen.interval.level:.0%} interval",
            )
        )
    names = list(results)
    for column in columns[:1]:
        mine, first = column.values[names.index(main)], column.values[0]
        if mine is not None:
            beside = f"; {names[0]}: {first.text}" if first is not None and names[0] != main else ""
            tiles.append((mine.text, f"{column.label}{beside}"))
    kept = (
        words.recoveries(results, region, story.lesion, truth)
        if story.lesion and truth is not None
        else None
    )
    if kept is not None and story.lesion:
        beside = f"; {names[0]}: {kept[names[0]]:.0%}" if names[0] != main else ""
        tiles.append((f"{kept[main]:.0%}", f"of the {story.lesion.name}'s contrast{beside}"))
    return tiles


def _window(panels: Panels) -> str:
    low, high = (
        words.amount(float(np.round(end, 6)), panels.basis[1].units) for end in panels.window
    )
    name = panels.region.name
    return (
        f"Grey windows run from {low} to {high}: the 0.5th percentile of {panels.basis[0]} to its "
        f"99.5th inside the {name}. "
        f"Scales of errors and intervals end at their 99th percentile inside the {name} over all "
        "methods (errors: all but the "
        "first, if there are more). No picture has a window of its own."
    )
