"""The spectrum and the tables behind the dose engine."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.physics.collapsed_cone import deposited
from veridical.physics.photon_kernel import EDGES, PRIMARY, SCATTER, cones
from veridical.physics.photon_spectrum import (
    ENERGIES,
    WATER,
    compton,
    energy_fluence,
    released,
)
from veridical.physics.relative_density import relative_electron_density


def test_compton_scattering_has_the_section_of_klein_and_nishina() -> None:
    """0.2112 barn an electron at 1 MeV, 0.0732 at 6 MeV (XCOM)."""
    assert compton(np.array([1.0]))[0] == pytest.approx(0.2112e-24 * 3.3428e23, rel=0.003)
    assert compton(np.array([6.0]))[0] == pytest.approx(0.0732e-24 * 3.3428e23, rel=0.005)
    assert (compton(ENERGIES[6:]) < 1.02 * WATER[6:]).all(), "no more than all of the attenuation"


def test_the_mean_energy_is_a_third_of_the_highest() -> None:
    energies = np.linspace(0.1, 5.7, 500)
    photons = energy_fluence(energies) / energies
    assert float((photons * energies).sum() / photons.sum()) == pytest.approx(1.9, abs=0.3)
    assert not energy_fluence(np.array([0.05, 6.5])).any()


def test_the_beam_weakens_and_hardens_with_depth() -> None:
    kerma, scatter = released(np.array([50.0, 150.0, 250.0]))
    slopes = -np.diff(np.log(kerma)) / 100
    assert 0.0040 < slopes[1] < slopes[0] < 0.0055
    assert scatter[2] / kerma[2] < scatter[0] / kerma[0]


def test_cones_carry_all_of_the_energy_and_most_of_it_onwards() -> None:
    axis = np.array([0.6, 0.0, -0.8])
    found = cones(axis)
    for kind in ("primary", "scatter"):
        shares = np.array([getattr(cone, kind)[0] for cone in found])
        along = np.array([cone.direction @ axis for cone in found])
        assert shares.sum() == pytest.approx(1.0)
        assert shares[along > 0].sum() > 0.75
    mean = sum((cone.scatter[0] * cone.direction for cone in found), np.zeros(3))
    assert np.cross(mean, axis) == pytest.approx(0, abs=1e-9)
    assert len(EDGES) - 1 == len(PRIMARY) == len(SCATTER)


def test_no_energy_is_lost_inside_of_a_large_body() -> None:
    released_ = np.zeros((61, 61, 61), np.float32)
    released_[30, 30, 30] = 1.0
    water = np.ones(released_.shape, np.float32)
    found = deposited(
        released_, 0 * released_, water, (2.0, 3.0, 4.0), cones(np.array([0, 1.0, 0]))
    )
    assert float(found.sum()) == pytest.approx(1.0, rel=1e-4)
    behind, ahead = found[:, :30].sum(), found[:, 31:].sum()
    assert ahead > 5 * behind


def test_twice_the_density_at_half_the_size_is_the_same() -> None:
    rng = np.random.default_rng(0)
    source = rng.random((12, 13, 14)).astype(np.float32)
    ways = cones(np.array([0.0, 0.0, 1.0]))
    thin = deposited(source, source, np.ones(source.shape), (4.0, 4.0, 4.0), ways)
    dense = deposited(source, source, np.full(source.shape, 2.0), (2.0, 2.0, 2.0), ways)
    assert np.allclose(thin, dense, rtol=1e-4)


def test_density_of_usual_tissue_is_as_published() -> None:
    """Inserts of the Gammex 467 phantom: lung, water, 50 % calcium carbonate, cortical bone."""
    hu = np.array([-1000.0, -700.0, 0.0, 830.0, 1240.0, 9000.0])
    found = relative_electron_density(hu)
    assert found[:3].tolist() == pytest.approx([0.0, 0.30, 1.0], abs=1e-6)
    assert found[3:5] == pytest.approx([1.47, 1.69], rel=0.04)
    assert found[5] < 2.6
    both = relative_electron_density(np.array([99.999, 100.001]))
    assert both[1] - both[0] == pytest.approx(0, abs=1e-4)
