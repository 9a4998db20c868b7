"""Patients painted from label maps of real heads: another pose, another shape, lesions, any scanner
and any sequence.

What one template cannot give: the anatomy of many heads, outside of the brain too. Contrast follows
the signal equations over tissue values and sequences that vary more than those of any one site, so
that a network sees scanners that it was never trained on (Billot et al., Medical Image Analysis
2023, 10.1016/j.media.2023.102789; Iglesias et al., Science Advances 2023, 10.1126/sciadv.add3607).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from veridical.phantoms.label_maps import DEVIATION, NAMES, LabelMap
from veridical.phantoms.label_sampling import sample, sample_structures
from veridical.phantoms.lesions import ROW, sclerosis, tumour
from veridical.phantoms.population import PLANES, Pathology, Plane, rotation, spread
from veridical.phantoms.rendering import PhantomSlice, PhantomVolume
from veridical.phantoms.scanners import Site
from veridical.phantoms.template import periodic_noise
from veridical.phantoms.warp import exponential, velocity
from veridical.physics.tissue import RELAXATION, TissueClass
from veridical.types import Array, Geometry

AXIAL, CORONAL = 0.75, 0.9
"""Shares of planes: axial up to the first, coronal up to the second, else sagittal."""
REACH = {"axial": (-45.0, 75.0), "coronal": (-80.0, 70.0), "sagittal": (-55.0, 55.0)}
"""Where slices lie, mm from the middle of the brain."""
WIDER = 0.05
"""Standard deviation of the logs of relaxation times beyond the spread between subjects: scanners,
stimulated echoes, magnetization transfer. With 0.12, grey matter was up to twice as bright as white
matter in FLAIR, and a generator learned from it to make what no scanner shows.
"""
STRIPPED = 0.35
"""Share of heads whose skull was removed."""
FINE = 2
"""Points across a voxel in plane."""
LAYER = 1.5
"""mm of thickness for each further point across a slice."""


@dataclass(frozen=True, eq=False)
class Pose:
    """How a label map is seen: see `label_sampling.sample`."""

    matrix: Array
    shift: Array
    displacement: Array
    lesions: Array
    offsets: Array
    traits: Array
    deviation: Array


@dataclass(frozen=True, eq=False)
class LabelHeads:
    """Patients by number, from label maps; a patient is a function of `(seed, index)` and of the
    maps alone.

    Args:
        maps: of real heads, see `label_maps`.
        seed: of all patients.
    """

    maps: tuple[LabelMap, ...]
    seed: int = 0
    testing_only: ClassVar[bool] = False

    def slab(
        self,
        index: int,
        gap: float,
        size: tuple[int, int] = (192, 160),
        spacing: float = 1.1,
        plane: Plane | None = None,
    ) -> tuple[PhantomSlice, PhantomSlice, PhantomSlice]:
        """Return a slice of patient `index` between its two neighbours `gap` mm below and above it,
        each as thick as the gap.

        Args:
            index: of the patient.
            gap: between slice centres, mm.
            size: `(y, x)` pixels.
            spacing: pixel size, mm.
            plane: None draws one: axial three times in four.
        """
        rng = self.generator(index, 1)
        drawn = PLANES[int(np.searchsorted((AXIAL, CORONAL), rng.random()))]
        plane = drawn if plane is None else plane
        across, rows, columns = {
            "axial": (2, 1, 0),
            "coronal": (1, 2, 0),
            "sagittal": (0, 2, 1),
        }[plane]
        steps = np.zeros((3, 3), np.float32)
        steps[0, across], steps[1, rows], steps[2, columns] = gap, -spacing, -spacing
        middle = np.zeros(3)
        middle[across] = self._position(index, plane, rng)
        origin = (
            middle
            - steps[0]
            - steps[1] * (size[0] - 1) / 2
            - steps[2] * (size[1] - 1) / 2
            + rng.uniform(-4, 4, 3) * (np.arange(3) != across)
        )
        counts = (1 + round(gap / LAYER), FINE, FINE)
        fractions, texture, _, brain = self.sampled(index, origin, steps, (3, *size), counts)
        labels = fractions.argmax(0).astype(np.uint8)
        known = self._known(index)
        return tuple(  # type: ignore[return-value]
            PhantomSlice(
                fractions[:, n],
                texture[:, n],
                labels[n],
                brain[n] > 0.5,
                **known,
                spacing=spacing,
                plane=plane,
            )
            for n in range(3)
        )

    def volume(
        self,
        index: int,
        spacing: float = 2.0,
        shape: tuple[int, int, int] | None = None,
        fine: int = 1,
    ) -> PhantomVolume:
        """Return patient `index` as a volume `(x, y, z)`, RAS+, about the middle of the brain.

        Args:
            index: of the patient.
            spacing: isotropic voxel size, mm.
            shape: voxels; None covers the head, 208 x 248 x 224 mm.
            fine: points across a voxel.
        """
        shape = (
            (round(208 / spacing), round(248 / spacing), round(224 / spacing))
            if shape is None
            else shape
        )
        origin = -spacing * (np.array(shape) - 1) / 2 - np.array([0.0, 0.0, 18.0])
        return self.cropped(index, origin, spacing, shape, fine)

    def cropped(
        self,
        index: int,
        origin: Array,
        spacing: float,
        shape: tuple[int, int, int],
        fine: int = 1,
    ) -> PhantomVolume:
        """Return a part of patient `index` as a volume `(x, y, z)`, RAS+.

        Args:
            index: of the patient.
            origin: `(3,)` mm from the middle of the brain, the first voxel.
            spacing: isotropic voxel size, mm.
            shape: voxels.
            fine: points across a voxel.
        """
        steps = np.eye(3, dtype=np.float32) * np.float32(spacing)
        fractions, texture, _, brain = self.sampled(index, origin, steps, shape, (fine, fine, fine))
        affine = np.diag([spacing, spacing, spacing, 1.0])
        affine[:3, 3] = origin
        return PhantomVolume(
            fractions,
            texture,
            fractions.argmax(0).astype(np.uint8),
            brain > 0.5,
            **self._known(index),
            geometry=Geometry(shape, affine),
        )

    def sampled(
        self,
        index: int,
        origin: Array,
        steps: Array,
        shape: tuple[int, int, int],
        counts: tuple[int, int, int],
    ) -> tuple[Array, Array, Array, Array]:
        """Return tissue fractions `(tissue, *shape)`, texture `(2, *shape)`, structures (positions
        in `label_maps.NAMES`, lesions among them) and the share of brain, `(*shape)`.
        """
        pose, head = _pose(self, index), self.head(index)
        fractions = np.zeros((len(TissueClass), *shape), np.float32)
        texture, brain = np.zeros((2, *shape), np.float32), np.zeros(shape, np.float32)
        structures = np.zeros(shape, np.uint8)
        sample(
            head.structures, head.centre, pose.matrix, pose.shift, pose.displacement, pose.lesions,
            _noise(), pose.offsets, pose.traits, pose.deviation, np.asarray(origin, np.float32),
            np.asarray(steps, np.float32), np.array(counts), fractions, texture, structures, brain,
        )  # fmt: skip
        return fractions, texture, structures, brain

    def structures(
        self, index: int, origin: Array, spacing: float, shape: tuple[int, int, int]
    ) -> Array:
        """Return the structures of patient `index`, `(x, y, z)` uint8, positions in
        `label_maps.NAMES`, lesions among them.

        Args:
            index: of the patient.
            origin: `(3,)` mm from the middle of the brain, the first voxel.
            spacing: isotropic voxel size, mm.
            shape: voxels.
        """
        pose, head = _pose(self, index), self.head(index)
        found = np.zeros(shape, np.uint8)
        sample_structures(
            head.structures, head.centre, pose.matrix, pose.shift, pose.displacement, pose.lesions,
            _noise(), pose.offsets, pose.traits, np.asarray(origin, np.float32),
            np.eye(3, dtype=np.float32) * np.float32(spacing), found,
        )  # fmt: skip
        return found

    def head(self, index: int) -> LabelMap:
        """Return the map that patient `index` is painted from."""
        return self.maps[int(self.generator(index, 0).integers(len(self.maps)))]

    def pathology(self, index: int) -> Pathology:
        """Return what patient `index` has: nothing 25, multiple sclerosis 45, a tumour 30 per
        cent.
        """
        kinds: tuple[Pathology, ...] = ("none", "ms", "tumour")
        return kinds[int(np.searchsorted((0.25, 0.7), self.generator(index, 5).random()))]

    def generator(self, index: int, purpose: int) -> np.random.Generator:
        """Return the random numbers of one patient for one purpose."""
        return np.random.default_rng((self.seed, index, purpose))

    def site(self, index: int) -> Site:
        """Return a scanner that no other patient has, with settings of any clinical protocol."""
        rng = self.generator(index, 3)
        kind = ("mprage", "spgr", "se")[int(rng.choice(3, p=(0.4, 0.25, 0.35)))]
        field = float(rng.choice([1.0, 1.5, 3.0], p=(0.1, 0.45, 0.45)))
        return Site(
            f"painted-{index}", field, kind, (2200, 7000), (70, 125), (8, 30), (6000, 11500),
            0.35, (0.0, 2.0), (0.0, 0.03), 0.2, (1, 5),
        )  # fmt: skip

    def factors(self, index: int) -> Array:
        """Return the patient's own factors of T1, T2 and PD, `(3, tissue)`."""
        table = np.array([RELAXATION[tissue].spread for tissue in TissueClass])
        return spread(self.generator(index, 2), np.sqrt(table**2 + WIDER**2))

    def _known(self, index: int) -> dict[str, Any]:
        return {
            "pathology": self.pathology(index),
            "factors": self.factors(index),
            "site": self.site(index),
            "law": "anchors",
            "key": (self.seed, index),
        }

    def _position(self, index: int, plane: Plane, rng: np.random.Generator) -> float:
        """Return where a slice lies; two times in three through a lesion, where there is one."""
        lesions = _pose(self, index).lesions
        low, high = REACH[plane]
        anywhere = rng.uniform(low, high)
        if not len(lesions) or rng.random() > 0.67:
            return float(anywhere)
        axis = {"axial": 3, "coronal": 2, "sagittal": 1}[plane]
        one = lesions[int(rng.integers(len(lesions)))]
        return float(np.clip(one[axis] + rng.normal(0, 0.3) * one[13], low, high))


@lru_cache(maxsize=8)
def _pose(heads: LabelHeads, index: int) -> Pose:
    """Draw how patient `index` is seen."""
    rng = heads.generator(index, 4)
    field = velocity(rng, rng.uniform(1.0, 4.5), rng.uniform(34.0, 50.0))
    field += velocity(rng, rng.uniform(0.3, 1.6), rng.uniform(14.0, 20.0))
    scale = rng.uniform(0.88, 1.12) * rng.uniform(0.94, 1.06, 3)
    scale[0] *= rng.choice([-1.0, 1.0])
    matrix = rotation(rng.normal(0, 7.0, 3)) / scale[:, None]
    kind, head = heads.pathology(index), heads.head(index)
    lesions = np.zeros((0, ROW), np.float32)
    if kind == "ms":
        lesions = sclerosis(rng, head)
    elif kind == "tumour":
        lesions = tumour(rng, head)
    deviation = np.array([DEVIATION.get(name, 0.0) for name in NAMES]) + rng.normal(
        0, 0.5, len(NAMES)
    )
    traits = [
        rng.uniform(-0.6, 1.6),
        float(rng.random() < STRIPPED),
        float(rng.random() < 0.7),
        float(rng.random() < 0.6),
    ]
    floats = (
        matrix, rng.normal(0, 2.0, 3), exponential(field, 4), lesions,
        512 + rng.uniform(0, 128, (4, 3)), np.array(traits), deviation,
    )  # fmt: skip
    return Pose(*(np.ascontiguousarray(a, np.float32) for a in floats))


@lru_cache(maxsize=1)
def _noise() -> Array:
    return periodic_noise(11, 0.08, 0.3).ravel()
