"""Laws of the segmenting task: labels, volumes and confidence of a known head, and what it says of
heads that are cut or not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import segmenters
from veridical import testing
from veridical.apps.cli import main
from veridical.errors import InputError, SettingError
from veridical.io.nifti import write_nifti
from veridical.models import head_segmenter
from veridical.models.head_segmenter import GROUPS
from veridical.tasks.segment import OUTSIDE, SURE, TISSUES, Segment
from veridical.types import Finding, Geometry, Image, Result, Study


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A known segmenter, on a coarse grid, since nothing here is fine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_segmenter, "SPACING", 4.0)
        yield segmenters.weights(tmp_path_factory.mktemp("segment"))


@pytest.fixture(scope="module")
def done(weights: str) -> Result:
    return Segment(weights=weights)(segmenters.head()[0])


def finding(result: Result, check: str) -> Finding:
    return next(one for one in result.findings if one.check == check)


def test_it_keeps_the_promises_of_a_task(weights: str) -> None:
    small = Study.of(segmenters.head((6.0, 6.0, 6.0), size=0.8)[0])
    for what in ("structures", "tissues", "brain"):
        testing.check_task(Segment, small, weights=weights, what=what)


def test_the_result_is_a_label_map_on_the_grid_of_the_image(done: Result) -> None:
    image, truth = segmenters.head()
    assert (done.image.units, done.image.channels) == ("label", ("structures",))
    assert done.image.geometry == image.geometry
    assert done.image.data.dtype == np.uint8
    assert (done.image.data[0] == truth).mean() > 0.85, "at 4 mm half of the voxels are at borders"
    assert dict(done.image.header["labels"]) == dict(enumerate(GROUPS))
    assert set(done.absent) == {"draws", "interval", "evidence"}


def test_volumes_are_those_of_the_labels_in_ml(done: Result) -> None:
    volumes = done.facts["volumes_ml"]
    counts = np.bincount(done.image.data.ravel(), minlength=len(GROUPS))
    assert volumes == {
        name: pytest.approx(0.064 * counts[place], abs=0.01)
        for place, name in enumerate(GROUPS)
        if place
    }
    said = finding(done, "volumes")
    assert said.verdict == "pass"
    assert f"White matter {volumes['white matter']:.1f} ml" in said.reason
    assert "caudate" not in said.reason, "what was not found is not listed"
    assert said.evidence["volumes_ml"] == volumes


def test_confidence_is_the_probability_of_the_label_and_lies_beside_it(done: Result) -> None:
    sure = done.also["confidence"].image
    assert (sure.units, sure.geometry) == ("1", done.image.geometry)
    assert 0.2 < sure.data.min() <= sure.data.max() <= 1 + 1e-5
    said = finding(done, "segmentation confidence")
    assert said.verdict == "pass"
    assert said.evidence["mean"] > SURE
    assert set(said.evidence["by_label"]) == {"white matter", "cortex", "fluid around the brain"}


def test_labels_that_are_hard_to_tell_apart_are_a_warning(weights: str) -> None:
    image, _ = segmenters.head()
    edge = np.where(image.data == 225, 300 * segmenters.EDGES[2], image.data)
    unsure = replace(image, data=edge.astype(np.float32))
    said = finding(Segment(weights=weights)(unsure), "segmentation confidence")
    assert said.verdict == "warn"
    assert said.evidence["mean"] < SURE


def test_tissues_and_the_brain_are_sums_of_structures(weights: str, done: Result) -> None:
    image, truth = segmenters.head()
    tissues = Segment(what="tissues", weights=weights)(image)
    names = list(TISSUES)
    assert tissues.image.channels == ("tissues",)
    wanted = np.zeros_like(truth)
    for place, members in enumerate(TISSUES.values()):
        wanted[np.isin(truth, [GROUPS.index(name) for name in members])] = place
    assert (tissues.image.data[0] == wanted).mean() > 0.85
    assert names[1:5] == ["white matter", "grey matter", "fluid", "lesion"]
    assert {name for members in TISSUES.values() for name in members} == set(GROUPS)
    brain = Segment(what="brain", weights=weights)(image)
    assert set(np.unique(brain.image.data)) == {0, 1}
    inside = ~np.isin(truth, [GROUPS.index(name) for name in OUTSIDE])
    both = 2 * (brain.image.data[0] & inside).sum() / (brain.image.data.sum() + inside.sum())
    assert both > 0.97
    for result in (tissues, brain):
        assert finding(result, "head") == finding(done, "head")


def test_the_brain_is_one_piece_without_holes(weights: str) -> None:
    image, truth = segmenters.head()
    data = np.array(image.data)
    middle = tuple(n // 2 for n in truth.shape)
    data[0, middle[0] - 2 : middle[0] + 2, middle[1], middle[2]] = 75.0
    data[0, 1:3, 1:3, 1:3] = 200.0
    brain = Segment(what="brain", weights=weights)(replace(image, data=data))
    assert brain.image.data[0][middle] == 1
    assert not brain.image.data[0, :4, :4, :4].any()
    assert brain.also["confidence"].image.data.min() >= 0


def test_a_brain_that_the_field_of_view_cuts_is_told_with_the_side(weights: str) -> None:
    whole = finding(Segment(weights=weights)(segmenters.head()[0]), "head")
    assert whole.verdict == "pass"
    assert sum(whole.evidence["cut_mm2"].values()) == 0
    for directions in ("RAS", "PIR"):
        image, _ = segmenters.head(cut=40.0, directions=directions)
        result = Segment(weights=weights)(image)
        said = finding(result, "head")
        assert said.verdict == "warn"
        assert "most of them at the top" in said.reason
        assert finding(result, "volumes").verdict == "not_run"


def test_an_image_without_a_head_fails(weights: str) -> None:
    grid = Geometry((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    noise = np.random.default_rng(0).uniform(0, 1, (1, 20, 20, 20)).astype(np.float32)
    result = Segment(weights=weights)(Image(noise, grid, "a.u.", ("T1w",)))
    assert finding(result, "head").verdict == "fail"
    assert "a head has more than 200 ml" in finding(result, "head").reason
    assert finding(result, "segmentation confidence").verdict == "not_run"
    assert finding(result, "volumes").verdict == "not_run"


def test_a_brain_of_another_size_than_an_adult_s_is_a_warning(weights: str) -> None:
    said = finding(Segment(weights=weights)(segmenters.head(size=0.75)[0]), "volumes")
    assert said.verdict == "warn"
    assert "is not an adult's (800 to 1800 ml)" in said.reason


def test_ct_in_hu_is_taken_and_other_modalities_and_units_are_refused(weights: str) -> None:
    task = Segment(weights=weights)
    ct, truth = segmenters.head(channel="CT")
    assert (task(ct).image.data[0] == truth).mean() > 0.85
    with pytest.raises(InputError, match=r"CT is in a\.u\.; expected HU"):
        task(replace(ct, units="a.u."))
    for units, name in (("SUV", "PET"), ("label", "labels")):
        with pytest.raises(InputError, match="expected MR or CT"):
            task(replace(ct, units=units, channels=(name,)))
    with pytest.raises(InputError, match="No channel 'T1w'"):
        Segment(channel="T1w", weights=weights)(ct)
    with pytest.raises(SettingError, match="what = 'skin'"):
        Segment(what="skin")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="wavelet is no LabelModel"):
        Segment(model="wavelet")(ct)


def test_all_images_of_a_visit_but_pet_are_used_unless_one_is_named() -> None:
    names = ("T1w", "FLAIR", "PET")
    assert Segment().of_visit(names)[1:] == (("T1w", "FLAIR"), ("structures",))
    assert Segment(channel="FLAIR", what="brain").of_visit(names)[1:] == (("FLAIR",), ("brain",))
    assert Segment(channel="T2w").of_visit(names)[1] == ()


def test_the_command_writes_labels_confidence_and_a_page_and_prints_the_volumes(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, truth = segmenters.head()
    write_nifti(image, tmp_path / "sub-01_T1w.nii.gz")
    given = ["segment", str(tmp_path / "sub-01_T1w.nii.gz"), str(tmp_path / "out")]
    assert main([*given, "--weights", weights, "--what", "tissues"]) == 0
    assert "White matter" in capsys.readouterr().out
    stored = nib.load(tmp_path / "out" / "sub-01_desc-estimate_dseg.nii.gz")
    assert stored.get_data_dtype() == np.uint8
    assert np.asarray(stored.dataobj).shape == truth.shape
    assert (tmp_path / "out" / "confidence" / "sub-01_desc-estimate_confidence.nii.gz").is_file()
    record = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    volumes = next(one for one in record["findings"] if one["check"] == "volumes")
    assert volumes["evidence"]["labels"]["1"] == "white matter"
    assert volumes["evidence"]["volumes_ml"]["white matter"] > 100
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "White matter" in page
    assert main(["rerun", str(tmp_path / "out" / "provenance.json")]) == 0
    assert "same bytes: estimate" in capsys.readouterr().out
