"""NIfTI: what is written is read back, nibabel agrees, and nothing malformed passes."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import veridical
from veridical.errors import BudgetError, FormatError, GeometryError, InputError
from veridical.io.nifti import nifti, recognises, write_nifti
from veridical.types import Geometry, Image

AFFINE = np.array([[-1.5, 0.25, 0, 90], [0.125, 1.5, 0, -120], [0, 0, 2, -72], [0, 0, 0, 1.0]])
QUICK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def image(
    shape: tuple[int, ...] = (1, 5, 4, 3),
    dtype: type = np.float32,
    seed: int = 0,
    **changed: object,
) -> Image:
    data = (np.random.default_rng(seed).normal(size=shape) * 100).astype(dtype)
    told = {"units": "a.u.", "channels": tuple(f"c{k}" for k in range(shape[0])), **changed}
    return Image(data, Geometry(shape[1:], AFFINE, "scanner"), **told)  # type: ignore[arg-type]


@QUICK
@given(shape=st.tuples(*[st.integers(1, 6)] * 4), seed=st.integers(0, 99), packed=st.booleans())
def test_a_round_trip_keeps_numbers_affine_units_and_channels(
    tmp_path: Path, shape: tuple[int, ...], seed: int, packed: bool
) -> None:
    before = image(shape, seed=seed, units="HU")
    file = tmp_path / ("x.nii.gz" if packed else "x.nii")
    write_nifti(before, file)
    after = nifti(file)
    assert after.data.tobytes() == before.data.tobytes()
    assert after.data.dtype == np.float32
    np.testing.assert_array_equal(after.geometry.affine, before.geometry.affine)
    assert (after.geometry.frame, after.units, after.channels) == ("scanner", "HU", before.channels)


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    write_nifti(image(), tmp_path / "a.nii.gz")
    write_nifti(image(), tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_nibabel_reads_what_is_written(tmp_path: Path) -> None:
    before = image((2, 5, 4, 3))
    write_nifti(before, tmp_path / "x.nii.gz")
    other = nib.load(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(
        np.moveaxis(other.get_fdata(dtype=np.float32), -1, 0), before.data
    )
    np.testing.assert_allclose(other.affine, AFFINE)
    assert other.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, ">i2", ">f4"]
)
def test_slope_and_intercept_are_applied_as_nibabel_does(tmp_path: Path, dtype: object) -> None:
    stored = np.random.default_rng(1).integers(0, 100, (4, 3, 2)).astype(dtype)  # type: ignore[call-overload]
    header = nib.Nifti1Header(endianness=">" if np.dtype(dtype).byteorder == ">" else "<")  # type: ignore[call-overload]
    header.set_data_dtype(dtype)
    header.set_data_shape(stored.shape)
    header.set_sform(AFFINE, 1)
    header["scl_slope"], header["scl_inter"], header["vox_offset"], header["magic"] = (
        0.5,
        -3,
        352,
        b"n+1",
    )
    (tmp_path / "x.nii").write_bytes(header.binaryblock + b"\0" * 4 + stored.tobytes(order="F"))
    read = nifti(tmp_path / "x.nii")
    np.testing.assert_allclose(read.data[0], nib.load(tmp_path / "x.nii").get_fdata(), rtol=1e-6)
    assert read.data.dtype.kind == "f"
    assert read.data.dtype.isnative


def test_labels_stay_integers(tmp_path: Path) -> None:
    write_nifti(image(dtype=np.int16, units="label"), tmp_path / "x.nii.gz")
    assert nifti(tmp_path / "x.nii.gz").data.dtype == np.int16


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(bool, np.uint8), (np.float16, np.float32), (np.complex64, np.complex64)],
)
def test_types_that_nifti_lacks_are_widened(tmp_path: Path, dtype: type, expected: type) -> None:
    before = image(dtype=dtype, units="label" if dtype is bool else "a.u.")
    write_nifti(before, tmp_path / "x.nii.gz")
    after = nifti(tmp_path / "x.nii.gz")
    assert after.data.dtype == expected
    np.testing.assert_array_equal(after.data, before.data)


def test_a_volume_of_many_blocks_is_read_whole(tmp_path: Path) -> None:
    before = image((1, 90, 80, 70))
    write_nifti(before, tmp_path / "x.nii.gz")
    assert nifti(tmp_path / "x.nii.gz").data.tobytes() == before.data.tobytes()
    whole = (tmp_path / "x.nii.gz").read_bytes()
    (tmp_path / "x.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"truncated|damaged"):
        nifti(tmp_path / "x.nii.gz")


def test_a_fourth_axis_becomes_named_channels(tmp_path: Path) -> None:
    nib.save(
        nib.Nifti1Image(np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2), AFFINE),
        tmp_path / "x.nii.gz",
    )
    read = nifti(tmp_path / "x.nii.gz", contrast="T1w,FLAIR")
    assert read.channels == ("T1w", "FLAIR")
    np.testing.assert_array_equal(read["FLAIR"], np.arange(48).reshape(4, 3, 2, 2)[..., 1])
    with pytest.raises(InputError, match="holds 2 channels; 3 contrasts"):
        nifti(tmp_path / "x.nii.gz", contrast="T1w,T2w,FLAIR")


@pytest.mark.parametrize(
    ("name", "channel", "units", "source"),
    [
        ("sub-1_T1w.nii.gz", "T1w", "a.u.", "contrast T1w"),
        ("sub-1_ce-gadolinium_T1w.nii.gz", "T1c", "a.u.", "contrast T1c"),
        ("sub-1_PDw.nii", "PD", "a.u.", "contrast PD"),
        ("sub-1_CT.nii.gz", "CT", "HU", "contrast CT"),
        ("sub-1_pet.nii.gz", "PET", "a.u.", "not stated"),
        ("IXI012-HH-1211-T1_ds.nii.gz", "unknown", "a.u.", "not stated"),
    ],
)
def test_contrast_and_units_come_from_the_bids_suffix_and_say_so(
    tmp_path: Path, name: str, channel: str, units: str, source: str
) -> None:
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.float32), AFFINE), tmp_path / name)
    read = nifti(tmp_path / name)
    assert (read.channels, read.units, read.header["units_source"]) == ((channel,), units, source)
    assert nifti(tmp_path / name, units="ms").units == "ms"


def test_units_of_length_other_than_mm_are_turned_into_mm(tmp_path: Path) -> None:
    picture = nib.Nifti1Image(np.ones((3, 3, 3), np.float32), np.diag([0.001, 0.001, 0.002, 1]))
    picture.header.set_xyzt_units("meter")
    nib.save(picture, tmp_path / "x.nii.gz")
    np.testing.assert_allclose(nifti(tmp_path / "x.nii.gz").geometry.spacing, (1, 1, 2), rtol=1e-6)


def test_without_sform_and_qform_the_position_is_said_to_be_unknown(tmp_path: Path) -> None:
    picture = nib.Nifti1Image(np.ones((3, 3, 3), np.float32), None)
    picture.header.set_zooms((1, 2, 3))
    nib.save(picture, tmp_path / "x.nii.gz")
    read = nifti(tmp_path / "x.nii.gz")
    assert read.geometry.frame == "local"
    assert read.geometry.spacing == (1, 2, 3)
    assert "not stated" in read.header["affine_source"]


@QUICK
@given(cut=st.integers(1, 600), packed=st.booleans())
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int, packed: bool) -> None:
    file = tmp_path / ("x.nii.gz" if packed else "x.nii")
    write_nifti(image(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: max(1, len(whole) - cut)])
    with pytest.raises(FormatError, match=r"truncated|damaged|NIfTI"):
        nifti(file)


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    write_nifti(image(), tmp_path / "x.nii.gz")
    whole = bytearray((tmp_path / "x.nii.gz").read_bytes())
    whole[-6] ^= 0xFF
    (tmp_path / "x.nii.gz").write_bytes(whole)
    with pytest.raises(FormatError, match="damaged"):
        nifti(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x1f\x8b", b"\x1f\x8b\x08 not gzip at all", bytes(2000)]
)
def test_what_is_not_nifti_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.nii.gz").write_bytes(content)
    with pytest.raises(FormatError):
        nifti(tmp_path / "x.nii.gz")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        nifti(tmp_path / "no.nii.gz")
    with pytest.raises(InputError, match="not a file"):
        nifti(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_both_ways(tmp_path: Path, value: float) -> None:
    data = np.ones((4, 4, 4), np.float32)
    data[1, 2, 3] = value
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "x.nii.gz")
    with pytest.raises(FormatError, match="1 values of 64"):
        nifti(tmp_path / "x.nii.gz")
    with pytest.raises(FormatError, match="1 values of 64"):
        write_nifti(
            Image(data[None], Geometry((4, 4, 4), AFFINE), "a.u.", ("T1w",)), tmp_path / "y.nii.gz"
        )
    assert [file.name for file in tmp_path.iterdir()] == ["x.nii.gz"]


def edited(tmp_path: Path, **fields: object) -> Path:
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), AFFINE), tmp_path / "x.nii")
    whole = (tmp_path / "x.nii").read_bytes()
    header = nib.Nifti1Header(whole[:348], check=False)
    for key, value in fields.items():
        header[key] = value
    (tmp_path / "x.nii").write_bytes(header.binaryblock + whole[348:])
    return tmp_path / "x.nii"


def test_a_header_that_promises_more_or_less_than_is_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match="truncated: the block of 320 voxels has 256 bytes, expected 1280"
    ):
        nifti(edited(tmp_path, dim=[3, 4, 4, 20, 1, 1, 1, 1]))
    with pytest.raises(FormatError, match="more data than the 32 voxels"):
        nifti(edited(tmp_path, dim=[3, 4, 4, 2, 1, 1, 1, 1]))


def test_impossible_shapes_types_and_offsets_are_refused(tmp_path: Path) -> None:
    for fields in (
        {"dim": [3, 4, 0, 4, 1, 1, 1, 1]},
        {"dim": [3, 4, -4, 4, 1, 1, 1, 1]},
        {"dim": [5, 2, 2, 2, 2, 4, 1, 1]},
        {"datatype": 128, "bitpix": 24},
        {"datatype": 77},
        {"vox_offset": 3e7},
        {"magic": b"ni1"},
    ):
        with pytest.raises(FormatError):
            nifti(edited(tmp_path, **fields))


def test_a_singular_affine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"x\.nii"):
        nifti(edited(tmp_path, srow_x=[0, 0, 0, 0]))


def test_the_budget_is_checked_before_allocation(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="--budget ") as caught:
        nifti(edited(tmp_path, dim=[4, 32000, 32000, 32000, 9, 1, 1, 1]))
    assert "GiB" in str(caught.value)
    with pytest.raises(BudgetError):
        nifti(edited(tmp_path), budget=400)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_promises(tmp_path: Path) -> None:
    import tracemalloc

    whole = edited(tmp_path).read_bytes()
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(whole + bytes(200_000_000), 1))
    tracemalloc.start()
    with pytest.raises(FormatError, match="more data"):
        nifti(tmp_path / "bomb.nii.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_gzip_files_of_several_members_are_read(tmp_path: Path) -> None:
    whole = edited(tmp_path).read_bytes()
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(whole[:400]) + gzip.compress(whole[400:]))
    assert nifti(tmp_path / "x.nii.gz").data.sum() == 64


@pytest.mark.parametrize(
    ("slope", "intercept", "expected", "note"),
    [
        (0, 0, (1, 0), None),
        (np.nan, np.nan, (1, 0), None),
        (0, 7, (1, 0), "the intercept 7 was not applied"),
        (np.nan, -2, (1, 0), "the intercept -2 was not applied"),
        (2, np.nan, (2, 0), "the intercept is nan; it was assumed to be 0"),
        (1, np.inf, (1, 0), "assumed to be 0"),
        (-3, 5, (-3, 5), None),
    ],
)
def test_scaling_that_is_not_a_number_or_zero_is_that_of_the_standard_and_said(
    tmp_path: Path, slope: float, intercept: float, expected: tuple[float, float], note: str | None
) -> None:
    read = nifti(edited(tmp_path, scl_slope=slope, scl_inter=intercept))
    np.testing.assert_array_equal(read.data, np.float32(expected[0] + expected[1]))
    assert (note is None) or note in " ".join(read.header["notes"])
    assert (note is not None) or "intercept" not in " ".join(read.header["notes"])


def test_colours_are_refused_by_name_and_complex_images_are_read(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colours, AFFINE), tmp_path / "rgb.nii")
    with pytest.raises(FormatError, match=r"colours \(RGB\)"):
        nifti(tmp_path / "rgb.nii")
    waves = (np.random.default_rng(0).normal(size=(2, 4, 4, 4, 2)) @ [1, 1j]).astype(np.complex64)
    nib.save(nib.Nifti1Image(waves[0], AFFINE), tmp_path / "c.nii")
    np.testing.assert_array_equal(nifti(tmp_path / "c.nii").data[0], waves[0])


def test_negative_and_z_scored_values_are_not_clipped(tmp_path: Path) -> None:
    scored = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(scored, AFFINE), tmp_path / "sub-1_T1w.nii.gz")
    np.testing.assert_array_equal(veridical.read(tmp_path / "sub-1_T1w.nii.gz").data[0], scored)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_along_any_axis_keeps_its_place(tmp_path: Path, axis: int) -> None:
    shape = [5, 4, 3]
    shape[axis] = 1
    data = np.random.default_rng(axis).normal(size=shape).astype(np.float32)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "x.nii.gz")
    read = nifti(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(read.data[0], data)
    np.testing.assert_allclose(read.geometry.affine, AFFINE)


def test_suffixes_in_capitals_are_read_and_written(tmp_path: Path) -> None:
    before = image(channels=("T1w",))
    write_nifti(before, tmp_path / "SUB-1_T1W.NII.GZ")
    assert (tmp_path / "SUB-1_T1W.NII.GZ").read_bytes()[:2] == b"\x1f\x8b"
    np.testing.assert_array_equal(nifti(tmp_path / "SUB-1_T1W.NII.GZ").data, before.data)
    nib.save(nib.Nifti1Image(before.data[0], AFFINE), tmp_path / "x_t1w.nii")
    (tmp_path / "x_t1w.nii").rename(tmp_path / "X_T1W.NII")
    assert nifti(tmp_path / "X_T1W.NII").channels == ("T1w",)


def test_a_dangling_link_is_named_with_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "x_T1w.nii.gz").symlink_to(tmp_path / "annex" / "content")
    for reader in (nifti, veridical.read):
        with pytest.raises(
            InputError, match=r"symbolic link to .*annex/content, which is not there"
        ):
            reader(tmp_path / "x_T1w.nii.gz")


def test_it_is_recognised_by_content_whatever_its_name(tmp_path: Path) -> None:
    write_nifti(image(), tmp_path / "x.nii.gz")
    (tmp_path / "scan").write_bytes((tmp_path / "x.nii.gz").read_bytes())
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"words"))
    assert recognises(tmp_path / "scan")
    assert not recognises(tmp_path / "text.gz")


def test_only_nifti_names_are_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected \.nii or \.nii\.gz"):
        write_nifti(image(), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_real_files_read_as_nibabel_reads_them(real_data: Path) -> None:
    files = [
        next(real_data.glob(pattern))
        for pattern in (
            "ixi_t1_2mm/nifti/*.nii*",
            "openms/*/patient01/*FLAIR.nii.gz",
            "sts*/nifti/STS_002/CT*",
        )
    ]
    for file in files:
        ours, other = nifti(file), nib.load(file)
        np.testing.assert_allclose(ours.data[0], other.get_fdata(dtype=np.float32), rtol=1e-6)
        np.testing.assert_allclose(ours.geometry.affine, other.affine, atol=1e-9)
