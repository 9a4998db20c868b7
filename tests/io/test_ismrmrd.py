"""ISMRMRD: every line finds its place, noise its covariance, and a trajectory is read with the
units it must have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rawfiles import acquisition, cartesian_rows, kspace, write_mrd, xml

from veridical.errors import BudgetError, FormatError, GeometryError, InputError
from veridical.io.ismrmrd import ismrmrd, recognises
from veridical.physics.noncartesian_mri import NoncartesianScan

FULL = kspace((2, 3, 10, 8))
PLAIN = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5))
LINES = [0, 2, 4, 5, 6, 8]


def test_lines_are_placed_and_the_mask_is_what_was_acquired(tmp_path: Path) -> None:
    read = ismrmrd(
        write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, LINES), PLAIN), contrast="T1w"
    )
    expected = np.zeros_like(FULL)
    expected[:, :, LINES] = FULL[:, :, LINES]
    assert recognises(tmp_path / "a.mrd")
    np.testing.assert_array_equal(read.data, expected)
    np.testing.assert_array_equal(np.flatnonzero(read.operator.mask[0].all(1)), LINES)  # type: ignore[attr-defined]
    assert (read.header["field"], read.header["echo_time"], read.header["contrast"]) == (
        2.89,
        12.0,
        "T1w",
    )
    assert "DOE" not in str(read.header)


def test_an_acquired_zero_is_measured(tmp_path: Path) -> None:
    full = FULL.copy()
    full[:, :, 4] = 0
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(full, LINES), PLAIN))
    assert read.operator.mask[:, 4].all()  # type: ignore[attr-defined]


def test_positions_and_directions_give_the_grid_in_ras(tmp_path: Path) -> None:
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, LINES), PLAIN))
    assert read.geometry.shape == (8, 10, 2)
    np.testing.assert_allclose(read.geometry.affine[:3, :3], np.diag([-25, -25, 6]))
    np.testing.assert_allclose(read.geometry.affine @ (4, 5, 1, 1), (0, 0, 6, 1), atol=1e-9)


def test_slices_are_ordered_by_place_not_by_counter(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL, LINES)
    for row in rows:
        row["head"]["position"][2] *= -1
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    np.testing.assert_array_equal(read.data[0, :, 4], FULL[1, :, 4])
    np.testing.assert_allclose(read.geometry.affine @ (4, 5, 0, 1), (0, 0, -6, 1), atol=1e-9)


def test_slices_of_several_orientations_or_uneven_distances_are_refused(tmp_path: Path) -> None:
    rows = cartesian_rows(kspace((3, 1, 10, 8)), [5])
    rows[2]["head"]["position"][2] += 1
    with pytest.raises(GeometryError, match="mm apart"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    rows[2]["head"]["read_dir"], rows[2]["head"]["slice_dir"] = (0, 0, 1), (1, 0, 0)
    with pytest.raises(GeometryError, match="several orientations"):
        ismrmrd(write_mrd(tmp_path / "b.mrd", rows, PLAIN))


def test_a_field_of_view_that_cannot_be_is_not_believed(tmp_path: Path) -> None:
    header = xml((8, 10, 1), (8, 10, 1), (0.02, 0.025, 5), (0.02, 0.025, 5))
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, LINES), header))
    assert read.geometry.frame == "index"
    assert "not believed" in read.header["affine_source"]


def test_reversed_lines_are_turned_and_counted(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL[..., ::-1], [5], bits=(22,), center_sample=3) + cartesian_rows(
        FULL, [4]
    )
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    np.testing.assert_array_equal(read.data[:, :, 4:6], FULL[:, :, 4:6])
    assert read.header["reversed_lines"] == 2


@pytest.mark.parametrize("backwards", [False, True])
def test_a_partial_echo_has_its_centre_at_the_centre(tmp_path: Path, backwards: bool) -> None:
    short = FULL[:1, :, :, 3:]
    line = short[0, :, 5][:, ::-1] if backwards else short[0, :, 5]
    centre = 3 if backwards else 1
    row = acquisition(
        line, kspace_encode_step_1=5, center_sample=centre, bits=(22,) if backwards else ()
    )
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", [row], PLAIN))
    np.testing.assert_array_equal(read.data[0, :, 5, 3:], short[0, :, 5])
    assert read.operator.mask[0, 5].tolist() == [False] * 3 + [True] * 5  # type: ignore[attr-defined]


def test_discarded_samples_are_not_measured(tmp_path: Path) -> None:
    row = acquisition(FULL[0, :, 5], kspace_encode_step_1=5, discard_pre=2, discard_post=1)
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", [row], PLAIN))
    assert read.operator.mask[0, 5].tolist() == [False] * 2 + [True] * 5 + [False]  # type: ignore[attr-defined]


def test_averages_are_averaged(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL, [5], average=0) + cartesian_rows(3 * FULL, [5], average=1)
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    np.testing.assert_allclose(read.data[:, :, 5], 2 * FULL[:, :, 5], rtol=1e-6)
    assert read.header["averages"] == 2
    assert any("averaged, 2 times" in note for note in read.header["notes"])


def test_noise_gives_covariance_and_level_scaled_by_dwell_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mix = np.array([[2, 0, 0], [1, 1, 0], [0, 0.5j, 1]])
    noise = mix @ (rng.normal(size=(3, 20000)) + 1j * rng.normal(size=(3, 20000)))
    rows = [acquisition(noise, bits=(19,), sample_time_us=1.0), *cartesian_rows(FULL, LINES)]
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    expected = 2 * mix @ mix.conj().T / 2
    np.testing.assert_allclose(read.operator.coils.covariance, expected, atol=0.12)  # type: ignore[attr-defined]
    assert read.noise.kind == "gaussian"
    assert read.noise.level == pytest.approx(np.sqrt(np.trace(expected).real / 6), rel=0.02)
    assert read.data[:, :, 1].any() == 0


def test_acquisitions_that_are_no_image_are_left_out_and_counted(tmp_path: Path) -> None:
    extra = [
        acquisition(9 * FULL[0, :, 1], kspace_encode_step_1=1, bits=(bit,))
        for bit in (23, 24, 24, 27)
    ]
    kept = [acquisition(FULL[0, :, 3], kspace_encode_step_1=3, bits=(20, 21))]
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", extra + kept, PLAIN))
    assert read.header["left_out"] == {"navigator": 1, "phase correction": 2, "dummy": 1}
    assert (
        "Readouts that make no image were left out: 1 navigator, 2 phase correction, 1 dummy."
        in read.header["notes"]
    )
    assert np.flatnonzero(read.operator.mask[0].any(1)).tolist() == [3]  # type: ignore[attr-defined]


def test_readout_oversampling_is_removed_and_the_field_of_view_with_it(tmp_path: Path) -> None:
    header = xml((8, 10, 1), (4, 10, 1), (200, 250, 5), (100, 250, 5))
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, range(10)), header))  # type: ignore[arg-type]

    def image(data: np.ndarray) -> np.ndarray:
        return np.fft.fftshift(
            np.fft.ifft2(np.fft.ifftshift(data, (-2, -1)), norm="ortho"), (-2, -1)
        )

    np.testing.assert_allclose(image(read.data), image(FULL)[..., 2:6], atol=1e-5)
    assert read.geometry.spacing == pytest.approx((25, 25, 6))
    np.testing.assert_allclose(read.geometry.affine @ (2, 5, 0, 1), (0, 0, 0, 1), atol=1e-9)


def test_a_3d_scan_falls_into_slices_on_the_same_grid(tmp_path: Path) -> None:
    full = kspace((4, 2, 10, 8))
    rows = [
        acquisition(full[z, :, y], kspace_encode_step_1=y, kspace_encode_step_2=z)
        for z in range(4)
        for y in range(10)
        if (y + z) % 2
    ]
    read = ismrmrd(
        write_mrd(
            tmp_path / "a.mrd", rows, xml((8, 10, 4), (8, 10, 4), (200, 250, 20), (200, 250, 20))
        )
    )
    assert read.header["decoupled"] == "x"
    assert read.data.shape == (8, 2, 4, 10)
    assert read.geometry.shape == (10, 4, 8)
    np.testing.assert_allclose(read.geometry.affine @ (5, 2, 4, 1), (0, 0, 0, 1), atol=1e-9)
    np.testing.assert_allclose(read.geometry.affine[:3, 2], (-25, 0, 0), atol=1e-9)


def grid_rows() -> list[Any]:
    x = np.arange(-4, 4) / 8.0
    rows = []
    for ky in range(10):
        points = np.stack([x, np.full(8, (ky - 5) / 10)], 1)
        back = slice(None, None, -1 if ky % 2 else 1)
        rows.append(acquisition(FULL[0, :, ky][:, back], traj=points[back]))
    return rows


def test_a_trajectory_on_a_regular_grid_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    header = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5), trajectory="other")
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", grid_rows(), header))
    np.testing.assert_array_equal(read.data[0], FULL[0])
    assert read.header["reversed_lines"] == 5
    assert any("placed by their trajectory" in note for note in read.header["notes"])


@pytest.mark.parametrize("name", ["radial", "spiral", "epi", "other", ""])
def test_a_scan_along_a_trajectory_without_coordinates_is_refused(
    tmp_path: Path, name: str
) -> None:
    header = xml((8, 10, 1), (8, 10, 1), trajectory=name)
    with pytest.raises(InputError, match="regular grid nor each with 2 or 3 coordinates"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, LINES), header))


RADIAL = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5), trajectory="radial")
SPOKES = kspace((2, 3, 7, 16))


def spoke(number: int) -> np.ndarray:
    """`(sample, 2)` coordinates (kx, ky) in cycles per pixel."""
    angle = 2.4 * number
    return np.outer((np.arange(16) - 8) / 16, [np.cos(angle), np.sin(angle)])


def spoke_rows(scale: Any = 1.0, third: Any = None, **values: Any) -> list[Any]:
    rows = []
    for number in range(7):
        for where in range(2):
            points = spoke(number) * scale
            points = points if third is None else np.c_[points, np.full(16, third)]
            place = {"slice": where, "position": (0, 0, 6.0 * where)}
            rows.append(acquisition(SPOKES[where, :, number], traj=points, **place, **values))
    return rows


@pytest.mark.parametrize(
    ("scale", "units"),
    [(1.0, "per pixel"), ((8.0, 10.0), "per field of view"), ((8 / 0.2, 10 / 0.25), "per metre")],
)
def test_a_radial_scan_is_read_exactly_whatever_its_units(
    tmp_path: Path, scale: Any, units: str
) -> None:
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", spoke_rows(scale), RADIAL), contrast="T1w")
    np.testing.assert_array_equal(read.data, SPOKES.reshape(2, 3, 112))
    assert read.data.dtype == np.complex64
    scan = read.operator
    assert isinstance(scan, NoncartesianScan)
    expected = np.concatenate([spoke(number) for number in range(7)])[:, ::-1] * (10, 8)
    np.testing.assert_allclose(scan.trajectory, [expected, expected], atol=1e-5)
    assert scan.matrix == (10, 8)
    assert f"assumed cycles {units}" in read.header["trajectory_units"]
    assert (read.header["trajectory"], read.header["readouts"], read.header["contrast"]) == (
        "radial",
        14,
        "T1w",
    )
    assert read.geometry.shape == (8, 10, 2)
    np.testing.assert_allclose(read.geometry.affine[:3, :3], np.diag([-25, -25, 6]))


def test_discarded_samples_of_a_spoke_are_left_out_with_their_coordinates(tmp_path: Path) -> None:
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", spoke_rows(discard_pre=1, discard_post=2), RADIAL))
    np.testing.assert_array_equal(read.data, SPOKES[..., 1:14].reshape(2, 3, 91))
    np.testing.assert_allclose(
        read.operator.trajectory[0, :13], spoke(0)[1:14, ::-1] * (10, 8), atol=1e-6
    )  # type: ignore[attr-defined]


def test_slices_along_a_trajectory_are_ordered_by_place(tmp_path: Path) -> None:
    rows = spoke_rows()
    for row in rows:
        row["head"]["position"][2] *= -1
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, RADIAL))
    np.testing.assert_array_equal(read.data, SPOKES[::-1].reshape(2, 3, 112))


def test_a_third_coordinate_that_never_changes_is_the_plane_of_the_slices(tmp_path: Path) -> None:
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", spoke_rows(third=0.0), RADIAL))
    np.testing.assert_array_equal(read.data, SPOKES.reshape(2, 3, 112))
    with pytest.raises(InputError, match="third coordinate"):
        ismrmrd(write_mrd(tmp_path / "b.mrd", spoke_rows(third=np.arange(16.0)), RADIAL))
    rows = [row for step in range(2) for row in spoke_rows(kspace_encode_step_2=step)]
    with pytest.raises(InputError, match="4 partitions"):
        ismrmrd(write_mrd(tmp_path / "c.mrd", rows, RADIAL.replace("<z>1</z>", "<z>4</z>", 1)))


@pytest.mark.parametrize("scale", [1.1, 2.0, 0.5, 3.0, 50.0])
def test_coordinates_whose_units_cannot_be_told_are_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(GeometryError, match=r"units cannot be told.*cycles per pixel"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", spoke_rows(scale), RADIAL))


def test_what_does_not_make_equal_slices_along_a_trajectory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 slices have 96 to 112 samples"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", spoke_rows()[1:], RADIAL))
    with pytest.raises(InputError, match="without --mask"):
        ismrmrd(write_mrd(tmp_path / "b.mrd", spoke_rows(), RADIAL), mask=np.ones((10, 8)))
    with pytest.raises(FormatError, match="discard 16 of 16"):
        ismrmrd(write_mrd(tmp_path / "c.mrd", spoke_rows(discard_pre=16), RADIAL))
    broken = spoke_rows()
    broken[0]["traj"][3] = np.nan
    with pytest.raises(FormatError, match="NaN"):
        ismrmrd(write_mrd(tmp_path / "d.mrd", broken, RADIAL))


def test_heads_that_do_not_fit_data_or_header_are_refused(tmp_path: Path) -> None:
    for rows, message in (
        ([acquisition(FULL[0, :, 1], kspace_encode_step_1=40)], "encode step 1 reach from 40"),
        ([acquisition(kspace((3, 12)))], "columns reach from -2 to 9"),
        ([acquisition(FULL[0, :, 1], number_of_samples=9)], "its head says 54"),
        ([acquisition(FULL[0, :, 1]), acquisition(FULL[0, :2, 2])], r"\[2, 3\] channels"),
        ([acquisition(FULL[0, :, 1], discard_pre=5, discard_post=4)], "discard 9 of 8"),
        ([acquisition(FULL[0, :, 1] * np.nan)], "NaN"),
    ):
        with pytest.raises(FormatError, match=message):
            ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))


def test_a_header_without_a_centre_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no centre for encode step 1"):
        ismrmrd(
            write_mrd(
                tmp_path / "a.mrd", cartesian_rows(FULL, LINES), PLAIN.replace("center>", "middle>")
            )
        )


def test_noise_alone_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no imaging acquisition"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", [acquisition(FULL[0, :, 1], bits=(19,))], PLAIN))


def test_acquisitions_with_another_head_are_refused(tmp_path: Path) -> None:
    other = np.dtype(
        [
            ("head", [("flags", "<u8")]),
            ("traj", h5py.vlen_dtype(np.float32)),
            ("data", h5py.vlen_dtype(np.float32)),
        ]
    )
    with h5py.File(tmp_path / "a.mrd", "w") as file:
        file.create_dataset("dataset/data", (2,), other)
        file["dataset/xml"] = [PLAIN]
    with pytest.raises(FormatError, match="expected acquisitions"):
        ismrmrd(tmp_path / "a.mrd")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    file = write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, LINES), PLAIN)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FormatError):
        ismrmrd(file)


def test_missing_or_wrong_datasets_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mrd", "w") as file:
        file["dataset/data"] = np.ones(4)
    with pytest.raises(FormatError, match="dataset/xml"):
        ismrmrd(tmp_path / "a.mrd")
    with h5py.File(tmp_path / "a.mrd", "a") as file:
        file["dataset/xml"] = ["<a/>"]
    with pytest.raises(FormatError, match="expected acquisitions"):
        ismrmrd(tmp_path / "a.mrd")


def test_the_budget_is_checked_before_the_grid_is_made(tmp_path: Path) -> None:
    header = xml((60000, 60000, 1), (60000, 60000, 1))
    with pytest.raises(BudgetError, match="GiB"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, LINES), header))
    with pytest.raises(BudgetError):
        ismrmrd(write_mrd(tmp_path / "b.mrd", cartesian_rows(FULL, LINES), PLAIN), budget=1000)


@pytest.mark.real
def test_a_real_file_with_reversed_lines_gives_a_sharp_head(real_data: Path) -> None:
    read = ismrmrd(real_data / "koma_labels" / "Koma_signal.mrd")
    assert read.data.shape == (1, 1, 101, 101)
    assert read.header["reversed_lines"] == 50
    image = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(read.data[0, 0]))))
    corner, middle = image[:8, :8].mean(), image[30:70, 30:70].mean()
    assert middle > 10 * corner
