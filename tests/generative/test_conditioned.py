"""Laws of a conditioned network on a coarser grid: the same recipe, maps at full resolution, any
size.
"""

from __future__ import annotations

import pytest
import torch
from generators import CONDITIONS

from priors import awake, request
from veridical.conditioning.condition import Conditioning
from veridical.generative.conditioned import Conditioned, padded


def net() -> Conditioned:
    torch.manual_seed(0)
    return Conditioned(CONDITIONS, "unet", {"widths": (8, 8), "blocks": 1})


@pytest.mark.parametrize(("size", "cells"), [((16, 20), (4, 5)), ((17, 22), (5, 6))])
def test_state_and_output_are_coarse_and_images_fine(
    size: tuple[int, int], cells: tuple[int, int]
) -> None:
    coarse = awake(net().coarse(3, 4))
    batch = Conditioning.of(CONDITIONS, [request(size=size)])
    state = torch.zeros(1, 3, *cells)
    out = coarse(state, torch.zeros(1), batch)
    assert out.shape == state.shape
    batch.values["images"][..., -1, -1] += 1  # type: ignore[index]
    assert not torch.allclose(coarse(state, torch.zeros(1), batch), out, atol=1e-5)


def test_it_has_the_recipe_of_the_fine_one_and_weights_of_its_own() -> None:
    fine = net()
    coarse = fine.coarse(1, 4)
    assert set(coarse.encoders) == set(fine.encoders)
    shapes = [{n: p.shape for n, p in one.backbone.named_parameters()} for one in (fine, coarse)]
    assert shapes[0] == shapes[1]
    assert not {n for n, _ in fine.named_parameters() if n.startswith("reduce")}
    assert not {id(p) for p in fine.parameters()} & {id(p) for p in coarse.parameters()}


def test_what_is_missing_up_to_a_shape_is_zero() -> None:
    image = torch.ones(1, 2, 3, 4)
    found = padded(image, (4, 6))
    assert found.shape == (1, 2, 4, 6)
    assert torch.equal(found[..., :3, :4], image)
    assert float(found.sum()) == float(image.sum())
    assert padded(image, (3, 4)) is image
