from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from trees import fake, flat, foreign, image, put, result, scene

from veridical.errors import InputError, SettingError
from veridical.evaluation.cases import Cases, collect
from veridical.evaluation.names import match


def pairs(cases: Cases) -> dict[str, str | None]:
    return {case.name: case.candidate and case.candidate.name for case in cases.cases}


def test_same_names_are_pairs_and_what_one_side_lacks_is_none(tmp_path: Path) -> None:
    found = collect(
        flat(tmp_path / "fake", ["a", "b", "x"]), flat(tmp_path / "real", ["a", "b", "c"])
    )
    assert found.paired
    assert [(c.name, c.candidate is None, c.reference is None) for c in found.cases] == [
        ("a", False, False), ("b", False, False), ("c", True, False), ("x", False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["fake_001", "fake_002"], ["001", "002"]),
        (["001_pred", "002_pred"], ["001", "002"]),
        (["fake_001_v2", "fake_002_v2", "fake_003_v2"], ["001", "002", "004"]),
        (["001", "002"], ["sub-001_T1w", "sub-002_T1w"]),
        (["fake_001", "fake_002"], ["real_001", "real_002"]),
        (["x/001", "x/002"], ["001", "002"]),
        (["sub-case001_T1w", "sub-case002_T1w"], ["case_001", "case_002"]),
        (["img1_out", "img10_out"], ["img1", "img10"]),
    ],
)
def test_names_that_differ_by_what_all_share_are_pairs(ours: list[str], theirs: list[str]) -> None:
    found, said = match(ours, theirs)
    assert len(found) >= 2
    number = {name: re.findall(r"\d+", name)[0] for name in (*ours, *theirs)}
    assert all(number[a] == number[b] for a, b in found.items())
    assert said
    assert match(theirs, ours)[0] == {b: a for a, b in found.items()}


def test_no_number_is_cut_in_two_to_make_names_fit() -> None:
    assert match(["11", "12"], ["1", "2"]) == ({}, "")
    assert match(["1001", "1002"], ["001", "002"]) == ({}, "")


def test_what_was_stripped_is_noted_and_pairs_are_called_by_the_reference(tmp_path: Path) -> None:
    found = collect(flat(tmp_path / "a", ["fake_1", "fake_2"]), flat(tmp_path / "b", ["1", "2"]))
    assert pairs(found) == {"1": "fake_1", "2": "fake_2"}
    assert found.notes == (
        "Names were paired after leaving out 'fake_' at the start of the candidates.",
    )


def test_names_that_do_not_fit_are_two_sets_and_asked_for_as_pairs_an_error(tmp_path: Path) -> None:
    fakes, reals = flat(tmp_path / "a", ["u1", "v2", "w7"]), flat(tmp_path / "b", ["ann", "bob"])
    found = collect(fakes, reals)
    assert not found.paired
    assert len(found.cases) == 5
    assert "0 of 2 names fit" in found.notes[0]
    with pytest.raises(InputError, match=r"Candidates: u1, v2, w7\. References: ann, bob\."):
        collect(fakes, reals, paired=True)


def test_unpaired_sides_with_the_same_names_stay_apart(tmp_path: Path) -> None:
    found = collect(
        flat(tmp_path / "a", ["1", "2"]), flat(tmp_path / "b", ["1", "3"]), paired=False
    )
    assert [case.name for case in found.cases] == ["1 (candidate)", "2", "1 (reference)", "3"]
    assert all((case.candidate is None) != (case.reference is None) for case in found.cases)


def test_arrays_are_paired_by_place_only_when_there_are_as_many() -> None:
    reals = np.stack([scene(n)[None] for n in range(4)])
    assert collect(reals, reals).paired
    assert not collect(reals[:3], reals).paired
    with pytest.raises(InputError, match="numbered, not named"):
        collect(reals[:3], reals, paired=True)


def test_one_file_on_each_side_is_a_pair_whatever_the_names(tmp_path: Path) -> None:
    found = collect(
        put(tmp_path / "pred.nii.gz", fake(1)), put(tmp_path / "truth.nii.gz", scene(1))
    )
    assert pairs(found) == {"truth": "pred"}


def test_a_derivative_is_paired_with_its_source_and_contrasts_of_one_side_are_left_out(
    tmp_path: Path,
) -> None:
    for n in ("01", "02"):
        for contrast in ("T1w", "FLAIR"):
            put(
                tmp_path / f"raw/sub-{n}/ses-a/anat/sub-{n}_ses-a_{contrast}.nii.gz",
                scene(1),
                channels=(contrast,),
            )
        put(
            tmp_path / f"made/sub-{n}/ses-a/anat/sub-{n}_ses-a_desc-fake_FLAIR.nii.gz",
            fake(1),
            channels=("FLAIR",),
        )
    found = collect(tmp_path / "made", tmp_path / "raw")
    assert [case.name for case in found.cases] == ["sub-01_ses-a_FLAIR", "sub-02_ses-a_FLAIR"]
    assert [case.patient for case in found.cases] == ["sub-01", "sub-02"]
    assert sorted(found.dropped) == ["sub-01_ses-a_T1w", "sub-02_ses-a_T1w"]


def test_roles_are_given_to_their_cases_by_the_same_rules(tmp_path: Path) -> None:
    fakes, reals = (
        flat(tmp_path / "fake", ["fake_1", "fake_2"]),
        flat(tmp_path / "real", ["1", "2"]),
    )
    for n in (1, 2):
        foreign(tmp_path / "labels" / f"{n}_seg.nii.gz", (scene(n) > 50).astype(np.uint8))
    put(tmp_path / "masks" / "1.nii.gz", scene(1) > 10, units="label")
    flat(tmp_path / "found", ["fake_1", "fake_2", "fake_9"], lambda n: scene(n) > 50, units="label")
    roles = {
        "labels": tmp_path / "labels",
        "mask": tmp_path / "masks",
        "candidate_labels": tmp_path / "found",
    }
    found = collect(fakes, reals, roles=roles)
    assert [set(case.roles) for case in found.cases] == [
        {"labels", "mask", "candidate_labels"},
        {"labels", "candidate_labels"},
    ]
    labels = found.cases[1].roles["labels"].load()  # type: ignore[union-attr]
    assert labels.units == "label"
    assert labels.data.dtype.kind in "iu"
    said = " ".join(found.notes)
    assert "1 of 2 cases have no mask: 2." in said
    assert "1 candidate_labels belong to no case: fake_9." in said


def test_a_bids_mask_belongs_to_every_contrast_of_its_session(tmp_path: Path) -> None:
    for contrast in ("T1w", "FLAIR"):
        put(tmp_path / f"raw/sub-1/sub-1_{contrast}.nii.gz", scene(1), channels=(contrast,))
        put(tmp_path / f"made/sub-1/sub-1_desc-x_{contrast}.nii.gz", fake(1), channels=(contrast,))
    put(tmp_path / "raw/sub-1/sub-1_desc-brain_mask.nii.gz", scene(1) > 10, units="label")
    found = collect(tmp_path / "made", tmp_path / "raw", roles={"mask": tmp_path / "raw"})
    assert ["mask" in case.roles for case in found.cases] == [True, True]


def test_intervals_and_draws_of_our_results_are_found_without_being_asked_for(
    tmp_path: Path,
) -> None:
    for n in (1, 2):
        result(tmp_path / "made", f"case_{n}", fake(n), draws=4)
    found = collect(tmp_path / "made", flat(tmp_path / "real", ["case_1", "case_2"]))
    assert pairs(found) == {"case_1": "sub-case1_T1w", "case_2": "sub-case2_T1w"}
    for case in found.cases:
        assert set(case.roles) == {"lower", "upper", "draws"}
        assert len(case.roles["draws"]) == 4  # type: ignore[arg-type]


def test_a_role_of_other_cases_and_an_unknown_role_are_refused(tmp_path: Path) -> None:
    fakes, reals = flat(tmp_path / "fake", ["ann", "bob"]), flat(tmp_path / "real", ["ann", "bob"])
    other = flat(tmp_path / "other", ["cy", "dee"])
    with pytest.raises(InputError, match=r"labels: cy, dee\. Cases: ann, bob"):
        collect(fakes, reals, roles={"labels": other})
    with pytest.raises(SettingError, match="Did you mean 'labels'"):
        collect(fakes, reals, roles={"label": other})


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_gives_patients_and_groups(tmp_path: Path, mark: str) -> None:
    rows = ["case,Patient,site,sex", "1.nii.gz,p7,A,F", "2,p7,B,n/a", "t1,p9,A,M"]
    (tmp_path / "t.csv").write_text("\n".join(rows).replace(",", mark), encoding="utf-8-sig")
    found = collect(
        flat(tmp_path / "fake", ["fake_1", "fake_2"]), flat(tmp_path / "real", ["1", "2"]),
        training=flat(tmp_path / "train", ["t1"]), table=tmp_path / "t.csv",
    )  # fmt: skip
    assert [case.patient for case in found.cases] == ["p7", "p7"]
    assert [dict(case.groups) for case in found.cases] == [{"site": "A", "sex": "F"}, {"site": "B"}]
    assert found.patients == {"t1": "p9"}


def test_a_table_of_patients_holds_for_all_their_images(tmp_path: Path) -> None:
    for session in "ab":
        put(tmp_path / f"real/sub-1_ses-{session}_T1w.nii.gz", scene(1))
        put(tmp_path / f"fake/sub-1_ses-{session}_T1w.nii.gz", fake(1))
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-1\t50\nsub-2\t60\n")
    found = collect(tmp_path / "fake", tmp_path / "real", table=tmp_path / "participants.tsv")
    assert [case.groups["age"] for case in found.cases] == ["50", "50"]
    assert "1 rows are of no case here, e.g. sub-2" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case,site\nann,A\nbbo,B\n", "Did you mean 'bob'"),
        ("case,site\nann,A\nann,B\nbob,A\n", "two rows of 'ann'"),
        ("name,site\nann,A\n", "expected one called 'case' or 'patient'"),
        ("", "no rows"),
    ],
)
def test_a_wrong_table_is_refused_with_what_to_mend(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    fakes, reals = flat(tmp_path / "fake", ["ann", "bob"]), flat(tmp_path / "real", ["ann", "bob"])
    with pytest.raises(InputError, match=said):
        collect(fakes, reals, table=tmp_path / "t.csv")


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    images = {"a": image(scene(0)), "b": image(scene(1))}
    with pytest.raises(InputError, match="cannot be read as a table"):
        collect(images, images, table=tmp_path / "nowhere.csv")


def test_named_images_in_memory_are_paired_by_name_however_many_there_are() -> None:
    images = {name: image(scene(n)) for n, name in enumerate("abc")}
    found = collect({"b": images["b"]}, images)
    assert found.paired
    assert pairs(found) == {"a": None, "b": "b", "c": None}
