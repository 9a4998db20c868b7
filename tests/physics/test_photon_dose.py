"""Laws of the dose engine, and published values of 6 MV beams."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from veridical.errors import GeometryError, InputError
from veridical.physics.photon_dose import SOURCE, PhotonField, photon_dose, rectangle
from veridical.types import Array

VOXEL = 5.0
WIDE, DEEP = 43, 62


def field(side: float, surface: float, **settings: float) -> PhotonField:
    """A square field from the front, `surface` mm before the box of water."""
    middle = (WIDE // 2) * VOXEL
    return PhotonField(
        0.0,
        (middle, (DEEP - 0.5) * VOXEL - (SOURCE - surface), middle),
        rectangle(side, side),
        **settings,
    )


@cache
def on_water(side: float = 100.0, surface: float = SOURCE) -> Array:
    return photon_dose(
        np.ones((WIDE, DEEP, WIDE), np.float32), (VOXEL,) * 3, [field(side, surface)]
    )


def axis(dose: Array, depth: float) -> float:
    """Dose on the axis, mm below the surface."""
    depths = (np.arange(DEEP) + 0.5) * VOXEL
    return float(np.interp(depth, depths, dose[WIDE // 2, ::-1, WIDE // 2]))


def share(side: float, depth: float) -> float:
    """Per cent of the highest dose on the axis."""
    dose = on_water(side)
    return 100 * axis(dose, depth) / float(dose[WIDE // 2, :, WIDE // 2].max())


def test_depth_dose_is_that_of_six_megavolts() -> None:
    """IAEA, Radiation Oncology Physics, 2005: deepest at 15 mm, 67 % at 100 mm."""
    column = on_water()[WIDE // 2, ::-1, WIDE // 2]
    assert (column.argmax() + 0.5) * VOXEL == pytest.approx(15, abs=VOXEL)
    assert share(100, 100) == pytest.approx(67, abs=1.5)
    assert share(100, 50) == pytest.approx(86.5, abs=1.5)
    assert share(100, 200) == pytest.approx(38.3, abs=1.2)


def test_tissue_phantom_ratio_is_that_of_six_megavolts() -> None:
    deep = axis(on_water(100, SOURCE - 200), 200)
    assert deep / axis(on_water(100, SOURCE - 100), 100) == pytest.approx(0.667, abs=0.01)


def test_depth_dose_and_ratio_fit_each_other_as_in_measured_beams() -> None:
    """TPR20,10 = 1.2661 PDD20,10 - 0.0595 (Followill et al. 1998, 10.1118/1.598396)."""
    ratio = axis(on_water(100, SOURCE - 200), 200) / axis(on_water(100, SOURCE - 100), 100)
    assert ratio == pytest.approx(1.2661 * share(100, 200) / share(100, 100) - 0.0595, abs=0.012)


def test_a_monitor_unit_is_a_centigray_where_it_is_calibrated() -> None:
    assert axis(on_water(), 15) == pytest.approx(1.0, rel=0.02)


def test_dose_builds_up_below_the_surface() -> None:
    column = on_water()[WIDE // 2, ::-1, WIDE // 2]
    assert column[0] < 0.75 * column[2]
    assert (np.diff(column[4:]) < 0).all()


def test_larger_fields_scatter_more_and_deeper() -> None:
    outputs = [axis(on_water(side), 15) for side in (50.0, 100.0, 150.0)]
    assert outputs == sorted(outputs)
    assert outputs[0] / outputs[1] == pytest.approx(0.983, abs=0.01), "phantom scatter factor"
    assert share(50, 100) == pytest.approx(62.5, abs=1.5)
    assert share(50, 100) < share(100, 100) < share(150, 100)


def test_dose_falls_with_the_square_of_the_distance() -> None:
    """The same field size at the same depth, the source 1000 and 1200 mm away."""
    near, far = 1000.0, 1200.0
    there = axis(on_water(100 * SOURCE / (near + 50), near), 50)
    away = axis(on_water(100 * SOURCE / (far + 50), far), 50)
    assert there / away == pytest.approx(((far + 50) / (near + 50)) ** 2, rel=0.01)


def test_dose_is_linear_in_monitor_units_and_adds_up() -> None:
    water = np.ones((15, 15, 15), np.float32)
    fields = [
        PhotonField(angle, (35.0, 35.0, 35.0), rectangle(30, 40), units)
        for angle, units in ((0.0, 100.0), (75.0, 250.0))
    ]
    one, other = (photon_dose(water, (5.0,) * 3, [each]) for each in fields)
    assert np.allclose(photon_dose(water, (5.0,) * 3, fields), one + other, rtol=1e-5)
    twice = PhotonField(0.0, (35.0, 35.0, 35.0), rectangle(30, 40), 200.0)
    assert np.allclose(photon_dose(water, (5.0,) * 3, [twice]), 2 * one, rtol=1e-5)


def test_a_square_field_is_symmetric() -> None:
    dose = on_water()
    assert np.allclose(dose, dose[::-1], rtol=0.02, atol=0.004)
    assert np.allclose(dose, dose[..., ::-1], rtol=0.02, atol=0.004)
    assert np.allclose(dose, dose.transpose(2, 1, 0), rtol=0.02, atol=0.004)


def test_the_edge_of_a_field_is_where_half_of_the_dose_is() -> None:
    depth = 20
    row = on_water(100, SOURCE - 100)[WIDE // 2 :, ::-1, WIDE // 2][:, depth]
    mm = np.arange(len(row)) * VOXEL
    falls = [float(np.interp(-part * row[0], -row, mm)) for part in (0.8, 0.5, 0.2)]
    assert falls[1] == pytest.approx(50 * (SOURCE - 100 + 102.5) / SOURCE, abs=1.0)
    assert 4 < falls[2] - falls[0] < 12, "penumbra, mm"
    assert row[-1] < 0.1 * row[0]


def test_turning_the_gantry_by_a_right_angle_turns_the_dose() -> None:
    n = 31
    water, middle = np.ones((n, n, n), np.float32), (n // 2) * VOXEL
    front, left = (
        photon_dose(water, (VOXEL,) * 3, [PhotonField(a, (middle,) * 3, rectangle(60, 60))])
        for a in (0.0, 90.0)
    )
    assert np.allclose(left, np.rot90(front, axes=(0, 1)), rtol=0.02, atol=0.005)


def test_a_cylinder_looks_alike_from_all_sides() -> None:
    n = 41
    x = (np.arange(n) - n // 2) * VOXEL
    round_ = (x[:, None] ** 2 + x**2 < 90.0**2).astype(np.float32)
    cylinder = np.repeat(round_[:, :, None], 25, 2)
    middle = ((n // 2) * VOXEL, (n // 2) * VOXEL, 12 * VOXEL)
    doses = [
        photon_dose(cylinder, (VOXEL,) * 3, [PhotonField(a, middle, rectangle(60, 60))])
        for a in (0.0, 27.0, 45.0, 160.0)
    ]
    centre = [float(dose[n // 2, n // 2, 12]) for dose in doses]
    assert np.ptp(centre) < 0.02 * np.mean(centre)


def test_beyond_lung_and_bone_the_dose_is_that_of_the_water_equivalent_depth() -> None:
    water = on_water(100)
    for density, thick in ((0.25, 16), (1.6, 8)):
        slab = np.ones((WIDE, DEEP, WIDE), np.float32)
        slab[:, DEEP - 8 - thick : DEEP - 8] = density
        dose = photon_dose(slab, (VOXEL,) * 3, [field(100, SOURCE)])
        depth = (8 + thick + 12) * VOXEL
        equal = depth - thick * VOXEL * (1 - density)
        far = ((SOURCE + equal) / (SOURCE + depth)) ** 2
        assert axis(dose, depth) == pytest.approx(axis(water, equal) * far, rel=0.04)
        inside = axis(dose, (8 + thick / 2) * VOXEL)
        assert inside != pytest.approx(axis(water, (8 + thick / 2) * VOXEL), rel=0.01)


def test_lung_loses_electrons_from_small_fields() -> None:
    """In lung the electrons of a narrow field leave it aside: the dose falls below that of water at
    the same water-equivalent depth, which no scaling of depths alone gives.
    """
    slab = np.ones((WIDE, DEEP, WIDE), np.float32)
    slab[:, DEEP - 28 : DEEP - 8] = 0.2
    narrow = photon_dose(slab, (VOXEL,) * 3, [field(20, SOURCE)])
    depth = 18 * VOXEL + 2.5
    equal = depth - (depth - 40) * 0.8
    far = ((SOURCE + equal) / (SOURCE + depth)) ** 2
    assert axis(narrow, depth) < 0.9 * far * axis(on_water(20), equal)


def test_nothing_is_given_where_no_field_looks() -> None:
    dose = on_water(50)
    assert dose[0, DEEP // 2, 0] < 0.02 * dose.max()
    assert (dose >= 0).all()


def test_what_is_no_volume_or_no_field_is_refused() -> None:
    with pytest.raises(GeometryError, match="expected"):
        photon_dose(np.ones((3, 3), np.float32), (1.0, 1.0, 1.0), [])
    with pytest.raises(InputError, match="more than 0"):
        rectangle(0, 10)
