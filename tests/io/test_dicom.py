"""DICOM series: the volume lies where the slices say, and a series that is not one volume is
refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    RTStructureSetStorage,
    generate_uid,
)
from rawfiles import ct_slice, write_series

import veridical
from veridical.errors import (
    BudgetError,
    FormatError,
    GeometryError,
    InputError,
    UnitsError,
    VeridicalError,
)
from veridical.io.codestream import coded_size
from veridical.io.dicom import dicom, recognises

PLACES = [(-10.0, 20.0, 30.0 + 3 * k) for k in range(5)]


def test_a_series_is_sorted_rescaled_and_placed_in_ras(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES)
    read = dicom(tmp_path)
    np.testing.assert_array_equal(read.data[0], 2.0 * stored.transpose(2, 1, 0) - 1024)
    assert read.data.dtype == np.float32
    assert (read.units, read.channels, read.geometry.frame) == ("HU", ("CT",), "2.25.77")
    expected = [[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(read.geometry.affine, expected)


def test_the_header_names_no_person(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    header = dicom(tmp_path).header
    assert not {"DOE", "12345", "1970", "Nowhere"} & set("".join(map(str, header.values())).split())
    assert "DOE" not in str(header)
    assert (header["kvp"], header["kernel"], header["slice_thickness"], header["modality"]) == (
        120.0,
        "H30",
        3.0,
        "CT",
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tilted_gantry_is_resampled_onto_a_straight_grid_where_every_point_keeps_its_place(
    tmp_path: Path,
) -> None:
    """The scanned object is a linear function of space, which linear interpolation keeps."""
    tilt = np.radians(18.5)
    down = np.array([0, np.cos(tilt), -np.sin(tilt)])
    series = generate_uid()
    for k in range(12):
        place = np.array([-10.0, 20.0, 30.0 + 3 * k])
        grid = (
            place
            + np.arange(40)[:, None, None] * 0.5 * down
            + np.arange(30)[:, None] * [0.75, 0, 0]
        )
        stored = np.rint(100 * (grid @ [0.2, 0.5, 1.0])).astype(np.int16)
        one = ct_slice(
            series, k, stored, tuple(place), ImageOrientationPatient=[1, 0, 0, *down],
            RescaleSlope=0.01, RescaleIntercept=0,
        )  # fmt: skip
        pydicom.dcmwrite(tmp_path / f"{k:02}.dcm", one, enforce_file_format=True)
    read = dicom(tmp_path)
    axes = read.geometry.affine[:3, :3] / read.geometry.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert read.header["gantry_tilt"] == pytest.approx(18.5, abs=0.01)
    assert "18.5 degrees; the slices were resampled" in " ".join(read.header["notes"])
    index = np.stack(np.meshgrid(*map(np.arange, read.geometry.shape), indexing="ij"), -1)
    places = index @ read.geometry.affine[:3, :3].T + read.geometry.affine[:3, 3]
    expected = places @ [-0.2, -0.5, 1.0]
    inside = read.data[0] > -50
    wrong = np.abs(read.data[0] - expected)[inside]
    assert inside.mean() > 0.6
    assert np.mean(wrong < 0.02) > 0.95, "all but the borders, where air is mixed in"


def test_each_slice_has_its_own_slope_as_in_pet(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES, Modality="PT", Units="BQML", RescaleIntercept=0)
    for file in tmp_path.iterdir():
        one = pydicom.dcmread(file)
        one.RescaleSlope = float(one.ImagePositionPatient[2])
        one.save_as(file)
    read = dicom(tmp_path)
    slopes = np.array([place[2] for place in PLACES], np.float32)
    np.testing.assert_allclose(read.data[0], stored.transpose(2, 1, 0) * slopes, rtol=1e-6)
    assert (read.units, read.channels) == ("Bq/mL", ("PET",))


def test_given_contrast_and_units_count(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES, Modality="MR", MagneticFieldStrength=3)
    assert dicom(tmp_path).units == "a.u."
    read = dicom(tmp_path, contrast="FLAIR", units="ms")
    assert (read.channels, read.units, read.header["field"]) == (("FLAIR",), "ms", 3.0)


def test_one_slice_takes_its_thickness(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES[:1])
    assert dicom(tmp_path / "000.dcm").geometry.spacing == (0.75, 0.5, 3)


def test_a_gap_is_refused_with_the_place_it_is_at(tmp_path: Path) -> None:
    write_series(tmp_path, [*PLACES[:2], *PLACES[3:]])
    runs = "slices 1-2 every 3.00 mm, slices 2-3 every 6.00 mm, slices 3-4 every 3.00 mm"
    with pytest.raises(
        GeometryError,
        match=rf"{runs}.*Slices are missing: 1 between .* \(numbers 2 and 3; at -10 20 36 mm\)",
    ):
        dicom(tmp_path)


def test_a_gap_is_interpolated_where_that_is_allowed_and_says_so(tmp_path: Path) -> None:
    stored = write_series(tmp_path, [*PLACES[:2], *PLACES[3:]])
    read = dicom(tmp_path, allow_gaps=True)
    values = 2.0 * stored.transpose(2, 1, 0) - 1024
    assert read.geometry.shape == (7, 5, 5)
    np.testing.assert_allclose(read.geometry.affine[:3, 2], (0, 0, 3))
    np.testing.assert_allclose(read.data[0][..., [0, 1, 3, 4]], values, atol=1e-3)
    np.testing.assert_allclose(read.data[0][..., 2], values[..., 1:3].mean(-1), atol=1e-3)
    said = " ".join(read.header["notes"])
    assert "1 of 5 slices lie between measured ones" in said
    assert "assumes" in said


def test_an_even_series_is_the_same_with_and_without_gaps_allowed(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    np.testing.assert_array_equal(dicom(tmp_path, allow_gaps=True).data, dicom(tmp_path).data)


def test_a_slab_of_an_uneven_series_can_be_read(tmp_path: Path) -> None:
    stored = write_series(tmp_path, [*PLACES[:3], (-10, 20, 43), (-10, 20, 50)])
    np.testing.assert_array_equal(
        dicom(tmp_path, slices=(1, 3)).data[0], 2.0 * stored[:3].transpose(2, 1, 0) - 1024
    )
    assert dicom(tmp_path, slices=(4, 5)).geometry.affine[2, 3] == 43
    with pytest.raises(InputError, match="has slices 1 to 5"):
        dicom(tmp_path, slices=(4, 9))


def test_a_copy_of_a_slice_is_left_out_and_named(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES)
    copy = pydicom.dcmread(tmp_path / "000.dcm")
    copy.SOPInstanceUID = generate_uid()
    copy.save_as(tmp_path / "copy.dcm")
    read = dicom(tmp_path)
    np.testing.assert_array_equal(read.data[0], 2.0 * stored.transpose(2, 1, 0) - 1024)
    assert "1 copies of slices were left out: copy.dcm" in " ".join(read.header["notes"])


def test_a_place_with_two_values_is_refused_with_what_differs(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    copy = pydicom.dcmread(tmp_path / "000.dcm")
    copy.RescaleSlope = 3
    copy.save_as(tmp_path / "copy.dcm")
    with pytest.raises(
        GeometryError,
        match=r"1 slices lie at the place of another.*000.dcm, copy.dcm.*their values differ",
    ):
        dicom(tmp_path)
    copy.EchoTime = 90
    copy.save_as(tmp_path / "copy.dcm")
    with pytest.raises(
        InputError, match=r"differ in echo time: 1: 1 x echo time 90.*; 2: 5 x echo time none"
    ):
        dicom(tmp_path)


def change(folder: Path, edit: Callable[[Any], None], every: bool = False) -> None:
    for file in sorted(folder.iterdir())[: None if every else 1]:
        one = pydicom.dcmread(file)
        edit(one)
        one.save_as(file)


@pytest.mark.parametrize(
    ("tags", "error", "message"),
    [
        ({"SeriesInstanceUID": "2.25.5"}, InputError, "holds 2 series.*CT series 3.*--stack 1"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, InputError, "differ in orientation"),
        ({"PixelSpacing": [0.5, 0.8]}, InputError, "differ in pixel spacing"),
        ({"FrameOfReferenceUID": "2.25.6"}, InputError, "differ in frame of reference"),
        ({"ImagePositionPatient": [0, 0]}, GeometryError, "ImagePositionPatient"),
        ({"PixelSpacing": None}, GeometryError, "PixelSpacing"),
        ({"Rows": 7, "Columns": 5}, InputError, "differ in size"),
        ({"Rows": 6}, InputError, "differ in size"),
        ({"NumberOfFrames": 2}, FormatError, "multi-frame"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, FormatError, "expected grey values"),
        (
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
            FormatError,
            "expected grey values",
        ),
        ({"PixelData": b"\0" * 8}, FormatError, "pixel data"),
        ({"RescaleSlope": "inf"}, FormatError, "RescaleSlope"),
        ({"RescaleSlope": "1e37", "RescaleIntercept": "1e38"}, FormatError, "NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_odd_slice_is_refused(
    tmp_path: Path, tags: dict[str, Any], error: type[Exception], message: str
) -> None:
    write_series(tmp_path, PLACES)
    change(tmp_path, lambda one: [setattr(one, key, value) for key, value in tags.items()])  # type: ignore[func-returns-value]
    with pytest.raises(error, match=message):
        dicom(tmp_path)


def test_a_rotated_row_and_column_must_be_perpendicular(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES, ImageOrientationPatient=[1, 0, 0, 0.5, 0.8, 0])
    with pytest.raises(GeometryError, match="perpendicular"):
        dicom(tmp_path)


def test_other_objects_are_left_out_and_counted(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    (tmp_path / "README.txt").write_text("notes")
    other = ct_slice(generate_uid(), 1, np.zeros((2, 2), np.int16), (0, 0, 0), Modality="RTSTRUCT")
    other.file_meta.MediaStorageSOPClassUID = other.SOPClassUID = RTStructureSetStorage
    for tag in ("PixelData", "Rows", "Columns"):
        delattr(other, tag)
    pydicom.dcmwrite(tmp_path / "rs.dcm", other, enforce_file_format=True)
    assert dicom(tmp_path).header["left_out"] == {"RTSTRUCT": 1}


def test_compressed_slices_are_decoded_or_refused_by_name(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES)
    change(tmp_path, lambda one: one.compress(RLELossless), every=True)
    np.testing.assert_array_equal(dicom(tmp_path).data[0], 2.0 * stored.transpose(2, 1, 0) - 1024)

    def relabel(one: Any) -> None:
        one.file_meta.TransferSyntaxUID = MPEG2MPML

    change(tmp_path, relabel)
    with pytest.raises(FormatError, match=r"compressed \(MPEG2"):
        dicom(tmp_path)


def j2k(stored: np.ndarray) -> bytes:
    """A JPEG 2000 codestream."""
    from PIL import Image as Picture

    sink = io.BytesIO()
    Picture.fromarray(stored.astype(np.uint16)).save(
        sink, "JPEG2000", no_jp2=True, irreversible=False
    )
    return sink.getvalue()


def test_a_codestream_that_claims_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path,
) -> None:
    stored = np.arange(64 * 48).reshape(64, 48)
    stream = bytearray(j2k(stored))
    for claim, message in ((48, None), (1 << 30, "claims")):
        stream[8:12] = claim.to_bytes(4, "big")
        one = ct_slice(
            "2.25.9",
            1,
            stored,
            (0, 0, 0),
            PixelRepresentation=0,
            PixelData=encapsulate([bytes(stream)]),
        )
        one.file_meta.TransferSyntaxUID = JPEG2000Lossless
        one["PixelData"].VR = "OB"
        pydicom.dcmwrite(tmp_path / "a.dcm", one, enforce_file_format=True)
        if message is None:
            np.testing.assert_array_equal(
                dicom(tmp_path / "a.dcm").data[0, :, :, 0], 2.0 * stored.T - 1024
            )
        else:
            with pytest.raises(FormatError, match=message):
                dicom(tmp_path / "a.dcm")


def test_coded_sizes_of_jpeg_are_read_from_the_frame_header() -> None:
    from PIL import Image as Picture

    sink = io.BytesIO()
    Picture.fromarray(np.zeros((33, 20), np.uint8)).save(sink, "JPEG")
    assert coded_size(sink.getvalue()) == (33, 20, 1)
    assert coded_size(j2k(np.zeros((33, 20)))) == (33, 20, 1)
    assert coded_size(b"\xff\xd8\xff\xe0\x00") is None


def test_deflated_files_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    one = ct_slice(generate_uid(), 1, np.zeros((500, 500), np.int16), (0, 0, 0))
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "a.dcm", one, enforce_file_format=True)
    with pytest.raises(FormatError, match="deflated"):
        dicom(tmp_path / "a.dcm")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_slice_is_refused(tmp_path: Path, share: float) -> None:
    write_series(tmp_path, PLACES)
    whole = (tmp_path / "002.dcm").read_bytes()
    (tmp_path / "002.dcm").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(VeridicalError):
        dicom(tmp_path)


def test_a_file_of_nonsense_in_a_series_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    (tmp_path / "004.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"nonsense")
    with pytest.raises(FormatError, match="damaged"):
        dicom(tmp_path)


def test_what_is_not_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"words" * 100)
    with pytest.raises(FormatError):
        dicom(tmp_path / "a.dcm")
    with pytest.raises(FormatError, match="not DICOM"):
        dicom(tmp_path)
    (tmp_path / "empty").mkdir()
    assert not recognises(tmp_path / "empty")
    with pytest.raises(InputError, match="no DICOM image"):
        dicom(tmp_path / "empty")


def test_the_budget_is_checked_before_pixels_are_decoded(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    change(
        tmp_path, lambda one: [setattr(one, key, 60000) for key in ("Rows", "Columns")], every=True
    )  # type: ignore[func-returns-value]
    with pytest.raises(BudgetError, match="GiB"):
        dicom(tmp_path)
    with pytest.raises(BudgetError):
        dicom(tmp_path, budget=500)


@pytest.mark.real
def test_a_real_tilted_head_is_two_slabs_each_on_a_straight_grid(real_data: Path) -> None:
    with pytest.raises(
        GeometryError, match=r"slices 1-14 every 4.00 mm.*slices 15-28 every 7.00 mm"
    ):
        dicom(real_data / "ct_head_ge")
    lower = dicom(real_data / "ct_head_ge", slices=(1, 14))
    assert lower.header["gantry_tilt"] == pytest.approx(18.5, abs=0.01)
    assert lower.geometry.spacing == pytest.approx((0.488281, 0.488281, 4.0), abs=1e-2)
    whole = dicom(real_data / "ct_head_ge", allow_gaps=True)
    assert whole.geometry.spacing == pytest.approx((0.488281, 0.488281, 4.0), abs=1e-2)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "converted", "units"),
    [("CT", "CT", "HU"), ("PET", "PET", "SUV"), ("MR_T1", "MR", "a.u.")],
)
def test_a_real_series_matches_its_nifti_conversion(
    real_data: Path, name: str, converted: str, units: str
) -> None:
    from veridical.io.nifti import nifti

    ours = dicom(real_data / "sts_mr_ct_pet" / "dicom" / "STS_002" / name / "image")
    other = nifti(
        next((real_data / "sts_mr_ct_pet" / "nifti" / "STS_002").glob(f"{converted}*image.nii.gz"))
    )
    assert ours.units == units
    assert ours.geometry.matches(other.geometry, 0.01)
    np.testing.assert_allclose(ours.data, other.data, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("tags", "contrast", "basis"),
    [
        ({"SeriesDescription": "t1_mprage_sag"}, "T1w", "SeriesDescription"),
        ({"SeriesDescription": "AX T2 FLAIR", "ProtocolName": "brain"}, "FLAIR", "SeriesDescription"),  # noqa: E501
        ({"SeriesDescription": "localiser", "ProtocolName": "PD_TSE"}, "PD", "ProtocolName"),
        ({"SeriesDescription": "T1 AX", "ContrastBolusAgent": "GADOVIST"}, "T1c", "ContrastBolusAgent"),  # noqa: E501
        ({"ScanningSequence": "SE", "EchoTime": 100, "RepetitionTime": 5000}, "T2w", "its times"),
        ({"ScanningSequence": "SE", "EchoTime": 110, "RepetitionTime": 9000, "InversionTime": 2500}, "FLAIR", "its times"),  # noqa: E501
        ({"ScanningSequence": ["GR", "IR"], "EchoTime": 3, "RepetitionTime": 2000, "InversionTime": 900}, "T1w", "its times"),  # noqa: E501
        ({"ScanningSequence": "GR", "EchoTime": 5, "RepetitionTime": 30}, "unknown", "--contrast T1w"),  # noqa: E501
        ({"ScanningSequence": ["EP", "SE"], "EchoTime": 90, "RepetitionTime": 8000}, "unknown", "--contrast"),  # noqa: E501
    ],
)  # fmt: skip
def test_the_header_tells_the_contrast_of_mr_where_it_leaves_no_doubt(
    tmp_path: Path, tags: dict[str, Any], contrast: str, basis: str
) -> None:
    write_series(tmp_path, PLACES, **{"Modality": "MR", **tags})
    read = dicom(tmp_path)
    assert read.channels == (contrast,)
    assert basis in " ".join(read.header["notes"])


def test_a_contrast_against_the_modality_is_refused_and_one_against_the_times_is_noted(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "ct", PLACES)
    with pytest.raises(UnitsError, match="the modality CT; --contrast T1w contradicts it"):
        dicom(tmp_path / "ct", contrast="T1w")
    write_series(tmp_path / "mr", PLACES, Modality="MR", EchoTime=110)
    assert "an echo time of 110 ms" in " ".join(
        dicom(tmp_path / "mr", contrast="T1w").header["notes"]
    )


def test_strays_and_dangling_links_do_not_matter_and_links_are_named(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES)
    (tmp_path / "Thumbs.db").write_bytes(b"\0" * 600)
    (tmp_path / "._000.dcm").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("scan 3")
    (tmp_path / "001.dcm").rename(tmp_path / "001.DCM")
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "annex" / "gone.dcm")
    read = dicom(tmp_path)
    np.testing.assert_array_equal(read.data[0], 2.0 * stored.transpose(2, 1, 0) - 1024)
    assert "1 symbolic links to files that are not there were left out: gone.dcm" in " ".join(
        read.header["notes"]
    )


def test_a_localizer_of_the_same_series_is_told_apart_by_its_orientation(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES)
    series = pydicom.dcmread(tmp_path / "000.dcm").SeriesInstanceUID
    scout = ct_slice(
        series,
        99,
        np.zeros((5, 7), np.int16),
        (0, 0, 0),
        ImageOrientationPatient=[0, 1, 0, 0, 0, 1],
    )
    pydicom.dcmwrite(tmp_path / "scout.dcm", scout, enforce_file_format=True)
    with pytest.raises(InputError, match=r"1: 5 x orientation 1.00 .*; 2: 1 x orientation 0.00"):
        dicom(tmp_path)
    np.testing.assert_array_equal(
        dicom(tmp_path, stack=1).data[0], 2.0 * stored.transpose(2, 1, 0) - 1024
    )


def test_directions_that_differ_by_rounding_are_one_volume(tmp_path: Path) -> None:
    stored = write_series(tmp_path, PLACES, ImageOrientationPatient=[1, 0.005, 0, -0.005, 1, 0])
    change(
        tmp_path,
        lambda one: setattr(one, "ImageOrientationPatient", [1, 0.0049999, 0, -0.0049999, 1, 0]),
    )
    assert dicom(tmp_path).data.shape == (1, *stored.transpose(2, 1, 0).shape)


def test_a_zip_of_a_series_reads_as_the_series_whatever_its_names_are(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", PLACES)
    with zipfile.ZipFile(tmp_path / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(sorted((tmp_path / "ct").iterdir())):
            archive.write(file, f"../../{number}/IMG")
        archive.writestr("notes.txt", "scan 3")
    assert recognises(tmp_path / "ct.zip")
    read = veridical.read(tmp_path / "ct.zip")
    np.testing.assert_array_equal(read.data, dicom(tmp_path / "ct").data)
    assert not (tmp_path.parent / "0").exists()


def test_a_zip_that_unpacks_to_more_than_the_budget_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", b"\0" * 128 + b"DICM" + b"\0" * 20_000_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 50_000
    with pytest.raises(BudgetError, match="budget"):
        dicom(tmp_path / "bomb.zip", budget=10_000_000)


def test_a_zip_without_dicom_is_no_series(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "words")
    assert not recognises(tmp_path / "a.zip")


def test_a_series_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, PLACES)
    with pytest.raises(InputError, match=r"holds no series 2\.25\.1"):
        dicom(tmp_path, series="2.25.1")
