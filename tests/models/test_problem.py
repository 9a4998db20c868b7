"""Laws of a prepared problem: its scale, its start, its images and their parts, and that it means
the same in any units.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from toys import SIGMA, SIZE, kspace, picture, sensitivities
from veridical.models.problem import Problem, percentile, prepare, root_sum_of_squares
from veridical.physics import masks
from veridical.physics.identity import Identity
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.tissue_level import tissue_level


@cache
def prepared(factor: float = 1.0) -> Problem:
    mask = torch.from_numpy(masks.uniform(SIZE, 3, acs=12)).float()
    return prepare(factor * kspace() * mask, mask, sensitivities()[None], factor * SIGMA)


def test_the_root_sum_of_squares_is_taken_over_the_axis_before_the_last_two() -> None:
    images = torch.randn(
        3, 2, 5, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(root_sum_of_squares(images), images.norm(dim=1))


def test_the_inner_tissue_of_the_start_is_what_networks_were_trained_on() -> None:
    start = root_sum_of_squares(prepared().start).numpy()
    assert tissue_level(start) == pytest.approx(Preprocessing().tissue, rel=1e-4)


def test_scale_times_the_numbers_of_a_scan_are_the_units_of_the_data() -> None:
    scan = prepared()
    mask = scan.operator.mask
    torch.testing.assert_close(scan.data * scan.scale, kspace() * mask)
    assert scan.sigma * scan.scale == pytest.approx(SIGMA)
    error = (scan.start[0] * scan.scale - picture()).norm() / picture().norm()
    assert float(error) < 0.1


@pytest.mark.parametrize("factor", [1e-6, 1000.0])
def test_a_scan_is_the_same_in_any_units(factor: float) -> None:
    plain, scaled = prepared(), prepared(factor)
    assert scaled.scale == pytest.approx(factor * plain.scale, rel=1e-3)
    assert scaled.sigma == pytest.approx(plain.sigma, rel=1e-3)
    torch.testing.assert_close(scaled.start, plain.start, atol=2e-3, rtol=0)
    torch.testing.assert_close(scaled.data, plain.data, atol=2e-3, rtol=2e-3)


def test_the_support_is_one_where_the_maps_have_unit_norm_and_never_more() -> None:
    maps = sensitivities()[None].clone()
    maps[..., :10, :] = 0
    maps[..., 40:, :] *= 1.5
    scan = prepare(kspace(), torch.ones(SIZE), maps, SIGMA)
    assert scan.support is not None
    assert scan.support.shape == (1, *SIZE)
    torch.testing.assert_close(scan.support[0, 10:], torch.ones(38, SIZE[1]))
    assert not scan.support[0, :10].any()


def test_the_start_is_better_than_the_adjoint() -> None:
    scan = prepared()
    truth = picture() / scan.scale
    adjoint = scan.operator.adjoint(scan.data)
    assert float((scan.start[0] - truth).norm()) < 0.4 * float((adjoint[0] - truth).norm())


def test_moving_to_a_device_keeps_everything() -> None:
    scan = prepared()
    moved = scan.to(torch.device("cpu"))
    assert torch.equal(moved.operator.forward(moved.start), scan.operator.forward(scan.start))
    assert (moved.sigma, moved.scale) == (scan.sigma, scan.scale)


def test_the_image_is_the_root_sum_of_squares_of_what_the_coils_see_in_the_units_of_the_data() -> (
    None
):
    scan = prepared()
    image = scan.image(picture()[None] / scan.scale)
    assert image.shape == (1, *SIZE)
    torch.testing.assert_close(image[0], picture().abs(), atol=1e-4, rtol=1e-4)
    many = scan.image(torch.stack([scan.start, 2 * scan.start]))
    torch.testing.assert_close(many[1], 2 * many[0])


@pytest.mark.parametrize("kind", ["mri", "real slice", "complex slice", "real volume"])
def test_parts_of_an_image_that_sum_to_it_sum_to_its_magnitude(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    scan = prepared() if kind == "mri" else plain(kind)
    x, one = (
        torch.randn(scan.start.shape, dtype=scan.start.dtype, generator=generator) for _ in range(2)
    )
    whole = scan.image(x)
    assert whole.ndim == 3
    torch.testing.assert_close(
        scan.part(x, one) + scan.part(x, x - one), whole, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(scan.part(x, x), whole, atol=1e-4, rtol=1e-4)


def plain(kind: str) -> Problem:
    """An image measured as it is."""
    dtype = torch.complex64 if kind.startswith("complex") else torch.float32
    shape = (3, 6, 5) if kind.endswith("volume") else (6, 5)
    zero = torch.zeros(shape, dtype=dtype)
    return Problem(
        Identity(shape, dtype), zero, 0.1, zero, scale=2.0, stacked=kind.endswith("volume")
    )


def test_whitened_data_have_noise_of_one_size() -> None:
    weights = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    of = replace(plain("real slice"), weights=weights)
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(of.whitened().forward(x), weights.sqrt() * x)
    assert plain("real slice").whitened().forward(x) is x


def test_the_percentile_of_nothing_is_not_zero() -> None:
    assert percentile(torch.zeros(9, 9)) > 0
