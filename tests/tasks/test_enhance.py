"""Enhancement: each job on its modality, grids in their place, noise that falls, other channels that only help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import toys
from priors import BODY, volume, weights
from veridical.errors import InputError, SettingError
from veridical.models.body_prior import BodyPrior
from veridical.models.brain_prior import BrainPrior
from veridical.models.weights import card
from veridical.tasks.enhance import Enhance, finer
from veridical.tasks.image_problems import as_scan
from veridical.types import Geometry, Image

AFFINE = np.array([[-2.0, 0.3, 0, 50], [0.1, 2.5, 0, -40], [0, 0, 3, 10], [0, 0, 0, 1]])
SIZES = pytest.mark.parametrize("shape", [(40, 48), (41, 48), (41, 47)])
MR = ("denoise", "super-resolve", "isotropic", "bias-field", "motion")
CALIBRATED = tuple(f"enhance-{kind}" for kind in ("noise", "blur", "thick", "bias", "ghosts"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    return weights(BrainPrior, folder, jobs=CALIBRATED)


@pytest.fixture(scope="module")
def body(folder: Path) -> str:
    return weights(BodyPrior, folder, BODY, CALIBRATED)


def enhance(weights: str, job: str, **settings: object) -> Enhance:
    """The job by the model that the weights belong to."""
    model = card(weights)["model"]
    return Enhance(job=job, model=model, weights=weights, device="cpu", draws=2, steps=2, **settings)  # type: ignore[arg-type]


def image(data: np.ndarray) -> Image:
    """Slices `(x, y, z)` on an oblique grid."""
    return Image(data[None].astype(np.float32), Geometry(data.shape, AFFINE), "a.u.", ("T1w",))  # type: ignore[arg-type]


@pytest.mark.parametrize("job", MR)
def test_every_job_on_mr_has_all_companions_and_keeps_name_and_units(path: str, job: str) -> None:
    found = enhance(path, job, noise=2.0)(volume(), seed=3)
    assert (found.image.units, found.image.channels, found.kind) == ("a.u.", ("T1w",), "posterior mean")
    assert dict(found.absent) == {}
    assert found.draws is not None
    assert found.draws.shape == (2, *found.image.data.shape)
    assert {finding.check for finding in found.findings} == {"consistency", "scope", "pathology"}


@pytest.mark.parametrize(("job", "channel"), [("low-dose-ct", "CT"), ("sparse-view-ct", "CT"), ("low-count-pet", "PET")])
def test_ct_and_pet_have_their_own_jobs_and_units(body: str, job: str, channel: str) -> None:
    image = volume(("T1w", "CT", "PET"))
    found = enhance(body, job, channel=channel)(image)
    assert (found.image.channels, found.image.units) == ((channel,), image.units_of(channel))
    assert dict(found.absent) == {}


@pytest.mark.parametrize("job", ["low-dose-ct", "sparse-view-ct", "low-count-pet"])
def test_a_job_for_ct_or_pet_refuses_mr(body: str, job: str) -> None:
    with pytest.raises(InputError, match=r"enhances a channel called (CT|PET); got 'T1w'"):
        enhance(body, job)(volume(("T1w",)))


def test_a_job_for_mr_refuses_ct_pet_and_labels(path: str) -> None:
    for name, units in (("CT", "HU"), ("PET", "SUV")):
        with pytest.raises(InputError, match=units):
            enhance(path, "denoise")(volume((name,)))
    with pytest.raises(InputError, match="label"):
        enhance(path, "denoise")(replace(volume(("T1w",)), units="label"))


def test_a_contrast_that_the_prior_does_not_know_is_enhanced_as_other_under_its_own_name(path: str) -> None:
    known = volume(("T1w",))
    found = enhance(path, "denoise")(replace(known, channels=("SWI",)))
    assert found.image.channels == ("SWI",)


def test_the_estimate_of_a_net_that_changes_nothing_is_what_was_measured(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        BrainPrior, "complete", lambda _, known, draws, seed, noise: known.anchor[:, None].repeat(1, draws, 1, 1, 1)
    )
    for job in ("denoise", "bias-field", "motion"):
        np.testing.assert_allclose(enhance(path, job)(volume()).image.data[0], volume()["T1w"], rtol=1e-5)


def test_isotropic_slices_are_as_thin_as_the_pixels(path: str) -> None:
    found = enhance(path, "isotropic")(volume(spacing=(2.0, 2.0, 6.0)))
    assert found.image.geometry.shape == (24, 28, 18)
    assert found.image.geometry.spacing == pytest.approx((2.0, 2.0, 2.0))


def test_contrasts_that_stand_beside_are_not_changed_and_not_returned_but_count(path: str) -> None:
    both = volume(("T1w", "T2w"))
    alone, beside = (enhance(path, "denoise", noise=2.0)(each) for each in (volume(("T1w",)), both))
    assert beside.image.channels == ("T1w",)
    assert (beside.image.data != alone.image.data).any()


@pytest.mark.parametrize("factor", [1e-3, 1000.0])
@pytest.mark.parametrize("job", ["denoise", "super-resolve"])
def test_the_result_grows_with_the_image(path: str, job: str, factor: float) -> None:
    noisy = toys.magnitude().T[..., None] + 0.05 * np.random.default_rng(0).normal(size=(40, 48, 1))
    plain, scaled = (enhance(path, job)(image(f * noisy), seed=1).image.data for f in (1.0, factor))
    np.testing.assert_allclose(scaled / factor, plain, atol=5e-3 * plain.max())


@SIZES
def test_the_centre_voxel_keeps_its_place_and_so_does_the_first_of_an_even_axis(shape: tuple[int, int]) -> None:
    given = Geometry((*shape, 3), AFFINE)
    doubled = finer(given)
    old, new = ([n // 2 for n in grid.shape[:2]] for grid in (given, doubled))
    np.testing.assert_allclose(doubled.affine @ [*new, 2, 1], given.affine @ [*old, 2, 1])
    first = [n % 2 for n in shape]
    np.testing.assert_allclose(doubled.affine @ [*first, 0, 1], given.affine @ [0, 0, 0, 1])
    assert doubled.frame == given.frame


@SIZES
def test_a_classical_solver_doubles_the_grid_too_and_keeps_values(shape: tuple[int, int]) -> None:
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    given = image((np.exp(-4 * (x**2 + y**2)) + 0.01)[..., None])
    found = Enhance(job="super-resolve", model="cg-sense", noise=1e-4)(given).image
    assert found.geometry.shape == (2 * shape[0], 2 * shape[1], 1)
    start = [2 * (n // 2) - 2 * ((2 * n) // 4) for n in shape]
    assert start == [0, 0]
    offset = [n % 2 for n in shape]
    np.testing.assert_allclose(
        found.data[0, offset[0] :: 2, offset[1] :: 2, 0], given.data[0, : found.data.shape[1] // 2, :, 0], atol=0.02
    )


@pytest.mark.parametrize("model", ["wavelet", "total-variation"])
def test_classical_denoising_brings_an_image_nearer_to_the_truth_on_the_same_grid(model: str) -> None:
    truth = toys.magnitude((96, 80)).T[..., None]
    noisy = truth + 0.08 * np.random.default_rng(0).normal(size=truth.shape)
    given = image(noisy)
    found = Enhance(model=model)(given).image
    assert found.geometry == given.geometry
    assert np.linalg.norm(found.data[0] - truth) < 0.85 * np.linalg.norm(noisy - truth)


def test_a_finer_grid_sees_the_image_as_the_centre_of_kspace_with_its_noise() -> None:
    scan = as_scan(toys.magnitude(), 1e-3, 2.0)
    assert float(scan.operator.mask.mean()) == pytest.approx(0.25)  # type: ignore[attr-defined]
    noisy = 2 + 0.05 * np.random.default_rng(0).normal(size=(96, 80))
    for noise, wanted in ((0.0, 0.005 * 2.1), (0.2, 0.2)):
        scan = as_scan(noisy, noise, 2.0)
        assert scan.sigma * scan.scale / 2 == pytest.approx(wanted, rel=0.15)


MEASURED = ("denoise", "super-resolve", "upsample", "isotropic", "deblur", "low-dose-ct", "low-count-pet")


@pytest.mark.parametrize("job", MEASURED)
def test_every_job_that_is_a_measurement_keeps_name_and_units_and_its_parts_sum_to_it(job: str) -> None:
    channel = {"low-dose-ct": "CT", "low-count-pet": "PET"}.get(job, "T1w")
    given = volume((channel,), spacing=(2.0, 2.0, 6.0) if job == "isotropic" else (2.0, 2.0, 4.0))
    noise = 20.0 if channel == "CT" else 0.1 if channel == "PET" else 2.0
    found = enhance(str(toys.weights("denoiser")), job, noise=noise)(given, seed=3)
    assert (found.image.channels, found.image.units) == ((channel,), given.units_of(channel))
    itself = job in ("denoise", "low-dose-ct", "low-count-pet")
    assert found.kind == ("posterior mean" if itself else "plug-and-play estimate")
    assert found.draws is not None
    assert found.draws.shape == (2, *found.image.data.shape)
    assert found.evidence is not None
    assert found.evidence.measured is not None
    assert found.evidence.unmeasured is not None
    np.testing.assert_array_equal(found.evidence.measured + found.evidence.unmeasured, found.image.data)
    assert "calibrated" in found.absent["interval"]
    assert {finding.check for finding in found.findings} == {"consistency", "scope"}
    finest = {"super-resolve": (48, 56, 6), "upsample": (48, 56, 6), "isotropic": (24, 28, 18)}
    assert found.image.geometry.shape == finest.get(job, given.geometry.shape)


def test_air_of_ct_stays_air_and_bone_stays_bone() -> None:
    given = volume(("CT",))
    found = enhance(str(toys.weights("denoiser")), "low-dose-ct", noise=20.0)(given).image.data[0]
    air = given["CT"] == -1000
    assert found[air].mean() == pytest.approx(-1000, abs=30)
    assert found[~air].mean() == pytest.approx(float(given["CT"][~air].mean()), abs=60)


def test_a_calibrated_denoiser_gives_an_interval() -> None:
    found = enhance(str(toys.calibrated()), "denoise", noise=2.0)(volume(("T1w",)))
    assert dict(found.absent) == {}
    assert found.interval is not None
    assert (found.interval.lower <= found.image.data).all()


def test_a_bias_field_is_divided_out_by_n4_unless_a_prior_is_asked_for() -> None:
    assert Enhance(job="bias-field").model_and_weights() == ("n4", "none")
    assert Enhance(job="denoise").model_and_weights()[0] == "denoiser"
    assert Enhance(job="motion").model_and_weights()[0] == "brain-prior"


@pytest.mark.parametrize("size", [(47, 41), (48, 40)])
def test_evidence_of_a_denoised_image_is_about_more_than_its_last_line(size: tuple[int, int]) -> None:
    from veridical.tasks.solved import detail

    image_ = toys.picture(size)
    fine = detail(image_, np.ones(size, bool))
    left = float(fine.abs().square().sum() / image_.abs().square().sum())
    assert 0.001 < left < 0.5
    kept = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(fine)))
    assert float((kept.abs() > 1e-4).float().mean()) > 0.9


def test_what_a_solver_of_slices_cannot_do_is_refused() -> None:
    good = image(toys.magnitude().T[..., None])
    with pytest.raises(InputError, match="reconstruct"):
        Enhance(model="wavelet")(toys.measurement())
    with pytest.raises(InputError, match="all zero"):
        Enhance(job="super-resolve", model="wavelet")(replace(good, data=0 * good.data))
    with pytest.raises(SettingError, match="wavelet does not take motion; brain-prior does"):
        Enhance(model="wavelet", job="motion")(good)
    for wrong in (np.nan, np.inf):
        data = good.data.copy()
        data[0, 3, 3, 0] = wrong
        with pytest.raises(InputError, match="NaN or infinite"):
            Enhance(model="wavelet")(replace(good, data=data))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="denoise, super-resolve"):
        Enhance(job="sharpen")  # type: ignore[arg-type]
    for wrong in ({"draws": 0}, {"noise": -1.0}, {"factor": 1.0}, {"factor": 20.0}, {"estimate": "median"}):
        with pytest.raises(SettingError):
            Enhance(**wrong)  # type: ignore[arg-type]


def test_one_draw_as_the_result_is_refused_where_the_model_gives_its_estimate() -> None:
    with pytest.raises(SettingError, match="denoiser gives its estimate"):
        Enhance(estimate="draw")(volume(("T1w",)))
