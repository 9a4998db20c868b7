"""Ageing: heads that lose brain over years at published regional rates, healthy, with mild
cognitive impairment or with Alzheimer-type atrophy.

The rates are those of volume change; the deformation that has them inside a rigid skull is the
truth. Fluid fills what the brain loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import SettingError, nearest
from veridical.phantoms import volume_change
from veridical.phantoms.label_maps import BRAIN, structure
from veridical.phantoms.longitudinal import FINE, YEAR, Life
from veridical.phantoms.rendering import PhantomVolume

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Diagnosis = Literal["healthy", "mild cognitive impairment", "Alzheimer"]

HIPPOCAMPUS = "hippocampus and amygdala"
VENTRICLE = "lateral ventricle"
DEEP = ("thalamus", "putamen", "pallidum")
RATES: Mapping[str, Mapping[str, float]] = {
    "healthy": {HIPPOCAMPUS: 1.41, "cortex": 0.5, "white matter": 0.3, "deep": 0.5, "rest": 0.2},
    "mild cognitive impairment": {
        HIPPOCAMPUS: 2.6, "cortex": 1.0, "white matter": 0.6, "deep": 0.7, "rest": 0.3,
    },
    "Alzheimer": {HIPPOCAMPUS: 4.66, "cortex": 2.0, "white matter": 1.2, "deep": 1.2, "rest": 0.4},
}  # fmt: skip
"""Loss of volume, per cent a year. Hippocampus: 4.66 in Alzheimer's disease, 1.41 in controls
(Barnes et al., Neurobiol Aging 2009, 10.1016/j.neurobiolaging.2008.01.010). Cortex of the healthy:
about 0.5 (Fjell et al., J Neurosci 2009, 10.1523/JNEUROSCI.3252-09.2009), who found none in the
caudate. All others are assumed: between the two, or a share of the cortex's.
"""
FASTER: Mapping[str, tuple[float, float]] = {
    "healthy": (0.0, 0.0),
    "mild cognitive impairment": (0.22, 0.27),
    "Alzheimer": (0.0, 0.88),
}
"""Acceleration of the loss of the hippocampus, per cent/y2, and of the growth of the ventricles,
ml/y2 (Leung et al., Neurology 2013, 10.1212/WNL.0b013e318281ccd3).
"""
INTO_VENTRICLES = 0.3
"""Share of the loss that the lateral ventricles take up; sulci take the rest (assumed)."""
BETWEEN = 0.25
"""Standard deviation of the logarithm of a patient's pace (assumed)."""
CARRIERS, PACE = 0.25, 1.15
"""Share of carriers of APOE e4, and the factor of their pace (assumed); `null` genes do nothing."""
SCORE = {"healthy": 29.0, "mild cognitive impairment": 27.0, "Alzheimer": 22.0}
STEPS, USUAL = 5, 0.6
"""In which the rates are made to come about, and the share of them that usually does at first."""
LOST = 0.6
"""Mini-mental state at first, and points that a per cent of the hippocampus takes (assumed: about 3
a year in Alzheimer's disease).
"""


@dataclass(frozen=True, eq=False)
class Ageing(Life):
    """A patient who grows older.

    Args:
        group: what the patient has.
    """

    group: Diagnosis = "healthy"

    def __post_init__(self) -> None:
        if self.group not in RATES:
            raise SettingError(f"group = {self.group!r}. {nearest(self.group, RATES)}")

    @property
    def diagnosis(self) -> str:
        return self.group

    @property
    def genes(self) -> Mapping[str, Any]:
        rng = self.generator(10)
        states = ("carrier", "no carrier")
        return {
            "APOE e4": states[int(rng.random() >= CARRIERS)],
            "null-1": ("altered", "usual")[int(rng.random() >= 0.5)],
            "null-2": ("altered", "usual")[int(rng.random() >= 0.2)],
        }

    @property
    def pace(self) -> float:
        """How fast the patient is relative to the rates of the group."""
        drawn = float(np.exp(BETWEEN * self.generator(11).standard_normal()))
        return drawn * (PACE if self.genes["APOE e4"] == "carrier" else 1.0)

    def head(self, day: float) -> tuple[PhantomVolume, Labels]:
        head, labels = _base(self.seed, self.index, self.spacing)
        if day == 0:
            return head, labels
        back = self._displaced(day, -1.0)
        return (
            volume_change.deformed(head, back),
            volume_change.deformed_labels(labels, back, self.spacing),
        )

    def displacement(self, day: float) -> Floats:
        return self._displaced(day, 1.0)

    def volumes(self, day: float) -> dict[str, float]:
        """Return the true volume of each structure inside of the skull, ml."""
        shares = _shares(self.seed, self.index, self.spacing)
        grown = volume_change.jacobian(self._displaced(day, 1.0), self.spacing)
        voxel = self.spacing**3 / 1000
        return {name: float((share * grown).sum()) * voxel for name, share in shares.items()}

    def scores(self, day: float) -> Mapping[str, float]:
        """Volumes, ml, and the mini-mental state."""
        first, now = (self.volumes(one)[HIPPOCAMPUS] for one in (0.0, day))
        mental = SCORE[self.group] - LOST * 100 * (1 - now / first)
        volumes = self.volumes(day)
        return {
            "hippocampus_ml": round(now, 4),
            "ventricles_ml": round(volumes[VENTRICLE], 3),
            "mmse": round(max(mental, 0.0), 1),
        }

    def _displaced(self, day: float, way: float) -> Floats:
        """Return the displacement of the flow of both velocities, forward or back."""
        years = day / YEAR
        if years == 0:
            return np.zeros((*self.shape, 3), np.float32)
        steady, faster = _velocities(self.seed, self.index, self.spacing, self.group)
        pace = np.float32(self.pace)
        whole = pace * (np.float32(years) * steady + np.float32(years**2 / 2) * faster)
        return volume_change.flow_of(whole, way, self.spacing)


def lost(name: str, group: Diagnosis) -> float:
    """Return what a structure loses in a group, per cent a year."""
    rates = RATES[group]
    if name in rates:
        return rates[name]
    if name == "caudate":
        return 0.0
    return rates["deep"] if name in DEEP else rates["rest"]


@lru_cache(maxsize=2)
def _base(seed: int, index: int, spacing: float) -> tuple[PhantomVolume, Labels]:
    patient = Ageing(seed, index, spacing)
    return patient.painted(patient.anatomy())


@lru_cache(maxsize=2)
def _shares(seed: int, index: int, spacing: float) -> dict[str, Floats]:
    """Return the share of each voxel that each structure inside of the skull has."""
    labels = Ageing(seed, index, spacing).anatomy().labels
    x, y, z = (size // FINE for size in labels.shape)
    blocks = labels.reshape(x, FINE, y, FINE, z, FINE)
    return {
        name: (blocks == structure(name)).mean((1, 3, 5)).astype(np.float32)
        for name in sorted(BRAIN)
    }


@lru_cache(maxsize=2)
def _velocities(seed: int, index: int, spacing: float, group: Diagnosis) -> tuple[Floats, Floats]:
    """Return the velocity in mm a year and its growth in mm/y2, `(x, y, z, 3)`."""
    shares = _shares(seed, index, spacing)
    fluid = ("fluid around the brain", VENTRICLE, "third and fourth ventricle")
    steady = {name: -lost(name, group) / 100 for name in shares if name not in fluid}
    hippocampus, ventricles = FASTER[group]
    loss = -sum(rate * float(shares[name].sum()) for name, rate in steady.items())
    room = max(float(shares[VENTRICLE].sum()), 1.0)
    steady[VENTRICLE] = INTO_VENTRICLES * loss / room
    faster = {HIPPOCAMPUS: -hippocampus / 100, VENTRICLE: ventricles * 1000 / spacing**3 / room}
    inside = ndimage.binary_closing(np.sum(list(shares.values()), 0) > 0.5, iterations=2)
    return tuple(  # type: ignore[return-value]
        _fitted(rates, shares, inside, spacing) for rates in (steady, faster)
    )


def _fitted(
    wanted: Mapping[str, float], shares: Mapping[str, Floats], inside: Mask, spacing: float
) -> Floats:
    """Return the velocity that gives structures their rates. Thin ones beside fluid get less than
    they ask for, since the deformation is smooth, and so ask for more.
    """
    asked = dict(wanted)
    velocity = np.zeros((*inside.shape, 3), np.float32)
    for _ in range(STEPS if any(wanted.values()) else 0):
        velocity = volume_change.velocity_of(_balanced(asked, shares), inside, spacing)
        slope = sum(np.gradient(velocity[..., d], spacing, axis=d) for d in range(3))
        for name, rate in wanted.items():
            share = shares[name]
            real = float((share * slope).sum() / max(float(share.sum()), 1.0))
            asked[name] += (rate - real) / USUAL
    return velocity


def _balanced(rates: Mapping[str, float], shares: Mapping[str, Floats]) -> Floats:
    """Return the rate of each voxel; the fluid around the brain takes what is left."""
    rate = sum(shares[name] * np.float32(value) for name, value in rates.items())
    outside = shares["fluid around the brain"]
    total = np.asarray(rate, np.float32)
    return np.asarray(total - outside * (total.sum() / max(float(outside.sum()), 1.0)), np.float32)
