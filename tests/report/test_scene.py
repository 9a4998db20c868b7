"""What a viewer is given: where it lies, how coarse it is, and what is said of a voxel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fakes import Jitter
from veridical.errors import InputError
from veridical.report import scene
from veridical.types import Evidence, Geometry, Image, Interval, Result

GRID = Geometry((10, 8, 6), np.diag([2.0, 2.0, 3.0, 1.0]))


def ball(grid: Geometry = GRID, units: str = "a.u.") -> Image:
    """A bright ball in air."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, max(n, 2))[:n] for n in grid.shape], indexing="ij")
    inside = (x**2 + y**2 + z**2 < 0.9).astype(np.float32)
    return Image((inside * (100 + 10 * x))[None], grid, units, ("T1w",))


def known() -> Result:
    """A result whose every voxel can be told: 100, from 90 to 115, 92 % measured."""
    data = np.full((1, *GRID.shape), 100.0, np.float32)
    band = Interval(data - 10, data + 15, 0.9, 20, "given", "nothing")
    image = Image(data, GRID, "a.u.", ("T1w",))
    return Result(image, "posterior mean", None, band, Evidence(np.full_like(data, 0.92)))


def test_a_voxel_is_said_with_value_interval_and_share_measured(tmp_path: Path) -> None:
    result = known()
    scene.write(
        tmp_path,
        GRID,
        scene.of_result(result, [replace(result.image, data=3 + 0 * result.image.data)]),
    )
    said = scene.probe(tmp_path, (4.2, 3.9, 5.8))
    assert said["voxel"] == [2, 2, 2]
    assert said["sentences"] == [
        "T1w 100 a.u., 90% interval 90 to 115; 92% measured. Input: 3 a.u."
    ]
    assert not scene.probe(tmp_path, (500.0, 0.0, 0.0))["inside"]


def test_every_companion_becomes_a_layer_and_one_that_is_absent_none() -> None:
    whole = Jitter()(ball())
    assert [one.role for one in scene.of_result(whole)] == [
        "image", "half-width", "lower", "upper", "evidence", "filled-in", "samples",
    ]  # fmt: skip
    bare = Result(ball(), "point estimate", absent={"interval": "none"})
    assert [one.role for one in scene.of_result(bare)] == ["image"]


def test_dark_tissue_inside_of_the_body_is_covered_too() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 20), indexing="ij")
    data = 100.0 * (x**2 + y**2 < 0.8)[None, ..., None]
    data[0, 8:11, 8:11] = 0
    dark = Image(data, Geometry((20, 20, 1), np.eye(4)), "a.u.", ("T1w",))
    evidence = Evidence(np.zeros_like(data))
    layers = scene.of_result(Result(dark, "one draw", evidence=evidence))
    (cover,) = [one.cover for one in layers if one.role == "evidence"]
    assert cover is not None
    assert cover[9, 9, 0] == 1
    assert cover[0, 0, 0] == 0


def test_an_overlay_covers_what_was_imagined_and_no_air() -> None:
    image = ball()
    evidence = np.full_like(image.data, 0.25)
    (layer,) = [
        one
        for one in scene.of_result(Result(image, "one draw", evidence=Evidence(evidence)))
        if one.role == "evidence"
    ]
    assert layer.cover is not None
    inside = image.data[0] > 50
    np.testing.assert_allclose(layer.cover[inside], 0.75)
    assert not layer.cover[~inside].any()


@pytest.mark.parametrize("most", [10 * 8 * 6, 200, 40])
def test_a_volume_that_is_drawn_coarser_lies_where_it_lay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A ramp along each axis, in mm, is the same ramp after the volume was shrunk."""
    monkeypatch.setattr(scene, "DRAWN", most)
    affine = np.array([[0, 2.0, 0, 5], [-1.5, 0, 0, 7], [0, 0, 3.0, -4], [0, 0, 0, 1]])
    grid = Geometry((12, 8, 6), affine)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    for axis in range(3):
        image = Image(place[None, ..., axis].astype(np.float32), grid, "mm", ("ramp",))
        said = scene.write(tmp_path, grid, scene.of_image(image))
        drawn = nibabel.load(tmp_path / "00-image.nii")
        assert np.prod(drawn.shape) <= most
        coarse = np.stack(np.meshgrid(*map(np.arange, drawn.shape), indexing="ij"), -1)
        there = coarse @ drawn.affine[:3, :3].T + drawn.affine[:3, 3]
        whole = tuple(
            slice(0, n // s) for n, s in zip(grid.shape, said["layers"][0]["shrunk"], strict=True)
        )
        np.testing.assert_allclose(drawn.get_fdata()[whole], there[whole][..., axis], atol=0.01)


def test_what_is_said_of_a_voxel_comes_from_the_full_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene, "DRAWN", 12)
    data = np.arange(480, dtype=np.float32).reshape(1, *GRID.shape)
    scene.write(tmp_path, GRID, scene.of_image(Image(data, GRID, "ms", ("T1",))))
    at = (7, 3, 5)
    said = scene.probe(tmp_path, np.array(at) * np.array(GRID.spacing))
    assert said["sentences"] == [f"T1 {data[0][at]:.4g} ms."]


def test_the_input_is_brought_onto_the_grid_of_the_result() -> None:
    """A linear ramp is interpolated exactly; outside of its field of view there is nothing."""
    other = Geometry((5, 4, 3), np.diag([4.0, 4.0, 6.0, 1.0]))
    x = 4.0 * np.arange(5)[:, None, None] * np.ones(other.shape)
    moved = scene.on_grid(x, other, GRID)
    np.testing.assert_allclose(
        moved[:9, :6, :5], (2.0 * np.arange(9))[:, None, None] * np.ones((9, 6, 5)), rtol=1e-5
    )
    assert not moved[9].any()
    one = Geometry.index((20, 16, 6))
    assert scene.on_grid(np.ones(one.shape), one, Geometry.index((10, 8, 6))).min() == 1


def test_labels_have_names_and_colours_and_are_said(tmp_path: Path) -> None:
    data = np.zeros((1, *GRID.shape), np.int16)
    data[0, 5:] = 2
    labels = Image(data, GRID, "label", ("structures",), {"labels": {2: "white matter"}})
    said = scene.write(tmp_path, GRID, scene.of_image(labels))["layers"][0]
    assert said["labels"] == {"2": "white matter"}
    assert said["colours"]["2"].startswith("#")
    assert scene.probe(tmp_path, (12.0, 0.0, 0.0))["sentences"] == ["structures: white matter."]
    assert scene.probe(tmp_path, (0.0, 0.0, 0.0))["sentences"] == ["structures: nothing."]


@pytest.mark.parametrize(("along", "plane"), [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_a_single_slice_is_known_by_how_it_lies(tmp_path: Path, along: int, plane: str) -> None:
    shape = tuple(1 if axis == along else 8 for axis in range(3))
    grid = Geometry(shape, np.eye(4))  # type: ignore[arg-type]
    said = scene.write(
        tmp_path, grid, scene.of_image(Image(np.ones((1, *shape)), grid, "1", ("x",)))
    )
    assert said["flat"] == plane


def test_ct_is_shown_in_the_window_of_soft_tissue_and_bright_fat_does_not_darken_the_rest() -> None:
    (ct,) = scene.of_image(Image(ball().data * 10 - 1000, GRID, "HU", ("CT",)))
    assert ct.window == scene.SOFT_TISSUE
    data = ball().data.copy()
    data[0, 4:6, 4, 3] = 10_000
    (bright,) = scene.of_image(Image(data, GRID, "a.u.", ("T1w",)))
    assert bright.window[1] < 350


def test_a_folder_without_a_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to look at"):
        scene.read(tmp_path)
