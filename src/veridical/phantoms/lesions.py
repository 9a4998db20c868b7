"""Where lesions lie and what shape they have: multiple-sclerosis-like and tumour-like."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MS, TUMOUR = 0.0, 1.0
ROW = 17
"""Numbers that describe one lesion; see `anatomy.Subject.lesions`."""


class LesionSites(Protocol):
    """Where lesions may lie, positions `(n, 3)` in mm."""

    @property
    def periventricular(self) -> Floats: ...

    @property
    def white(self) -> Floats: ...


def sclerosis(rng: np.random.Generator, head: LesionSites) -> Floats:
    """Return multiple-sclerosis-like lesions `(n, 17)`: ovoid, most of them periventricular with
    the long axis away from the ventricle.

    Number and sizes are long-tailed: 3 to 30 lesions of 1.5 to 8 mm radius.
    """
    count = int(np.clip(rng.lognormal(2.2, 0.6), 3, 30))
    rows = np.zeros((count, ROW), np.float32)
    for entry in rows:
        places = head.periventricular if rng.random() < 0.7 else head.white
        centre = places[rng.integers(len(places))] + rng.uniform(-1, 1, 3)
        radius = float(np.clip(rng.lognormal(1.05, 0.4), 1.5, 8.0))
        outward = np.array(
            [centre[0], 0.4 * (centre[1] + 10), 0.5 * (centre[2] - 15)]
        ) + rng.normal(0, 8, 3)
        radii = radius * np.array(
            [rng.uniform(1.0, 1.9), rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.1)]
        )
        entry[:] = row(MS, centre, frame(outward, rng), radii, rng.uniform(0.1, 0.25))
    return rows


def tumour(rng: np.random.Generator, head: LesionSites) -> Floats:
    """Return one tumour-like lesion `(1, 17)`: necrotic core, enhancing rim, oedema in the white
    matter about it.
    """
    centre = head.white[rng.integers(len(head.white))]
    radius = rng.uniform(6.0, 20.0)
    radii = radius * rng.uniform(0.75, 1.3, 3)
    axes = frame(rng.normal(size=3), rng)
    return row(TUMOUR, centre, axes, radii, rng.uniform(0.06, 0.14), rng.uniform(1.3, 2.1))[None]


def frame(direction: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rotation whose first row is `direction`."""
    basis = np.stack([direction, *rng.normal(size=(2, 3))], 1)
    return np.asarray(np.linalg.qr(basis)[0].T)


def row(
    kind: float,
    centre: Floats,
    axes: NDArray[np.float64],
    radii: NDArray[np.float64],
    roughness: float,
    reach: float = 1.0,
    power: float = 2.0,
) -> Floats:
    """Return the row of one lesion: `axes` (one a row) scaled by `radii` in mm; see
    `anatomy.Subject.lesions`.
    """
    return np.array(
        [kind, *centre, *(axes / radii[:, None]).ravel(), radii.mean(), roughness, reach, power],
        np.float32,
    )
