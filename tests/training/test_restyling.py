"""Restyling: a contrast of one scanner is asked for from another's, from the curve between them."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.phantoms.cohort import Cohort
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.style import curve
from veridical.training.digital_patients import phantom_slab
from veridical.training.generation_data import GenerationCourse, GenerationData
from veridical.training.prepared_visits import Slab
from veridical.training.restyling import restyling

PREPARE = Preprocessing()
MODEL = {"contrasts": ["T1w", "FLAIR"], "conditions": ["contrast", "available", "images", "style"]}


@pytest.fixture(scope="module")
def slab() -> Slab:
    return phantom_slab(
        Cohort(3), 1, ("T1w", "FLAIR"), 2.0, PREPARE, (48, 40), 4.4, restyled="FLAIR"
    )


def test_another_scanner_shows_the_same_slice_in_another_style(slab: Slab) -> None:
    there = slab.elsewhere
    assert there is not None
    assert there.names == ("FLAIR",)
    here, away = slab.images[1].astype(float), there.images[0].astype(float)
    body = PREPARE.foreground("FLAIR", here[0])
    assert np.corrcoef(here[0][body], away[0][body])[0, 1] > 0.5
    assert np.abs(slab.styles["FLAIR"] - there.styles["FLAIR"]).max() > 0.01
    assert not np.array_equal(here, away)


def test_the_start_is_what_was_shown_under_the_curve_to_the_style_asked_for(
    slab: Slab,
) -> None:
    there = slab.elsewhere
    assert there is not None
    request, truth = restyling(slab, there, there.images[0], PREPARE)
    assert (request.contrast, list(request.images), request.degradation) == ("FLAIR", ["FLAIR"], "")
    np.testing.assert_array_equal(truth, slab.images[1, 0].astype(np.float32))
    np.testing.assert_array_equal(request.styles["FLAIR"], slab.styles["FLAIR"])
    expected = curve(there.images[0, 0], there.styles["FLAIR"], slab.styles["FLAIR"])
    np.testing.assert_allclose(request.initial, expected, atol=1e-3)


def test_a_slab_without_another_scanner_is_never_restyled(slab: Slab) -> None:
    data = GenerationData({"phantoms": 1.0}, jobs={"nothing": 1.0, "restyle": 1.0}, fitted=1)
    course = GenerationCourse(data, MODEL, 0)
    rng = np.random.default_rng(0)
    plain = Slab(slab.images.astype(np.float32), slab.names, slab.spacing)
    course.learned({"intensity_maps": {}})
    assert not course.asked(plain, rng)[0].images
    asked, truth, weight = course.asked(slab, rng)
    assert list(asked.images) == ["FLAIR"]
    assert (weight == 1).all()
    assert truth.shape == asked.initial.shape
