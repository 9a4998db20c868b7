from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from veridical.errors import InputError, SettingError, UnitsError
from veridical.models.fbp import Fbp
from veridical.physics.ct_noise import low_dose_surrogate, noise_power
from veridical.physics.low_dose import (
    WATER,
    CTScanner,
    at_dose,
    attenuation,
    extra_variance,
    hounsfield,
    low_dose_ct,
    low_dose_scan,
    photons_of,
)
from veridical.types import Geometry, Image

SPACING = (1.0, 1.0)
FAST = CTScanner(photons=1e5, views=360, pitch=0.8)


def body(size: int = 96, semi: tuple[float, float] = (28.0, 44.0)) -> np.ndarray:
    """A flat ellipse of muscle with a bone, in air, HU."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image = np.full((size, size), -1000.0, np.float32)
    image[(y / semi[0]) ** 2 + (x / semi[1]) ** 2 < 1] = 50
    image[y**2 + (x - 20) ** 2 < 36] = 900
    return image


def grid(size: int = 96) -> Geometry:
    return Geometry((size, size, 1), np.diag([1.0, 1.0, 3.0, 1.0]))


@cache
def noises(kind: str, dose: float) -> np.ndarray:
    """Noise alone, `(count, y, x)`, of the sinogram's or of the surrogate's making."""
    stack = np.broadcast_to(body(), (128 if dose == 0.25 else 48, 96, 96))
    make = low_dose_ct if kind == "fan beam" else low_dose_surrogate
    return make(stack, SPACING, dose, np.random.default_rng(1), FAST) - stack


@pytest.mark.parametrize("make", [low_dose_ct, low_dose_surrogate])
def test_full_dose_changes_nothing(make: Any) -> None:
    noisy = body() + np.random.default_rng(0).normal(0, 10, (96, 96)).astype(np.float32)
    assert np.array_equal(make(noisy, SPACING, 1.0, np.random.default_rng(1), FAST), noisy)


def test_hounsfield_units_are_attenuation_and_back() -> None:
    assert float(attenuation(np.zeros((1, 1)))) == pytest.approx(WATER)
    hu = np.array([[-1000.0, -100.0, 0.0, 3000.0]])
    np.testing.assert_allclose(hounsfield(attenuation(hu).numpy()), hu, atol=1e-3)
    assert float(attenuation(np.full((1, 1), -2000.0))) == 0


@pytest.mark.parametrize("dose", [0.5, 0.25, 0.1])
def test_line_integrals_get_the_variance_of_yu(dose: float) -> None:
    lines = torch.tensor([0.5, 2.0, 4.0])[:, None].expand(3, 40_000)
    added = at_dose(lines, dose, np.random.default_rng(0), FAST) - lines
    np.testing.assert_allclose(added.var(1), extra_variance(lines[:, 0], dose, FAST), rtol=0.04)
    assert float(added.mean(1).abs().max()) < 0.02


def test_full_dose_noise_and_the_extra_noise_together_are_those_of_the_lower_dose() -> None:
    dose, line, rng = 0.2, 3.5, np.random.default_rng(0)
    expected = FAST.photons * np.exp(-line)
    measured = rng.poisson(expected, 200_000) + FAST.electronic * rng.standard_normal(200_000)
    full = torch.from_numpy(-np.log(measured / FAST.photons)).float()
    low = dose * expected
    assert float(full.var()) == pytest.approx(
        1 / expected + FAST.electronic**2 / expected**2, rel=0.02
    )
    assert float(at_dose(full, dose, rng, FAST).var()) == pytest.approx(
        1 / low + FAST.electronic**2 / low**2, rel=0.02
    )


def test_starved_rays_stay_finite() -> None:
    lines = torch.full((5000,), 13.0)
    assert torch.isfinite(at_dose(lines, 0.05, np.random.default_rng(0), FAST)).all()


def test_less_dose_is_more_noise_and_no_bias() -> None:
    inside = body() == 50
    spread = [noises("fan beam", dose)[:, inside].std() for dose in (0.5, 0.25, 0.1)]
    assert spread[0] < spread[1] < spread[2]
    # variance (1 - d) / d of the full dose's, as long as electronic noise is small
    assert spread[1] / spread[0] == pytest.approx(np.sqrt(3), rel=0.05)
    assert all(abs(noises("fan beam", dose)[:, inside].mean()) < 0.2 for dose in (0.5, 0.25, 0.1))


def test_noise_in_the_middle_of_a_water_disc_is_that_of_the_formula() -> None:
    y, x = np.mgrid[:96, :96] - 47.5
    disc = np.where(np.hypot(y, x) < 40, 0.0, -1000.0)
    stack = np.broadcast_to(disc, (60, 96, 96))
    noise = low_dose_ct(stack, SPACING, 0.25, np.random.default_rng(2), FAST) - disc
    variance = extra_variance(torch.tensor(80 * WATER), 0.25, FAST)
    expected = (
        np.sqrt(float(noise_power((96, 96), SPACING, FAST).sum(0).mean() * variance)) * 1000 / WATER
    )
    assert noise[:, 40:56, 40:56].std() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dose", [0.25, 0.1])
def test_surrogate_has_the_variance_map_of_the_fan_beam_within_10_percent(dose: float) -> None:
    blocks = [
        noises(kind, dose).reshape(-1, 12, 8, 12, 8).std((0, 2, 4))
        for kind in ("surrogate", "fan beam")
    ]
    inside = (body() > 0).reshape(12, 8, 12, 8).all((1, 3))
    ratio = blocks[0][inside] / blocks[1][inside]
    assert np.abs(ratio - 1).max() < 0.1
    assert np.abs(ratio - 1).mean() < 0.04


def test_surrogate_follows_the_divergence_of_the_beam_in_a_wide_body() -> None:
    y, x = np.mgrid[:90, :90] * 4 - 178.0
    image = np.where((x / 160) ** 2 + (y / 110) ** 2 < 1, 0.0, -1000.0)
    stack, scanner = (
        np.broadcast_to(image, (40, 90, 90)),
        CTScanner(photons=1e6, views=180, pitch=3.0),
    )
    spread = [
        (make(stack, (4.0, 4.0), 0.25, np.random.default_rng(1), scanner) - image)
        .reshape(40, 18, 5, 18, 5)
        .std((0, 2, 4))
        for make in (low_dose_surrogate, low_dose_ct)
    ]
    inside = (image == 0).reshape(18, 5, 18, 5).all((1, 3))
    ratio = spread[0][inside] / spread[1][inside]
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.15
    assert abs(ratio.mean() - 1) < 0.05


@pytest.mark.parametrize("axis", [0, 1])
def test_surrogate_has_the_spectrum_of_the_fan_beam_within_10_percent_in_each_direction(
    axis: int,
) -> None:
    """The two axes differ: rays along the flat body are attenuated more, so noise is streaked along
    it.
    """
    taper = np.hanning(34)[1:-1]
    spectra = []
    for kind in ("surrogate", "fan beam"):
        centre = noises(kind, 0.25)[:, 32:64, 24:56] * taper[:, None] * taper
        power = (np.abs(np.fft.fft2(centre)) ** 2).mean(0)
        wedge = power[2:15, :3] if axis == 0 else power[:3, 2:15].T
        spectra.append(wedge[:12].reshape(2, 6, 3).mean((1, 2)))
    np.testing.assert_allclose(spectra[0] / spectra[1], 1, atol=0.1)


def test_noise_is_streaked_along_the_longer_way_through_the_body() -> None:
    for kind in ("surrogate", "fan beam"):
        power = (np.abs(np.fft.fft2(noises(kind, 0.25)[:, 32:64, 24:56])) ** 2).mean(0)
        assert power[3:13, 0].sum() > 1.5 * power[0, 3:13].sum()


def test_raw_data_of_a_low_dose_scan_can_be_reconstructed() -> None:
    hu = body()
    image = Image(hu.T[None, :, :, None], grid(), "HU", ("CT",))
    scan = low_dose_scan(image, 0.25, np.random.default_rng(0), every=2, scanner=FAST)
    assert scan.data.shape == (1, *scan.operator.range)  # type: ignore[attr-defined]
    assert scan.data.shape[1] == 180
    found = hounsfield(
        Fbp("hann").reconstruct(scan.operator, torch.from_numpy(scan.data[0].copy())).numpy()
    )  # type: ignore[arg-type]
    assert abs((found - hu)[40:56, 30:50].mean()) < 5
    full = low_dose_scan(image, 1.0, np.random.default_rng(0), scanner=FAST)
    lines = FAST.beam((96, 96), SPACING).forward(attenuation(hu))
    assert np.array_equal(full.data[0], lines.numpy())


def test_raw_data_ask_for_hounsfield_units() -> None:
    image = Image(body().T[None, :, :, None], grid(), "a.u.", ("CT",))
    with pytest.raises(UnitsError, match="HU"):
        low_dose_scan(image, 0.25, np.random.default_rng(0))


@pytest.mark.parametrize("photons", [3e4, 3e5])
def test_photons_are_found_from_the_noise_of_the_slice(photons: float) -> None:
    own = replace(FAST, photons=photons, electronic=0.0)
    noisy = low_dose_ct(body(), SPACING, 0.5, np.random.default_rng(3), own)
    assert photons_of(noisy, SPACING, np.random.default_rng(4), FAST) == pytest.approx(
        photons, rel=0.25
    )


def test_photons_need_soft_tissue() -> None:
    with pytest.raises(InputError, match="soft tissue"):
        photons_of(np.full((64, 64), -1000.0), SPACING, np.random.default_rng(0))


def test_same_generator_same_bytes_and_the_slice_is_untouched() -> None:
    image = body()
    image.flags.writeable = False
    for make in (low_dose_ct, low_dose_surrogate):
        first, again = (
            make(image, SPACING, 0.25, np.random.default_rng(5), FAST) for _ in range(2)
        )
        assert np.array_equal(first, again)
        assert first.dtype == np.float32


@pytest.mark.parametrize("dose", [0.0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("make", [low_dose_ct, low_dose_surrogate])
def test_an_impossible_dose_is_refused(make: Any, dose: float) -> None:
    with pytest.raises(SettingError, match="dose"):
        make(body(), SPACING, dose, np.random.default_rng(0), FAST)


def test_nan_and_too_few_views_and_impossible_scanners_are_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        low_dose_ct(np.full((32, 32), np.nan), SPACING, 0.5, np.random.default_rng(0))
    with pytest.raises(SettingError, match="views"):
        FAST.beam((96, 96), SPACING, 200)
    for wrong in (
        {"photons": 0.0},
        {"electronic": -1.0},
        {"views": 4},
        {"window": "hahn"},
        {"cutoff": 0.0},
    ):
        with pytest.raises(SettingError):
            CTScanner(**wrong)  # type: ignore[arg-type]


@pytest.mark.real
def test_a_quarter_of_the_dose_doubles_the_noise_of_a_real_slice(real_data: Any) -> None:
    path = real_data / "sts_mr_ct_pet" / "nifti" / "STS_024" / "CT_image.nii.gz"
    volume = nibabel.load(path).get_fdata(dtype=np.float32)
    hu, spacing, rng = (
        volume[:, :, volume.shape[2] // 2].T,
        (0.977, 0.977),
        np.random.default_rng(0),
    )
    own = CTScanner(photons=photons_of(hu, spacing, rng))
    assert 1e4 < own.photons < 1e6
    low = low_dose_ct(hu, spacing, 0.25, rng, own)
    assert photons_of(low, spacing, rng) == pytest.approx(own.photons / 4, rel=0.3)
