"""The page beside every result: input and estimate, interval, evidence, findings in words, where it
came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.evaluation import regions
from veridical.evaluation.regions import Region, magnitude
from veridical.governance.admission import Admission, admit
from veridical.io import bids
from veridical.report import numbers, paper, pictures, words
from veridical.report.fan_plot import FanPlot, fan
from veridical.report.panels import Cell, Scale
from veridical.report.pictures import View
from veridical.report.view import CHANNELS, interval_line, views
from veridical.terms import ENVIRONMENT, Terms
from veridical.types import Array, Geometry, Image, Measurement, Result

PAGE = "report.html"
LARGEST = 512
"""Rows and columns of raw data that are drawn; of more, every second, third, ... is left out."""


@dataclass(frozen=True)
class ChannelRow:
    """Pictures of one channel in one slice, side by side; `said` is how the slice lies."""

    said: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class Map:
    """A companion of one channel, `(x, y, z)`, in colours from 0 to `top`; without data, `said` is
    why it is absent.
    """

    name: str
    said: str
    data: Array | None = None
    colours: str = ""
    top: float = 1.0
    ends: tuple[str, str] = ("", "")


def save(
    result: Result,
    folder: str | Path,
    name: str,
    *,
    overwrite: bool = False,
    described: bool = True,
    terms: Terms | None = None,
) -> dict[str, Path]:
    """Write a result with all its companions and its page; arguments, return value and errors as
    `Result.save`.
    """
    admitted = admit(result, name, terms or ENVIRONMENT)
    return _write(result, Path(folder), admitted, overwrite, described)


def _write(
    result: Result,
    folder: Path,
    admitted: Admission,
    overwrite: bool,
    described: bool,
    part: str = "",
) -> dict[str, Path]:
    """Write an admitted result, then those that it holds besides."""
    policy = admitted.record()
    page = render(result, admitted.name, policy)
    written = bids.save(
        result,
        folder,
        admitted.name,
        overwrite=overwrite,
        described=described,
        policy=policy,
        seal=lambda record: admitted.seal(result, record, part),
    )
    written["report"] = paper.write(folder / PAGE, page)
    for key, other in result.also.items():
        whole = replace(other, steps=other.steps or result.steps, study=other.study or result.study)
        more = _write(whole, folder / key, admitted, overwrite, False, key)
        written |= {f"{key}/{role}": path for role, path in more.items()}
    return written


def render(result: Result, name: str, policy: Mapping[str, Any] | None = None) -> str:
    """Return the page as a string. The same result gives the same bytes.

    Args:
        result, name: what is shown.
        policy: what the policy decided, as the provenance has it; None without one.
    """
    image, region = finite(result.image), regions.foreground(finite(result.image))
    shown = image.channels[:CHANNELS]
    placed = views(image.geometry, region.mask)
    known = numbers.evidence(result)
    task = result.steps[-1].task if result.steps else "result"
    given = _given(result)
    content = {
        "title": f"{words.capital(task)}: {name}",
        "result": result,
        "headline": words.headline(result.findings),
        "lead": _lead(result, given),
        "channels": [
            (_named(result, channel, given), _rows(result, channel, region, placed, given))
            for channel in shown
        ],
        "beside": _beside(result, placed[0], given),
        "more": image.channels[CHANNELS:],
        "brief": words.brief,
        "points": numbers.points(result),
        "course": _course(result),
        "interval": interval_line(result),
        "shares": None if known is None else numbers.shares(known, region.mask),
        "measured": words.measured(result, region),
        "region": region,
        "results": {name: result},
        "policy": policy,
        "percent": words.percent,
    }
    styles = ("page.css", *(("judgement.css", "twin.css") if content["course"] else ()))
    return paper.render("result.html.j2", styles, content)


def _course(result: Result) -> tuple[str, Any] | None:
    """Return where a point of a tracked sequence is, in words, and its motion as a plot."""
    known = result.image.header.get("course")
    if known is None:
        return None
    place = ", ".join(f"{one:g}" for one in known["point_mm"])
    said = f"The tissue that is at {place} mm in the reference, along {known['axis']} of the grid"
    band = (known["lower"], known["upper"])
    plot = FanPlot(
        "Motion over time", "mm", known["seconds"], [band], known["mm"], x_label="seconds"
    )
    return said, fan(plot)


def finite(image: Image) -> Image:
    """Return an image whose NaN and infinities are 0, as they are drawn."""
    return (
        image
        if np.isfinite(image.data).all()
        else replace(image, data=np.nan_to_num(image.data, posinf=0.0, neginf=0.0))
    )


def _given(result: Result) -> Mapping[str, Image | Measurement]:
    """Return the images and raw data of the last visit that the result was made from; nothing where
    that is not known.
    """
    return result.study.visit() if result.study and result.study.visits else {}


def _lead(result: Result, given: Mapping[str, Image | Measurement]) -> str:
    made = words.listed(
        words.brief(
            [f"{channel} ({result.image.units_of(channel)})" for channel in result.image.channels]
        )
    )
    source = f" from {words.listed(given)}" if given else ""
    model = (
        f" by {result.steps[-1].model}" if result.steps and result.steps[-1].model != "none" else ""
    )
    return f"{words.capital(result.kind)} of {made}{source}{model}; {result.image.geometry}."


def _named(result: Result, channel: str, given: Mapping[str, Image | Measurement]) -> str:
    """Return the title of a channel: its units, and that it was made where it was not measured."""
    images = [one for one in given.values() if isinstance(one, Image)]
    made = images and not any(channel in one.channels for one in images)
    return f"{channel}, {result.image.units_of(channel)}{'; made by the model, not measured' if made else ''}"  # noqa: E501


def _rows(
    result: Result,
    channel: str,
    region: Region,
    placed: tuple[View, ...],
    given: Mapping[str, Image | Measurement],
) -> list[ChannelRow]:
    """Return a row for each slice: input, estimate, half-width of the interval, evidence, what the
    prior filled in.
    """
    units, data = result.image.units_of(channel), finite(result.image)[channel]
    window = pictures.percentile_window(data, data[region.mask])
    maps = _maps(result, channel, region)
    rows = []
    for view in placed:
        measured = _input(given, channel, units, window, view)
        cells = [measured] if measured else []
        if units == "label":
            cells.append(_labels(result, channel, given, view))
        else:
            cells.append(_grey("estimate", result.kind, data, window, units, view))
        cells += [_coloured(one, channel, view) for one in maps]
        rows.append(ChannelRow(view.said, tuple(cells)))
    return rows


def _maps(result: Result, channel: str, region: Region) -> list[Map]:
    """Return the companions of a channel, those that are absent with the reason."""
    k, units = result.image.channels.index(channel), result.image.units_of(channel)
    band, parts = result.interval, result.evidence
    absent = {
        name: result.absent.get(name, "no reason was given") for name in ("interval", "evidence")
    }
    maps = [Map("interval", absent["interval"]), Map("evidence", absent["evidence"])]
    if band is not None:
        half = (magnitude(band.upper[k]) - magnitude(band.lower[k])) / 2
        top = _top(half, region)
        ends = ("0", f"{words.amount(top, units)} or more")
        maps[0] = Map(
            "interval",
            f"half-width at {words.percent(band.level)}",
            half,
            pictures.WIDTH,
            top,
            ends,
        )
    if parts is not None and parts.map is not None:
        ends = ("0 imagined", "1 measured")
        maps[1] = Map(
            "evidence",
            "how much is owed to the measurement",
            parts.map[k],
            pictures.EVIDENCE,
            1.0,
            ends,
        )
    if parts is not None and parts.unmeasured is not None and parts.unmeasured[k].any():
        filled = magnitude(parts.unmeasured[k])
        top = _top(np.abs(filled), region)
        ends = ("0", f"{words.amount(top, units)} or more")
        maps.append(
            Map(
                "filled in",
                "what the measurement does not fix",
                np.abs(filled),
                pictures.FILLED,
                top,
                ends,
            )
        )
    return maps


def _top(data: Array, region: Region) -> float:
    """Return the end of a scale: the 99th percentile inside the region."""
    return float(np.percentile(np.nan_to_num(data)[region.mask], 99)) or 1.0


def _grey(
    name: str, caption: str, data: Array, window: tuple[float, float], units: str, view: View
) -> Cell:
    scale = Scale(pictures.bar("grey"), *(words.amount(end, units) for end in window))
    return Cell(
        name,
        caption,
        f"{name}, {view.said}",
        pictures.grey(view.plane(data), window, view),
        "",
        scale,
    )


def _labels(
    result: Result, channel: str, given: Mapping[str, Image | Measurement], view: View
) -> Cell:
    """Return labels in colours over the first image of the same grid that they were made from."""
    labels, grid = result.image[channel], result.image.geometry
    images = [one for one in given.values() if isinstance(one, Image) and one.units != "label"]
    under = [finite(one).data[0] for one in images if one.geometry.matches(grid)]
    base = magnitude(under[0]) if under else np.zeros(grid.shape)
    plane, names = view.plane(labels), result.image.header.get("labels", {})
    key = tuple((pictures.swatch(int(n)), str(names.get(n, n))) for n in np.unique(plane) if n)
    window = pictures.percentile_window(base, base)
    drawn = pictures.labelled(plane, view.plane(base), window, view)
    return Cell("estimate", result.kind, f"labels, {view.said}", drawn, key=key)


def _coloured(shown: Map, channel: str, view: View) -> Cell:
    if shown.data is None:
        return Cell(shown.name, "", "", None, shown.said)
    drawn = pictures.coloured(
        view.plane(np.nan_to_num(shown.data)), (0.0, shown.top), shown.colours, view
    )
    scale = Scale(pictures.bar(shown.colours), *shown.ends)
    return Cell(shown.name, shown.said, f"{shown.name} of {channel}, {view.said}", drawn, "", scale)


def _input(
    given: Mapping[str, Image | Measurement],
    channel: str,
    units: str,
    window: tuple[float, float],
    view: View,
) -> Cell | None:
    """Return the measured image of a channel, in the window of the estimate; None where it was not
    measured.
    """
    for one in given.values():
        if isinstance(one, Image) and channel in one.channels:
            own, data = one.units_of(channel), finite(one)[channel]
            here = window if own == units else pictures.percentile_window(data, data)
            return _grey("input", "", data, here, own, beside(view, one.geometry))
    return None


def _beside(result: Result, view: View, given: Mapping[str, Image | Measurement]) -> list[Cell]:
    """Return what else went in: raw data, and images of channels that the result does not have."""
    cells = []
    for name, one in given.items():
        if isinstance(one, Measurement):
            cells.append(_raw(name, one, view))
        elif not set(one.channels) & set(result.image.channels):
            data = finite(one).data[0]
            window = pictures.percentile_window(data, data)
            units = one.units_of(one.channels[0])
            cells.append(_grey(name, "", data, window, units, beside(view, one.geometry)))
    return cells


def _raw(name: str, measurement: Measurement, view: View) -> Cell:
    """Return one slice of raw data as it was measured: magnitudes, over coils their root sum of
    squares.
    """
    data, spectrum = magnitude(measurement.data), np.iscomplexobj(measurement.data)
    if data.ndim > 2:
        data = data[min(view.index, len(data) - 1) if view.along == 2 else len(data) // 2]
    while data.ndim > 2:
        data = np.sqrt((data**2).sum(0))
    data = np.atleast_2d(data)
    data = data[tuple(slice(None, None, -(-size // LARGEST)) for size in data.shape)]
    if spectrum and data.any():
        data = np.log1p(data / np.median(data[data > 0]))
    flat = View(Geometry.index((data.shape[1], data.shape[0], 1)), 0)
    drawn = pictures.grey(data, pictures.percentile_window(data, data), flat)
    shape = " x ".join(map(str, measurement.data.shape))
    caption = f"{measurement.operator.name}, {shape}{', log magnitude' if spectrum else ''}"
    return Cell(f"raw data: {name}", caption, f"raw data of {name}", drawn)


def beside(view: View, other: Geometry) -> View:
    """Return the slice of another grid that lies nearest to a slice, across the axis that is most
    parallel to its own.
    """
    grid, along = view.geometry, view.along
    if "index" in (grid.frame, other.frame):
        place = (view.index + 0.5) / grid.shape[along] * other.shape[along] - 0.5
        return View(other, int(np.clip(round(place), 0, other.shape[along] - 1)), along)
    first, second = (grid.affine[:3, axis] for axis in range(3) if axis != along)
    normal = np.cross(first, second)
    steps = other.affine[:3, :3] / np.array(other.spacing)
    nearest = int(np.abs(normal @ steps).argmax())
    centre = [(size - 1) / 2 for size in grid.shape]
    centre[along] = view.index
    place = float((np.linalg.inv(other.affine) @ grid.affine @ np.array([*centre, 1.0]))[nearest])
    return View(other, int(np.clip(round(place), 0, other.shape[nearest] - 1)), nearest)
