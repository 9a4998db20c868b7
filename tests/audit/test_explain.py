"""Explanations: the part that made a region is named, and the checks notice a map that is owed to
no weights and a part that matters no more than others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from studies import GRID, SHAPE, image, result, study

import toys
from veridical.audit.audited_study import known
from veridical.audit.explain import (
    correlation,
    evened,
    explain,
    parts_of,
    region_of,
    surroundings,
    without,
)
from veridical.types import Array, Finding, Image, Result, Study


def textured(seed: int) -> Array:
    """An ellipse of 100 with texture."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (1.5, 1.5, 0)) / 0.2
    return np.asarray((x**2 + y**2 < 0.9) * (100 + 8 * texture), np.float32)


def marked() -> Array:
    """A region at the right front."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[19:23, 15:18, 3] = 1
    return mask


GIVEN = study(
    {
        "T1w": image(textured(0)),
        "T2w": image(textured(1), "T2w"),
        "lesions": Image(marked()[None], GRID, "label", ("lesions",)),
    }
)
MADE = result(textured(0), "FLAIR")


def depending(weights: Callable[[int], float]) -> Callable[[Study, int], Result]:
    """A method whose region depends on the detail of T1w in its middle, and on all else by random
    `weights` of a cell.
    """

    def make(changed: Study, seed: int) -> Result:
        visit = changed.visit()
        data = np.asarray(visit["T1w"].data[0], np.float64)
        effect = 0.0
        for number, part in enumerate(PARTS):
            source = np.asarray(visit[part.source].data[0], np.float64)
            effect += weights(number) * float((source * DETAIL)[part.mask].sum()) / 1e4
        out = data.copy()
        out[marked() > 0] = 100 + effect
        return result(np.asarray(out, np.float32), "FLAIR")

    return make


DETAIL = textured(0) - ndimage.gaussian_filter(textured(0), (3, 3, 0)) + 3.0
PARTS = parts_of(GIVEN, MADE)
NAMED = 12
LEARNED = depending(lambda n: 30.0 if n == NAMED else 0.1 * np.sin(7 * n))
RANDOM = depending(lambda n: 3.0 * np.cos(11 * n + 1))


def judged(**more: object) -> Finding:
    found = explain(known(GIVEN, asked=("explain",), **more), MADE)
    assert found is not None
    return found


def test_the_part_that_made_a_region_is_named_and_tested() -> None:
    found = judged(alone=LEARNED, random=RANDOM)
    assert found.verdict == "pass"
    part = PARTS[NAMED]
    assert found.evidence["named"] == {"source": part.source, "where": part.where}
    assert found.evidence["p_value"] <= 0.05
    assert abs(found.evidence["correlation_random_weights"]) < 0.2
    assert found.evidence["shares"][part.source] > 0.8


def test_a_map_that_random_weights_show_too_is_no_explanation_of_the_model() -> None:
    found = judged(alone=LEARNED, random=LEARNED)
    assert found.verdict == "warn"
    assert "random weights show too" in found.reason


def test_what_the_classical_method_shows_is_taken_away() -> None:
    def formula(n: int) -> float:
        return 40.0 * np.cos(3 * n)

    plain = depending(formula)
    learned = depending(lambda n: formula(n) + (30.0 if n == NAMED else 0.1 * np.sin(7 * n)))
    random = depending(lambda n: formula(n) + 3.0 * np.cos(11 * n + 1))
    whole = judged(alone=learned, random=random)
    assert whole.evidence["correlation_random_weights"] > 0.5
    added = judged(alone=learned, random=random, classical=plain)
    assert "what the network adds to FLAIR" in added.reason
    part = PARTS[NAMED]
    assert added.evidence["named"] == {"source": part.source, "where": part.where}
    assert abs(added.evidence["correlation_random_weights"]) < 0.2
    assert added.evidence["p_value"] <= 0.05


def test_where_all_parts_matter_alike_the_named_one_has_no_small_p_value() -> None:
    chances = [
        judged(
            alone=depending(lambda n, k=k: np.sin(13.7 * n * (k + 1) + k)), random=RANDOM
        ).evidence["p_value"]
        for k in range(3)
    ]
    assert np.mean(chances) > 0.05


def test_it_runs_only_when_it_is_asked_for() -> None:
    assert explain(GIVEN, MADE) is None
    assert explain(known(GIVEN, alone=LEARNED), MADE) is None
    found = explain(known(GIVEN, asked=("explain",)), MADE)
    assert found is not None
    assert found.verdict == "not_run"


def test_the_region_is_the_marked_lesion_else_the_strongest_structure() -> None:
    assert region_of(GIVEN, MADE)[1].sum() == marked().sum()
    data = textured(0)
    data[14:18, 12:16, 2] += 80
    _, inside = region_of(study({"T1w": image(data)}), result(data))
    assert inside[16, 14, 2]
    assert inside.sum() < 0.1 * inside.size


def test_fillings_change_the_part_alone() -> None:
    part = PARTS[0]
    for fill in (surroundings, evened):
        changed = without(GIVEN, MADE, part, fill).visit()[part.source].data[0]
        before = GIVEN.visit()[part.source].data[0]
        assert np.array_equal(changed[~part.mask], before[~part.mask])
        assert not np.array_equal(changed[part.mask], before[part.mask])


def test_raw_data_lose_a_sector_from_mask_and_data() -> None:
    scan = Study.of(toys.measurement())
    parts = parts_of(scan, MADE)
    assert len(parts) > 3
    fewer = without(scan, MADE, parts[-1], surroundings).measurement()
    assert not np.abs(fewer.data[0][:, parts[-1].mask]).any()
    assert not fewer.operator.mask[0][parts[-1].mask].any()
    assert fewer.operator.mask.sum() < scan.measurement().operator.mask.sum()


def test_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40))
    assert (
        correlation(a, b) == np.corrcoef(a, b)[0, 1]
        or abs(correlation(a, b) - np.corrcoef(a, b)[0, 1]) < 1e-12
    )
    assert correlation(a, np.ones(40)) == 0
