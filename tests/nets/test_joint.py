"""Laws of the joint denoiser: untrained it is the best linear one, at the start it sees no state, channels keep their place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from veridical.errors import SettingError
from veridical.models.known import ABSENT, DEGRADED, MEASURED, Known, ask, collate, nothing
from veridical.nets.joint import JointNet

CHANNELS = ("T1w", "T2w", "FLAIR")
SHAPES = ((12, 10), (6, 8, 5))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def known(shape: tuple[int, ...]) -> Known:
    """Two slices or volumes: T1w measured and the others asked for; T2w degraded, FLAIR asked for and no T1w."""
    first, second = nothing(3, torch.ones(shape)), nothing(3, torch.ones(shape))
    first.status[0, 0], first.anchor[0, 0] = MEASURED, noise(*shape)
    ask(first, 1, 0.4, 0.3)
    ask(first, 2, 0.5, 0.2)
    second.status[0, 1], second.anchor[0, 1], second.level[0, 1] = DEGRADED, noise(*shape, seed=1), 0.1
    ask(second, 2, 0.5, 0.2)
    return collate([first, second])


def net(shape: tuple[int, ...], trained: bool = True) -> JointNet:
    """A small net; `trained` stands for weights that are not those of the start."""
    made = JointNet(CHANNELS, (4, 6), 1, dims=len(shape))
    if trained:
        for place, parameter in enumerate(made.parameters()):
            parameter.data = 0.3 * noise(*parameter.shape, seed=place)
    return made


def denoised(made: JointNet, what: Known, state: Tensor, time: float) -> Tensor:
    found: Tensor = made(state, what.around(), what.condition(torch.full((len(state),), time)))
    return found.detach()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("time", [0.0, 0.3, 1.0])
def test_untrained_it_is_the_best_linear_denoiser_of_unit_noise_and_unit_signal(shape: tuple[int, ...], time: float) -> None:
    what = known(shape)
    state = noise(2, 3, *shape, seed=3) * what.drawn
    wanted = time / (time**2 + (1 - time) ** 2) * state
    torch.testing.assert_close(denoised(net(shape, trained=False), what, state, time), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_at_the_start_it_does_not_see_the_state(shape: tuple[int, ...]) -> None:
    what, made = known(shape), net(shape)
    one, other = (denoised(made, what, noise(2, 3, *shape, seed=seed) * what.drawn, 0.0) for seed in (3, 4))
    assert torch.equal(one, other)
    assert one[0, 1].any()
    late, later = (denoised(made, what, noise(2, 3, *shape, seed=seed) * what.drawn, 0.5) for seed in (3, 4))
    assert not torch.allclose(late, later, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_channels_that_are_not_drawn_stay_empty(shape: tuple[int, ...]) -> None:
    what = known(shape)
    found = denoised(net(shape), what, noise(2, 3, *shape) * what.drawn, 0.4)
    assert not found[0, 0].any(), "measured"
    assert not found[1, 0].any(), "not part of the state"
    assert all(found[row, channel].any() for row, channel in ((0, 1), (0, 2), (1, 1), (1, 2)))
    assert (what.status[1, 0], what.status[0, 0]) == (ABSENT, MEASURED)


@pytest.mark.parametrize("shape", SHAPES)
def test_slices_of_a_batch_do_not_see_each_other(shape: tuple[int, ...]) -> None:
    what, made = known(shape), net(shape)
    state = noise(2, 3, *shape) * what.drawn
    alone = denoised(made, what, state, 0.4)
    other = state.clone()
    other[0] = 2 * other[0]
    both = denoised(made, what, other, 0.4)
    torch.testing.assert_close(both[1], alone[1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(both[0], alone[0], atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_drawn_channels_see_each_other(shape: tuple[int, ...]) -> None:
    what, made = known(shape), net(shape)
    state = noise(2, 3, *shape) * what.drawn
    other = state.clone()
    other[0, 2] = -other[0, 2]
    assert not torch.allclose(denoised(made, what, other, 0.4)[0, 1], denoised(made, what, state, 0.4)[0, 1], atol=1e-4)


def test_volumes_have_no_neighbours_and_three_positions() -> None:
    flat, deep = known(SHAPES[0]), known(SHAPES[1])
    assert flat.around().shape[1] == 4 * 3 + 2 + 1
    assert deep.around().shape[1] == 2 * 3 + 3 + 1
    assert flat.condition(torch.zeros(2)).shape == deep.condition(torch.zeros(2)).shape


def test_a_mean_for_each_channel_is_asked_for() -> None:
    with pytest.raises(SettingError, match="3 channels, but 2 means"):
        JointNet(CHANNELS, prior_mean=(0.1, 0.2))


def test_weights_from_when_the_net_also_followed_raw_data_still_load() -> None:
    made = net(SHAPES[0])
    old = dict(made.state_dict()) | {"step.weight": torch.zeros(1, 4), "step.bias": torch.zeros(1)}
    other = net(SHAPES[0], trained=False)
    other.load_state_dict(old)
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in other.state_dict().items())
    assert "step.weight" in old, "what was read stays as it is"
