"""The controls of the injection benchmark, by which it could fail."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import toys
from veridical.apps.cli import main
from veridical.errors import SettingError
from veridical.evaluation.injection import Injected, InjectionCell, contrast_at, marked, summarised
from veridical.io.nifti import write_nifti
from veridical.types import Geometry, Image
from veridical.workflow.inject import Benchmark, Inject

SLICES = 4


def head() -> Image:
    size = 80
    y, x, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (size, size, SLICES)], indexing="ij")
    rng = np.random.default_rng(0)
    data = (x**2 + y**2 < 0.75) * (1 + 0.1 * np.sin(9 * x + z) * np.cos(7 * y + z))
    data = data + 0.02 * rng.standard_normal(data.shape) * (data > 0)
    return Image(data[None].astype(np.float32), Geometry.index(data.shape), "a.u.", ("T2w",))


@cache
def benchmark() -> Benchmark:
    settings = Inject(
        patients=SLICES,
        models=("cg-sense",),
        kinds=("blob",),
        sizes=(4.0,),
        contrasts=(0.0, 3.0, 10.0),
    )
    return settings(head())


def aucs(**wanted: object) -> list[float]:
    names = ("question", "model", "detector", "kind", "size", "space", "contrast")
    return [
        one.auc
        for key, one in benchmark().found.items()
        if all(dict(zip(names, key, strict=True))[name] == value for name, value in wanted.items())
    ]


def test_without_contrast_no_detector_tells_anything() -> None:
    found = aucs(contrast=0.0)
    assert len(found) == 3 * (3 + 2 + 1)
    assert np.abs(np.array(found) - 0.5).max() <= 0.05


def test_a_residual_does_not_see_what_was_not_measured() -> None:
    for question in ("added", "removed"):
        found = aucs(question=question, detector="residual", space="unmeasured")
        assert np.abs(np.array(found) - 0.5).max() <= 0.05


def test_a_residual_sees_three_noise_levels_of_what_was_measured() -> None:
    for question in ("added", "removed"):
        (found,) = aucs(question=question, detector="residual", space="measured", contrast=3.0)
        assert found >= 0.99


def test_the_truth_tells_in_both_spaces_and_a_reconstruction_shows_what_was_measured_only() -> None:
    for space in ("measured", "unmeasured"):
        (found,) = aucs(question="added", detector="reference", space=space, contrast=10.0)
        assert found > 0.9
    (seen,) = aucs(question="shown", space="measured", contrast=10.0)
    (hidden,) = aucs(question="shown", space="unmeasured", contrast=10.0)
    assert seen > hidden + 0.15
    assert hidden == pytest.approx(0.5, abs=0.05)


def test_false_marks_and_contrast_at_eighty_percent_are_reported() -> None:
    found = benchmark()
    limits = found.thresholds()
    group = ("added", "cg-sense", "residual", "blob", 4.0, "measured")
    assert limits[group] is not None
    assert 0 < limits[group] <= 10
    assert limits[(*group[:5], "unmeasured")] is None
    best = found.found[(*group, 10.0)]
    assert best.false_marks is not None
    assert best.false_marks <= 1
    assert best.lesions == 24
    assert best.patients == SLICES
    assert "contrast at 80 %" in found.table()


def cell(shift: float, seed: int = 0) -> Injected:
    """Scores of ten patients with three lesions each, normal, `shift` apart."""
    rng, made = np.random.default_rng(seed), InjectionCell()
    for patient in range(10):
        made.patients += [str(patient)] * 3
        made.there += list(rng.normal(shift, 1, 3))
        made.absent += list(rng.normal(0, 1, 3))
        score = np.abs(rng.normal(0, 1, (40, 40)))
        made.marks.append(marked(score, np.ones((40, 40), bool), [(20, 20)], 4))
        made.clean.append(made.marks[-1].imagined)
    return summarised(made)


def test_the_area_is_that_of_two_normal_distributions_and_lies_in_its_interval() -> None:
    found = [cell(1.5, seed) for seed in range(10)]
    assert np.mean([one.auc for one in found]) == pytest.approx(0.856, abs=0.03)
    held = [one.interval[0] <= 0.856 <= one.interval[1] for one in found if one.interval]
    assert np.mean(held) >= 0.8


def test_a_mark_on_a_lesion_is_a_hit_and_one_beside_it_is_false() -> None:
    score = np.zeros((40, 40))
    score[10, 11], score[30, 30] = 2, 5
    found = marked(score, np.ones((40, 40), bool), [(10, 10), (20, 20)], 4)
    assert found.found.tolist() == [2, -np.inf]
    assert found.imagined.tolist() == [5]


def test_the_contrast_is_read_between_those_that_were_tried() -> None:
    assert contrast_at({1: 0.2, 2: 0.6, 4: 1.0}) == pytest.approx(3)
    assert contrast_at({1: 0.9}) == 1
    assert contrast_at({1: 0.2, 2: 0.6}) is None


def test_the_command_takes_an_image_and_writes_all_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nifti(
        Image(head().data, Geometry(head().geometry.shape, np.eye(4)), "a.u.", ("T2w",)),
        tmp_path / "T2w.nii.gz",
    )
    words = f"inject {tmp_path / 'T2w.nii.gz'} --out {tmp_path / 'found.json'} --quiet"
    words += " --patients 1 --lesions 2 --models zero-filled --kinds blob --sizes 4"
    words += " --contrasts 5 --spaces whole --questions added"
    assert main(words.split()) == 0
    assert "| added | zero-filled | residual | blob | 4 | whole |" in capsys.readouterr().out
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["settings"]["patients"] == 1
    assert {row["detector"] for row in written["cells"]} == {
        "residual",
        "reference",
        "matched filter",
    }


def test_raw_data_have_no_truth_and_samples_their_own_detectors() -> None:
    with toys.shipped():
        settings = Inject(
            models=("denoiser",), kinds=("blob",), sizes=(3.0,), contrasts=(8.0,), lesions=1,
            draws=2, questions=("added",), spaces=("whole",),
        )  # fmt: skip
        found = settings(toys.measurement())
    assert {key[2] for key in found.found} == {
        "residual", "matched filter", "evidence", "structure probability",
    }  # fmt: skip


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="blob"):
        Inject(kinds=("blop",))
    with pytest.raises(SettingError, match="expected 1 or more"):
        Inject(patients=0)
