from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.physics.thick_slices import ThickSlices
from veridical.types import Geometry


def test_constants_stay_also_with_gaps_and_overlap() -> None:
    for distance in (2.0, 4.0, 7.0):
        operator = ThickSlices((3, 4, 30), 1.0, 4.0, distance)
        torch.testing.assert_close(
            operator.forward(torch.full(operator.domain, 7.0)), torch.full(operator.range, 7.0)
        )


def test_as_many_slices_as_fit_lie_centred() -> None:
    operator = ThickSlices((30,), 1.0, 4.0, 5.0)
    assert operator.range == (6,)
    torch.testing.assert_close(
        operator.centres, torch.tensor([2.0, 7, 12, 17, 22, 27], dtype=torch.float64)
    )
    assert ThickSlices((12,), 1.0, 3.0).range == (4,)


def test_a_ramp_keeps_its_values_at_the_centres() -> None:
    operator = ThickSlices((40,), 0.9, 3.0, 3.5)
    ramp = torch.arange(40) * 0.9
    torch.testing.assert_close(
        operator.forward(ramp).double()[1:-1], operator.centres[1:-1], rtol=0, atol=0.01
    )


def test_sharp_edges_and_whole_voxels_are_the_mean_of_blocks() -> None:
    x = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        ThickSlices((2, 12), 1.0, 3.0, edge=1e-3).forward(x), x.reshape(2, 4, 3).mean(2)
    )


@pytest.mark.parametrize("edge", [0.05, 0.2, 0.5])
def test_profile_is_half_as_high_at_half_the_thickness(edge: float) -> None:
    operator = ThickSlices((401,), 0.1, 8.0, 100.0, edge=edge)
    weights = operator.adjoint(torch.ones(1))
    assert float(weights[200 - 40] / weights[200]) == pytest.approx(0.5, abs=0.03)


def test_thicker_slices_smooth_more() -> None:
    x = torch.rand(60, generator=torch.Generator().manual_seed(0))
    spread = [
        float(ThickSlices((60,), 1.0, thickness, 2.0).forward(x).std())
        for thickness in (1.0, 2.0, 4.0, 8.0)
    ]
    assert spread == sorted(spread, reverse=True)


def test_slices_lie_where_their_centres_are() -> None:
    turned = np.diag([1.0, 2.0, 0.8, 1.0])
    turned[:2, :2] = [[0, -2.0], [1.0, 0]]
    turned[:3, 3] = [5, 6, 7]
    operator = ThickSlices((4, 5, 40), 0.8, 4.0, 5.0)
    grid = operator.grid(Geometry((4, 5, 40), turned))
    assert grid.shape == operator.range
    assert grid.spacing == pytest.approx((1, 2, 5))
    volume_point = turned @ [1, 2, float(operator.centres[3]) / 0.8, 1]
    np.testing.assert_allclose(grid.affine @ [1, 2, 3, 1], volume_point)
    with pytest.raises(GeometryError, match="domain"):
        operator.grid(Geometry((4, 5, 39), turned))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GeometryError, match="do not fit"):
        ThickSlices((4, 5), 1.0, 6.0)
    with pytest.raises(GeometryError, match="axis"):
        ThickSlices((4, 50), 1.0, 6.0, axis=2)
    for thickness, edge in ((0.0, 0.2), (3.0, 0.0), (-math.inf, 0.2)):
        with pytest.raises(SettingError):
            ThickSlices((4, 50), 1.0, thickness, edge=edge)
