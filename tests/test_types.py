"""Types refuse what does not fit together and cannot be edited in place."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.physics.cartesian_mri import CartesianScan
from veridical.types import Finding, Geometry, Image, Measurement, Noise, Result, Step, Study


def image(shape: tuple[int, int, int] = (3, 4, 5), channels: tuple[str, ...] = ("T1w",)) -> Image:
    return Image(
        np.zeros((len(channels), *shape), np.float32), Geometry.index(shape), "a.u.", channels
    )


def test_an_image_cannot_be_edited_and_the_callers_array_stays_writable() -> None:
    mine = np.zeros((1, 3, 4, 5), np.float32)
    taken = Image(mine, Geometry.index((3, 4, 5)), "a.u.", ("T1w",))
    with pytest.raises(ValueError, match="read-only"):
        taken.data[0, 0, 0, 0] = 1
    mine[0, 0, 0, 0] = 1
    assert mine.flags.writeable


def test_a_measurement_and_a_scan_mask_cannot_be_edited() -> None:
    scan = CartesianScan(np.ones((1, 4, 4)))
    measured = Measurement(
        np.zeros((1, 2, 4, 4), np.complex64),
        scan,
        Noise("gaussian", 0.1),
        Geometry.index((4, 4, 1)),
    )
    for array in (measured.data, scan.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(
    ("data", "units", "channels", "error"),
    [
        (np.zeros((3, 4, 5)), "HU", ("CT",), GeometryError),
        (np.zeros((1, 3, 4, 6)), "HU", ("CT",), GeometryError),
        (np.zeros((1, 3, 4, 5)), "", ("CT",), UnitsError),
        (np.zeros((2, 3, 4, 5)), "HU", ("CT",), InputError),
    ],
    ids=["no channel axis", "other grid", "no units", "too few names"],
)
def test_an_image_that_does_not_fit_is_refused(
    data: np.ndarray, units: str, channels: tuple[str, ...], error: type
) -> None:
    with pytest.raises(error):
        Image(data, Geometry.index((3, 4, 5)), units, channels)


def test_a_channel_is_found_by_its_name_and_a_missing_one_names_those_that_are_there() -> None:
    both = image(channels=("T1w", "FLAIR"))
    assert both["FLAIR"].shape == (3, 4, 5)
    with pytest.raises(InputError, match="T1w, FLAIR"):
        both["T2w"]


@pytest.mark.parametrize(
    "affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan)], ids=["singular", "3x3", "NaN"]
)
def test_an_affine_that_is_no_grid_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Geometry((3, 4, 5), affine)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 0)])
def test_a_grid_has_three_positive_sides(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError):
        Geometry(shape, np.eye(4))  # type: ignore[arg-type]


def test_spacing_is_kept_under_rotation() -> None:
    angle = 0.3
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.5, 2.0, 3.0])
    assert Geometry((3, 4, 5), affine).spacing == pytest.approx((0.5, 2.0, 3.0))


def test_grids_match_by_their_farthest_corner() -> None:
    affine = np.eye(4)
    affine[0, 0] = 1 + 2e-5
    assert Geometry((10, 4, 5), affine).matches(Geometry((10, 4, 5), np.eye(4)))
    assert not Geometry((101, 4, 5), affine).matches(Geometry((101, 4, 5), np.eye(4)))


def test_a_grid_without_millimetres_says_so() -> None:
    assert "unknown size" in str(Geometry.index((3, 4, 5)))
    assert "1 x 1 x 1 mm" in str(Geometry((3, 4, 5), np.eye(4)))


def test_adding_a_step_leaves_the_first_result_as_it_was() -> None:
    first = Result(image(), "point estimate")
    step = Step("enhance", {}, {}, "none", "none", {}, 0)
    assert first.with_step(step).steps == (step,)
    assert first.steps == ()


def scan() -> Measurement:
    mask = np.ones((1, 4, 4), bool)
    return Measurement(
        np.zeros((1, 2, 4, 4)),
        CartesianScan(mask),
        Noise(),
        Geometry.index((4, 4, 1)),
        {"contrast": "T2w", "notes": ("Read.",)},
    )


def test_an_image_is_a_study_of_its_channels_and_a_measurement_one_of_itself() -> None:
    both = Image(
        np.zeros((2, 3, 4, 5)),
        Geometry.index((3, 4, 5)),
        "a.u.",
        ("T1w", "FLAIR"),
        {"patient": "p7"},
    )
    study = Study.of(both)
    assert (study.id, study.days, list(study.visit())) == ("p7", (0.0,), ["T1w", "FLAIR"])
    assert study.image().channels == ("T1w", "FLAIR")
    assert Study.of(study) is study
    raw = Study.of(scan())
    assert list(raw.visit()) == ["T2w"]
    assert raw.notes == ("Read.",)
    assert raw.measurement().noise == Noise()


def test_a_study_gives_its_last_visit_unless_a_day_is_named() -> None:
    first, last = image(channels=("T1w",)), image(channels=("T2w",))
    study = Study("p", {90.0: {"T2w": last}, 0.0: {"T1w": first}})
    assert study.days == (0.0, 90.0)
    assert study.image().channels == ("T2w",)
    assert study.image(0.0).channels == ("T1w",)
    with pytest.raises(InputError, match=r"no visit at day 30\. Days of this study: 0, 90"):
        study.visit(30.0)
    with pytest.raises(InputError, match="has no visit"):
        Study("p", {}).visit()


def test_a_study_of_one_kind_has_none_of_the_other_and_several_scans_are_not_chosen_among() -> None:
    with pytest.raises(InputError, match=r"raw data and no image\. Reconstruct them first"):
        Study.of(scan()).image()
    with pytest.raises(InputError, match="holds T1w"):
        Study.of(image()).measurement()
    with pytest.raises(InputError, match=r"holds a, b\. Choose one"):
        Study("p", {0.0: {"a": scan(), "b": scan()}}).measurement()


def test_images_of_a_visit_are_stacked_with_their_own_units_on_one_grid_alone() -> None:
    grid = Geometry.index((3, 4, 5))
    ct = Image(np.ones((1, 3, 4, 5)), grid, "HU", ("CT",))
    whole = Study("p", {0.0: {"T1w": image(), "CT": ct}}).image()
    assert (whole.units, whole.units_of("T1w"), whole.units_of("CT")) == ("mixed", "a.u.", "HU")
    assert whole.channel("CT").units == "HU"
    with pytest.raises(GeometryError, match="--beside FILE"):
        Study("p", {0.0: {"T1w": image(), "T2w": image((3, 4, 6), ("T2w",))}}).image()


def test_image_study_and_result_say_briefly_what_they_are() -> None:
    image = Image(
        np.zeros((2, 4, 5, 6), np.float32),
        Geometry((4, 5, 6), np.diag([1, 1, 3, 1])),
        "a.u.",
        ("T1w", "FLAIR"),
    )
    assert repr(image) == "Image(T1w (a.u.), FLAIR (a.u.); 4 x 5 x 6 voxels of 1 x 1 x 3 mm)"
    assert repr(image.geometry) == "Geometry(4 x 5 x 6 voxels of 1 x 1 x 3 mm)"
    study = Study(
        "sub-1", {0.0: {"T1w": image.channel("T1w")}, 90.0: {"T1w": image, "FLAIR": image}}
    )
    assert repr(study) == "Study(sub-1; day 0: T1w; day 90: T1w, FLAIR)"
    assert repr(Study("", {})) == "Study(no id; no visit)"
    result = Result(
        image,
        "posterior mean",
        findings=(Finding("scope", "warn", "far"), Finding("consistency", "pass", "near")),
    )
    assert repr(result) == (
        "Result(posterior mean: T1w (a.u.), FLAIR (a.u.); 4 x 5 x 6 voxels of 1 x 1 x 3 mm; no "
        "interval; worst finding: warn)"
    )


def test_image_study_and_result_are_arrays_on_a_grid() -> None:
    image = Image(
        np.arange(120.0).reshape(1, 4, 5, 6),
        Geometry((4, 5, 6), np.diag([1, 1, 3, 1])),
        "a.u.",
        ("T1w",),
    )
    for shown in (image, Study.of(image), Result(image, "point estimate")):
        assert shown.shape == (1, 4, 5, 6)
        np.testing.assert_array_equal(shown.affine, np.diag([1, 1, 3, 1]))
        np.testing.assert_array_equal(np.asarray(shown), image.data)
        assert np.asarray(shown, np.float32).dtype == np.float32
    assert np.shares_memory(np.asarray(image), image.data)
    assert not np.shares_memory(np.array(image), image.data)


def test_types_are_shown_and_saved_without_loading_anything_that_draws_before() -> None:
    import subprocess
    import sys

    code = (
        "import sys, veridical.types; print([m for m in ('PIL', 'jinja2', 'matplotlib', 'scipy') "
        "if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
