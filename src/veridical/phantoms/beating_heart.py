"""A beating heart: left and right ventricle that contract, shorten and twist, with their motion
known at every point and time.

Contraction turns about the long axis of the left ventricle (z): in its wall `r^2 = R^2 - a K`,
which keeps the area of the wall; the cavity shrinks evenly; outside of the heart motion fades.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veridical.phantoms.moving_body import NAMES, Moving, Reals, ball, smooth

Labels = NDArray[np.uint8]

INNER, WALL = 24.0, 10.0
"""Radius of the left ventricle and thickness of its wall at end diastole, mm."""
LONG = 42.0
"""Half length of its cavity, mm."""
FAR = 80.0
"""mm from the axis at which nothing moves."""
SYSTOLE, FILLING = 0.35, 0.35
"""Shares of a beat: contraction, then relaxation; rest."""
RIGHT = np.array([-1.0, 1.0, 1.0])
"""Anatomy is written down with the patient's right at negative x; space has it at positive x."""
BEATS = 2000
"""That are drawn."""
STRONGEST = 1.15
"""Of a beat, relative to a usual one; more would close the cavity."""
TURNS = 16
"""Steps in which the radius at rest is found."""


@dataclass(frozen=True)
class Beat:
    """The motion of one heart.

    Args:
        period: of a beat, s.
        radius: of the left ventricle at end systole, mm.
        shortening: of the long axis at the base, mm.
        twist: of the apex against the base, radians.
    """

    period: float
    radius: float
    shortening: float
    twist: float


@dataclass(frozen=True, eq=False)
class BeatingHeart(Moving):
    """A heart in a slab of the chest; time 0 is end diastole.

    Args:
        seed, spacing: as of all moving bodies.
        session: another one has other beats of the same heart.
        irregular: standard deviation of the logarithms of the length and the strength of a beat; 0:
            all are alike.
    """

    session: int = 0
    irregular: float = 0.0

    half: ClassVar[tuple[float, float, float]] = (96.0, 96.0, 60.0)

    @cached_property
    def beat(self) -> Beat:
        """Its motion: 60 to 100 beats a minute, an ejection fraction of about 0.5 to 0.7."""
        rng = self.generator(0)
        return Beat(
            60 / float(rng.uniform(60, 100)),
            float(rng.uniform(13.5, 16.5)),
            float(rng.uniform(8, 14)),
            float(np.deg2rad(rng.uniform(6, 14))),
        )

    def contraction(self, time: float) -> float:
        """Return how far the heart has contracted: 0 at end diastole, 1 at a usual end systole."""
        starts, strengths = self.beats
        place = min(max(int(np.searchsorted(starts, time, "right")) - 1, 0), BEATS - 1)
        phase = (time - starts[place]) / (starts[place + 1] - starts[place]) % 1.0
        strength = float(strengths[place])
        if phase < SYSTOLE:
            return strength * float(np.sin(np.pi / 2 * phase / SYSTOLE) ** 2)
        later = (phase - SYSTOLE) / FILLING
        return strength * float(np.cos(np.pi / 2 * later) ** 2) if later < 1 else 0.0

    @cached_property
    def beats(self) -> tuple[Reals, Reals]:
        """When beats begin, `(n + 1,)` s, and how strong each is, `(n,)`, 1 on average."""
        rng = np.random.default_rng((self.seed, 1, self.session))
        spread = np.exp(self.irregular * rng.standard_normal((2, BEATS)))
        starts = np.concatenate([[0.0], np.cumsum(self.beat.period * spread[0])])
        return starts, np.minimum(spread[1], STRONGEST)

    def surrogate(self, time: float) -> float:
        return self.contraction(time)

    def volume(self, time: float) -> float:
        """Return the volume of the cavity of the left ventricle, ml, counted at 2 mm."""
        across, along = np.arange(-25.0, 26.0, 2.0), np.arange(-45.0, 36.0, 2.0)
        points = np.stack(np.meshgrid(across, across, along, indexing="ij"), -1).reshape(-1, 3)
        rest = self.at_rest(points, time)
        return float(_cavity(rest).sum()) * 8 / 1000

    def tissue(self, points: Reals) -> Labels:
        found = np.full(len(points), NAMES.index("air"), np.uint8)
        points = points * RIGHT
        x, y, z = points.T
        layers = (
            ("fat", (x / 94) ** 2 + (y / 88) ** 2 < 1),
            ("muscle", (x / 88) ** 2 + (y / 82) ** 2 < 1),
            ("lung", (np.abs(x) > 30) & ((x / 80) ** 2 + (y / 70) ** 2 < 1)),
            ("fat", ball(points, (-8, 4, 0), (66, 58, 90))),
            ("bone", (x**2 + (y + 72) ** 2 < 15**2) | (np.hypot(x, y - 74) < 8)),
            ("blood", np.hypot(x - 22, y + 52) < 11),
            ("myocardium", ball(points, (-28, 8, 4), (36, 40, 48)) & (z < 34)),
            ("blood", ball(points, (-28, 8, 4), (32, 36, 44)) & (z < 34)),
            (
                "myocardium",
                ball(points, (0, 0, 0), (INNER + WALL,) * 2 + (LONG + WALL,)) & (z < 34),
            ),
            ("blood", _cavity(points)),
        )
        for name, where in layers:
            found[where] = NAMES.index(name)
        return found

    def moved(self, points: Reals, time: float) -> Reals:
        a, beat = self.contraction(time), self.beat
        x, y, z = points.T
        radius = np.hypot(x, y)
        inward = a * (INNER**2 - beat.radius**2) * _along(z)
        new = np.sqrt(np.maximum(radius**2 - inward * _fades(radius), 0))
        turned = np.arctan2(y, x) + a * self._turn(z) * _outside(radius)
        return np.stack([new * np.cos(turned), new * np.sin(turned), self._down(z, a)], -1)

    def at_rest(self, points: Reals, time: float) -> Reals:
        a, beat = self.contraction(time), self.beat
        x, y, low = points.T
        table = np.linspace(-200, 200, 4001)
        z = np.interp(low, self._down(table, a), table)
        now = np.hypot(x, y)
        inward = a * (INNER**2 - beat.radius**2) * _along(z)
        radius = now / np.sqrt(1 - inward / INNER**2)  # of the cavity, which shrinks evenly
        wall = radius > INNER
        guess = np.sqrt(now[wall] ** 2 + inward[wall])
        for _ in range(TURNS):
            guess = np.sqrt(now[wall] ** 2 + inward[wall] * _fades(guess))
        radius[wall] = guess
        turned = np.arctan2(y, x) - a * self._turn(z) * _outside(radius)
        return np.stack([radius * np.cos(turned), radius * np.sin(turned), z], -1)

    def _turn(self, z: Reals) -> Reals:
        return np.asarray(self.beat.twist * smooth((40 - z) / 90) * _along(z))

    def _down(self, z: Reals, a: float) -> Reals:
        """Return z after shortening: the base comes down, and what lies above follows."""
        share = smooth((z + LONG + WALL) / 86) * (1 - smooth((z - 34) / 120))
        return np.asarray(z - a * self.beat.shortening * share)


def _cavity(points: Reals) -> NDArray[np.bool_]:
    return ball(points, (0, 0, 0), (INNER, INNER, LONG)) & (points[:, 2] < 34)


def _along(z: Reals) -> Reals:
    """Return how much of the contraction happens at a height."""
    return np.asarray(smooth((z + 75) / 40) * (1 - smooth((z - 34) / 50)))


def _fades(radius: Reals) -> Reals:
    """Return the factor of the squared radius that goes: even in the cavity, 1 in the wall, fading
    to 0 far out.
    """
    outer = INNER + WALL
    far = 1 - smooth((radius - outer) / (FAR - outer))
    return np.asarray(np.where(radius < INNER, (radius / INNER) ** 2, far))


def _outside(radius: Reals) -> Reals:
    """Return how much of the twist there is at a radius."""
    return np.asarray(1 - smooth((radius - INNER - WALL) / (FAR - INNER - WALL)))
