import pytest
import torch

from veridical.generative.coloured import coloured, power


def white(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_coloured_noise_keeps_unit_variance():
    noise = coloured(white(200, 1, 48, 40), torch.full((200, 1), 0.9))
    assert float(noise.var()) == pytest.approx(1.0, abs=0.08)


def test_a_share_of_zero_leaves_white_noise_as_it_is():
    noise = white(2, 3, 15, 20)
    torch.testing.assert_close(coloured(noise, torch.zeros(2, 3)), noise)


def test_power_falls_by_a_thousand_from_coarse_to_fine():
    spectrum = power(torch.Size([96, 96]))
    assert float(spectrum.mean()) == pytest.approx(1.0)
    assert float(spectrum[0, 2] / spectrum[0, 24]) > 500
    assert float(spectrum[1, 0]) == float(spectrum[0, 1])


def test_the_spectrum_of_coloured_noise_is_the_one_asked_for():
    share, shape = 0.7, (32, 32)
    noise = coloured(white(4000, 1, *shape), torch.full((4000, 1), share))
    found = torch.fft.fft2(noise).abs().square().mean((0, 1)) / noise[0].numel()
    wanted = share * power(torch.Size(shape)) + 1 - share
    torch.testing.assert_close(found, wanted, rtol=0.12, atol=0)


def test_each_channel_has_its_own_share():
    noise = coloured(white(1, 2, 64, 64), torch.tensor([[0.0, 1.0]]))[0]
    rough = (noise[:, 1:] - noise[:, :-1]).square().mean((1, 2))
    assert float(rough[0]) > 10 * float(rough[1])


def test_volumes_are_coloured_along_all_three_axes():
    noise = coloured(white(40, 1, 16, 16, 16), torch.ones(40, 1))
    steps = [float((noise.diff(dim=axis)).square().mean()) for axis in (2, 3, 4)]
    assert max(steps) < 0.35
    assert max(steps) / min(steps) == pytest.approx(1.0, abs=0.15)


def test_an_earlier_bend_takes_fine_power_away():
    soft, usual = (power(torch.Size([96, 96]), bend) for bend in (0.05, 0.1))
    assert float(soft[0, 30] / usual[0, 30]) < 0.6
    assert float(soft.mean()) == pytest.approx(1.0)
