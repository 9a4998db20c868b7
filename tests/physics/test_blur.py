from __future__ import annotations

import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.physics.blur import Blur


def test_a_point_spreads_to_the_stated_width() -> None:
    point = torch.zeros(65, 65)
    point[32, 32] = 1.0
    spread = Blur((65, 65), (0.5, 1.0), (6.0, 8.0)).forward(point)
    for axis, spacing, fwhm in ((0, 0.5, 6.0), (1, 1.0, 8.0)):
        profile = spread.sum(1 - axis).double()
        position = (torch.arange(65) - 32) * spacing
        assert float((profile * position**2).sum().sqrt()) * 2.3548 == pytest.approx(fwhm, rel=0.01)
        assert float(profile[32 + int(fwhm / 2 / spacing)] / profile[32]) == pytest.approx(
            0.5, abs=0.01
        )


def test_constants_stay_also_at_the_borders() -> None:
    operator = Blur((12, 16, 20), (1.0, 1.0, 3.0), (2.0, 0.0, 5.0), (2, 4, 1))
    torch.testing.assert_close(
        operator.forward(torch.full((12, 16, 20), 7.0)), torch.full((6, 4, 20), 7.0)
    )


def test_without_blur_it_is_the_mean_of_blocks() -> None:
    image = torch.rand(2, 8, 9, generator=torch.Generator().manual_seed(0))
    averaged = Blur((8, 9), (1.0, 1.0), (0.0, 0.0), (2, 3)).forward(image)
    torch.testing.assert_close(averaged, torch.nn.functional.avg_pool2d(image, (2, 3)))


def test_two_blurs_are_one_of_the_root_of_the_summed_squares() -> None:
    point = torch.zeros(61)
    point[30] = 1.0
    three, four, five = (Blur((61,), (1.0,), (width,)) for width in (3.0, 4.0, 5.0))
    torch.testing.assert_close((three @ four) @ point, five.forward(point), atol=2e-4, rtol=0)


def test_complex_images_are_blurred_by_their_parts() -> None:
    image = torch.randn(8, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    operator = Blur((8, 9), (1.0, 1.0), (2.0, 2.0), (2, 3), torch.complex64)
    parts = torch.complex(operator.forward(image.real), operator.forward(image.imag))
    torch.testing.assert_close(operator.forward(image), parts)


def test_a_factor_that_does_not_divide_the_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="divide"):
        Blur((9, 8), (1.0, 1.0), (0.0, 0.0), (2, 2))
    with pytest.raises(GeometryError, match="number an axis"):
        Blur((9, 8), (1.0, 1.0, 1.0), (0.0, 0.0))
    with pytest.raises(SettingError, match="fwhm"):
        Blur((9, 8), (1.0, 1.0), (-1.0, 0.0))
