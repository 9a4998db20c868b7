"""Contrasts that a caller names: known ones, others said to be others, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import veridical
from veridical.errors import UnitsError
from veridical.io.contrast import contrast_of, given_names, not_stated, stated, stem
from veridical.types import Geometry, Image


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    import nibabel as nib

    path = tmp_path / "IXI012HH1211T1ds.nii.gz"
    nib.save(
        nib.Nifti1Image(
            np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32),
            np.diag([2, 2, 3, 1]),
        ),
        path,
    )
    return path


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("banana", "Known: CT"),
        ("t1", "Did you mean T1w"),
        ("T1W", "T1w"),
        ("", "Known"),
        ("PDw", "PD"),
    ],
)
def test_a_contrast_that_is_not_known_is_refused_with_the_nearest(
    scan: Path, name: str, hint: str
) -> None:
    with pytest.raises(UnitsError, match=rf"{hint}.*--contrast other:"):
        veridical.read(scan, contrast=name)


def test_known_contrasts_and_others_said_to_be_others_are_taken(scan: Path) -> None:
    assert given_names("T1w, FLAIR.2,other,other:SWI") == ("T1w", "FLAIR.2", "other", "SWI")
    read = veridical.read(scan, contrast="other:SWI")
    assert read.channels == ("SWI",)
    assert veridical.read(**read.header["source"]).channels == ("SWI",)
    assert [stated(name) for name in ("T1w", "T2w.2", "cine_ED")] == [
        "T1w",
        "T2w.2",
        "other:cine_ED",
    ]


def test_a_contrast_that_nothing_states_is_unknown_and_the_note_names_the_flag(scan: Path) -> None:
    read = veridical.read(scan)
    assert read.channels == ("unknown",)
    assert "--contrast T1w" in " ".join(read.header["notes"])
    assert "suggests FLAIR; if so --contrast FLAIR" in not_stated(Path("p01-FLAIR-x.nii"), 1)


def test_names_of_structures_are_free_for_label_maps(scan: Path) -> None:
    assert veridical.read(scan, contrast="GTV", units="label").channels == ("GTV",)


def test_names_that_veridical_stored_are_kept(tmp_path: Path) -> None:
    made = Image(
        np.ones((1, 3, 3, 3), np.float32), Geometry((3, 3, 3), np.eye(4)), "a.u.", ("cine_ED",)
    )
    assert veridical.read(veridical.write(made, tmp_path / "x.nii.gz")).channels == ("cine_ED",)


def test_suffixes_in_any_case_are_cut_from_names() -> None:
    assert [stem(Path(name)) for name in ("A_T1W.NII.GZ", "a.nii.gz", "b.mha", "c.gz")] == [
        "A_T1W",
        "a",
        "b",
        "c",
    ]
    assert contrast_of(Path("A_T1W.NII.GZ")) == "T1w"
