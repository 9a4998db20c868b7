"""Laws of the flow's denoiser: untrained it keeps a share of the state, and with a measurement it steps towards the data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from veridical.nets.flow import CONDITIONS, SETS, FlowNet

CONDITION = torch.zeros(3, CONDITIONS)
KEPT = float(torch.sigmoid(torch.tensor(-2.0)))


def noise(size: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.randn(3, SETS, *size, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def run(net: FlowNet, state: Tensor, gradient: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Denoise around a random anchor and hint."""
    size = (int(state.shape[-2]), int(state.shape[-1]))
    found: Tensor = net(state, noise(size, 1), noise(size, 2), torch.ones(3, 1, *size), CONDITION, gradient)
    return found


@pytest.mark.parametrize("size", [(24, 20), (23, 21)])
def test_without_a_measurement_an_untrained_net_keeps_a_share_of_the_state(size: tuple[int, int]) -> None:
    state = noise(size)
    torch.testing.assert_close(run(FlowNet((4, 6)), state, None), KEPT * state)


def test_with_a_gradient_it_steps_against_it_by_a_share_between_zero_and_one() -> None:
    net, state, target = FlowNet((4, 6)), noise((24, 20)), noise((24, 20), 3)
    before, after = run(net, state, None), run(net, state, lambda u: u - target)
    torch.testing.assert_close(after, before - KEPT * (before - target))


def test_the_gradient_is_taken_once_at_the_networks_image() -> None:
    seen: list[Tensor] = []
    net, state = FlowNet((4, 6)), noise((24, 20))

    def gradient(image: Tensor) -> Tensor:
        seen.append(image)
        return torch.zeros_like(image)

    assert torch.equal(run(net, state, gradient), run(net, state, None))
    assert len(seen) == 1
    assert torch.equal(seen[0], run(net, state, None))


def test_what_it_is_shown_changes_what_it_says() -> None:
    """Once trained (here: once its weights are not zero), state, anchor, hint, support and condition all count."""
    net, generator = FlowNet((4, 6)), torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    shown = [noise((24, 20)), noise((24, 20), 1), noise((24, 20), 2), torch.ones(3, 1, 24, 20), CONDITION]
    plain = net(*shown, None)
    for index in range(len(shown)):
        other = [part + 1 if place == index else part for place, part in enumerate(shown)]
        assert not torch.allclose(net(*other, None), plain, atol=1e-3)


def test_it_remembers_its_anchor_and_the_level_of_its_error() -> None:
    net = FlowNet((4,), anchor="other", error=(1.0, 2.0, 3.0, 4.0))
    assert (net.anchor, net.error) == ("other", (1.0, 2.0, 3.0, 4.0))
