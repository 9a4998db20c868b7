"""Images of one patient become channels on the first one's grid: in their place, with their own
units, or refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import heads
import veridical
from veridical.errors import BudgetError, GeometryError, InputError
from veridical.io.assemble import may_have_moved, read_together, stacked
from veridical.types import Array, Geometry, Image, Study

GRID = Geometry(
    (20, 24, 16), np.array([[2.0, 0, 0, -20], [0, 2, 0, -24], [0, 0, 2, -16], [0, 0, 0, 1]])
)
FINE = Geometry(
    (40, 48, 32), np.array([[1.0, 0, 0, -20.5], [0, 1, 0, -24.5], [0, 0, 1, -16.5], [0, 0, 0, 1]])
)
TURNED = Geometry(
    (16, 20, 24), np.array([[0, -2.0, 0, 18], [0, 0, 2, -24], [2, 0, 0, -16], [0, 0, 0, 1]])
)


def places(geometry: Geometry) -> Array:
    """Millimetres of every voxel, `(3, x, y, z)`."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"))
    return np.asarray(
        np.einsum("ij,jxyz->ixyz", geometry.affine[:3, :3], index)
        + geometry.affine[:3, 3, None, None, None]
    )


def of(name: str, geometry: Geometry = GRID, units: str = "a.u.") -> Image:
    """A blob and a ramp, the same in space on every grid."""
    at = places(geometry)
    data = 100 * np.exp(-(at**2).sum(0) / 200) + 0.5 * at[0] + 30
    return Image(data[None].astype(np.float32), geometry, units, (name,))


def test_channels_of_one_grid_are_stacked_as_they_are() -> None:
    both = stacked([of("T1w"), of("T2w")])
    assert both.channels == ("T1w", "T2w")
    assert both.units == "a.u."
    np.testing.assert_array_equal(both["T2w"], of("T2w")["T2w"])
    assert "resampled" not in both.header


@pytest.mark.parametrize("grid", [FINE, TURNED], ids=["spacing", "orientation"])
def test_another_grid_in_the_same_space_is_resampled_and_the_header_and_the_record_say_so(
    grid: Geometry,
) -> None:
    both = stacked([of("T1w"), of("T2w", grid)])
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(both["T2w"][inner], both["T1w"][inner], atol=2.0)
    said = both.header["resampled"]
    assert set(said) == {"T2w"}
    assert f"from {grid} to {GRID}" in said["T2w"]
    from veridical.provenance import inputs

    assert inputs(Study.of(both))["T2w, resampled"] == said["T2w"]


def test_rounding_in_headers_is_no_other_grid() -> None:
    affine = np.array(GRID.affine)
    affine[:3, 3] += 0.03
    both = stacked([of("T1w"), of("T2w", Geometry(GRID.shape, affine))])
    assert "resampled" not in both.header


def test_mr_and_ct_keep_their_own_units_and_air_is_air_outside_of_the_field_of_view() -> None:
    affine = np.array(FINE.affine)
    affine[2, 3] += 8
    both = stacked([of("T1w"), of("CT", Geometry(FINE.shape, affine), "HU")])
    assert both.units == "mixed"
    assert (both.units_of("T1w"), both.units_of("CT")) == ("a.u.", "HU")
    assert (both["CT"][:, :, 0] == -1000).all()
    assert "covers" in both.header["resampled"]["CT"]


def test_a_mask_of_lesions_becomes_a_channel_of_zeros_and_ones() -> None:
    mask = Image((places(FINE)[None, 0] > 5).astype(np.int16) * 7, FINE, "label", ("scan",))
    both = stacked([of("T1w")], mask)
    assert both.channels == ("T1w", "lesions")
    assert set(np.unique(both["lesions"])) == {0.0, 1.0}
    assert both["lesions"].mean() == pytest.approx((mask.data > 0).mean(), abs=0.03)
    assert both.units_of("lesions") == "label"


@pytest.mark.parametrize(
    "frames", [("scanner", "aligned"), ("scanner", "local"), ("mni", "2.25.7")]
)
def test_positions_that_cannot_be_compared_are_so_when_the_caller_says_so_and_the_note_says_that(
    frames: tuple[str, str],
) -> None:
    first, second = (
        of("T1w", replace(GRID, frame=frames[0])),
        of("T2w", replace(FINE, frame=frames[1])),
    )
    with pytest.raises(GeometryError, match=r"--register; or, .* --same-space"):
        stacked([first, second])
    both = stacked([first, second], same_space=True)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(both["T2w"][inner], both["T1w"][inner], atol=2.0)
    assert (
        f"were assumed to lie in one space (frames of reference: {frames[1]}, {frames[0]})"
        in both.header["notes"][0]
    )


def test_nibabel_made_files_lie_beside_those_of_a_scanner(tmp_path: Path) -> None:
    import nibabel as nib

    nib.save(nib.Nifti1Image(of("T1w").data[0], GRID.affine), tmp_path / "made_T1w.nii.gz")
    scan = nib.Nifti1Image(of("T2w", FINE).data[0], FINE.affine)
    scan.set_sform(FINE.affine, 1)
    nib.save(scan, tmp_path / "scan_T2w.nii.gz")
    paths = [tmp_path / "made_T1w.nii.gz", tmp_path / "scan_T2w.nii.gz"]
    with pytest.raises(GeometryError, match="aligned"):
        read_together(paths)
    both = read_together(paths, same_space=True)
    assert "assumed" in " ".join(Study.of(both).notes)
    np.testing.assert_array_equal(read_together(**both.header["source"]).data, both.data)


def test_a_moved_image_is_registered_with_its_lesions_and_the_note_says_how_far() -> None:
    head = heads.head()
    turn = heads.rigid((4.0, -3.0, 5.0), (6.0, -5.0, 3.0), head.geometry)
    moving = heads.seen(head, turn)
    drawn = Image(
        (moving.data > np.percentile(moving.data, 97)).astype(np.uint8),
        moving.geometry,
        "label",
        ("x",),
    )
    both = stacked([head, moving], drawn, register=True)
    wanted, before = heads.contrast(head.data[0]), stacked([head, moving], register=False)["T2w"]
    assert (
        np.corrcoef(both["T2w"].ravel(), wanted.ravel())[0, 1]
        > 0.9
        > np.corrcoef(before.ravel(), wanted.ravel())[0, 1]
    )
    inside = both["lesions"] > 0
    assert wanted[inside].mean() > np.percentile(moving.data, 93)
    assert "T2w was registered rigidly to T1w: moved by" in both.header["notes"][0]
    assert "T2w" in both.header["resampled"]


def test_mr_volumes_that_do_not_fit_as_they_lie_are_registered_unless_told_otherwise() -> None:
    head = heads.head()
    turn = heads.rigid((4.0, -3.0, 5.0), (6.0, -5.0, 3.0), head.geometry)
    moving = heads.seen(head, turn)
    fitted, left = stacked([head, moving]), stacked([head, moving], register=False)
    np.testing.assert_array_equal(fitted.data, stacked([head, moving], register=True).data)
    assert "registered rigidly" in fitted.header["notes"][0]
    assert not left.header["notes"]
    assert not may_have_moved(replace(moving, units="HU"), head), "CT comes from another scanner"
    same = replace(head, data=heads.contrast(head.data), channels=("T2w",))
    assert not may_have_moved(same, head), "they fit as they lie"
    shifted = replace(same, data=np.roll(same.data, 3, 1))
    assert may_have_moved(shifted, head), "though both are on one grid"
    thin = Geometry((40, 40, 2), moving.geometry.affine, moving.geometry.frame)
    assert not may_have_moved(Image(np.ones((1, 40, 40, 2)), thin, "a.u.", ("T2w",)), head)


def test_an_image_that_fits_is_left_where_it_lies() -> None:
    head = heads.head()
    same = Image(heads.contrast(head.data), head.geometry, "a.u.", ("T2w",))
    both = stacked([head, same], register=True)
    np.testing.assert_array_equal(both["T2w"], same.data[0])
    assert "T2w fits T1w as it lies" in both.header["notes"][0]


def test_notes_of_all_files_are_kept() -> None:
    first, second = (
        replace(of(name), header={"notes": (f"note on {name}.",)}) for name in ("T1w", "T2w")
    )
    assert Study.of(stacked([first, second])).notes == ("note on T1w.", "note on T2w.")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            Geometry(GRID.shape, GRID.affine + np.array([[0, 0, 0, 30.0]] + [[0] * 4] * 3)),
            "fields of view do not overlap",
        ),
        (Geometry(FINE.shape, FINE.affine, "mni"), "frames of reference"),
        (Geometry.index((40, 48, 32)), "cannot be compared"),
    ],
)
def test_images_that_do_not_lie_in_one_space_are_refused(other: Geometry, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        stacked([of("T1w"), of("T2w", other)])


def test_two_channels_of_one_name_and_complex_ones_are_refused() -> None:
    with pytest.raises(InputError, match="Name each file"):
        stacked([of("T1w"), of("T1w")])
    with pytest.raises(InputError, match="complex"):
        stacked([of("T1w"), replace(of("T2w"), data=of("T2w").data * 1j)])


def test_files_are_read_together_and_the_source_reads_them_again(tmp_path: Path) -> None:
    paths = [
        veridical.write(of(name), tmp_path / f"sub-1_{name}.nii.gz") for name in ("T1w", "T2w")
    ]
    mask = veridical.write(
        Image(np.ones((1, *GRID.shape), np.uint8), GRID, "label", ("m",)),
        tmp_path / "lesions.nii.gz",
    )
    both = read_together(paths, lesions=mask)
    assert both.channels == ("T1w", "T2w", "lesions")
    again = read_together(**both.header["source"])
    np.testing.assert_array_equal(again.data, both.data)
    named = read_together(paths, contrast="FLAIR,CT", units="a.u.,HU")
    assert named.channels == ("FLAIR", "CT")
    assert named.units_of("CT") == "HU"


def test_options_are_one_a_file_and_the_budget_is_for_all(tmp_path: Path) -> None:
    paths = [
        veridical.write(of(name), tmp_path / f"sub-1_{name}.nii.gz") for name in ("T1w", "T2w")
    ]
    with pytest.raises(InputError, match="2 files, but contrast = T1w: give one a file"):
        read_together(paths, contrast="T1w")
    one = 4 * int(np.prod(GRID.shape)) + 2**18
    with pytest.raises(BudgetError):
        read_together(paths, budget=one)
