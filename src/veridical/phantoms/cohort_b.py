"""A second simulator of digital patients, made differently throughout, for testing only: training
refuses it.

It differs from the cohort in the warp (elastic Gaussian bumps instead of a velocity field), the
field law and spread of the tissue parameters, the scanners and their sequences, the shape of
lesions (lobed superellipsoids), the texture, the coil and phase model, and it averages a finer grid
into each pixel. The brain template is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np

from veridical.phantoms.acquire import Receive
from veridical.phantoms.anatomy import Subject
from veridical.phantoms.lesions import MS, ROW, TUMOUR, frame, row
from veridical.phantoms.population import Pathology, Population, rotation, spread
from veridical.phantoms.scanners import Site
from veridical.phantoms.template import Template, periodic_noise, template
from veridical.phantoms.warp import bumps
from veridical.physics.tissue import Law, TissueClass
from veridical.types import Array, readonly

SITES_B = (
    Site(
        "north",
        2.9,
        "mprage",
        (5500, 8000),
        (90, 130),
        (14, 28),
        (7500, 8500),
        0.3,
        (0.2, 0.8),
        (0.006, 0.025),
        0.25,
        (1, 1.5),
    ),
    Site(
        "south",
        1.5,
        "spgr",
        (3000, 3800),
        (95, 125),
        (16, 26),
        (9500, 11500),
        0.2,
        (0.8, 2.2),
        (0.012, 0.04),
        0.05,
        (3, 6),
    ),
    Site(
        "west",
        1.0,
        "se",
        (2000, 3200),
        (85, 115),
        (14, 25),
        (6500, 8000),
        0.0,
        (0.4, 1.4),
        (0.02, 0.05),
        0.05,
        (4, 6),
    ),
    Site(
        "east",
        3.0,
        "se",
        (4500, 9000),
        (70, 95),
        (7, 12),
        (9000, 10500),
        0.5,
        (0.4, 1.2),
        (0.005, 0.02),
        0.28,
        (2, 3),
    ),
)


@dataclass(frozen=True)
class CohortB(Population):
    """Brain patients from another simulator than the one that trains; interface as `Cohort`."""

    testing_only: ClassVar[bool] = True
    law: ClassVar[Law] = "rooney"
    receive: ClassVar[Receive] = "gaussian"
    sites: ClassVar[tuple[Site, ...]] = SITES_B
    oversampling: ClassVar[int] = 2

    def template(self) -> Template:
        """Return the template head with another noise."""
        return _template()

    def factors(self, index: int) -> Array:
        """Return the patient's own factors of T1, T2 and PD, `(3, tissue)`.

        One variation for all tissues (5 %, lesions 20 %); fluid lies between 2569/329 and 4200/1990
        ms, the range of the sources.
        """
        rng = self.generator(index, 2)
        variation = np.full(len(TissueClass), 0.05)
        variation[TissueClass.MS_LESION :] = 0.2
        factors = np.array(spread(rng, variation))
        share = rng.random()
        factors[:2, TissueClass.CSF] *= (4200 / 2569) ** share, (1990 / 329) ** share
        return readonly(factors)

    def draw(self, index: int, pathology: Pathology) -> Subject:
        """Return the anatomy of patient `index`."""
        rng = self.generator(index, 4)
        shift = bumps(rng, count=40, strength=0.5)
        old = rng.random()
        thickness = rng.normal([2.4, 5.5, 5.0, 1.7, 1.5], [0.8, 0.9, 1.2, 0.3, 0.15]).clip(
            [0.6, 3.5, 3.0, 1.2, 1.2], [5, 8, 9, 2.5, 2]
        )
        widths = rng.normal([-0.06 + 0.12 * old, -0.4 + 2.0 * old], [0.03, 0.5])
        detail = rng.uniform([0.9, 0.2, 0.0, -1.5, -0.5, -1.5], [1.2, 0.8, 0.06, 1.5, 0.5, 1.5])
        layers = np.concatenate([thickness, widths, detail]).astype(np.float32)
        squeeze = rng.normal(1.0, 0.035, 3) * rng.normal(1.0, 0.03)
        shear = np.eye(3) + np.triu(rng.normal(0, 0.02, (3, 3)), 1)
        affine = np.concatenate(
            [
                shear @ rotation(rng.uniform(-8, 8, 3)) / squeeze[:, None],
                rng.uniform(-5, 5, (3, 1)),
            ],
            1,
        )
        offsets = 512 + rng.uniform(0, 128, (4, 3))
        lesions = _lesions(rng, self.template(), pathology)
        return Subject(
            affine.astype(np.float32),
            shift,
            layers,
            offsets.astype(np.float32),
            lesions,
            18.0 + 72.0 * old,
        )


@cache
def _template() -> Template:
    return replace(template(), noise=periodic_noise(23, 0.07, 0.2))


def _lesions(rng: np.random.Generator, head: Template, pathology: Pathology) -> Array:
    """Return lesions of several overlapping lobes, each a superellipsoid."""
    rows: list[Array] = []
    if pathology == "ms":
        for _ in range(int(rng.integers(4, 14))):
            places = head.periventricular if rng.random() < 0.6 else head.white
            centre, radius = places[rng.integers(len(places))], rng.uniform(1.5, 5.0)
            for _ in range(int(rng.integers(1, 4))):
                where = centre + rng.normal(0, 0.7 * radius, 3)
                radii, power = radius * rng.uniform(0.7, 1.4, 3), rng.uniform(1.3, 4.0)
                rows.append(
                    row(MS, where, frame(rng.normal(size=3), rng), radii, 0.05, power=power)
                )
    elif pathology == "tumour":
        centre, radius = head.white[rng.integers(len(head.white))], rng.uniform(6.0, 15.0)
        for _ in range(int(rng.integers(1, 4))):
            where = centre + rng.normal(0, 0.6 * radius, 3)
            radii, power = radius * rng.uniform(0.7, 1.2, 3), rng.uniform(1.5, 3.5)
            rows.append(
                row(
                    TUMOUR,
                    where,
                    frame(rng.normal(size=3), rng),
                    radii,
                    0.05,
                    rng.uniform(1.2, 1.9),
                    power,
                )
            )
    return np.stack(rows) if rows else np.zeros((0, ROW), np.float32)
