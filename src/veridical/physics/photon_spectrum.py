"""The spectrum of a 6 MV beam, and what water takes from it at each depth.

Energy fluence by the functional form of Ali and Rogers for a Varian Clinac at 6 MV (Phys Med Biol
2012;57:31, 10.1088/0031-9155/57/1/31): thin-target bremsstrahlung that tungsten and aluminium
filter. Attenuation of photons: NIST Standard Reference Database 126, 10.18434/T4D01F. As planners
commission a beam, two numbers were set to reach published ones: the aluminium for a TPR20,10 of
0.67, the electrons in the beam for a dose at 100 mm of 67 % (10 cm x 10 cm, 1000 mm to the
surface; Podgorsak EB, Radiation Oncology Physics, IAEA 2005, chapter 6).
"""

from __future__ import annotations

import numpy as np

from veridical.types import Array

ENERGIES = np.array(
    [0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2,
     3, 4, 5, 6]
)  # fmt: skip
"""MeV of the tables below."""
WATER = np.array(
    [0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505, 0.1370, 0.1186, 0.1061,
     0.09687, 0.08956, 0.07865, 0.07072, 0.06323, 0.05754, 0.04942, 0.03969, 0.03403, 0.03031,
     0.02770]
)  # fmt: skip
"""Mass attenuation coefficient of water, cm2/g."""
ABSORBED = np.array(
    [0.5503, 0.1557, 0.06947, 0.04223, 0.03190, 0.02597, 0.02546, 0.02764, 0.02967, 0.03192,
     0.03279, 0.03299, 0.03284, 0.03206, 0.03103, 0.02965, 0.02833, 0.02608, 0.02281, 0.02066,
     0.01915, 0.01806]
)  # fmt: skip
"""Mass energy-absorption coefficient of water, cm2/g."""
TUNGSTEN = np.array(
    [4.438, 1.581, 0.7844, 0.3238, 0.1925, 0.1378, 0.1093, 0.08066, 0.06618, 0.05577, 0.05000,
     0.04433, 0.04075, 0.04038, 0.04103, 0.04210]
)  # fmt: skip
"""Mass attenuation coefficient of tungsten from 0.1 MeV on, cm2/g."""
ALUMINIUM = np.array(
    [0.1704, 0.1378, 0.1223, 0.1042, 0.09276, 0.08445, 0.07802, 0.06841, 0.06146, 0.05496, 0.05006,
     0.04324, 0.03541, 0.03106, 0.02836, 0.02655]
)  # fmt: skip
"""Mass attenuation coefficient of aluminium from 0.1 MeV on, cm2/g."""
FILTER_TUNGSTEN, FILTER_ALUMINIUM = 1.222**2, 37.0
"""g/cm2 that the beam has crossed; Ali and Rogers have 26.5 of aluminium, which gives 0.653."""
IN_BEAM, IN_BEAM_RANGE = 0.06, 15.0
"""Energy that electrons in the beam release at the surface, to what photons do there, and mm over
which it falls to 1/e.
"""
BEND, ELECTRONS = -1.186, 5.76
"""Shape of the thin-target spectrum, and MeV of the electrons (the same)."""
ELECTRONS_PER_GRAM = 3.3428e23
MASS = 0.51099895
"""Rest energy of the electron, MeV."""
CLASSICAL_RADIUS = 2.8179403e-13
"""Of the electron, cm."""
LOWEST = 0.1
"""MeV below which the filters leave nothing."""


def energy_fluence(energies: Array) -> Array:
    """Return the energy fluence of the beam in air per MeV, in arbitrary units.

    Args:
        energies: MeV.
    """
    known = (energies >= LOWEST) & (energies < ELECTRONS)
    e = np.where(known, energies, 1.0)
    thin = (1 + BEND * e / ELECTRONS + (e / ELECTRONS) ** 2) * (
        np.log(ELECTRONS * (ELECTRONS - e) / e + 1.65) - 0.5
    )
    filtered = _between(e, TUNGSTEN) * FILTER_TUNGSTEN + _between(e, ALUMINIUM) * FILTER_ALUMINIUM
    return np.where(known, np.maximum(thin, 0) * np.exp(-filtered), 0.0)


def attenuated(energies: Array, depth: float) -> Array:
    """Return the energy fluence per MeV after so many mm of water."""
    return np.asarray(
        energy_fluence(energies) * np.exp(-_between(energies, WATER) * depth / 10), np.float64
    )


def released(depths: Array) -> tuple[Array, Array]:
    """Return what a unit of energy fluence in air releases at depths of water: to electrons
    (collision kerma, and what comes with the beam) and to scattered photons, cm2/g each.

    The beam hardens with depth: the ratio of the two changes.

    Args:
        depths: mm of water.
    """
    energies = np.linspace(LOWEST, ELECTRONS, 400)
    fluence = energy_fluence(energies)
    fluence /= fluence.sum()
    total, kept = _between(energies, WATER), _between(energies, ABSORBED)
    depths = np.asarray(depths, np.float64)
    left = np.exp(-np.multiply.outer(depths / 10, total))
    kerma = left @ (fluence * kept)
    along = IN_BEAM * float(fluence @ kept) * np.exp(-depths / IN_BEAM_RANGE)
    return kerma + along, left @ (fluence * (total - kept))


def compton(energies: Array) -> Array:
    """Return the mass attenuation of water by Compton scattering alone, cm2/g (Klein and Nishina,
    Z Phys 1929;52:853, 10.1007/BF01366453).
    """
    k = np.asarray(energies, np.float64) / MASS
    long = 1 + 2 * k
    section = (
        (1 + k) / k**2 * (2 * (1 + k) / long - np.log(long) / k)
        + np.log(long) / (2 * k)
        - (1 + 3 * k) / long**2
    )
    return np.asarray(2 * np.pi * CLASSICAL_RADIUS**2 * section * ELECTRONS_PER_GRAM)


def _between(energies: Array, table: Array) -> Array:
    """Interpolate the last entries of the energies, both axes logarithmic."""
    known = ENERGIES[-len(table) :]
    return np.asarray(np.exp(np.interp(np.log(energies), np.log(known), np.log(table))))
