"""Calibration cases of a generator: which jobs, which patients, which slices, and the truth they
are compared with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import folders
import priors
import toys
from veridical.audit.interval import CalibrationCase
from veridical.layouts.discovery import studies
from veridical.layouts.pool import SETS
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.training import generator_calibration as module
from veridical.training.generator_calibration import cases, chosen, jobs_of, trained_on
from veridical.training.prepared_visits import PreparedVisit, Slab, held_out_of
from veridical.types import Study

PREPARE = Preprocessing()


def quiet(*_: object) -> None:
    return None


def test_jobs_are_called_as_results_name_them() -> None:
    head = priors.known_card(("T1w", "FLAIR"), degradations=["motion-ghosts"])
    assert jobs_of(head) == ("complete-T1w", "complete-FLAIR", "enhance-motion-ghosts")
    body = priors.known_card(("T1w", "CT"), degradations=["sparse-view-streaks"])
    assert jobs_of(body) == ("complete-T1w", "translate-CT", "enhance-sparse-view-streaks")
    assert jobs_of(priors.known_card(family="regression")) == ()


def study(path: Path, name: str = "sub-01") -> Study:
    return Study(name, {}, source={"path": str(path)})


def test_patients_of_a_folder_are_known_by_it_and_those_held_out_were_not_trained_on() -> None:
    data = {"sources": {"ward": 1.0}, "validate_on": 1}
    kept = held_out_of(toys.ward(), (), 1)
    for one in studies(toys.ward()):
        assert trained_on({"data": data}, one) == (one.id not in kept)
    assert not trained_on({"data": data}, study(Path("/elsewhere")))
    assert not trained_on({}, study(toys.ward()))


@pytest.mark.parametrize("name", list(SETS))
def test_patients_of_a_public_set_are_known_by_where_it_lies(name: str) -> None:
    card = {"data": {"sources": {name: 1.0, "phantoms": 0.5}, "held_out": ["P2"]}}
    for place in SETS[name].places:
        at = Path("/data") / place / "deeper"
        assert trained_on(card, study(at, "P1"))
        assert not trained_on(card, study(at, "P2"))
        assert not trained_on({"data": {"sources": {"phantoms": 1.0}}}, study(at, "P1"))


def test_slices_are_spread_over_those_in_which_every_image_shows_something() -> None:
    images = np.zeros((2, 40, 16, 16), np.float16)
    images[0, 5:35, 2:14, 2:14], images[1, 10:38, 2:14, 2:14] = 0.4, 0.4
    visit = PreparedVisit(images, ("T1w", "FLAIR"), "p", "s", (1, 1, 1))
    found = chosen(visit, PREPARE)
    assert (found[0], found[-1], len(found)) == (10, 34, module.SLICES)
    assert chosen(replace(visit, images=0 * images), PREPARE) == []


def weights(folder: Path, **net: Any) -> str:
    return priors.weights(folder, ("T1w", "FLAIR"), **net)


def test_a_patient_is_one_case_of_several_slices_within_the_body(tmp_path: Path) -> None:
    found, where = cases(weights(tmp_path), "complete-FLAIR", studies(toys.ward()), 32, quiet)
    assert [case.patient for case in found] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert "FLAIR made from the rest" in where
    for case in found:
        assert (
            case.error.shape
            == case.spread.shape
            == case.foreground.shape
            == (module.SLICES * 48 * 40,)
        )
        assert 0.2 < case.foreground.mean() < 0.8
        assert np.isfinite(case.error).all()
        assert (case.spread > 0).all()
    again, _ = cases(weights(tmp_path), "complete-FLAIR", studies(toys.ward()), 32, quiet)
    np.testing.assert_array_equal(again[0].error, found[0].error)


def test_a_patient_without_the_contrast_or_without_others_is_no_case(tmp_path: Path) -> None:
    root = folders.bids(tmp_path / "mixed", 2)
    folders.bids(root, 3, ("FLAIR",))
    found, _ = cases(weights(tmp_path), "complete-FLAIR", studies(root), 32, quiet)
    assert [case.patient for case in found] == ["sub-01", "sub-02"]


def test_degraded_images_are_those_that_the_degradation_happens_to() -> None:
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    body = x**2 + y**2 < 0.5
    images = np.stack([[0.4 * body] * 3, [np.where(body, 0.04, -1.0)] * 3]).astype(np.float32)
    slab = Slab(images, ("T1w", "CT"), (4.0, 4.0))
    for names, way, wanted in (
        (("T1w", "CT"), "sparse-view-streaks", "CT"),
        (("CT", "T1w"), "motion-ghosts", "T1w"),
    ):
        turned = slab if names[0] == "T1w" else replace(slab, images=images[::-1], names=names)
        card = priors.known_card(names, degradations=[way])
        ((request, truth),) = module._requests(card, turned, way, PREPARE, 0)
        assert (request.contrast, request.degradation, dict(request.images)) == (wanted, way, {})
        error = np.sqrt(np.average((request.initial - truth) ** 2, weights=request.support + 1e-6))
        assert request.level == pytest.approx(float(error), rel=1e-5)
        np.testing.assert_array_equal(truth, dict(zip(slab.names, images, strict=True))[wanted][0])
    assert (
        list(
            module._requests(priors.known_card(degradations=[]), slab, "motion-ghosts", PREPARE, 0)
        )
        == []
    )


def test_without_a_folder_digital_patients_of_the_second_simulator_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int, tuple[str, ...]]] = []

    def made(
        cohort: object,
        index: int,
        names: tuple[str, ...],
        gap: float,
        preprocessing: Preprocessing,
        restyled: str = "",
    ) -> Slab:
        asked.append((type(cohort).__name__, index, names))
        image = np.zeros((2, 3, 24, 24), np.float32)
        image[:, :, 4:20, 4:20] = 0.4
        return Slab(image, names)

    monkeypatch.setattr(module, "phantom_slab", made)
    found, where = cases(weights(tmp_path), "complete-T1w", None, 3, quiet)
    assert asked == [("CohortB", index, ("T1w", "FLAIR")) for index in range(3)]
    assert "second simulator" in where
    assert all(isinstance(case, CalibrationCase) for case in found)
    assert len({case.patient for case in found}) == 3
    body = priors.weights(tmp_path, ("CT", "PET", "T1w"), name="body")
    assert cases(body, "translate-CT", None, 3, quiet)[0] == [], (
        "CT of digital patients teaches nothing of CT"
    )
