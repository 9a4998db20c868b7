"""Looking at an image, a study or a result from Python: three planes, as HTML for a notebook or as
a figure.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.evaluation.regions import magnitude
from veridical.report import pictures
from veridical.report.pictures import View
from veridical.report.words import amount, percent
from veridical.types import Array, Finding, Geometry, Image, Measurement, Result, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS = 6
"""Channels that are drawn of one image; more are counted only."""


@dataclass(frozen=True, eq=False)
class PlanesRow:
    """One channel in all planes.

    Args:
        title: what it is, with its units.
        planes: `(row, column)` arrays with square pixels, one for each view.
        views: how each lies.
        window: ends of the grey scale, in the units of the channel.
    """

    title: str
    planes: tuple[Array, ...]
    views: tuple[View, ...]
    window: tuple[float, float]


def views(geometry: Geometry, seen: Array | None = None) -> tuple[View, ...]:
    """Return a view across each axis, the third first, without those whose planes are a single line
    of voxels.

    Args: geometry: the grid. seen: bool `(x, y, z)`, what is to be shown: the slices go through its
        centre of mass; None takes the middle.
    """
    shape = geometry.shape
    centre = [size // 2 for size in shape]
    if seen is not None and seen.any():
        centre = [int(np.round(places.mean())) for places in np.nonzero(seen)]
    found = []
    for along in (2, 1, 0):
        others = tuple(axis for axis in range(3) if axis != along)
        if along == 2 or min(shape[axis] for axis in others) > 1:
            found.append(View(geometry, centre[along], along))
    flat = [view for view in found if shape[view.along] == 1]
    return tuple(flat[:1] or found)


def rows(shown: Image | Study | Result) -> list[PlanesRow]:
    """Return the channels of an image, of a result's estimate, or of all images of a study's last
    visit.
    """
    found = []
    for image in _images(shown):
        for channel in image.channels[:CHANNELS]:
            data = np.nan_to_num(magnitude(image[channel]), posinf=0.0, neginf=0.0)
            low, high = np.percentile(data, (1, 99))
            seen = data > low + 0.1 * (high - low)
            placed = views(image.geometry, seen)
            window = pictures.percentile_window(data, data[seen] if seen.any() else data)
            planes = tuple(view.plane(data) for view in placed)
            found.append(PlanesRow(f"{channel}, {image.units_of(channel)}", planes, placed, window))
    return found


def html(shown: Image | Study | Result) -> str:
    """Return three planes of every channel, and a result's findings, as HTML that loads and runs
    nothing.
    """
    blocks = [f"<p><code>{escape(repr(shown))}</code></p>"]
    for row in rows(shown):
        drawn = [
            (pictures.grey(p, row.window, v), v.said)
            for p, v in zip(row.planes, row.views, strict=True)
        ]
        cells = "".join(
            f'<img src="{one.uri}" width="{one.width}" height="{one.height}" alt="{escape(f"{row.title}, {said}")}" '  # noqa: E501
            f'title="{escape(said)}" style="background:#000;margin-right:4px;max-width:32%;height:auto">'  # noqa: E501
            for one, said in drawn
        )
        low, high = (f"{end:.4g}" for end in row.window)
        blocks.append(
            f"<div><small>{escape(row.title)}; black {low}, white {high}</small><br>{cells}</div>"
        )
    if isinstance(shown, Result):
        items = "".join(f"<li>{escape(line)}</li>" for line in said_of(shown))
        blocks.append(f"<ul>{items}</ul>")
    return "\n".join(blocks)


def show(shown: Image | Study | Result, file: str | Path | None = None) -> None:
    """Draw three planes of every channel with matplotlib, in a window or notebook, or into a
    file.
    """
    if file is not None:
        from matplotlib.figure import Figure

        figure = Figure(layout="constrained")
        _draw(figure, rows(shown))
        figure.savefig(file)
        return
    from matplotlib import pyplot

    _draw(pyplot.figure(layout="constrained"), rows(shown))
    with (
        warnings.catch_warnings()
    ):  # a backend without windows says so: there is nothing to do about it
        warnings.simplefilter("ignore", UserWarning)
        pyplot.show()


def said_of(result: Result) -> Iterator[str]:
    """Yield the interval, the findings and what is absent, a line each."""
    if result.interval is not None:
        yield f"interval: {interval_line(result)}"
    yield from (
        f"{_verdict(finding)} {finding.check}: {finding.reason}" for finding in result.findings
    )
    yield from (f"no {companion}: {reason}" for companion, reason in result.absent.items())


def interval_line(result: Result) -> str:
    """Return the level of a result's interval, on how many patients it rests, and its median
    half-width.
    """
    band, image = result.interval, result.image
    if band is None:
        return "no interval"
    halves = np.median(np.asarray(band.upper) - np.asarray(band.lower), axis=(1, 2, 3)) / 2
    widths = ", ".join(
        f"{channel} ± {amount(float(half), image.units_of(channel))}"
        for channel, half in zip(image.channels, halves, strict=True)
    )
    return (
        f"{percent(band.level)}, calibrated on {band.patients} patients; in the median voxel "
        f"{widths}"
    )


def _verdict(finding: Finding) -> str:
    return finding.verdict.replace("_", " ")


def _images(shown: Image | Study | Result) -> list[Image]:
    if isinstance(shown, Image):
        return [shown]
    if isinstance(shown, Result):
        return [shown.image]
    return [one for one in shown.visit().values() if not isinstance(one, Measurement)]


def _draw(figure: Figure, drawn: list[PlanesRow]) -> None:
    """Draw rows of planes in grey, with titles and without axes."""
    if not drawn:
        figure.text(0.5, 0.5, "raw data only: nothing to show", ha="center")
        return
    wide = max(len(row.planes) for row in drawn)
    figure.set_size_inches(3.2 * wide, 3.4 * len(drawn))
    axes: Any = figure.subplots(len(drawn), wide, squeeze=False)
    for place, row in enumerate(drawn):
        for axis in axes[place]:
            axis.axis("off")
        for axis, plane, view in zip(axes[place], row.planes, row.views, strict=False):
            width, height = view.size(plane.shape)
            aspect = (height / plane.shape[0]) / (width / plane.shape[1])
            axis.imshow(plane, cmap="gray", vmin=row.window[0], vmax=row.window[1], aspect=aspect)
            axis.set_title(view.said, fontsize=8)
        axes[place][0].set_title(f"{row.title}\n{row.views[0].said}", fontsize=8)
