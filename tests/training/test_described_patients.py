"""Described patients: what the facts say is in the image, on the side and of the kind that they
name, and clinical variables move it as is documented.
"""

from __future__ import annotations

import numpy as np
import pytest

import described
from veridical.preprocessing.coarse_head import SHAPE
from veridical.training.described_patients import (
    CONTRASTS,
    LEVELS,
    MARGIN,
    PatientCache,
    cached,
    drawn_facts,
)


@pytest.fixture(scope="module")
def cache() -> PatientCache:
    return described.course().cache


def test_patients_of_a_head_share_it_and_are_painted_once(cache: PatientCache) -> None:
    assert cache.images.shape[1:] == (len(CONTRASTS), *(n + 2 * MARGIN for n in SHAPE))
    assert cache.heads.tolist() == [0] * 4 + [1] * 4
    assert len({one["age"] for one in cache.variables[:4]}) == 1
    again = cached(described.folder(), 2, 0)
    assert np.array_equal(again.images, cache.images)


def test_inner_tissue_has_the_stored_level_and_air_is_dark(cache: PatientCache) -> None:
    for image in cache.images[:, 0]:
        middle = image[20:32, 24:36, 20:32]
        assert abs(float(np.median(middle)) / LEVELS - 1) < 0.35
        assert image[0].max() < 0.35 * LEVELS


def test_a_large_lesion_makes_the_side_brighter_that_the_facts_name(cache: PatientCache) -> None:
    half, seen = cache.images.shape[2] // 2, 0
    for images, facts in zip(cache.images, cache.facts, strict=True):
        fact = facts[0]
        if fact.kind != "tumour" or not fact.present or (fact.size or 0) < 28:
            continue
        seen += 1
        flair = images[CONTRASTS.index("FLAIR")].astype(float)
        bright = (flair > 1.25 * np.median(flair[18:34, 22:38, 22:34])) & (flair > LEVELS)
        inner = bright[14:-14, 16:-14, 16:-12]
        left, right = (
            int(inner[: half - 14].sum()),
            int(inner[half - 14 :].sum()),
        )
        assert (left > right) == (fact.side == "left"), (fact, left, right)
    assert seen


def test_grade_and_idh_move_the_image_as_is_assumed() -> None:
    seen: dict[str, list[bool]] = {"2 or 3": [], "4": []}
    frontal: dict[str, list[bool]] = {"mutated": [], "wild type": []}
    for number in range(1500):
        facts, known = drawn_facts(np.random.default_rng(number), 45.0, "male")
        if facts[0].kind == "tumour" and facts[0].present:
            seen[str(known["grade"])].append(bool(facts[0].enhances))
            frontal[str(known["IDH"])].append(facts[0].lobe == "frontal")
        else:
            assert "IDH" not in known, "of others nothing is known"
    assert abs(np.mean(seen["4"]) - 0.95) < 0.05
    assert abs(np.mean(seen["2 or 3"]) - 0.35) < 0.08
    assert np.mean(frontal["mutated"]) > np.mean(frontal["wild type"]) + 0.2
