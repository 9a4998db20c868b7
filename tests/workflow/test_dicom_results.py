"""A result goes back beside its source as DICOM: valid, consistent, idempotent, and with the same
numbers.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import veridical
from dicom_sources import disagreements, enhanced_source, errors, source_series
from fakes import Jitter
from veridical import provenance
from veridical.apps.cli import main
from veridical.errors import FormatError, GeometryError, InputError, PolicyError
from veridical.governance.ledger import Ledger
from veridical.io import files as io_files
from veridical.io.dicom_structures import structures
from veridical.task import silent
from veridical.terms import Terms
from veridical.types import Geometry, Image, Result, Step, Study
from veridical.workflow.dicom_results import write

pytest.importorskip("highdicom")
CHANNEL = {"CT": "CT", "MR": "T1w", "PT": "PET"}


def made(source: Path, seed: int = 1) -> Result:
    """A result with all companions, without the audits, which take longer than all else here."""
    image = io_files.read_image(source)
    result = Jitter().apply(Study.of(image), seed, silent)
    taken = {image.channels[0]: provenance.digest(image.data)}
    outputs = provenance.outputs(result)
    return result.with_step(
        Step("jitter", {"spread": 0.5}, taken, "none", "none", {}, seed, outputs)
    )


def one(file: Path) -> Dataset:
    return pydicom.dcmread(file)


def first_of_each(files: list[Path]) -> list[Path]:
    return list({file.parent: file for file in reversed(files)}.values())


def as_channel(result: Result, channel: str, units: str = "a.u.") -> Result:
    image = result.image
    return replace(
        result,
        image=Image(image.data, image.geometry, units, (channel,)),
        steps=(Step("translate", {}, {"T1w": "0" * 64}, "m", "w", {}, 4),),
    )


def labelled(source: Path) -> Result:
    """Two structures, one of them with a hole and in two pieces."""
    grid = veridical.read(source).geometry
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:8, 1:8, 1:3] = 2
    labels[3:5, 3:5, 1] = 0
    labels[9:11, 2, 2] = 2
    labels[2:4, 8, [0, 3]] = 1
    image = Image(labels[None], grid, "label", ("structures",), {"labels": {1: "skull", 2: "x y"}})
    return Result(image, "point estimate", steps=(Step("segment", {}, {}, "m", "w", {}, 0),))


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_all_objects_pass_the_validators_alone_and_together_with_their_source(
    tmp_path: Path, modality: str
) -> None:
    source = source_series(tmp_path / "in", modality)
    files = write(made(source), source, tmp_path / "out")
    assert {file.parent.name for file in files} == {
        f"{CHANNEL[modality]}-estimate",
        f"{CHANNEL[modality]}-interval",
        f"{CHANNEL[modality]}-evidence",
        "report",
    }
    assert errors(first_of_each(files)) == []
    assert disagreements([*sorted(source.iterdir()), *files]) == []


@pytest.mark.parametrize(
    ("modality", "half_step"), [("CT", 0.5), ("MR", 1100 / 65535 / 2), ("PT", 9.0 / 32767 / 2)]
)
def test_the_estimate_reads_back_to_half_a_step_of_the_stored_integers(
    tmp_path: Path, modality: str, half_step: float
) -> None:
    source = source_series(tmp_path / "in", modality)
    result = made(source)
    write(result, source, tmp_path / "out")
    read = veridical.read(tmp_path / "out" / f"{CHANNEL[modality]}-estimate")
    assert read.geometry.matches(result.image.geometry, 1e-3)
    assert read.geometry.frame == result.image.geometry.frame
    assert read.units == result.image.units
    assert np.abs(read.data - result.image.data).max() <= half_step * 1.01


def test_interval_width_and_evidence_read_back_to_the_same_floats(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    result = made(source)
    write(result, source, tmp_path / "out")
    band, parts = result.interval, result.evidence
    assert band is not None
    assert parts is not None
    wide = veridical.read(tmp_path / "out" / "T1w-interval" / "0001.dcm")
    np.testing.assert_allclose(wide.data, band.upper - band.lower, rtol=1e-6)
    assert (wide.units, wide.channels) == ("a.u.", ("width",))
    shares = veridical.read(tmp_path / "out" / "T1w-evidence" / "0001.dcm")
    np.testing.assert_array_equal(shares.data, parts.map)
    assert shares.units == "1"
    assert shares.geometry.matches(result.image.geometry, 1e-3)


def test_maps_of_one_slice_keep_its_thickness(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    for file in sorted(source.glob("*.dcm"))[1:]:
        file.unlink()
    result = made(source)
    write(result, source, tmp_path / "out")
    shares = veridical.read(tmp_path / "out" / "T1w-evidence" / "0001.dcm")
    assert shares.geometry.spacing == pytest.approx(result.image.geometry.spacing, abs=1e-4)
    assert shares.geometry.spacing[2] != pytest.approx(1.0), "which is what a library would say"


def test_maps_state_units_and_quantities_by_code(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    write(made(source), source, tmp_path / "out")
    group = one(tmp_path / "out" / "CT-interval" / "0001.dcm").SharedFunctionalGroupsSequence[0]
    mapping = group.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
    quantity = mapping.QuantityDefinitionSequence[0]
    assert quantity.ConceptCodeSequence[0].CodeValue == "VER-WIDTH"


def test_patient_study_and_frame_of_reference_are_those_of_the_source(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    files = write(made(source), source, tmp_path / "out")
    given = one(source / "000.dcm")
    for file in first_of_each(files):
        derived = one(file)
        for tag in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
            assert derived[tag].value == given[tag].value, (file, tag)
        assert derived.SeriesInstanceUID != given.SeriesInstanceUID
        if "FrameOfReferenceUID" in derived:
            assert derived.FrameOfReferenceUID == given.FrameOfReferenceUID


def test_the_derivation_names_model_weights_and_seed_and_the_source_slice(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    write(made(source, seed=7), source, tmp_path / "out")
    derived = one(tmp_path / "out" / "CT-estimate" / "0002.dcm")
    assert derived.ImageType[0] == "DERIVED"
    assert "jitter" in derived.DerivationDescription
    assert "weights none, seed 7" in derived.DerivationDescription
    assert derived.ContentQualification == "RESEARCH"
    uids = [item.ReferencedSOPInstanceUID for item in derived.SourceImageSequence]
    assert uids == [one(source / "001.dcm").SOPInstanceUID]


def test_processed_images_are_not_synthetic_and_name_processing_equipment(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    for file in first_of_each(write(made(source), source, tmp_path / "out")):
        derived = one(file)
        scanner, ours = derived.ContributingEquipmentSequence
        assert derived.SyntheticData == "NO"
        assert scanner.ManufacturerModelName == "Scanner 3000"
        assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"


def test_a_contrast_that_was_not_measured_is_synthetic_with_its_maps_and_report(
    tmp_path: Path,
) -> None:
    source = source_series(tmp_path / "in", "MR")
    files = write(as_channel(made(source), "FLAIR"), source, tmp_path / "out")
    assert errors(first_of_each(files)) == []
    for file in first_of_each(files):
        derived = one(file)
        ours = derived.ContributingEquipmentSequence[-1]
        assert derived.SyntheticData == "YES"
        assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert one(files[0]).get("EchoTime") is None, "the source's is not that of a made contrast"


def test_a_ct_made_from_mr_is_a_ct_in_the_study_of_the_mr(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    files = write(as_channel(made(source), "CT", "HU"), source, tmp_path / "out")
    assert errors(first_of_each(files)) == []
    assert disagreements([*sorted(source.iterdir()), *files]) == []
    derived = one(files[0])
    assert (derived.Modality, derived.RescaleType, derived.SyntheticData) == ("CT", "HU", "YES")


def test_what_is_made_from_a_synthetic_source_stays_synthetic(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT", SyntheticData="YES")
    files = write(made(source), source, tmp_path / "out")
    assert {one(file).SyntheticData for file in files} == {"YES"}


def test_the_same_result_gives_the_same_bytes_and_another_seed_other_uids(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    first = write(made(source), source, tmp_path / "a")
    again = write(made(source), source, tmp_path / "b")
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in again]
    other = write(made(source, seed=2), source, tmp_path / "c")
    uids = [{one(file).SOPInstanceUID for file in files} for files in (first, other)]
    assert not uids[0] & uids[1]
    assert all(uid.startswith("2.25.") for uid in uids[0] | uids[1])


def test_a_stored_result_gives_the_same_objects_as_the_one_in_memory(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    result = made(source)
    result.save(tmp_path / "stored", "sub-1")
    kept = write(result, source, tmp_path / "a")
    stored = write(tmp_path / "stored", source, tmp_path / "b")
    assert [f.read_bytes() for f in kept] == [f.read_bytes() for f in stored]


def test_writing_again_changes_nothing_and_another_result_needs_overwrite(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    files = write(made(source), source, tmp_path / "out")
    before = [file.stat().st_mtime_ns for file in files]
    assert write(made(source), source, tmp_path / "out") == files
    assert [file.stat().st_mtime_ns for file in files] == before
    with pytest.raises(InputError, match="already holds"):
        write(made(source, seed=2), source, tmp_path / "out")
    assert [file.stat().st_mtime_ns for file in files] == before
    write(made(source, seed=2), source, tmp_path / "out", overwrite=True)
    assert "seed 2" in one(files[0]).DerivationDescription


def test_the_report_holds_verdicts_numbers_and_reasons(tmp_path: Path) -> None:
    import highdicom

    source = source_series(tmp_path / "in", "MR")
    write(made(source), source, tmp_path / "out")
    report = highdicom.sr.srread(tmp_path / "out" / "report" / "0001.dcm")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    text = " ".join(str(item.value) for item in report.iterall() if item.keyword == "TextValue")
    groups = report.content.get_image_measurement_groups()
    said = {group.finding_type.meaning: group for group in groups if group.finding_type}
    verdict = said["consistency"].get_qualitative_evaluations()[0]
    assert verdict.value.meaning == "pass"
    numbers = {m.name.meaning: m.value for m in said["consistency"].get_measurements()}
    assert numbers == {"chi2": 1.0}, "NaN is no number"
    assert said["scope"].get_qualitative_evaluations()[0].value.meaning == "not run"
    assert "residual equals the noise" in text
    assert "memorization is absent: no training images" in text
    channel = next(g for g in groups if g.tracking_identifier == "channel T1w")
    values = {m.name.meaning: m.value for m in channel.get_measurements()}
    assert values["mean width of interval"] == pytest.approx(4.0, rel=1e-5)
    assert values["mean evidence"] == pytest.approx(0.5)


def test_label_maps_become_segments_and_structures_that_read_back_the_same(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    result = labelled(source)
    files = write(result, source, tmp_path / "out")
    assert errors(files) == []
    study = one(source / "000.dcm").StudyInstanceUID
    wrong = disagreements([*sorted(source.iterdir()), *files])
    # An RT Structure Set refers to its study (C.8.8.5); the validator looks for a file of that UID.
    assert [line for line in wrong if study not in line] == []
    read = veridical.read(tmp_path / "out" / "structures-segmentation" / "0001.dcm")
    np.testing.assert_array_equal(read.data, result.image.data)
    assert read.header["labels"] == {0: "background", 1: "skull", 2: "x y"}
    assert read.geometry.matches(result.image.geometry, 1e-3)
    drawn = structures(tmp_path / "out" / "structures-structures" / "0001.dcm")
    masks = drawn.on(veridical.read(source).geometry)
    np.testing.assert_array_equal(masks["skull"], result.image.data[0] == 1)
    np.testing.assert_array_equal(masks["x_y"], result.image.data[0] == 2)


def plan_beside(source: Path) -> None:
    """An RT Plan of the same study."""
    given = one(source / "000.dcm")
    plan = Dataset()
    plan.file_meta = given.file_meta
    for tag in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        plan[tag] = given[tag]
    plan.SOPClassUID = plan.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.5"
    plan.SOPInstanceUID = plan.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    plan.SeriesInstanceUID, plan.Modality = "2.25.78", "RTPLAN"
    pydicom.dcmwrite(source / "plan.dcm", plan, enforce_file_format=True)


def test_a_dose_becomes_rt_dose_beside_a_plan_and_a_map_without_one(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    grid = veridical.read(source).geometry
    gray = np.random.default_rng(0).uniform(0, 60, (1, *grid.shape)).astype(np.float32)
    result = Result(Image(gray, grid, "Gy", ("dose",)), "point estimate")
    without = write(result, source, tmp_path / "without")
    np.testing.assert_array_equal(veridical.read(without[0]).data, gray)
    plan_beside(source)
    files = write(result, source, tmp_path / "out")
    assert errors(files) == []
    assert one(files[0]).ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == "2.25.77"
    read = veridical.read(files[0])
    np.testing.assert_allclose(read.data, gray, rtol=1e-6)
    assert (read.units, read.channels) == ("Gy", ("dose",))
    assert read.geometry.matches(grid, 1e-3)


def test_fractions_beside_the_result_become_maps(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    result = labelled(source)
    sure = Image(np.full((1, *result.image.geometry.shape), 0.75, np.float32),
                 result.image.geometry, "1", ("confidence",))  # fmt: skip
    whole = replace(result, also={"confidence": Result(sure, "point estimate")})
    files = write(whole, source, tmp_path / "out")
    assert errors(first_of_each(files)) == []
    assert veridical.read(files[-1]).data.max() == 0.75
    assert one(files[-1]).SyntheticData == "NO"


def test_the_mark_is_visible_in_the_corner_and_nowhere_else(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT", size=(96, 80, 2))
    result = made(source)
    write(result, source, tmp_path / "out", mark=True)
    assert one(tmp_path / "out" / "CT-estimate" / "0001.dcm").BurnedInAnnotation == "YES"
    read = veridical.read(tmp_path / "out" / "CT-estimate")
    changed = np.abs(read.data - result.image.data)[0].max(-1) > 1
    across, down = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert across.max() < 64
    assert down.max() < 30
    corner = read.data[0, : across.max(), : down.max(), 0]
    assert corner.max() > 200
    assert corner.min() < -150


def test_a_policy_that_blocks_writes_nothing_and_the_ledger_says_so(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[[rule]]\nname = "no"\ncheck = "consistency"\nverdict = ["pass"]\nthen = "block"\n'
    )
    terms = Terms(policy, tmp_path / "ledger.db")
    with pytest.raises(PolicyError, match="rule 'no'"):
        write(made(source), source, tmp_path / "out", terms=terms)
    assert not (tmp_path / "out").exists()
    assert [line.kind for line in Ledger(tmp_path / "ledger.db").lines()] == ["blocked"]


def test_a_stored_result_is_judged_by_the_policy_of_today(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    made(source).save(tmp_path / "stored", "sub-1")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[[rule]]\nname = "no"\ncheck = "consistency"\nverdict = ["pass"]\nthen = "block"\n'
    )
    with pytest.raises(PolicyError, match="written before"):
        write(tmp_path / "stored", source, tmp_path / "out", terms=Terms(policy))
    assert not (tmp_path / "out").exists()


def test_the_ledger_notes_a_result_that_is_written_as_dicom_once(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    terms = Terms(ledger=tmp_path / "ledger.db")
    for _ in range(2):
        write(made(source), source, tmp_path / "out", terms=terms)
    lines = list(Ledger(tmp_path / "ledger.db").lines())
    assert [line.kind for line in lines] == ["result"]
    assert lines[0].says["part"] == "dicom"


def test_a_result_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    result = made(source)
    grid = Geometry(result.image.geometry.shape, result.image.geometry.affine, "1.2.3")
    away = replace(result, image=replace(result.image, geometry=grid))
    with pytest.raises(GeometryError, match=r"frame of reference 1\.2\.3"):
        write(away, source, tmp_path / "out")


def test_a_finer_grid_refers_to_the_source_slices_around_it(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    result = made(source)
    grid = result.image.geometry
    affine = grid.affine @ np.diag([0.5, 0.5, 0.5, 1])
    fine = Geometry((24, 20, 8), affine, grid.frame)
    data = np.repeat(np.repeat(np.repeat(result.image.data, 2, 1), 2, 2), 2, 3)
    whole = replace(
        result, image=Image(data, fine, "a.u.", ("T1w",)), interval=None, evidence=None, draws=None
    )
    files = write(whole, source, tmp_path / "out")
    assert errors(files[:1]) == []
    assert veridical.read(tmp_path / "out" / "T1w-estimate").geometry.matches(fine, 1e-3)


def test_the_right_series_of_several_is_found_by_its_planes(tmp_path: Path) -> None:
    ct = source_series(tmp_path / "in" / "ct", "CT", number=1)
    mr = source_series(tmp_path / "in" / "mr", "MR", size=(8, 6, 3), number=2)
    files = write(made(mr), [ct, mr], tmp_path / "out")
    assert one(files[0]).SeriesNumber == 201
    assert len(one(files[0]).SourceImageSequence) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    source = source_series(tmp_path / "in", "MR")
    result = made(source)
    data = np.array(result.image.data)
    data[0, 0, 0, 0] = bad
    with pytest.raises(FormatError, match="NaN or infinite"):
        write(replace(result, image=replace(result.image, data=data)), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_slices_made_from_an_enhanced_object_refer_to_its_frames(tmp_path: Path) -> None:
    source = enhanced_source(tmp_path / "in")
    result = made(source)
    files = write(result, source, tmp_path / "out")
    assert errors(first_of_each(files)) == []
    frames = [one(file).SourceImageSequence[0].ReferencedFrameNumber for file in files[:4]]
    assert frames == [1, 2, 3, 4]
    read = veridical.read(tmp_path / "out" / "T1w-estimate")
    assert read.geometry.matches(result.image.geometry, 1e-3)


def test_a_zip_is_a_source_too(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    shutil.make_archive(str(tmp_path / "ct"), "zip", source)
    result = made(source)
    from_folder = write(result, source, tmp_path / "a")
    from_zip = write(result, tmp_path / "ct.zip", tmp_path / "b")
    assert [f.read_bytes() for f in from_folder] == [f.read_bytes() for f in from_zip]


def test_a_source_without_dicom_is_refused(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="No DICOM image"):
        write(made(source), tmp_path / "empty", tmp_path / "out")


def test_the_commands_write_what_the_function_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_series(tmp_path / "in", "CT", size=(32, 32, 3))
    made(source).save(tmp_path / "stored", "sub-1")
    words = ["dicom", str(tmp_path / "stored"), str(tmp_path / "out"), "--source", str(source)]
    assert main(words) == 0
    assert "6 objects in 4 series" in capsys.readouterr().out
    expected = write(tmp_path / "stored", source, tmp_path / "direct")
    for file in expected:
        twin = tmp_path / "out" / file.relative_to(tmp_path / "direct")
        assert twin.read_bytes() == file.read_bytes()


def test_input_that_is_no_dicom_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_series(tmp_path / "in", "MR")
    veridical.write(io_files.read_image(source), tmp_path / "sub-1_T1w.nii.gz")
    words = ["enhance", str(tmp_path / "sub-1_T1w.nii.gz"), str(tmp_path / "out"), "--dicom"]
    assert main(words) == 2
    assert "not DICOM" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.real
@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_results_of_real_series_are_valid_and_read_back(
    real_data: Path, tmp_path: Path, modality: str
) -> None:
    source = real_data / "sts_mr_ct_pet" / "dicom" / "STS_002" / modality / "image"
    result = made(source)
    files = write(result, source, tmp_path / "out")
    assert errors(first_of_each(files)) == []
    assert disagreements([*sorted(source.iterdir()), *files]) == []
    channel = result.image.channels[0]
    read = veridical.read(tmp_path / "out" / f"{channel}-estimate")
    step = float(one(files[0]).RescaleSlope)
    assert read.geometry.matches(result.image.geometry, 1e-2)
    assert np.abs(read.data - result.image.data).max() <= step / 2 * 1.02
