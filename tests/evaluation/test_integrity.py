from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trees import AFFINE, fake, flat, foreign, image, put, scene

from veridical.evaluation.cases import Cases, collect
from veridical.evaluation.integrity import Limits, check
from veridical.evaluation.likeness import rescaled, turned
from veridical.types import Finding

COUNT = 6


def verdicts(cases: Cases) -> tuple[dict[str, Finding], dict[str, str]]:
    gate = check(cases, Limits())
    assert len({finding.check for finding in gate.findings}) == len(gate.findings)
    return {finding.check: finding for finding in gate.findings}, dict(gate.failed)


def failing(cases: Cases) -> list[str]:
    return [name for name, finding in verdicts(cases)[0].items() if finding.verdict == "fail"]


@pytest.fixture
def reals(tmp_path: Path) -> Path:
    return flat(tmp_path / "real", range(COUNT))


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    return flat(tmp_path / "fake", range(COUNT), fake)


def test_fair_images_pass_and_progress_is_told(fakes: Path, reals: Path) -> None:
    told: list[tuple[str, int, int]] = []
    gate = check(collect(fakes, reals), Limits(), lambda *step: told.append(step))
    assert {finding.verdict for finding in gate.findings} <= {"pass", "not_run"}
    assert gate.failed == {}
    assert told[-1][1:] == (COUNT, COUNT)


def broken(fakes: Path, case: int, how: str) -> str:
    """Spoil one candidate and return the check that is to see it."""
    file, array = fakes / f"case{case:02d}.nii.gz", fake(case)
    if how == "missing":
        file.unlink()
        return "pairing"
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:300])
        return "readable"
    if how == "nan":
        foreign(file, np.where(array > 50, np.nan, array))
        return "finite"
    if how == "constant":
        put(file, np.zeros_like(array))
        return "constant"
    if how == "cropped":
        put(file, array[:-1])
        return "geometry"
    if how == "spacing":
        put(file, array, np.diag([1.0, 1.0, 1.0, 1.0]))
        return "geometry"
    if how == "lps":
        put(
            file,
            array[::-1, ::-1],
            AFFINE @ np.array([[-1, 0, 0, 19], [0, -1, 0, 17], [0, 0, 1, 0], [0, 0, 0, 1]]),
        )
        return "geometry"
    if how == "units":
        put(file, array, units="HU")
        return "units"
    if how == "4D":
        foreign(file, np.stack([array, array], -1))
        return "readable"
    assert how == "flipped"
    put(file, array[:, ::-1])
    return "orientation"


HOW = ["missing", "truncated", "nan", "constant", "cropped", "spacing", "units", "4D", "flipped"]


@pytest.mark.parametrize("how", HOW)
def test_one_broken_case_warns_and_is_listed_and_most_fail_the_gate(
    how: str, fakes: Path, reals: Path
) -> None:
    name = broken(fakes, 2, how)
    found, failed = verdicts(collect(fakes, reals))
    assert found[name].verdict == "warn"
    assert found[name].evidence["cases"] == ["case02"]
    assert list(failed) == ["case02"]
    for case in (0, 1, 4):
        broken(fakes, case, how)
    found, failed = verdicts(collect(fakes, reals, paired=True))
    assert found[name].verdict == "fail"
    assert len(failed) == 4
    assert [n for n, finding in found.items() if finding.verdict == "fail"] == [name]


def test_the_same_grid_stored_the_other_way_round_is_the_same_and_another_place_is_not(
    fakes: Path, reals: Path
) -> None:
    broken(fakes, 0, "lps")
    assert not verdicts(collect(fakes, reals))[1]
    put(fakes / "case00.nii.gz", fake(0), np.diag([2.0, 2.0, 3.0, 1.0]))
    assert "copy the affine" in verdicts(collect(fakes, reals))[1]["case00"]


def test_what_a_file_does_not_say_is_not_held_against_it(tmp_path: Path, reals: Path) -> None:
    for n in range(COUNT):
        foreign(tmp_path / "fake" / f"case{n:02d}.nii.gz", fake(n))
    assert failing(collect(tmp_path / "fake", reals)) == []
    arrays = {f"case{n:02d}": fake(n) for n in range(COUNT)}
    (tmp_path / "npy").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "npy" / f"{name}.npy", array)
    assert failing(collect(tmp_path / "npy", reals, options={"axes": "x,y,z"})) == []


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (lambda a: a[::-1], "flipped along x "),
        (lambda a: a[:, ::-1], "flipped along y "),
        (lambda a: a[:, :, ::-1], "flipped along z "),
        (lambda a: a[::-1, ::-1], "flipped along x and y "),
        (lambda a: a.swapaxes(0, 1), "with x and y exchanged "),
        (lambda a: np.rot90(a), "with x and y exchanged and flipped along "),
    ],
)
def test_a_turned_candidate_is_told_how(
    turn: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    shape = (18, 18, 12)
    for seed in range(3):
        real = (scene(seed, shape) * np.linspace(0.7, 1.3, 12))[None]
        noisy = real + np.random.default_rng(seed).normal(0, 4, real.shape)
        assert turned(noisy, real, shape, Limits().turned) == ""
        assert said in turned(
            np.ascontiguousarray(turn(noisy[0]))[None], real, shape, Limits().turned
        )


def test_a_nearly_symmetric_head_turned_left_to_right_is_seen() -> None:
    real = scene(1)
    head = (real + real[::-1]) / 2 + 0.15 * (real - real[::-1])
    copy = head + np.random.default_rng(0).normal(0, 0.5, head.shape)
    assert np.corrcoef(head.ravel(), head[::-1].ravel())[0, 1] > 0.9
    assert "flipped along x" in turned(copy[None, ::-1], head[None], head.shape, Limits().turned)


SCALES = {
    "as it is": (lambda a: a, False),
    "blurred": (lambda a: (a + np.roll(a, 1, 0) + np.roll(a, 1, 1) + np.roll(a, -1, 0)) / 4, False),
    "ten percent brighter": (lambda a: 1.1 * a, False),
    "a tenth of the range higher": (lambda a: a + 10, False),
    "0-1 against 0-255": (lambda a: a / 255, True),
    "-1 to 1 against 0-100": (lambda a: a / 50 - 1, True),
    "twice": (lambda a: 2 * a, True),
    "shifted": (lambda a: a + 60, True),
    "inverted": (lambda a: 100 - a, True),
}


@pytest.mark.parametrize("how", SCALES)
def test_another_scale_fails_the_gate_and_a_fair_difference_does_not(
    how: str, tmp_path: Path, reals: Path
) -> None:
    change, wrong = SCALES[how]
    flat(tmp_path / "fake", range(COUNT), lambda n: change(fake(n)))
    assert failing(collect(tmp_path / "fake", reals)) == (["range"] if wrong else [])


def test_hounsfield_units_with_an_offset_of_1024_are_another_scale() -> None:
    hounsfield = np.where(scene(1) > 0, scene(1) * 5 - 100, -1000)[None]
    assert rescaled(hounsfield + 1024, hounsfield, Limits().ratio, Limits().offset)
    assert not rescaled(hounsfield + 40, hounsfield, Limits().ratio, Limits().offset)


def test_minus_one_to_one_is_told_from_nought_to_one() -> None:
    real = scene(1)[None] / 100
    assert rescaled(2 * real - 1, real, Limits().ratio, Limits().offset)


def test_the_same_image_twice_fails_whatever_its_type_and_packing(
    tmp_path: Path, fakes: Path, reals: Path
) -> None:
    for n in range(COUNT):
        put(reals / f"case{n:02d}.nii.gz", scene(n).round().astype(np.uint8))
    put(reals / "copy.nii", scene(3).round().astype(np.float64))
    found, _ = verdicts(collect(fakes, reals))
    assert found["duplicates"].verdict == "fail"
    assert found["duplicates"].evidence["groups"] == [["case03", "copy"]]


def test_one_answer_for_two_patients_fails(fakes: Path, reals: Path) -> None:
    put(fakes / "case01.nii.gz", fake(0))
    assert "duplicates" in failing(collect(fakes, reals))


def test_two_empty_answers_are_two_failed_cases_and_no_duplicates(fakes: Path, reals: Path) -> None:
    for n in (1, 4):
        put(fakes / f"case{n:02d}.nii.gz", np.zeros_like(fake(0)))
    found, failed = verdicts(collect(fakes, reals))
    assert (found["duplicates"].verdict, found["constant"].verdict) == ("pass", "warn")
    assert sorted(failed) == ["case01", "case04"]


def test_a_candidate_that_is_the_reference_fails_paired_or_not(fakes: Path, reals: Path) -> None:
    put(fakes / "case01.nii", scene(1))
    (fakes / "case01.nii.gz").unlink()
    assert failing(collect(fakes, reals)) == ["copies"]
    assert "copies" in failing(collect(fakes, reals, paired=False))
    assert failing(collect(reals, reals)) == ["copies"]


def test_training_images_and_patients_among_the_cases_fail(
    tmp_path: Path, fakes: Path, reals: Path
) -> None:
    other = flat(tmp_path / "other", [f"t{n}" for n in range(3)], lambda n: scene(50 + n))
    found, _ = verdicts(collect(fakes, reals, training=other))
    assert found["leakage"].verdict == "pass"
    put(other / "t9.nii", scene(2).astype(np.float64))
    found, _ = verdicts(collect(fakes, reals, training=other))
    assert (found["leakage"].verdict, found["leakage"].evidence["cases"]) == ("fail", ["case02"])
    put(other / "t9.nii", fake(2))
    assert "leakage" in failing(collect(fakes, reals, training=other))
    same = flat(tmp_path / "same", ["case01"], lambda n: scene(70))
    found, _ = verdicts(collect(fakes, reals, training=same))
    assert (found["leakage"].verdict, found["leakage"].evidence["cases"]) == ("fail", ["case01"])


def test_the_table_says_who_the_training_patients_are(
    tmp_path: Path, fakes: Path, reals: Path
) -> None:
    train = flat(tmp_path / "train", ["t1"], lambda n: scene(70))
    rows = ["case,patient,split", *(f"case{n:02d},p{n},test" for n in range(COUNT)), "t1,p3,train"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found, _ = verdicts(collect(fakes, reals, training=train, table=tmp_path / "t.csv"))
    assert (found["leakage"].verdict, found["leakage"].evidence["cases"]) == ("fail", ["case03"])
    rows[2] = "case01,p0,train"
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert verdicts(collect(fakes, reals, table=tmp_path / "t.csv"))[0]["leakage"].evidence[
        "patients"
    ] == ["p0"]


def test_positions_in_two_arrays_are_not_patients() -> None:
    made, real, trained = (
        np.stack([make(n)[None] for n in seeds])
        for make, seeds in ((fake, range(6)), (scene, range(6)), (scene, range(90, 96)))
    )
    found, _ = verdicts(collect(made, real, training=trained))
    assert found["leakage"].verdict == "pass"


def test_sets_of_other_dimensions_units_or_range_fail(
    tmp_path: Path, fakes: Path, reals: Path
) -> None:
    def of(**said: object) -> Cases:
        other = tmp_path / "other"
        make = said.pop("make", lambda n: scene(80 + n))
        return collect(
            flat(other, [f"z{n}" for n in range(COUNT)], make, **said), reals, paired=False
        )

    assert failing(of()) == []
    assert failing(of(units="HU")) == ["dimensions"]
    assert failing(of(make=lambda n: scene(80 + n) / 100)) == ["dimensions"]
    assert failing(of(make=lambda n: scene(80 + n)[:, :, 5:6])) == ["dimensions"]
    ct = flat(tmp_path / "ct", ["q"], lambda n: scene(91), units="HU")
    assert failing(collect(fakes, reals, second=ct)) == ["dimensions"]


def test_a_second_set_of_the_same_images_is_no_floor(fakes: Path, reals: Path) -> None:
    assert failing(collect(fakes, reals, second=reals)) == ["copies"]


def test_labels_of_candidates_on_another_grid_or_between_whole_numbers_are_seen(
    tmp_path: Path, fakes: Path, reals: Path
) -> None:
    for n in range(COUNT):
        put(tmp_path / "grid" / f"case{n:02d}.nii.gz", scene(n)[:-2] > 50, units="label")
        put(
            tmp_path / "half" / f"case{n:02d}.nii.gz",
            (scene(n) > 50) * (0.5 if n == 1 else 1.0),
            units="label",
        )
    assert failing(collect(fakes, reals, roles={"candidate_labels": tmp_path / "grid"})) == [
        "companions"
    ]
    found, failed = verdicts(collect(fakes, reals, roles={"candidate_labels": tmp_path / "half"}))
    assert (found["companions"].verdict, found["reference"].verdict, list(failed)) == (
        "warn",
        "pass",
        ["case01"],
    )


def test_pairs_that_are_none_fail(tmp_path: Path, reals: Path) -> None:
    shuffled = flat(tmp_path / "fake", range(COUNT), lambda n: fake((n + 2) % COUNT))
    assert failing(collect(shuffled, reals)) == ["correspondence"]


def test_named_contrasts_that_differ_are_seen() -> None:
    made = {str(n): image(fake(n), channels=("FLAIR",)) for n in range(COUNT)}
    real = {str(n): image(scene(n), channels=("T1w",)) for n in range(COUNT)}
    assert failing(collect(made, real)) == ["units"]
