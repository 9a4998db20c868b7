"""Pairs of `.hdr` and `.img`: numbers as nibabel reads them, only the spacing believed where only
that is stated.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

import veridical
from veridical.errors import BudgetError, FormatError, InputError
from veridical.io.analyze import analyze, grid_of, recognises

SPACING = np.diag([1.0, 2.0, 3.0, 1.0])


def pair(path: Path, data: np.ndarray, nifti: bool = False, affine: np.ndarray = SPACING) -> Path:
    kind = nibabel.Nifti1Pair if nifti else nibabel.Spm99AnalyzeImage
    kind(data, affine).to_filename(path)
    for mat in path.parent.glob("*.mat"):
        mat.unlink()
    return path


def numbers(kind: str = "int16", shape: tuple[int, ...] = (5, 4, 3)) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 100).astype(kind)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("ending", [".hdr", ".img"])
def test_the_numbers_are_those_of_nibabel_from_either_name(
    tmp_path: Path, kind: str, ending: str
) -> None:
    pair(tmp_path / "x.img", numbers(kind))
    image = veridical.read(tmp_path / f"x{ending}")
    np.testing.assert_allclose(image.data[0], numbers(kind))
    assert image.data.dtype == (np.float64 if kind in ("int32", "float64") else np.float32)


def test_analyze_states_the_spacing_and_no_place(tmp_path: Path) -> None:
    image = analyze(pair(tmp_path / "x.img", numbers()))
    assert image.geometry.frame == "local"
    np.testing.assert_array_equal(image.geometry.affine, SPACING)
    assert "left and right not stated" in str(image.header["affine_source"])


def test_a_nifti_pair_keeps_its_affine(tmp_path: Path) -> None:
    affine = np.array([[0, -2.0, 0, 7], [1.0, 0, 0, 8], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    image = analyze(pair(tmp_path / "x.img", numbers(), True, affine))
    np.testing.assert_allclose(image.geometry.affine, affine)


def test_a_slope_is_applied_and_labels_stay_whole(tmp_path: Path) -> None:
    path = pair(tmp_path / "x.img", numbers("float32"), nifti=True)
    stored = nibabel.Nifti1Pair(numbers("float32"), SPACING)
    stored.set_data_dtype(np.int16)
    stored.to_filename(path)
    np.testing.assert_allclose(
        analyze(path).data[0], np.asanyarray(nibabel.load(path).dataobj), rtol=1e-5
    )
    labels = analyze(pair(tmp_path / "y.img", numbers("uint8")), units="label")
    assert (labels.data.dtype, labels.units) == (np.uint8, "label")


def test_a_fourth_axis_becomes_channels(tmp_path: Path) -> None:
    image = analyze(pair(tmp_path / "x.img", numbers(shape=(5, 4, 3, 2))), contrast="T1w,T2w")
    assert (image.channels, image.data.shape) == (("T1w", "T2w"), (2, 5, 4, 3))


def test_large_endian_files_are_read(tmp_path: Path) -> None:
    header = nibabel.Spm99AnalyzeHeader(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.Spm99AnalyzeImage(numbers(), SPACING, header).to_filename(tmp_path / "x.img")
    assert recognises(tmp_path / "x.hdr")
    np.testing.assert_array_equal(analyze(tmp_path / "x.img").data[0], numbers())


@pytest.mark.parametrize("change", [-1, 1])
def test_voxels_of_another_size_than_promised_are_refused(tmp_path: Path, change: int) -> None:
    path = pair(tmp_path / "x.img", numbers())
    content = path.read_bytes()
    path.write_bytes(content[:-1] if change < 0 else content + b"\0")
    for reader in (analyze, grid_of):
        with pytest.raises(FormatError, match="promises 120"):
            reader(path)


def test_half_a_pair_a_cut_header_and_colours_are_refused(tmp_path: Path) -> None:
    path = pair(tmp_path / "x.img", numbers())
    head = path.with_suffix(".hdr")
    content = head.read_bytes()
    head.write_bytes(content[:200])
    with pytest.raises(FormatError, match="wrong header"):
        analyze(path)
    head.write_bytes(content[:70] + (128).to_bytes(2, "little") + content[72:])
    with pytest.raises(FormatError):
        analyze(path)
    head.write_bytes(content)
    path.unlink()
    assert not recognises(head)
    with pytest.raises(InputError, match="does not exist"):
        analyze(head)


def test_a_size_of_zero_is_not_stated_and_can_be_given(tmp_path: Path) -> None:
    path = pair(tmp_path / "x.img", numbers())
    content = path.with_suffix(".hdr").read_bytes()
    path.with_suffix(".hdr").write_bytes(content[:80] + bytes(4) + content[84:])
    assert analyze(path).geometry.frame == "index"
    assert veridical.read(path, spacing="2,1,3").geometry.spacing == (2.0, 1.0, 3.0)


def test_suffixes_in_capitals_are_read(tmp_path: Path) -> None:
    path = pair(tmp_path / "x.img", numbers())
    path.with_suffix(".hdr").rename(tmp_path / "X.HDR")
    image = veridical.read(path.rename(tmp_path / "X.IMG"))
    np.testing.assert_array_equal(image.data[0], numbers())


def test_the_budget_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BudgetError):
        analyze(pair(tmp_path / "x.img", numbers()), budget=100)


def test_the_header_alone_gives_the_grid(tmp_path: Path) -> None:
    path = pair(tmp_path / "x.img", numbers(shape=(5, 4, 3, 2)))
    assert grid_of(path) == (analyze(path).geometry, 2)
