"""The embedded digital cohort: unlimited brain patients with known truth, for training and examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np

from veridical.datasets.anatomy import Subject, evaluate
from veridical.datasets.lesions import sclerosis, tumour
from veridical.datasets.rendering import Slice, Volume, render
from veridical.datasets.scanners import CONTRASTS, SITES, Site
from veridical.datasets.template import template
from veridical.datasets.warp import exponential, growth, velocity
from veridical.errors import SettingError, nearest
from veridical.physics.tissue import RELAXATION, TissueClass
from veridical.types import Array, Geometry, Image, Patient, readonly

Plane = Literal["axial", "coronal", "sagittal"]
Pathology = Literal["none", "ms", "tumour"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
PATHOLOGIES: tuple[Pathology, ...] = ("none", "ms", "tumour")


@dataclass(frozen=True)
class Cohort:
    """Digital brain patients made from the MNI152 template, a random diffeomorphism and published tissue parameters.

    Every patient is a function of `(seed, index)` alone, whatever was asked for before.

    Args:
        seed: of the whole cohort.
    """

    seed: int = 0
    testing_only: ClassVar[bool] = False
    """Training refuses a cohort for which this is True."""

    def slice(
        self,
        index: int,
        size: tuple[int, int] = (256, 256),
        spacing: float = 0.9,
        plane: Plane | None = None,
        pathology: Pathology | None = None,
        thickness: float = 0.0,
    ) -> Slice:
        """Return one slice of patient `index` at a random position.

        Args:
            index: patient number, 0 or more.
            size: `(y, x)` pixels.
            spacing: pixel size, mm.
            plane: None draws one: axial four times in five.
            pathology: None draws one: none 40, ms 35, tumour 25 per cent. With a pathology the slice passes through a lesion three
                times in four (always when asked for).
            thickness: mm; 0 is an infinitely thin slice, else up to five positions across it are averaged.

        Raises:
            SettingError: an unknown plane or pathology, a negative index, or a size or spacing that is not positive.
        """
        _check(index, spacing, size)
        rng = self._rng(index, 1)
        drawn = PLANES[int(np.searchsorted((0.8, 0.9), rng.random()))]
        through = pathology is not None or rng.random() < 0.75
        plane = drawn if plane is None else plane
        if plane not in PLANES:
            raise SettingError(f"No plane is called {plane!r}. {nearest(plane, PLANES)}")
        subject, kind = self._subject(index, pathology)
        origin, steps = _section(rng, subject, plane, size, spacing, through)
        count = min(5, 1 + round(thickness / 1.2))
        steps[0] *= thickness / count
        origin = origin - steps[0] * (count - 1) / 2
        sampled = evaluate(subject, template(), origin, steps, (count, *size))
        return Slice(
            _averaged(sampled.fractions), _averaged(sampled.texture), sampled.labels[count // 2], sampled.brain[count // 2],
            spacing=spacing, plane=plane, pathology=kind, factors=self._factors(index), site=self.site(index),
            law="anchors", key=(self.seed, index),
        )  # fmt: skip

    def volume(
        self, index: int, spacing: float = 1.0, shape: tuple[int, int, int] | None = None, pathology: Pathology | None = None
    ) -> Volume:
        """Return patient `index` as a volume `(x, y, z)`, RAS+.

        Args:
            index: patient number.
            spacing: isotropic voxel size, mm.
            shape: voxels; None covers the head, 192 x 230 x 200 mm.
            pathology: None draws one as `slice` does.
        """
        _check(index, spacing, shape or (1,))
        shape = shape or (round(192 / spacing), round(230 / spacing), round(200 / spacing))
        subject, kind = self._subject(index, pathology)
        centre = np.array([0.0, -12.0, -2.0])
        origin = (centre - spacing * (np.array(shape) - 1) / 2).astype(np.float32)
        sampled = evaluate(subject, template(), origin, np.eye(3, dtype=np.float32) * np.float32(spacing), shape)
        affine = np.diag([spacing, spacing, spacing, 1.0])
        affine[:3, 3] = origin
        return Volume(
            sampled.fractions, sampled.texture, sampled.labels, sampled.brain, geometry=Geometry(shape, affine), pathology=kind,
            factors=self._factors(index), site=self.site(index), law="anchors", key=(self.seed, index),
        )  # fmt: skip

    def patient(self, index: int, spacing: float = 1.0, pathology: Pathology | None = None) -> Patient:
        """Return patient `index` with the images T1w, T2w, FLAIR, PD and T1c (a.u.) and the truth.

        The truth: `labels` and `lesions` (label maps) and `tissues` (fractions, one channel a class).
        """
        volume = self.volume(index, spacing, pathology=pathology)
        grid = volume.geometry
        images = {c: Image(render(volume, c)[None], grid, "a.u.", (c,), {"site": volume.site.name}) for c in CONTRASTS}
        truth = {
            "labels": Image(volume.labels[None], grid, "label", ("labels",)),
            "lesions": Image(volume.lesions[None].astype(np.uint8), grid, "label", ("lesions",)),
            "tissues": Image(volume.tissues, grid, "1", tuple(t.name.lower() for t in TissueClass)),
        }
        covariates = {"pathology": volume.pathology, "site": volume.site.name, "field": volume.site.field}
        return Patient(f"cohort-{self.seed}-{index}", {0.0: images | truth}, covariates)

    def site(self, index: int) -> Site:
        """Return the site that scans patient `index`."""
        return SITES[int(self._rng(index, 3).integers(len(SITES)))]

    def _rng(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, index, purpose))

    def _factors(self, index: int) -> Array:
        """Return the subject's own factors of T1, T2 and PD, `(3, tissue)`."""
        return _spread(self._rng(index, 2))

    def _subject(self, index: int, pathology: Pathology | None) -> tuple[Subject, Pathology]:
        rng = self._rng(index, 0)
        drawn = PATHOLOGIES[int(np.searchsorted((0.4, 0.75), rng.random()))]
        kind = drawn if pathology is None else pathology
        if kind not in PATHOLOGIES:
            raise SettingError(f"No pathology is called {kind!r}. {nearest(kind, PATHOLOGIES)}")
        return _draw(self.seed, index, kind), kind


@lru_cache(maxsize=4)
def _draw(seed: int, index: int, kind: Pathology) -> Subject:
    rng = np.random.default_rng((seed, index, 4))
    head = template()
    field = velocity(rng, amplitude=rng.uniform(2.0, 5.0), smoothness=rng.uniform(36.0, 50.0))
    field += velocity(rng, amplitude=rng.uniform(0.5, 1.6), smoothness=rng.uniform(16.0, 20.0))
    age = rng.beta(1.3, 1.6)
    layers = np.array(
        [
            rng.uniform(0.6, 1.6) + 2.0 * age, rng.uniform(4.0, 7.5), rng.uniform(3.0, 5.5) + rng.exponential(0.8), rng.uniform(1.2, 2.2),
            rng.uniform(1.3, 1.9), rng.uniform(-0.12, 0.02) + 0.17 * age, rng.uniform(-1.5, 0.5) + 2.5 * age,
            rng.uniform(1.0, 1.5), rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.1), rng.uniform(-2.0, 2.0),
            rng.uniform(-0.4, 0.6), rng.uniform(-2.0, 2.0),
        ],
        np.float32,
    )  # fmt: skip
    scale = rng.uniform(0.93, 1.07) * rng.uniform(0.96, 1.04, 3)
    affine = np.concatenate([_rotation(rng.normal(0, 4.0, 3)) / scale[:, None], rng.normal(0, 3.0, (3, 1))], 1)
    offsets = (512 + rng.uniform(0, 128, (4, 3))).astype(np.float32)
    lesions = np.zeros((0, 16), np.float32)
    if kind == "ms":
        lesions = sclerosis(rng, head)
    elif kind == "tumour":
        lesions = tumour(rng, head)
        field += growth(lesions[0, 1:4], rng.uniform(0.15, 0.4) * lesions[0, 13], 1.6 * lesions[0, 13] + 12.0)
    return Subject(affine.astype(np.float32), exponential(field, 6), layers, offsets, lesions)


def _spread(rng: np.random.Generator) -> Array:
    spread = np.array([RELAXATION[tissue].spread for tissue in TissueClass])
    sigma = np.stack([spread, spread, spread / 2])
    return readonly(np.exp(sigma * rng.normal(size=sigma.shape)))


def _rotation(degrees: Array) -> Array:
    """Return the rotation by Euler angles about x, y, z."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _section(
    rng: np.random.Generator, subject: Subject, plane: Plane, size: tuple[int, int], spacing: float, through: bool
) -> tuple[Array, Array]:
    """Return origin `(3,)` and steps `(3, 3)` of a slice: through, row, column; the first row step is 1 mm."""
    across = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    low, high = ((-58.0, 58.0), (-85.0, 50.0), (-45.0, 72.0))[across]
    centre = np.array([0.0, -14.0, -4.0])
    centre[across] = rng.uniform(low, high)
    pick = rng.random()
    if through and len(subject.lesions):
        largest = subject.lesions[np.argsort(subject.lesions[:, 13])[::-1]]
        lesion = largest[int(pick**2 * len(largest))]
        centre[across] = subject.locate(lesion[1:4])[across]
    rows, columns = {0: (2, 1), 1: (2, 0), 2: (1, 0)}[across]
    steps = np.zeros((3, 3))
    steps[0, across], steps[1, rows], steps[2, columns] = 1.0, -spacing, -spacing
    centre = centre + rng.uniform(-6, 6, 3) * (np.arange(3) != across)
    tilt = _rotation(rng.normal(0, 5.0, 3))
    steps = steps @ tilt.T
    origin = centre - steps[1] * (size[0] - 1) / 2 - steps[2] * (size[1] - 1) / 2
    return origin.astype(np.float32), steps.astype(np.float32)


def _averaged(array: Array) -> Array:
    """Return the mean over the positions across a slice, axis 1."""
    return array[:, 0] if array.shape[1] == 1 else array.mean(1)


def _check(index: int, spacing: float, size: tuple[int, ...]) -> None:
    if index < 0 or spacing <= 0 or min(size) < 1:
        raise SettingError(
            f"Patient {index}, spacing {spacing} mm, size {size} was asked for; expected an index of 0 or more, a positive "
            "spacing and positive sizes."
        )
