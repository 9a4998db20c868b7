from __future__ import annotations

import math

import pytest
import torch

from veridical.errors import GeometryError, InputError, SettingError
from veridical.physics.noise import (
    estimate_sigma,
    gaussian,
    inverse_variance,
    poisson,
    poisson_gaussian,
    rician,
)

COUNT = 200_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gaussian_noise_has_its_deviation_in_each_part() -> None:
    noisy = gaussian(torch.full((COUNT,), 2 - 1j, dtype=torch.complex64), 0.3, seeded())
    for part, mean in ((noisy.real, 2.0), (noisy.imag, -1.0)):
        assert float(part.mean()) == pytest.approx(mean, abs=0.003)
        assert float(part.std()) == pytest.approx(0.3, rel=0.01)
    assert abs(float(((noisy.real - 2) * (noisy.imag + 1)).mean())) < 0.001


def test_rician_noise_in_air_is_rayleigh_and_far_from_air_gaussian() -> None:
    air = rician(torch.zeros(COUNT), 2.0, seeded())
    assert float(air.mean()) == pytest.approx(2.0 * math.sqrt(math.pi / 2), rel=0.01)
    assert float(air.std()) == pytest.approx(2.0 * math.sqrt(2 - math.pi / 2), rel=0.01)
    bright = rician(torch.full((COUNT,), 50.0), 2.0, seeded())
    assert float(bright.mean()) == pytest.approx(math.sqrt(50.0**2 + 2.0**2), rel=0.001)
    assert float(bright.std()) == pytest.approx(2.0, rel=0.01)


def test_second_moment_of_rician_noise_is_exact_at_any_signal() -> None:
    noisy = rician(torch.full((COUNT,), 1.5), 1.0, seeded(1))
    assert float(noisy.square().mean()) == pytest.approx(1.5**2 + 2.0, rel=0.01)


def test_poisson_counts_have_mean_equal_to_variance() -> None:
    counts = poisson(torch.full((COUNT,), 7.5), seeded())
    assert float(counts.mean()) == pytest.approx(7.5, rel=0.01)
    assert float(counts.var()) == pytest.approx(7.5, rel=0.02)
    assert torch.equal(counts, counts.round())


@pytest.mark.parametrize(
    ("line", "photons", "electronic"), [(0.0, 1e4, 0.0), (3.0, 1e4, 10.0), (4.0, 2e4, 30.0)]
)
def test_low_dose_line_integrals_have_the_stated_inverse_variance(
    line: float, photons: float, electronic: float
) -> None:
    clean = torch.full((COUNT,), line)
    noisy = poisson_gaussian(clean, photons, electronic, seeded())
    weight = float(inverse_variance(clean[:1], photons, electronic))
    assert float(noisy.mean()) == pytest.approx(line, abs=0.01)
    assert float(noisy.var()) * weight == pytest.approx(1.0, rel=0.05)


def test_photon_starvation_stays_finite() -> None:
    noisy = poisson_gaussian(torch.full((1000,), 12.0), 1e3, 10.0, seeded())
    assert bool(torch.isfinite(noisy).all())
    assert float(noisy.max()) <= math.log(1e3) + 1e-5


@pytest.mark.parametrize("noise", [gaussian, rician])
def test_same_generator_same_noise_and_level_zero_none(noise: object) -> None:
    assert callable(noise)
    clean = torch.rand(50, generator=seeded())
    assert torch.equal(noise(clean, 0.1, seeded(5)), noise(clean, 0.1, seeded(5)))
    torch.testing.assert_close(noise(clean, 0.0, seeded()), clean)
    with pytest.raises(SettingError, match="never below 0"):
        noise(clean, -0.1, seeded())


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(InputError, match="never below 0"):
        poisson(torch.tensor([-1.0]), seeded())
    with pytest.raises(SettingError, match="photons"):
        poisson_gaussian(torch.zeros(3), 0.0, 1.0, seeded())


def spectrum(coils: int, rows: int, columns: int, strength: float) -> torch.Tensor:
    """Signal that falls as 1 / f^2 with random phase; `strength` at the edge of k-space."""
    y, x = (torch.arange(n) - n // 2 for n in (rows, columns))
    radius = torch.hypot(y[:, None] / (rows / 2), x / (columns / 2)).clamp_min(2 / rows)
    return (
        strength
        / radius**2
        * torch.randn(coils, rows, columns, dtype=torch.complex64, generator=seeded(9))
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("coils", "rows", "columns", "acceleration"),
    [(8, 230, 180, 4), (8, 128, 128, 1), (1, 256, 256, 3)],
)
def test_sigma_is_found_within_ten_percent(
    seed: int, coils: int, rows: int, columns: int, acceleration: int
) -> None:
    mask = torch.zeros(rows, columns)
    mask[:, ::acceleration] = 1
    mask[:, columns // 2 - 12 : columns // 2 + 12] = 1
    kspace = gaussian(spectrum(coils, rows, columns, 0.5), 1.7, seeded(seed)) * mask
    assert estimate_sigma(kspace, mask) == pytest.approx(1.7, rel=0.1)


def test_sigma_of_pure_noise_is_nearly_unbiased() -> None:
    found = [
        estimate_sigma(
            gaussian(torch.zeros(4, 96, 96, dtype=torch.complex64), 1.0, seeded(s)),
            torch.ones(96, 96),
        )
        for s in range(20)
    ]
    assert sum(found) / len(found) == pytest.approx(1.0, abs=0.04)


def test_sigma_scales_with_the_data() -> None:
    kspace = gaussian(spectrum(4, 64, 64, 0.1), 1.0, seeded())
    assert estimate_sigma(1e-6 * kspace, torch.ones(64, 64)) == pytest.approx(
        1e-6 * estimate_sigma(kspace, torch.ones(64, 64)), rel=1e-4
    )


def test_coils_of_unequal_noise_give_the_root_mean_square() -> None:
    kspace = (
        gaussian(torch.zeros(2, 96, 96, dtype=torch.complex64), 1.0, seeded())
        * torch.tensor([1.0, 3.0])[:, None, None]
    )
    assert estimate_sigma(kspace, torch.ones(96, 96)) == pytest.approx(math.sqrt(5.0), rel=0.06)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 64"):
        estimate_sigma(torch.ones(1, 8, 8, dtype=torch.complex64), torch.eye(8))
    with pytest.raises(GeometryError, match="ky, kx"):
        estimate_sigma(torch.ones(1, 8, 8, dtype=torch.complex64), torch.ones(1, 8, 8))
