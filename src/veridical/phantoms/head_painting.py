"""From a label map of a head to what a scanner would see: fat between muscles, lesions, tissue
fractions and texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.compiled import njit
from veridical.errors import InputError
from veridical.phantoms.head_labels import LABELS, TISSUE, TUMOUR
from veridical.phantoms.label_maps import BRAIN, DEVIATION, NEAR, structure
from veridical.phantoms.label_sampling import noise_of, with_lesions
from veridical.phantoms.population import Pathology, spread
from veridical.phantoms.rendering import PhantomVolume
from veridical.phantoms.scanners import Site
from veridical.phantoms.template import periodic_noise
from veridical.physics.tissue import RELAXATION, TissueClass
from veridical.types import Array, Geometry

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]

INSIDE = np.array([name in BRAIN or name in TUMOUR for name in LABELS])
"""Which labels lie inside the dura: those of the brain, and tumours."""
MUSCLE, FAT, MS = structure("muscle"), structure("fat"), structure("lesion")
FIRST_TUMOUR = LABELS.index("oedema") - int(TissueClass.OEDEMA)
"""Added to the tissue of a part of a tumour it is its label."""
STEP = 2.0
"""mm at which places for lesions are sought."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A head as a label map, and where it lies in the noise that gives it texture.

    Args:
        labels: `(x, y, z)` uint8, positions in `LABELS`.
        geometry: its grid.
        centre: `(3,)` mm, the middle of the brain.
        offsets: `(3, 3)` positions in the noise.
    """

    labels: Labels
    geometry: Geometry
    centre: Floats
    offsets: Floats

    @cached_property
    def placed(self) -> Floats:
        """The affine map `(3, 4)` from voxels to mm from the middle of the brain."""
        affine = self.geometry.affine[:3].copy()
        affine[:, 3] -= self.centre
        return np.asarray(affine, np.float32)

    @cached_property
    def voxel(self) -> float:
        """Volume of a voxel, ml."""
        return abs(float(np.linalg.det(self.geometry.affine[:3, :3]))) / 1000

    @cached_property
    def places(self) -> Places:
        """Where lesions may lie.

        Raises:
            InputError: there is no white matter.
        """
        steps = tuple(max(1, round(STEP / size)) for size in self.geometry.spacing)
        coarse = self.labels[tuple(slice(None, None, step) for step in steps)]
        white = coarse == structure("white matter")
        if not white.any():
            raise InputError(
                "Lesions were asked for, and the label map holds no white matter in which they "
                "could lie. Leave lesions out, or give a map with white matter."
            )
        ventricle = coarse == structure("lateral ventricle")
        sampling = [size * step for size, step in zip(self.geometry.spacing, steps, strict=True)]
        far = (
            ndimage.distance_transform_edt(~ventricle, sampling=sampling)
            if ventricle.any()
            else np.zeros(coarse.shape)
        )
        found = []
        for where in (white & (far < NEAR), white):
            index = np.argwhere(where if where.any() else white) * np.array(steps)
            found.append(np.asarray(index @ self.placed[:, :3].T + self.placed[:, 3], np.float32))
        return Places(found[0], found[1])

    def marbled(self, level: float) -> Anatomy:
        """Return the head with fat between its muscles: where noise is above `level` standard
        deviations.
        """
        labels = self.labels.copy()
        _marble(labels, self.placed, noise(), self.offsets, np.float32(level))
        return replace(self, labels=labels)

    def with_lesions(self, lesions: Floats, enhances: bool) -> Anatomy:
        """Return the head with lesions.

        Args:
            lesions: `(n, 17)`, see `lesions.row`, mm from the middle of the brain.
            enhances: whether tumours have a core and a rim that enhances.
        """
        labels = self.labels.copy()
        inverse = np.linalg.inv(self.placed[:, :3].astype(np.float64))
        for lesion in np.asarray(lesions, np.float32):
            extent = lesion[13] * 2.2 * max(float(lesion[15]), 1.0)
            middle = inverse @ (lesion[1:4] - self.placed[:, 3])
            reach = extent * np.sqrt((inverse**2).sum(1))
            low = np.clip(np.floor(middle - reach), 0, np.array(labels.shape)).astype(np.int64)
            high = np.clip(np.ceil(middle + reach) + 1, 0, np.array(labels.shape)).astype(np.int64)
            _draw(
                labels, low, high, self.placed, noise(), self.offsets, lesion[None], bool(enhances)
            )
        return replace(self, labels=labels)

    def painted(
        self,
        fine: int,
        pathology: Pathology,
        site: Site,
        rng: np.random.Generator,
        key: tuple[int, ...],
    ) -> tuple[PhantomVolume, Labels]:
        """Return what a scanner would see, and the labels on that grid, `(x, y, z)` uint8.

        Args:
            fine: voxels of the label map across a voxel of the result, along each axis; the label
                that most of them have is that of the voxel.
            pathology: what the patient has.
            site: the scanner.
            rng: draws the patient's relaxation times.
            key: see `PhantomHead`.
        """
        usual = np.array([DEVIATION.get(name, 0.0) for name in LABELS])
        deviation = np.asarray(usual + rng.normal(0, 0.5, len(LABELS)), np.float32)
        varied = np.array([RELAXATION[tissue].spread for tissue in TissueClass])
        factors = spread(rng, varied)
        shape = tuple(size // fine for size in self.labels.shape)
        fractions = np.zeros((len(TissueClass), *shape), np.float32)
        texture, brain = np.zeros((2, *shape), np.float32), np.zeros(shape, np.float32)
        labels, strongest = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        _paint(
            self.labels, fine, TISSUE, INSIDE, self.placed, noise(), self.offsets, deviation,
            fractions, texture, brain, labels, strongest,
        )  # fmt: skip
        geometry = coarser(self.geometry, fine, (shape[0], shape[1], shape[2]))
        volume = PhantomVolume(
            fractions,
            texture,
            strongest,
            brain > 0.5,
            pathology=pathology,
            factors=factors,
            site=site,
            law="anchors",
            key=key,
            geometry=geometry,
        )
        return volume, labels


@dataclass(frozen=True, eq=False)
class Places:
    """Where lesions may lie, `(n, 3)` mm from the middle of the brain."""

    periventricular: Floats
    white: Floats

    def before(self, least: float) -> Places:
        """Return the places in white matter that lie so many mm before the middle, all where there
        are none.
        """
        ahead = self.white[:, 1] > least
        return replace(self, white=self.white[ahead]) if ahead.any() else self


def anatomy(labels: Labels, geometry: Geometry, rng: np.random.Generator) -> Anatomy:
    """Return a label map as an anatomy: the middle of what lies inside the dura is its origin.

    Args:
        labels: `(x, y, z)`, positions in `LABELS`.
        geometry: its grid.
        rng: draws the texture.
    """
    index = np.argwhere(INSIDE[labels])
    middle = index.mean(0) if len(index) else (np.array(labels.shape) - 1) / 2
    centre = geometry.affine[:3, :3] @ middle + geometry.affine[:3, 3]
    offsets = 512 + rng.uniform(0, 128, (3, 3))
    return Anatomy(
        labels, geometry, np.asarray(centre, np.float32), np.asarray(offsets, np.float32)
    )


def coarser(geometry: Geometry, fine: int, shape: tuple[int, int, int]) -> Geometry:
    """Return the grid whose voxels are blocks of `fine` voxels along each axis."""
    affine = geometry.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (fine - 1) / 2)
    affine[:3, :3] *= fine
    return Geometry(shape, affine, geometry.frame)


@cache
def noise() -> Array:
    """Return the noise that all textures are taken from, flat int8; see `periodic_noise`."""
    return periodic_noise(11, 0.08, 0.3).ravel()


@njit(nogil=True, error_model="numpy", fastmath=True)
def _at(i, j, k, placed, point):  # type: ignore[no-untyped-def]
    for d in range(3):
        point[d] = placed[d, 0] * i + placed[d, 1] * j + placed[d, 2] * k + placed[d, 3]


@njit(nogil=True, error_model="numpy", fastmath=True)
def _marble(labels, placed, noise, offsets, level):  # type: ignore[no-untyped-def]
    point = np.zeros(3, np.float32)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for k in range(labels.shape[2]):
                if labels[i, j, k] == MUSCLE:
                    _at(i, j, k, placed, point)
                    coarse = noise_of(noise, point, np.float32(0.22), offsets[0])
                    fine = noise_of(noise, point, np.float32(1.3), offsets[1])
                    if coarse + np.float32(0.4) * fine > level:
                        labels[i, j, k] = FAT


@njit(nogil=True, error_model="numpy", fastmath=True)
def _draw(labels, low, high, placed, noise, offsets, lesion, enhances):  # type: ignore[no-untyped-def]
    point = np.zeros(3, np.float32)
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            for k in range(low[2], high[2]):
                found = labels[i, j, k]
                _at(i, j, k, placed, point)
                rough = noise_of(noise, point, np.float32(0.22), offsets[0]) + noise_of(
                    noise, point, np.float32(1.3), offsets[1]
                )
                before = TISSUE[found]
                tissue = with_lesions(before, INSIDE[found], point, rough, lesion, enhances)
                if tissue != before:
                    labels[i, j, k] = MS if lesion[0, 0] == 0 else tissue + FIRST_TUMOUR


@njit(nogil=True, error_model="numpy", fastmath=True)
def _paint(  # type: ignore[no-untyped-def]
    labels, step, tissues, inside, placed, noise, offsets, deviation,
    fractions, texture, brain, out, strongest,
):  # fmt: skip
    n0, n1, n2 = out.shape
    share = np.float32(1.0 / step**3)
    point, count = np.zeros(3, np.float32), np.zeros(len(tissues), np.int64)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                count[:] = 0
                for part in range(step**3):
                    u = i * step + part // (step * step)
                    v = j * step + part // step % step
                    w = k * step + part % step
                    found = labels[u, v, w]
                    count[found] += 1
                    fractions[tissues[found], i, j, k] += share
                    if found == 0:
                        continue
                    _at(u, v, w, placed, point)
                    coarse = noise_of(noise, point, np.float32(0.22), offsets[0])
                    fine = noise_of(noise, point, np.float32(1.3), offsets[1])
                    texture[0, i, j, k] += share * (
                        np.float32(0.75) * fine + np.float32(0.65) * coarse + deviation[found]
                    )
                    texture[1, i, j, k] += share * noise_of(
                        noise, point, np.float32(0.9), offsets[2]
                    )
                    if inside[found]:
                        brain[i, j, k] += share
                best = 0
                for n in range(1, len(count)):
                    if count[n] > count[best]:
                        best = n
                out[i, j, k] = best
                best = 0
                for n in range(1, len(fractions)):
                    if fractions[n, i, j, k] > fractions[best, i, j, k]:
                        best = n
                strongest[i, j, k] = best
