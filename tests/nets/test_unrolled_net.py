"""Laws of the unrolled net: untrained it only descends a little, and each cascade knows which it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toys import picture, sensitivities
from veridical.nets.unrolled import UnrolledNet
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI

CONDITION = torch.tensor([[-5.0, -1.0]])


def problem(size: tuple[int, int] = (24, 20)) -> tuple[CartesianMRI, Tensor, Tensor]:
    """Operator with two sets of maps (the second empty), `A^H y`, and the truth, each with a batch axis."""
    maps = torch.stack([sensitivities(size), torch.zeros_like(sensitivities(size))])
    operator = CartesianMRI(torch.from_numpy(masks.uniform(size, 3, acs=6)).float(), maps)
    truth = torch.stack([picture(size), torch.zeros(size)])[None]
    return operator, operator.normal(truth), truth


def run(net: UnrolledNet, operator: CartesianMRI, target: Tensor, start: Tensor) -> list[Tensor]:
    support = torch.ones(1, 1, *start.shape[-2:])
    images: list[Tensor] = net(operator.normal, target, start, support, CONDITION)
    return [image.detach() for image in images]


@pytest.mark.parametrize("size", [(24, 20), (23, 21)])
def test_it_gives_one_image_a_cascade_of_the_size_of_its_start(size: tuple[int, int]) -> None:
    operator, target, _ = problem(size)
    images = run(UnrolledNet(3, (4, 6)), operator, target, target)
    assert [image.shape for image in images] == 3 * [target.shape]
    assert all(image.dtype == torch.complex64 for image in images)


def test_untrained_it_leaves_the_truth_where_it_is() -> None:
    operator, target, truth = problem()
    torch.testing.assert_close(run(UnrolledNet(4, (4, 6)), operator, target, truth)[-1], truth, atol=1e-6, rtol=0)


def test_untrained_it_descends_the_data_term_a_little_in_every_cascade() -> None:
    operator, target, truth = problem()
    images = [target, *run(UnrolledNet(4, (4, 6)), operator, target, target)]
    left = [float((operator.normal(image) - target).norm()) for image in images]
    assert left == sorted(left, reverse=True)
    assert float((images[-1] - target).norm()) < 0.5 * float((truth - target).norm())


def test_a_cascade_is_told_which_it_is() -> None:
    operator, target, _ = problem()
    net = UnrolledNet(3, (4, 6))
    net.step.weight.data[:, 2:] = torch.tensor([[-50.0, 50.0, -50.0]])
    first, second, third = run(net, operator, target, target)
    assert torch.equal(first, target)
    torch.testing.assert_close(second, target - (operator.normal(target) - target), atol=1e-6, rtol=0)
    assert torch.equal(third, second)


def test_the_gain_multiplies_what_the_network_adds() -> None:
    operator, target, truth = problem()
    net = UnrolledNet(1, (4, 6))
    torch.nn.init.constant_(net.net.leave.bias, 0.1)
    added = run(net, operator, target, truth)[0] - truth
    net.gain.bias.data += 1
    torch.testing.assert_close(run(net, operator, target, truth)[0] - truth, torch.e * added, atol=1e-5, rtol=1e-4)
