"""Laws of the encoder: one cell for every 4 x 4 pixels, images of any size, each by itself."""

from __future__ import annotations

import pytest
import torch

from veridical.nets.encoder import Encoder


@pytest.mark.parametrize(
    ("size", "cells"), [((16, 24), (4, 6)), ((17, 23), (5, 6)), ((1, 4), (1, 1))]
)
def test_a_cell_stands_for_four_by_four_pixels_begun(
    size: tuple[int, int], cells: tuple[int, int]
) -> None:
    assert Encoder(2, 5, width=4)(torch.zeros(3, 2, *size)).shape == (3, 5, *cells)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    net, x = Encoder(2, 5, width=4), torch.randn(3, 2, 12, 16)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), atol=1e-6, rtol=1e-5)


def test_a_cell_sees_its_own_surroundings_only() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 2, 64, 64, requires_grad=True)
    (slope,) = torch.autograd.grad(Encoder(2, 1, width=4)(image)[0, 0, 8, 8], image)
    rows = torch.nonzero(slope.abs().sum((0, 1, 3)))
    assert 4 * 8 in rows
    assert int(rows.max() - rows.min()) + 1 <= 24
