"""A result on disk: every companion under its role, a record that reads back, and whole or not at
all.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import FormatError, InputError, ProvenanceError, SettingError
from veridical.io.bids import load_provenance, save
from veridical.io.nifti import nifti
from veridical.types import Evidence, Finding, Geometry, Image, Interval, Result, Step

SHAPE = (1, 5, 4, 2)
AFFINE = np.array([[2, 0, 0, -5], [0, 2.5, 0, 4], [0, 0, 3, 1], [0, 0, 0, 1.0]])


def field(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def derived() -> Result:
    image = Image(field(0), Geometry(SHAPE[1:], AFFINE), "a.u.", ("T1w",))
    step = Step(
        "reconstruct",
        {"steps": 8, "widths": (1, 2)},
        {"data": "ab"},
        "generator",
        "cd",
        {"torch": "2"},
        3,
        {"estimate": "ef"},
        {"path": "/scan.h5", "slices": (1, 2)},
    )
    finding = Finding(
        "scope", "warn", "unlike training", {"distance": np.float32(2.5), "unknown": float("nan")}
    )
    return Result(
        image,
        "posterior mean",
        draws=field(1, (3, *SHAPE)),
        interval=Interval(field(2), field(3), 0.9, 40, "conformal", "on average"),
        evidence=Evidence(np.clip(field(4), 0, 1), field(5), None),
        findings=(finding,),
        steps=(step,),
        absent={"unmeasured": "why"},
    )


def test_every_companion_is_written_under_its_role(derived: Result, tmp_path: Path) -> None:
    files = save(derived, tmp_path / "out", "sub-01")
    assert set(files) == {
        "estimate",
        "lower",
        "upper",
        "evidence",
        "measured",
        "draws",
        "provenance",
        "description",
    }
    assert files["estimate"].name == "sub-01_desc-estimate_T1w.nii.gz"
    assert sorted(tmp_path.joinpath("out").iterdir()) == sorted(files.values())
    assert derived.interval is not None
    assert derived.evidence is not None
    for role, array in (
        ("estimate", derived.image.data),
        ("lower", derived.interval.lower),
        ("evidence", derived.evidence.map),
        ("measured", derived.evidence.measured),
    ):
        read = nifti(files[role])
        np.testing.assert_array_equal(read.data, array)
        assert read.geometry.matches(derived.image.geometry)
        assert read.units == ("1" if role == "evidence" else "a.u.")


def test_draws_run_along_the_fourth_axis(derived: Result, tmp_path: Path) -> None:
    read = nifti(save(derived, tmp_path, "sub-01")["draws"])
    assert derived.draws is not None
    np.testing.assert_array_equal(read.data, derived.draws[:, 0])
    assert read.channels == ("T1w:draw-1", "T1w:draw-2", "T1w:draw-3")


def test_complex_arrays_are_written_as_magnitude_and_the_role_says_so(
    derived: Result, tmp_path: Path
) -> None:
    assert derived.draws is not None
    files = save(replace(derived, draws=derived.draws * (3 + 4j)), tmp_path, "sub-01")
    assert "draws" not in files
    assert files["draws_magnitude"].name == "sub-01_desc-drawsMagnitude_T1w.nii.gz"
    np.testing.assert_allclose(
        nifti(files["draws_magnitude"]).data, 5 * np.abs(derived.draws[:, 0]), rtol=1e-6
    )


def test_the_record_reads_back_whole(derived: Result, tmp_path: Path) -> None:
    files = save(derived, tmp_path, "sub-01")
    for path in (files["provenance"], tmp_path):
        record = load_provenance(path)
        assert record.steps == derived.steps
        assert record.kind == "posterior mean"
        assert record.absent == {"unmeasured": "why"}
        assert record.findings[0].evidence == {"distance": 2.5, "unknown": None}
        assert record.interval == {
            "level": 0.9,
            "patients": 40,
            "method": "conformal",
            "promises": "on average",
        }
        assert record.image["affine"] == AFFINE.tolist()
        assert set(record.files) == set(files) - {"provenance", "description"}
    assert json.loads(files["description"].read_text())["DatasetType"] == "derivative"


def test_the_same_result_gives_the_same_bytes(derived: Result, tmp_path: Path) -> None:
    first, second = (save(derived, tmp_path / name, "sub-01") for name in "ab")
    assert all(first[role].read_bytes() == second[role].read_bytes() for role in first)


@pytest.mark.parametrize(
    ("name", "channels", "expected"),
    [
        ("scan", ("FLAIR",), "sub-scan_desc-estimate_FLAIR.nii.gz"),
        ("my scan_1".replace(" ", "-"), ("PD",), "sub-myscan1_desc-estimate_PDw.nii.gz"),
        ("sub-1_ses-2", ("T1c",), "sub-1_ses-2_ce-gadolinium_desc-estimate_T1w.nii.gz"),
        ("sub-1", ("odd name!",), "sub-1_desc-estimate_oddname.nii.gz"),
    ],
)
def test_names_follow_bids(
    derived: Result, tmp_path: Path, name: str, channels: tuple[str, ...], expected: str
) -> None:
    bare = Result(replace(derived.image, channels=channels), "point estimate")
    assert save(bare, tmp_path, name)["estimate"].name == expected


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x\n", "a" * 200])
def test_names_that_are_no_file_names_are_refused(
    derived: Result, tmp_path: Path, name: str
) -> None:
    with pytest.raises(SettingError, match="cannot start a file name"):
        save(derived, tmp_path / "out", name)
    assert not list(tmp_path.iterdir())


def test_an_earlier_result_is_kept_unless_overwriting_is_asked_for(
    derived: Result, tmp_path: Path
) -> None:
    files = save(derived, tmp_path, "sub-01")
    before = {role: file.read_bytes() for role, file in files.items()}
    with pytest.raises(InputError, match="already holds"):
        save(derived, tmp_path, "sub-01")
    with pytest.raises(InputError, match=r"already holds provenance\.json"):
        save(derived, tmp_path, "sub-02")
    assert {role: file.read_bytes() for role, file in files.items()} == before


def test_overwriting_leaves_nothing_of_the_earlier_result(derived: Result, tmp_path: Path) -> None:
    save(derived, tmp_path, "sub-01")
    (tmp_path / "notes.txt").write_text("mine")
    files = save(Result(derived.image, "point estimate"), tmp_path, "sub-02", overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [*(file.name for file in files.values()), "notes.txt"]
    )


def test_a_failure_leaves_nothing_behind(derived: Result, tmp_path: Path) -> None:
    assert derived.interval is not None
    upper = derived.interval.upper.copy()
    upper[0, 0, 0, 0] = np.nan
    bad = replace(derived, interval=replace(derived.interval, upper=upper))
    with pytest.raises(FormatError, match="NaN"):
        save(bad, tmp_path / "out", "sub-01")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        save(derived, tmp_path / "file", "sub-01")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": "other"}', '{"format": "veridical-provenance-1"}']
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(ProvenanceError, match=r"provenance\.json"):
        load_provenance(tmp_path)
    with pytest.raises(ProvenanceError, match="cannot be read"):
        load_provenance(tmp_path / "none.json")


def test_a_step_with_unknown_entries_is_refused(derived: Result, tmp_path: Path) -> None:
    file = save(derived, tmp_path, "sub-01")["provenance"]
    said = json.loads(file.read_text())
    said["steps"][0]["extra"] = 1
    file.write_text(json.dumps(said))
    with pytest.raises(ProvenanceError, match="not a whole record"):
        load_provenance(file)
