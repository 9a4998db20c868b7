from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import AFFINE, SHAPE, flat, foreign, image, put, result, scene, series

from veridical.errors import FormatError, InputError, SettingError
from veridical.evaluation.draws import find_draws, load_draws
from veridical.evaluation.sources import find, results
from veridical.layouts.base import Visit
from veridical.layouts.discovery import studies


def names(where: object, **options: object) -> list[str]:
    return list(find(where, options))


def test_a_flat_folder_has_one_case_a_file_and_hidden_files_and_sidecars_are_none(
    tmp_path: Path,
) -> None:
    flat(tmp_path, ["b", "a"])
    put(tmp_path / "c.nii", scene(3))
    (tmp_path / "._a.nii.gz").write_bytes(b"Mac")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("x")
    put(tmp_path / ".cache" / "d.nii.gz", scene(4))
    assert names(tmp_path) == ["a", "b", "c"]


def test_one_folder_a_case_is_called_by_the_folder_whatever_the_file_is_called(
    tmp_path: Path,
) -> None:
    for case in ("p1", "p2"):
        put(tmp_path / "a" / case / "pred.nii.gz", scene(1))
        put(tmp_path / "b" / case / "anat" / "image.nii.gz", scene(1))
        put(tmp_path / "c" / case / "t1.nii.gz", scene(1))
        put(tmp_path / "c" / case / "t2.nii.gz", scene(1))
    assert names(tmp_path / "a") == names(tmp_path / "b") == ["p1", "p2"]
    assert names(tmp_path / "c") == ["p1/t1", "p1/t2", "p2/t1", "p2/t2"]


def test_a_derivative_of_a_bids_tree_is_the_case_of_its_source(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "derivatives").mkdir(parents=True)
    (raw / "dataset_description.json").write_text("{}")
    put(raw / "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", scene(1))
    put(raw / "sub-01/ses-1/anat/sub-01_ses-1_run-2_T1w.nii.gz", scene(1))
    put(raw / "derivatives/x/sub-01/sub-01_ses-1_desc-x_T1w.nii.gz", scene(1))
    put(
        tmp_path / "made/sub-01/anat/sub-01_ses-1_space-orig_rec-gan_desc-fake_T1w.nii.gz", scene(1)
    )
    assert set(names(raw)) == {"sub-01_ses-1_T1w", "sub-01_ses-1_run-2_T1w"}
    assert names(tmp_path / "made") == ["sub-01_ses-1_T1w"]
    assert names(raw / "derivatives" / "x") == ["sub-01_ses-1_T1w"]


def test_masks_of_a_bids_tree_are_found_as_labels_and_left_out_as_images(tmp_path: Path) -> None:
    put(tmp_path / "sub-1/anat/sub-1_T1w.nii.gz", scene(1))
    put(tmp_path / "sub-1/anat/sub-1_FLAIR.nii.gz", scene(1), channels=("FLAIR",))
    put(tmp_path / "sub-1/anat/sub-1_desc-brain_mask.nii.gz", scene(1) > 10, units="label")
    assert names(tmp_path) == ["sub-1_FLAIR", "sub-1_T1w"]
    assert names(tmp_path, contrast="FLAIR") == ["sub-1_FLAIR"]
    assert names(tmp_path, units="label") == ["sub-1_mask"]


def test_two_derivations_of_one_case_are_refused_with_both_paths(tmp_path: Path) -> None:
    put(tmp_path / "sub-1_desc-a_T1w.nii.gz", scene(1))
    put(tmp_path / "sub-1_desc-b_T1w.nii.gz", scene(1))
    with pytest.raises(InputError, match=r"two images of the case sub-1_T1w: .*desc-a.*desc-b"):
        find(tmp_path, {})


def test_of_a_result_of_ours_the_estimate_is_the_image_and_the_rest_is_found_by_role(
    tmp_path: Path,
) -> None:
    for n in (1, 2):
        result(tmp_path, f"sub-0{n}", scene(n), draws=3)
    found = find(tmp_path, {})
    assert list(found) == ["sub-01_T1w", "sub-02_T1w"]
    np.testing.assert_array_equal(found["sub-01_T1w"].load().data[0], scene(1))
    np.testing.assert_allclose(
        results(tmp_path, "upper", {})["sub-01_T1w"].load().data[0], scene(1) + 5, rtol=1e-6
    )
    draws = find_draws(tmp_path, {})["sub-02_T1w"]
    assert len(draws) == 3
    np.testing.assert_allclose(draws[2].load().data[0], scene(2) + 2, rtol=1e-6)
    assert draws[2].load().channels == ("T1w",)


def test_every_folder_with_a_dicom_series_is_a_case(tmp_path: Path) -> None:
    for n in (1, 2):
        series(tmp_path / f"p{n}" / "CT", scene(n) + 1000)
    found = find(tmp_path, {})
    assert list(found) == ["p1", "p2"]
    assert found["p1"].load().units == "HU"
    before = found["p1"].sha256()
    assert found["p2"].sha256() != before
    (tmp_path / "p1" / "CT" / "005.dcm").write_bytes(
        (tmp_path / "p1" / "CT" / "006.dcm").read_bytes()
    )
    assert found["p1"].sha256() != before
    assert names(tmp_path / "p2" / "CT") == ["CT"]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_stack_has_numbered_cases_and_one_array_a_file_needs_its_axes(
    tmp_path: Path, suffix: str
) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, 8, 6), np.uint8)
    file = tmp_path / f"stack{suffix}"
    np.save(file, stack) if suffix == ".npy" else np.savez(file, images=stack)
    found = find(file, {"axes": "case,y,x"})
    assert list(found) == ["0000", "0001", "0002"]
    np.testing.assert_array_equal(found["0002"].load().data[0, :, :, 0], stack[2].T)
    assert len({source.sha256() for source in found.values()}) == 3
    with pytest.raises(InputError, match="--axes"):
        find(file, {})["stack"].load()
    assert find(file, {"axes": "x,y,z"})["stack"].load().geometry.shape == (3, 8, 6)
    with pytest.raises(SettingError, match="Did you mean 'channel'"):
        find(file, {"axes": "case,chanel,x"})
    with pytest.raises(InputError, match="name each axis once"):
        find(file, {"axes": "case,x"})


def test_arrays_with_nan_raw_data_and_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "nan.npy", np.full((4, 4), np.nan))
    np.save(tmp_path / "raw.npy", np.ones((4, 4), np.complex64))
    np.save(tmp_path / "object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    found = find(tmp_path, {})
    with pytest.raises(FormatError, match="NaN"):
        found["nan"].load()
    with pytest.raises(InputError, match="Reconstruct"):
        found["raw"].load()
    with pytest.raises(FormatError):
        found["object"].load()


def test_a_fourth_axis_that_nothing_names_is_refused_and_named_it_is_channels(
    tmp_path: Path,
) -> None:
    file = foreign(tmp_path / "all.nii.gz", np.stack([scene(n) for n in range(2)], axis=-1))
    with pytest.raises(InputError, match=r"2 volumes .*--contrast T1w,T2w"):
        find(file, {})["all"].load()
    assert find(file, {"contrast": "T1w,T2w"})["all"].load().channels == ("T1w", "T2w")
    own = put(tmp_path / "own.nii.gz", np.stack([scene(1), scene(2)]), channels=("T1w", "FLAIR"))
    assert find(own, {})["own"].load().channels == ("T1w", "FLAIR")


def test_what_is_in_memory_is_found_as_arrays_tensors_lists_and_dictionaries() -> None:
    array = np.random.default_rng(0).random((2, 3, 8, 6, 4)).astype(np.float32)
    for given in (array, torch.from_numpy(array).requires_grad_()):
        found = find(given, {})
        assert list(found) == ["0000", "0001"]
        np.testing.assert_array_equal(found["0001"].load().data, array[1])
    assert find(array[:, 0, :, :, 0], {})["0000"].load().data.shape == (1, 8, 6, 1)
    assert (
        find(torch.ones(2, 1, 8, 6, dtype=torch.bfloat16), {})["0000"].load().data.dtype
        == np.float32
    )
    assert names([image(scene(0)), image(scene(1))]) == ["0000", "0001"]
    assert names({"a": image(scene(0))}) == ["a"]


@pytest.mark.parametrize(
    "given",
    [np.ones((8, 8)), np.ones((1, 1, 2, 3, 4, 5)), np.ones((0, 8, 8)), [], {"a": 1}, [np.ones(3)]],
)
def test_other_things_in_memory_are_refused(given: object) -> None:
    with pytest.raises(InputError):
        find(given, {})


def test_a_wrong_folder_is_refused_with_what_is_in_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find(tmp_path / "nowhere", {})
    with pytest.raises(InputError, match="is empty"):
        find(tmp_path, {})
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(b"x")
    (tmp_path / "scan.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"3 \.png, 1 \.h5 \(raw data: reconstruct first\)"):
        find(tmp_path, {})


def test_two_and_three_dimensional_images_side_by_side_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "slice.nii.gz", scene(1)[:, :, :1])
    put(tmp_path / "volume.nii.gz", scene(1))
    with pytest.raises(
        InputError,
        match=r"1 two-dimensional images \(slice\) and 1 three-dimensional ones \(volume\)",
    ):
        find(tmp_path, {})
    with pytest.raises(InputError, match="two-dimensional"):
        find([image(scene(0)), image(scene(0)[:, :, 0])], {})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    file = put(tmp_path / "a.nii.gz", scene(1))
    assert find(file, {})["a"].sha256() == hashlib.sha256(file.read_bytes()).hexdigest()


def test_draws_are_found_in_every_layout_with_the_same_numbers(tmp_path: Path) -> None:
    expected = np.stack([scene(n) for n in range(12)])[:, None]
    for n, one in enumerate(expected[:, 0]):
        put(tmp_path / "numbered" / f"sub-1_draw-{n}_T1w.nii.gz", one)
        put(tmp_path / "folders" / "sub-1_T1w" / f"draw{n}.nii.gz", one)
        put(tmp_path / "folders" / "sub-2_T1w" / f"draw{n}.nii.gz", one)
    foreign(tmp_path / "fourth" / "sub-1_T1w.nii.gz", np.moveaxis(expected[:, 0], 0, -1))
    for layout in ("numbered", "folders", "fourth"):
        draws = find_draws(tmp_path / layout, {})["sub-1_T1w"]
        assert len(draws) == 12
        np.testing.assert_array_equal(load_draws(draws), expected)
        np.testing.assert_array_equal(draws[10].load().data, expected[10])
    assert len({source.sha256() for source in draws}) == 12
    memory = find_draws(np.stack([expected, expected]), {})
    np.testing.assert_array_equal(load_draws(memory["0001"]), expected)


def test_draws_that_are_no_whole_number_of_images_are_refused(tmp_path: Path) -> None:
    foreign(tmp_path / "a.nii.gz", np.zeros((*SHAPE, 5), np.float32), AFFINE)
    with pytest.raises(InputError, match="5 volumes, no multiple of the 2 channels"):
        find_draws(tmp_path, {}, channels=2)


def test_a_folder_means_the_same_to_an_evaluation_as_to_a_task(tmp_path: Path) -> None:
    for name in (
        "sub-1/anat/sub-1_T1w",
        "sourcedata/sub-1/anat/sub-1_T1w",
        "derivatives/x/sub-1/anat/sub-1_desc-y_T1w",
    ):
        put(tmp_path / f"{name}.nii.gz", scene(len(name)))
    (tmp_path / "dataset_description.json").write_text("{}")
    put(tmp_path / "sub-2/anat/sub-2_T1W.nii.gz", scene(1))
    result(tmp_path / "made", "sub-1", scene(3), draws=2)
    visits = [
        visit
        for study in studies(tmp_path)
        for visit in study.visits.values()
        if isinstance(visit, Visit)
    ]
    taken = {tmp_path / entry.path for visit in visits for entry in visit.entries.values()}
    assert {source.path for source in find(tmp_path, {}).values()} == taken
    assert len(taken) == 2


def test_label_maps_beside_images_are_told_by_their_names_outside_of_bids_too(
    tmp_path: Path,
) -> None:
    put(tmp_path / "p1_t1.nii.gz", scene(1))
    put(tmp_path / "p1_t1_seg.nii.gz", scene(1) > 10, units="label")
    assert names(tmp_path) == ["p1_t1"]
    assert names(tmp_path, units="label") == ["p1_t1_seg"]
