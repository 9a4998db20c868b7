"""What an audit of any image, of a set with references, and of a result made again can say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toys
from veridical.models import weights
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Image, Result, Study
from veridical.workflow.audit import Audit
from veridical.workflow.made_again import made_again


@pytest.fixture(scope="module")
def result() -> Result:
    with toys.shipped():
        return Reconstruct(draws=2)(toys.measurement())


def test_an_image_of_any_generator_is_held_against_raw_data() -> None:
    exam = toys.examination()
    good = Audit(against=exam.measurement, checks=("consistency",))(exam.truth)
    assert [one.verdict for one in good.findings] == ["pass"]
    moved = replace(exam.truth, data=np.roll(exam.truth.data, 1, 1))
    assert (
        Audit(against=exam.measurement, checks=("consistency",))(moved).findings[0].verdict
        == "fail"
    )


def test_a_result_is_made_again_from_one_sample_by_a_classical_method_and_with_random_weights(
    result: Result,
) -> None:
    with toys.shipped():
        again = made_again(result)
        study = Study.of(toys.measurement())
        seed = result.steps[0].seed
        assert np.array_equal(again["again"](study, seed).image.data, result.image.data)
        assert again["alone"](study, seed).draws is None
        classical = again["classical"](study, seed)
        assert classical.facts["card"] == {}
        random = again["random"](study, seed).image.data
        assert not np.array_equal(random, again["alone"](study, seed).image.data)


def test_random_weights_are_the_numbers_of_the_learned_ones_in_another_order(
    result: Result,
) -> None:
    with toys.shipped():
        again = made_again(result)
        again["random"](Study.of(toys.measurement()), 0)
        from veridical.workflow import made_again as module

        learned = weights.load("denoiser")
        mixed = weights.load(str(module._shuffled("denoiser")))
    assert learned.keys() == mixed.keys()
    for name, tensor in learned.items():
        assert np.array_equal(np.sort(tensor.numpy().ravel()), np.sort(mixed[name].numpy().ravel()))
    assert any(not np.array_equal(t.numpy(), mixed[n].numpy()) for n, t in learned.items())


def test_expensive_checks_run_when_they_are_asked_for(result: Result) -> None:
    with toys.shipped():
        told = Audit(against=toys.measurement(), checks=("robustness",))(result)
        (found,) = told.findings
    assert found.check == "robustness"
    assert found.verdict != "not_run"
    assert found.evidence["classical_worst"] > 0
    assert "outer lines missing" in found.reason


def test_a_lesion_too_many_in_a_set_is_found_with_its_references(tmp_path: object) -> None:
    from pathlib import Path

    from veridical.io.nifti import write_nifti

    folder = Path(str(tmp_path))
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(*[np.linspace(-1, 1, 64)] * 2, indexing="ij")
    for number in range(2):
        body = (x**2 + y**2 < 0.8) * (100 + 10 * np.sin(9 * x + number) * np.cos(8 * y))
        lesion = 60 * np.exp(-((x - 0.2) ** 2 + y**2) / 0.01)
        for name, data in (("real", body), ("made", body + lesion + rng.normal(0, 2, body.shape))):
            grid = toys.examination().truth.geometry
            (folder / name).mkdir(exist_ok=True)
            image = Image(
                data[None, :, :, None].astype(np.float32),
                replace(grid, shape=(64, 64, 1)),
                "a.u.",
                ("T1w",),
            )
            write_nifti(image, folder / name / f"sub-{number}_T1w.nii.gz")
    found = Audit(reference=folder / "real", checks=("added-structures",))(folder / "made")
    assert [one.verdict for one in found.findings] == ["fail"]
    assert len(found.findings[0].evidence["marked"]) == 2
