"""Reconstruction end to end: five companions or the reason why not, deterministic bytes, units, geometry, bad input refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import toys
from veridical.errors import GeometryError, InputError, SettingError
from veridical.models.prepared_scan import root_sum_of_squares
from veridical.physics.cartesian_mri import CartesianScan
from veridical.tasks.reconstruct import MOST_COILS, Reconstruct
from veridical.types import Derived, Geometry, Measurement, Noise


def task(model: str = "brain-prior", calibrated: bool = True, **settings: int) -> Reconstruct:
    weights = toys.calibrated() if calibrated and model == "brain-prior" else toys.weights(model)
    return Reconstruct(model=model, weights=str(weights), device="cpu", **{"draws": 3, "steps": 2, **settings})


@pytest.fixture(scope="module")
def done() -> Derived:
    """Two slices by a calibrated sampler."""
    return task()(toys.measurement(2), seed=1)


def test_a_calibrated_sampler_gives_all_five_companions(done: Derived) -> None:
    assert done.kind == "posterior mean"
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
    assert {finding.check for finding in done.findings} == {"consistency", "scope"}
    assert [step.task for step in done.steps] == ["reconstruct"]
    assert done.steps[0].model == "brain-prior"
    assert len(done.steps[0].weights) == 64


def test_the_band_is_never_narrower_than_the_calibrated_floor(done: Derived) -> None:
    assert done.interval is not None
    half = 0.5 * (done.interval.upper - done.interval.lower)
    assert half.min() > 0.015
    np.testing.assert_allclose(half + done.interval.lower, done.image.data, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_other_draws(done: Derived) -> None:
    again, other = task()(toys.measurement(2), seed=1), task()(toys.measurement(2), seed=2)
    assert dict(again.steps[0].outputs) == dict(done.steps[0].outputs)
    assert other.steps[0].outputs["draws"] != done.steps[0].outputs["draws"]


def test_slices_are_drawn_independently_and_in_their_place(done: Derived) -> None:
    """The same data in both slices: other draws, and slice 0 does not depend on slice 1."""
    assert done.draws is not None
    assert not np.array_equal(done.draws[..., 0], done.draws[..., 1])
    alone = task()(toys.measurement(1), seed=1)
    np.testing.assert_array_equal(alone.image.data[..., 0], done.image.data[..., 0])


def test_the_image_lies_on_the_grid_of_the_measurement_with_x_along_kx(done: Derived) -> None:
    assert done.image.geometry == toys.measurement(2).geometry
    assert (done.image.units, done.image.channels) == ("a.u.", ("T2w",))
    truth = toys.magnitude().T
    estimate = done.image.data[0, :, :, 0]
    assert np.corrcoef(estimate.ravel(), truth.ravel())[0, 1] > 0.98
    assert np.corrcoef(estimate[::-1].ravel(), truth.ravel())[0, 1] < 0.95


@pytest.mark.parametrize("factor", [1e-4, 1000.0])
def test_the_image_has_the_units_of_the_data(done: Derived, factor: float) -> None:
    scan = toys.measurement(2)
    scaled = replace(scan, data=factor * scan.data, noise=Noise("gaussian", factor * toys.SIGMA))
    found = task()(scaled, seed=1)
    assert found.interval is not None
    assert done.interval is not None
    for many, one in ((found.image.data, done.image.data), (found.interval.upper, done.interval.upper)):
        np.testing.assert_allclose(many / factor, one, atol=5e-3 * done.image.data.max())


def test_an_unknown_noise_level_is_estimated() -> None:
    mask, data = np.ones((1, 96, 80), bool), toys.kspace((96, 80), sigma=0.1).numpy()[None]
    scan = Measurement(data, CartesianScan(mask), Noise("unknown"), Geometry.index((80, 96, 1)))
    found = next(task().scans(scan))
    assert found.sigma * found.scale == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize(("model", "draws", "kind"), [("unrolled", 3, "point estimate"), ("brain-prior", 1, "one draw")])
def test_what_one_image_cannot_give_is_absent_and_says_why(model: str, draws: int, kind: str) -> None:
    found = task(model, draws=draws)(toys.measurement())
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
    together = found.evidence.measured + found.evidence.unmeasured
    assert (together >= found.image.data - 1e-4).all(), "magnitudes of parts are no smaller than that of their sum"
    assert np.linalg.norm(found.evidence.measured) > 5 * np.linalg.norm(found.evidence.unmeasured)


def test_evidence_is_exact_where_everything_and_nothing_is_measured() -> None:
    scan = toys.measurement()
    full = replace(scan, data=toys.kspace().numpy()[None], operator=CartesianScan(np.ones((1, *toys.SIZE), bool)))
    found = Reconstruct(model="zero-filled")(full)
    assert found.evidence is not None
    assert found.evidence.unmeasured is not None
    inside = toys.magnitude().T > 0.1
    assert np.abs(found.evidence.unmeasured[0, inside, 0]).max() < 0.05


def test_one_set_of_maps_and_two_agree_on_an_object_inside_the_field_of_view() -> None:
    one, two = (Reconstruct(model="cg-sense", sets=sets)(toys.measurement()).image.data for sets in (1, 2))
    assert np.linalg.norm(one - two) < 0.1 * np.linalg.norm(one)


def test_a_single_coil_needs_no_maps() -> None:
    scan = toys.measurement(coils=1)
    found = next(Reconstruct(model="zero-filled").scans(scan))
    assert found.operator.maps.shape == (2, 1, *toys.SIZE)
    assert (found.operator.maps[0] == 1).all()
    assert not found.operator.maps[1].any()


def test_many_coils_are_compressed_and_the_image_stays() -> None:
    many = toys.measurement(coils=20)
    scan = next(Reconstruct(model="zero-filled").scans(many))
    assert scan.operator.maps.shape[1] == MOST_COILS
    image = Reconstruct(model="cg-sense")(many).image.data[0, :, :, 0]
    assert np.linalg.norm(image - toys.magnitude().T) < 0.15 * np.linalg.norm(toys.magnitude())


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
    """Damaged measurements by what is wrong with them, the error that they must give and a word of it."""
    hole, infinite, silent = scan.data.copy(), scan.data.copy(), scan.data.copy()
    hole[0, 0, 5, 5], infinite[0, 0, 5, 5], silent[1] = np.nan, np.inf, 0
    few = np.zeros((2, *toys.SIZE), bool)
    few[:, ::4, ::4] = True
    return {
        "nan": (replace(scan, data=hole), InputError, "NaN"),
        "infinite": (replace(scan, data=infinite), InputError, "infinite"),
        "silent slice": (replace(scan, data=silent), InputError, "zero"),
        "one axis too few": (replace(scan, data=scan.data[0]), GeometryError, "slice, coil, ky, kx"),
        "another matrix": (replace(scan, data=scan.data[..., :-2]), GeometryError, "slice, coil, ky, kx"),
        "a slice too few": (replace(scan, data=scan.data[:1]), GeometryError, "slice, coil, ky, kx"),
        "another grid": (replace(scan, geometry=Geometry.index((48, 40, 2))), GeometryError, "grid"),
        "no centre": (replace(scan, data=scan.data * few[:, None], operator=CartesianScan(few)), InputError, "centre"),
    }


@pytest.mark.parametrize("what", list(bad(toys.measurement(2))))
def test_bad_data_are_refused(what: str) -> None:
    damaged, error, word = bad(toys.measurement(2))[what]
    with pytest.raises(error, match=word):
        Reconstruct(model="zero-filled")(damaged)


def test_an_image_and_settings_out_of_range_are_refused(done: Derived) -> None:
    with pytest.raises(InputError, match="k-space"):
        Reconstruct(model="zero-filled")(done.image)
    with pytest.raises(SettingError, match="draws = 0"):
        Reconstruct(draws=0)
    with pytest.raises(SettingError, match="sets = 3"):
        Reconstruct(sets=3)
    with pytest.raises(SettingError, match="'wavelet'"):
        Reconstruct(model="wavelets")(toys.measurement())
    with pytest.raises(SettingError, match=r"fbp does not solve MR scans.*cg-sense"):
        Reconstruct(model="fbp")(toys.measurement())
    with pytest.raises(SettingError, match="1 to 1000"):
        task(steps=0)(toys.measurement())


def test_the_prepared_scan_explains_the_data() -> None:
    scan = next(task().scans(toys.measurement()))
    truth = toys.sensitivities() * toys.picture()
    image = scan.operator.combine(truth)
    fitted = root_sum_of_squares(scan.operator.coil_images(image))
    torch.testing.assert_close(fitted, toys.picture().abs(), atol=0.05, rtol=0.05)


def test_a_band_calibrated_at_other_steps_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Reconstruct.card
    monkeypatch.setattr(Reconstruct, "card", lambda self: {**told(self), "calibration_steps": 99})
    found = task()(toys.measurement())
    assert found.interval is None
    assert "calibrated for 99 sampler steps" in found.absent["interval"]
