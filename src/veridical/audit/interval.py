"""Interval: a band per voxel, calibrated on patients so that it holds the truth as often as it
says.

Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, ICLR 2024, arXiv 2208.02814)
with the share of a patient's foreground voxels outside the band as the loss. The patient is the
unit, since voxels of one patient are not exchangeable with those of another; the background does
not count, since air is easy and would pay for errors in tissue.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtri

from veridical.errors import CalibrationError, InputError, SettingError, nearest
from veridical.types import Array, Interval

ROUNDING = 1e-9
SKEWS = tuple(float(f"{2.0**power:.3g}") for power in np.arange(-3, 3.01, 0.25))
"""How far up for each unit down lopsided bands may reach."""
HELD = 0.5
"""Share of a region, such as bone or lesions, below which a band misses it more often than it holds
it, and is not written.
"""


@dataclass(frozen=True, eq=False)
class CalibrationCase:
    """One calibration patient.

    Args:
        error: `|estimate - truth|` per voxel, any shape; of a band around quantiles how far outside
            of them the truth lies, negative inside (`outside`).
        spread: standard deviation of the draws per voxel, of that shape.
        foreground: bool, of that shape: the voxels that count.
        patient: an identifier; each patient may come once.
        regions: name -> bool, of that shape: where coverage is looked at besides, such as lesions
            and bone.
        above: bool, of that shape: where the truth lies above the estimate; None where that is not
            known, and the band reaches as far up as down.
    """

    error: Array
    spread: Array
    foreground: Array
    patient: str
    regions: Mapping[str, Array] = field(default_factory=dict)
    above: Array | None = None

    def skewed(self, skew: float) -> CalibrationCase:
        """Return the case with errors above the estimate divided by `skew`: how far up a band
        reaches for each unit that it reaches down.
        """
        if skew == 1 or self.above is None:
            return self
        return dataclasses.replace(
            self, error=np.where(self.above, self.error / skew, self.error), above=None
        )


@dataclass(frozen=True)
class Calibration:
    """How wide a band must be, and what that rests on.

    Args:
        level: share of foreground voxels that are to lie inside, on average over patients.
        patients: number of calibration patients.
        multiplier: half-width of the band in spreads; of a lopsided band how far it reaches down.
        floor: the least spread, in the units that the calibration errors had.
        calibrated_on: what the patients were, in words.
        reached: smallest, median and largest share inside among the calibration patients.
        regions: name -> share inside there, the mean over the calibration patients who have such a
            region.
        share: of voxels that a single new patient has inside, with probability `level`; None where
            `level` is the share itself, on average over patients.
        skew: how far up a band reaches for each unit that it reaches down.
    """

    level: float
    patients: int
    multiplier: float
    floor: float
    calibrated_on: str
    reached: tuple[float, float, float]
    regions: Mapping[str, float] = field(default_factory=dict)
    share: float | None = None
    skew: float = 1.0

    @property
    def unheld(self) -> str:
        """The region that the band holds least, in words, where that is less than `HELD`; else
        empty.
        """
        least = min(self.regions, key=lambda name: self.regions[name], default="")
        if not least or self.regions[least] >= HELD:
            return ""
        return (
            f"among the calibration patients a band of {self.level:.0%} held "
            f"{self.regions[least]:.0%} of the voxels of {least}"
        )

    @property
    def promises(self) -> str:
        """What the band promises, and what it does not."""
        others = f"the {self.patients} calibration patients ({self.calibrated_on})"
        if self.share is None:
            first = (
                f"On average over patients exchangeable with {others}, at least {self.level:.0%} "
                "of foreground voxels lie inside the band. It does not promise this for each "
                "single patient, region or lesion"
            )
        else:
            first = (
                f"A patient exchangeable with {others} has, with a probability of at least "
                f"{self.level:.0%}, {self.share:.0%} of foreground voxels inside the band. It does "
                "not promise this for a region or lesion"
            )
        return (
            f"{first}, for the background, nor for other scanners, protocols or populations; among "
            "the "
            f"calibration patients the share inside went from {self.reached[0]:.0%} to "
            f"{self.reached[2]:.0%}"
            + "".join(f", and was {share:.0%} in {name}" for name, share in self.regions.items())
            + "."
        )

    @property
    def spread_factor(self) -> float:
        """How much wider than the draws a normal distribution is whose band this is. A lopsided
        band is wide on one side for the sake of a region; all of its misses are on the other.
        """
        if self.skew == 1:
            return float(self.multiplier / ndtri(0.5 + self.level / 2))
        return float(self.multiplier * min(1.0, self.skew) / ndtri(self.level))

    @property
    def reach(self) -> str:
        """How far the band reaches, in words."""
        if self.skew == 1:
            return f"{self.multiplier:.3g} spreads"
        return f"{self.multiplier:.3g} spreads down, {self.skew * self.multiplier:.3g} up"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, for `from_dict`."""
        return dataclasses.asdict(self) | {"reached": list(self.reached)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            SettingError: a key is unknown or missing.
        """
        known = [entry.name for entry in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise SettingError(f"A calibration has no entry {key!r}. {nearest(key, known)}")
        missing = [
            name
            for name in known
            if name not in values and name not in ("regions", "share", "skew")
        ]
        if missing:
            raise SettingError(
                f"The calibration lacks {', '.join(missing)}; write it anew with "
                "Calibration.to_dict."
            )
        smallest, median, largest = values["reached"]
        return cls(**{**values, "reached": (smallest, median, largest)})


def calibrate(
    cases: Iterable[CalibrationCase],
    level: float,
    floor: float,
    calibrated_on: str,
    share: float | None = None,
    hold: float = 0.0,
) -> Calibration:
    """Find the smallest band that keeps the promise of `level` on new patients.

    The multiplier is the smallest one with `n / (n + 1) . mean miss + 1 / (n + 1) <= 1 - level`,
    the mean taken over the patients' shares of foreground voxels with `error > multiplier .
    max(spread, floor)`.

    With `share` it is the k-th smallest of the multipliers that hold this share of each patient's
    foreground, `k = ceil((n + 1) level)`.

    Args:
        cases: one a patient, none of them used in training.
        level: between 0 and 1, e.g. 0.9.
        floor: least spread, > 0, in the units of the errors; without it a voxel on which all draws
            agree could never be covered. A tenth of the noise is a good choice.
        calibrated_on: what the patients are, in words, for the promise.
        share: None: `level` is the share of voxels on average over patients. Else a single patient
            has this share of voxels inside, with probability `level`.
        hold: the band holds this share of every region too, the mean over the patients who have
            it. What a region needs mostly lies on one side, as lesions are brighter than the tissue
            around them: of the bands that hold both, the narrowest `SKEWS` one is taken. Its skew
            is chosen on the same patients, so that the promise is exact for a given skew only.

    Raises:
        CalibrationError: fewer patients than the level needs (90 %: 9; 95 %: 19), one patient
            twice, or no foreground.
        SettingError: level, floor or share out of range.
    """
    if not 0 < level < 1 or not floor > 0 or not (share is None or 0 < share <= 1):
        raise SettingError(
            f"Level {level}, floor {floor} and share {share} were asked for; expected a level "
            "inside (0, 1), a floor above 0 and, if any, a share inside (0, 1]."
        )
    listed = list(cases)
    needed = patients_needed(level)
    if len(listed) < needed:
        raise CalibrationError(
            f"{len(listed)} calibration patients were given; a band of {level:.0%} needs at least "
            f"{needed}, since a miss rate "
            "below 1 / (n + 1) cannot be promised. Add patients or ask for a lower level."
        )
    names = [case.patient for case in listed]
    if len(set(names)) < len(names):
        raise CalibrationError(
            "One patient comes twice among the calibration cases; stack the slices of a patient "
            "into one."
        )
    skew = _narrowest(listed, level, floor, share, hold)
    skewed = [case.skewed(skew) for case in listed]
    multiplier = _multiplier(skewed, level, floor, share, hold)
    inside = [float((_ratios(case, floor) <= multiplier).mean()) for case in skewed]
    return Calibration(
        level,
        len(listed),
        multiplier,
        floor,
        calibrated_on,
        (min(inside), float(np.median(inside)), max(inside)),
        _held(skewed, multiplier, floor),
        share,
        skew,
    )


def _multiplier(
    cases: Sequence[CalibrationCase], level: float, floor: float, share: float | None, hold: float
) -> float:
    """Return the smallest multiplier that keeps the promise; arguments as of `calibrate`."""
    ratios = [np.sort(_ratios(case, floor)) for case in cases]
    if share is None:
        found = _smallest(ratios, (len(ratios) + 1) * (1 - level) - 1)
    else:
        each = sorted(float(r[int(np.ceil(share * len(r) - ROUNDING)) - 1]) for r in ratios)
        found = each[int(np.ceil((len(each) + 1) * level - ROUNDING)) - 1]
    return max(found, _holding(cases, floor, hold))


def _narrowest(
    cases: Sequence[CalibrationCase], level: float, floor: float, share: float | None, hold: float
) -> float:
    """Return the skew of the narrowest band, 1 where regions do not ask for more than the rest."""
    known = all(case.above is not None for case in cases)
    if not known or _holding(cases, floor, hold) <= _multiplier(cases, level, floor, share, 0.0):
        return 1.0
    widths = {
        skew: (1 + skew)
        * _multiplier([case.skewed(skew) for case in cases], level, floor, share, hold)
        for skew in SKEWS
    }
    return min(widths, key=lambda skew: widths[skew])


def calibrate_regions(
    cases: Iterable[CalibrationCase], level: float, floor: float, calibrated_on: str
) -> dict[str, Calibration]:
    """Calibrate a band for each region of its own, as if it were the foreground.

    Args:
        cases, level, floor, calibrated_on: as of `calibrate`; a region is calibrated on the
            patients who have it.

    Returns:
        Region -> calibration, of those regions that enough patients have (`patients_needed`).
    """
    listed = list(cases)
    names = dict.fromkeys(name for case in listed for name in case.regions)
    having = {
        name: [
            dataclasses.replace(case, foreground=case.regions[name], regions={})
            for case in listed
            if name in case.regions and case.regions[name].any()
        ]
        for name in names
    }
    return {
        name: calibrate(each, level, floor, f"{calibrated_on}, {name}")
        for name, each in having.items()
        if len(each) >= patients_needed(level)
    }


def _holding(cases: Sequence[CalibrationCase], floor: float, hold: float) -> float:
    """Return the smallest multiplier that holds a share of every region."""
    wanted = 0.0
    for name in dict.fromkeys(name for case in cases for name in case.regions) if hold else ():
        having = [
            dataclasses.replace(case, foreground=case.regions[name], regions={})
            for case in cases
            if name in case.regions and case.regions[name].any()
        ]
        if having:
            ratios = [np.sort(_ratios(case, floor)) for case in having]
            wanted = max(wanted, _smallest(ratios, len(ratios) * (1 - hold)))
    return wanted


def _held(cases: Iterable[CalibrationCase], multiplier: float, floor: float) -> dict[str, float]:
    """Return the share inside of each region, the mean over the patients who have it."""
    shares: dict[str, list[float]] = {}
    for case in cases:
        for name, where in case.regions.items():
            if where.any():
                inside = case.error[where] <= multiplier * np.maximum(case.spread[where], floor)
                shares.setdefault(name, []).append(float(np.mean(inside)))
    return {name: round(float(np.mean(each)), 4) for name, each in shares.items()}


def patients_needed(level: float) -> int:
    """Return the fewest calibration patients from which a band of this level can be promised: 9 for
    90 %, 19 for 95 %.

    Raises:
        SettingError: the level is not inside (0, 1).
    """
    if not 0 < level < 1:
        raise SettingError(
            f"A level of {level} was asked for; expected a level inside (0, 1), such as 0.9."
        )
    return int(np.ceil(1 / (1 - level) - 1 - ROUNDING))


def interval(
    estimate: Array, spread: Array, calibration: Calibration, scale: float = 1.0
) -> Interval:
    """Return the band from `estimate - multiplier . max(spread, floor)` to `estimate + skew . ...`
    with its promise.

    Args: estimate: `(channel, x, y, z)`, real. spread: standard deviation of the draws, of that
        shape, in the units of the estimate. calibration: from `calibrate`. scale: what 1 unit of
        the calibration is in units of the estimate, where the two are scaled differently.

    Raises:
        InputError: complex values (take magnitudes first), or shapes that differ.
    """
    return interval_around(estimate, estimate, spread, calibration, scale)


def interval_around(
    lower: Array, upper: Array, spread: Array, calibration: Calibration, scale: float = 1.0
) -> Interval:
    """Return the band from `lower - multiplier . max(spread, floor)` to `upper + skew . ...`:
    lopsided where quantiles of the draws are, or the calibration is.

    Args: lower, upper: `(channel, x, y, z)`, real: quantiles of the draws, for instance. spread,
        calibration, scale: as of `interval`; the calibration's errors are `outside` of the same
        quantiles, so that its multiplier may be negative: the quantiles were too far apart.

    Raises:
        InputError: complex values, or shapes that differ.
    """
    if any(np.iscomplexobj(one) for one in (lower, upper, spread)):
        raise InputError(
            "A band around complex values has no upper end; take magnitude images for estimate and "
            "spread."
        )
    if not lower.shape == upper.shape == spread.shape:
        raise InputError(
            f"The estimate is {lower.shape} to {upper.shape}, the spread is {spread.shape}; all "
            "must have the same shape."
        )
    half = calibration.multiplier * np.maximum(spread, scale * calibration.floor)
    low, high = lower - half, upper + calibration.skew * half
    middle = (low + high) / 2
    kind = "conformal risk control" if calibration.share is None else "split-conformal prediction"
    return Interval(
        lower=np.minimum(low, middle),
        upper=np.maximum(high, middle),
        level=calibration.level,
        patients=calibration.patients,
        method=(f"{kind} over patients, {calibration.reach}; {calibration.calibrated_on}"),
        promises=calibration.promises,
    )


def outside(truth: Array, lower: Array, upper: Array) -> Array:
    """Return how far the truth lies outside of a band, negative inside: the error of a
    `CalibrationCase` for `interval_around`.
    """
    return np.asarray(np.maximum(lower - truth, truth - upper))


def _ratios(case: CalibrationCase, floor: float) -> Array:
    if not case.error.shape == case.spread.shape == case.foreground.shape:
        raise InputError(
            f"{case.patient}: error {case.error.shape}, spread {case.spread.shape} and foreground "
            f"{case.foreground.shape} "
            "must have one shape."
        )
    inside = np.asarray(case.foreground, dtype=bool)
    if not inside.any():
        raise CalibrationError(
            f"{case.patient}: no voxel is foreground, so nothing can be calibrated on this patient."
        )
    ratio = np.asarray(case.error, dtype=np.float64)[inside] / np.maximum(
        case.spread[inside], floor
    )
    if not np.isfinite(ratio).all():
        raise CalibrationError(
            f"{case.patient}: error or spread holds NaN or infinity in the foreground."
        )
    return np.asarray(ratio)


def _smallest(ratios: list[Array], allowed: float) -> float:
    """Return the smallest multiplier whose miss rates sum to at most `allowed`, each ratio weighing
    1 / voxels.
    """
    values = np.concatenate(ratios)
    weights = np.concatenate([np.full(len(r), 1 / len(r)) for r in ratios])
    order = np.argsort(values)[::-1]
    missed = np.cumsum(weights[order])
    first = int(np.searchsorted(missed, allowed + ROUNDING, side="right"))
    return float(values[order][first]) if first < len(order) else 0.0
