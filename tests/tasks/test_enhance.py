"""Enhancement: the grid of a doubled image lies where k-space padding puts it, units stay, noise falls, HU is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import toys
from veridical.errors import InputError, SettingError
from veridical.tasks.enhance import Enhance, finer
from veridical.types import Geometry, Image

AFFINE = np.array([[-2.0, 0.3, 0, 50], [0.1, 2.5, 0, -40], [0, 0, 3, 10], [0, 0, 0, 1]])
SIZES = pytest.mark.parametrize("shape", [(40, 48), (41, 48), (41, 47)])


def enhance(job: str, model: str = "brain-prior", **settings: float) -> Enhance:
    weights = {"brain-prior": str(toys.calibrated()), "unrolled": str(toys.weights("unrolled"))}.get(model, "")
    return Enhance(job=job, model=model, weights=weights, device="cpu", draws=2, steps=2, **settings)  # type: ignore[arg-type]


def image(data: np.ndarray, units: str = "a.u.") -> Image:
    """Slices `(x, y, z)` on an oblique grid."""
    return Image(data[None].astype(np.float32), Geometry(data.shape, AFFINE), units, ("T1w",))  # type: ignore[arg-type]


def blob(shape: tuple[int, int], centre: np.ndarray, width: float = 5.0) -> np.ndarray:
    """A Gaussian at a place in millimetres, `(x, y, 1)`."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), [0], [1], indexing="ij"), 0)[:, :, :, 0, 0]
    place = np.einsum("ij,jxy->ixy", AFFINE, index.astype(float))[:3]
    return np.asarray(np.exp(-((place - centre[:, None, None]) ** 2).sum(0) / (2 * width**2)))[..., None]


@SIZES
def test_super_resolution_doubles_the_grid_and_leaves_everything_in_its_place(shape: tuple[int, int]) -> None:
    centre = (AFFINE @ [17.3, 24.6, 0, 1])[:3]
    given = image(blob(shape, centre) + 0.01)
    found = enhance("super-resolve", "cg-sense", noise=1e-4)(given).image
    assert found.geometry.shape == (2 * shape[0], 2 * shape[1], 1)
    np.testing.assert_allclose(found.geometry.spacing, np.array(given.geometry.spacing) / [2, 2, 1])
    weight = np.where(found.data[0, :, :, 0] > 0.2, found.data[0, :, :, 0], 0)
    index = [float((axis * weight).sum() / weight.sum()) for axis in np.indices(weight.shape)]
    np.testing.assert_allclose((found.geometry.affine @ [*index, 0, 1])[:3], centre, atol=0.05)


@SIZES
def test_the_centre_voxel_keeps_its_place_and_so_does_the_first_of_an_even_axis(shape: tuple[int, int]) -> None:
    given = Geometry((*shape, 3), AFFINE)
    doubled = finer(given)
    old, new = ([n // 2 for n in grid.shape[:2]] for grid in (given, doubled))
    np.testing.assert_allclose(doubled.affine @ [*new, 2, 1], given.affine @ [*old, 2, 1])
    first = [n % 2 for n in shape]
    np.testing.assert_allclose(doubled.affine @ [*first, 0, 1], given.affine @ [0, 0, 0, 1])
    assert doubled.frame == given.frame


def test_super_resolution_keeps_the_values_and_recovers_detail_of_a_smooth_object() -> None:
    centre = (AFFINE @ [20, 24, 0, 1])[:3]
    given = image(blob((40, 48), centre) + 0.01)
    found = enhance("super-resolve", "cg-sense", noise=1e-4)(given).image
    np.testing.assert_allclose(found.data[0, ::2, ::2, 0], given.data[0, :, :, 0], atol=0.02)


@pytest.mark.parametrize("model", ["wavelet", "total-variation"])
def test_denoising_brings_an_image_nearer_to_the_truth_on_the_same_grid(model: str) -> None:
    truth = toys.magnitude((96, 80)).T[..., None]
    noisy = truth + 0.08 * np.random.default_rng(0).normal(size=truth.shape)
    given = image(noisy)
    found = Enhance(model=model)(given).image
    assert found.geometry == given.geometry
    assert np.linalg.norm(found.data[0] - truth) < 0.85 * np.linalg.norm(noisy - truth)


def test_a_sampler_gives_all_companions_for_both_jobs_and_keeps_units_and_names() -> None:
    for job in ("denoise", "super-resolve"):
        found = enhance(job)(image(toys.magnitude().T[..., None].repeat(2, -1)), seed=3)
        assert (found.image.units, found.image.channels, found.kind) == ("a.u.", ("T1w",), "posterior mean")
        assert dict(found.absent) == {}
        assert found.interval is not None
        assert {finding.check for finding in found.findings} == {"consistency", "scope"}
        assert found.draws is not None
        assert found.draws.shape == (2, *found.image.data.shape)


def test_what_super_resolution_did_not_measure_is_the_outer_kspace() -> None:
    given = image(toys.magnitude().T[..., None])
    found = enhance("super-resolve", noise=1e-3)(given)
    assert found.evidence is not None
    assert found.evidence.measured is not None
    scan = enhance("super-resolve", noise=1e-3).scan(given.data[0, :, :, 0].T)
    assert float(scan.operator.mask.mean()) == pytest.approx(0.25)
    denoised = enhance("denoise", noise=1e-3).scan(given.data[0, :, :, 0].T)
    assert float(denoised.operator.mask.mean()) == 1


@pytest.mark.parametrize("factor", [1e-3, 1000.0])
@pytest.mark.parametrize("job", ["denoise", "super-resolve"])
def test_the_result_grows_with_the_image(job: str, factor: float) -> None:
    noisy = toys.magnitude().T[..., None] + 0.05 * np.random.default_rng(0).normal(size=(40, 48, 1))
    plain, scaled = (enhance(job)(image(f * noisy), seed=1).image.data for f in (1.0, factor))
    np.testing.assert_allclose(scaled / factor, plain, atol=5e-3 * plain.max())


def test_the_noise_is_estimated_from_the_image_when_it_is_not_given() -> None:
    smooth = blob((96, 80), (AFFINE @ [48, 40, 0, 1])[:3], 20)[..., 0]
    noisy = smooth + 0.05 * np.random.default_rng(0).normal(size=(96, 80))
    scan = Enhance(model="wavelet").scan(noisy)
    assert scan.sigma * scan.scale == pytest.approx(0.05, rel=0.15)
    given = Enhance(model="wavelet", noise=0.2).scan(noisy)
    assert given.sigma * given.scale == pytest.approx(0.2)


@pytest.mark.parametrize("size", [(47, 41), (48, 40)])
def test_evidence_of_a_denoised_image_is_about_more_than_its_last_line(size: tuple[int, int]) -> None:
    from veridical.tasks.slicewise import detail

    image_ = toys.picture(size)
    fine = detail(image_, np.ones(size, bool))
    left = float(fine.abs().square().sum() / image_.abs().square().sum())
    assert 0.001 < left < 0.5
    kept = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(fine)))
    assert float((kept.abs() > 1e-4).float().mean()) > 0.9


def test_what_is_no_mr_slice_is_refused() -> None:
    good = image(toys.magnitude().T[..., None])
    for units in ("HU", "SUV", "label"):
        with pytest.raises(InputError, match=units):
            Enhance(model="wavelet")(replace(good, units=units))
    with pytest.raises(InputError, match="reconstruct"):
        Enhance(model="wavelet")(toys.measurement())
    two = Image(np.concatenate([good.data, good.data]), good.geometry, "a.u.", ("T1w", "T2w"))
    with pytest.raises(InputError, match="one channel"):
        Enhance(model="wavelet")(two)
    for wrong in (np.nan, np.inf):
        data = good.data.copy()
        data[0, 3, 3, 0] = wrong
        with pytest.raises(InputError, match="NaN or infinite"):
            Enhance(model="wavelet")(replace(good, data=data))
    with pytest.raises(InputError, match="all zero"):
        Enhance(model="wavelet")(replace(good, data=0 * good.data))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="denoise or super-resolve"):
        Enhance(job="sharpen")  # type: ignore[arg-type]
    for wrong in ({"draws": 0}, {"noise": -1.0}):
        with pytest.raises(SettingError):
            Enhance(**wrong)  # type: ignore[arg-type]
