"""The page and the tables of a league: complete without a network, safe, the same bytes again."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from outline import Outline

import leagues
from veridical.evaluation.standings import Standings
from veridical.report.league_page import LeagueExhibit, opening, render
from veridical.report.league_tables import alike, headings, long_csv, markdown, rank, score
from veridical.types import Geometry, Image

ENTRIES = {"flow": leagues.entry(10, 0.9, 1.0), "map": leagues.entry(20, 0.7, 9.0)}
SHAPE = (24, 20, 3)


@pytest.fixture(scope="module")
def found() -> Standings:
    return leagues.standings(ENTRIES)


def image(seed: int) -> Image:
    data = np.random.default_rng(seed).uniform(50, 100, (1, *SHAPE)).astype(np.float32)
    data[:, :4] = 0
    return Image(data, Geometry(SHAPE, np.diag([1.0, -1.0, 3.0, 1.0])), "a.u.", ("FLAIR",))


@pytest.fixture(scope="module")
def page(found: Standings) -> str:
    made = {"flow": image(1), "map": image(2)}
    shown = LeagueExhibit("case-1", image(0), {"T1w": image(3)}, made)
    return render(found, [shown], '{"job": "complete <now>"}')


def test_the_page_loads_and_runs_nothing_and_says_what_it_shows(page: str) -> None:
    seen = Outline(page)
    assert "script" not in seen.tags
    assert all(value.startswith(("data:", "#")) for value in seen.values("src"))
    assert "default-src 'none'" in page
    assert seen.tags.count("h1") == 1
    assert len(set(seen.values("id"))) == len(seen.values("id"))
    assert all(image["alt"] for image in seen.images)


def test_the_same_slice_is_shown_of_truth_input_and_every_entry_with_errors(page: str) -> None:
    names = re.findall(r"<figcaption><b>([^<]+)</b>", page)
    assert names == ["truth", "T1w", "flow", "map", "flow", "map"]


def test_text_is_escaped(page: str) -> None:
    assert "complete &lt;now&gt;" in page
    assert "NaN &lt;values&gt;" in page
    assert "<now>" not in page


def test_the_same_input_gives_the_same_page(found: Standings) -> None:
    assert render(found, [], "x") == render(found, [], "x")


def test_the_headline_says_who_is_ahead_and_of_whom_that_is_not_sure(found: Standings) -> None:
    title, said = opening(found)
    assert title == "flow is ahead of 1 others."
    assert "map" in said or "no other" in said
    alone = leagues.standings({"flow": ENTRIES["flow"]})
    assert opening(alone)[0] == "Nothing to compare yet."


def test_images_made_from_nothing_have_no_error_map(found: Standings) -> None:
    shown = LeagueExhibit("case-1", image(0), {}, {"flow": image(1)}, paired=False)
    assert "Absolute error" not in render(found, [shown], "x")


def test_the_markdown_holds_every_entry_its_cost_and_why_one_is_missing(found: Standings) -> None:
    text = markdown(found)
    assert text.startswith("# Toys\n")
    mae = found.entries[0].scores["pixel/mae/foreground"]
    assert f"| flow | 1.0 (1.0 to 1.0) | {mae.value:.4g} (" in text
    assert "1.38 M" in text
    assert "| broken | failed | It made NaN <values>. |" in text
    assert text.rstrip().endswith("- A note.")
    assert [head.arrow for head in headings(found)] == ["↓", "↑", "↓"]


def test_the_csv_holds_every_number_once(found: Standings) -> None:
    rows = list(csv.DictReader(io.StringIO(long_csv(found))))
    keys = [(row["entry"], row["endpoint"], row["label"]) for row in rows]
    assert len(set(keys)) == len(keys)
    mine = next(r for r in rows if r["entry"] == "flow" and r["endpoint"].startswith("pixel/mae"))
    assert float(mine["low"]) < float(mine["value"]) < float(mine["high"])
    assert mine["patients"] == str(leagues.PATIENTS)


def test_what_is_not_there_is_a_dash_and_many_names_are_a_number(found: Standings) -> None:
    assert score(None) == "–"
    assert rank(found.entries[-1]) == "–"
    assert alike(found, "feature/kid/efficientnet", "flow") == "not known"
    many = leagues.standings({f"e{n}": leagues.entry(10, 0.9, 1.0) for n in range(7)})
    assert alike(many, "pixel/mae/foreground", "e0") == "6 others"
