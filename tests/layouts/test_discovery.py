"""Every layout is told from its names, read case by case with the right contrasts, and one file
more is one layout more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_sets import (
    MAKERS,
    SHAPE,
    brats,
    dicom_collection,
    ixi,
    mnms,
    picture,
    put,
    put_dicom,
    tomogram,
)

from veridical import registry
from veridical.errors import FormatError, InputError, SettingError
from veridical.io.sequence import contradiction, contrast_in, described
from veridical.layouts.base import Layout, Visit
from veridical.layouts.discovery import find, recognise, studies
from veridical.layouts.tables import rows_of
from veridical.layouts.tree import Listing, split_of
from veridical.types import Image, Measurement

FIRST = {
    "brats": ("BraTS20_Training_001", {"T1w", "T1c", "T2w", "FLAIR", "tumour"}),
    "brats 2023": ("BraTS-GLI-00000", {"T1w", "T1c", "T2w", "FLAIR", "tumour"}),
    "ixi": ("IXI002", {"T1w", "T2w", "PD"}),
    "openms": ("cross_sectional_patient07", {"T1w", "T1c", "T2w", "FLAIR", "lesion"}),
    "sarcoma": (
        "STS_002",
        {"CT", "T1w", "PET", "CT_tumour", "T1w_tumour", "PET_tumour", "CT.dicom"},
    ),
    "acdc": ("patient001", {"cine", "cine_ED", "cine_ES", "heart_ED", "heart_ES"}),
    "mnms": ("A0S9V9", {"cine", "heart"}),
    "mnms 2": (
        "001",
        {
            f"{what}_{axis}{phase}"
            for axis in ("SA", "LA")
            for what, phase in (
                ("cine", ""),
                ("cine", "_ED"),
                ("cine", "_ES"),
                ("heart", "_ED"),
                ("heart", "_ES"),
            )
        },
    ),
    "synthrad 2023": ("1BA001", {"MR", "CT", "body"}),
    "synthrad 2025": ("1ABA005", {"MR", "CT", "body"}),
    "oasis 1": ("OAS1_0001", {"T1w", "T1w.raw-1", "T1w.t88-masked", "tissue"}),
    "oasis 3": ("OAS30001", {"T1w", "FLAIR"}),
    "bids": ("sub-01", {"T1w", "FLAIR", "lesion_mask"}),
    "dicom": ("LIDC-IDRI-0001", {"CT"}),
    "fastmri": ("file_brain_AXFLAIR_200_6000000", {"kspace"}),
    "ismrmrd": ("scan1", {"kspace"}),
    "medmnist": ("breastmnist_train_000000", {"US"}),
    "lgg tcga": ("TCGA_CS_4941", {"T1w", "FLAIR", "T1c", "lesion"}),
    "koma": ("brain2D", {"tissue_axial"}),
    "arrays": ("case1_t1", {"T1w"}),
    "volumes": ("a", {"T1w", "T2w", "seg"}),
    "table": ("A", set()),
}
"""Made-up set -> its first patient, and what is in the first visit."""


@pytest.mark.parametrize("name", MAKERS)
def test_a_layout_is_recognised_and_gives_its_patients_with_the_right_names_and_units(
    name: str, tmp_path: Path
) -> None:
    layout, make, count = MAKERS[name]
    make(tmp_path / "set")
    found = find(tmp_path / "set")
    assert [one.layout.name for one in found] == [layout]
    assert found[0].match.reason
    everyone = list(studies(tmp_path / "set"))
    assert len({one.id for one in everyone}) == len(everyone) == count
    first, names = FIRST[name]
    assert everyone[0].id == first
    assert set(everyone[0].visits.get(0.0, {})) == names
    for visit in everyone[0].visits.values():
        for key, subject in visit.items():
            contrast = key.split(".")[0]
            assert isinstance(subject, Measurement if key == "kspace" else Image)
            if isinstance(subject, Image):
                label = key in found[0].layout.labels or key in ("seg", "lesion_mask")
                expected = (
                    "label"
                    if label
                    else {"CT": "HU", "CBCT": "HU", "PET": "SUV"}.get(contrast, "a.u.")
                )
                assert subject.units == expected, key
                assert {one.split(".")[0] for one in subject.channels} == {contrast}
                assert not label or subject.data.dtype.kind in "iu"


def test_every_layout_of_the_registry_has_a_made_up_set() -> None:
    of_its_own = {"openkbp"}  # one image holds all volumes: tests/io/test_openkbp.py
    made = {layout for layout, _, _ in MAKERS.values()} | of_its_own
    assert made == set(registry.entries("layout"))
    for name in registry.entries("layout"):
        cls = registry.get("layout", name)
        assert issubclass(cls, Layout)
        assert cls().name == name


def test_images_are_read_when_asked_for_and_not_before(tmp_path: Path) -> None:
    brats(tmp_path)
    broken = tmp_path / "BraTS20_Training_001" / "BraTS20_Training_001_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:60])
    first = next(studies(tmp_path))
    visit = first.visits[0.0]
    assert isinstance(visit, Visit)
    np.testing.assert_array_equal(
        visit["FLAIR"].data[0], picture(("BraTS20_Training_001", "flair"))
    )
    with pytest.raises(FormatError, match=r"truncated|damaged"):
        visit["T2w"]


def test_visits_are_days_where_days_are_known_and_their_order_elsewhere(tmp_path: Path) -> None:
    for name, patient, visits in (
        ("openms", "longitudinal_patient03", [0.0, 671.0]), ("oasis 3", "OAS30001", [0.0, 628.0]),
        ("brats 2023", "BraTS-GLI-00000", [0.0, 1.0]),
    ):  # fmt: skip
        MAKERS[name][1](tmp_path / name)
        found = {one.id: list(one.visits) for one in studies(tmp_path / name)}
        assert found[patient] == visits


def test_covariates_genes_and_reports_come_from_tables_and_empty_cells_from_nowhere(
    tmp_path: Path,
) -> None:
    MAKERS["bids"][1](tmp_path / "bids")
    assert [dict(one.covariates) for one in studies(tmp_path / "bids")] == [
        {"age": 30},
        {"age": 41},
        {},
    ]
    MAKERS["table"][1](tmp_path / "table")
    one, other = studies(tmp_path / "table")
    assert (one.covariates, one.genes, one.report) == ({"age": 51.3}, {"IDH1": 1}, "No change.")
    assert other.covariates == {}
    MAKERS["acdc"][1](tmp_path / "acdc")
    assert next(studies(tmp_path / "acdc")).covariates["Group"] == "DCM"


def test_a_contrast_that_was_not_measured_is_absent(tmp_path: Path) -> None:
    MAKERS["lgg tcga"][1](tmp_path)
    *_, last = studies(tmp_path)
    assert set(last.visits[0.0]) == {"FLAIR", "lesion"}


def test_a_series_of_slabs_is_given_slab_by_slab(tmp_path: Path) -> None:
    put_dicom(tmp_path / "head", tomogram(0, (7, 8, 6)), "A", z=[0, 4, 8, 12, 13, 20, 27])
    visit = next(studies(tmp_path)).visits[0.0]
    assert {name: image.geometry.shape[2] for name, image in visit.items()} == {"CT": 4, "CT.2": 3}
    assert [image.geometry.spacing[2] for image in visit.values()] == [4.0, 7.0]


def test_a_patient_in_dicom_is_called_by_his_folder_and_the_id_in_the_header_stays_there(
    tmp_path: Path,
) -> None:
    for folder, patient in (("p1/a", "DOE-JANE"), ("p1/b", "DOE-JANE"), ("p2/a", "ROE-RICHARD")):
        put_dicom(tmp_path / folder, tomogram(folder, (3, 8, 6)), patient)
    found = list(studies(tmp_path))
    assert {one.id: set(one.visits[0.0]) for one in found} == {"p1": {"CT", "CT.2"}, "p2": {"CT"}}


def test_studies_of_a_patient_are_visits_by_their_dates(tmp_path: Path) -> None:
    put_dicom(tmp_path / "p1/s1/x", tomogram(1, (3, 8, 6)), "p1", StudyDate="20200131")
    put_dicom(
        tmp_path / "p1/s2/x",
        picture(2, (3, 8, 6)),
        "p1",
        modality="MR",
        name="ax T2 FLAIR",
        StudyDate="20200302",
    )
    one = next(studies(tmp_path))
    assert {day: list(visit) for day, visit in one.visits.items()} == {0.0: ["CT"], 31.0: ["FLAIR"]}


def test_a_folder_of_several_sets_gives_each_and_no_patients_of_a_mixture(tmp_path: Path) -> None:
    brats(tmp_path / "one")
    ixi(tmp_path / "two")
    dicom_collection(tmp_path / "three")
    assert [(one.listing.root.name, one.layout.name) for one in find(tmp_path)] == [
        ("one", "brats"), ("three", "dicom-collection"), ("two", "ixi"),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"holds 3 data sets: one \(brats\)"):
        studies(tmp_path)


def test_some_foreign_files_do_not_change_the_layout_and_the_runner_up_is_named(
    tmp_path: Path,
) -> None:
    brats(tmp_path)
    put(tmp_path / "extra" / "thing.nii.gz", picture(0))
    found = find(tmp_path)
    assert [one.layout.name for one in found] == ["brats"]
    assert found[0].match.sure < 0.99
    assert found[0].runner_up is not None
    assert found[0].runner_up.layout == "volumes"


def test_a_named_layout_is_used_and_an_unknown_one_refused_with_the_nearest(tmp_path: Path) -> None:
    brats(tmp_path)
    assert len(list(studies(tmp_path, "volumes"))) == 3
    with pytest.raises(SettingError, match="'brats'"):
        studies(tmp_path, "bratz")


def test_nothing_known_and_nothing_there_are_refused_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        find(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find(tmp_path / "none")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"holds 1 \.png"):
        find(tmp_path)


def test_recognising_thousands_of_cases_opens_none_of_them(tmp_path: Path) -> None:
    names = (
        f"c{k // 5}/BraTS2021_{k // 5:05d}_{('t1', 't2', 'flair', 't1ce', 'seg')[k % 5]}.nii.gz"
        for k in range(20_000)
    )
    listing = Listing(tmp_path, dict.fromkeys(names, 1))
    assert recognise(listing)[0].layout == "brats"
    assert len(registry.get("layout", "brats")().entries(listing)) == 20_000


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("multicoil_train/file1.h5", "train"), ("singlecoil_val/file1.h5", "val"), ("multicoil_test_v2/f.h5", "test"),  # noqa: E501
        ("MICCAI_BraTS2020_ValidationData/x/y.nii", "val"), ("imagesTr/a.nii.gz", "train"), ("labelsTs/a.nii.gz", "test"),  # noqa: E501
        ("Testing/a/b.nii", "test"), ("trainer/valentin/contest/a.nii", ""), ("test.nii", ""),
    ],
)  # fmt: skip
def test_a_split_is_told_from_the_folders(path: str, split: str) -> None:
    assert split_of(path) == split


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("a_t1c", "T1c"),
        ("MRHR_T1_AX_POST_GAD_se2d1r_t1c", "T1c"),
        ("tir2d1_fla", "FLAIR"),
        ("case_PDw", "PD"),
        ("x", None),
    ],
)
def test_the_last_word_of_a_file_name_says_the_contrast(text: str, contrast: str | None) -> None:
    assert contrast_in(text) == contrast


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("AX T2 FLAIR", "FLAIR"),
        ("AX T1 POST", "T1c"),
        ("AX T1 FLAIR", None),
        ("t1_mprage_sag", "T1w"),
        ("localizer", None),
    ],
)
def test_a_description_that_may_mean_two_contrasts_means_none(
    text: str, contrast: str | None
) -> None:
    assert described(text) == contrast


@pytest.mark.parametrize(
    ("contrast", "header", "against"),
    [
        ("T1w", {"Modality": "CT"}, "modality CT"), ("CT", {"Modality": "MR"}, "modality MR"),
        ("T1w", {"SeriesDescription": "AX T2 FLAIR"}, "means FLAIR"), ("T1w", {"SeriesDescription": "AX T1 POST"}, ""),  # noqa: E501
        ("T1w", {"EchoTime": 0.12, "InversionTime": 2.5}, "120 ms"), ("T2w", {"EchoTime": 0.003}, "3 ms"),  # noqa: E501
        ("FLAIR", {"EchoTime": 0.12}, ""), ("MR", {"SeriesDescription": "AX T2"}, ""), ("T1w", {}, ""),  # noqa: E501
    ],
)  # fmt: skip
def test_modality_description_and_echo_time_can_contradict_a_name(
    contrast: str, header: dict[str, object], against: str
) -> None:
    found = contradiction(contrast, header)
    assert bool(found) == bool(against)
    assert against in found


@pytest.mark.parametrize(
    "text", ["a;b\n1;2\n", "a,b\n1,2\n", "a\tb\n1\t2\n", "\ufeffa,b\n1,2,3\n", "a,b\r\n1,2\r\n\r\n"]
)
def test_tables_are_read_whatever_their_marks(text: str) -> None:
    assert rows_of(text.encode(), "x.csv") == [{"a": "1", "b": "2"}]


def test_frames_over_time_are_channels(tmp_path: Path) -> None:
    mnms(tmp_path)
    image = next(studies(tmp_path)).visits[0.0]["cine"]
    assert isinstance(image, Image)
    assert image.channels == ("cine.0", "cine.1", "cine.2")
    assert image.geometry.shape == SHAPE


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "layout", "count"),
    [
        ("ct_head_ge", "dicom-collection", 1), ("dicom_rt_dicompyler", "dicom-collection", 1), ("ixi_t1_2mm", "ixi", 10),  # noqa: E501
        ("koma_labels", "koma", 3), ("kspace_brain_8ch", "arrays", 1), ("kspace_sigpy_tutorial", "arrays", 1),  # noqa: E501
        ("lgg_tcga", "lgg-tcga", 36), ("openms", "openms", 4), ("openms/longitudinal_raw", "openms", 2),  # noqa: E501
        ("sts_mr_ct_pet", "sarcoma", 8), ("tcga_fg_6692", "volumes", 1), ("text_tcga_glioma", "table", 839),  # noqa: E501
    ],
)  # fmt: skip
def test_real_sets_are_recognised_and_their_first_patient_is_read(
    folder: str, layout: str, count: int, real_data: Path
) -> None:
    found = find(real_data / folder)
    assert [one.layout.name for one in found] == [layout]
    everyone = list(studies(real_data / folder))
    assert len(everyone) == count
    for visit in list(everyone[0].visits.values())[:1]:
        for subject in visit.values():
            assert np.isfinite(subject.data).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 28, 28, 3), (3, 28, 28, 1)),
        ((2, 20, 24, 28), (1, 28, 24, 20)),
        ((2, 20, 24), (1, 24, 20, 1)),
    ],
)
def test_colours_volumes_and_pictures_of_medmnist_have_x_first(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    parts = {
        f"{split}_images": picture(split, shape).astype(np.uint8)
        for split in ("train", "val", "test")
    }
    labels = {f"{split}_labels": np.ones((2, 1), np.uint8) for split in ("train", "val", "test")}
    np.savez(tmp_path / "bloodmnist.npz", **parts, **labels)
    image = next(studies(tmp_path / "bloodmnist.npz")).visits[0.0]["photo"]
    assert image.data.shape == expected
    stored = {3: (0, 2, 3), 4: (0, 2, 3, 0) if shape[-1] == 3 else (0, 0, 2, 3)}[len(shape)]
    assert image.data[0, 3, 2, 0] == parts["train_images"][stored]


@pytest.mark.real
def test_real_details_slabs_of_a_head_days_between_visits_labels_and_splits(
    real_data: Path,
) -> None:
    head = next(studies(real_data / "ct_head_ge")).visits[0.0]
    assert {name: round(image.geometry.spacing[2], 1) for name, image in head.items()} == {
        "CT": 4.0,
        "CT.2": 7.0,
    }
    longitudinal = {one.id: sorted(one.visits) for one in studies(real_data / "openms")}
    assert longitudinal["longitudinal_patient01"] == [0.0, 203.0]
    case = next(studies(real_data / "ixi_t1_2mm"))
    assert case.covariates["Age"] == 38.78
    assert case.visits[0.0]["anatomy"].units == "label"  # type: ignore[union-attr]
    chest = next(studies(real_data / "pneumoniamnist_modified"))
    assert (list(chest.visits[0.0]), chest.covariates["split"]) == (["XR"], "train")
