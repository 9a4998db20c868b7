"""A defect of the reference is told, and its candidate is not charged with it; a defect of the
candidate still is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trees import AFFINE, fake, flat, foreign, put, scene

from veridical.evaluation.cases import collect
from veridical.evaluation.integrity import Gate, check
from veridical.evaluation.results import Evaluation
from veridical.types import Finding
from veridical.workflow.evaluate import evaluate

COUNT = 6
KEYS = ("task/dice/label-1", "pixel/psnr/foreground", "pixel/mae/foreground")
MOVED = AFFINE + np.array([[0, 0, 0, 5.0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def box(n: int) -> np.ndarray:
    """A label inside of the head."""
    labels = np.zeros(scene(n).shape, np.uint8)
    labels[4 + n % 3 : 11 + n % 3, 5:11, 3 : 8 + n // 3] = 1
    return labels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """References, candidates and labels of both."""
    flat(tmp_path / "real", range(COUNT))
    flat(tmp_path / "fake", range(COUNT), fake)
    flat(tmp_path / "labels", range(COUNT), box, units="label")
    flat(tmp_path / "found", range(COUNT), lambda n: np.roll(box(n), 1, 0), units="label")
    return tmp_path


def judged(tree: Path) -> Evaluation:
    return evaluate(
        tree / "fake",
        tree / "real",
        levels=("pixel", "task"),
        labels=tree / "labels",
        candidate_labels=tree / "found",
    )


def gate(tree: Path, **roles: Path) -> Gate:
    return check(collect(tree / "fake", tree / "real", roles=roles))


def of(found: Gate, name: str) -> Finding:
    return next(finding for finding in found.findings if finding.check == name)


def rounded(file: Path) -> None:
    foreign(file, box(2).astype(np.float32) * np.float32(1.0000001))


def rounded_down(file: Path) -> None:
    foreign(file, box(2) * 0.9999)


def few_digits(file: Path) -> None:
    put(file, box(2), AFFINE + 0.004, units="label")


@pytest.mark.parametrize("store", [rounded, rounded_down, few_digits])
def test_labels_that_were_rounded_change_no_number(
    store: Callable[[Path], None], tree: Path
) -> None:
    before = judged(tree)
    store(tree / "labels" / "case02.nii.gz")
    after = judged(tree)
    assert [after[key].value for key in KEYS] == [before[key].value for key in KEYS]
    assert not any(row.failed for row in after.cases)


def interpolated(file: Path) -> None:
    put(file, (box(2) + np.roll(box(2), 1, 0)) / 2, units="label")


def elsewhere(file: Path) -> None:
    put(file, box(2), MOVED, units="label")


def cropped(file: Path) -> None:
    put(file, box(2)[:-3], units="label")


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:80])


def copied(file: Path) -> None:
    put(file, box(1), units="label")


def astray(file: Path) -> None:
    labels = np.zeros_like(box(2))
    labels[:2, :2] = 1
    put(file, labels, units="label")


@pytest.mark.parametrize("spoil", [interpolated, elsewhere, cropped, torn, copied, astray])
def test_broken_labels_of_the_reference_cost_the_candidate_nothing(
    spoil: Callable[[Path], None], tree: Path
) -> None:
    before = judged(tree)
    spoil(tree / "labels" / "case02.nii.gz")
    after = judged(tree)
    finding = next(f for f in after.integrity if f.check == "reference")
    assert finding.verdict == "warn"
    assert "case02" in finding.evidence["cases"]
    assert after["pixel/psnr/foreground"].value == before["pixel/psnr/foreground"].value
    assert after["task/dice/label-1"].value == pytest.approx(
        before["task/dice/label-1"].value, abs=0.02
    )
    assert not any(row.failed for row in after.cases)


def nan(file: Path) -> None:
    foreign(file, np.where(scene(2) > 50, np.nan, scene(2)))


def flat_grey(file: Path) -> None:
    put(file, np.full_like(scene(2), 7))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


def smaller(file: Path) -> None:
    put(file, scene(2)[:-1])


def flipped(file: Path) -> None:
    put(file, scene(2)[::-1])


def mirrored_header(file: Path) -> None:
    put(file, scene(2), AFFINE @ np.diag([-1.0, 1, 1, 1]))


def on_another_scale(file: Path) -> None:
    put(file, scene(2) / 100)


@pytest.mark.parametrize(
    "spoil", [nan, flat_grey, cut, smaller, flipped, mirrored_header, on_another_scale]
)
def test_a_broken_reference_is_left_out_and_its_candidate_not_charged(
    spoil: Callable[[Path], None], tree: Path
) -> None:
    before = judged(tree)
    spoil(tree / "real" / "case02.nii.gz")
    found = gate(tree)
    assert of(found, "reference").verdict == "warn"
    assert list(of(found, "reference").evidence["left_out"]) == ["case02"]
    assert not found.failed
    assert [case.name for case in found.cases.cases] == [
        f"case{n:02d}" for n in range(COUNT) if n != 2
    ]
    after = judged(tree)
    assert "case02" in after.about["dropped"]
    assert after["pixel/psnr/foreground"].value == pytest.approx(
        before["pixel/psnr/foreground"].value, abs=0.4
    )
    assert after["pixel/psnr/foreground"].total == COUNT - 1


def test_a_reference_whose_header_was_moved_is_compared_voxel_by_voxel(tree: Path) -> None:
    before = judged(tree)
    put(tree / "real" / "case02.nii.gz", scene(2), MOVED)
    found = gate(tree, labels=tree / "labels")
    assert "compared voxel by voxel" in of(found, "reference").reason
    after = judged(tree)
    assert [after[key].value for key in KEYS] == [before[key].value for key in KEYS]


def test_the_labels_tell_that_the_reference_moved_where_every_patient_has_a_grid_of_its_own(
    tmp_path: Path,
) -> None:
    for n in range(COUNT):
        own = AFFINE + np.diag([0, 0, 0, 0.0]) + np.array([[0, 0, 0, 3.0 * n]] + [[0, 0, 0, 0]] * 3)
        put(
            tmp_path / "real" / f"case{n:02d}.nii.gz",
            scene(n),
            MOVED + own - AFFINE if n == 2 else own,
        )
        put(tmp_path / "fake" / f"case{n:02d}.nii.gz", fake(n), own)
        put(tmp_path / "labels" / f"case{n:02d}.nii.gz", box(n), own, units="label")
    found = gate(tmp_path, labels=tmp_path / "labels")
    assert list(of(found, "reference").evidence["noted"]) == ["case02"]
    assert not found.failed
    assert of(gate(tmp_path), "geometry").evidence["cases"] == [
        "case02"
    ]  # without labels nothing tells whose grid is lost


@pytest.mark.parametrize("spoil", ["moved", "flipped", "scaled"])
def test_a_candidate_with_the_same_defect_is_charged(spoil: str, tree: Path) -> None:
    file = tree / "fake" / "case02.nii.gz"
    if spoil == "moved":
        put(file, fake(2), MOVED)
    elif spoil == "flipped":
        put(file, fake(2)[::-1])
    else:
        put(file, fake(2) / 100)
    found = gate(tree, labels=tree / "labels")
    check = {"moved": "geometry", "flipped": "orientation", "scaled": "range"}[spoil]
    assert of(found, "reference").verdict == "pass"
    assert of(found, check).evidence["cases"] == ["case02"]
    assert len(found.cases.cases) == COUNT


def test_a_second_scan_tells_which_side_is_turned(tree: Path) -> None:
    for n in range(COUNT):
        put(
            tree / "again" / f"case{n:02d}.nii.gz",
            scene(n) + np.random.default_rng(n).normal(0, 1, scene(n).shape),
        )
    put(tree / "real" / "case02.nii.gz", scene(2)[:, ::-1])
    assert list(of(gate(tree, retest=tree / "again"), "reference").evidence["left_out"]) == [
        "case02"
    ]


def test_a_clipped_reference_is_named(tree: Path) -> None:
    put(tree / "real" / "case02.nii.gz", scene(2).clip(0, 55))
    found = of(gate(tree), "reference")
    assert found.verdict == "warn"
    assert "clipped" in found.evidence["noted"]["case02"]


def test_defects_of_most_references_give_no_score(tree: Path) -> None:
    for n in range(4):
        foreign(tree / "real" / f"case{n:02d}.nii.gz", np.full_like(scene(n), np.nan))
    assert of(gate(tree), "reference").verdict == "fail"


def test_labels_that_all_cases_share_are_an_atlas_and_no_copies(tree: Path) -> None:
    flat(tree / "labels", range(COUNT), lambda n: box(0), units="label")
    assert of(gate(tree, labels=tree / "labels"), "reference").verdict == "pass"


def test_two_references_that_are_one_image_are_named_as_a_defect_of_the_reference(
    tree: Path,
) -> None:
    put(tree / "real" / "case02.nii.gz", scene(1))
    assert "defect of the reference" in of(gate(tree), "duplicates").reason
