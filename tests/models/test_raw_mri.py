"""Raw MR data of a simulated scan are reconstructed to the object that was scanned, however the
file stores them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veridical
from veridical import registry
from veridical.errors import InputError
from veridical.io.ismrmrd import ismrmrd
from veridical.models.problems import problems
from veridical.types import Measurement, Noise

sys.path.insert(0, str(Path(__file__).parents[1] / "io"))
from mri_scans import (
    LEVEL,
    encoding_of,
    error,
    fft2,
    file,
    header,
    known_object,
    lines,
    scanned,
    sensitivities,
)
from rawfiles import acquisition, kspace, write_bart

TRUTH, FULL = scanned()
ACCELERATED = range(0, 64, 2)
CENTRE = range(20, 44)


def reconstructed(subject: Any, model: str = "zero-filled", truth: np.ndarray = TRUTH) -> float:
    """Normalized mean square error of the first slice."""
    problem = next(problems(subject))
    estimate = registry.get("model", model)().solve(problem, 1, 0)[0]
    return error(problem.image(estimate)[0].numpy(), truth)


def reversed_line(line: np.ndarray) -> np.ndarray:
    """A line `(coil, x)` taken backwards whose centre of k-space is sample N / 2 as in the forward
    ones.
    """
    return np.roll(line[:, ::-1], 1, axis=-1)


@pytest.mark.parametrize("shift", [0, 1, -3])
def test_reversed_readouts_lie_where_their_centre_is(tmp_path: Path, shift: int) -> None:
    rows = [
        acquisition(
            np.roll(reversed_line(FULL[:, ky]), shift, -1),
            kspace_encode_step_1=ky,
            center_sample=32 + shift,
            bits=(22,),
        )
        if ky % 2
        else acquisition(FULL[:, ky], kspace_encode_step_1=ky)
        for ky in range(64)
    ]
    assert reconstructed(ismrmrd(file(tmp_path / "a.mrd", rows, header()))) < 1e-3


def test_reversed_readouts_with_oversampling_lose_it(tmp_path: Path) -> None:
    wide = np.zeros((4, 64, 128), complex)
    wide[..., 32:96] = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(FULL, -1), norm="ortho"), -1)
    wide = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(wide, -1), norm="ortho"), -1)
    rows = [
        acquisition(reversed_line(wide[:, ky]), kspace_encode_step_1=ky, bits=(22,))
        if ky % 2
        else lines(wide, [ky])[0]
        for ky in range(64)
    ]
    read = ismrmrd(file(tmp_path / "a.mrd", rows, header(encoded=(128, 64, 1), fov=(512, 256, 5))))
    assert read.data.shape == (1, 4, 64, 64)
    assert reconstructed(read) < 1e-3


@pytest.mark.parametrize("backwards", [False, True])
def test_an_asymmetric_echo_keeps_its_centre(tmp_path: Path, backwards: bool) -> None:
    rows = []
    for ky in range(64):
        line, centre = FULL[:, ky, 20:], 12
        if backwards and ky % 2:
            rows.append(
                acquisition(
                    line[:, ::-1], kspace_encode_step_1=ky, center_sample=43 - centre, bits=(22,)
                )
            )
        else:
            rows.append(acquisition(line, kspace_encode_step_1=ky, center_sample=centre))
    read = ismrmrd(file(tmp_path / "a.mrd", rows, header()))
    np.testing.assert_allclose(read.data[0, :, :, 20:], FULL[..., 20:], atol=1e-6)
    assert not read.data[..., :20].any()
    assert reconstructed(read) < 0.05


def test_samples_to_be_discarded_shift_nothing(tmp_path: Path) -> None:
    padded = np.concatenate([kspace((4, 64, 5)), FULL, kspace((4, 64, 3))], -1)
    rows = lines(padded, discard_pre=5, discard_post=3, center_sample=37)
    assert reconstructed(ismrmrd(file(tmp_path / "a.mrd", rows, header()))) < 1e-4


@pytest.mark.parametrize(
    ("mode", "flag"), [("embedded", (20,)), ("interleaved", (20,)), ("other", (20,)), ("", (20,))]
)
def test_embedded_calibration_lines_are_data(
    tmp_path: Path, mode: str, flag: tuple[int, ...]
) -> None:
    rows = [
        acquisition(
            FULL[:, ky],
            kspace_encode_step_1=ky,
            bits=(20, 21) if ky in ACCELERATED and ky in CENTRE else bits,
        )
        for ky in range(64)
        if (bits := () if ky in ACCELERATED else flag if ky in CENTRE else (1,)) != (1,)
    ]
    read = ismrmrd(file(tmp_path / "a.mrd", rows, header(mode=mode)))
    taken = read.operator.mask[0].all(1)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.flatnonzero(taken), sorted({*ACCELERATED, *CENTRE}))
    assert any(
        "12 calibration lines are part of the image" in note for note in read.header["notes"]
    )
    assert reconstructed(read, "cg-sense") < 0.01


@pytest.mark.parametrize("mode", ["separate", "external", "other", ""])
def test_a_separate_calibration_scan_gives_the_coil_maps_and_nothing_else(
    tmp_path: Path, mode: str
) -> None:
    other = 3 * fft2(
        np.roll(TRUTH, 2, 1) * sensitivities(64, 64)
    )  # another contrast, in another position
    rows = lines(FULL, ACCELERATED) + lines(other, CENTRE, bits=(20,))
    read = ismrmrd(file(tmp_path / "a.mrd", rows, header(mode=mode)))
    np.testing.assert_array_equal(np.flatnonzero(read.operator.mask[0].all(1)), ACCELERATED)  # type: ignore[attr-defined]
    assert read.header["left_out"] == {"separate calibration": 24}
    assert any("Coil maps come from 24 lines" in note for note in read.header["notes"])
    assert reconstructed(read, "cg-sense") < 0.02
    without = ismrmrd(file(tmp_path / "b.mrd", lines(FULL, ACCELERATED), header()))
    with pytest.raises(InputError, match="--maps FILE"):
        reconstructed(without, "cg-sense")


def test_a_calibration_scan_of_a_smaller_encoding_space_gives_the_coil_maps(tmp_path: Path) -> None:
    small = fft2(TRUTH * sensitivities(64, 64))[:, 20:44, 16:48]
    rows = lines(FULL, ACCELERATED) + lines(small, bits=(20,), encoding_space_ref=1)
    second = encoding_of(header(24, 32, mode="separate"))
    text = header(mode="separate").replace("</encoding>", f"</encoding>{second}")
    read = ismrmrd(file(tmp_path / "a.mrd", rows, text))
    assert read.data.shape == (1, 4, 64, 64)
    assert reconstructed(read, "cg-sense") < 0.02


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_encoding_spaces_the_larger_is_read_and_the_other_named(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    small = scanned(32, 32)[1]
    texts = [
        encoding_of(header()),
        encoding_of(header(32, 32, fov=(400, 400, 9), recon_fov=(400, 400, 9))),
    ]
    text = header().replace(texts[0], "".join(texts[k] for k in order))
    rows = [
        *lines(small, encoding_space_ref=order.index(1)) * 3,
        *lines(FULL, encoding_space_ref=order.index(0)),
    ]
    path = file(tmp_path / "a.mrd", rows, text)
    read = ismrmrd(path)
    assert reconstructed(read) < 1e-4
    note = next(note for note in read.header["notes"] if note.startswith("Encoding space"))
    assert f"{order.index(0)} was read, the largest (matrix 64 x 64 x 1)" in note
    assert "matrix 32 x 32 x 1" in note
    chosen = ismrmrd(path, select=f"encoding={order.index(1)}")
    assert chosen.geometry.spacing == pytest.approx((12.5, 12.5, 9))
    assert reconstructed(chosen, truth=known_object(32, 32)) < 1e-4


@pytest.mark.parametrize(("depth", "recon"), [(2, 1), (2, 2), (8, 1)])
def test_a_2d_scan_with_an_encoded_z_above_1_is_2d(tmp_path: Path, depth: int, recon: int) -> None:
    text = header(encoded=(64, 64, depth), recon=(64, 64, recon))
    limits = f"<maximum>{depth - 1}</maximum><center>{depth // 2}</center>"
    text = text.replace(limits, "<maximum>0</maximum><center>0</center>")
    read = ismrmrd(file(tmp_path / "a.mrd", lines(FULL), text))
    assert read.geometry.shape == (64, 64, 1)
    assert read.geometry.spacing == pytest.approx((4, 4, 5))
    assert any("so the scan is 2D" in note for note in read.header["notes"])
    assert reconstructed(read) < 1e-4


def test_slices_of_a_2d_scan_whose_encoded_z_is_their_number_stay_slices(tmp_path: Path) -> None:
    rows = [
        row for k in range(3) for row in lines((k + 1) * FULL, slice=k, position=(0, 0, 7.0 * k))
    ]
    text = header(
        encoded=(64, 64, 3), recon=(64, 64, 3), fov=(256, 256, 21), recon_fov=(256, 256, 21)
    )
    read = ismrmrd(
        file(
            tmp_path / "a.mrd",
            rows,
            text.replace("<maximum>2</maximum><center>1</center>", "<maximum>0</maximum>"),
        )
    )
    assert read.geometry.shape == (64, 64, 3)
    assert read.geometry.spacing == pytest.approx((4, 4, 7))
    np.testing.assert_allclose(read.data[2], 3 * FULL, atol=1e-5)


@pytest.mark.parametrize("name", ["contrast", "phase", "repetition", "set"])
def test_of_several_series_the_one_with_most_readouts_is_read_and_any_may_be_chosen(
    tmp_path: Path, name: str
) -> None:
    rows = (
        lines(2 * FULL, ACCELERATED, **{name: 0})
        + lines(FULL, **{name: 1})
        + lines(3 * FULL, **{name: 2})
    )
    path = file(tmp_path / "a.mrd", rows, header())
    read = ismrmrd(path)
    assert reconstructed(read) < 1e-4
    note = f"Of 3 {name}s, {name} 1 was read"
    assert any(one.startswith(note) for one in read.header["notes"])
    np.testing.assert_allclose(ismrmrd(path, select=f"{name}=2").data[0], 3 * FULL, atol=1e-5)


def test_partial_fourier_lies_where_the_centre_of_the_header_says(tmp_path: Path) -> None:
    rows = [acquisition(FULL[:, ky], kspace_encode_step_1=ky - 16) for ky in range(16, 64)]
    text = header().replace(
        "<maximum>63</maximum><center>32</center>", "<maximum>47</maximum><center>16</center>"
    )
    read = ismrmrd(file(tmp_path / "a.mrd", rows, text))
    assert np.flatnonzero(read.operator.mask[0].all(1)).tolist() == list(range(16, 64))  # type: ignore[attr-defined]
    assert reconstructed(read, "cg-sense") < 0.02


def test_given_maps_take_the_place_of_those_that_the_data_cannot_give(tmp_path: Path) -> None:
    path = file(tmp_path / "a.mrd", lines(FULL, ACCELERATED), header())
    np.save(tmp_path / "maps.npy", 7 * sensitivities(64, 64))
    assert reconstructed(veridical.read(path, maps=tmp_path / "maps.npy"), "cg-sense") < 0.02


def test_given_maps_of_many_coils_are_compressed_with_the_data(tmp_path: Path) -> None:
    full, maps = scanned(coils=20)[1], sensitivities(64, 64, 20)
    path = file(tmp_path / "a.mrd", lines(full, ACCELERATED), header())
    assert reconstructed(veridical.read(path, maps=maps.astype(np.complex64)), "cg-sense") < 0.02


def noisy(coil: int, factor: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """K-space whose one coil is noisy, and a noise scan `(coil, sample)` of it."""
    rng, levels = np.random.default_rng(seed), np.full((4, 1), 0.02)
    levels[coil] *= factor
    drawn = [rng.normal(size=(2, 4, n)) for n in (64 * 64, 5000)]
    data, scan = (levels * (parts[0] + 1j * parts[1]) for parts in drawn)
    return FULL + data.reshape(FULL.shape), scan


@pytest.mark.parametrize("kind", ["in the file", "mrd", "npy", "cfl"])
def test_a_noise_scan_keeps_a_noisy_coil_from_spoiling_the_image(tmp_path: Path, kind: str) -> None:
    data, scan = noisy(2, 30)
    plain = file(tmp_path / "a.mrd", lines(data), header())
    worse = reconstructed(veridical.read(plain), "cg-sense")
    options = {}
    if kind == "in the file":
        plain = file(tmp_path / "b.mrd", [acquisition(scan, bits=(19,)), *lines(data)], header())
    elif kind == "mrd":
        options["noise_scan"] = file(tmp_path / "noise.mrd", [acquisition(scan)], header())
    elif kind == "npy":
        np.save(tmp_path / "noise.npy", scan)
        options["noise_scan"] = tmp_path / "noise.npy"
    else:
        options["noise_scan"] = write_bart(tmp_path / "noise", scan.T[:, None, None, :])
    read = veridical.read(plain, maps=sensitivities(64, 64).astype(np.complex64), **options)
    assert isinstance(read, Measurement)
    assert read.noise.level == pytest.approx(0.02 * np.sqrt((3 + 900) / 4), rel=0.05)
    power = np.array([1, 1, 900, 1])
    seen = (
        (np.abs(sensitivities(64, 64)) ** 2 / power[:, None, None]).sum(0) * 4 / (1 / power).sum()
    )
    assert reconstructed(read, "cg-sense", TRUTH * np.sqrt(seen)) < 0.02 * worse


def test_the_level_of_a_noise_scan_is_that_of_the_data(tmp_path: Path) -> None:
    data, scan = noisy(0, 1.0)
    scan = (
        scan / np.sqrt(2) * np.sqrt(0.8)
    )  # twice the dwell time, and a receiver that passes 0.8 of its band
    rows = [acquisition(scan, bits=(19,), sample_time_us=4.0), *lines(data)]
    bandwidth = "<relativeReceiverNoiseBandwidth>0.8</relativeReceiverNoiseBandwidth></acquisitionSystemInformation>"  # noqa: E501
    text = header().replace("</acquisitionSystemInformation>", bandwidth)
    level = ismrmrd(file(tmp_path / "a.mrd", rows, text)).noise.level
    assert level == pytest.approx(np.hypot(0.02, LEVEL), rel=0.03)
    assert isinstance(Noise("gaussian", level).level, float)
