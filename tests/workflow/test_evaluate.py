from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage

import veridical
from veridical.errors import InputError, SettingError
from veridical.evaluation import stream
from veridical.evaluation.results import Evaluation
from veridical.evaluation.signature import verify
from veridical.report.firstpage import opening, tiles
from veridical.types import Image
from veridical.workflow.evaluate import RESUME, Evaluate, evaluate

CASES, SHAPE = 10, (32, 28, 16)
FAST = {"extractors": ("radiomics",), "workers": 1}


def real(seed: int) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2)
    x, y, _ = np.indices(SHAPE)
    head = (x - 16) ** 2 + (y - 14) ** 2 < 150
    return np.asarray(100 * head * (1 + field / field.std() / 5), np.float32)


def made(image: np.ndarray, seed: int) -> np.ndarray:
    return np.asarray(image + np.random.default_rng(1000 + seed).normal(0, 3, SHAPE), np.float32)


def save(folder: Path, name: str, array: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(
        nibabel.Nifti1Image(array, np.diag([2.0, 2.0, 3.0, 1.0])), folder / f"{name}.nii.gz"
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for i in range(CASES):
        image = real(i)
        save(root / "real", f"case{i:02d}", image)
        save(root / "fake", f"case{i:02d}", made(image, i))
        save(root / "labels", f"case{i:02d}", (image > 130).astype(np.uint8))
    rows = ["case,site,sex", *(f"case{i:02d},{'AB'[i % 2]},{'FM'[i // 5]}" for i in range(CASES))]
    (root / "table.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def judged(tree: Path) -> Evaluation:
    return evaluate(
        tree / "fake",
        tree / "real",
        tree / "report",
        labels=tree / "labels",
        structures=("1=bright",),
        table=tree / "table.csv",
        tasks=("tests_probe:bright",),
        **FAST,
    )


@pytest.fixture(scope="module", autouse=True)
def _probe(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("probe")
    (folder / "tests_probe.py").write_text(
        "def bright(image):\n    return (image.data[0] > 130).astype('uint8')\n"
    )
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(folder)


def test_every_number_has_n_an_interval_and_both_ends_of_its_scale(judged: Evaluation) -> None:
    ssim = judged["pixel/ssim/foreground"]
    assert ssim.n == ssim.analysed == ssim.total == CASES
    assert ssim.interval is not None
    assert ssim.interval[0] < ssim.value < ssim.interval[1]  # type: ignore[operator]
    assert ssim.floor == pytest.approx(1.0)
    assert ssim.bad is not None
    assert ssim.score == pytest.approx((ssim.bad - ssim.value) / (ssim.bad - ssim.floor))  # type: ignore[operator]
    assert ssim.primary


def test_all_levels_are_there_and_say_why_where_they_are_not(judged: Evaluation) -> None:
    verdicts = {one.level: one for one in judged.levels}
    assert list(verdicts) == ["pixel", "feature", "task", "trust"]
    assert verdicts["pixel"].verdict != "not_run"
    assert verdicts["feature"].verdict != "not_run"
    assert verdicts["task"].verdict != "not_run"
    assert "intervals" in verdicts["trust"].reason
    assert judged["task/dice/bright:bright"].analysed == CASES


def test_subgroups_of_the_table_are_given(judged: Evaluation) -> None:
    regions = {endpoint.region for endpoint in judged.subgroups}
    assert {"foreground, site=A", "foreground, site=B", "foreground, sex=F"} <= regions
    assert judged.about["strata"] == "site"


def test_the_report_is_signed_and_made_again_it_has_the_same_bytes(
    judged: Evaluation, tree: Path
) -> None:
    folder = tree / "report"
    assert verify(folder / "report.json") == ()
    before = {name: (folder / name).read_bytes() for name in ("report.json", "report.html")}
    evaluate(
        tree / "fake",
        tree / "real",
        folder,
        labels=tree / "labels",
        structures=("1=bright",),
        table=tree / "table.csv",
        tasks=("tests_probe:bright",),
        extractors=("radiomics",),
        workers=2,
    )
    assert before == {name: (folder / name).read_bytes() for name in before}
    assert not (folder / RESUME).exists()


def test_an_input_that_changes_afterwards_is_found(tree: Path, tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "real", f"{i}", real(i))
        save(tmp_path / "fake", f"{i}", made(real(i), i))
    evaluate(tmp_path / "fake", tmp_path / "real", tmp_path / "report", levels=("pixel",))
    file = tmp_path / "fake" / "3.nii.gz"
    whole = bytearray(file.read_bytes())
    whole[-5] ^= 1
    file.write_bytes(whole)
    assert verify(tmp_path / "report" / "report.json") == (
        "the input ../fake/3.nii.gz was changed",
    )


def test_a_failed_case_counts_as_the_worst_value_and_is_listed(tree: Path, tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "real", f"{i}", real(i))
        if i != 2:
            save(tmp_path / "fake", f"{i}", made(real(i), i))
    found = evaluate(tmp_path / "fake", tmp_path / "real", levels=("pixel",))
    ssim = found["pixel/ssim/foreground"]
    own = [row.values["pixel/ssim/foreground"] for row in found.cases if not row.failed]
    assert (ssim.analysed, ssim.total, ssim.n) == (5, 6, 6)
    assert ssim.value < np.mean(own)  # type: ignore[operator]
    assert [row.case for row in found.cases if row.failed] == ["2"]


def test_arrays_tensors_and_files_give_the_same_numbers(tree: Path) -> None:
    arrays = np.stack([real(i) for i in range(6)])[:, None]
    fakes = np.stack([made(real(i), i) for i in range(6)])[:, None]
    a = evaluate(fakes, arrays, levels=("pixel",))
    b = evaluate(torch.from_numpy(fakes), torch.from_numpy(arrays), levels=("pixel",))
    assert a["pixel/ssim/foreground"].value == b["pixel/ssim/foreground"].value


def test_real_images_of_other_patients_have_no_pixels_to_compare() -> None:
    images = {f"a{i}": real(i) for i in range(10)}, {f"b{i}": real(100 + i) for i in range(10)}
    sides = [
        {
            n: Image(x[None], veridical.Geometry.index(SHAPE), "a.u.", ("T1w",))
            for n, x in each.items()
        }
        for each in images
    ]
    taken_for_pairs = evaluate(*sides, **FAST)
    assert [f.check for f in taken_for_pairs.integrity if f.verdict == "fail"] == ["correspondence"]
    found = evaluate(*sides, paired="no", **FAST)
    verdicts = {one.level: one for one in found.levels}
    assert verdicts["pixel"].verdict == "not_run"
    kid = found["feature/kid/radiomics"]
    assert kid.p is not None
    assert kid.p > 0.01


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_cases_have_values_no_interval_and_no_decision(count: int) -> None:
    truth, fakes = (
        np.stack([make(i) for i in range(count)])[:, None]
        for make in (real, lambda i: made(real(i), i))
    )
    found = evaluate(fakes, truth, levels=("pixel",))
    ssim = found["pixel/ssim/foreground"]
    assert ssim.value is not None
    assert (ssim.interval, ssim.verdict) == (None, "inconclusive")
    assert f"No interval is possible from {count} patient" in ssim.note
    (pixel,) = (one for one in found.levels if one.level == "pixel")
    assert pixel.verdict == "inconclusive"
    assert f"No interval is possible from {count} patient" in pixel.reason
    page = opening(found)
    assert (page.verdict, tiles(found)[0].result != "") == ("inconclusive", True)


@pytest.mark.parametrize("spoil", ["copies", "flipped", "scaled", "leak"])
def test_what_voids_the_comparison_gives_no_score(spoil: str) -> None:
    truth = np.stack([real(i) for i in range(6)])[:, None]
    fakes = np.stack([made(real(i), i) for i in range(6)])[:, None]
    fakes = {
        "copies": truth,
        "flipped": fakes[:, :, ::-1] * 1.0,
        "scaled": fakes / 100,
        "leak": fakes,
    }[spoil]
    if spoil == "flipped":
        truth[:, :, :12] = 0
        fakes = (truth + np.random.default_rng(0).normal(0, 1, truth.shape))[:, :, ::-1].astype(
            np.float32
        )
    found = evaluate(fakes, truth, training=truth[:2] if spoil == "leak" else None)
    assert not found.endpoints
    failed = {finding.check for finding in found.integrity if finding.verdict == "fail"}
    assert (
        failed
        & {
            "copies": {"copies"},
            "flipped": {"orientation"},
            "scaled": {"range"},
            "leak": {"leakage"},
        }[spoil]
    )


def test_an_interrupted_evaluation_goes_on_where_it_was(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_measure, seen = stream.measure, []

    def stops(case, rules, itself=False):  # type: ignore[no-untyped-def]
        seen.append(case.name)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return real_measure(case, rules, itself)

    monkeypatch.setattr(stream, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tree / "fake", tree / "real", tmp_path / "r", levels=("pixel",), workers=1)
    assert not (tmp_path / "r" / "report.json").exists()
    evaluate(tree / "fake", tree / "real", tmp_path / "r", levels=("pixel",), workers=1)
    assert len(seen) < 5 + CASES
    assert verify(tmp_path / "r" / "report.json") == ()


def test_draws_bring_coverage_and_ranks(tmp_path: Path) -> None:
    for i in range(6):
        image = real(i)
        save(tmp_path / "real", f"{i}", image)
        save(tmp_path / "fake", f"{i}", made(image, i))
        for k in range(20):
            save(tmp_path / "draws" / f"{i}", f"draw{k:02d}", made(image, 100 * i + k))
    found = evaluate(
        tmp_path / "fake", tmp_path / "real", draws=tmp_path / "draws", levels=("trust",)
    )
    assert 0.5 < found["trust/coverage/foreground"].value <= 1  # type: ignore[operator]
    assert any(curve.key == "trust/ranks" for curve in found.curves)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="Did you mean"):
        evaluate(np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), label=3)
    with pytest.raises(SettingError):
        Evaluate(levels=("pixels",))
    with pytest.raises(SettingError):
        Evaluate(lower=Path("x"))
    with pytest.raises(SettingError):
        Evaluate(training_labels=Path("x"))
    with pytest.raises(SettingError):
        evaluate(*np.random.default_rng(0).random((2, 2, 16, 16)), tasks=("no:where",))
    with pytest.raises(InputError):
        evaluate(Path("/nowhere"), Path("/nowhere"))


def test_a_class_in_the_table_brings_train_on_generated_test_on_real(tmp_path: Path) -> None:
    rows = ["case,class"]
    for i in range(24):
        image = real(i) + (40 * (real(i) > 120) if i % 2 else 0)
        save(tmp_path / "real", f"{i:02d}", np.asarray(image, np.float32))
        save(tmp_path / "fake", f"{i:02d}", made(image, i))
        rows.append(f"{i:02d},{'yes' if i % 2 else 'no'}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found = evaluate(
        tmp_path / "fake",
        tmp_path / "real",
        table=tmp_path / "t.csv",
        levels=("feature", "task"),
        **FAST,
    )
    auc = found["task/auc/class by radiomics"]
    assert auc.value is not None, auc.note
    assert auc.value > 0.7
    assert auc.floor is not None
    assert auc.bad == 0.5


def test_doses_bring_gamma_and_points_of_the_histogram(tmp_path: Path) -> None:
    x, y, z = np.indices(SHAPE)
    dose = np.asarray(60 * np.exp(-((x - 16) ** 2 + (y - 14) ** 2 + (z - 8) ** 2) / 80), np.float32)
    for i in range(6):
        save(tmp_path / "real", f"{i}", real(i))
        save(tmp_path / "fake", f"{i}", made(real(i), i))
        save(tmp_path / "dose", f"{i}", dose)
        save(tmp_path / "made", f"{i}", 1.01 * dose)
    found = evaluate(
        tmp_path / "fake",
        tmp_path / "real",
        dose=tmp_path / "dose",
        candidate_dose=tmp_path / "made",
        levels=("task",),
    )
    assert found["task/gamma/dose grid"].value == pytest.approx(100.0)
    assert any(
        endpoint.metric == "dose-volume" and endpoint.value is not None
        for endpoint in found.endpoints
    )
