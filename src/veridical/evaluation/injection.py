"""How well detectors find lesions that an image has too many or too few of, and how well
reconstructions show those that a patient has.

Three questions about a reconstruction `x` of data `y`, and lesions `d`:

- added: the image is `x + d`, the patient has no lesion. Does a detector mark what was made up?
- removed: the patient has them, the image does not: data `y + A d`, image `x`.
- shown: the patient has them and the data are reconstructed: does the image show them?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from veridical.audit.evidence import evidence
from veridical.audit.structures import contrast, peaks
from veridical.evaluation.scenes import Scene
from veridical.evaluation.statistics import bca, bootstrap
from veridical.metrics.lesion_f1 import Detections, froc
from veridical.types import Array

RATE = 1.0
"""False marks a slice at which sensitivities are read."""
WANTED = 0.8
"""Sensitivity whose contrast is reported."""
RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image and all that a detector may look at.

    Args:
        scene: the data, and the truth where it is known.
        image: `(*domain)`, what is judged, in network units.
        draws: `(draw, *domain)` of a posterior of the data, or None.
    """

    scene: Scene
    image: Tensor
    draws: Tensor | None = None


Detector = Callable[[ShownImage, float], Array | None]
"""Of an image and a size in pixels: the map of suspicion `(y, x)`; None where it does not apply."""


def residual(shown: ShownImage, size: float) -> Array:
    """Structures of a size in the back-projected residual: what the data say that the image lacks
    or has too much of.
    """
    problem = shown.scene.problem
    back = problem.adjoint(problem.data - problem.operator.forward(shown.image))
    angle = shown.image[0].conj() / shown.image[0].abs().clamp_min(1e-9)
    return np.abs(contrast((back[0] * angle).real.numpy(), size, (1, 1)))


def by_reference(shown: ShownImage, size: float) -> Array | None:
    """Structures of a size in the difference to the truth."""
    if shown.scene.truth is None:
        return None
    return np.abs(contrast(_magnitude(shown.image) - _magnitude(shown.scene.truth), size, (1, 1)))


def matched_filter(shown: ShownImage, size: float) -> Array:
    """Structures of a size in the image alone: what a reader without data or truth has."""
    return np.abs(contrast(_magnitude(shown.image), size, (1, 1)))


def low_evidence(shown: ShownImage, size: float) -> Array | None:
    """Structures of a size in the image where posterior samples vary as much as the image does."""
    if shown.draws is None:
        return None
    every = np.stack([_magnitude(draw) for draw in shown.draws])
    prior = float(np.var(every.mean(0)[shown.scene.tissue])) + 1e-12
    known = evidence(every[:, None], prior)[0]
    return np.asarray(matched_filter(shown, size) * (1 - known))


def improbable(shown: ShownImage, size: float) -> Array | None:
    """Structures of a size that posterior samples do not have, in their standard deviations."""
    if shown.draws is None:
        return None
    every = contrast(np.stack([_magnitude(draw) for draw in shown.draws]), size, (1, 1))
    here = contrast(_magnitude(shown.image), size, (1, 1))
    spread = np.sqrt(every.var(0, ddof=1).mean() + every.var(0, ddof=1))
    return np.asarray(np.abs(here - every.mean(0)) / (spread + 1e-12))


DETECTORS: Mapping[str, Detector] = {
    "residual": residual,
    "reference": by_reference,
    "matched filter": matched_filter,
    "evidence": low_evidence,
    "structure probability": improbable,
}
OF_DATA = ("residual", "reference")
"""Detectors of lesions that an image lacks: the others see the image alone, or samples of other
data.
"""


@dataclass(eq=False)
class InjectionCell:
    """Scores of one detector for lesions of one kind, size, contrast and space, gathered slice by
    slice.
    """

    patients: list[str] = field(default_factory=list)
    there: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    marks: list[Detections] = field(default_factory=list)
    clean: list[Array] = field(default_factory=list)

    def note(
        self,
        scene: Scene,
        where: Sequence[tuple[int, int]],
        size: float,
        with_lesion: Array,
        without: Array,
    ) -> None:
        """Add the maps of one slice, with the lesions and without."""
        for row, column in where:
            self.patients.append(scene.patient)
            self.there.append(float(with_lesion[row, column]))
            self.absent.append(float(without[row, column]))
        self.marks.append(marked(with_lesion, scene.tissue, where, size))
        self.clean.append(marked(without, scene.tissue, (), size).imagined)


def marked(
    score: Array, tissue: Array, where: Sequence[tuple[int, int]], size: float
) -> Detections:
    """Return the marks of a map: maxima in the tissue, no two within the size of one another.

    A mark within half the size of a lesion, or one pixel, hits it.
    """
    inside = np.where(tissue, score, 0)
    found = peaks(inside, (size, size), 1e-9)
    reach = max(1.5, size / 2)
    hits = np.full(len(where), -np.inf)
    false = []
    for row, column in found:
        near = [np.hypot(row - r, column - c) <= reach for r, c in where]
        if any(near):
            number = near.index(True)
            hits[number] = max(hits[number], inside[row, column])
        else:
            false.append(float(inside[row, column]))
    return Detections(hits, np.array(false))


@dataclass(frozen=True)
class Injected:
    """What one cell says.

    Args:
        auc: of the score at the place of a lesion, with it against without.
        interval: 95 %, bootstrap over patients; None where every sample gives the same, or there is
            one patient.
        sensitivity: at one false mark a slice in images without lesions.
        false_marks: a slice, at a sensitivity of 80 %; None where it is not reached.
        froc: mean sensitivity from 1/8 to 8 false marks a slice.
        lesions, patients: counted.
    """

    auc: float
    interval: tuple[float, float] | None
    sensitivity: float
    false_marks: float | None
    froc: float
    lesions: int
    patients: int


def summarised(cell: InjectionCell, seed: int = 0) -> Injected:
    """Return the numbers of a cell."""
    there, absent = np.array(cell.there), np.array(cell.absent)
    resamples = bootstrap(
        np.arange(len(there)),
        cell.patients,
        statistic=lambda at: _aucs(there[at], absent[at]),
        resamples=RESAMPLES,
        seed=seed,
    )
    band = bca(resamples)
    if band is not None:
        band = max(0.0, band[0]), min(1.0, band[1])
    curve = froc(cell.marks)
    scores = np.sort(np.concatenate(cell.clean))[::-1]
    allowed = round(RATE * len(cell.clean))
    threshold = float(scores[allowed]) if len(scores) > allowed else 0.0
    found = np.concatenate([one.found for one in cell.marks])
    reached = np.flatnonzero(np.array(curve.sensitivity) >= WANTED)
    return Injected(
        resamples.observed,
        band,
        float(np.mean(found > threshold)),
        float(curve.false_positives[reached[0]]) if len(reached) else None,
        curve.mean,
        len(there),
        len(set(cell.patients)),
    )


def contrast_at(sensitivities: Mapping[float, float], wanted: float = WANTED) -> float | None:
    """Return the least contrast at which a sensitivity is reached, linear in between; None where it
    is not.

    Args:
        sensitivities: contrast -> sensitivity.
        wanted: in (0, 1).
    """
    levels = sorted(sensitivities)
    for low, high in zip([None, *levels], levels, strict=False):
        if sensitivities[high] < wanted:
            continue
        if low is None:
            return high
        below, above = sensitivities[low], sensitivities[high]
        return low + (wanted - below) / (above - below) * (high - low)
    return None


def _aucs(there: Array, absent: Array) -> Array:
    """Return the AUC of each row of scores `(..., n)`, ties counting half."""
    rows = zip(
        there.reshape(-1, there.shape[-1]), absent.reshape(-1, absent.shape[-1]), strict=True
    )
    found = []
    for with_lesion, without in rows:
        ordered = np.sort(without)
        below = np.searchsorted(ordered, with_lesion, "left")
        upto = np.searchsorted(ordered, with_lesion, "right")
        found.append(float((below + upto).mean()) / (2 * len(ordered)))
    return np.array(found).reshape(there.shape[:-1])


def _magnitude(image: Tensor) -> Array:
    """Return the magnitude over the sets of coil maps, `(y, x)`."""
    return np.asarray(image.abs().square().sum(0).sqrt().numpy())
