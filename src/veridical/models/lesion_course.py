"""New lesions of multiple sclerosis: how many a patient will get, from those seen so far and the
population.

Counts are Poisson, and rates Gamma over patients, so that the posterior is Gamma and the forecast
negative binomial (as Sormani et al. model lesion counts: J Neurol Sci 1999,
10.1016/S0022-510X(99)00015-5).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

NEW, EFFECT = 5.5, 0.83
"""New or enlarging lesions a year without treatment, and the share of them that natalizumab
prevents (Polman et al., N Engl J Med 2006, 10.1056/NEJMoa044397).
"""
SHAPE = 1.5
"""Of the Gamma distribution of rates over patients (assumed: a few patients have most lesions)."""
LEAST = 10.0
"""mm3 of a lesion that is counted."""
NEAR = 1
"""Voxels about an earlier lesion within which a later one is the same."""


@dataclass(frozen=True)
class LesionCourse:
    """What is believed of a patient's new lesions.

    Args:
        now: lesions at the last visit.
        volume: ml of all of them.
        seen: new ones between visits.
        years: without treatment in which they were seen, years under it counting as fewer.
        each: ml of a lesion.
    """

    now: int
    volume: float
    seen: int
    years: float
    each: float

    @property
    def rate(self) -> tuple[float, float]:
        """Mean and standard deviation of new lesions a year without treatment."""
        shape, scale = SHAPE + self.seen, SHAPE / NEW + self.years
        return shape / scale, float(np.sqrt(shape)) / scale

    def drawn(self, years: float, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Return numbers of new lesions `(draw,)`.

        Args:
            years: without treatment that the time until then is worth.
        """
        rates = rng.gamma(SHAPE + self.seen, 1 / (SHAPE / NEW + self.years), count)
        return np.asarray(rng.poisson(rates * years), np.int64)


def course(
    masks: Sequence[tuple[float, Mask]], spacing: Sequence[float], prevented: float | None
) -> LesionCourse:
    """Return what is believed after some visits.

    Args:
        masks: day and lesions `(x, y, z)` of each visit that has them, in order, on one grid.
        spacing: mm.
        prevented: day from which on treatment prevents new lesions; None: never.
    """
    voxel = float(np.prod(spacing))
    seen, years = 0, 0.0
    for (before, old), (after, new) in itertools.pairwise(masks):
        seen += added(old, new, voxel)
        years += worth(before, after, prevented)
    last = masks[-1][1]
    now, volume = counted(last, voxel), float(last.sum()) * voxel / 1000
    return LesionCourse(now, volume, seen, years, volume / now if now else 0.1)


def worth(start: float, end: float, prevented: float | None) -> float:
    """Return how many years without treatment the days from `start` to `end` are worth."""
    free = end if prevented is None else float(np.clip(prevented, start, end))
    return (free - start + (end - free) * (1 - EFFECT)) / 365.25


def counted(mask: Mask, voxel: float) -> int:
    """Return the number of lesions of a mask that are large enough; voxels that touch belong
    together.
    """
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * voxel
    return int((sizes >= LEAST).sum())


def added(before: Mask, after: Mask, voxel: float) -> int:
    """Return how many lesions of a later mask touch none of an earlier one."""
    parts, count = ndimage.label(after, np.ones((3, 3, 3)))
    old = ndimage.binary_dilation(before, np.ones((3, 3, 3)), NEAR) if before.any() else before
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * voxel
    met = np.unique(parts[old])
    fresh = [n for n in range(1, count + 1) if sizes[n - 1] >= LEAST and n not in met]
    return len(fresh)
