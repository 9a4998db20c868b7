"""What the simulators of digital patients share: slices, volumes and whole patients by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np

from veridical.errors import SettingError, nearest
from veridical.phantoms.acquire import Acquisition, Receive, scan
from veridical.phantoms.anatomy import Sampled, Subject, evaluate
from veridical.phantoms.rendering import PhantomSlice, PhantomVolume, render
from veridical.phantoms.scanners import CONTRASTS, Site
from veridical.phantoms.template import Template
from veridical.physics.tissue import Law, TissueClass
from veridical.types import Array, Geometry, Image, Study, readonly

Plane = Literal["axial", "coronal", "sagittal"]
Pathology = Literal["none", "ms", "tumour"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
PATHOLOGIES: tuple[Pathology, ...] = ("none", "ms", "tumour")

CENTRE = (0.0, -14.0, -4.0)
"""Middle of the head, mm."""
POSITIONS: dict[Plane, tuple[float, float]] = {
    "axial": (-45.0, 72.0),
    "coronal": (-85.0, 50.0),
    "sagittal": (-52.0, 52.0),
}
"""Where slices are taken, mm from the template's origin."""


@dataclass(frozen=True)
class Population(ABC):
    """Digital brain patients; every patient is a function of `(seed, index)` alone, whatever was
    asked for before.

    Args:
        seed: of the whole population.
    """

    seed: int = 0

    testing_only: ClassVar[bool]
    """Training refuses a population for which this is True."""
    law: ClassVar[Law]
    """The field law of the relaxation times."""
    receive: ClassVar[Receive]
    """The coil model that `scan` is to use for this population."""
    sites: ClassVar[tuple[Site, ...]]
    oversampling: ClassVar[int]
    """Points per pixel along each axis of a slice, averaged."""

    @abstractmethod
    def template(self) -> Template:
        """Return the head that is warped."""

    @abstractmethod
    def draw(self, index: int, pathology: Pathology) -> Subject:
        """Return the anatomy of patient `index` with a pathology."""

    @abstractmethod
    def factors(self, index: int) -> Array:
        """Return the patient's own factors of T1, T2 and PD, `(3, tissue)`."""

    def slice(
        self,
        index: int,
        size: tuple[int, int] = (256, 256),
        spacing: float = 0.9,
        plane: Plane | None = None,
        pathology: Pathology | None = None,
        thickness: float = 0.0,
    ) -> PhantomSlice:
        """Return one slice of patient `index` at a random position.

        Args: index: patient number, 0 or more. size: `(y, x)` pixels. spacing: pixel size, mm.
            plane: None draws one: axial four times in five. pathology: None draws one: none 40, ms
            35, tumour 25 per cent. With a pathology the slice passes through a lesion three times
            in four, and always when a pathology was asked for. thickness: mm; 0 is an infinitely
            thin slice, else up to five positions across it are averaged.

        Raises: SettingError: an unknown plane or pathology, a negative index, or a size or spacing
            that is not positive.
        """
        _check(index, spacing, size)
        rng = self.generator(index, 1)
        drawn = PLANES[int(np.searchsorted((0.8, 0.9), rng.random()))]
        through = rng.random() < 0.75 or pathology is not None
        plane = drawn if plane is None else plane
        if plane not in PLANES:
            raise SettingError(f"No plane is called {plane!r}. {nearest(plane, PLANES)}")
        subject, kind = self._subject(index, pathology)
        origin, steps = _section(rng, subject, plane, size, spacing, through)
        sampled = self._thick(subject, origin, steps, size, thickness)
        return PhantomSlice(
            *sampled,
            pathology=kind,
            factors=self.factors(index),
            site=self.site(index),
            law=self.law,
            key=(self.seed, index),
            spacing=spacing,
            plane=plane,
        )

    def slab(
        self,
        index: int,
        gap: float,
        size: tuple[int, int] = (256, 256),
        spacing: float = 0.9,
        plane: Plane | None = None,
    ) -> tuple[PhantomSlice, PhantomSlice, PhantomSlice]:
        """Return the slice that `slice` would, between its two neighbours `gap` mm below and above
        it.

        Args:
            index, size, spacing, plane: as `slice`.
            gap: between slice centres, mm.
        """
        _check(index, spacing, size)
        rng = self.generator(index, 1)
        drawn = PLANES[int(np.searchsorted((0.8, 0.9), rng.random()))]
        subject, kind = self._subject(index, None)
        plane = drawn if plane is None else plane
        origin, steps = _section(rng, subject, plane, size, spacing, rng.random() < 0.75)
        steps = (steps * np.array([[gap], [1], [1]])).astype(np.float32)
        found = evaluate(
            subject, self.template(), (origin - steps[0]).astype(np.float32), steps, (3, *size)
        )
        return tuple(  # type: ignore[return-value]
            PhantomSlice(
                found.fractions[:, n],
                found.texture[:, n],
                found.labels[n],
                found.brain[n] > 0.5,
                pathology=kind,
                factors=self.factors(index),
                site=self.site(index),
                law=self.law,
                key=(self.seed, index),
                spacing=spacing,
                plane=plane,
            )
            for n in range(3)
        )

    def volume(
        self,
        index: int,
        spacing: float = 1.0,
        shape: tuple[int, int, int] | None = None,
        pathology: Pathology | None = None,
    ) -> PhantomVolume:
        """Return patient `index` as a volume `(x, y, z)`, RAS+.

        Args:
            index: patient number.
            spacing: isotropic voxel size, mm.
            shape: voxels; None covers the head, 192 x 230 x 200 mm.
            pathology: None draws one as `slice` does.

        Raises:
            SettingError: as `slice`.
        """
        shape = (
            (round(192 / spacing), round(230 / spacing), round(200 / spacing))
            if shape is None
            else shape
        )
        _check(index, spacing, shape)
        subject, kind = self._subject(index, pathology)
        origin = (np.array(CENTRE) - spacing * (np.array(shape) - 1) / 2).astype(np.float32)
        sampled = evaluate(
            subject,
            self.template(),
            origin,
            np.eye(3, dtype=np.float32) * np.float32(spacing),
            shape,
        )
        affine = np.diag([spacing, spacing, spacing, 1.0])
        affine[:3, 3] = origin
        return PhantomVolume(
            sampled.fractions,
            sampled.texture,
            sampled.labels,
            sampled.brain > 0.5,
            pathology=kind,
            factors=self.factors(index),
            site=self.site(index),
            law=self.law,
            key=(self.seed, index),
            geometry=Geometry(shape, affine),
        )

    def patient(
        self, index: int, spacing: float = 1.0, pathology: Pathology | None = None
    ) -> Study:
        """Return patient `index` with the images T1w, T2w, FLAIR, PD and T1c (a.u., without noise)
        and the truth.

        The truth: `labels` and `lesions` (label maps) and `tissues` (fractions, one channel a
        class).
        """
        volume = self.volume(index, spacing, pathology=pathology)
        grid, header = volume.geometry, {"site": volume.site.name, "field": volume.site.field}
        images = {c: Image(render(volume, c)[None], grid, "a.u.", (c,), header) for c in CONTRASTS}
        truth = {
            "labels": Image(volume.labels[None], grid, "label", ("labels",)),
            "lesions": Image(volume.lesions[None].astype(np.uint8), grid, "label", ("lesions",)),
            "tissues": Image(
                volume.tissues, grid, "1", tuple(tissue.name.lower() for tissue in TissueClass)
            ),
        }
        age = self._subject(index, pathology)[0].age
        covariates = {"pathology": volume.pathology, "age": round(age), **header}
        return Study(
            f"{type(self).__name__.lower()}-{self.seed}-{index}", {0.0: images | truth}, covariates
        )

    def scan(
        self,
        index: int,
        contrast: str,
        size: tuple[int, int] = (256, 256),
        spacing: float = 0.9,
        coils: int = 8,
        plane: Plane | None = None,
        pathology: Pathology | None = None,
    ) -> tuple[PhantomSlice, Acquisition]:
        """Return a slice of patient `index` and its raw data with the thickness, sequence, bias and
        noise of its site.

        Args:
            index, size, spacing, plane, pathology: as `slice`.
            contrast: as `render`, MR only.
            coils: number of receive coils.
        """
        rng, site = self.generator(index, 6), self.site(index)
        head = self.slice(index, size, spacing, plane, pathology, rng.uniform(*site.thickness))
        noise = rng.uniform(*site.noise)
        return head, scan(
            render(head, contrast), rng, coils, noise, bias=site.bias, receive=self.receive
        )

    def site(self, index: int) -> Site:
        """Return the site that scans patient `index`."""
        return self.sites[int(self.generator(index, 3).integers(len(self.sites)))]

    def generator(self, index: int, purpose: int) -> np.random.Generator:
        """Return the random numbers of one patient for one purpose, independent of all others."""
        return np.random.default_rng((self.seed, index, purpose))

    def _subject(self, index: int, pathology: Pathology | None) -> tuple[Subject, Pathology]:
        drawn = PATHOLOGIES[int(np.searchsorted((0.4, 0.75), self.generator(index, 0).random()))]
        kind = drawn if pathology is None else pathology
        if kind not in PATHOLOGIES:
            raise SettingError(f"No pathology is called {kind!r}. {nearest(kind, PATHOLOGIES)}")
        return _drawn(self, index, kind), kind

    def _thick(
        self, subject: Subject, origin: Array, steps: Array, size: tuple[int, int], thickness: float
    ) -> tuple[Array, Array, Array, Array]:
        """Return fractions, texture, labels and brain of a slice, averaged over its thickness and
        over each pixel.
        """
        count, fine = min(5, 1 + round(thickness / 1.2)), self.oversampling
        divisor = np.array([[count / thickness if thickness else 1.0], [fine], [fine]])
        steps = (steps / divisor).astype(np.float32)
        counts = np.array([count, fine, fine], np.float32)
        origin = (origin - (counts - 1) @ steps / 2).astype(np.float32)
        sampled = evaluate(
            subject, self.template(), origin, steps, (count, size[0] * fine, size[1] * fine)
        )
        if count * fine == 1:
            return (
                sampled.fractions[:, 0],
                sampled.texture[:, 0],
                sampled.labels[0],
                sampled.brain[0] > 0.5,
            )
        return _averaged(sampled, fine)


@lru_cache(maxsize=4)
def _drawn(population: Population, index: int, pathology: Pathology) -> Subject:
    return population.draw(index, pathology)


def spread(rng: np.random.Generator, variation: Array) -> Array:
    """Return log-normal factors `(3, tissue)` of T1 and T2, of the given coefficient of variation,
    and of PD, of half of it.
    """
    sigma = np.stack([variation, variation, variation / 2])
    return readonly(np.exp(sigma * rng.normal(size=sigma.shape)))


def rotation(degrees: Array) -> Array:
    """Return the rotation `(3, 3)` by angles about x, then y, then z."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _section(
    rng: np.random.Generator,
    subject: Subject,
    plane: Plane,
    size: tuple[int, int],
    spacing: float,
    through: bool,
) -> tuple[Array, Array]:
    """Return the first pixel `(3,)` and the steps `(3, 3)` of a slice: across it (1 mm), down its
    rows, along its columns.
    """
    across, rows, columns = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}[plane]
    centre = np.array(CENTRE)
    centre[across] = rng.uniform(*POSITIONS[plane])
    steps = np.zeros((3, 3))
    steps[0, across], steps[1, rows], steps[2, columns] = 1.0, -spacing, -spacing
    turned = steps @ rotation(rng.normal(0, 5.0, 3)).T
    centre += rng.uniform(-6, 6, 3) * (np.arange(3) != across)
    pick = rng.random() ** 2
    if through and len(subject.lesions):
        largest = np.argsort(subject.lesions[:, 13])[::-1]
        target = subject.locate(subject.lesions[largest[int(pick * len(largest))], 1:4])
        centre += turned[0] * ((target - centre) @ turned[0])
    origin = centre - turned[1] * (size[0] - 1) / 2 - turned[2] * (size[1] - 1) / 2
    return origin.astype(np.float32), turned.astype(np.float32)


def _averaged(sampled: Sampled, fine: int) -> tuple[Array, Array, Array, Array]:
    def blocks(array: Array) -> Array:
        channels, count, rows, columns = array.shape
        return np.asarray(
            array.reshape(channels, count, rows // fine, fine, columns // fine, fine).mean(
                (1, 3, 5)
            )
        )

    fractions = blocks(sampled.fractions)
    inside = blocks(sampled.brain[None])[0] > 0.5
    return fractions, blocks(sampled.texture), fractions.argmax(0).astype(np.uint8), inside


def _check(index: int, spacing: float, size: tuple[int, ...]) -> None:
    if index < 0 or spacing <= 0 or min(size) < 1:
        raise SettingError(
            f"Patient {index}, spacing {spacing} mm, size {size} was asked for; expected an index "
            "of 0 or more, a positive "
            "spacing and positive sizes."
        )
