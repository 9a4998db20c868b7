"""Slices to inject lesions into: test phantoms, a user's image scanned by simulated coils, or a
user's raw data; and the lesions, as wholes or as far as an operator sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.audit.structures import FWHM, foreground
from veridical.errors import InputError, SettingError, nearest
from veridical.models.problem import Problem, prepare
from veridical.models.problems import problems
from veridical.phantoms.acquire import coil_maps, phase, scan
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.rendering import render
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.types import Array, Image, Measurement

KINDS = ("blob", "disc", "ring")
"""A Gaussian; an even disc with a soft edge; a bright rim about a dark core."""
SPACES = ("whole", "measured", "unmeasured")
"""The lesion as it is; what of it the operator measures, `A^+ A d`; what of it lies in the null
space, `(I - A^+ A) d`. Both are brought back to the height of the whole.
"""
PATTERNS = ("uniform", "variable", "poisson")
CENTRE = 16
"""Central lines that are always sampled."""
PROJECTION = 100
"""Conjugate-gradient steps to the measured part."""
MATRIX, SPACING = (128, 128), 1.8
TEST_SEED = 17
"""Of the test phantoms, the same as in `simulation_study`; nothing was trained on them."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One slice.

    Args:
        patient: name, the unit of resampling.
        problem: operator, data, noise and classical reconstruction, in network units.
        truth: `(*domain)` in network units; None where it is not known.
        tissue: `(y, x)` bool, where lesions may lie.
    """

    patient: str
    problem: Problem
    truth: Tensor | None
    tissue: Array


@dataclass(frozen=True)
class Sampling:
    """How phantoms and images are scanned.

    Args:
        pattern: uniform, variable or poisson.
        acceleration: of the pattern; the 16 central lines are always taken.
        coils: receive coils.
        noise: standard deviation per real component over the 99th percentile of the image.
    """

    pattern: str = "variable"
    acceleration: float = 6.0
    coils: int = 4
    noise: float = 0.02

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise SettingError(
                f"No pattern is called {self.pattern!r}. {nearest(self.pattern, PATTERNS)}"
            )
        if self.acceleration < 1 or self.coils < 1 or self.noise <= 0:
            raise SettingError(
                f"acceleration = {self.acceleration}, coils = {self.coils}, noise = {self.noise}; "
                "expected 1 or more, 1 or more, and a noise above 0."
            )

    def mask(self, shape: tuple[int, int], seed: int) -> Array:
        """Return the mask `(ky, kx)`."""
        if self.pattern == "uniform":
            return masks.uniform(shape, round(self.acceleration), CENTRE, seed)
        draw = masks.variable_density if self.pattern == "variable" else masks.poisson_disc
        return draw(shape, self.acceleration, CENTRE, seed)


def phantoms(
    patients: int, sampling: Sampling, contrast: str = "T2w", seed: int = 0
) -> Iterator[Scene]:
    """Yield an axial slice of each test phantom, scanned with known coil maps."""
    population = CohortB(TEST_SEED + seed)
    for index in range(patients):
        head = population.slice(index, MATRIX, SPACING, plane="axial", pathology="none")
        rng = np.random.default_rng([seed, index, 11])
        raw = scan(render(head, contrast), rng, coils=sampling.coils, receive=population.receive)
        yield scanned(f"phantom-{index}", raw.images, raw.maps, head.brain, sampling, index)


def of_image(image: Image, sampling: Sampling, slices: int, seed: int = 0) -> Iterator[Scene]:
    """Yield the slices of an image with the most foreground, scanned by simulated coils under a
    smooth phase. All are of one patient.
    """
    data = np.moveaxis(np.abs(np.asarray(image.data[0], np.float32)), (0, 1, 2), (2, 1, 0))
    inside = foreground(data)
    fullest = np.argsort(-inside.sum((1, 2)), kind="stable")[:slices]
    for z in sorted(int(z) for z in fullest):
        rng = np.random.default_rng([seed, z, 12])
        shape = (data.shape[1], data.shape[2])
        sensitivity = coil_maps(rng, shape, sampling.coils, "gaussian")
        maps = sensitivity / np.sqrt((np.abs(sensitivity) ** 2).sum(0))
        object_ = data[z] * np.exp(1j * phase(rng, shape, "gaussian"))
        filled = ndimage.binary_fill_holes(inside[z])
        yield scanned(f"slice-{z}", object_[None], maps[None], np.asarray(filled), sampling, z)


def of_raw(raw: Measurement) -> Iterator[Scene]:
    """Yield the slices of raw MR data as they are; the truth is not known."""
    for z, problem in enumerate(problems(raw)):
        if not isinstance(problem.operator, CartesianMRI):
            raise InputError(
                f"The raw data are of {problem.operator.name}; lesions are injected into Cartesian "
                "MR data. Give others, or an image."
            )
        magnitude = (problem.image(problem.start)[0] / problem.scale).numpy()
        yield Scene(
            f"slice-{z}",
            problem,
            None,
            np.asarray(ndimage.binary_fill_holes(foreground(magnitude))),
        )


def scanned(
    patient: str, images: Array, maps: Array, tissue: Array, sampling: Sampling, seed: int
) -> Scene:
    """Scan an object `(set, y, x)` whose coil maps `(set, coil, y, x)` are known."""
    truth = torch.from_numpy(np.asarray(images, np.complex64))
    shape = (int(truth.shape[-2]), int(truth.shape[-1]))
    mask = torch.from_numpy(sampling.mask(shape, seed).astype(np.float32))
    operator = CartesianMRI(mask, torch.from_numpy(np.asarray(maps, np.complex64)))
    level = sampling.noise * float(np.percentile(np.abs(images).sum(0), 99))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.view_as_complex(torch.randn(*operator.range, 2, generator=generator))
    data = operator.forward(truth) + level * noise * mask
    problem = prepare(data, mask, operator.maps, level)
    return Scene(patient, problem, truth / problem.scale, np.asarray(tissue, bool))


def places(scene: Scene, count: int, apart: float, seed: int) -> list[tuple[int, int]]:
    """Return at most `count` places `(y, x)` in the tissue, `apart` pixels from one another and
    half of that from the edge of the tissue.

    Raises:
        InputError: there is room for none.
    """
    margin = max(1, round(apart / 4))
    inside = np.argwhere(ndimage.binary_erosion(scene.tissue, iterations=margin))
    rng = np.random.default_rng([seed, 13])
    found: list[tuple[int, int]] = []
    for row, column in rng.permutation(inside):
        if all(np.hypot(row - r, column - c) >= apart for r, c in found):
            found.append((int(row), int(column)))
        if len(found) == count:
            break
    if not found:
        raise InputError(
            f"{scene.patient} has no room for a lesion {margin} pixels from the edge of the "
            "tissue. Give smaller sizes, or a larger image."
        )
    return found


def lesions(
    scene: Scene, kind: str, size: float, where: Sequence[tuple[int, int]]
) -> dict[str, Tensor]:
    """Return the lesions of one slice at height 1, all at once, in each space: `(*domain)`.

    They have the phase of the classical reconstruction and lie in the first set of coil maps.

    Args:
        scene: the slice.
        kind: one of `KINDS`.
        size: full width at half maximum in pixels.
        where: places `(y, x)`.
    """
    problem = scene.problem
    if kind not in KINDS:
        raise SettingError(f"No kind of lesion is called {kind!r}. {nearest(kind, KINDS)}")
    shape = np.sum([profile(scene.tissue.shape, kind, size, place) for place in where], axis=0)
    own = problem.start if scene.truth is None else scene.truth
    angle = own[0] / own[0].abs().clamp_min(1e-9)
    whole = torch.zeros(problem.operator.domain, dtype=torch.complex64)
    whole[0] = torch.from_numpy(shape.astype(np.float32)) * angle
    seen = problem.operator.project(whole, PROJECTION)
    parts = {"whole": whole, "measured": seen, "unmeasured": whole - seen}
    return {name: part / _height(part, where) for name, part in parts.items()}


def profile(shape: Sequence[int], kind: str, size: float, place: tuple[int, int]) -> Array:
    """Return one lesion of height 1, `(y, x)`."""
    rows, columns = np.indices(tuple(shape))
    distance = np.hypot(rows - place[0], columns - place[1])
    if kind == "blob":
        return np.asarray(np.exp(-0.5 * (distance * FWHM / size) ** 2))
    disc = np.clip(size / 2 + 0.5 - distance, 0, 1)
    if kind == "disc":
        return np.asarray(disc)
    core = np.clip(size / 4 + 0.5 - distance, 0, 1)
    return np.asarray(disc - 1.5 * core)


def with_lesions(scene: Scene, added: Tensor) -> Scene:
    """Return the scene of a patient who has the lesions `(*domain)`: they are in the data, and what
    of them the operator measures is in the classical reconstruction.
    """
    problem = scene.problem
    seen = problem.operator.forward(added)
    start = problem.start + problem.operator.pinv(seen, iterations=4)
    truth = None if scene.truth is None else scene.truth + added
    return replace(
        scene, problem=replace(problem, data=problem.data + seen, start=start), truth=truth
    )


def _height(part: Tensor, where: Sequence[tuple[int, int]]) -> float:
    """Return the mean height over the lesions: the largest magnitude within two pixels of each."""
    size = part[0].abs()
    tops = [size[max(0, r - 2) : r + 3, max(0, c - 2) : c + 3].max() for r, c in where]
    return max(float(torch.stack(tops).mean()), 1e-12)
