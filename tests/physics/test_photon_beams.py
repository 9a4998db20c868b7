"""Laws of beams: adjoint, attenuation in water, symmetry, and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import GeometryError
from veridical.physics.photon_beams import (
    ATTENUATION,
    PENUMBRA,
    BeamSet,
    electron_density,
    transmission,
)


@pytest.fixture(scope="module")
def beams() -> BeamSet:
    density = np.random.default_rng(0).uniform(0.2, 1.5, (11, 14, 5)).astype(np.float32)
    density[:2, :3] = 0
    return BeamSet(density, (4.0, 4.5, 3.0), (0, 40, 200))


def test_the_adjoint_is_the_adjoint(beams: BeamSet) -> None:
    rng = np.random.default_rng(1)
    fluence = rng.standard_normal(beams.fluence_shape, np.float32)
    dose = rng.standard_normal(beams.shape, np.float32)
    one = float(np.vdot(beams.dose(fluence), dose))
    other = float(np.vdot(fluence, beams.adjoint(dose)))
    assert one == pytest.approx(other, rel=1e-4)


def test_dose_is_linear_in_fluence_and_none_is_in_empty_columns(beams: BeamSet) -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.random(beams.fluence_shape, np.float32) for _ in range(2))
    both = beams.dose(2 * a + b)
    assert np.allclose(both, 2 * beams.dose(a) + beams.dose(b), atol=1e-4)
    assert not both[:2, :3].any()
    assert (both[3:, 4:] > 0).all()


def test_depth_is_millimetres_of_water_and_dose_falls_exponentially_behind_the_build_up() -> None:
    water = np.ones((31, 61, 9), np.float32)
    beams = BeamSet(water, (4.0, 4.0, 4.0), (0,))
    (depth,) = beams.depths
    from_front = 4.0 * (np.arange(61)[::-1] + 0.5)
    assert np.allclose(depth[15, :, 4], from_front, atol=2.1), "half a ray's step"
    dose = beams.dose(np.ones(beams.fluence_shape, np.float32))[15, :, 4]
    deep = from_front > 40
    slope = np.polyfit(from_front[deep], np.log(dose[deep]), 1)[0]
    assert slope == pytest.approx(-ATTENUATION, rel=0.02)
    assert from_front[dose.argmax()] == pytest.approx(20.0, abs=8.0), "6 MV builds up in 15 mm"


def test_a_gantry_of_90_degrees_is_one_of_0_on_a_patient_turned_by_90() -> None:
    density = np.random.default_rng(3).uniform(0.5, 1.2, (13, 13, 3)).astype(np.float32)
    spacing = (4.0, 4.0, 4.0)
    front = BeamSet(density, spacing, (0,))
    fluence = np.random.default_rng(4).random(front.fluence_shape, np.float32)
    turned = BeamSet(np.rot90(density).copy(), spacing, (90,))
    assert np.allclose(turned.dose(fluence), np.rot90(front.dose(fluence)), atol=1e-3)


def test_one_ray_is_what_the_formula_says() -> None:
    beams = BeamSet(np.ones((15, 15, 11), np.float32), (4.0, 4.0, 4.0), (0,))
    fluence = np.zeros(beams.fluence_shape, np.float32)
    ray, level = beams.count // 2, 5
    fluence[0, ray, level] = 1
    dose, (depth,) = beams.dose(fluence), beams.depths
    x = (np.arange(15) - 7) * 4.0
    at = (ray - (beams.count - 1) / 2) * 4.0
    taps = np.arange(-beams.reach, beams.reach + 1)
    places = np.round((x - at) / 4.0)
    profile = np.zeros(15)
    for n, place in enumerate(x - at):
        shares = np.exp(-0.5 * ((taps - place / 4.0 + places[n]) * 4.0 / PENUMBRA) ** 2)
        hit = np.flatnonzero(taps + places[n] == 0)
        profile[n] = shares[hit[0]] / shares.sum() if len(hit) else 0.0
    along = np.exp(-0.5 * ((np.arange(11) - level) * 4.0 / PENUMBRA) ** 2)
    reach = int(2.5 * PENUMBRA / 4.0 + 0.5)
    along[np.abs(np.arange(11) - level) > reach] = 0
    expected = profile[:, None, None] * transmission(depth) * (along / along.sum())
    assert np.allclose(dose, expected, atol=2e-3)


def test_density_is_0_in_air_1_in_water_and_cut_at_metal() -> None:
    assert electron_density(np.array([-1000.0, 0.0, 5000.0])).tolist() == [0.0, 1.0, 2.0]


def test_open_fields_cross_what_they_see(beams: BeamSet) -> None:
    target = np.zeros(beams.shape, np.float32)
    target[5:7, 6:9, 2] = 1
    opened, crossing = beams.open_fields(target)
    assert (crossing[target > 0] == 3).all(), "every beam crosses its target"
    assert opened[target > 0].min() > 0.5 * opened.max()
    assert opened[..., 2].max() == opened.max(), "most where the target is"


def test_a_plane_or_no_spacing_is_refused() -> None:
    for density, spacing in ((np.ones((3, 3)), (1, 1, 1)), (np.ones((3, 3, 3)), (1, 0, 1))):
        with pytest.raises(GeometryError, match="expected"):
            BeamSet(density, spacing)
