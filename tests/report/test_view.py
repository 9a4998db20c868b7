"""Looking at images, studies and results from Python."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Drawing

from fakes import Jitter
from veridical.physics.identity import Identity
from veridical.report.view import interval_line, rows, views
from veridical.types import Geometry, Image, Interval, Measurement, Noise, Result, Study


def head(
    shape: tuple[int, int, int] = (24, 20, 12), channels: tuple[str, ...] = ("T1w", "FLAIR")
) -> Image:
    """An ellipsoid with a bright front, on a grid of 2 x 2 x 4 mm."""
    x, y, z = np.meshgrid(
        *[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij"
    )
    inside = x**2 + y**2 + z**2 < 0.8
    data = np.stack([100.0 * inside * (1 + k + (y > 0.3)) for k in range(len(channels))]).astype(
        np.float32
    )
    return Image(data, Geometry(shape, np.diag([2.0, 2.0, 4.0, 1.0])), "a.u.", channels)


def test_a_volume_is_seen_in_three_planes_and_a_slice_in_its_own() -> None:
    assert [view.along for view in views(head().geometry)] == [2, 1, 0]
    for along in range(3):
        shape = tuple(1 if axis == along else 9 for axis in range(3))
        assert [view.along for view in views(Geometry(shape, np.eye(4)))] == [along]  # type: ignore[arg-type]
    assert len(views(Geometry((9, 1, 1), np.eye(4)))) == 1


def test_planes_go_through_the_middle_of_the_object_with_the_front_above_and_square_pixels() -> (
    None
):
    image = head()
    moved = Image(np.roll(image.data, 3, axis=1), image.geometry, "a.u.", image.channels)
    first, second = rows(moved)
    assert [view.index for view in first.views] == [6, 10, 14]
    axial, coronal, _ = first.planes
    assert axial.shape == (20, 24)
    assert axial[:6].max() > axial[-6:].max()
    assert first.views[1].size(coronal.shape) == (24, 24)
    assert first.title == "T1w, a.u."
    assert second.window[1] > first.window[1]


def test_the_notebook_shows_pictures_and_runs_and_loads_nothing() -> None:
    shown = head()._repr_html_()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert len(pictures) == 6
    assert Drawing.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (24, 20)
    assert not re.search(r"<script|http|onclick|javascript", shown, re.IGNORECASE)
    assert "T1w, a.u.; black" in shown


def test_a_result_says_its_interval_its_findings_and_what_is_absent() -> None:
    shown = Jitter()(head())._repr_html_()
    assert (
        "interval: 90%, calibrated on 20 patients; in the median voxel T1w ± 2 a.u., FLAIR ± 2 a.u."
        in shown
    )
    assert "residual equals the noise" in shown
    assert "no memorization: no training images" in shown


def test_names_from_files_are_escaped() -> None:
    shown = head(channels=("<b>T1w</b>",))._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;T1w" in shown


def test_images_of_a_study_may_lie_on_different_grids_and_raw_data_are_only_named(
    tmp_path: Path,
) -> None:
    raw = Measurement(np.zeros((1, 4, 4)), Identity((4, 4)), Noise(), Geometry.index((4, 4, 1)))
    study = Study(
        "sub-1", {0.0: {"T1w": head(channels=("T1w",)), "CT": head((8, 8, 8), ("CT",)), "raw": raw}}
    )
    assert [row.title for row in rows(study)] == ["T1w, a.u.", "CT, a.u."]
    only = Study("sub-1", {0.0: {"raw": raw}})
    assert "raw" in only._repr_html_()
    only.show(tmp_path / "raw.png")
    assert (tmp_path / "raw.png").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_drawn_black_and_hide_nothing_else(bad: float) -> None:
    data = head().data.copy()
    data[0, 0, 0, 0] = bad
    (first, _) = rows(Image(data, head().geometry, "a.u.", ("T1w", "FLAIR")))
    assert np.isfinite(first.window).all()
    assert first.planes[0].max() == 200


def test_show_draws_a_figure_into_a_file_and_warns_of_nothing_without_a_window(
    tmp_path: Path,
) -> None:
    from matplotlib import pyplot

    image = head()
    image.show(tmp_path / "image.png")
    drawn = np.asarray(Drawing.open(tmp_path / "image.png").convert("L"))
    assert drawn.std() > 20
    pyplot.switch_backend("agg")
    image.show()
    assert len(pyplot.gcf().axes) == 6
    pyplot.close("all")


def test_units_that_differ_are_said_channel_by_channel() -> None:
    image = head(channels=("T1w", "CT"))
    mixed = Image(
        image.data, image.geometry, "mixed", image.channels, {"units": {"T1w": "a.u.", "CT": "HU"}}
    )
    half = np.ones_like(image.data) * np.array([3, 40], np.float32)[:, None, None, None]
    band = Interval(image.data - half, image.data + half, 0.8, 12, "", "")
    found = Result(mixed, "posterior mean", interval=band)
    assert (
        interval_line(found)
        == "80%, calibrated on 12 patients; in the median voxel T1w ± 3 a.u., CT ± 40 HU"
    )


def test_a_result_shows_its_interval_and_evidence_below_each_channel() -> None:
    titles = [row.title for row in rows(Jitter()(head()))]
    assert titles == [
        "T1w, a.u.",
        "T1w, half-width of the 90% interval, a.u.",
        "T1w, share measured",
        "FLAIR, a.u.",
        "FLAIR, half-width of the 90% interval, a.u.",
        "FLAIR, share measured",
    ]
    shown = Jitter()(head())._repr_html_()
    assert len(re.findall("<img", shown)) == 18
    assert "share measured; dark 0, bright 1" in shown


def test_labels_are_shown_each_in_a_colour_of_its_own() -> None:
    image = head(channels=("structures",))
    labels = Image(
        1 * (image.data > 50) + (image.data > 150), image.geometry, "label", ("structures",)
    )
    (row,) = rows(labels)
    content = base64.b64decode(row.picture(row.views[0]).uri.partition(",")[2])
    drawn = np.asarray(Drawing.open(io.BytesIO(content)))
    assert len({tuple(colour) for colour in drawn.reshape(-1, drawn.shape[-1])}) == 3
