"""Laws of the diffusion Transformer: any image size, nothing at initialization, blocks that begin
as the identity, places that are known.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.nets.dit import AdaptiveBlock, DiT, SelfAttention, positions


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def awake(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return net


def small() -> nn.Module:
    return awake(DiT(3, 2, 2, width=16, blocks=2, heads=2, patch=4))


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (1, 1), (40, 6)])
def test_any_image_size_goes_in_and_comes_out(size: tuple[int, int]) -> None:
    out = small()(noise(2, 3, *size), noise(2, 2))
    assert out.shape == (2, 2, *size)
    assert torch.isfinite(out).all()


def test_an_untrained_net_says_nothing() -> None:
    assert not DiT(3, 2, 2, width=16, blocks=1)(noise(1, 3, 17, 24), noise(1, 2)).any()


def test_a_block_is_the_identity_at_initialization_whatever_it_mixes() -> None:
    torch.manual_seed(0)
    tokens = noise(2, 3, 4, 16)
    assert torch.equal(AdaptiveBlock(16, SelfAttention(16, 2))(tokens, noise(2, 16)), tokens)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    net, x, condition = small(), noise(3, 3, 16, 16), noise(3, 2, seed=1)
    torch.testing.assert_close(
        net(x, condition)[1:2], net(x[1:2], condition[1:2]), atol=1e-5, rtol=1e-5
    )


def test_attention_is_the_mean_of_what_is_seen_where_all_tokens_are_alike_to_it() -> None:
    """With queries of zero every token weighs the same."""
    attention = SelfAttention(4, 2)
    attention.enter.weight.data = torch.cat([torch.zeros(8, 4), torch.eye(4)])
    attention.enter.bias.data.zero_()
    attention.leave.weight.data = torch.eye(4)
    attention.leave.bias.data.zero_()
    tokens = noise(2, 3, 5, 4)
    wanted = tokens.mean((1, 2), keepdim=True).expand_as(tokens)
    torch.testing.assert_close(attention(tokens), wanted)


def test_a_token_sees_all_of_the_image_and_where_it_is() -> None:
    net, condition = small(), noise(1, 2)
    x = noise(1, 3, 24, 24).requires_grad_()
    (slope,) = torch.autograd.grad(net(x, condition)[0, 0, 1, 1], x)
    assert (slope.abs().sum((0, 1)) > 0).all()
    flat = net(torch.ones(1, 3, 24, 24), condition)
    assert not torch.allclose(flat[..., :4, :4], flat[..., 4:8, :4], atol=1e-3)


def test_places_are_sines_and_cosines_of_row_and_column_that_do_not_depend_on_the_image() -> None:
    found = positions(5, 7, 16)
    assert found.shape == (5, 7, 16)
    assert torch.equal(positions(9, 12, 16)[:5, :7], found)
    assert float(found[3, 2, 0]) == pytest.approx(math.sin(3))
    assert float(found[3, 2, 4]) == pytest.approx(math.cos(3))
    assert float(found[3, 2, 8]) == pytest.approx(math.sin(2))
    assert float(found[3, 2, 9]) == pytest.approx(math.sin(2 / 10), rel=1e-5)


def test_every_weight_of_a_net_has_a_gradient() -> None:
    net = small()
    torch.autograd.backward(net(noise(1, 3, 16, 16), noise(1, 2)).square().mean())
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().max()) > 0


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"width": 20, "heads": 3}, "must be a multiple"),
        ({"width": 18, "heads": 2}, "multiple of 4"),
        ({"width": 16, "patch": 0}, "at least 1 pixel"),
    ],
)
def test_widths_and_patches_that_do_not_fit_are_refused(
    settings: dict[str, int], word: str
) -> None:
    with pytest.raises(SettingError, match=word):
        DiT(1, 1, 1, **settings)
