"""Shapes of real heads, learned, and new ones drawn from them.

Thirteen label maps were brought into the space of their mean by an affine map and the flow of a
stationary velocity field each. A new head takes another stretch and another field from their joint
Gaussian, with its own amount of atrophy, and is cut out of several heads, region by region: no part
of it has the shape of the head it comes from. Log-Euclidean statistics of diffeomorphisms: Arsigny
et al., MICCAI 2006, 10.1007/11866565_113.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.linalg import expm

from veridical.errors import FormatError
from veridical.phantoms.label_maps import structure
from veridical.phantoms.mosaic_sampling import mosaic
from veridical.phantoms.population import rotation
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING, exponential, growth, velocity
from veridical.types import Array

Floats = NDArray[np.float32]
Sex = Literal["female", "male"]

FILE = Path(__file__).parent / "files" / "heads.npz"
"""What was learned; `veridical.training.learned_heads` makes it, `heads.md` beside it says of
what.
"""
UNIT = 1 / 32
"""mm: velocities are stored in whole numbers of it."""
PARTS = 4
"""Heads that a new one is cut out of."""
REGION = 32.0
"""mm of smoothness of the fields that say which of them rules where."""
BLEND = 0.15
"""Difference of these fields, standard deviation 1, below which two heads are blended."""
ALIKE = 0.6
"""How far the atrophy of heads that are cut up may lie from that of the new one, in standard
deviations of the 13.
"""
FARTHEST = 2.0
"""Standard deviations at which the weight of a head's own shape is cut off."""
TILT, LARGER = 4.0, 0.02
"""Standard deviation of the pose in degrees; half of what men's heads are larger than women's along
each axis (Ruigrok et al. 2014, 10.1016/j.neubiorev.2013.12.004: 12 % in volume).
"""
FINEST = (0.8, 1.6)
"""mm: least and greatest standard deviation of the displacement beyond the learned one."""
YOUNG, VENTRICLES, SPREAD = 20.0, 10.5, 0.35
"""Lateral ventricles hold so many ml at that age, with that standard deviation of the logarithm:
10 healthy subjects of IXI, 23 to 51 years old, have 13.2 ml.
"""
DECADE = ((20.0, 1.2), (55.0, 1.35))
"""From which age on ventricles grow by which factor a decade (Kaye et al. 1992,
10.1111/j.1532-5415.1992.tb02073.x: 20 %, faster from the fifth or sixth decade on).
"""
COARSE = 4.0
"""mm at which the volume of ventricles is counted while they are fitted."""
LOW, HIGH = np.array([-96.0, -108.0, -98.0]), np.array([96.0, 144.0, 94.0])
"""Corners of a new head's volume, mm from the middle of its brain."""


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """What was learned of real heads.

    Args:
        names: of the heads.
        fields: `(head, x, y, z, 3)` mm, velocity on the grid of the warp: its flow takes the mean
            head to each.
        affines: `(head, 3, 4)`: from there to voxels of its map.
        stretches: `(head, 3, 3)`: symmetric logarithm of the affine map without its rotation.
        atrophy: `(head,)` log of ventricles over brain, mean 0, standard deviation 1.
        scale: mean and standard deviation of that logarithm.
        brain: ml of the mean brain.
        coarse: `(head, x, y, z)` uint8 structures at 4 mm, rotation removed.
        between: `(head, head)` distance between heads, see `head_distance`.
    """

    names: tuple[str, ...]
    fields: Floats
    affines: Floats
    stretches: Floats
    atrophy: Floats
    scale: tuple[float, float]
    brain: float
    coarse: NDArray[np.uint8]
    between: Floats

    def map(self, index: int) -> NDArray[np.uint8]:
        """Return the structures of a head `(x, y, z)` at 1 mm."""
        return _map(self.names[index])

    def mixed(self, weights: Array, atrophy: float) -> tuple[Floats, Floats]:
        """Return a velocity field `(x, y, z, 3)` and the logarithm of a stretch `(3, 3)`: the mean
        shape at an amount of atrophy and `(head,)` weights times what is each head's own. Standard
        normal weights give the covariance of the heads.
        """
        own = (weights / np.sqrt(len(weights) - 2)).astype(np.float32)
        a = self.atrophy.astype(np.float32)
        effect = a / np.float32(a @ a)
        parts = []
        for each in (self.fields, self.stretches):
            mean, slope = each.mean(0), np.tensordot(effect, each, 1)
            rest = np.tensordot(own, each, 1) - own.sum() * mean - (own @ a) * slope
            parts.append(np.asarray(mean + np.float32(atrophy) * slope + rest, np.float32))
        return parts[0], parts[1]


@dataclass(frozen=True, eq=False)
class NewHead:
    """A drawn head, out of which any grid can be cut.

    Args:
        parts: the heads it is made of.
        weights: `(part, x, y, z)` which of them rules where, on the grid of the warp.
        stretch: `(3, 3)`: from its mm, upright, to the mean head's.
        field: `(x, y, z, 3)` mm, velocity; its flow follows the stretch.
        pose: `(3, 3)` rotation that it is seen under.
    """

    parts: tuple[int, ...]
    weights: Floats
    stretch: Floats
    field: Floats
    pose: Floats

    def structures(
        self, origin: Floats, spacing: float, shape: tuple[int, int, int], upright: bool = False
    ) -> NDArray[np.uint8]:
        """Return its structures on a grid, positions in `label_maps.NAMES`. Where the heads it is
        made of had lesions it has white matter.

        Args:
            origin: `(3,)` mm from the middle of the brain, the first voxel.
            spacing: mm.
            shape: voxels.
            upright: without the pose.
        """
        out = np.zeros(shape, np.uint8)
        maps, sizes = _padded(self.parts)
        matrix = self.stretch if upright else self.stretch @ self.pose.T
        mosaic(
            maps, sizes, shape_model().affines[list(self.parts)],
            np.stack([_displacement(part) for part in self.parts]), self.weights,
            np.asarray(origin, np.float32), np.eye(3, dtype=np.float32) * np.float32(spacing),
            np.ascontiguousarray(matrix, np.float32), flow(self.field), np.float32(BLEND), out,
        )  # fmt: skip
        out[out == structure("lesion")] = structure("white matter")
        return out

    def located(self, point: Floats) -> Floats:
        """Return where in the mean head a point of the new one lies, `(3,)` mm."""
        at = self.stretch @ self.pose.T @ np.asarray(point, np.float64)
        place = ((at - GRID_ORIGIN) / GRID_SPACING)[:, None]
        moved = flow(self.field)
        shift = [
            ndimage.map_coordinates(moved[..., d], place, order=1, mode="nearest")[0]
            for d in range(3)
        ]
        return np.asarray(at + shift, np.float32)

    def grown(self, point: Floats, strength: float, radius: float) -> NewHead:
        """Return the head with a mass at a point that pushes its surroundings outward by up to
        `strength` mm, most of all `radius` mm away.
        """
        mass = growth(self.located(point), strength, radius)
        return replace(self, field=np.asarray(self.field + mass, np.float32))


def new_head(
    rng: np.random.Generator, age: float, sex: Sex, deviation: float | None = None
) -> NewHead:
    """Draw a head.

    Its ventricles hold what `ventricles` draws for the age; sulci, and all else that goes along
    with ventricles in real heads, go along with them here.

    Args:
        rng: everything random comes from it.
        age: years, 18 to 95.
        sex: size of the head.
        deviation: of the ventricles from what is usual at that age, in standard deviations of the
            logarithm; None draws it.
    """
    model, chance = shape_model(), float(np.clip(rng.standard_normal(), -2, 2))
    wanted = ventricles(age) * np.exp(SPREAD * (chance if deviation is None else deviation))
    size = LARGER * (1 if sex == "male" else -1)
    usual = (np.log(wanted / (model.brain + wanted)) - model.scale[0]) / model.scale[1]
    usual = float(np.clip(usual, model.atrophy.min(), model.atrophy.max()))
    fit = np.exp(-(((model.atrophy - usual) / ALIKE) ** 2) / 2)
    parts = rng.choice(len(model.names), PARTS, replace=False, p=fit / fit.sum())
    rule = np.concatenate([velocity(rng, 1.0, REGION) for _ in range(-(-PARTS // 3))], -1)
    own = np.clip(rng.standard_normal(len(model.names)), -FARTHEST, FARTHEST)
    extra = velocity(rng, rng.uniform(*FINEST), rng.uniform(16.0, 22.0))
    pose = rotation(rng.normal(0, TILT, 3))

    def head(atrophy: float) -> NewHead:
        field, stretch = model.mixed(own, atrophy)
        return NewHead(
            tuple(int(part) for part in parts),
            np.ascontiguousarray(np.moveaxis(rule[..., :PARTS], -1, 0), np.float32),
            np.asarray(expm(-(stretch + size * np.eye(3))), np.float32),
            np.asarray(extra - field, np.float32),
            np.asarray(pose, np.float32),
        )

    low, high = usual - 2.0, usual + 2.0
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (middle, high) if ventricle_volume(head(middle)) < wanted else (low, middle)
    return head((low + high) / 2)


def ventricles(age: float) -> float:
    """Return the usual volume of the lateral ventricles at an age, ml."""
    volume, ends = VENTRICLES, [start for start, _ in DECADE[1:]] + [np.inf]
    for (start, factor), end in zip(DECADE, ends, strict=True):
        volume *= factor ** ((min(max(age, start), end) - start) / 10)
    return float(volume * DECADE[0][1] ** (min(age - YOUNG, 0.0) / 10))


def ventricle_volume(head: NewHead) -> float:
    """Return the volume of the lateral ventricles of a head, ml, counted at 4 mm."""
    low, high = np.array([-60.0, -90.0, -50.0]), np.array([60.0, 70.0, 60.0])
    shape = tuple(int(n) for n in (high - low) / COARSE)
    found = head.structures(low, COARSE, shape, upright=True)  # type: ignore[arg-type]
    return float((found == structure("lateral ventricle")).sum() * COARSE**3 / 1000)


def flow(field: Floats) -> Floats:
    """Return the displacement `(x, y, z, 3)` in mm of the flow of a velocity field."""
    return np.asarray(exponential(np.ascontiguousarray(field, np.float32), 4), np.float32)


@cache
def shape_model() -> ShapeModel:
    """Return what was learned of real heads.

    Raises:
        FormatError: the file in the package is damaged.
    """
    try:
        with np.load(FILE) as file:
            known = {name: file[name] for name in file.files if not name.startswith("map_")}
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            f"{FILE.name}, the shapes of heads in the package, cannot be read ({error}). Install "
            "Veridical again."
        ) from error
    return ShapeModel(
        tuple(str(name) for name in known["names"]),
        known["fields"] * np.float32(UNIT),
        known["affines"],
        known["stretches"],
        known["atrophy"],
        (float(known["scale"][0]), float(known["scale"][1])),
        float(known["brain"]),
        known["coarse"],
        known["between"],
    )


@cache
def fingerprint() -> str:
    """Return the SHA-256 of the file, for provenance."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


@cache
def _map(name: str) -> NDArray[np.uint8]:
    with np.load(FILE) as file:
        return np.asarray(file[f"map_{name}"])


@cache
def _displacement(index: int) -> Floats:
    return flow(shape_model().fields[index])


@lru_cache(maxsize=2)
def _padded(parts: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the maps of some heads as one array, and the size of each."""
    maps = [shape_model().map(part) for part in parts]
    sizes = np.array([one.shape for one in maps])
    out = np.zeros((len(maps), *sizes.max(0)), np.uint8)
    for place, one in zip(out, maps, strict=True):
        place[tuple(slice(n) for n in one.shape)] = one
    return out, sizes
