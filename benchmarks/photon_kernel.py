"""The point kernel of a 6 MV beam in water: a small Monte Carlo of photons and electrons.

    python benchmarks/photon_kernel.py --histories 3000000

prints the table that `physics/photon_kernel.py` ships: of each polar angle the share of the energy
that goes there, and its mean distance, for the electrons that the beam sets free (primary) and for
all that its scattered photons do (scatter). Photons do Compton scattering (Klein and Nishina), pair
production and photoelectric absorption; electrons slow down in steps and are scattered by
Highland's formula. Bremsstrahlung is deposited where it arises.
"""

# numba knows the old random numbers alone, one state a process
# ruff: noqa: NPY002
from __future__ import annotations

import argparse
from typing import Any

import numba
import numpy as np

from veridical.physics.photon_kernel import EDGES
from veridical.physics.photon_spectrum import ENERGIES, WATER, attenuated, compton

RANGE_ENERGIES = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6])
RANGES = np.array(
    [2.515e-4, 8.566e-4, 4.320e-3, 1.431e-2, 4.488e-2, 0.1766, 0.4367, 0.9785, 1.514, 2.037, 2.550,
     3.052]
)  # fmt: skip
"""Ranges of electrons in water in the continuous slowing down approximation, g/cm2, at energies in
MeV (ESTAR, NIST, 10.18434/T4NC7P).
"""
MASS, RADIATION_LENGTH = 0.51099895, 36.08
"""Rest energy of the electron in MeV, and radiation length of water in g/cm2."""
LEAST_PHOTON, LEAST_ELECTRON = 0.02, 0.05
"""MeV below which a photon or an electron is absorbed where it is."""
HARDENED = 100.0
"""mm of water that the spectrum has crossed."""


@numba.njit
def _turned(direction: Any, cosine: float, around: float) -> Any:
    """Return a direction after a deflection by the polar angle and the azimuth given."""
    u, v, w = direction
    sine = np.sqrt(max(0.0, 1 - cosine * cosine))
    a, b = sine * np.cos(around), sine * np.sin(around)
    if abs(w) > 0.99999:
        return a, b * np.sign(w), cosine * np.sign(w)
    flat = np.sqrt(1 - w * w)
    return (
        u * cosine + (u * w * a - v * b) / flat,
        v * cosine + (v * w * a + u * b) / flat,
        w * cosine - flat * a,
    )


@numba.njit
def _klein_nishina(energy: float) -> Any:
    """Return the energy of a scattered photon and the cosine of its angle, by rejection."""
    k = energy / MASS
    least = 1 / (1 + 2 * k)
    while True:
        ratio = least + (1 - least) * np.random.random()
        cosine = 1 - (1 / ratio - 1) / k
        if np.random.random() * (1 / least + least) < ratio + 1 / ratio - 1 + cosine * cosine:
            return ratio * energy, cosine


@numba.njit
def _score(tally: Any, kind: int, place: Any, energy: float, cosines: Any) -> None:
    x, y, z = place
    far = np.sqrt(x * x + y * y + z * z)
    cosine = z / far if far > 0 else 1.0
    bin_ = len(cosines) - 2
    while cosine > cosines[bin_] and bin_ > 0:
        bin_ -= 1
    tally[kind, bin_, 0] += energy
    tally[kind, bin_, 1] += energy * far


@numba.njit
def _electron(
    tally: Any, kind: int, place: Any, direction: Any, energy: float, cosines: Any, tables: Any
) -> None:
    """Slow an electron down, 8 % of its energy a step, and score what it leaves."""
    energies, ranges = tables[2], tables[3]
    x, y, z = place
    while energy > LEAST_ELECTRON:
        less = energy * 0.92
        step = np.interp(energy, energies, ranges) - np.interp(less, energies, ranges)
        beta_p = energy * (energy + 2 * MASS) / (energy + MASS)
        thick = step / RADIATION_LENGTH
        width = 13.6 / beta_p * np.sqrt(thick) * max(0.3, 1 + 0.038 * np.log(thick))
        spread = width * np.sqrt(-2 * np.log(1 - np.random.random()))
        u, v, w = direction
        part = np.random.random() * step
        _score(tally, kind, (x + u * part, y + v * part, z + w * part), energy - less, cosines)
        x, y, z = x + u * step, y + v * step, z + w * step
        direction = _turned(direction, np.cos(spread), 2 * np.pi * np.random.random())
        energy = less
    _score(tally, kind, (x, y, z), energy, cosines)


@numba.njit
def _interaction(
    tally: Any, kind: int, place: Any, direction: Any, energy: float, cosines: Any, tables: Any
) -> Any:
    """Let a photon interact; return the energy and direction of what is left of it."""
    grid, total, scattering = tables[0], tables[1], tables[4]
    chance = np.random.random() * np.exp(np.interp(np.log(energy), grid, total))
    around = 2 * np.pi * np.random.random()
    if chance < np.interp(np.log(energy), grid, scattering):
        left, cosine = _klein_nishina(energy)
        given = energy - left
        momentum = np.sqrt(given * (given + 2 * MASS))
        angle = min(1.0, (energy - left * cosine) / max(momentum, 1e-9))
        thrown = _turned(direction, angle, around + np.pi)
        _electron(tally, kind, place, thrown, given, cosines, tables)
        return left, _turned(direction, cosine, around)
    if energy < 2 * MASS:
        _electron(tally, kind, place, direction, energy, cosines, tables)
        return 0.0, direction
    shared = (energy - 2 * MASS) * np.random.random()
    for part in (shared, energy - 2 * MASS - shared):
        tilt = np.cos(MASS / max(energy / 2, MASS))
        thrown = _turned(direction, tilt, around)
        _electron(tally, kind, place, thrown, part, cosines, tables)
        around += np.pi
    isotropic = 2 * np.random.random() - 1
    quantum = _turned((0.0, 0.0, 1.0), isotropic, 2 * np.pi * np.random.random())
    _photon(tally, place, quantum, MASS, cosines, tables)
    _photon(tally, place, (-quantum[0], -quantum[1], -quantum[2]), MASS, cosines, tables)
    return 0.0, direction


@numba.njit
def _photon(
    tally: Any, place: Any, direction: Any, energy: float, cosines: Any, tables: Any
) -> None:
    """Follow a scattered photon to its end."""
    x, y, z = place
    while energy > LEAST_PHOTON:
        free = np.exp(np.interp(np.log(energy), tables[0], tables[1]))
        path = -np.log(1 - np.random.random()) / free
        x, y, z = x + direction[0] * path, y + direction[1] * path, z + direction[2] * path
        left, cosine = _klein_nishina(energy)
        scattering = np.interp(np.log(energy), tables[0], tables[4])
        if np.random.random() * free > scattering:
            _score(tally, 1, (x, y, z), energy, cosines)
            return
        _score(tally, 1, (x, y, z), energy - left, cosines)
        direction = _turned(direction, cosine, 2 * np.pi * np.random.random())
        energy = left
    _score(tally, 1, (x, y, z), energy, cosines)


@numba.njit
def _histories(
    tally: Any, energies: Any, cumulated: Any, count: int, seed: int, cosines: Any, tables: Any
) -> None:
    np.random.seed(seed)
    for _ in range(count):
        energy = np.interp(np.random.random(), cumulated, energies)
        place, ahead = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)
        left, direction = _interaction(tally, 0, place, ahead, energy, cosines, tables)
        _photon(tally, place, direction, left, cosines, tables)


def kernel(histories: int, seed: int) -> np.ndarray:
    """Return `(kind, angle, 2)`: share of the energy of the kind, and mean distance in mm."""
    fine = np.linspace(0.05, ENERGIES[-1], 400)
    interacting = attenuated(fine, HARDENED) / fine * np.interp(fine, ENERGIES, WATER)
    cumulated = np.concatenate([[0], np.cumsum((interacting[1:] + interacting[:-1]) / 2)])
    tally = np.zeros((2, len(EDGES) - 1, 2))
    cosines = np.cos(np.radians(np.asarray(EDGES, float)))
    grid = np.log(ENERGIES)
    tables = grid, np.log(WATER), RANGE_ENERGIES, RANGES, compton(ENERGIES)
    _histories(tally, fine, cumulated / cumulated[-1], histories, seed, cosines, tables)
    shares = tally[..., 0] / tally[..., 0].sum(1, keepdims=True)
    return np.stack([shares, 10 * tally[..., 1] / tally[..., 0]], -1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=3_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = kernel(given.histories, given.seed)
    print("from, to, primary share, primary mm, scatter share, scatter mm")
    for angle in range(len(EDGES) - 1):
        row = [*found[0, angle], *found[1, angle]]
        print(
            f"    ({EDGES[angle]}, {EDGES[angle + 1]}, " + ", ".join(f"{v:.5g}" for v in row) + "),"
        )


if __name__ == "__main__":
    main()
