from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.features.morphology import shape
from veridical.types import Array


def ellipsoid(
    axes: tuple[float, float, float], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Array:
    """Half axes in mm."""
    grids = np.meshgrid(
        *(
            np.arange(-np.ceil(a / s) - 1, np.ceil(a / s) + 2) * s
            for a, s in zip(axes, spacing, strict=True)
        ),
        indexing="ij",
    )
    return sum((g / a) ** 2 for g, a in zip(grids, axes, strict=True)) <= 1


def test_a_ball_has_the_volume_and_the_axes_of_a_ball() -> None:
    found = shape(ellipsoid((15.0, 15.0, 15.0)), (1.0, 1.0, 1.0))
    assert found["morph_volume"] == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.02)
    assert found["morph_volume"] == pytest.approx(found["morph_approximate_volume"], rel=0.01)
    assert found["morph_maximum_3d_diameter"] == pytest.approx(31, abs=0.5)
    assert found["morph_sphericity"] == pytest.approx(1, abs=0.1)
    assert found["morph_elongation"] == pytest.approx(1, abs=1e-6)
    # 4 sqrt(variance) of a solid ball of radius r is 4 r / sqrt(5)
    assert found["morph_major_axis_length"] == pytest.approx(4 * 15 / np.sqrt(5), rel=0.02)


def test_an_ellipsoid_has_its_axes_whatever_the_spacing() -> None:
    found = shape(ellipsoid((24.0, 16.0, 8.0), (0.5, 1.0, 2.0)), (0.5, 1.0, 2.0))
    assert found["morph_elongation"] == pytest.approx(16 / 24, abs=0.02)
    assert found["morph_flatness"] == pytest.approx(8 / 24, abs=0.02)
    assert found["morph_maximum_3d_diameter"] == pytest.approx(48, abs=2)


def test_features_without_unit_stay_and_lengths_follow_the_voxel_size() -> None:
    structure = ellipsoid((9.0, 6.0, 4.0))
    small, large = shape(structure, (1.0, 1.0, 1.0)), shape(structure, (3.0, 3.0, 3.0))
    power = {
        "volume": 3,
        "approximate_volume": 3,
        "surface_area": 2,
        "surface_to_volume_ratio": -1,
        "maximum_3d_diameter": 1,
        "major_axis_length": 1,
        "minor_axis_length": 1,
        "least_axis_length": 1,
    }
    for name, value in small.items():
        assert large[name] == pytest.approx(
            value * 3.0 ** power.get(name.removeprefix("morph_"), 0), rel=1e-5
        ), name


def test_place_and_frame_do_not_matter_and_a_single_voxel_has_a_shape() -> None:
    structure = ellipsoid((5.0, 4.0, 3.0))
    assert shape(np.pad(structure, ((9, 1), (0, 4), (2, 2))), (1.0, 1.0, 2.0)) == pytest.approx(
        shape(structure, (1.0, 1.0, 2.0)), rel=1e-5
    )
    dot = shape(np.ones((1, 1, 1), dtype=bool), (1.0, 1.0, 1.0))
    assert all(np.isfinite(value) for value in dot.values())
    # an octahedron with half axes of half a voxel
    assert dot["morph_volume"] == pytest.approx(1 / 6)
    assert dot["morph_elongation"] == dot["morph_flatness"] == 1


@pytest.mark.parametrize(
    ("structure", "spacing", "error"),
    [
        (np.ones((3, 3), dtype=bool), (1.0, 1.0, 1.0), GeometryError),
        (np.ones((3, 3, 3)), (1.0, 1.0, 1.0), InputError),
        (np.zeros((3, 3, 3), dtype=bool), (1.0, 1.0, 1.0), InputError),
        (np.ones((3, 3, 3), dtype=bool), (1.0, 0.0, 1.0), UnitsError),
        (np.ones((3, 3, 3), dtype=bool), (1.0, 1.0), UnitsError),
    ],
)
def test_what_has_no_shape_is_refused(
    structure: Array, spacing: tuple[float, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        shape(structure, spacing)
