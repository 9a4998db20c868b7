"""The embedded digital cohort: unlimited brain patients with known truth, for training and
examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from veridical.phantoms.acquire import Receive
from veridical.phantoms.anatomy import Subject
from veridical.phantoms.lesions import ROW, sclerosis, tumour
from veridical.phantoms.population import Pathology, Population, rotation, spread
from veridical.phantoms.scanners import SITES, Site
from veridical.phantoms.template import Template, template
from veridical.phantoms.warp import exponential, growth, velocity
from veridical.physics.tissue import RELAXATION, Law, TissueClass
from veridical.types import Array


@dataclass(frozen=True)
class Cohort(Population):
    """Brain patients from the MNI152 template by a random diffeomorphism (stationary velocity
    field) and published parameters.
    """

    testing_only: ClassVar[bool] = False
    law: ClassVar[Law] = "anchors"
    receive: ClassVar[Receive] = "loops"
    sites: ClassVar[tuple[Site, ...]] = SITES
    oversampling: ClassVar[int] = 1

    def template(self) -> Template:
        """Return the template head."""
        return template()

    def factors(self, index: int) -> Array:
        """Return the patient's own factors of T1, T2 and PD, `(3, tissue)`: log-normal with the
        spread of the table.
        """
        return spread(
            self.generator(index, 2),
            np.array([RELAXATION[tissue].spread for tissue in TissueClass]),
        )

    def draw(self, index: int, pathology: Pathology) -> Subject:
        """Return the anatomy of patient `index`. Age widens sulci and ventricles."""
        rng = self.generator(index, 4)
        head = template()
        field = velocity(rng, amplitude=rng.uniform(2.0, 5.0), smoothness=rng.uniform(36.0, 50.0))
        field += velocity(rng, amplitude=rng.uniform(0.5, 1.6), smoothness=rng.uniform(16.0, 20.0))
        old = rng.beta(1.3, 1.6)
        layers = np.array(
            [
                rng.uniform(0.6, 1.6) + 2.0 * old,
                rng.uniform(4.0, 7.5),
                rng.uniform(3.0, 5.5) + rng.exponential(0.8),
                rng.uniform(1.2, 2.2),
                rng.uniform(1.3, 1.9),
                rng.uniform(-0.12, 0.02) + 0.17 * old,
                rng.uniform(-1.5, 0.5) + 2.5 * old,
                rng.uniform(1.0, 1.5),
                rng.uniform(0.3, 0.7),
                rng.uniform(0.0, 0.1),
                rng.uniform(-2.0, 2.0),
                rng.uniform(-0.4, 0.6),
                rng.uniform(-2.0, 2.0),
            ],
            np.float32,
        )
        scale = rng.uniform(0.93, 1.07) * rng.uniform(0.96, 1.04, 3)
        affine = np.concatenate(
            [rotation(rng.normal(0, 4.0, 3)) / scale[:, None], rng.normal(0, 3.0, (3, 1))], 1
        )
        offsets = 512 + rng.uniform(0, 128, (4, 3))
        lesions = np.zeros((0, ROW), np.float32)
        if pathology == "ms":
            lesions = sclerosis(rng, head)
        elif pathology == "tumour":
            lesions = tumour(rng, head)
            field += growth(
                lesions[0, 1:4],
                rng.uniform(0.15, 0.4) * lesions[0, 13],
                1.6 * lesions[0, 13] + 12.0,
            )
        shift = exponential(field, 4)
        return Subject(
            affine.astype(np.float32),
            shift,
            layers,
            offsets.astype(np.float32),
            lesions,
            20.0 + 65.0 * old,
        )
