from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judgement_example import curves

from veridical.evaluation.results import Curve, Endpoint
from veridical.report import plots
from veridical.report.plots import Axis, Ruler, curve, label, normalised, of_values, strip

NUMBERS = st.floats(-1e6, 1e6)


def drawn(svg: str, kind: str) -> list[ElementTree.Element]:
    """Elements of one class in a picture."""
    return [e for e in ElementTree.fromstring(svg).iter() if e.get("class") == kind]


@given(NUMBERS, st.floats(1e-6, 1e6))
def test_ticks_are_round_increasing_and_on_the_axis(low: float, width: float) -> None:
    axis = Axis(low, low + width, 0, 400)
    if axis.high <= axis.low:
        return
    values = [value for value, _ in axis.ticks()]
    assert 2 <= len(values) <= 7
    assert values == sorted(set(values))
    slack = 1e-6 * (axis.high - axis.low) + 1e-9 * abs(low)
    assert all(axis.low - slack <= value <= axis.high + slack for value in values)


@given(st.floats(1e-8, 1e6), st.floats(30, 1e9))
def test_logarithmic_ticks_are_on_the_axis_and_a_factor_is_a_fixed_step(
    low: float, ratio: float
) -> None:
    axis = Axis(low, low * ratio, 0, 400, log=True)
    values = [value for value, _ in axis.ticks()]
    assert values
    assert all(low * 0.99 <= value <= low * ratio * 1.01 for value in values)
    assert axis(low * 10) - axis(low) == pytest.approx(axis(low * 20) - axis(low * 2), abs=1e-6)


@given(NUMBERS)
def test_places_stay_on_the_axis(value: float) -> None:
    assert 10 <= Axis(-3, 5, 10, 110)(value) <= 110
    assert 10 <= Axis(0.1, 1000, 110, 10, log=True)(value) <= 110


def test_labels_have_a_true_minus_and_powers_of_ten_as_such() -> None:
    assert [label(v) for v in (0, -1.5, 1e4, 1e-3, 0.01, 20000, 2.5e7, -1e5)] == [
        "0", "−1.5", "10⁴", "10⁻³", "0.01", "20000", "2.5·10⁷", "−10⁵",
    ]  # fmt: skip


@pytest.mark.parametrize("plot", curves(), ids=lambda plot: plot.key)
def test_every_plot_is_well_formed_and_says_what_it_shows(plot: Curve) -> None:
    root = ElementTree.fromstring(curve(plot))
    assert root.get("role") == "img"
    assert root.findtext("title") == plot.title
    said = root.findtext("desc") or ""
    assert plot.said in said
    assert all(name in said for name in (*plot.lines, plot.x_label, plot.y_label))
    assert not re.search(r'style=|href|<script|fill="|stroke="', curve(plot)), (
        "the page's style gives all colours"
    )
    assert "nan" not in curve(plot)


@pytest.mark.parametrize("plot", curves(), ids=lambda plot: plot.key)
def test_nothing_is_drawn_outside_the_picture(plot: Curve) -> None:
    for element in ElementTree.fromstring(curve(plot)).iter():
        for name, most in (
            ("x", plots.WIDTH),
            ("x1", plots.WIDTH),
            ("cx", plots.WIDTH),
            ("y", plots.HEIGHT),
            ("cy", plots.HEIGHT),
        ):
            assert 0 <= float(element.get(name, 0)) <= most


def test_a_value_that_is_not_finite_breaks_the_line() -> None:
    plot = Curve(
        "a", "pixel", "line", "t", "x", "y", (0, 1, 2, 3, 4), {"a": (1, 2, math.nan, 2, 1)}
    )
    path = drawn(curve(plot), "line series-1")[0].get("d", "")
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_the_vertical_axis_is_logarithmic_where_its_label_says_so_and_values_allow_it() -> None:
    values = {"a": (1000.0, 100.0, 10.0)}

    def heights(y_label: str, lines: dict[str, tuple[float, ...]]) -> list[float]:
        plot = Curve("a", "pixel", "line", "t", "x", y_label, (0, 1, 2), lines)
        return [
            float(y)
            for y in re.findall(r" ([\d.]+)", drawn(curve(plot), "line series-1")[0].get("d", ""))
        ]

    top, middle, bottom = heights("power, log scale", values)
    assert middle - top == pytest.approx(bottom - middle, abs=0.11)
    top, middle, bottom = heights("power", values)
    assert middle - top == pytest.approx(10 * (bottom - middle), rel=0.05)
    assert heights("power, log scale", {"a": (10.0, 0.0, 5.0)}) == heights(
        "power", {"a": (10.0, 0.0, 5.0)}
    )


def test_false_positives_that_double_are_evenly_spaced() -> None:
    froc = next(plot for plot in curves() if plot.key == "task/froc")
    places = [
        float(x)
        for x in re.findall(r"[ML]([\d.]+)", drawn(curve(froc), "line series-1")[0].get("d", ""))
    ]
    steps = [b - a for a, b in itertools.pairwise(places)]
    assert max(steps) - min(steps) < 0.3


def test_bars_stand_on_zero_and_are_as_high_as_their_values() -> None:
    plot = Curve(
        "a",
        "trust",
        "bars",
        "t",
        "rank",
        "share",
        (0, 1, 2, 3),
        {"truth": (0.4, 0.1, 0.1, 0.4)},
        {"calibrated": 0.25},
    )
    bars = drawn(curve(plot), "series-1")
    heights = [float(bar.get("height", 0)) for bar in bars]
    assert heights[0] == pytest.approx(4 * heights[1], rel=0.02)
    assert len({float(bar.get("y", 0)) + float(bar.get("height", 0)) for bar in bars}) <= 2


def test_an_empty_plot_says_so_instead_of_failing() -> None:
    plot = Curve("a", "pixel", "line", "Nothing", "x", "y", (), {})
    assert "No finite value to draw" in curve(plot)


def test_all_text_of_a_plot_is_escaped() -> None:
    evil = "<script>&"
    plot = Curve(
        "a", "pixel", "points", evil, evil, evil, (0, 1), {evil: (1, 2)}, {evil: 1.5}, evil
    )
    assert "<script" not in curve(plot)
    ElementTree.fromstring(curve(plot))


def test_a_strip_puts_the_dot_between_the_ends_of_its_interval_and_the_limit_where_it_is() -> None:
    svg = strip(0.9, (0.85, 0.95), normalised(0.8), "said", "large")
    dot, bar, limit = (drawn(svg, kind)[0] for kind in ("dot", "interval", "limit"))
    assert float(bar.get("x1", 0)) < float(dot.get("cx", 0)) < float(bar.get("x2", 0))
    assert float(limit.get("x1", 0)) < float(bar.get("x1", 0))
    assert "0.8 asked for" in svg


@pytest.mark.parametrize(("value", "way"), [(-4.0, -1), (3.0, 1)])
def test_what_lies_off_the_scale_is_an_arrow_and_not_a_dot(value: float, way: int) -> None:
    svg = strip(value, None, normalised(), "said")
    (arrow,) = drawn(svg, "dot")
    assert arrow.tag == "path"
    tip = float(re.findall(r"M([\d.]+)", arrow.get("d", ""))[0])
    assert tip == pytest.approx(6 if way < 0 else 124)


def test_a_limit_about_an_ideal_is_a_band_and_one_of_a_value_is_half_a_line() -> None:
    about = Endpoint(
        "trust/coverage/a",
        "trust",
        "coverage",
        "coverage",
        "1",
        "higher",
        "a",
        0.88,
        (0.86, 0.9),
        ideal=0.9,
        limit=0.03,
        limit_of="value",
    )
    assert of_values(about).good == pytest.approx((0.87, 0.93))
    below = Endpoint(
        "task/hd/a",
        "task",
        "hd",
        "HD95",
        "mm",
        "lower",
        "a",
        3.0,
        (2.0, 4.0),
        limit=5.0,
        limit_of="value",
    )
    ruler = of_values(below)
    assert ruler.good == (-math.inf, 5.0)
    assert ruler.low < 2.0 < 5.0 < ruler.high
    assert isinstance(ruler, Ruler)
