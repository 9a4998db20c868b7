"""The written graph is the network: same numbers for any batch and size, one file whatever wrote
it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from priors import awake
from veridical.errors import SettingError
from veridical.nets.unet import UNet
from veridical.nets.unet_onnx import INPUTS, conditions_of, unet_onnx

onnx = pytest.importorskip("onnx")


def net(widths: tuple[int, ...] = (8, 12, 16), dims: int = 2, normalized: bool = False) -> UNet:
    torch.manual_seed(0)
    blank = UNet(5, 3, 7, widths, blocks=2, embedding=10, dims=dims, normalized=normalized)
    made = awake(blank).eval()
    assert isinstance(made, UNet)
    return made


def evaluated(core: UNet, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """What the standard's own reference implementation makes of the graph."""
    from onnx.reference import ReferenceEvaluator

    run = ReferenceEvaluator(unet_onnx(core))
    return torch.from_numpy(
        run.run(None, dict(zip(INPUTS, (x.numpy(), condition.numpy()), strict=True)))[0]
    )


def test_the_graph_is_valid_by_the_standard() -> None:
    onnx.checker.check_model(unet_onnx(net()), full_check=True)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize(
    ("batch", "rows", "columns", "widths"), [(1, 8, 16, (8, 12, 16)), (3, 16, 8, (8, 12))]
)
def test_the_graph_by_the_standard_s_reference_gives_the_numbers_of_torch(
    batch: int, rows: int, columns: int, widths: tuple[int, ...], normalized: bool
) -> None:
    core, generator = net(widths, normalized=normalized), torch.Generator().manual_seed(1)
    x = torch.randn(batch, 5, rows, columns, generator=generator)
    condition = torch.randn(batch, conditions_of(core), generator=generator)
    with torch.inference_mode():
        wanted = core(x, condition)
    np.testing.assert_allclose(evaluated(core, x, condition), wanted, rtol=1e-4, atol=1e-5)


def test_the_same_weights_give_the_same_file() -> None:
    assert unet_onnx(net()).SerializeToString() == unet_onnx(net()).SerializeToString()


def test_batch_and_sides_are_free() -> None:
    (x, condition) = unet_onnx(net()).graph.input
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == [
        "batch",
        5,
        "y",
        "x",
    ]
    assert [d.dim_param or d.dim_value for d in condition.type.tensor_type.shape.dim] == [
        "batch",
        7,
    ]


def test_a_network_of_volumes_is_refused() -> None:
    with pytest.raises(SettingError, match="volumes"):
        unet_onnx(net(dims=3))
