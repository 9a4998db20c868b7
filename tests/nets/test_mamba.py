"""Laws of Mamba: its scan and its gradients are those of a loop over tokens, it reads in four
directions, any image size.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.nets.mamba import (
    CrossScan,
    Mamba,
    Recurrence,
    crossed,
    scan,
    selective_scan,
    uncrossed,
)

TOKENS = 23


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def one_by_one(u: Tensor, step: Tensor, decay: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    """The state-space model as the paper defines it, token by token."""
    hidden, found = torch.zeros(*u.shape[1:-1], decay.shape[1], u.shape[-1]), []
    for place in range(len(u)):
        keep = torch.exp(step[place][..., None, :] * decay)
        hidden = keep * hidden + enter[place][..., None] * (step[place] * u[place])[..., None, :]
        found.append((leave[place][..., None] * hidden).sum(-2))
    return torch.stack(found)


def parts() -> list[Tensor]:
    """What a scan of two images in four directions takes, with decays from slow to fast."""
    u, step = noise(TOKENS, 2, 4, 6), noise(TOKENS, 2, 4, 6, seed=1).exp()
    decay = -noise(4, 3, 6, seed=2).exp()
    enter, leave = noise(TOKENS, 2, 4, 3, seed=3), noise(TOKENS, 2, 4, 3, seed=4)
    return [part.requires_grad_() for part in (u, step, decay, enter, leave)]


def test_the_scan_and_its_gradients_are_those_of_the_loop_over_tokens() -> None:
    given = parts()
    found, wanted = selective_scan(*given), one_by_one(*given)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    weights = noise(*wanted.shape, seed=5)
    slopes = [torch.autograd.grad((out * weights).sum(), given) for out in (found, wanted)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("size", [1, 5, 6, TOKENS, 40])
def test_chunks_of_any_size_give_the_same_forth_and_back(size: int, back: bool) -> None:
    keep, add = torch.rand(TOKENS, 7, generator=torch.Generator().manual_seed(0)), noise(TOKENS, 7)
    hidden, wanted = torch.zeros(7), torch.zeros(TOKENS, 7)
    for place in reversed(range(TOKENS)) if back else range(TOKENS):
        hidden = wanted[place] = keep[place] * hidden + add[place]
    torch.testing.assert_close(scan(keep, add, size, back), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [3, 9])
def test_the_gradient_of_the_recurrence_is_that_of_finite_differences(size: int) -> None:
    keep = torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    add = noise(9, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: Recurrence.apply(a, b, size),  # type: ignore[no-untyped-call]
        (keep.requires_grad_(), add.requires_grad_()),
    )


def test_a_long_scan_forgets_and_does_not_overflow() -> None:
    """Products of decays over hundreds of tokens underflow to zero, which is what they are."""
    u, step = torch.ones(900, 1, 4, 2), torch.full((900, 1, 4, 2), 5.0)
    decay = torch.full((4, 1, 2), -4.0)
    ones = torch.ones(900, 1, 4, 1)
    found = selective_scan(u, step, decay, ones, ones)
    torch.testing.assert_close(found, torch.full_like(u, 5.0))


def test_an_image_is_read_by_rows_and_columns_forth_and_back_and_put_together_again() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    read = crossed(image)[:, 0, :, 0].T
    assert read.tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]
    x = noise(2, 3, 4, 5)
    torch.testing.assert_close(uncrossed(crossed(x), 4, 5), 4 * x.movedim(1, -1))


def test_every_token_sees_every_other() -> None:
    torch.manual_seed(0)
    mixer, tokens = CrossScan(8, 2), noise(1, 5, 6, 8).requires_grad_()
    (slope,) = torch.autograd.grad(mixer(tokens)[0, 2, 3].sum(), tokens)
    assert (slope.abs().sum(-1) > 0).all()


def awake(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return net


def small() -> nn.Module:
    torch.manual_seed(0)
    return awake(Mamba(3, 2, 2, width=16, blocks=2, patch=4, state=2))


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (1, 1), (40, 6)])
def test_any_image_size_goes_in_and_comes_out(size: tuple[int, int]) -> None:
    out = small()(noise(2, 3, *size), noise(2, 2))
    assert out.shape == (2, 2, *size)
    assert torch.isfinite(out).all()


def test_an_untrained_net_says_nothing() -> None:
    assert not Mamba(3, 2, 2, width=16, blocks=1)(noise(1, 3, 17, 24), noise(1, 2)).any()


def test_images_of_a_batch_do_not_see_each_other() -> None:
    net, x, condition = small(), noise(3, 3, 16, 16), noise(3, 2, seed=1)
    torch.testing.assert_close(
        net(x, condition)[1:2], net(x[1:2], condition[1:2]), atol=1e-5, rtol=1e-5
    )


def test_every_weight_of_a_net_has_a_gradient() -> None:
    net = small()
    torch.autograd.backward(net(noise(1, 3, 16, 16), noise(1, 2)).square().mean())
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_step_sizes_begin_between_a_thousandth_and_a_tenth() -> None:
    torch.manual_seed(0)
    step = nn.functional.softplus(CrossScan(32, 2).offset.detach())
    assert 0.001 <= float(step.min()) < 0.01 < float(step.max()) <= 0.1001


def test_a_width_that_is_no_multiple_of_four_is_refused() -> None:
    with pytest.raises(SettingError, match="multiple of 4"):
        Mamba(1, 1, 1, width=18)
