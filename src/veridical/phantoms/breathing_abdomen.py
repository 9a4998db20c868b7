"""A breathing abdomen: liver with a lesion, spleen, kidneys and lung bases that move with the
diaphragm, no two breaths alike, with their motion known at every point and time.

The diaphragm goes as `b (1 - cos^4(pi t / T))` (Lujan et al., Med Phys 1999, 10.1118/1.598577, with
n = 2); the belly lags behind it, so that the way down is not the way up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veridical.phantoms.moving_body import NAMES, Moving, Reals, ball, smooth

Labels = NDArray[np.uint8]

DOME = 30.0
"""mm above the middle where the diaphragm has its dome at rest, at the end of expiration."""
BELLY = 0.35
"""Motion of the belly wall over that of the diaphragm."""
RIGHT = np.array([-1.0, 1.0, 1.0])
"""Anatomy is written down with the patient's right at negative x; space has it at positive x."""
TURNS = 16
"""Steps in which the height at rest is found."""
VARIES = (0.15, 0.1)
"""Standard deviation of the logarithms of depth and length of a breath."""
BREATHS = 400
"""That are drawn."""


@dataclass(frozen=True, eq=False)
class Breaths:
    """Breath by breath.

    Args:
        starts: `(n + 1,)` s.
        depths: `(n,)` mm that the dome goes down.
        lag: of the belly, share of a breath.
    """

    starts: Reals
    depths: Reals
    lag: float


@dataclass(frozen=True, eq=False)
class BreathingAbdomen(Moving):
    """An upper abdomen; time 0 is the end of expiration.

    Args:
        seed, spacing: as of all moving bodies.
        session: another one has other breaths of the same body.
        irregular: factor of how much breaths vary; 1 is usual.
        drift: mm a minute that the dome sinks beside the breathing; the belly does not.
    """

    session: int = 0
    irregular: float = 1.0
    drift: float = 0.0

    half: ClassVar[tuple[float, float, float]] = (168.0, 120.0, 120.0)

    @cached_property
    def breaths(self) -> Breaths:
        """Its motion: breaths of 3.5 to 5.5 s and 8 to 22 mm, which vary."""
        rng = self.generator(0)
        length, depth = rng.uniform(3.5, 5.5), rng.uniform(8, 22)
        now = np.random.default_rng((self.seed, 0, self.session)) if self.session else rng
        varies = self.irregular * np.array(VARIES)[:, None]
        spread = np.exp(now.standard_normal((2, BREATHS)) * varies)
        starts = np.concatenate([[0.0], np.cumsum(length * spread[1])])
        return Breaths(starts, depth * spread[0], float(now.uniform(0.03, 0.08)))

    def down(self, time: float) -> float:
        """Return how far the dome of the diaphragm is below its rest, mm."""
        return self._depth(time, 0.0) + self.drift * time / 60

    def surrogate(self, time: float) -> float:
        """The belly wall, relative to a usual breath of 15 mm."""
        return self._depth(time, self.breaths.lag) / 15.0

    def target(self, time: float) -> Reals:
        """Return where the middle of the lesion is, `(3,)` mm."""
        return np.asarray(self.moved(self._lesion[None], time)[0])

    def tissue(self, points: Reals) -> Labels:
        found = np.full(len(points), NAMES.index("air"), np.uint8)
        points = points * RIGHT
        x, y, z = points.T
        inside = (x / 132) ** 2 + (y / 84) ** 2 < 1
        dome = DOME - ((x - np.sign(x) * 55) / 60) ** 2 * 22 - (y / 70) ** 2 * 18
        layers = (
            ("fat", (x / 152) ** 2 + (y / 104) ** 2 < 1),
            ("muscle", (x / 140) ** 2 + (y / 92) ** 2 < 1),
            ("fat", inside),
            ("liver", ball(points, (-50, 8, -18), (82, 66, 62)) & inside),
            ("spleen", ball(points, (88, -32, -12), (28, 34, 42)) & inside),
            ("kidney", ball(points, (-62, -48, -76), (24, 22, 44))),
            ("kidney", ball(points, (62, -48, -66), (24, 22, 44))),
            ("lesion", ball(points, self._lesion * RIGHT, (12, 12, 12))),
            ("lung", inside & (z > dome) & (np.abs(x) > 14)),
            ("bone", x**2 + (y + 62) ** 2 < 22**2),
            ("blood", np.hypot(x - 6, y + 26) < 11),
        )
        for name, where in layers:
            found[where] = NAMES.index(name)
        return found

    def moved(self, points: Reals, time: float) -> Reals:
        x, y, z = points.T
        low = z - self.down(time) * _free(x, y) * _falls(z)
        return np.stack([x, self._forward(y, time), low], -1)

    def at_rest(self, points: Reals, time: float) -> Reals:
        x, front, low = points.T
        table = np.linspace(-300, 300, 6001)
        y = np.interp(front, self._forward(table, time), table)
        depth = self.down(time) * _free(x, y)
        z = low.copy()
        for _ in range(TURNS):
            z = low + depth * _falls(z)
        return np.stack([x, y, z], -1)

    @cached_property
    def _lesion(self) -> Reals:
        rng = self.generator(1)
        return np.array([62.0, 6.0, -10.0]) + rng.uniform(-14, 14, 3)

    def _forward(self, y: Reals, time: float) -> Reals:
        push = BELLY * self._depth(time, self.breaths.lag)
        return np.asarray(y + push * smooth((y + 40) / 130))

    def _depth(self, time: float, lag: float) -> float:
        starts = self.breaths.starts
        late = max(time - lag * float(starts[1]), 0.0)
        place = min(int(np.searchsorted(starts, late, "right")) - 1, BREATHS - 1)
        share = min((late - starts[place]) / (starts[place + 1] - starts[place]), 1.0)
        return float(self.breaths.depths[place] * (1 - np.cos(np.pi * share) ** 4))


def _falls(z: Reals) -> Reals:
    """Return how far what lies at a height goes down with the dome: all of it about the liver, less
    far below, nothing high in the lung.
    """
    return np.asarray((1 - smooth((z - DOME) / 120)) * (0.4 + 0.6 * smooth((z + 150) / 140)))


def _free(x: Reals, y: Reals) -> Reals:
    """Return 1 in the middle of the body and 0 at its wall and spine."""
    wall = np.sqrt((x / 140) ** 2 + (y / 92) ** 2)
    spine = np.hypot(x, y + 62)
    return np.asarray((1 - smooth((wall - 0.72) / 0.28)) * smooth((spine - 22) / 25))
