"""Glioma: a digital patient whose tumour grows in white and grey matter and is treated; imaged on
any day.

The truth stays hidden from whoever is given images or extents: biology, thresholds of visibility,
where and when it began. `replace(patient, treatment=...)` is the same patient under another
treatment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import InputError
from veridical.phantoms import volume_change
from veridical.phantoms.glioma_biology import FRONTAL, biology, drawn_genes, population
from veridical.phantoms.head_labels import LABELS, TISSUE
from veridical.phantoms.head_painting import INSIDE
from veridical.phantoms.head_shapes import LOW
from veridical.phantoms.label_maps import structure
from veridical.phantoms.longitudinal import FINE, Life
from veridical.phantoms.rendering import PhantomVolume
from veridical.physics import tumour, tumour_extent
from veridical.physics.tissue import TissueClass
from veridical.physics.treatment import Treatment
from veridical.physics.tumour import Biology, Medium, TumourState
from veridical.physics.tumour_extent import Extent

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mismatch = Literal["none", "mass effect", "two clones", "delay"]

BOX = 96.0
"""mm of the cube in which a tumour grows."""
AT_DIAGNOSIS, SPREAD = 8.0, 0.5
"""Median of the enhancing volume at the first visit, ml, and standard deviation of its logarithm
(assumed).
"""
OLDEST, EVERY = 3000.0, 5.0
"""Days in which a tumour reaches that volume at most, and steps in which its age is sought."""
DEEP = 6.0
"""mm from the surface of the brain that a tumour begins at least."""
PUSH = 0.35
"""Share by which tissue full of cells swells, where there is a mass effect."""
CLONE, RESISTANT = 0.05, 0.3
"""Share of the cells of the second clone at the beginning, and its sensitivity over the first's."""
DELAY = 45.0
"""Days in which dead cells fall to 1/e, where there is a delay."""
CONTOUR = (0.06, 0.15, 1.0)
"""Error of a contour: standard deviation of the logarithm of a volume, ml beside it, mm of the
centre (assumed; readers differ by about as much).
"""
GREY = (TissueClass.GREY, TissueClass.DEEP_GREY)


@dataclass(frozen=True, eq=False)
class Glioma(Life):
    """A patient with a glioma.

    Args:
        treatment: what is done, days since the first visit.
        mismatch: what the patient has beyond the usual model: tissue that swells, a resistant
            second clone, or dead cells that stay for weeks.
    """

    treatment: Treatment = field(default_factory=Treatment)
    mismatch: Mismatch = "none"

    @property
    def diagnosis(self) -> str:
        return "glioma"

    @property
    def genes(self) -> Mapping[str, Any]:
        return drawn_genes(self.generator(10))

    @property
    def biology(self) -> Biology:
        """The truth about growth and response."""
        mean, spread = population(dict(self.genes))
        rng = self.generator(11)
        drawn = biology(mean + spread * np.clip(rng.standard_normal(4), -2.5, 2.5))
        if self.mismatch == "two clones":
            return replace(drawn, resistance=(1.0, RESISTANT))
        return replace(drawn, clearance=DELAY) if self.mismatch == "delay" else drawn

    @property
    def levels(self) -> tuple[float, float]:
        """Densities from which on tissue enhances, and is seen on FLAIR."""
        rng = self.generator(12)
        enhancing, visible = tumour_extent.ENHANCING, tumour_extent.VISIBLE
        return float(rng.uniform(*enhancing)), float(rng.uniform(*visible))

    def place(self) -> TumourPlace:
        """Return where the tumour grows."""
        return _place(self.seed, self.index, self.spacing)

    def states(self, days: Sequence[float]) -> list[TumourState]:
        """Return the tumour on some days, in order, from day 0 on.

        Raises:
            InputError: a day lies before the first visit.
        """
        if days and min(days) < 0:
            raise InputError(f"Day {min(days):g} lies before the first visit; expected 0 or more.")
        begun = _diagnosed(self.seed, self.index, self.spacing, self.mismatch)
        return list(tumour.grown(begun, self.biology, self.treatment, list(days)))

    def state(self, day: float) -> TumourState:
        """Return the tumour on a day."""
        return self.states([day])[0]

    @property
    def onset(self) -> float:
        """Days before the first visit at which the tumour began."""
        return _onset(self.seed, self.index, self.spacing, self.mismatch)

    def extents(self, days: Sequence[float], noisy: bool = False) -> list[Extent]:
        """Return what is seen of the tumour on some days.

        Args:
            days: in order.
            noisy: as contours on images give it, with their errors.
        """
        place, (enhancing, visible) = self.place(), self.levels
        found = []
        for state in self.states(days):
            seen = state.seen
            one = tumour_extent.extent(seen, self.spacing, enhancing, visible, place.origin)
            if self.mismatch == "mass effect":
                one = swollen(one, PUSH)
            found.append(self._contoured(one, state.day) if noisy else one)
        return found

    def head(self, day: float) -> tuple[PhantomVolume, Labels]:
        anatomy, state = self.anatomy(), self.state(day)
        labels = anatomy.labels.copy()
        box = tuple(slice(FINE * a, FINE * (a + n)) for a, n in self.place().spans)
        labels[box] = with_tumour(labels[box], state, self.levels)
        head, found = self.painted(replace(anatomy, labels=labels))
        if self.mismatch != "mass effect":
            return head, found
        back = self._flow(state, -1.0)
        return (
            volume_change.deformed(head, back),
            volume_change.deformed_labels(found, back, self.spacing),
        )

    def displacement(self, day: float) -> Floats:
        if self.mismatch != "mass effect":
            return np.zeros((*self.shape, 3), np.float32)
        return self._flow(self.state(day), 1.0)

    def scores(self, day: float) -> Mapping[str, float]:
        """Volumes, ml, and a performance score: 90 less 10 for each 20 ml seen (assumed)."""
        (seen,) = self.extents([day])
        lost = 10 * np.floor(seen.visible / 20)
        return {
            "enhancing_ml": round(seen.enhancing, 3),
            "visible_ml": round(seen.visible, 3),
            "karnofsky": float(max(90 - lost, 20)),
        }

    def _contoured(self, one: Extent, day: float) -> Extent:
        rng = self.generator(13, round(day * 24))
        relative, least, shift = CONTOUR
        volumes = [
            max(0.0, volume * float(np.exp(rng.normal(0, relative))) + float(rng.normal(0, least)))
            for volume in (one.enhancing, one.visible)
        ]
        moved = np.array(one.centre) + rng.normal(0, shift, 3)
        middle = (float(moved[0]), float(moved[1]), float(moved[2]))
        return Extent(volumes[0], max(volumes), middle)

    def _flow(self, state: TumourState, time: float) -> Floats:
        """Return the displacement by the mass: tissue swells where cells are, fluid gives way."""
        grid = self.anatomy().labels
        x, y, z = self.shape
        blocks = grid[: x * FINE, : y * FINE, : z * FINE].reshape(x, FINE, y, FINE, z, FINE)
        inside = INSIDE[blocks].mean((1, 3, 5)) > 0.5
        fluid = (TISSUE[blocks] == int(TissueClass.CSF)).mean((1, 3, 5)) * inside
        rate = np.zeros((x, y, z), np.float32)
        rate[tuple(slice(a, a + n) for a, n in self.place().spans)] = np.log1p(PUSH) * state.seen
        rate -= (fluid * (rate.sum() / max(float(fluid.sum()), 1.0))).astype(np.float32)
        velocity = volume_change.velocity_of(rate, inside, self.spacing)
        return volume_change.flow_of(velocity, time, self.spacing)


@dataclass(frozen=True, eq=False)
class TumourPlace:
    """Where a tumour grows.

    Args:
        medium: white and grey matter in a cube.
        seed: `(3,)` mm from the middle of the brain, where it began.
        origin: `(3,)` mm of the first voxel of the cube.
        spans: first voxel of the cube in the image, and its size, along each axis.
    """

    medium: Medium
    seed: Floats
    origin: Floats
    spans: tuple[tuple[int, int], ...]


def swollen(one: Extent, push: float) -> Extent:
    """Return an extent once tissue full of cells has swollen by a share."""
    return replace(one, enhancing=one.enhancing * (1 + push), visible=one.visible * (1 + push))


def with_tumour(labels: Labels, state: TumourState, levels: tuple[float, float]) -> Labels:
    """Return labels with the tumour, twice as fine as the state: oedema, enhancing tumour,
    necrosis, and fluid in the cavity.
    """
    seen = ndimage.zoom(state.seen, FINE, order=1, mode="nearest", grid_mode=True)
    cavity = np.kron(state.cavity, np.ones((FINE, FINE, FINE), bool))
    tissue = TISSUE[labels]
    matter = INSIDE[labels] & (tissue != int(TissueClass.CSF))
    out = labels.copy()
    named = ("oedema", levels[1]), ("enhancing tumour", levels[0]), ("necrosis", 0.8)
    for name, level in named:
        out[matter & (seen >= level)] = LABELS.index(name)
    out[cavity & matter] = structure("fluid around the brain")
    return out


@lru_cache(maxsize=16)
def _place(seed: int, index: int, spacing: float) -> TumourPlace:
    patient = Glioma(seed, index, spacing)
    head, rng = patient.newborn(), patient.generator(14)
    coarse, corner = 4.0, LOW + 2.0
    shape = tuple(int(n) for n in np.floor(-2 * corner / coarse))
    labels = head.structures(corner.astype(np.float32), coarse, shape)  # type: ignore[arg-type]
    depth = ndimage.distance_transform_edt(
        ndimage.binary_fill_holes(INSIDE[labels]), sampling=coarse
    )
    white = (labels == structure("white matter")) & (depth > DEEP)
    places = corner + coarse * np.argwhere(white)
    ahead = places[places[:, 1] > FRONTAL]
    mutant = patient.genes["IDH"] == "mutant" and len(ahead)
    chosen = ahead if mutant else places
    middle = chosen[rng.integers(len(chosen))] + rng.uniform(-2, 2, 3)
    size, step = round(BOX / spacing), spacing / FINE
    spans = []
    for axis in range(3):
        first = round((middle[axis] - LOW[axis]) / spacing - size / 2)
        spans.append((int(np.clip(first, 0, patient.shape[axis] - size)), size))
    corner = LOW + spacing * np.array([first for first, _ in spans])
    fine = head.structures(
        (corner + step / 2).astype(np.float32), step, (FINE * size, FINE * size, FINE * size)
    )
    return TumourPlace(
        medium_of(fine, spacing),
        np.asarray(middle, np.float32),
        np.asarray(corner + spacing / 2, np.float32),
        tuple(spans),
    )


def medium_of(labels: Labels, spacing: float, fine: int = FINE) -> Medium:
    """Return the medium of a label map that is `fine` times finer than its voxels."""
    n, m, k = (size // fine for size in labels.shape)
    tissue = TISSUE[labels[: n * fine, : m * fine, : k * fine]]
    blocks = tissue.reshape(n, fine, m, fine, k, fine)
    white, grey = (
        np.isin(blocks, [int(t) for t in kinds]).mean((1, 3, 5)).astype(np.float32)
        for kinds in ((TissueClass.WHITE,), GREY)
    )
    return tumour.medium(white, grey, spacing)


@lru_cache(maxsize=16)
def _diagnosed(seed: int, index: int, spacing: float, mismatch: Mismatch) -> TumourState:
    """Return the tumour at the first visit: when it has reached the volume at which it is found."""
    return _history(seed, index, spacing, mismatch)[0]


def _onset(seed: int, index: int, spacing: float, mismatch: Mismatch) -> float:
    return _history(seed, index, spacing, mismatch)[1]


@lru_cache(maxsize=16)
def _history(
    seed: int, index: int, spacing: float, mismatch: Mismatch
) -> tuple[TumourState, float]:
    patient = Glioma(seed, index, spacing, mismatch=mismatch)
    place, truth = patient.place(), patient.biology
    wanted = AT_DIAGNOSIS * float(np.exp(SPREAD * patient.generator(15).standard_normal()))
    shares = (1 - CLONE, CLONE) if mismatch == "two clones" else (1.0,)
    begun = tumour.start(
        place.medium, (place.seed - place.origin) / patient.spacing, -OLDEST, shares
    )
    days = list(np.arange(-OLDEST, 0, EVERY) + EVERY)
    enhancing, visible = patient.levels
    for state in tumour.grown(begun, truth, Treatment(), days):
        one = tumour_extent.extent(state.seen, patient.spacing, enhancing, visible, place.origin)
        if one.enhancing >= wanted or state.day == 0:
            return replace(state, day=0.0), state.day + OLDEST
    raise InputError(f"Patient {index} has no tumour.")  # the last day is 0
