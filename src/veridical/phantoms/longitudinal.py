"""What patients with a life share: a head that is drawn once, one scanner, visits on any day."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.phantoms import head_painting, head_scan, head_shapes
from veridical.phantoms.head_painting import Anatomy
from veridical.phantoms.head_shapes import HIGH, LOW, NewHead, Sex
from veridical.phantoms.rendering import PhantomVolume
from veridical.phantoms.scanners import Site
from veridical.types import Geometry, Image, Measurement, Study

Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]

YEAR = 365.25
FINE = 2
"""Voxels of the label map across a voxel of an image."""
AGES = (55.0, 85.0)
MARBLE = 0.5
"""Level of noise above which muscle is fat."""


@dataclass(frozen=True, eq=False)
class Life(ABC):
    """A digital patient over time: a function of `(seed, index)` alone.

    Args:
        seed: of all patients.
        index: of the patient.
        spacing: voxel size of images, mm.
    """

    seed: int = 0
    index: int = 0
    spacing: float = 2.0

    @property
    @abstractmethod
    def diagnosis(self) -> str:
        """What the patient has."""

    @property
    def genes(self) -> Mapping[str, Any]:
        """Gene -> state."""
        return {}

    @abstractmethod
    def head(self, day: float) -> tuple[PhantomVolume, Labels]:
        """Return the head as a scanner would see it on a day, and its structures, positions in
        `head_labels.LABELS`, `(x, y, z)` on the same grid.
        """

    @abstractmethod
    def displacement(self, day: float) -> Floats:
        """Return where each point of the first visit lies on a day, relative to where it was:
        `(x, y, z, 3)` mm on the grid of the images. It is the true deformation.
        """

    @abstractmethod
    def scores(self, day: float) -> Mapping[str, float]:
        """Return clinical variables and volumes in ml on a day, without errors of measurement."""

    def generator(self, *purpose: int) -> np.random.Generator:
        """Return the random numbers of this patient for one purpose."""
        return np.random.default_rng((self.seed, self.index, *purpose))

    @property
    def age(self) -> float:
        """Years at the first visit."""
        return float(self.generator(0).uniform(*self.ages()))

    @classmethod
    def ages(cls) -> tuple[float, float]:
        """Return the youngest and the oldest at their first visit."""
        return AGES

    @property
    def sex(self) -> Sex:
        """Of the patient."""
        return "female" if self.generator(1).random() < 0.5 else "male"

    @property
    def site(self) -> Site:
        """The scanner of all visits, its protocol fixed."""
        return settled(head_scan.site_of("", 0.0, self.generator(2)), self.generator(3))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the images."""
        x, y, z = (int(n) for n in np.round((HIGH - LOW) / self.spacing))
        return x, y, z

    def newborn(self) -> NewHead:
        """Return the head without disease, out of which any grid can be cut."""
        return _head(self.seed, self.index, self.age, self.sex)

    def anatomy(self) -> Anatomy:
        """Return the head at the first visit without disease, at half the voxel size of images."""
        return _anatomy(self.seed, self.index, self.age, self.sex, self.spacing / FINE)

    def painted(self, anatomy: Anatomy) -> tuple[PhantomVolume, Labels]:
        """Return what the scanner sees of a label map, and the labels on the grid of the images."""
        rng, key = self.generator(4), (self.seed, self.index)
        return anatomy.painted(FINE, "none", self.site, rng, key)

    def image(self, day: float, contrast: str) -> Image:
        """Return an image on a day: `T1w`, `T2w`, `FLAIR`, `PD`, `T1c`, `CT` or `PET`. Noise and
        shading are those of the visit.
        """
        return self._scanned(self.head(day), day, contrast)

    def study(self, days: Sequence[float], contrasts: Sequence[str] = ("T1w", "FLAIR")) -> Study:
        """Return visits on some days, each with images and their true `structures` (label map).

        Covariates: age, sex, diagnosis, and `scores`: day -> what `scores` says.
        """
        visits: dict[float, dict[str, Image | Measurement]] = {}
        for day in days:
            head = self.head(day)
            images: dict[str, Image | Measurement] = {
                name: self._scanned(head, day, name) for name in contrasts
            }
            grid = head[0].geometry
            labels = Image(head[1][None], grid, "label", ("structures",))
            visits[float(day)] = {**images, "structures": labels}
        said = {
            "age": round(self.age, 1),
            "sex": self.sex,
            "diagnosis": self.diagnosis,
            "scores": {float(day): dict(self.scores(day)) for day in days},
        }
        notes = ("Simulated: no patient was measured.",)
        name = f"{type(self).__name__.lower()}-{self.seed}-{self.index}"
        return Study(name, visits, covariates=said, genes=dict(self.genes), notes=notes)

    def _scanned(self, head: tuple[PhantomVolume, Labels], day: float, contrast: str) -> Image:
        number = head_scan.MODALITIES.index(contrast) if contrast in head_scan.MODALITIES else 0
        rng = self.generator(5, number, round(day * 24))
        scan = head_scan.scan(head[0], head[1], contrast, rng, blurred=False)
        return Image(scan.data[None], head[0].geometry, scan.units, (contrast,), scan.settings)


def settled(site: Site, rng: np.random.Generator) -> Site:
    """Return a site with one value in place of every range of its protocol, so that visits are
    comparable.
    """

    def fixed(span: tuple[float, float]) -> tuple[float, float]:
        value = float(rng.uniform(*span))
        return value, value

    return replace(
        site,
        tr_long=fixed(site.tr_long),
        te_long=fixed(site.te_long),
        te_short=fixed(site.te_short),
        tr_flair=fixed(site.tr_flair),
        fat_saturation=float(rng.random() < site.fat_saturation),
        shift=(0.0, 0.0),
        noise=fixed(site.noise),
        bias=site.bias / 2,
    )


@lru_cache(maxsize=4)
def _head(seed: int, index: int, age: float, sex: Sex) -> NewHead:
    return head_shapes.new_head(np.random.default_rng((seed, index, 6)), age, sex)


@lru_cache(maxsize=2)
def _anatomy(seed: int, index: int, age: float, sex: Sex, step: float) -> Anatomy:
    head = _head(seed, index, age, sex)
    x, y, z = (int(n) // FINE * FINE for n in np.round((HIGH - LOW) / step))
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = LOW + step / 2
    cut = head.structures(affine[:3, 3], step, (x, y, z))
    rng = np.random.default_rng((seed, index, 7))
    return head_painting.anatomy(cut, Geometry((x, y, z), affine), rng).marbled(MARBLE)
