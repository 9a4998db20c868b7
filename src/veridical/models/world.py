"""A world model of a treated glioma: it encodes scans into a belief about the hidden state, lets
the belief go on under any treatment, and decodes it into what scans would show.

The state `z` of a patient is the density of tumour cells and ten numbers: diffusion, proliferation,
radiosensitivity, effect of the drug, where the tumour began, how large it was at the first scan,
and the densities from which on it is seen. The belief is an ensemble of such states. Encoding a
scan is an ensemble smoother with several assimilations (Emerick and Reynolds, Comput Geosci 2013,
10.1016/j.cageo.2012.03.011): parameters are corrected and the tumour is grown again, so that every
member obeys the physics. The transition `p(z' | z, action, dt)` is the solver, with parameters that
drift. It runs on a coarser grid than that of a hidden patient.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from veridical.errors import InputError
from veridical.phantoms.glioma_biology import NAMES, biology, population
from veridical.physics import tumour
from veridical.physics.treatment import Treatment
from veridical.physics.tumour import Medium, Steps, TumourState
from veridical.physics.tumour_extent import ENHANCING, VISIBLE, Extent, extent

Reals = NDArray[np.float64]

PARAMETERS = (*NAMES, "x", "y", "z", "volume", "enhancing level", "visible level")
"""Of a member, in the order of its vector: logarithms of the first four; mm from where the first
scan has its centre; logarithm of the enhancing volume at the first scan, ml; densities.
"""
GROWTH, BEGAN, SIZE, LEVELS = slice(0, 4), slice(4, 7), 7, slice(8, 10)
SHIFT = 3.0
"""Standard deviation of where a tumour began about the centre of the first scan, mm."""
BOUNDS = ((0.3, 0.75), (0.08, 0.44))
"""Densities that a member may see from; the ensemble is Gaussian and would go beyond."""
OLDEST, EVERY = 3000.0, 15.0
"""Days in which a member reaches the first volume at most, and steps in which that is sought."""
RELATIVE, LEAST, PLACE = 0.06, 0.15, 1.0
"""Error of a contour: standard deviation of the logarithm of a volume, ml beside it, and mm of the
centre.
"""
FAR, LITTLE = 1e3, 1.0
"""mm of error of a centre that is not to be used, and ml of a tumour whose centre is not."""
FAINT, VAGUE = 0.5, 3.0
"""ml below which a contour says only that little or nothing is there, and the error of its radius,
mm.
"""
DISCREPANCY, AT_LEAST = 0.03, 0.3
"""Of the radius, relative and in mm: what the coarse grid may be wrong by."""
NEAR_NOTHING = (8.0, 3.0)
"""Radius in mm below which it may be wrong by more, and by how much at 0: a tumour whose density is
about that which is seen vanishes or comes up within days.
"""
STEPS = Steps(growth=0.25, fractions=7.0)
"""In time, coarser than those of a hidden patient; `DISCREPANCY` covers both."""
SURPRISE = 0.005
"""Probability below which a scan raises the alarm."""
WIDEST = 2.0
"""Largest factor by which one alarm widens the belief."""


@dataclass(frozen=True)
class Observed:
    """What was seen on a day."""

    day: float
    extent: Extent


@dataclass(frozen=True, eq=False)
class Brain:
    """Where the tumour may grow: a medium and the mm of its first voxel, `(3,)`."""

    medium: Medium
    origin: Reals


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed of a patient on a day: equally probable members.

    Args:
        day: since the first scan.
        parameters: `(member, 10)`, see `PARAMETERS`.
        states: of each member.
        treatment: what was done until then.
        brain: of the patient.
        first: the first scan.
        widening: factor of the model error that alarms have led to.
        surprises: day of each scan -> how probable one as far off was, if the model is right.
    """

    day: float
    parameters: Reals
    states: tuple[TumourState, ...]
    treatment: Treatment
    brain: Brain
    first: Observed
    widening: float = 1.0
    surprises: Mapping[float, float] = field(default_factory=dict)

    @property
    def alarm(self) -> bool:
        """Whether some scan was so improbable that model and patient have parted."""
        return any(p < SURPRISE for p in self.surprises.values())

    def posterior(self, name: str) -> Reals:
        """Return a parameter of all members, in its own units: mm2/d, 1/d, 1/Gy, 1/d for the first
        four, ml for the volume.
        """
        place = PARAMETERS.index(name)
        column = self.parameters[:, place]
        return np.asarray(np.exp(column) if name in (*NAMES, "volume") else column)


@dataclass(frozen=True)
class WorldModel:
    """The world model.

    Args:
        members: of the ensemble.
        assimilations: of each scan.
        drift: standard deviation of the logarithms of biology that a year adds.
        seed: everything random comes from it.
    """

    members: int = 64
    assimilations: int = 2
    drift: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members < 16 or self.assimilations < 1 or self.drift < 0:
            raise InputError(
                f"members = {self.members}, assimilations = {self.assimilations}, drift = "
                f"{self.drift:g}; expected 16 members or more, 1 assimilation or more, no negative "
                "drift."
            )

    def encode(
        self, scans: Sequence[Observed], brain: Brain, treatment: Treatment,
        genes: Mapping[str, str] | None = None,
    ) -> Belief:  # fmt: skip
        """Return the belief after some scans.

        Args:
            scans: in order; the first is day 0, before treatment, and shows the tumour.
            brain: of the patient.
            treatment: what was done until the last scan, at least.
            genes: where they are known; they shift the prior.

        Raises:
            InputError: there is no scan, or the first shows nothing.
        """
        if not scans or scans[0].day != 0 or scans[0].extent.enhancing < 0.1:
            raise InputError(
                "The first scan has to be day 0 and show an enhancing tumour of 0.1 ml or more; "
                f"got {scans[0] if scans else 'none'}."
            )
        belief = self.prior(scans[0], brain, genes)
        belief = self.assimilated(belief, scans[0], judged=False)
        for scan in scans[1:]:
            belief = self.observed(belief, treatment, scan)
        return belief

    def prior(
        self, first: Observed, brain: Brain, genes: Mapping[str, str] | None = None
    ) -> Belief:
        """Return what is believed of a patient with such a first scan before it is looked at."""
        rng, n = self._rng(0, 0.0), self.members
        mean, spread = population(genes)
        p = np.empty((n, len(PARAMETERS)))
        p[:, GROWTH] = mean + spread * rng.standard_normal((n, 4))
        p[:, BEGAN] = SHIFT * rng.standard_normal((n, 3))
        p[:, SIZE] = np.log(first.extent.enhancing) + RELATIVE * rng.standard_normal(n)
        for column, (low, high) in zip((8, 9), (ENHANCING, VISIBLE), strict=True):
            p[:, column] = rng.uniform(low, high, n)
        return self._grown(Belief(0.0, p, (), Treatment(), brain, first))

    def observed(self, belief: Belief, treatment: Treatment, scan: Observed) -> Belief:
        """Let a belief go on until a scan, and correct it by what the scan shows."""
        return self.assimilated(self.step(belief, treatment, scan.day - belief.day), scan)

    def step(self, belief: Belief, action: Treatment, days: float) -> Belief:
        """Return the belief after some days under a treatment: the transition.

        Args:
            belief: to start from.
            action: days count from the first scan; what is not after the belief's day is over.
            days: 0 returns the belief.
        """
        if days == 0:
            return belief
        until = belief.day + days
        states = _each(
            lambda p, state: _after(p, state, action, [until])[0],
            belief.parameters,
            belief.states,
        )
        noise = self._rng(1, until).standard_normal((self.members, 4))
        parameters = belief.parameters.copy()
        parameters[:, GROWTH] += self.drift * np.sqrt(days / 365.25) * noise
        return replace(
            belief, day=until, states=tuple(states), parameters=parameters, treatment=action
        )

    def assimilated(self, belief: Belief, scan: Observed, judged: bool = True) -> Belief:
        """Return the belief corrected by a scan on its day.

        Args:
            belief: on the day of the scan.
            scan: what was seen.
            judged: whether the scan may raise the alarm.
        """
        y, error = _reading(scan.extent, belief.first.extent)
        shown = self.decode(belief)
        p = probability(shown, y, error, belief.widening) if judged else 1.0
        if p < SURPRISE:
            factor = _factor(shown, y, error, belief.widening)
            middle = belief.parameters.mean(0)
            belief = replace(
                belief,
                parameters=middle + np.sqrt(factor) * (belief.parameters - middle),
                widening=belief.widening * factor,
            )
        rng, times = self._rng(2, scan.day), self.assimilations
        for _ in range(times):
            shown = self.decode(belief)
            noise = _model_error(shown, belief.widening).mean(0)
            variance = times * (error**2 + noise**2)
            drawn = y + np.sqrt(variance) * rng.standard_normal(shown.shape)
            corrected = belief.parameters + _gain(belief.parameters, shown, variance, drawn)
            belief = self._grown(replace(belief, parameters=corrected))
        surprises = {**belief.surprises, scan.day: p} if judged else belief.surprises
        return replace(belief, surprises=surprises)

    def decode(self, belief: Belief) -> Reals:
        """Return what scans of each member would show, `(member, 5)`: radii in mm of balls as large
        as what enhances and what is visible, and where the centre lies from the first one, mm.
        """
        found = _each(
            lambda p, state: _reading(_extent(p, state, belief.brain), belief.first.extent)[0],
            belief.parameters,
            belief.states,
        )
        return np.array(found)

    def rollout(self, belief: Belief, treatment: Treatment, days: Sequence[float]) -> Reals:
        """Return radii `(member, day, 2)` in mm of what enhances and what is visible, model error
        included.

        Args:
            belief: to start from.
            treatment: from then on.
            days: in order, none before the belief's.
        """
        rng, last = self._rng(3, belief.day), float(days[-1])
        years = np.sqrt(max(last - belief.day, 0.0) / 365.25)
        drifted = belief.parameters.copy()
        drifted[:, GROWTH] += self.drift * years * rng.standard_normal((self.members, 4))
        found = _each(
            lambda p, state: [
                _radii(_extent(p, one, belief.brain)) for one in _after(p, state, treatment, days)
            ],
            drifted,
            belief.states,
        )
        radii = np.array(found)
        noise = _model_error(radii, belief.widening)
        wrong = rng.standard_normal((self.members, 1, 2))  # one error a member, for all days
        return np.asarray(np.where(radii > 0, np.maximum(radii + noise * wrong, 0), 0))

    def _grown(self, belief: Belief) -> Belief:
        """Return the belief with the tumours that its parameters give, grown from the beginning."""

        def life(p: Reals, _: Any) -> TumourState:
            begun = born(p, belief.brain, belief.first)
            if belief.day == 0:
                return begun
            return _after(p, begun, belief.treatment, [belief.day])[0]

        states = _each(life, belief.parameters, (None,) * len(belief.parameters))
        return replace(belief, states=tuple(states))

    def _rng(self, purpose: int, day: float) -> np.random.Generator:
        return np.random.default_rng((self.seed, purpose, round(day * 24)))


def born(p: Reals, brain: Brain, first: Observed) -> TumourState:
    """Return a member's tumour on the day of the first scan: when it has the volume it is to
    have.
    """
    place = (np.array(first.extent.centre) + p[BEGAN] - brain.origin) / brain.medium.spacing
    most = np.array(brain.medium.inside.shape) - 2.0
    state = tumour.start(brain.medium, list(np.clip(place, 1, most)), -OLDEST)
    wanted, truth = ball(float(np.exp(p[SIZE]))), biology(p[GROWTH])
    days = list(np.arange(-OLDEST + EVERY, EVERY / 2, EVERY))
    before, smaller = state, 0.0
    for now in tumour.grown(state, truth, Treatment(), days, steps=STEPS):
        larger = ball(_extent(p, now, brain).enhancing)
        if larger >= wanted:
            share = (wanted - smaller) / max(larger - smaller, 1e-9)
            day = before.day + share * (now.day - before.day)
            return replace(_after(p, before, Treatment(), [day])[0], day=0.0)
        before, smaller = now, larger
    return replace(before, day=0.0)


def _after(
    p: Reals, state: TumourState, treatment: Treatment, days: Sequence[float]
) -> list[TumourState]:
    """Return a member's tumour on some days."""
    return list(tumour.grown(state, biology(p[GROWTH]), treatment, list(days), steps=STEPS))


def ball(volume: float) -> float:
    """Return the radius in mm of a ball of so many ml."""
    return float(np.cbrt(3000 * max(volume, 0.0) / (4 * np.pi)))


def volumes(radii: Reals) -> Reals:
    """Return the volumes in ml of balls."""
    return np.asarray(4 * np.pi / 3000 * radii**3)


def probability(shown: Reals, y: Reals, error: Reals, widening: float = 1.0) -> float:
    """Return how probable a scan as far from the belief is, by chi-squared."""
    square, count = _distance(shown, y, error, widening)
    return float(chi2.sf(square, count))


def _factor(shown: Reals, y: Reals, error: Reals, widening: float) -> float:
    square, count = _distance(shown, y, error, widening)
    return float(min(max(np.sqrt(square / count), 1.0), WIDEST))


def _distance(shown: Reals, y: Reals, error: Reals, widening: float) -> tuple[float, int]:
    """Return the squared Mahalanobis distance of a scan from the belief, and its degrees of
    freedom.
    """
    used = error < FAR
    ensemble, count = shown[:, used], int(used.sum())
    noise = _model_error(shown, widening).mean(0)[used]
    spread = np.cov(ensemble.T) + np.diag(error[used] ** 2 + noise**2)
    off = y[used] - ensemble.mean(0)
    return float(off @ np.linalg.solve(spread, off)), count


def _gain(parameters: Reals, shown: Reals, variance: Reals, drawn: Reals) -> Reals:
    """Return the correction of each member `(member, 10)`."""
    n = len(parameters)
    a, b = parameters - parameters.mean(0), shown - shown.mean(0)
    cross, own = a.T @ b / (n - 1), b.T @ b / (n - 1)
    return np.asarray((cross @ np.linalg.solve(own + np.diag(variance), (drawn - shown).T)).T)


def _model_error(radii: Reals, widening: float) -> Reals:
    """Return the standard deviation of what the model is wrong by; only radii have one."""
    small, more = NEAR_NOTHING
    edge = more * np.clip(1 - radii / small, 0, 1)
    noise = widening * np.sqrt((DISCREPANCY * radii) ** 2 + AT_LEAST**2 + edge**2)
    if radii.shape[-1] == 5:
        noise[..., 2:] = 0.5 * widening
    return np.asarray(noise)


def _reading(one: Extent, first: Extent) -> tuple[Reals, Reals]:
    """Return what a scan shows as a vector, see `WorldModel.decode`, and its errors."""
    radii, errors = [], []
    for volume in (one.enhancing, one.visible):
        error = np.hypot(RELATIVE * volume, LEAST)
        radii.append(ball(volume))
        width = (ball(volume + error) - ball(volume - error)) / 2
        errors.append(width if volume >= FAINT else VAGUE)
    shown = one.visible >= LITTLE and bool(np.isfinite(one.centre).all())
    moved = np.subtract(one.centre, first.centre) if shown else np.zeros(3)
    place = PLACE if shown else FAR
    return np.array([*radii, *moved]), np.array([*errors, *(place,) * 3])


def _radii(one: Extent) -> tuple[float, float]:
    return ball(one.enhancing), ball(one.visible)


def _extent(p: Reals, state: TumourState, brain: Brain) -> Extent:
    (low, high), (least, most) = BOUNDS
    enhancing = float(np.clip(p[8], low, high))
    visible = float(np.clip(p[9], least, most))
    return extent(state.seen, brain.medium.spacing, enhancing, visible, [*brain.origin])


def _each(work: Callable[[Reals, Any], Any], parameters: Reals, states: Sequence[Any]) -> list[Any]:
    """Do the work for every member, on all cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(work, parameters, states))
