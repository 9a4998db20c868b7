"""Laws of the U-Net: any image size, nothing at initialization, the condition reaches the output,
channels round trip.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.nets.unet import ResidualBlock, UNet, doubled, halved


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def awake(net: nn.Module) -> nn.Module:
    """Replace the zeros of the initialization, so that every part of the net counts."""
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return net


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (5, 64), (1, 1), (40, 6)])
@pytest.mark.parametrize("widths", [(4,), (4, 6, 8)])
def test_any_image_size_goes_in_and_comes_out(
    size: tuple[int, int], widths: tuple[int, ...]
) -> None:
    net = awake(UNet(3, 2, 2, widths, blocks=1, embedding=8))
    out = net(noise(2, 3, *size), noise(2, 2))
    assert out.shape == (2, 2, *size)
    assert torch.isfinite(out).all()


def test_an_untrained_net_says_nothing() -> None:
    assert not UNet(3, 2, 2, (4, 6))(noise(1, 3, 17, 24), noise(1, 2)).any()


def test_a_block_is_the_identity_at_initialization_but_for_its_bias() -> None:
    block = ResidualBlock(4, 8)
    nn.init.zeros_(block.second.bias)
    x = noise(2, 4, 6, 5)
    assert torch.equal(block(x, noise(2, 8)), x)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    net = awake(UNet(2, 2, 2, (4, 6), blocks=1, embedding=8))
    x, condition = noise(3, 2, 16, 16), noise(3, 2, seed=1)
    torch.testing.assert_close(
        net(x, condition)[1:2], net(x[1:2], condition[1:2]), atol=1e-5, rtol=1e-5
    )


def test_the_condition_changes_the_output() -> None:
    net = awake(UNet(2, 2, 2, (4, 6), blocks=1, embedding=8))
    x = noise(1, 2, 16, 16)
    assert not torch.allclose(net(x, torch.zeros(1, 2)), net(x, torch.ones(1, 2)), atol=1e-3)


def test_every_weight_of_a_net_has_a_gradient() -> None:
    net = awake(UNet(2, 2, 2, (4, 6, 8), blocks=1, embedding=8))
    torch.autograd.backward(net(noise(1, 2, 24, 24), noise(1, 2)).square().mean())
    assert all(float(p.grad.abs().max()) > 0 for p in net.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("size", [(8, 16, 24), (7, 9, 5), (1, 1, 1)])
def test_volumes_of_any_size_go_in_and_come_out(size: tuple[int, int, int]) -> None:
    net = awake(UNet(3, 2, 2, (4, 6), blocks=1, embedding=8, dims=3))
    out = net(noise(2, 3, *size), noise(2, 2))
    assert out.shape == (2, 2, *size)
    assert torch.isfinite(out).all()
    assert not UNet(3, 2, 2, (4, 6), dims=3)(noise(1, 3, *size), noise(1, 2)).any(), (
        "and untrained it says nothing"
    )


def test_every_weight_of_a_net_of_volumes_has_a_gradient() -> None:
    net = awake(UNet(2, 2, 2, (4, 6), blocks=1, embedding=8, dims=3))
    torch.autograd.backward(net(noise(1, 2, 8, 8, 8), noise(1, 2)).square().mean())
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in net.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (2, 3, 4, 6, 8)])
def test_halving_the_grid_keeps_every_number_in_the_channels_of_its_square_or_cube(
    shape: tuple[int, ...],
) -> None:
    x = noise(*shape)
    small = halved(x)
    corners = 2 ** (len(shape) - 2)
    assert small.shape == (2, 3 * corners, *[n // 2 for n in shape[2:]])
    assert torch.equal(doubled(small), x)
    assert torch.equal(
        small[0, 1 * corners], x[0, 1][(slice(None, None, 2),) * (len(shape) - 2)]
    ), "the first corner of each"
    assert torch.equal(
        small[:, -1], x[:, -1][(slice(None), *(slice(1, None, 2),) * (len(shape) - 2))]
    ), "and the last"


def test_a_net_of_other_dimensions_is_refused() -> None:
    with pytest.raises(SettingError, match="dims = 4"):
        UNet(1, 1, 1, dims=4)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_normalized_net_learns_labels_and_slices_are_exported(
    dims: int,
) -> None:
    torch.manual_seed(0)
    net = UNet(1, 2, 1, (8, 16), blocks=1, dims=dims, normalized=True)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    image = torch.zeros(1, 1, *[16] * dims)
    image[(..., *[slice(4, 12)] * dims)] = 1.0
    labels, blank = image[:, 0].long(), torch.zeros(1, 1)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(net(image, blank), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert float((net(image, blank).argmax(1) == labels).float().mean()) > 0.95
    assert net.exports == (dims == 2)
