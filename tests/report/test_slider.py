"""The slider of notebooks."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fakes import Jitter
from veridical.errors import MissingExtra
from veridical.report import slider
from veridical.types import Geometry, Image

IMAGE = Image(
    np.random.default_rng(0).uniform(0, 1, (1, 12, 10, 8)).astype(np.float32),
    Geometry((12, 10, 8), np.diag([2.0, 2.0, 3.0, 1.0])),
    "a.u.",
    ("T1w",),
)


def test_the_slider_goes_through_every_slice_of_every_plane() -> None:
    pytest.importorskip("ipywidgets", reason="the extra notebook is not installed")
    what, across, place, picture = slider.slider(IMAGE).children
    assert [name for name, _ in across.options] == [
        "axial, patient's right on the left",
        "coronal, patient's right on the left",
        "sagittal, front on the left",
    ]
    for plane, count in enumerate((8, 10, 12)):
        across.value = plane
        assert place.max == count - 1
        seen = set()
        for index in range(count):
            place.value = index
            assert f"slice {index + 1} of {count}" in picture.value
            seen.add(picture.value.partition(" alt")[0])
        assert len(seen) == count
    assert what.options == ("T1w, a.u.",)


def test_of_a_result_interval_and_evidence_can_be_chosen() -> None:
    pytest.importorskip("ipywidgets", reason="the extra notebook is not installed")
    what, _, _, picture = slider.slider(Jitter()(IMAGE)).children
    what.value = "T1w, share measured"
    assert "share measured, slice" in picture.value


def test_outside_of_a_notebook_a_figure_is_drawn() -> None:
    assert not slider.possible()


def test_without_ipywidgets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(MissingExtra, match="notebook"):
        slider.slider(IMAGE)
