"""The page beside every result."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fakes import Jitter
from veridical.errors import InputError
from veridical.io import bids
from veridical.physics.identity import Identity
from veridical.report.pictures import View
from veridical.report.result_page import beside, render
from veridical.types import Geometry, Image, Measurement, Noise, Result, Study

GRID = Geometry((16, 14, 1), np.diag([1.0, 1.0, 5.0, 1.0]))


def image(
    geometry: Geometry = GRID, channels: tuple[str, ...] = ("T1w",), units: str = "a.u."
) -> Image:
    data = (
        np.random.default_rng(0)
        .normal(100, 20, (len(channels), *geometry.shape))
        .astype(np.float32)
    )
    return Image(data, geometry, units, channels)


def text(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>", "", page)).split())


def pictures(page: str) -> list[str]:
    """What the pictures show, colour bars left out."""
    return [alt for alt in re.findall(r'alt="([^"]*)"', page) if not alt.startswith("colour scale")]


def test_input_estimate_interval_evidence_and_what_was_filled_in_stand_side_by_side() -> None:
    page = render(Jitter()(image()), "sub-1")
    shown = pictures(page)
    assert [name.split(",")[0].split(" of ")[0] for name in shown] == [
        "input",
        "estimate",
        "interval",
        "evidence",
        "filled in",
    ]
    said = text(page)
    assert "Jitter: sub-1" in said
    assert "Posterior mean of T1w (a.u.) from T1w; 16 x 14 x 1 voxels of 1 x 1 x 5 mm." in said
    assert "90%, calibrated on 20 patients; in the median voxel T1w ± 2 a.u." in said
    assert "half-width at 90%" in said
    for sentence in (
        "nothing: this is a test",
        "residual equals the noise",
        "no training images",
        "veridical rerun provenance.json",
    ):
        assert sentence in said


def test_the_page_loads_and_runs_nothing_and_the_same_result_gives_the_same_bytes() -> None:
    result = Jitter()(image())
    page = render(result, "sub-1")
    assert page == render(result, "sub-1")
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<iframe|https?://|\son\w+=", page)


def test_a_volume_is_shown_in_three_planes() -> None:
    page = render(Jitter()(image(Geometry((8, 9, 10), np.eye(4)))), "sub-1")
    assert len(pictures(page)) == 15
    for plane in ("axial", "coronal", "sagittal"):
        assert plane in page


def test_what_is_absent_says_why_in_its_place() -> None:
    why = {"interval": "the weights are not calibrated", "evidence": "one draw has no variance"}
    page = render(Result(image(), "point estimate", absent=why), "sub-1")
    assert page.count('class="absent"') == 2
    assert "There is no interval: the weights are not calibrated" in text(page)
    assert "No check was run on this image." in text(page)


def test_a_contrast_that_was_not_measured_is_called_made_with_its_units_and_its_sources_are_shown() -> (  # noqa: E501
    None
):
    made = Result(
        image(channels=("CT",), units="HU"),
        "posterior mean",
        study=Study.of(image(channels=("T1w", "T2w"))),
    )
    page = render(made, "sub-1")
    assert "CT, HU; made by the model, not measured" in text(page)
    assert [name.split(",")[0] for name in pictures(page)] == ["estimate", "T1w", "T2w"]
    measured = Result(
        image(channels=("T1w",)), "posterior mean", study=Study.of(image(channels=("T1w", "T2w")))
    )
    assert "not measured" not in render(measured, "sub-1")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 3, 8, 9), np.complex64),
        ((1, 8, 9), np.float32),
        ((1, 2000, 30), np.float32),
        ((1, 40), np.float32),
    ],
)
def test_raw_data_are_shown_as_they_were_measured(shape: tuple[int, ...], kind: type) -> None:
    raw = Measurement(np.ones(shape, kind), Identity((16, 14)), Noise(), GRID, {"contrast": "T1w"})
    page = render(Result(image(), "point estimate", study=Study.of(raw)), "sub-1")
    assert "raw data of T1w" in pictures(page)
    assert ("log magnitude" in page) is (kind is np.complex64)
    assert f"identity, {' x '.join(map(str, shape))}" in text(page)


def test_the_input_on_another_grid_is_cut_where_the_estimate_is() -> None:
    fine = Geometry((10, 10, 40), np.diag([1.0, 1.0, 1.0, 1.0]))
    thick = Geometry(
        (10, 10, 10), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 4, 1.5], [0, 0, 0, 1]])
    )
    assert beside(View(fine, 21), thick).index == 5
    turned = Geometry(
        (10, 10, 10), np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [4, 0, 0, 1.5], [0, 0, 0, 1]])
    )
    assert (beside(View(fine, 21), turned).along, beside(View(fine, 21), turned).index) == (0, 5)
    unknown = Geometry.index((10, 10, 20))
    assert (beside(View(fine, 20), unknown).along, beside(View(fine, 20), unknown).index) == (2, 10)


def test_saving_writes_all_companions_and_the_page_and_says_where(tmp_path: Path) -> None:
    written = Jitter()(image()).save(tmp_path / "out", "sub-1")
    assert set(written) == {
        "estimate",
        "lower",
        "upper",
        "evidence",
        "measured",
        "unmeasured",
        "draws",
        "provenance",
        "description",
        "report",
    }
    assert all(path.is_file() for path in written.values())
    assert written["report"] == tmp_path / "out" / "report.html"
    record = bids.load_provenance(tmp_path / "out")
    assert "report" not in record.files
    assert bids.is_whole(tmp_path / "out", record)


def test_the_page_changes_with_the_result_that_replaces_another_and_not_without_being_asked(
    tmp_path: Path,
) -> None:
    Jitter()(image()).save(tmp_path / "out", "sub-1")
    before = (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(InputError, match="--overwrite"):
        Jitter()(image(), seed=1).save(tmp_path / "out", "sub-1")
    assert (tmp_path / "out" / "report.html").read_text() == before
    Jitter()(image(), seed=1).save(tmp_path / "out", "sub-1", overwrite=True)
    assert (tmp_path / "out" / "report.html").read_text() != before


def test_further_results_are_saved_in_folders_of_their_own_with_the_provenance_of_the_whole(
    tmp_path: Path,
) -> None:
    result = Jitter()(image())
    whole = dataclasses.replace(
        result, also={"day-90": dataclasses.replace(result, steps=(), study=None)}
    )
    written = whole.save(tmp_path / "out", "sub-1")
    assert written["day-90/report"] == tmp_path / "out" / "day-90" / "report.html"
    said = json.loads((tmp_path / "out" / "day-90" / "provenance.json").read_text())
    assert said["steps"][0]["task"] == "jitter"


def test_complex_and_not_finite_estimates_can_be_looked_at() -> None:
    data = image().data.astype(np.complex64) * np.exp(0.3j)
    assert "estimate" in "".join(
        pictures(render(Result(Image(data, GRID, "a.u.", ("T1w",)), "point estimate"), "sub-1"))
    )
    holed = image().data.copy()
    holed[0, 0, 0] = np.nan
    assert render(Result(Image(holed, GRID, "a.u.", ("T1w",)), "point estimate"), "sub-1")


def test_labels_are_shown_in_colours_over_what_they_were_made_from_with_their_names() -> None:
    grid = Geometry((12, 14, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    given = Image(np.ones((1, 12, 14, 10), np.float32), grid, "a.u.", ("T1w",))
    labels = np.zeros((1, 12, 14, 10), np.uint8)
    labels[0, 3:9, 4:9, 3:7], labels[0, 5:7, 6:8, 4:6] = 1, 2
    header = {"labels": {0: "background", 1: "cortex", 2: "thalamus"}}
    absent = dict.fromkeys(("draws", "interval", "evidence"), "Labels have none.")
    made = Result(
        Image(labels, grid, "label", ("structures",), header),
        "point estimate",
        absent=absent,
        study=Study.of(given),
    )
    page = render(made, "sub-01")
    assert page.count("cortex</li>") == page.count("thalamus</li>") == 3, "in each plane"
    assert "background</li>" not in page
    assert not re.search(r"<[^>]* style=", page), "which the page's own rule forbids"
