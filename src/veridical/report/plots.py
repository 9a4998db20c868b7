"""Plots as SVG inside the page: curves, and strips with a dot and its interval; the page's style
gives all colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from veridical.evaluation.results import Curve, Endpoint

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 420.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 12.0, 12.0, 40.0
STRIP = {"large": (240.0, 50.0), "small": (130.0, 20.0)}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label(value: float) -> str:
    """Return a tick's label: powers of ten as such, other numbers plain where they are short, with
    a true minus.
    """
    size = abs(value)
    power = math.floor(math.log10(size) + 1e-9) if size else 0
    factor = value / 10.0**power
    if size and abs(abs(factor) - 1) < 1e-9 and not -3 < power < 4:
        text = f"{'-' if value < 0 else ''}10{str(power).translate(SUPERSCRIPT)}"
    elif -5 < power < 6:
        text = f"{value:.6g}"
    else:
        text = f"{factor:.3g}·10{str(power).translate(SUPERSCRIPT)}"
    return text.replace("-", "−")


@dataclass(frozen=True)
class Axis:
    """From values to places on the page.

    Args:
        low, high: values at the ends.
        start, end: places of the ends.
        log: logarithmic; `low` is then above 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value; what lies outside is at the nearest end."""
        low, high, at = (
            math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low))
        )
        return self.start + (min(at, high) - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return a few round values with their labels."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            factors = (1, 2, 5) if last - first <= 3 else (1,)
            step = max(1, math.ceil((last - first) / 6))
            values = [m * 10.0**n for n in range(first, last + 1, step) for m in factors]
            return [(v, label(v)) for v in values if self.low * 0.999 <= v <= self.high * 1.001]
        rough = (self.high - self.low) / 4
        size = 10.0 ** math.floor(math.log10(rough))
        each = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough * 0.999)
        first, last = math.ceil(self.low / each - 1e-9), math.floor(self.high / each + 1e-9)
        return [(n * each, label(round(n * each, 12))) for n in range(first, last + 1)]


@dataclass(frozen=True)
class Ruler:
    """The scale of a strip.

    Args:
        low, high: values at its ends; what lies outside is drawn as an arrow.
        ticks: value -> label.
        good: where the result is to lie, or None.
        limit: label of the ends of `good` that lie inside the scale.
    """

    low: float
    high: float
    ticks: Mapping[float, str]
    good: tuple[float, float] | None = None
    limit: str = ""


def normalised(limit: float | None = None) -> Ruler:
    """Return the scale on which 0 is the simple baseline and 1 real against real."""
    good = None if limit is None else (limit, math.inf)
    return Ruler(
        -0.3,
        1.3,
        {0.0: "0 baseline", 1.0: "1 real"},
        good,
        "" if limit is None else f"{limit:g} asked for",
    )


def of_values(endpoint: Endpoint) -> Ruler:
    """Return a scale in the units of an endpoint, wide enough for its interval, its limit and its
    ideal value.
    """
    e = endpoint
    good: tuple[float, float] | None = None
    if e.limit is not None and e.limit_of == "value":
        lower = (-math.inf, e.limit) if e.better == "lower" else (e.limit, math.inf)
        good = lower if e.ideal is None else (e.ideal - e.limit, e.ideal + e.limit)
    ticks = {} if e.ideal is None else {e.ideal: f"{e.ideal:g} ideal"}
    seen = [
        v
        for v in (e.value, *(e.interval or ()), *(good or ()), *ticks)
        if v is not None and math.isfinite(v)
    ]
    low, high = min(seen), max(seen)
    pad = 0.25 * ((high - low) or abs(high) or 1.0)
    said = (
        "" if e.limit is None else f"{e.limit:g} asked for" if e.ideal is None else f"± {e.limit:g}"
    )
    return Ruler(low - pad, high + pad, ticks, good, said)


def strip(
    value: float,
    interval: tuple[float, float] | None,
    ruler: Ruler,
    said: str,
    size: str = "small",
    tone: str = "exploratory",
) -> Markup:
    """Return a dot with its interval over a ruler.

    Args:
        value, interval: on the scale of the ruler.
        ruler: the scale.
        said: the same in words, for who cannot see it.
        size: `small` for a table, without labels; `large` with them.
        tone: verdict that gives the colour.
    """
    width, height = STRIP[size]
    large = size == "large"
    axis, y = Axis(ruler.low, ruler.high, 6, width - 6), (24.0 if large else height / 2)
    parts = []
    if ruler.good is not None:
        start, end = axis(ruler.good[0]), axis(ruler.good[1])
        parts.append(
            f'<rect class="good" x="{start:.1f}" y="{y - 9:.1f}" width="{end - start:.1f}" height="18"/>'  # noqa: E501
        )
        for bound in ruler.good:
            if ruler.low < bound < ruler.high:
                parts.append(_line("limit", axis(bound), y - 9, axis(bound), y + 9))
        if large and (inside := [b for b in ruler.good if ruler.low < b < ruler.high]):
            middle = sum(axis(b) for b in inside) / len(inside)
            parts.append(
                _text(
                    middle,
                    10,
                    ruler.limit,
                    "middle" if 60 < middle < width - 60 else "end",
                    "limit-text",
                )
            )
    parts.append(_line("rule", 6, y, width - 6, y))
    for at, label in ruler.ticks.items():
        parts.append(_line("tick", axis(at), y - 4, axis(at), y + 4))
        if large:
            parts.append(_text(axis(at), y + 21, label, "middle"))
    if interval is not None:
        parts.append(_line("interval", axis(interval[0]), y, axis(interval[1]), y))
        parts += [
            _arrow(axis, y, way)
            for way, out in ((-1, interval[0] < ruler.low), (1, interval[1] > ruler.high))
            if out
        ]
    if ruler.low <= value <= ruler.high:
        parts.append(
            f'<circle class="dot" cx="{axis(value):.1f}" cy="{y:g}" r="{5 if large else 3.6}"/>'
        )
    else:
        parts.append(_arrow(axis, y, -1 if value < ruler.low else 1))
    return _svg(f"strip {size} {tone}", width, height, said, parts)


def curve(plot: Curve) -> Markup:
    """Return a plot of an evaluation, with its title and its sentence for who cannot see it.

    Lines have a colour and a dash each, `series-1`, `series-2` and so on in their order. The
    vertical axis is logarithmic where its label says so and all values are positive, the horizontal
    one where the positions grow as a power does (false positives of a FROC). What is not finite is
    left out.
    """
    xs = [v for v in plot.x if math.isfinite(v)]
    ys = [v for line in plot.lines.values() for v in line if math.isfinite(v)]
    if not xs or not ys:
        return _svg("plot", WIDTH, HEIGHT, f"{plot.title}. No finite value to draw.", [])
    x, y = _across(plot, xs), _up(plot, ys)
    parts = _frame(x, y, plot)
    for number, values in enumerate(plot.lines.values(), 1):
        finite = [
            math.isfinite(a) and math.isfinite(b) for a, b in zip(plot.x, values, strict=False)
        ]
        places = [
            (x(a), y(b)) if ok else None for a, b, ok in zip(plot.x, values, finite, strict=False)
        ]
        if plot.kind == "bars":
            parts += _bars(
                places, y, number, len(plot.lines), 0.85 * (x.end - x.start) / max(1, len(xs))
            )
        elif plot.kind == "points":
            parts += [
                f'<circle class="series-{number}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="3"/>'
                for p in places
                if p
            ]
        else:
            parts.append(f'<path class="line series-{number}" d="{_path(places)}"/>')
    for name, at in plot.marks.items():
        parts.append(_line("mark", LEFT, y(at), WIDTH - RIGHT, y(at)))
        if plot.kind != "bars":
            parts.append(
                _text(
                    WIDTH - RIGHT - 3,
                    y(at) - 4,
                    f"{name} {label(float(f'{at:.3g}'))}",
                    "end",
                    "halo",
                )
            )
    return _svg(
        f"plot {plot.kind}", WIDTH, HEIGHT, plot.title, parts, f"{plot.said} {_summary(plot)}"
    )


def _across(plot: Curve, xs: Sequence[float]) -> Axis:
    low, high = min(xs), max(xs)
    if plot.kind == "bars":
        half = 0.5 * (high - low) / (len(xs) - 1) if len(xs) > 1 and high > low else 0.5
        return Axis(low - half, high + half, LEFT, WIDTH - RIGHT)
    if high <= low:
        return Axis(low - 0.5, high + 0.5, LEFT, WIDTH - RIGHT)
    geometric = (
        plot.kind == "line"
        and len(xs) > 3
        and low > 0
        and xs[-1] - xs[-2] > 10 * (xs[1] - xs[0]) > 0
    )
    pad = 0.04 * (high - low) if plot.kind == "points" else 0.0
    return Axis(low - pad, high + pad, LEFT, WIDTH - RIGHT, geometric)


def _up(plot: Curve, ys: Sequence[float]) -> Axis:
    seen = [*ys, *plot.marks.values(), *([0.0] if plot.kind == "bars" else [])]
    low, high = min(seen), max(seen)
    if "log" in plot.y_label.lower().split() and low > 0:
        return Axis(low / 1.3, high * 1.3, HEIGHT - BOTTOM, TOP, log=True)
    pad = 0.06 * (high - low) or 0.5 * (abs(high) or 1.0)
    return Axis(low if low == 0 < high else low - pad, high + pad, HEIGHT - BOTTOM, TOP)


def _frame(x: Axis, y: Axis, plot: Curve) -> list[str]:
    parts = []
    for value, said in y.ticks():
        parts += [
            _line("grid", LEFT, y(value), WIDTH - RIGHT, y(value)),
            _text(LEFT - 6, y(value) + 4, said, "end"),
        ]
    below = HEIGHT - BOTTOM
    every = max(1, math.ceil(len(plot.x) / 12))
    ticks = [(v, label(v)) for v in plot.x[::every]] if plot.kind == "bars" else x.ticks()
    for value, said in ticks:
        parts += [
            _line("tick", x(value), below, x(value), below + 4),
            _text(x(value), below + 17, said, "middle"),
        ]
    parts.append(_line("rule", LEFT, below, WIDTH - RIGHT, below))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, plot.x_label, "middle"))
    return parts


def _bars(
    pairs: Sequence[tuple[float, float] | None], y: Axis, number: int, of: int, room: float
) -> list[str]:
    width = room / of
    base = y(max(y.low, min(0.0, y.high)))
    parts = []
    for place in pairs:
        if place is not None:
            left, top = place[0] - room / 2 + (number - 1) * width, min(place[1], base)
            height = abs(base - place[1])
            parts.append(
                f'<rect class="series-{number}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'  # noqa: E501
            )
    return parts


def _path(pairs: Iterable[tuple[float, float] | None]) -> str:
    """Return the path through the places; a gap starts anew."""
    said, pen = [], "M"
    for place in pairs:
        if place is None:
            pen = "M"
            continue
        said.append(f"{pen}{place[0]:.1f} {place[1]:.1f}")
        pen = "L"
    return "".join(said)


def _summary(plot: Curve) -> str:
    ranges = []
    for name, values in plot.lines.items():
        finite = [v for v in values if math.isfinite(v)]
        if finite:
            ranges.append(f"{name} from {min(finite):.3g} to {max(finite):.3g}")
    return f"Vertical axis: {plot.y_label}; {', '.join(ranges)}. Horizontal axis: {plot.x_label}."


def _arrow(axis: Axis, y: float, way: int) -> str:
    tip = axis.end if way > 0 else axis.start
    return f'<path class="dot" d="M{tip:.1f} {y:g}L{tip - 8 * way:.1f} {y - 5:g}L{tip - 8 * way:.1f} {y + 5:g}Z"/>'  # noqa: E501


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, said: str, anchor: str, kind: str = "") -> str:
    from markupsafe import escape

    klass = f' class="{kind}"' if kind else ""
    return f'<text{klass} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _svg(
    kind: str, width: float, height: float, title: str, parts: Iterable[str], said: str = ""
) -> Markup:
    from markupsafe import Markup, escape

    described = f"<desc>{escape(' '.join(said.split()))}</desc>" if said else ""
    head = f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img"><title>{escape(title)}</title>{described}'  # noqa: E501
    return Markup(f"{head}{''.join(parts)}</svg>")
