"""Laws of the denoiser as a prior: mirrored turns, real stays real, and volumes that no axis leaves
seams in.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from veridical.generative.preconditioned import Preconditioned
from veridical.models.image_prior import SLICES_AT_ONCE, ImagePrior, VolumePrior, joined, parts

REACH = 2


class Local(nn.Module):
    """A backbone whose answer depends on a voxel, its right neighbour and the same place in the
    neighbouring slices.
    """

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        middle, around = x[:, :2], x[:, 3:]
        beside = around.reshape(len(x), 2 * REACH, 2, *x.shape[-2:]).sum(1)
        return 0.3 * middle + 0.5 * middle.roll(-1, -1) + 0.1 * beside


def net() -> Preconditioned:
    return Preconditioned(Local(), REACH)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_what_is_real_stays_real_and_every_axis_before_the_last_two_is_a_batch(
    dtype: torch.dtype,
) -> None:
    prior, x = ImagePrior(net()), noise(3, 2, 8, 6, dtype=dtype)
    found = prior(x, 0.1)
    assert (found.shape, found.dtype) == (x.shape, dtype)
    torch.testing.assert_close(found[1, 1], prior(x[1, 1], 0.1))


def test_parts_of_a_complex_image_join_to_it_again() -> None:
    x = noise(3, 8, 6, dtype=torch.complex64)
    assert torch.equal(joined(parts(x[:, None])[:, 0], x), x)
    assert not parts(x.real)[:, :, 1].any()


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_every_other_turn_works_on_the_mirror_image(turn: int) -> None:
    prior, x = ImagePrior(net()), noise(8, 6)
    plain, mirrored = prior(x, 0.1, 0), prior(x.flip(-1), 0.1, 0).flip(-1)
    torch.testing.assert_close(prior(x, 0.1, turn), mirrored if turn % 2 else plain)
    assert not torch.allclose(plain, mirrored)


def test_the_result_may_be_trained_through_or_written_to() -> None:
    found = ImagePrior(net())(noise(8, 6), 0.1)
    found += 1
    assert not found.is_inference()


def test_slices_of_a_volume_see_their_neighbours_and_nothing_beyond_the_ends() -> None:
    volume = torch.zeros(7, 8, 6)
    volume[3] = 1
    found = VolumePrior(net(), isotropic=False)(volume, 0.1) - volume
    reached = [bool(found[z].any()) for z in range(7)]
    assert reached == [False, True, True, True, True, True, False]
    end = torch.zeros(7, 8, 6)
    end[0] = 1
    assert not (VolumePrior(net(), isotropic=False)(end, 0.1) - end)[REACH + 1 :].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_isotropic_volume_is_cut_along_another_axis_in_every_turn(axis: int) -> None:
    """Cut along an axis is the volume turned, cut along the first one, and turned back."""
    volume = noise(9, 9, 9)
    prior, plain = VolumePrior(net(), isotropic=True), VolumePrior(net(), isotropic=False)
    for turn in (axis, axis + 3):
        expected = plain(volume.movedim(axis, 0), 0.1, turn).movedim(0, axis)
        torch.testing.assert_close(prior(volume, 0.1, turn), expected)


@pytest.mark.parametrize("count", [SLICES_AT_ONCE - 1, SLICES_AT_ONCE, 2 * SLICES_AT_ONCE + 3])
def test_there_is_no_seam_where_one_pass_ends_and_the_next_begins(count: int) -> None:
    """The interior of a long volume is what the same slices give in a volume of their own with
    their neighbours.
    """
    volume = noise(count, 8, 6)
    whole = VolumePrior(net(), isotropic=False)(volume, 0.1)
    for first in range(0, count - 2 * REACH, 5):
        alone = VolumePrior(net(), isotropic=False)(volume[first : first + 2 * REACH + 1], 0.1)
        torch.testing.assert_close(whole[first + REACH], alone[REACH])


def test_volumes_of_a_batch_do_not_see_each_other() -> None:
    both, prior = noise(2, 7, 8, 6), VolumePrior(net(), isotropic=True)
    torch.testing.assert_close(prior(both, 0.1, 1)[1], prior(both[1], 0.1, 1))


def test_noise_may_vary_over_the_volume_and_turns_with_it() -> None:
    level = 0.05 + 0.2 * torch.rand(9, 9, 9, generator=torch.Generator().manual_seed(1))
    volume, prior = noise(9, 9, 9), VolumePrior(net(), isotropic=True)
    for turn in (1, 2):
        moved = prior.one(volume.movedim(turn, 0), level.movedim(turn, 0), 0)
        flipped = prior(volume, level, turn)
        if turn % 2 == 0:
            torch.testing.assert_close(flipped, moved.movedim(0, turn))
    even = prior(volume, torch.full((9, 9, 9), 0.1), 0)
    torch.testing.assert_close(even, prior(volume, 0.1, 0))
    assert not torch.allclose(even, prior(volume, level, 0))
