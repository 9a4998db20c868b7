"""Laws of standings: every level counts alike, patients make intervals, seeds are averaged."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import leagues
from veridical.evaluation.standings import Judged, by_case, headline, rankings, ranks, scores

MAE, SSIM, KID = "pixel/mae/foreground", "pixel/ssim/foreground", "feature/kid/efficientnet"
ENTRIES = {
    "good": leagues.entry(10, 0.9, 3.0),
    "middle": leagues.entry(20, 0.8, 2.0),
    "poor": leagues.entry(40, 0.5, 1.0),
}


def test_what_is_stored_is_read_back_the_same() -> None:
    one = ENTRIES["good"][0]
    assert Judged.of(json.loads(json.dumps(asdict(one)))) == one


def test_every_level_counts_alike_however_many_endpoints_it_has() -> None:
    known = {name: scores(each) for name, each in ENTRIES.items()}
    keys = headline(("pixel/*", "feature/*"), known)
    assert keys == [MAE, SSIM, KID]
    found = ranks(keys, ENTRIES, known)
    assert {name: one[0] for name, one in found.items()} == {
        "good": 2.0,  # first by pixels, third by features
        "middle": 2.0,
        "poor": 2.0,
    }
    assert all(low <= mean <= high for mean, low, high in found.values())
    by_pixels = ranks(keys[:2], ENTRIES, known)
    assert [by_pixels[name][0] for name in ENTRIES] == [1.0, 2.0, 3.0]


def test_an_entry_without_a_value_is_the_last() -> None:
    lacking = {**ENTRIES, "good": [replace(ENTRIES["good"][0], endpoints=(), cases=())]}
    known = {name: scores(each) for name, each in lacking.items()}
    found = ranks([MAE], lacking, known)
    assert max(found, key=lambda name: found[name][0]) == "good"
    assert set(rankings([MAE], lacking)[0].order) == {"middle", "poor"}


def test_fewer_than_two_entries_have_no_rank() -> None:
    alone = {"good": ENTRIES["good"]}
    assert ranks([MAE], alone, {"good": scores(alone["good"])}) == {}
    assert rankings([MAE], alone) == []


def test_seeds_are_averaged_and_patients_still_make_the_interval() -> None:
    several = leagues.entry(10, 0.9, 3.0, seeds=3)
    found = scores(several)
    assert len(found[MAE].seeds) == 3
    assert found[MAE].value == pytest.approx(np.mean(found[MAE].seeds))
    assert found[MAE].interval is not None
    low, high = found[MAE].interval
    spread = np.ptp([row.values[MAE] for row in several[0].cases])
    assert 0 < high - low < spread
    assert found[KID].interval is None
    values = by_case(MAE, several)
    assert values is not None
    assert set(values[1].values()) == {f"patient-{n}" for n in range(leagues.PATIENTS)}


def test_a_case_that_failed_counts_as_the_worst() -> None:
    one = ENTRIES["good"][0]
    failed = replace(one.cases[0], values={}, failed="It holds NaN.")
    values = by_case(MAE, [replace(one, cases=(failed, *one.cases[1:]))])
    assert values is not None
    assert values[0]["case-0"] == max(values[0].values())


def test_sets_are_told_apart_where_their_intervals_lie_apart() -> None:
    found = leagues.standings(ENTRIES)
    assert found.alike(KID, "good") is None, "no interval, nothing is known"
    assert found.alike(MAE, "nobody") is None
    wide = {
        one.name: {KID: replace(one.scores[KID], interval=(0.0, 1.5 * one.scores[KID].value))}
        for one in found.entries
        if one.scores
    }
    entries = tuple(replace(one, scores=wide.get(one.name, {})) for one in found.entries)
    assert set(replace(found, entries=entries).alike(KID, "good") or ()) == {"middle", "poor"}
