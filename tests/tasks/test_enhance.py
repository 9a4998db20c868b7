"""Enhancement: each job on its modality, noise that falls, units, shifts and slice axes kept, other
channels only help.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
from priors import BODY, volume, weights
from veridical.errors import InputError, SettingError
from veridical.models.generator import Generator
from veridical.tasks.enhance import Enhance
from veridical.types import Geometry, Image, Result

AFFINE = np.array([[-2.0, 0.3, 0, 50], [0.1, 2.5, 0, -40], [0, 0, 3, 10], [0, 0, 0, 1]])
CHANNEL = {"low-dose-ct": "CT", "sparse-view-ct": "CT", "low-count-pet": "PET"}
SOLVED = (
    "denoise",
    "super-resolve",
    "upsample",
    "isotropic",
    "deblur",
    "low-dose-ct",
    "low-count-pet",
)
RESTORED = ("motion", "sparse-view-ct")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def generators(folder: Path) -> dict[str, str]:
    ghosts, streaks = "motion-ghosts", "sparse-view-streaks"
    return {
        "motion": weights(folder, jobs=[f"enhance-{ghosts}"], degradations=[ghosts]),
        "sparse-view-ct": weights(folder, BODY, [f"enhance-{streaks}"], degradations=[streaks]),
    }


def by_denoiser(job: str, **settings: Any) -> Enhance:
    path = str(toys.weights("denoiser"))
    return Enhance(job=job, weights=path, device="cpu", **{"draws": 2, **settings})  # type: ignore[arg-type]


def restore(paths: dict[str, str], job: str, **settings: Any) -> Enhance:
    return Enhance(job=job, weights=paths[job], device="cpu", draws=2, steps=2, **settings)  # type: ignore[arg-type]


def image(data: np.ndarray, affine: np.ndarray = AFFINE) -> Image:
    """An image `(x, y, z)` on an oblique grid."""
    return Image(data[None].astype(np.float32), Geometry(data.shape, affine), "a.u.", ("T1w",))  # type: ignore[arg-type]


def parts_sum(result: Result) -> None:
    assert result.evidence is not None
    assert result.evidence.measured is not None
    assert result.evidence.unmeasured is not None
    np.testing.assert_array_equal(
        result.evidence.measured + result.evidence.unmeasured, result.image.data
    )


@pytest.mark.parametrize("job", SOLVED)
def test_every_job_that_is_a_measurement_keeps_name_and_units_and_its_parts_sum_to_it(
    job: str,
) -> None:
    channel = CHANNEL.get(job, "T1w")
    given = volume((channel,), spacing=(2.0, 2.0, 6.0) if job == "isotropic" else (2.0, 2.0, 4.0))
    noise = {"CT": 20.0, "PET": 0.1}.get(channel, 2.0)
    found = by_denoiser(job, noise=noise)(given, seed=3)
    assert (found.image.channels, found.image.units) == ((channel,), given.units_of(channel))
    itself = job in ("denoise", "low-dose-ct", "low-count-pet")
    assert found.kind == ("posterior mean" if itself else "plug-and-play estimate")
    assert found.draws is not None
    assert found.draws.shape == (2, *found.image.data.shape)
    assert set(found.absent) == {"interval"}
    assert f"not calibrated for enhance-{job}" in found.absent["interval"]
    parts_sum(found)
    finest = {"super-resolve": (48, 56, 6), "upsample": (48, 56, 6), "isotropic": (24, 28, 18)}
    assert found.image.geometry.shape == finest.get(job, given.geometry.shape)


@pytest.mark.parametrize("job", RESTORED)
def test_every_job_of_a_generator_has_all_companions_and_keeps_name_and_units(
    generators: dict[str, str], job: str
) -> None:
    given = volume(("T1w", "CT", "PET")) if job in CHANNEL else volume()
    channel = CHANNEL.get(job, "T1w")
    found = restore(generators, job, channel=channel)(given, seed=3)
    assert (found.image.channels, found.image.units) == ((channel,), given.units_of(channel))
    assert (found.kind, dict(found.absent)) == ("posterior mean", {})
    assert found.draws is not None
    assert found.draws.shape == (2, *found.image.data.shape)
    assert found.image.geometry == given.geometry
    assert (
        restore(generators, job, channel=channel, estimate="draw")(given, seed=3).kind == "one draw"
    )


def test_a_calibrated_denoiser_gives_an_interval_around_its_estimate() -> None:
    task = Enhance(weights=str(toys.calibrated()), device="cpu", draws=2, noise=2.0)
    found = task(volume(("T1w",)))
    assert dict(found.absent) == {}
    assert found.interval is not None
    assert (found.interval.lower <= found.image.data).all()
    assert (found.image.data <= found.interval.upper).all()


def test_the_same_seed_gives_the_same_bytes(generators: dict[str, str]) -> None:
    for task in (by_denoiser("denoise", noise=2.0), restore(generators, "motion")):
        first, again, other = (
            dict(task(volume(), seed=seed).steps[0].outputs) for seed in (1, 1, 2)
        )
        assert first == again
        assert first["draws"] != other["draws"]


@pytest.mark.parametrize("job", list(CHANNEL))
def test_a_job_for_ct_or_pet_refuses_mr_and_other_units(job: str) -> None:
    channel = CHANNEL[job]
    with pytest.raises(
        InputError, match=rf"{job} enhances a {channel}; got 'T1w'. Name it: --contrast {channel}"
    ):
        Enhance(job=job)(volume(("T1w",)))  # type: ignore[arg-type]
    wrong = replace(volume((channel,)), units="a.u.", header={})
    wanted = "HU" if channel == "CT" else "SUV"
    with pytest.raises(
        InputError, match=rf"takes {channel} in {wanted}; got a.u..* --units {wanted}"
    ):
        Enhance(job=job)(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("job", ["denoise", "super-resolve", "motion", "bias-field"])
def test_a_job_for_mr_refuses_ct_pet_and_labels(job: str) -> None:
    for name, units in (("CT", "HU"), ("PET", "SUV")):
        with pytest.raises(
            InputError, match=f"{name} is in {units}. For CT and PET: --job low-dose-ct"
        ):
            Enhance(job=job)(volume((name,)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="label"):
        Enhance(job=job)(replace(volume(("T1w",)), units="label"))  # type: ignore[arg-type]


@pytest.mark.parametrize("job", ["denoise", "super-resolve", "deblur", "motion", "bias-field"])
def test_complex_numbers_and_holes_are_refused(job: str) -> None:
    good = volume(("T1w",))
    with pytest.raises(InputError, match="T1w is complex; enhance takes real images"):
        Enhance(job=job)(replace(good, data=good.data.astype(np.complex64)))  # type: ignore[arg-type]
    for hole in (np.nan, np.inf):
        data = good.data.copy()
        data[0, 3, 3, 0] = hole
        with pytest.raises(InputError, match="NaN or infinite"):
            Enhance(job=job)(replace(good, data=data))  # type: ignore[arg-type]


@pytest.mark.parametrize("job", ["denoise", "super-resolve", "deblur", "motion"])
def test_an_image_shifted_below_zero_is_enhanced_as_the_same_image_and_stays_shifted(
    generators: dict[str, str], job: str
) -> None:
    """Standardized to mean 0 and deviation 1, with air in the fluctuations that noise has."""
    rng = np.random.default_rng(0)
    given = volume(("T1w",))
    noisy = np.hypot(
        given.data + rng.normal(0, 1, given.data.shape), rng.normal(0, 1, given.data.shape)
    )
    mean, deviation = noisy.mean(), noisy.std()
    task = restore(generators, job) if job == "motion" else by_denoiser(job)
    plain, moved = (
        task(replace(given, data=data.astype(np.float32)), seed=1).image.data
        for data in (noisy, (noisy - mean) / deviation)
    )
    np.testing.assert_allclose(moved * deviation + mean, plain, atol=0.06 * np.ptp(plain))
    assert moved.min() < -0.5


def test_an_image_standardized_within_a_mask_is_refused() -> None:
    given = volume(("T1w",))
    inside = given.data > 0
    data = np.where(inside, (given.data - given.data[inside].mean()) / given.data[inside].std(), 0)
    with pytest.raises(InputError, match="standardized within a mask"):
        by_denoiser("denoise")(replace(given, data=data))


@pytest.mark.parametrize("job", ["denoise", "super-resolve", "deblur"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_along_any_axis_is_the_same_slice(job: str, axis: int) -> None:
    """The finer grid is finer in the plane of the slice, whichever it is."""
    y_x = toys.magnitude() + 0.03 * np.random.default_rng(0).normal(size=toys.SIZE)
    flat = y_x.T[..., None]
    data = np.moveaxis(flat, 2, axis)
    plain, turned = (
        by_denoiser(job, noise=0.03)(image(each, np.eye(4)), seed=1).image for each in (flat, data)
    )
    finer = 2 if job == "super-resolve" else 1
    wanted = [finer * n for n in flat.shape[:2]]
    wanted.insert(axis, 1)
    assert list(turned.geometry.shape) == wanted
    spacing = [1 / finer] * 2
    spacing.insert(axis, 1.0)
    assert turned.geometry.spacing == pytest.approx(spacing)
    np.testing.assert_allclose(np.moveaxis(turned.data[0], axis, 2), plain.data[0], atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_super_resolution_keeps_thick_slices_whatever_axis_they_are_stacked_along(
    axis: int,
) -> None:
    shape, spacing = [16, 18, 20], [1.0, 1.0, 1.0]
    middle = volume(("T1w",), (16, 18, 20)).data.take((7, 8, 9), 1 + axis)
    shape[axis], spacing[axis] = 3, 5.0
    given = image(middle[0], np.diag([*spacing, 1.0]))
    found = Enhance(job="super-resolve", model="cg-sense", noise=1.0)(given).image
    fine = [n if a == axis else 2 * n for a, n in enumerate(shape)]
    assert list(found.geometry.shape) == fine
    assert found.geometry.spacing == pytest.approx(
        [s if a == axis else s / 2 for a, s in enumerate(spacing)]
    )
    coarse = tuple(slice(None) if a == axis else slice(None, None, 2) for a in range(3))
    assert np.corrcoef(found.data[0][coarse].ravel(), given.data[0].ravel())[0, 1] > 0.98


def test_thick_sagittal_slices_become_isotropic_along_their_own_axis() -> None:
    given = volume(("T1w",), (5, 20, 22), (6.0, 2.0, 2.0))
    found = by_denoiser("isotropic", noise=1.0)(given).image
    assert found.geometry.shape == (15, 20, 22)
    assert found.geometry.spacing == pytest.approx((2.0, 2.0, 2.0))
    for already in (
        volume(("T1w",), spacing=(2.0, 2.0, 2.2)),
        replace(given, geometry=Geometry.index((5, 20, 22))),
    ):
        with pytest.raises(InputError, match="Nothing is to be made isotropic"):
            by_denoiser("isotropic")(already)


def test_contrasts_that_stand_beside_are_not_changed_and_not_returned_but_count(
    generators: dict[str, str],
) -> None:
    alone, beside = (
        restore(generators, "motion")(volume(names)) for names in (("T1w",), ("T1w", "T2w"))
    )
    assert beside.image.channels == ("T1w",)
    assert (beside.image.data != alone.image.data).any()


def test_the_estimate_of_a_generator_that_changes_nothing_is_what_was_measured(
    generators: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Generator,
        "make",
        lambda _, requests, draws, noise: np.stack([[r.initial] * draws for r in requests]),
    )
    given = volume(("T1w",))
    np.testing.assert_allclose(
        restore(generators, "motion")(given).image.data, given.data, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("factor", [1e-3, 1000.0])
@pytest.mark.parametrize("job", ["denoise", "super-resolve", "motion"])
def test_the_result_grows_with_the_image(
    generators: dict[str, str], job: str, factor: float
) -> None:
    noisy = toys.magnitude().T[..., None] + 0.05 * np.abs(
        np.random.default_rng(0).normal(size=(40, 48, 1))
    )
    task = restore(generators, job) if job == "motion" else by_denoiser(job)
    plain, scaled = (task(image(f * noisy), seed=1).image.data for f in (1.0, factor))
    np.testing.assert_allclose(scaled / factor, plain, atol=5e-3 * plain.max())


@pytest.mark.parametrize("shape", [(40, 48), (41, 48), (41, 47)])
def test_a_classical_solver_doubles_the_grid_too_and_keeps_values(shape: tuple[int, int]) -> None:
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    given = image((np.exp(-4 * (x**2 + y**2)) + 0.01)[..., None])
    found = Enhance(job="super-resolve", model="cg-sense", noise=1e-4)(given).image
    assert found.geometry.shape == (2 * shape[0], 2 * shape[1], 1)
    offset = [n % 2 for n in shape]
    fine = found.data[0, offset[0] :: 2, offset[1] :: 2, 0]
    np.testing.assert_allclose(fine, given.data[0, : found.data.shape[1] // 2, :, 0], atol=0.02)


@pytest.mark.parametrize("model", ["wavelet", "total-variation"])
def test_a_classical_solver_of_finer_grids_is_named_and_does_not_take_other_jobs(
    model: str,
) -> None:
    assert Enhance(job="super-resolve", model=model).model_and_weights() == (model, "none")
    with pytest.raises(SettingError, match=f"--model {model} does not take --job denoise"):
        Enhance(model=model)(volume(("T1w",)))


def test_denoising_brings_an_image_nearer_to_the_truth() -> None:
    truth = volume(("T1w",), (32, 36, 6))
    noisy = np.abs(truth.data + 8 * np.random.default_rng(0).normal(size=truth.data.shape)).astype(
        np.float32
    )
    found = Enhance(weights="denoiser", device="cpu", draws=1, noise=8.0)(
        replace(truth, data=noisy)
    )
    assert np.linalg.norm(found.image.data - truth.data) < 0.6 * np.linalg.norm(noisy - truth.data)


def test_air_of_ct_stays_air_and_bone_stays_bone() -> None:
    given = volume(("CT",))
    found = by_denoiser("low-dose-ct", noise=20.0)(given).image.data[0]
    air = given["CT"] == -1000
    assert found[air].mean() == pytest.approx(-1000, abs=30)
    assert found[~air].mean() == pytest.approx(float(given["CT"][~air].mean()), abs=60)


def test_each_job_names_its_model() -> None:
    with toys.shipped():
        named = {
            job: Enhance(job=job).model_and_weights()[0]
            for job in ("bias-field", *SOLVED, *RESTORED)
        }  # type: ignore[arg-type]
    assert named == {
        "bias-field": "n4",
        **dict.fromkeys(SOLVED, "denoiser"),
        **dict.fromkeys(RESTORED, "generator"),
    }


def test_raw_data_empty_images_and_models_of_another_kind_are_refused(
    generators: dict[str, str],
) -> None:
    good = image(toys.magnitude().T[..., None])
    with pytest.raises(InputError, match="veridical reconstruct"):
        by_denoiser("denoise")(toys.measurement())
    for job in ("denoise", "super-resolve", "deblur"):
        with pytest.raises(InputError, match="the same everywhere"):
            by_denoiser(job)(replace(good, data=0 * good.data))
    with pytest.raises(InputError, match="T2w"):
        by_denoiser("denoise", channel="T2w")(good)
    with pytest.raises(SettingError, match="wavelet is no ImageModel"):
        Enhance(model="wavelet", job="motion")(good)
    with pytest.raises(SettingError, match="generator is no MeasurementModel"):
        Enhance(model="generator")(good)


@pytest.mark.parametrize(
    "wrong",
    [
        {"job": "sharpen"}, {"draws": 0}, {"noise": -1.0}, {"factor": 1.0}, {"factor": 20.0}, {"blur": 0.0},  # noqa: E501
        {"estimate": "median"}, {"estimate": "draw"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(wrong))}"):
        Enhance(**wrong)
