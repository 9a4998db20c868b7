"""Laws of the patch discriminator: one score for every fourth pixel, each of which sees a patch and
no more.
"""

from __future__ import annotations

import torch

from veridical.nets.patch_discriminator import PatchDiscriminator


def test_it_scores_every_fourth_pixel() -> None:
    assert PatchDiscriminator(3, (4, 6, 8))(torch.zeros(2, 3, 40, 64)).shape == (2, 1, 10, 16)


def test_a_score_sees_26_by_26_pixels() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 2, 80, 80, requires_grad=True)
    (slope,) = torch.autograd.grad(PatchDiscriminator(2, (4, 6, 8))(image)[0, 0, 10, 10], image)
    rows, columns = torch.nonzero(slope.abs().sum((0, 1)), as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 == 26
    assert int(columns.max() - columns.min()) + 1 == 26
