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
from veridical.report import pictures, slider
from veridical.report.pictures import Picture, View
from veridical.report.words import amount, percent
from veridical.types import Array, Finding, Geometry, Image, Measurement, Result, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS = 6
"""Channels that are drawn of one image; more are counted only."""
LABELS = "labels"
"""Instead of a colour map: each label in a colour of its own."""


@dataclass(frozen=True, eq=False)
class PlanesRow:
    """One channel in all planes.

    Args:
        title: what it is, with its units.
        data: `(x, y, z)`.
        views: the slices that are shown of it, one across each axis.
        window: ends of the scale, in the units of the channel.
        colours: colour map of `pictures`, `grey`, or `labels`.
    """

    title: str
    data: Array
    views: tuple[View, ...]
    window: tuple[float, float]
    colours: str = "grey"

    @property
    def planes(self) -> tuple[Array, ...]:
        """The slices as `(row, column)` arrays."""
        return tuple(view.plane(self.data) for view in self.views)

    def picture(self, view: View) -> Picture:
        """Return a slice as a picture."""
        plane = view.plane(self.data)
        if self.colours == "grey":
            return pictures.grey(plane, self.window, view)
        if self.colours == LABELS:
            return pictures.labelled(plane, np.zeros(plane.shape), (0.0, 1.0), view)
        return pictures.coloured(plane, self.window, self.colours, view)


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
    """Return the channels of an image, of a result's estimate, each followed by its interval and
    evidence, or of all images of a study's last visit.
    """
    found = []
    for image in _images(shown):
        for channel in image.channels[:CHANNELS]:
            data = np.nan_to_num(magnitude(image[channel]), posinf=0.0, neginf=0.0)
            low, high = np.percentile(data, (1, 99))
            seen = data > low + 0.1 * (high - low)
            placed, units = views(image.geometry, seen), image.units_of(channel)
            window = pictures.percentile_window(data, data[seen] if seen.any() else data)
            colours = LABELS if units == "label" else "grey"
            found.append(PlanesRow(f"{channel}, {units}", data, placed, window, colours))
            if isinstance(shown, Result):
                found += _companions(shown, channel, placed, seen)
    return found


def _companions(
    shown: Result, channel: str, placed: tuple[View, ...], seen: Array
) -> Iterator[PlanesRow]:
    """Yield the half-width of the interval and the evidence of a channel, where there are any."""
    k, units = shown.image.channels.index(channel), shown.image.units_of(channel)
    if shown.interval is not None:
        band = (magnitude(shown.interval.upper[k]) - magnitude(shown.interval.lower[k])) / 2
        top = float(np.percentile(band[seen] if seen.any() else band, 99)) or 1.0
        title = f"{channel}, half-width of the {percent(shown.interval.level)} interval, {units}"
        yield PlanesRow(title, band, placed, (0.0, top), pictures.WIDTH)
    if shown.evidence is not None and shown.evidence.map is not None:
        shares, title = np.asarray(shown.evidence.map[k]), f"{channel}, share measured"
        yield PlanesRow(title, shares, placed, (0.0, 1.0), pictures.EVIDENCE)


def html(shown: Image | Study | Result) -> str:
    """Return three planes of every channel, and a result's findings, as HTML that loads and runs
    nothing.
    """
    blocks = [f"<p><code>{escape(repr(shown))}</code></p>"]
    for row in rows(shown):
        drawn = [(row.picture(view), view.said) for view in row.views]
        cells = "".join(
            f'<img src="{one.uri}" width="{one.width}" height="{one.height}" alt="{escape(f"{row.title}, {said}")}" '  # noqa: E501
            f'title="{escape(said)}" style="background:#000;margin-right:4px;max-width:32%;height:auto">'  # noqa: E501
            for one, said in drawn
        )
        blocks.append(f"<div><small>{escape(_legend(row))}</small><br>{cells}</div>")
    if isinstance(shown, Result):
        items = "".join(f"<li>{escape(line)}</li>" for line in said_of(shown))
        blocks.append(f"<ul>{items}</ul>")
    return "\n".join(blocks)


def _legend(row: PlanesRow) -> str:
    low, high = (f"{end:.4g}" for end in row.window)
    ends = {"grey": f"; black {low}, white {high}", LABELS: ""}
    return row.title + ends.get(row.colours, f"; dark {low}, bright {high}")


def show(shown: Image | Study | Result, file: str | Path | None = None) -> None:
    """Draw three planes of every channel with matplotlib, in a window or notebook, or into a file;
    in a notebook with ipywidgets, with a slider for the slices.
    """
    if file is not None:
        from matplotlib.figure import Figure

        figure = Figure(layout="constrained")
        _draw(figure, rows(shown))
        figure.savefig(file)
        return
    if slider.possible() and rows(shown):
        slider.display(shown)
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
            colours = {"grey": "gray", LABELS: "tab20"}.get(row.colours, row.colours)
            axis.imshow(plane, cmap=colours, vmin=row.window[0], vmax=row.window[1], aspect=aspect)
            axis.set_title(view.said, fontsize=8)
        axes[place][0].set_title(f"{row.title}\n{row.views[0].said}", fontsize=8)
