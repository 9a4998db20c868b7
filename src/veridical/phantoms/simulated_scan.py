"""A digital patient in the scanner: an undersampled raw MR measurement of one slice, with the truth
to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical.errors import SettingError
from veridical.phantoms.acquire import scan
from veridical.phantoms.population import Population
from veridical.phantoms.rendering import PhantomSlice, render
from veridical.phantoms.scanners import CONTRASTS
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianScan
from veridical.types import Array, Geometry, Image, Measurement, Noise

MATRIX = (232, 184)
CENTRE = 24
PATTERNS = ("uniform", "variable", "poisson")


@dataclass(frozen=True, eq=False)
class Examination:
    """One examined slice.

    Args:
        measurement: what the scanner gives: undersampled k-space of all coils.
        truth: root sum of squares of the noise-free coil images, on the grid of a reconstruction.
        brain: `(x, y, z)` bool.
        lesions: `(x, y, z)` bool.
        patient: name.
    """

    measurement: Measurement
    truth: Image
    brain: Array
    lesions: Array
    patient: str


def examine(
    cohort: Population,
    index: int,
    contrast: str = "T2w",
    acceleration: float = 4.0,
    pattern: str = "uniform",
    noise: float | None = None,
    coils: int = 8,
    **anatomy: Any,
) -> Examination:
    """Scan one slice of one digital patient.

    Args: cohort: `Cohort` or, for testing only, `CohortB`. index: patient. contrast: `T1w`, `T2w`,
        `FLAIR`, `PD` or `T1c`. acceleration: of the pattern; the 24 central lines are always taken.
        pattern: `uniform`, `variable` (random columns) or `poisson` (both directions). noise:
        standard deviation relative to the 99th percentile of the image; None takes the site's.
        coils: receive coils. anatomy: `plane` and `pathology`, as `Population.slice` takes them.
    """
    head: PhantomSlice = cohort.slice(index, size=MATRIX, spacing=1.0, **anatomy)
    rng = np.random.default_rng([cohort.seed, index, 77])
    level = noise if noise is not None else float(rng.uniform(*head.site.noise))
    raw = scan(render(head, contrast), rng, coils=coils, noise=level, receive=cohort.receive)
    mask = sampling(pattern, acceleration, seed=index) & raw.window
    header = {"contrast": contrast, "field": head.site.field, "site": head.site.name}
    grid = Geometry((MATRIX[1], MATRIX[0], 1), np.diag([1.0, 1.0, 5.0, 1.0]), "scanner")
    covariance = np.linalg.cholesky(raw.covariance)
    white = np.linalg.solve(covariance, raw.kspace.reshape(coils, -1)).reshape(raw.kspace.shape)
    clean = np.linalg.solve(covariance, raw.coil_images.reshape(coils, -1)).reshape(
        raw.coil_images.shape
    )
    truth = np.sqrt((np.abs(clean) ** 2).sum(0)).astype(np.float32)
    measurement = Measurement(
        (white * mask).astype(np.complex64)[None],
        CartesianScan(mask[None]),
        Noise("gaussian", raw.noise),
        grid,
        header,
    )
    return Examination(
        measurement,
        Image(truth.T[None, :, :, None], grid, "a.u.", (contrast,)),
        head.brain.T[..., None],
        head.lesions.T[..., None],
        f"{type(cohort).__name__}-{cohort.seed}-{index}",
    )


def draw_exam(cohort: Population, index: int) -> Examination:
    """Return a patient's axial slice under a contrast, pattern and acceleration that follow from
    the index.
    """
    rng = np.random.default_rng([cohort.seed, index, 5])
    pattern = PATTERNS[index % 3]
    acceleration = float(rng.uniform(4, 10)) if pattern == "poisson" else float(rng.integers(2, 6))
    contrast = CONTRASTS[int(rng.integers(len(CONTRASTS)))]
    return examine(cohort, index, contrast, acceleration, pattern, plane="axial")


def sampling(pattern: str, acceleration: float, seed: int) -> Array:
    """Return the mask `(ky, kx)` of a pattern by name."""
    if pattern == "uniform":
        return masks.uniform(MATRIX, round(acceleration), CENTRE, seed)
    if pattern == "variable":
        return masks.variable_density(MATRIX, acceleration, CENTRE, seed)
    if pattern == "poisson":
        return masks.poisson_disc(MATRIX, acceleration, CENTRE, seed)
    raise SettingError(f"pattern = {pattern!r}; expected uniform, variable or poisson.")
