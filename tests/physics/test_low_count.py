from __future__ import annotations

from functools import cache
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from veridical.errors import GeometryError, InputError, SettingError
from veridical.physics.blur import Blur
from veridical.physics.low_count import PETScanner, low_count_pet

SPACING = (4.0, 4.0)


def slice_() -> np.ndarray:
    """A flat body of SUV 1 with a tumour of 6, `(y, x)`."""
    y, x = np.mgrid[:40, :48] - np.array([19.5, 23.5])[:, None, None]
    image = 1.0 * ((y / 15) ** 2 + (x / 20) ** 2 < 1)
    image[y**2 + (x - 8) ** 2 < 9] = 6
    return image.astype(np.float32)


@cache
def draws(fraction: float) -> np.ndarray:
    rng, count = np.random.default_rng(0), 40 if fraction == 0.2 else 16  # 0.2: for the mean
    return np.stack([low_count_pet(slice_(), SPACING, fraction, rng) for _ in range(count)])


def test_full_counts_change_nothing() -> None:
    assert np.array_equal(low_count_pet(slice_(), SPACING, 1.0, np.random.default_rng(0)), slice_())


def test_fewer_counts_are_more_noise_by_the_law_of_thinning() -> None:
    """Extra variance is (1 - f) / f of that of full counts."""
    inside = slice_() == 1
    spread = [draws(fraction).std(0)[inside].mean() for fraction in (0.5, 0.2, 0.1)]
    assert spread[1] / spread[0] == pytest.approx(2, rel=0.1)
    assert spread[2] / spread[0] == pytest.approx(3, rel=0.1)


def test_uptake_is_kept_on_average_and_never_negative() -> None:
    mean = draws(0.2).mean(0)
    assert mean[slice_() == 1].mean() == pytest.approx(1, abs=0.02)
    assert mean[slice_() == 6].mean() == pytest.approx(6, rel=0.02)
    assert draws(0.1).min() >= 0


def test_hot_places_are_noisier_than_cold_ones_as_expectation_maximization_makes_them() -> None:
    spread = draws(0.5).std(0)
    assert spread[slice_() == 6].mean() > 1.5 * spread[slice_() == 1].mean()
    assert spread[slice_() == 0].mean() < 0.5 * spread[slice_() == 1].mean()


def test_attenuation_puts_the_noise_into_the_middle() -> None:
    flat = (slice_() > 0).astype(np.float32)
    rim = Blur(flat.shape, SPACING, (40.0, 40.0)).forward(torch.from_numpy(flat)).numpy()
    edge, middle = (flat > 0) & (rim < 0.75), rim > 0.99
    ratios = []
    for coefficients in (None, 0.0096 * flat):
        rng = np.random.default_rng(0)
        stack = np.stack(
            [
                low_count_pet(flat, (8.0, 8.0), 0.2, rng, coefficients=coefficients)
                for _ in range(30)
            ]
        )
        ratios.append(stack.std(0)[middle].mean() / stack.std(0)[edge].mean())
    assert ratios[1] > 1.1 * ratios[0]


def test_what_cannot_be_a_scan_is_refused() -> None:
    rng = np.random.default_rng(0)
    for fraction in (0.0, 1.2):
        with pytest.raises(SettingError, match="fraction"):
            low_count_pet(slice_(), SPACING, fraction, rng)
    for wrong in (np.zeros((20, 20)), -slice_(), np.full((20, 20), np.nan), slice_()[None]):
        with pytest.raises(InputError, match="one slice"):
            low_count_pet(wrong, SPACING, 0.5, rng)
    with pytest.raises(GeometryError, match="attenuation map"):
        low_count_pet(slice_(), SPACING, 0.5, rng, coefficients=np.zeros((3, 3)))
    for settings in ({"counts": 0.0}, {"filter": -1.0}, {"subsets": 0}):
        with pytest.raises(SettingError):
            PETScanner(**settings)  # type: ignore[arg-type]


@pytest.mark.real
def test_real_uptake_survives_a_tenth_of_the_counts(real_data: Any) -> None:
    path = real_data / "sts_mr_ct_pet" / "nifti" / "STS_002" / "PET_image.nii.gz"
    volume = nibabel.load(path).get_fdata(dtype=np.float32)
    suv, spacing = volume[:, :, int(volume.max((0, 1)).argmax())].T, (5.47, 5.47)
    low = low_count_pet(suv, spacing, 0.1, np.random.default_rng(0))
    assert low.sum() == pytest.approx(suv.sum(), rel=0.03)
    assert 0.02 < np.abs(low - suv)[suv > 1].mean() / suv[suv > 1].mean() < 0.5
