"""A forecast as a fan: bands of intervals, the median, what was measured and what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from veridical.report.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis

if TYPE_CHECKING:
    from markupsafe import Markup

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class FanPlot:
    """What is drawn.

    Args:
        title: in words.
        y_label: of the vertical axis, with units.
        days: of the forecast.
        bands: each (low, high) on these days, the widest first.
        median: on these days.
        scans: `(day, value)` that the twin was told.
        truth: name -> `(day, value)`, lines.
        x_label: of the horizontal axis.
        marks: name -> day, vertical lines.
    """

    title: str
    y_label: str
    days: Sequence[float]
    bands: Sequence[tuple[Sequence[float], Sequence[float]]]
    median: Sequence[float]
    scans: Points = ()
    truth: Mapping[str, Points] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)
    x_label: str = "days since the first scan"


def fan(plot: FanPlot) -> Markup:
    """Return the plot as SVG; the style of the page gives all colours."""
    from markupsafe import Markup, escape

    lines = [point for line in plot.truth.values() for point in line]
    days = [*plot.days, *(day for day, _ in (*plot.scans, *lines)), *plot.marks.values()]
    highs = [*(v for band in plot.bands for v in band[1]), *plot.median]
    top = max([*highs, *(value for _, value in (*plot.scans, *lines)), 1e-6]) * 1.06
    x = Axis(min(days), max(days), LEFT, WIDTH - RIGHT)
    lows = [*(v for band in plot.bands for v in band[0]), *plot.median]
    y = Axis(min([0.0, *lows]) * 1.06, top, HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y)
    for number, (low, high) in enumerate(plot.bands):
        edge = [*zip(plot.days, high, strict=True), *reversed([*zip(plot.days, low, strict=True)])]
        parts.append(f'<polygon class="band band-{number}" points="{_places(edge, x, y)}"/>')
    middle = _places([*zip(plot.days, plot.median, strict=True)], x, y)
    parts.append(f'<polyline class="line series-1" points="{middle}"/>')
    for number, line in enumerate(plot.truth.values(), 2):
        parts.append(f'<polyline class="line series-{number}" points="{_places(line, x, y)}"/>')
    for name, day in plot.marks.items():
        parts.append(
            f'<line class="mark" x1="{x(day):.1f}" y1="{TOP:.1f}" x2="{x(day):.1f}" '
            f'y2="{HEIGHT - BOTTOM:.1f}"/><text x="{x(day) + 3:.1f}" y="{TOP + 9:.1f}">'
            f"{escape(name)}</text>"
        )
    parts += [
        f'<circle class="scan" cx="{x(day):.1f}" cy="{y(value):.1f}" r="4"/>'
        for day, value in plot.scans
    ]
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 5:.1f}" text-anchor="middle">'
        f"{escape(plot.x_label)}; vertical: {escape(plot.y_label)}</text>"
    )
    head = (
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img">'
        f"<title>{escape(plot.title)}</title>"
    )
    return Markup(f"{head}{''.join(parts)}</svg>")


def _places(points: Points, x: Axis, y: Axis) -> str:
    return " ".join(f"{x(day):.1f},{y(value):.1f}" for day, value in points)


def _frame(x: Axis, y: Axis) -> list[str]:
    below, parts = HEIGHT - BOTTOM, list[str]()
    for value, said in y.ticks():
        parts.append(
            f'<line class="grid" x1="{LEFT:g}" y1="{y(value):.1f}" x2="{WIDTH - RIGHT:g}" '
            f'y2="{y(value):.1f}"/><text x="{LEFT - 6:.1f}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{said}</text>'
        )
    for value, said in x.ticks():
        parts.append(
            f'<line class="tick" x1="{x(value):.1f}" y1="{below:g}" x2="{x(value):.1f}" '
            f'y2="{below + 4:g}"/><text x="{x(value):.1f}" y="{below + 17:g}" '
            f'text-anchor="middle">{said}</text>'
        )
    parts.append(
        f'<line class="rule" x1="{LEFT:g}" y1="{below:g}" x2="{WIDTH - RIGHT:g}" y2="{below:g}"/>'
    )
    return parts
