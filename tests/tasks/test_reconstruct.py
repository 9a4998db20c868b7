"""Reconstruction end to end: five companions or the reason why not, deterministic bytes, units,
geometry, bad input refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import toys
from veridical.errors import GeometryError, InputError, SettingError
from veridical.io.files import read
from veridical.physics.cartesian_mri import CartesianScan
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Geometry, Measurement, Noise, Result


def task(calibrated: bool = True, **settings: int) -> Reconstruct:
    weights = toys.calibrated() if calibrated else toys.weights("denoiser")
    return Reconstruct(weights=str(weights), device="cpu", **{"draws": 3, **settings})


@pytest.fixture(scope="module")
def done() -> Result:
    """Two slices by a calibrated sampler."""
    return task()(toys.measurement(2), seed=1)


def test_a_calibrated_sampler_gives_all_five_companions(done: Result) -> None:
    assert done.kind == "plug-and-play estimate"
    assert dict(done.absent) == {}
    assert done.draws is not None
    assert done.draws.shape == (3, 1, 40, 48, 2)
    assert done.interval is not None
    assert (done.interval.level, done.interval.patients) == (0.9, 20)
    assert (done.interval.lower < done.image.data).all()
    assert (done.image.data < done.interval.upper).all()
    assert done.evidence is not None
    assert done.evidence.map is not None
    assert done.evidence.measured is not None
    assert done.evidence.unmeasured is not None
    assert {finding.check for finding in done.findings} == {
        "consistency",
        "sampling",
        "out-of-distribution",
    }
    assert [step.task for step in done.steps] == ["reconstruct"]
    assert done.steps[0].model == "denoiser"
    assert len(done.steps[0].weights) == 64


def test_the_band_is_never_narrower_than_the_calibrated_floor(done: Result) -> None:
    assert done.interval is not None
    half = 0.5 * (done.interval.upper - done.interval.lower)
    assert half.min() > 0.015
    np.testing.assert_allclose(half + done.interval.lower, done.image.data, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_other_draws(done: Result) -> None:
    again, other = task()(toys.measurement(2), seed=1), task()(toys.measurement(2), seed=2)
    assert dict(again.steps[0].outputs) == dict(done.steps[0].outputs)
    assert other.steps[0].outputs["draws"] != done.steps[0].outputs["draws"]


def test_slices_are_drawn_independently_and_in_their_place(done: Result) -> None:
    """The same data in both slices: other draws, and slice 0 does not depend on slice 1."""
    assert done.draws is not None
    assert not np.array_equal(done.draws[..., 0], done.draws[..., 1])
    alone = task()(toys.measurement(1), seed=1)
    np.testing.assert_array_equal(alone.image.data[..., 0], done.image.data[..., 0])


def test_the_image_lies_on_the_grid_of_the_measurement_with_x_along_kx(done: Result) -> None:
    assert done.image.geometry == toys.measurement(2).geometry
    assert (done.image.units, done.image.channels) == ("a.u.", ("T2w",))
    truth = toys.magnitude().T
    estimate = done.image.data[0, :, :, 0]
    assert np.corrcoef(estimate.ravel(), truth.ravel())[0, 1] > 0.98
    assert np.corrcoef(estimate[::-1].ravel(), truth.ravel())[0, 1] < 0.95


@pytest.mark.parametrize("factor", [1e-4, 1000.0])
def test_the_image_has_the_units_of_the_data(done: Result, factor: float) -> None:
    scan = toys.measurement(2)
    scaled = replace(scan, data=factor * scan.data, noise=Noise("gaussian", factor * toys.SIGMA))
    found = task()(scaled, seed=1)
    assert found.interval is not None
    assert done.interval is not None
    for many, one in (
        (found.image.data, done.image.data),
        (found.interval.upper, done.interval.upper),
    ):
        np.testing.assert_allclose(many / factor, one, atol=5e-3 * done.image.data.max())


@pytest.mark.parametrize(
    ("model", "draws", "kind"),
    [("wavelet", 3, "point estimate"), ("denoiser", 1, "point estimate")],
)
def test_what_one_image_cannot_give_is_absent_and_says_why(
    model: str, draws: int, kind: str
) -> None:
    given = Reconstruct(model=model, draws=draws) if model == "wavelet" else task(draws=draws)
    found = given(toys.measurement())
    assert found.kind == kind
    assert found.draws is None
    assert found.interval is None
    assert set(found.absent) == {"draws", "interval", "evidence"}
    assert all("draws" in reason for reason in found.absent.values())
    assert found.evidence is not None
    assert found.evidence.map is None
    assert found.evidence.measured is not None


def test_without_calibration_there_is_no_interval_and_it_says_how_to_get_one() -> None:
    found = task(calibrated=False)(toys.measurement())
    assert found.draws is not None
    assert found.interval is None
    assert "calibrate" in found.absent["interval"]


def test_measured_and_unmeasured_parts_add_up_and_the_measured_part_carries_the_data() -> None:
    found = Reconstruct(model="cg-sense")(toys.measurement())
    assert found.evidence is not None
    assert found.evidence.measured is not None
    assert found.evidence.unmeasured is not None
    np.testing.assert_array_equal(
        found.evidence.measured + found.evidence.unmeasured, found.image.data
    )
    assert np.linalg.norm(found.evidence.measured) > 5 * np.linalg.norm(found.evidence.unmeasured)


def test_evidence_is_exact_where_everything_and_nothing_is_measured() -> None:
    scan = toys.measurement()
    full = replace(
        scan,
        data=toys.kspace().numpy()[None],
        operator=CartesianScan(np.ones((1, *toys.SIZE), bool)),
    )
    found = Reconstruct(model="zero-filled")(full)
    assert found.evidence is not None
    assert found.evidence.unmeasured is not None
    inside = toys.magnitude().T > 0.1
    assert np.abs(found.evidence.unmeasured[0, inside, 0]).max() < 0.05


def test_one_set_of_maps_and_two_agree_on_an_object_inside_the_field_of_view() -> None:
    one, two = (
        Reconstruct(model="cg-sense", sets=sets)(toys.measurement()).image.data for sets in (1, 2)
    )
    assert np.linalg.norm(one - two) < 0.1 * np.linalg.norm(one)


def test_an_odd_matrix_is_reconstructed() -> None:
    scan = toys.measurement(size=(47, 41))
    found = task()(scan, seed=0)
    assert found.image.data.shape == (1, 41, 47, 1)
    truth = toys.magnitude((47, 41)).T
    assert np.linalg.norm(found.image.data[0, :, :, 0] - truth) < 0.2 * np.linalg.norm(truth)


def test_progress_is_told_for_every_slice() -> None:
    seen: list[tuple[str, int, int]] = []
    Reconstruct(model="zero-filled")(toys.measurement(3), progress=lambda *step: seen.append(step))
    assert [step[1:] for step in seen] == [(1, 3), (2, 3), (3, 3)]


def bad(scan: Measurement) -> dict[str, tuple[Measurement, type[Exception], str]]:
    """Damaged measurements by what is wrong with them, the error that they must give and a word of
    it.
    """
    hole, infinite, silent = scan.data.copy(), scan.data.copy(), scan.data.copy()
    hole[0, 0, 5, 5], infinite[0, 0, 5, 5], silent[1] = np.nan, np.inf, 0
    few = np.zeros((2, *toys.SIZE), bool)
    few[:, ::4, ::4] = True
    return {
        "nan": (replace(scan, data=hole), InputError, "NaN"),
        "infinite": (replace(scan, data=infinite), InputError, "infinite"),
        "silent slice": (replace(scan, data=silent), InputError, "zero"),
        "one axis too few": (
            replace(scan, data=scan.data[0]),
            GeometryError,
            "slice, coil, ky, kx",
        ),
        "another matrix": (
            replace(scan, data=scan.data[..., :-2]),
            GeometryError,
            "slice, coil, ky, kx",
        ),
        "a slice too few": (
            replace(scan, data=scan.data[:1]),
            GeometryError,
            "slice, coil, ky, kx",
        ),
        "another grid": (
            replace(scan, geometry=Geometry.index((48, 40, 2))),
            GeometryError,
            "grid",
        ),
        "no centre": (
            replace(scan, data=scan.data * few[:, None], operator=CartesianScan(few)),
            InputError,
            "centre",
        ),
    }


@pytest.mark.parametrize("what", list(bad(toys.measurement(2))))
def test_bad_data_are_refused(what: str) -> None:
    damaged, error, word = bad(toys.measurement(2))[what]
    with pytest.raises(error, match=word):
        Reconstruct(model="zero-filled")(damaged)


def test_an_image_and_settings_out_of_range_are_refused(done: Result) -> None:
    with pytest.raises(InputError, match="k-space"):
        Reconstruct(model="zero-filled")(done.image)
    with pytest.raises(SettingError, match="draws = 0"):
        Reconstruct(draws=0)
    with pytest.raises(SettingError, match="sets = 3"):
        Reconstruct(sets=3)
    with pytest.raises(SettingError, match="'wavelet'"):
        Reconstruct(model="wavelets")(toys.measurement())
    with pytest.raises(SettingError, match=r"fbp does not solve cartesian-mri.*cg-sense"):
        Reconstruct(model="fbp")(toys.measurement())
    with pytest.raises(SettingError, match=r"generator is no MeasurementModel.*denoiser"):
        Reconstruct(model="generator")(toys.measurement())


def test_many_coils_are_compressed_and_the_image_stays() -> None:
    image = Reconstruct(model="cg-sense")(toys.measurement(coils=20)).image.data[0, :, :, 0]
    assert np.linalg.norm(image - toys.magnitude().T) < 0.15 * np.linalg.norm(toys.magnitude())


def disc(rows: int, columns: int) -> torch.Tensor:
    """Water in 1/mm, right of the middle."""
    y, x = torch.meshgrid(
        torch.arange(rows) - rows / 2, torch.arange(columns) - columns / 2, indexing="ij"
    )
    return 0.02 * (torch.hypot(y, x - 4) < rows / 4).float()


GEOMETRY = """
operator = "parallel-beam"
shape = [40, 48]
spacing = [2.0, 2.0]
views = 60
units = "1/mm"
"""


def test_a_sinogram_is_reconstructed_by_its_geometry_file(tmp_path: Path) -> None:
    truth, beam = disc(40, 48), ParallelBeam((40, 48), (2.0, 2.0), half_turn(60))
    np.save(tmp_path / "sinogram.npy", beam.forward(truth).numpy())
    (tmp_path / "scanner.toml").write_text(GEOMETRY, encoding="utf-8")
    scan = read(tmp_path / "sinogram.npy", geometry=tmp_path / "scanner.toml")
    errors = {}
    for model in ("classical", "fbp", "sirt", "tv-ct", "denoiser"):
        done = Reconstruct(
            model=model,
            weights=str(toys.weights("denoiser")) if model == "denoiser" else "",
            draws=2,
        )(scan)
        assert done.image.units == "1/mm"
        assert done.image.channels == ("CT",)
        assert done.image.geometry.shape == (48, 40, 1)
        errors[model] = float(
            np.linalg.norm(done.image.data[0, :, :, 0].T - truth.numpy())
            / np.linalg.norm(truth.numpy())
        )
    assert max(errors.values()) < 0.3, errors
    assert errors["denoiser"] < errors["fbp"], "the data are consistent, and fitted"


def measured(operator: Any, truth: torch.Tensor) -> Measurement:
    data = operator.expected(truth) if isinstance(operator, PET) else operator.forward(truth)
    noise = Noise("poisson") if isinstance(operator, PET) else Noise("gaussian", 0.01)
    return Measurement(
        data.numpy()[None], operator, noise, Geometry.index((truth.shape[1], truth.shape[0], 1))
    )


def test_every_operator_has_its_models_and_others_are_refused_by_name() -> None:
    truth = disc(24, 30)
    fan = FanBeam((24, 30), (2.0, 2.0), full_turn(60), 200.0)
    pet = PET(ParallelBeam((24, 30), (2.0, 2.0), half_turn(40)), scale=1e5)
    for operator, refused, taken in (
        (fan, "osem", "sirt"),
        (pet, "fbp", "osem"),
        (pet, "wavelet", "classical"),
    ):
        scan = measured(operator, truth)
        with pytest.raises(
            SettingError, match=rf"{refused} does not solve {operator.name}.*{taken}"
        ):
            Reconstruct(model=refused)(scan)
        done = Reconstruct(model=taken)(scan).image
        assert np.isfinite(done.data).all()
        assert done.units == ("1/mm" if operator is fan else "1")


def test_units_and_contrast_of_the_header_come_before_the_usual_ones() -> None:
    scan = replace(measured(FanBeam((24, 30), (2.0, 2.0), full_turn(60), 200.0), disc(24, 30)))
    named = replace(scan, header={"units": "1/cm", "contrast": "bone"})
    done = Reconstruct(model="fbp")(named).image
    assert (done.units, done.channels) == ("1/cm", ("bone",))
