"""What is no input is left out with its reason: earlier results, derivatives, sourcedata, code,
links to folders.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from made_sets import mask, picture, put

from veridical.io.bids import save
from veridical.layouts.tree import Listing, stem_of, suffix_of
from veridical.types import Geometry, Image, Interval, Result


def result(folder: Path, name: str = "sub-01") -> None:
    image = Image(
        np.ones((1, 4, 4, 4), np.float32), Geometry((4, 4, 4), np.eye(4)), "a.u.", ("T1w",)
    )
    save(
        Result(image, "point estimate", None, Interval(image.data, image.data, 0.9, 9, "x", "y")),
        folder,
        name,
    )


def raw(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    put(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz", picture(1))
    return root


def images(root: Path) -> list[str]:
    return list(Listing.of(root).data)


OWN = "sub-01/anat/sub-01_T1w.nii.gz"


def test_results_are_no_inputs_wherever_they_lie(tmp_path: Path) -> None:
    raw(tmp_path)
    for place in ("out", "derivatives/veridical", "sub-01/anat", "a/b/c"):
        result(tmp_path / place)
    assert images(tmp_path) == [OWN]
    assert (
        Listing.of(tmp_path).left_out["out/sub-01_desc-estimate_T1w.nii.gz"]
        == "a result of Veridical"
    )


def test_a_folder_of_results_alone_means_their_estimates(tmp_path: Path) -> None:
    result(tmp_path / "one")
    result(tmp_path / "two", "sub-02")
    assert images(tmp_path) == [
        "one/sub-01_desc-estimate_T1w.nii.gz",
        "two/sub-02_desc-estimate_T1w.nii.gz",
    ]


def test_derivatives_give_their_label_maps_and_not_their_images(tmp_path: Path) -> None:
    raw(tmp_path)
    put(tmp_path / "derivatives/fmriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", picture(2))
    put(tmp_path / "derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz", mask(1))
    put(tmp_path / "sub-01/anat/sub-01_desc-denoised_T1w.nii.gz", picture(3))
    assert images(tmp_path) == [
        "derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz",
        OWN,
    ]


def test_a_data_set_of_derivatives_alone_is_read_as_it_is(tmp_path: Path) -> None:
    put(tmp_path / "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", picture(2))
    put(tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz", mask(1))
    assert len(images(tmp_path)) == 2
    result(tmp_path / "out")
    assert len(images(tmp_path)) == 2


def test_sourcedata_code_and_linked_folders_are_left_out_of_a_bids_data_set_and_read_when_given(
    tmp_path: Path,
) -> None:
    raw(tmp_path)
    for place in ("sourcedata", "code"):
        put(tmp_path / place / "sub-01" / "anat" / "sub-01_T1w.nii.gz", picture(place))
    (tmp_path / "sub-02").symlink_to(tmp_path / "sub-01")
    assert images(tmp_path) == [OWN]
    assert set(Listing.of(tmp_path).left_out) == {"sourcedata", "code", "sub-02"}
    assert images(tmp_path / "sourcedata") == [OWN]
    put(tmp_path / "other" / "code" / "a.nii.gz", picture(1))
    assert images(tmp_path / "other") == ["code/a.nii.gz"], (
        "outside of BIDS a folder may be called so"
    )


def test_records_of_others_leave_nothing_out(tmp_path: Path) -> None:
    raw(tmp_path)
    (tmp_path / "provenance.json").write_text(
        json.dumps({"format": "another tool", "files": {"a": {"path": OWN}}})
    )
    assert images(tmp_path) == [OWN]


def test_suffix_and_stem_ignore_capitals_of_extensions() -> None:
    assert [(suffix_of(name), stem_of(name)) for name in ("a/B.NII.GZ", "b.Dcm", "c.nii.gz")] == [
        (".nii", "B"), (".dcm", "b"), (".nii", "c"),
    ]  # fmt: skip
