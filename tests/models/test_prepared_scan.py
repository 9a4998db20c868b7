"""Laws of the prepared scan: its scale, its start, and that it means the same in any units."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch

from toys import SIGMA, SIZE, kspace, picture, sensitivities
from veridical.models.prepared_scan import Scan, prepare, root_sum_of_squares
from veridical.physics import masks


@cache
def prepared(factor: float = 1.0) -> Scan:
    mask = torch.from_numpy(masks.uniform(SIZE, 3, acs=12)).float()
    return prepare(factor * kspace() * mask, mask, sensitivities()[None], factor * SIGMA)


def test_the_root_sum_of_squares_is_taken_over_the_axis_before_the_last_two() -> None:
    images = torch.randn(3, 2, 5, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(root_sum_of_squares(images), images.norm(dim=1))


def test_the_start_has_a_99th_percentile_of_one() -> None:
    assert float(torch.quantile(root_sum_of_squares(prepared().start), 0.99)) == pytest.approx(1, abs=0.05)


def test_scale_times_the_numbers_of_a_scan_are_the_units_of_the_data() -> None:
    scan = prepared()
    mask = scan.operator.mask
    torch.testing.assert_close(scan.kspace * scan.scale, kspace() * mask)
    assert scan.sigma * scan.scale == pytest.approx(SIGMA)
    error = (scan.start[0] * scan.scale - picture()).norm() / picture().norm()
    assert float(error) < 0.1


@pytest.mark.parametrize("factor", [1e-6, 1000.0])
def test_a_scan_is_the_same_in_any_units(factor: float) -> None:
    plain, scaled = prepared(), prepared(factor)
    assert scaled.scale == pytest.approx(factor * plain.scale, rel=1e-3)
    assert scaled.condition == pytest.approx(plain.condition, abs=1e-3)
    torch.testing.assert_close(scaled.start, plain.start, atol=2e-3, rtol=0)
    torch.testing.assert_close(scaled.kspace, plain.kspace, atol=2e-3, rtol=2e-3)


def test_the_condition_tells_the_noise_and_the_sampled_fraction() -> None:
    scan = prepared()
    noise, fraction = scan.condition
    assert math.exp(noise) == pytest.approx(scan.sigma)
    assert math.exp(fraction) == pytest.approx(float(scan.operator.mask.mean()), rel=1e-3)


def test_the_support_is_one_where_the_maps_have_unit_norm_and_never_more() -> None:
    maps = sensitivities()[None].clone()
    maps[..., :10, :] = 0
    maps[..., 40:, :] *= 1.5
    scan = prepare(kspace(), torch.ones(SIZE), maps, SIGMA)
    assert scan.support.shape == (1, *SIZE)
    torch.testing.assert_close(scan.support[0, 10:], torch.ones(38, SIZE[1]))
    assert not scan.support[0, :10].any()


def test_the_start_is_better_than_the_adjoint() -> None:
    scan = prepared()
    truth = picture() / scan.scale
    adjoint = scan.operator.adjoint(scan.kspace)
    assert float((scan.start[0] - truth).norm()) < 0.4 * float((adjoint[0] - truth).norm())


def test_moving_to_a_device_keeps_everything() -> None:
    scan = prepared()
    moved = scan.to(torch.device("cpu"))
    assert torch.equal(moved.operator.forward(moved.start), scan.operator.forward(scan.start))
    assert (moved.sigma, moved.scale) == (scan.sigma, scan.scale)
