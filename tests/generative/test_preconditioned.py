"""Laws of the denoiser around its backbone: an untrained one changes nothing, units cancel, the
loss counts decibels.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from veridical.errors import GeometryError
from veridical.generative.preconditioned import CEILING, LEAST, MOST, Preconditioned, denoising_loss

REACH = 2


class Noted(nn.Module):
    """A backbone that answers a constant and remembers what it was shown."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        self.seen, self.condition = x, condition
        return torch.full((len(x), 2, *x.shape[-2:]), self.answer)


def shown(slices: int = 2 * REACH + 1) -> Tensor:
    return torch.randn(3, slices, 2, 8, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("slices", [1, 2 * REACH + 1])
def test_what_the_backbone_says_is_in_units_of_the_noise(slices: int) -> None:
    sigma = torch.rand(3, 1, 8, 6, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.01
    noisy = shown(slices)
    torch.testing.assert_close(
        Preconditioned(Noted(-0.5), REACH)(noisy, sigma), noisy[:, slices // 2] - 0.5 * sigma
    )


def test_neighbours_that_are_not_shown_are_zero_and_those_that_are_stand_in_order() -> None:
    net, backbone = shown(), Noted(0.0)
    made, sigma = Preconditioned(backbone, REACH), torch.full((3, 1, 8, 6), 0.1)
    made(net, sigma)
    assert backbone.seen.shape == (3, 3 + 4 * REACH, 8, 6)
    torch.testing.assert_close(backbone.seen[:, :2], net[:, REACH])
    torch.testing.assert_close(backbone.seen[:, 2:3], sigma)
    torch.testing.assert_close(
        backbone.seen[:, 3:], torch.cat([net[:, :REACH], net[:, REACH + 1 :]], 1).flatten(1, 2)
    )
    made(net[:, REACH : REACH + 1], sigma)
    assert not backbone.seen[:, 3:].any()


def test_noise_levels_beyond_those_trained_on_are_taken_as_the_nearest() -> None:
    backbone = Noted(1.0)
    made = Preconditioned(backbone, REACH)
    for given, taken in ((0.0, LEAST), (5.0, MOST), (0.1, 0.1)):
        noisy = shown(1)
        found = made(noisy, torch.full((3, 1, 8, 6), given))
        torch.testing.assert_close(found, noisy[:, 0] + taken)
        torch.testing.assert_close(backbone.condition, torch.full((3, 1), math.log(taken)))


@pytest.mark.parametrize("slices", [2, 3, 7])
def test_another_number_of_slices_is_refused(slices: int) -> None:
    with pytest.raises(
        GeometryError, match=f"{slices} slices were given; this denoiser takes 1 or 5"
    ):
        Preconditioned(Noted(0.0), REACH)(shown(slices), torch.ones(3, 1, 8, 6))


def test_decibels_count_alike_at_all_noise_levels() -> None:
    clean = torch.zeros(2, 2, 8, 6)
    noise = torch.randn(2, 2, 8, 6, generator=torch.Generator().manual_seed(0))
    real = torch.zeros(2, dtype=torch.bool)
    losses = [
        float(denoising_loss(0.5 * level * noise, clean, torch.full((2, 1, 8, 6), level), real))
        for level in (0.01, 0.3)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    half = float(denoising_loss(0.25 * 0.3 * noise, clean, torch.full((2, 1, 8, 6), 0.3), real))
    assert losses[0] - half == pytest.approx(math.log(4), abs=0.02)


def test_the_imaginary_part_of_a_real_image_does_not_count() -> None:
    clean, sigma = torch.zeros(1, 2, 8, 6), torch.full((1, 1, 8, 6), 0.1)
    found = clean.clone()
    found[:, 1] = 9.0
    assert float(
        denoising_loss(found, clean, sigma, torch.ones(1, dtype=torch.bool))
    ) == pytest.approx(math.log(CEILING))
    assert float(denoising_loss(found, clean, sigma, torch.zeros(1, dtype=torch.bool))) > 5
