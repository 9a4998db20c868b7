"""Laws of the intensity map: least squares over all training voxels, the best map of those that
fit, air where nothing is.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from priors import ERROR, SPREAD, maps, request, weights
from veridical.conditioning.request import LEAST_LEVEL
from veridical.models import intensity_map as module
from veridical.models.intensity_map import IntensityMap, estimate, fit, spread_of, terms

NAMES = ("T1w", "T2w", "FLAIR")


def patients(count: int = 3, voxels: int = 400, noise: float = 0.05) -> list[dict[str, np.ndarray]]:
    """Voxels in which FLAIR is a cubic of T1w and T2w, and noise."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        t1w, t2w = rng.uniform(0.1, 1, (2, voxels))
        flair = (
            0.3 + 0.5 * t1w - 0.4 * t2w * t1w + 0.2 * t2w**3 + noise * rng.standard_normal(voxels)
        )
        found.append({"T1w": t1w, "T2w": t2w, "FLAIR": flair})
    return found


def joined(samples: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    return np.concatenate([sample[name] for sample in samples])


def test_terms_are_every_product_up_to_the_third_degree() -> None:
    a, b = np.array([2.0]), np.array([3.0])
    assert sorted(float(term[0]) for term in terms([a, b])) == sorted(
        [1, 2, 3, 4, 6, 9, 8, 12, 18, 27]
    )
    assert [len(terms([a] * count)) for count in (1, 2, 3)] == [4, 10, 20]


def test_a_map_is_least_squares_and_its_error_is_what_is_left() -> None:
    samples = patients()
    found = fit(samples, NAMES)["FLAIR"]["T1w+T2w"]
    rows = np.stack(terms([joined(samples, "T1w"), joined(samples, "T2w")]), 1)
    best, *_ = np.linalg.lstsq(rows, joined(samples, "FLAIR"), rcond=None)
    wanted = float(np.sqrt(np.mean((rows @ best - joined(samples, "FLAIR")) ** 2)))
    assert found["error"] == pytest.approx(wanted, rel=0.01)
    assert found["error"] == pytest.approx(0.05, rel=0.05), "the noise, which no map can know"
    np.testing.assert_allclose(rows @ np.array(found["terms"]), rows @ best, atol=0.02)


def test_there_is_a_map_from_every_set_of_others_and_one_from_nothing() -> None:
    found = fit(patients(), NAMES)
    assert set(found) == set(NAMES)
    assert set(found["FLAIR"]) == {"", "T1w", "T2w", "T1w+T2w"}
    truth = joined(patients(), "FLAIR")
    assert found["FLAIR"][""] == {
        "terms": [pytest.approx(truth.mean())],
        "error": pytest.approx(truth.std()),
        "range": pytest.approx(np.percentile(truth, module.SHOWN), abs=1e-4),
    }
    assert set(fit(patients(), NAMES, most=1)["T1w"]) == {"", "T2w", "FLAIR"}
    errors = found["FLAIR"]
    assert (
        errors["T1w+T2w"]["error"]
        < min(errors["T1w"]["error"], errors["T2w"]["error"])
        < errors[""]["error"]
    )


def test_patients_who_lack_a_contrast_count_where_they_have_it_and_others_are_left_out() -> None:
    samples = [*patients(2), {"T1w": np.linspace(0, 1, 50), "CT": np.zeros(50)}]
    found = fit(samples, ("T1w", "FLAIR"))
    assert set(found) == {"T1w", "FLAIR"}
    assert found["T1w"][""]["terms"][0] == pytest.approx(joined(samples, "T1w").mean())
    assert found["FLAIR"] == fit(patients(2), ("T1w", "FLAIR"))["FLAIR"]


def images(*names: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.uniform(0.1, 1, (12, 14)).astype(np.float32) for name in names}


def test_the_estimate_is_that_of_the_best_map_of_what_was_measured() -> None:
    known, shown, body = (
        fit(patients(), NAMES),
        images("T1w", "T2w", "PD"),
        np.ones((12, 14), np.float32),
    )
    found, level = estimate(known, shown, "FLAIR", body, 0.0)
    t1w, t2w = (shown[name].astype(float) for name in ("T1w", "T2w"))
    np.testing.assert_allclose(found, 0.3 + 0.5 * t1w - 0.4 * t2w * t1w + 0.2 * t2w**3, atol=0.03)
    assert level == known["FLAIR"]["T1w+T2w"]["error"]
    alone, level = estimate(known, images("T2w"), "FLAIR", body, 0.0)
    assert level == known["FLAIR"]["T2w"]["error"]
    assert not np.allclose(alone, found)


def test_outside_of_the_body_the_estimate_is_air_and_it_stays_within_what_images_show() -> None:
    body = np.zeros((12, 14), np.float32)
    body[3:9] = 1
    for air in (0.0, -1.0):
        found, _ = estimate(maps(NAMES), images("T1w"), "FLAIR", body, air)
        assert (found[body == 0] == air).all()
        np.testing.assert_allclose(found[body == 1], images("T1w")["T1w"][body == 1], rtol=1e-5)
    wild = {"FLAIR": {"T1w": {"terms": [0.0, 1e6, 0.0, 0.0], "error": 0.0, "range": [0.1, 2.5]}}}
    found, level = estimate(wild, images("T1w"), "FLAIR", body, 0.0)
    assert found[body == 1].min() == found.max() == 2.5
    assert level == LEAST_LEVEL


def test_a_map_stays_within_what_the_training_voxels_showed_and_its_error_is_that_of_the_rest() -> (
    None
):
    samples = patients()
    found = fit(samples, NAMES)["FLAIR"]["T1w"]
    truth = joined(samples, "FLAIR")
    low, high = np.percentile(truth, module.SHOWN)
    assert found["range"] == pytest.approx([low, high], abs=1e-4)
    rows = np.stack(terms([joined(samples, "T1w")]), 1)
    made = np.clip(rows @ np.array(found["terms"]), low, high)
    assert found["error"] == pytest.approx(float(np.sqrt(np.mean((made - truth) ** 2))), rel=1e-3)
    far = {"T1w": np.full((12, 14), 50.0, np.float32)}
    body = np.ones((12, 14), np.float32)
    beyond, _ = estimate(fit(samples, NAMES), far, "FLAIR", body, 0.0)
    assert low - 1e-3 <= beyond.min() <= beyond.max() <= high + 1e-3


def test_of_nothing_measured_and_of_what_nobody_showed_there_is_a_mean_and_a_wide_error() -> None:
    body = np.ones((12, 14), np.float32)
    for known, made in itertools.product((maps(NAMES), {}), ("FLAIR", "PET")):
        found, level = estimate(known, {}, made, body, 0.0)
        assert (found.min(), found.max(), level) == (pytest.approx(0.4), pytest.approx(0.4), SPREAD)
        assert spread_of(known, made) == SPREAD


def test_the_model_is_the_estimate_alone(tmp_path: Path) -> None:
    model, asked = IntensityMap(weights(tmp_path)), [request(seed=1), request(seed=2)]
    found = model.make(asked, 5)
    np.testing.assert_array_equal(found, np.stack([one.initial for one in asked])[:, None])
    assert not model.stochastic
    assert model.card["intensity_maps"]["FLAIR"]["T1w"]["error"] == ERROR
    assert len(model.weights_hash) == 64
