"""A task over a folder: BIDS in and out, what is whole is kept, what is not is done again, what
fails stops nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest

import folders
import veridical
from fakes import Change, Compose, Jitter
from veridical.errors import InputError, ProvenanceError
from veridical.evaluation import sources
from veridical.io import bids
from veridical.layouts.discovery import studies
from veridical.layouts.selection import case_name, read
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Finding
from veridical.workflow.cases import Keeping, Outcome
from veridical.workflow.folder import run_folder
from veridical.workflow.rerun import plain, rerun

Run = Callable[..., list[Outcome]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return folders.bids(tmp_path / "in", 3, ("T1w", "T2w"))


@pytest.fixture
def run(root: Path, tmp_path: Path, jitter: None) -> Run:
    """Make the FLAIR of every visit of the folder."""

    def go(settings: dict[str, Any] | None = None, **options: Any) -> list[Outcome]:
        return run_folder(
            Compose(**{"draws": 2} | (settings or {})), root, tmp_path / "out", **options
        )

    return go


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.case: outcome.status for outcome in outcomes}


def table(folder: Path) -> list[dict[str, str]]:
    head, *rows = ((folder / "cases.tsv").read_text().rstrip("\n")).split("\n")
    return [dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows]


def never(*_: object) -> None:
    raise AssertionError("a case that was there already was run again")


def test_every_visit_becomes_a_derivative_under_its_own_name(
    run: Run, root: Path, tmp_path: Path
) -> None:
    for session in ("pre", "post"):
        name = f"sub-04_ses-{session}"
        folders.write(
            root / "sub-04" / f"ses-{session}" / "anat" / f"{name}_T1w.nii.gz", folders.head(4)
        )
    outcomes = run()
    assert statuses(outcomes) == dict.fromkeys(
        ["sub-01", "sub-02", "sub-03", "sub-04_ses-post", "sub-04_ses-pre"], "done"
    )
    out = tmp_path / "out"
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert (out / "sub-01" / "anat" / "sub-01_desc-estimate_FLAIR.nii.gz").is_file()
    folder = out / "sub-04" / "ses-pre" / "anat"
    made = {file.name for file in folder.iterdir()}
    roles = {
        f"sub-04_ses-pre_desc-{role}_FLAIR.nii.gz"
        for role in ("estimate", "lower", "upper", "evidence")
    }
    assert made >= roles | {"provenance.json"}
    stored = veridical.read(folder / "sub-04_ses-pre_desc-estimate_FLAIR.nii.gz")
    given = veridical.read(root / "sub-04" / "ses-pre" / "anat" / "sub-04_ses-pre_T1w.nii.gz")
    assert stored.geometry.matches(given.geometry)
    assert outcomes[0].images == ("T1w", "T2w")
    assert outcomes[-1].images == ("T1w",)


def test_the_summary_has_a_row_for_every_case_with_verdicts_and_reasons(
    run: Run, root: Path, tmp_path: Path
) -> None:
    folders.write(root / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz", folders.head(9))
    outcomes = run()
    rows = table(tmp_path / "out")
    assert [row["participant_id"] for row in rows] == ["sub-01", "sub-02", "sub-03"]
    assert [row["status"] for row in rows] == ["done", "nothing to do", "done"]
    assert rows[0]["verdict"] == outcomes[0].verdict
    assert (rows[0]["consistency"], rows[0]["scope"], rows[0]["interval"]) == (
        "pass",
        "not_run",
        "present",
    )
    assert "FLAIR" in rows[1]["reason"]
    said = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert said["counts"] == {"done": 2, "kept": 0, "nothing to do": 1, "blocked": 0, "failed": 0}
    assert said["weights"] == Compose.weights
    assert {"consistency", "scope"} <= {
        finding["check"] for finding in said["cases"][0]["findings"]
    }


def test_what_is_whole_is_kept_and_not_run_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("out/sub-*/**/*")}
    monkeypatch.setattr(Compose, "apply", never)
    again = run()
    assert set(statuses(again).values()) == {"kept"}
    assert all(outcome.findings for outcome in again)
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize("damage", ["a map gone", "a map cut short", "no record"])
def test_what_is_half_written_is_done_again_to_the_same_bytes(
    run: Run, tmp_path: Path, damage: str
) -> None:
    run()
    folder = tmp_path / "out" / "sub-02" / "anat"
    estimate, record = folder / "sub-02_desc-estimate_FLAIR.nii.gz", folder / "provenance.json"
    before = estimate.read_bytes(), record.read_bytes()
    (folder.parent / ".anat.killed.part").mkdir()
    if damage == "a map gone":
        estimate.unlink()
    elif damage == "a map cut short":
        estimate.write_bytes(before[0][:100])
    else:
        record.unlink()
    assert statuses(run()) == {"sub-01": "kept", "sub-02": "done", "sub-03": "kept"}
    assert estimate.read_bytes() == before[0]
    assert not list(folder.parent.glob(".*.part"))


def test_an_interrupted_run_keeps_what_it_did_and_goes_on_from_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, calls = Compose.apply, iter(range(9))

    def stopped(*what: Any) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return apply(*what)

    monkeypatch.setattr(Compose, "apply", stopped)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert [row["participant_id"] for row in table(tmp_path / "out")] == ["sub-01"]
    assert not (tmp_path / "out" / "sub-02").exists()
    assert statuses(run()) == {"sub-01": "kept", "sub-02": "done", "sub-03": "done"}


@pytest.mark.parametrize("changed", ["settings", "seed", "input", "weights"])
def test_another_result_is_replaced_only_when_asked(
    run: Run, root: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    settings, options = {}, {}
    if changed == "settings":
        settings = {"spread": 0.1}
    elif changed == "seed":
        options = {"seed": 1}
    elif changed == "weights":
        monkeypatch.setattr(Jitter, "weights", "f" * 64)
    else:
        folders.write(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz", 2 * folders.head(77))
    first = run(settings, **options)[0]
    assert changed in first.reason
    assert first.status == "failed"
    assert "--overwrite" in first.reason
    assert run(settings, **options, keeping=Keeping(overwrite=True))[0].status == "done"
    assert run(settings, **options)[0].status == "kept"


def test_a_case_that_fails_is_told_and_stops_nothing(run: Run, root: Path, tmp_path: Path) -> None:
    file = root / "sub-01" / "anat" / "sub-01_T2w.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    folders.write(root / "sub-02" / "anat" / "sub-02_T1w.nii.gz", 0 * folders.head())
    outcomes = run()
    assert statuses(outcomes) == {"sub-01": "failed", "sub-02": "failed", "sub-03": "done"}
    assert "sub-01_T2w.nii.gz" in outcomes[0].reason
    assert "shows nothing" in outcomes[1].reason
    assert not (tmp_path / "out" / "sub-01").exists()


def test_an_error_of_ours_in_one_case_does_not_lose_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, calls = Compose.apply, iter(range(9))
    monkeypatch.setattr(Compose, "apply", lambda *what: 1 / 0 if next(calls) == 1 else apply(*what))
    outcomes = run()
    assert statuses(outcomes) == {"sub-01": "done", "sub-02": "failed", "sub-03": "done"}
    assert outcomes[1].reason.startswith("Unexpected ZeroDivisionError in test_folder.py")


def test_draws_are_written_only_when_asked_for_and_their_absence_says_so(
    run: Run, tmp_path: Path
) -> None:
    run()
    folder = tmp_path / "out" / "sub-01" / "anat"
    assert not list(folder.glob("*draws*"))
    record = bids.load_provenance(folder)
    assert "--keep-draws" in record.absent["draws"]
    assert "draws" in record.steps[0].outputs
    run({"spread": 0.1}, keeping=Keeping(draws=True, overwrite=True))
    assert len(list(folder.glob("*draws*"))) == 1


def test_a_result_is_made_again_from_its_record(run: Run, root: Path, tmp_path: Path) -> None:
    run()
    record = tmp_path / "out" / "sub-02" / "anat" / "provenance.json"
    step = bids.load_provenance(record).steps[0]
    assert step.source["files"] == (
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_T2w.nii.gz",
    )
    assert rerun(record).steps[0].outputs == step.outputs
    (root / "sub-02" / "anat" / "sub-02_T2w.nii.gz").unlink()
    with pytest.raises(ProvenanceError, match="has no T2w any more"):
        rerun(record)


def test_the_result_is_that_of_the_same_files_given_one_by_one(
    run: Run, root: Path, tmp_path: Path
) -> None:
    run()
    image = veridical.read_together(
        [root / "sub-03" / "anat" / f"sub-03_{name}.nii.gz" for name in ("T1w", "T2w")]
    )
    found = Compose(draws=2)(image)
    stored = veridical.read(
        tmp_path / "out" / "sub-03" / "anat" / "sub-03_desc-estimate_FLAIR.nii.gz"
    )
    np.testing.assert_array_equal(stored.data, found.image.data)


def test_an_evaluation_finds_the_estimates_under_the_names_of_the_truth(
    run: Run, tmp_path: Path
) -> None:
    run()
    truth = folders.bids(tmp_path / "truth", 3, ("T1w", "FLAIR"))
    found = sources.find(tmp_path / "out", {})
    assert list(found) == list(sources.find(truth, {"contrast": "FLAIR"}))
    assert all(source.load().channels == ("FLAIR",) for source in found.values())


def test_only_the_contrasts_that_are_named_are_used(run: Run) -> None:
    assert {outcome.images for outcome in run(contrasts=("T1w",))} == {("T1w",)}


def test_of_two_runs_the_last_is_taken_and_said_and_lesions_are_handed_to_the_task(
    run: Run, root: Path, tmp_path: Path
) -> None:
    for run_number in (1, 2):
        folders.write(
            root / "sub-05" / "anat" / f"sub-05_run-{run_number}_T1w.nii.gz",
            folders.head(run_number),
        )
    mask = (folders.head(1) > 50).astype(np.uint8)
    folders.write(root / "sub-05" / "anat" / "sub-05_label-lesion_mask.nii.gz", mask)
    found = {outcome.case: outcome for outcome in run()}["sub-05"]
    assert found.images == ("T1w",)
    step = bids.load_provenance(tmp_path / "out" / "sub-05" / "anat").steps[0]
    assert step.source["files"] == tuple(
        f"sub-05/anat/sub-05_{name}.nii.gz" for name in ("run-2_T1w", "label-lesion_mask")
    )
    assert "lesions" in step.inputs
    assert "run-1_T1w.nii.gz (an earlier run)" in found.notes[0]
    assert "run-1_T1w.nii.gz" in table(tmp_path / "out")[-1]["notes"]
    assert any("run-1_T1w.nii.gz" in finding.reason for finding in found.findings)


def test_contrasts_of_other_spacing_are_brought_onto_one_grid_and_the_record_says_so(
    run: Run, root: Path, tmp_path: Path
) -> None:
    folders.write(
        root / "sub-01" / "anat" / "sub-01_T2w.nii.gz",
        folders.head(3, (80, 48, 12)),
        (1.0, 2.0, 4.0),
    )
    assert run()[0].status == "done"
    step = bids.load_provenance(tmp_path / "out" / "sub-01" / "anat").steps[0]
    assert "resampled from 80 x 48 x 12" in step.inputs["T2w, resampled"]


def test_folders_of_other_layouts_are_cases_too(tmp_path: Path, jitter: None) -> None:
    root = tmp_path / "brats"
    for number in (1, 2):
        for place, name in enumerate(("t1n", "t2w", "t1c")):
            case = f"BraTS-GLI-0000{number}-000"
            folders.write(root / case / f"{case}-{name}.nii.gz", folders.head(10 * number + place))
    task = Compose(draws=2)
    outcomes = run_folder(task, root, tmp_path / "out")
    assert [(outcome.case, outcome.status) for outcome in outcomes] == [
        ("sub-BraTSGLI00001", "done"), ("sub-BraTSGLI00002", "done"),
    ]  # fmt: skip
    assert outcomes[0].images == ("T1c", "T1w", "T2w")
    record = tmp_path / "out" / "sub-BraTSGLI00001" / "anat" / "provenance.json"
    rerun(record)


def test_ids_that_become_one_name_stay_two_cases(tmp_path: Path) -> None:
    for name in ("a-1", "a_1"):
        for contrast in ("T1w", "T2w"):
            folders.write(tmp_path / name / f"{contrast}.nii.gz", folders.head())
    assert [(study.id, case_name(study, 0.0)) for study in studies(tmp_path)] == [
        ("a-1", "sub-a1"),
        ("a_1", "sub-a1"),
    ]
    found = run_folder(Compose(draws=1), tmp_path, tmp_path.with_name("out"))
    assert [outcome.case for outcome in found] == ["sub-a1", "sub-a1x2"]


def test_a_task_on_single_images_makes_a_data_set_for_each_contrast(
    root: Path, tmp_path: Path
) -> None:
    outcomes = run_folder(Jitter(draws=2), root, tmp_path / "out")
    assert len(outcomes) == 6
    for contrast in ("T1w", "T2w"):
        folder = tmp_path / "out" / contrast
        assert (folder / "dataset_description.json").is_file()
        assert (folder / "sub-01" / "anat" / f"sub-01_desc-estimate_{contrast}.nii.gz").is_file()
    assert {row["folder"] for row in table(tmp_path / "out")} >= {
        "T1w/sub-01/anat",
        "T2w/sub-03/anat",
    }
    assert {outcome.status for outcome in run_folder(Jitter(draws=2), root, tmp_path / "out")} == {
        "kept"
    }


def test_raw_data_of_a_folder_are_reconstructed_scan_by_scan(tmp_path: Path) -> None:
    root = tmp_path / "in" / "multicoil_test"
    root.mkdir(parents=True)
    for number in (1, 2):
        with h5py.File(root / f"file_brain_AXT2_200_600{number:04d}.h5", "w") as file:
            file["kspace"] = (np.random.default_rng(number).normal(size=(2, 3, 10, 8)) + 1j).astype(
                np.complex64
            )
            file.attrs["acquisition"] = "AXT2"
    outcomes = run_folder(Reconstruct(model="zero-filled"), tmp_path / "in", tmp_path / "out")
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert (
        tmp_path / "out" / outcomes[0].folder / f"{outcomes[0].case}_desc-estimate_T2w.nii.gz"
    ).is_file()


def test_progress_goes_over_the_cases_and_within_each(run: Run) -> None:
    told: list[tuple[str, int, int]] = []
    run(progress=lambda what, done, total: told.append((what, done, total)))
    over = [(what.split(",")[0], done) for what, done, _ in told if what.startswith("cases")]
    assert over == [
        ("cases", 0),
        ("cases: sub-01", 1),
        ("cases: sub-02", 2),
        ("cases: sub-03", 3),
    ]
    assert sum(what == "drawing" and done == total for what, done, total in told) == 3


def test_one_case_is_in_memory_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import weakref

    living: list[weakref.ref[Any]] = []
    apply = Compose.apply

    def watched(*what: Any) -> Any:
        gc.collect()
        assert not [ref for ref in living if ref() is not None]
        found = apply(*what)
        living.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Compose, "apply", watched)
    assert set(statuses(run()).values()) == {"done"}


def test_a_folder_with_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="no layout that is known"):
        run_folder(Compose(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_field_strength_that_the_tables_know_reaches_the_network(tmp_path: Path) -> None:
    root = tmp_path / "ixi"
    for site in ("Guys", "HH"):
        number = {"Guys": 10, "HH": 12}[site]
        image = nibabel.Nifti1Image(folders.head(number), np.diag([2.0, 2, 4, 1]))
        (root / "T1").mkdir(parents=True, exist_ok=True)
        nibabel.save(image, root / "T1" / f"IXI0{number}-{site}-0800-T1.nii.gz")
    fields = {
        study.id: read(study, [(0.0, "T1w")]).image().header["field"] for study in studies(root)
    }
    assert fields == {"IXI010": 1.5, "IXI012": 3.0}


def test_the_settings_that_a_summary_holds_are_those_that_were_given(
    run: Run, tmp_path: Path
) -> None:
    run()
    said = json.loads((tmp_path / "out" / "summary.json").read_text())
    task = Compose(draws=2)
    assert plain(said["settings"]) == dataclasses.asdict(task)
    assert (said["format"], said["task"], said["seed"]) == ("veridical-folder-1", "compose", 0)


def recolour(shrink: float) -> type[Jitter]:
    """A task that leaves a share `shrink` of the dark part's growth with age, and says so as
    `harmonize` does.
    """

    class Recolour(Jitter):
        def apply(self, study: Any, seed: int, progress: Any) -> Any:
            dark = float((np.asarray(study.image().data) > 0).mean())
            shares = [
                [dark, 0.5, 0.5 - dark],
                [0.1 + shrink * (dark - 0.1), 0.5, 0.4 - shrink * (dark - 0.1)],
            ]
            finding = Finding(
                "biology", "pass", "made up", {"before": shares[0], "after": shares[1]}
            )
            return dataclasses.replace(super().apply(study, seed, progress), findings=(finding,))

    return Recolour


@pytest.fixture
def aged(tmp_path: Path) -> Path:
    """Seven patients whose dark part grows with age, one of them seen twice, and one of unknown
    age.
    """
    root = folders.bids(tmp_path / "aged", 0)
    rows = ["participant_id\tage"]
    for number in range(1, 9):
        age = 20 + 8 * number
        grown = np.zeros(folders.SHAPE, np.float32)
        count = int(grown.size * (0.05 + 0.001 * age + 0.0005 * (number % 2)))
        grown.ravel()[:count] = np.linspace(1.0, 2.0, count)
        sessions = ("ses-1", "ses-2") if number == 3 else ("",)
        for place, session in enumerate(sessions):
            name = f"sub-{number:02}" + (f"_{session}" if session else "")
            folder = root / f"sub-{number:02}" / session / "anat"
            folders.write(
                folder / f"{name}_T1w.nii.gz", grown if place == 0 else np.ones_like(grown)
            )
        rows.append(f"sub-{number:02}\t{age if number < 8 else 'n/a'}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(("shrink", "verdict"), [(1.0, "pass"), (0.3, "fail")])
def test_the_summary_says_whether_a_group_keeps_its_age_effect(
    aged: Path, tmp_path: Path, shrink: float, verdict: str
) -> None:
    for _ in ("done", "kept"):
        run_folder(recolour(shrink)(draws=1), aged, tmp_path / "out")
        said = json.loads((tmp_path / "out" / "summary.json").read_text())["group"]["T1w"]
        assert (said["check"], said["verdict"], said["evidence"]["patients"]) == (
            "age_effect",
            verdict,
            7,
        )
        assert said["evidence"]["dark"]["before"] == pytest.approx(0.01, rel=0.05)
        assert said["evidence"]["dark"]["after"] == pytest.approx(0.01 * shrink, rel=0.05)
    assert table(tmp_path / "out")[0]["biology"] == "pass"


def test_nothing_is_said_of_a_group_whose_tissue_is_not_compared(run: Run, tmp_path: Path) -> None:
    run()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["group"] == {}


def test_a_task_over_time_is_handed_both_visits_and_its_result_is_made_again(
    tmp_path: Path, jitter: None
) -> None:
    root = folders.bids(tmp_path / "in", 1, ("T1w",))
    for session in ("d000", "d090"):
        for run_number in (1, 2):
            name = f"sub-07_ses-{session}_run-{run_number}_T1w.nii.gz"
            folders.write(
                root / "sub-07" / f"ses-{session}" / "anat" / name,
                folders.head(run_number + len(session)),
            )
    outcomes = run_folder(Change(draws=1), root, tmp_path / "out")
    assert [(outcome.case, outcome.status, outcome.made) for outcome in outcomes] == [
        ("sub-01", "done", ("T1w",)), ("sub-07", "done", ("T1w",)),
    ]  # fmt: skip
    record = tmp_path / "out" / "sub-07" / "anat" / "provenance.json"
    step = bids.load_provenance(record).steps[0]
    assert set(step.inputs) == {"day 0, T1w", "day 90, T1w"}
    assert all("run-2" in file for file in step.source["files"])
    assert len(outcomes[1].notes) == 2
    assert rerun(record).steps[0].outputs == step.outputs
    assert {outcome.status for outcome in run_folder(Change(draws=1), root, tmp_path / "out")} == {
        "kept"
    }


def test_an_earlier_result_and_sourcedata_inside_the_data_set_are_no_inputs(
    run: Run, root: Path, tmp_path: Path
) -> None:
    folders.write(root / "sourcedata" / "sub-01" / "anat" / "sub-01_T1w.nii.gz", folders.head(99))
    run_folder(Compose(draws=1), root, root / "anything")
    run_folder(Jitter(draws=1), root, root / "more")
    outcomes = run()
    assert statuses(outcomes) == dict.fromkeys(["sub-01", "sub-02", "sub-03"], "done")
    files = bids.load_provenance(tmp_path / "out" / "sub-01" / "anat").steps[0].source["files"]
    assert files == ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    left_out = json.loads((tmp_path / "out" / "summary.json").read_text())["left_out"]
    assert left_out["sourcedata"] == "sourcedata of a BIDS data set"
    assert (
        left_out["anything/sub-01/anat/sub-01_desc-estimate_FLAIR.nii.gz"]
        == "a result of Veridical"
    )


def test_a_file_that_was_not_fetched_is_named_and_the_visit_goes_on_without_it(
    run: Run, root: Path, tmp_path: Path
) -> None:
    gone, bare = (root / f"sub-0{n}" / "anat" / f"sub-0{n}_T2w.nii.gz" for n in (1, 2))
    gone.unlink()
    gone.symlink_to("../../.git/annex/objects/xx/MD5E-s1.nii.gz")
    bare.write_text("/annex/objects/MD5E-s5--d41d8cd98f00b204e9800998ecf8427e.nii.gz\n")
    for name in ("T1w", "T2w"):
        (root / "sub-03" / "anat" / f"sub-03_{name}.nii.gz").write_bytes(b"")
    first, second, third = run()
    assert (first.status, second.status, third.status) == ("done", "done", "failed")
    assert first.images == second.images == ("T1w",)
    assert "sub-01_T2w.nii.gz is a link to a file that is not there" in first.notes[0]
    assert "sub-02_T2w.nii.gz is a git-annex pointer" in second.notes[0]
    assert "sub-03_T1w.nii.gz is empty (0 bytes)" in third.reason
    assert all(row["notes"].startswith("Left out: ") for row in table(tmp_path / "out"))


def test_the_image_that_was_not_chosen_can_be_asked_for(
    root: Path, tmp_path: Path, run: Run
) -> None:
    folders.write(
        root / "sub-01" / "anat" / "sub-01_acq-localizer_T1w.nii.gz",
        folders.head(5, (10, 12, 4)),
        (8.0, 8.0, 12.0),
    )
    assert run_folder(Jitter(draws=1), root, tmp_path / "one", contrasts=("T1w",))[0].images == (
        "T1w",
    )
    chosen = run_folder(Jitter(draws=1), root, tmp_path / "two", contrasts=("T1w.2",))[0]
    assert chosen.images == ("T1w.2",)
    record = bids.load_provenance(tmp_path / "two" / chosen.folder)
    assert record.steps[0].source["files"] == ("sub-01/anat/sub-01_acq-localizer_T1w.nii.gz",)
