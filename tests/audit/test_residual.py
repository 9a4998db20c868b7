from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.audit.residual import misfit, withheld
from veridical.errors import InputError
from veridical.generative.flow import standard_noise
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.selection import Selection

SHAPE, SIGMA = (24, 20), 0.1


def scan(
    seed: int, coils: int = 4, lines: slice = slice(0, None, 2)
) -> tuple[CartesianMRI, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(SHAPE, dtype=torch.float64)
    mask[:, lines] = 1.0
    maps = standard_noise((1, coils, *SHAPE), torch.complex128, generator)
    operator = CartesianMRI(mask, maps / maps.abs().square().sum(1, keepdim=True).sqrt())
    x = standard_noise((1, *SHAPE), torch.complex128, generator)
    y = (
        operator.forward(x)
        + SIGMA * standard_noise((coils, *SHAPE), torch.complex128, generator) * mask
    )
    return operator, x, y


def auc(low: list[float], high: list[float]) -> float:
    wins = np.subtract.outer(np.array(high), np.array(low))
    return float((wins > 0).mean() + 0.5 * (wins == 0).mean())


def test_the_truth_passes_with_a_chi_square_of_one() -> None:
    found = [misfit(*(lambda o, x, y: (o, y, x))(*scan(seed)), SIGMA) for seed in range(20)]
    assert all(f.verdict == "pass" for f in found)
    samples = found[0].samples
    assert samples == 4 * 24 * 10
    values = np.array([f.chi_square for f in found])
    assert abs(values.mean() - 1) < 4 / np.sqrt(20 * samples)
    assert values.std() == pytest.approx(1 / np.sqrt(samples), rel=0.6)


def test_a_change_in_the_null_space_does_not_move_it() -> None:
    plain, hidden = [], []
    for seed in range(12):
        operator, x, y = scan(seed, coils=1)
        lesion = torch.zeros_like(x)
        lesion[..., 8:12, 6:10] = 3.0
        unseen = lesion - operator.project(lesion, 300)
        assert unseen.norm() > 1
        first, second = misfit(operator, y, x, SIGMA), misfit(operator, y, x + unseen, SIGMA)
        plain.append(round(first.chi_square, 6))
        hidden.append(round(second.chi_square, 6))
        assert first.verdict == second.verdict
    assert auc(plain, hidden) == 0.5


def test_a_change_that_was_measured_fails() -> None:
    operator, x, y = scan(0)
    lesion = torch.zeros_like(x)
    lesion[..., 8:12, 6:10] = 3.0
    found = misfit(operator, y, x + lesion, SIGMA)
    assert found.verdict == "fail"
    assert "fails above 3" in found.finding("consistency").reason


def test_a_single_changed_sample_is_found() -> None:
    operator, x, y = scan(1)
    changed = y.clone()
    changed[2, 5, 4] += 8 * SIGMA
    before, after = misfit(operator, y, x, SIGMA), misfit(operator, changed, x, SIGMA)
    assert before.verdict == "pass"
    assert after.verdict == "warn"
    assert after.chi_square > before.chi_square
    assert "One sample is" in after.finding("consistency").reason


def test_a_blurred_image_fails_in_the_outer_bands_although_the_centre_fits() -> None:
    operator, x, _ = scan(2)
    k = torch.fft.fftshift(torch.fft.fft2(x))
    ky, kx = torch.meshgrid(*[(torch.arange(n) - n // 2) / (n / 2) for n in SHAPE], indexing="ij")
    blurred = torch.fft.ifft2(torch.fft.ifftshift(k * (torch.hypot(ky, kx) < 0.8)))
    plain = CartesianMRI(operator.mask, torch.ones(1, 1, *SHAPE, dtype=torch.complex128))
    noise = (
        SIGMA
        * standard_noise((1, *SHAPE), torch.complex128, torch.Generator().manual_seed(0))
        * plain.mask
    )
    found = misfit(plain, plain.forward(x) + noise, blurred, SIGMA)
    bands = found.bands
    assert found.verdict == "fail"
    assert max(bands[:3]) < 2
    assert bands[-1] > 3
    assert "number 5 of 5" in found.finding("consistency").reason


def test_a_wrong_noise_level_shows_as_its_square() -> None:
    operator, x, y = scan(3)
    assert misfit(operator, y, x, SIGMA / 2).chi_square == pytest.approx(4, rel=0.1)
    assert misfit(operator, y, x, SIGMA / 2).verdict == "fail"


def test_an_error_granted_to_the_operator_is_not_held_against_the_image() -> None:
    operator, x, y = scan(4)
    off = CartesianMRI(operator.mask, operator.maps * 1.5)
    assert misfit(off, y, x, SIGMA).verdict == "fail"
    assert misfit(off, y, x, SIGMA, operator_error=0.4).verdict == "pass"


def test_real_channels_are_judged_too() -> None:
    operator = Selection((2, 0), (3, 40, 40), torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*operator.domain, dtype=torch.float64, generator=generator)
    y = operator.forward(x) + SIGMA * torch.randn(
        *operator.range, dtype=torch.float64, generator=generator
    )
    found = misfit(operator, y, x, SIGMA)
    assert (found.verdict, found.bands) == ("pass", (found.chi_square,))
    assert found.chi_square == pytest.approx(1, abs=0.1)
    elsewhere = x.clone()
    elsewhere[1] += 100
    assert misfit(operator, y, elsewhere, SIGMA) == found


@pytest.mark.parametrize("draws", [2, 8])
def test_draws_as_unsure_as_they_are_wrong_predict_withheld_data(draws: int) -> None:
    operator, x, y = scan(5, lines=slice(1, None, 4))
    generator = torch.Generator().manual_seed(1)
    truth_and_draws = x + 0.3 * standard_noise((draws + 1, 1, *SHAPE), torch.complex128, generator)
    noise = SIGMA * standard_noise(tuple(y.shape), torch.complex128, generator) * operator.mask
    y = operator.forward(truth_and_draws[0]) + noise
    honest = withheld(operator, y, truth_and_draws[1:], SIGMA)
    assert honest.verdict == "pass"
    assert honest.chi_square == pytest.approx(1, abs=0.2)
    sure = truth_and_draws[1:].mean(0) + 0.02 * standard_noise(
        (draws, 1, *SHAPE), torch.complex128, generator
    )
    assert withheld(operator, y, sure, SIGMA).verdict == "fail"


def test_without_noise_level_samples_or_draws_it_refuses() -> None:
    operator, x, y = scan(6)
    with pytest.raises(InputError, match="noise level"):
        misfit(operator, y, x, 0.0)
    with pytest.raises(InputError, match="at least one sample"):
        misfit(CartesianMRI(torch.zeros(SHAPE), operator.maps), y, x, SIGMA)
    with pytest.raises(InputError, match="at least 2"):
        withheld(operator, y, x[None], SIGMA)
