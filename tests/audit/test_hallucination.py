"""Hallucination: found with a reference, split by the operator, and doubted by samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

import toys
from veridical.audit.audited_study import AuditedStudy, known
from veridical.audit.hallucination import hallucination, null_space_map
from veridical.models.problem import Problem
from veridical.physics.selection import Selection
from veridical.testing.audits import check_audit
from veridical.types import Array, Finding, Geometry, Image, Result, Study

SHAPE = (96, 80, 2)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 4.0, 1.0]))


def anatomy() -> Array:
    rng = np.random.default_rng(0)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    texture = sum(
        s * ndimage.gaussian_filter(rng.standard_normal(SHAPE), (s, s, 0)) for s in (2.0, 4.0)
    )
    return np.asarray((x**2 + y**2 < 0.8) * (100 + 12 * texture), np.float32)


def lesion(height: float = 40.0) -> Array:
    x, y, z = np.indices(SHAPE)
    blob = np.exp(-0.5 * (np.hypot(x - 40, y - 50) / 2.5) ** 2) * (z == 1)
    return np.asarray(height * blob, np.float32)


def shown(data: Array) -> Image:
    return Image(data[None], GRID, "a.u.", ("T1w",))


def noisy(data: Array, seed: int = 1) -> Array:
    return np.asarray(data + np.random.default_rng(seed).normal(0, 1, SHAPE), np.float32)


def about(reference: Image | None = None) -> AuditedStudy:
    return known(Study("", {0.0: {}}), reference=reference)


def judged(data: Array, draws: Array | None = None, reference: bool = True) -> Finding | None:
    result = Result(shown(data), "image", draws=None if draws is None else draws[:, None])
    return hallucination(about(shown(anatomy()) if reference else None), result)


def test_within_a_task_and_without_anything_to_hold_it_against_it_does_not_apply() -> None:
    assert hallucination(Study("", {0.0: {}}), Result(shown(anatomy()), "image")) is None
    assert judged(anatomy(), reference=False) is None


@pytest.mark.parametrize(("height", "said"), [(40.0, "bright"), (-40.0, "dark")])
def test_a_lesion_that_the_reference_has_not_fails_and_its_place_is_said(
    height: float, said: str
) -> None:
    found = judged(noisy(anatomy() + lesion(height)))
    assert found is not None
    assert found.verdict == "fail"
    assert f"too {said}" in found.reason
    assert np.abs(np.subtract(found.evidence["structures"][0]["place"], (40, 50, 1))).max() <= 2


def test_noise_and_blur_pass() -> None:
    for data in (noisy(anatomy()), ndimage.gaussian_filter(anatomy(), (1.5, 1.5, 0))):
        found = judged(data)
        assert found is not None
        assert found.verdict == "pass"
    check_audit(hallucination, about(shown(anatomy())), Result(shown(noisy(anatomy())), "image"))


def test_a_lesion_in_the_estimate_that_samples_have_not_is_doubted() -> None:
    rng = np.random.default_rng(2)
    spread = np.stack([ndimage.gaussian_filter(rng.normal(0, 8, SHAPE), 1) for _ in range(8)])
    estimate = anatomy() + lesion(60)
    sure = judged(estimate, estimate + spread, reference=False)
    unsure = judged(estimate, anatomy() + spread, reference=False)
    assert sure is not None
    assert unsure is not None
    assert sure.verdict == "pass"
    assert unsure.verdict == "warn"
    least = unsure.evidence["unsure"][0]
    assert np.abs(np.subtract(least["place"], (40, 50, 1))).max() <= 2
    assert "share its errors" in sure.reason


def test_the_null_space_map_is_what_the_operator_cannot_see() -> None:
    operator = Selection((0,), (2, 4, 5))
    data = torch.ones(operator.range)
    problem = Problem(operator, data, 0.1, torch.ones(operator.domain))
    rng = np.random.default_rng(0)
    truth, image = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 4, 5))
    found = null_space_map(problem, image, truth)
    np.testing.assert_allclose(found[0], 0, atol=1e-5)
    np.testing.assert_allclose(found[1], image[1] - truth[1], atol=1e-5)


def test_little_of_an_error_that_was_measured_lies_in_the_null_space() -> None:
    exam = toys.examination()
    problem = next(iter(toys.problems(replace(exam.measurement, data=exam.measurement.data))))
    truth = toys.magnitude()
    y, x = np.indices(toys.SIZE)
    smooth = truth + 0.1 * np.exp(-((y - 24) ** 2 + (x - 20) ** 2) / 60)
    hidden = null_space_map(problem, smooth, truth)
    assert np.square(hidden).sum() < 0.05 * np.square(smooth - truth).sum()
    with_reference = known(Study.of(exam.measurement), reference=exam.truth)
    image = replace(exam.truth, data=smooth.T[None, :, :, None].astype(np.float32))
    found = hallucination(with_reference, Result(image, "image"))
    assert found is not None
    assert found.evidence["null_space_share"] < 0.05
    assert "null space" in found.reason
