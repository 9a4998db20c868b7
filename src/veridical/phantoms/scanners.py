"""Scanners of the cohort: field strength, sequences, resolution, noise. Each site has ranges; each
scan draws from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import SettingError, nearest
from veridical.physics.tissue import Sequence, null_inversion_time

CONTRASTS = ("T1w", "T2w", "FLAIR", "PD", "T1c")

Range = tuple[float, float]


@dataclass(frozen=True)
class Site:
    """One scanner and its habits; every range is (lowest, highest), times in ms.

    Args: name: of the site. field: tesla. t1w: the kind of its T1-weighted sequence: `mprage`,
        `spgr` or `se`. tr_long: repetition time of T2w and PD; te_long: echo time of T2w; te_short:
        echo time of PD and spin-echo T1w. tr_flair: repetition time of FLAIR; its TI is off the
        null of fluid by a few per cent. fat_saturation: how often fat is suppressed in T2w, FLAIR
        and T1c. shift: chemical shift of fat along the readout, pixels of 0.9 mm. noise: standard
        deviation of complex noise per component in one coil, relative to the 99th percentile of the
        object. bias: strength of the transmit inhomogeneity (log standard deviation). thickness:
        slice thickness, mm.
    """

    name: str
    field: float
    t1w: str
    tr_long: Range
    te_long: Range
    te_short: Range
    tr_flair: Range
    fat_saturation: float
    shift: Range
    noise: Range
    bias: float
    thickness: Range

    def sequence(self, contrast: str, rng: np.random.Generator, fluid_t1: float) -> Sequence:
        """Return the sequence of one scan.

        Args:
            contrast: one of `CONTRASTS`.
            rng: draws from the site's ranges.
            fluid_t1: T1 of the fluid that FLAIR is set to null, ms.

        Raises:
            SettingError: the contrast is unknown.
        """
        if contrast not in CONTRASTS:
            raise SettingError(
                f"No contrast is called {contrast!r}. {nearest(contrast, CONTRASTS)}"
            )
        fat = rng.uniform(1.4, 2.2)
        if contrast in ("T1w", "T1c"):
            return self._t1w(rng, rng.uniform(0.6, 1.3) if contrast == "T1c" else 0.0)
        if contrast == "FLAIR":
            tr = rng.uniform(*self.tr_flair)
            ti = null_inversion_time(fluid_t1, tr) * rng.uniform(0.95, 1.03)
            return Sequence("flair", tr, rng.uniform(*self.te_long) * 1.1, ti, fat_t2=fat)
        te = self.te_long if contrast == "T2w" else self.te_short
        return Sequence("se", rng.uniform(*self.tr_long), rng.uniform(*te), fat_t2=fat)

    def _t1w(self, rng: np.random.Generator, agent: float) -> Sequence:
        if self.t1w == "mprage":
            tr = rng.uniform(1900, 2500)
            ti = rng.uniform(850, 1050)
            return Sequence(
                "mprage", tr, rng.uniform(2.0, 3.0), ti, rng.uniform(7, 10), train=160, agent=agent
            )
        if self.t1w == "spgr":
            return Sequence(
                "spgr",
                rng.uniform(8, 25),
                rng.uniform(2.5, 6.0),
                0.0,
                rng.uniform(15, 30),
                agent=agent,
            )
        return Sequence("se", rng.uniform(450, 700), rng.uniform(*self.te_short), agent=agent)


SITES = (
    Site(
        "avon",
        3.0,
        "mprage",
        (4000, 6500),
        (85, 110),
        (9, 20),
        (8500, 10000),
        0.6,
        (0.3, 1.2),
        (0.004, 0.02),
        0.18,
        (1, 2),
    ),
    Site(
        "brent",
        1.5,
        "se",
        (2500, 5000),
        (80, 105),
        (10, 22),
        (7500, 9500),
        0.15,
        (0.6, 2.0),
        (0.008, 0.035),
        0.08,
        (3, 5),
    ),
    Site(
        "clyde",
        3.0,
        "spgr",
        (3500, 6000),
        (75, 100),
        (8, 18),
        (8000, 11000),
        0.3,
        (0.5, 1.6),
        (0.005, 0.025),
        0.2,
        (1, 3),
    ),
    Site(
        "derwent",
        1.5,
        "spgr",
        (2200, 4500),
        (90, 120),
        (12, 30),
        (8000, 10000),
        0.05,
        (0.5, 2.5),
        (0.01, 0.04),
        0.1,
        (2, 5),
    ),
    Site(
        "exe",
        3.0,
        "se",
        (3000, 6000),
        (80, 110),
        (8, 14),
        (9000, 12000),
        0.3,
        (0.3, 1.5),
        (0.005, 0.025),
        0.22,
        (2, 4),
    ),
)
