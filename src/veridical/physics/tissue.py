"""Tissue parameters with their sources, field dependence, and the MR signal equations.

Times are in milliseconds, field strengths in tesla, flip angles in degrees, proton density relative
to CSF. Where sources disagree, the difference is part of the spread: see `RELAXATION` and `rooney`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Literal

import numpy as np

from veridical.errors import SettingError, nearest
from veridical.types import Array, readonly


class TissueClass(IntEnum):
    """The classes whose fractions make up a voxel, in the order of every `(tissue, ...)` array."""

    AIR = 0
    CSF = 1
    GREY = 2
    WHITE = 3
    DEEP_GREY = 4
    BONE = 5
    MARROW = 6
    FAT = 7
    SKIN = 8
    MUSCLE = 9
    BLOOD = 10
    VITREOUS = 11
    MS_LESION = 12
    OEDEMA = 13
    NECROSIS = 14
    ENHANCING = 15


LESIONS = (TissueClass.MS_LESION, TissueClass.OEDEMA, TissueClass.NECROSIS, TissueClass.ENHANCING)


@dataclass(frozen=True)
class TissueRow:
    """One tissue.

    Args:
        t1, t2: at 1.5 T and at 3 T, ms.
        t2star: at 1.5 T, ms.
        pd: proton density relative to CSF.
        spread: coefficient of variation of T1 and T2 between subjects (half of it for PD).
        agent: fall of T1 after a contrast agent, ms at 1.5 T.
        hu: CT number and its standard deviation.
        fdg: FDG uptake relative to grey matter = 128 (convention of the brainweb package).
        source: where the numbers come from; `assumed` marks those without a good source.
    """

    t1: tuple[float, float]
    t2: tuple[float, float]
    t2star: float
    pd: float
    spread: float
    agent: float
    hu: tuple[float, float]
    fdg: float
    source: str


_BRAINWEB = "1.5 T: BrainWeb (Kwan, Evans, Pike, IEEE TMI 1999, 10.1109/42.816072)"
_MIRT = "3 T: MIRT phantom after Wansapura (JMRI 1999) and Stanisz (MRM 2005, 10.1002/mrm.20605)"
_CT = "HU: Buzug, Computed Tomography (2008)"
_AGENT = "agent: Frankfurt relaxometry of gliomas (2020, n = 33)"

# fmt: off
RELAXATION: dict[TissueClass, TissueRow] = {
    TissueClass.AIR: TissueRow((1.0, 1.0), (1.0, 1.0), 1.0, 0.0, 0.0, 0.0, (-1000.0, 0.0), 0.0,
        "no signal; HU by definition"),
    TissueClass.CSF: TissueRow((2569.0, 3000.0), (329.0, 350.0), 58.0, 1.0, 0.08, 0.0, (15.0, 3.0), 0.0,  # noqa: E501
        f"{_BRAINWEB}; {_MIRT}; HU 15: weak source"),
    TissueClass.GREY: TissueRow((833.0, 1331.0), (83.0, 110.0), 69.0, 0.86, 0.06, 32.0, (41.0, 2.0), 128.0,  # noqa: E501
        f"{_BRAINWEB}; {_MIRT}; {_CT}; {_AGENT}"),
    TissueClass.WHITE: TissueRow((500.0, 832.0), (70.0, 79.6), 61.0, 0.77, 0.06, 32.0, (26.0, 2.0), 32.0,  # noqa: E501
        f"{_BRAINWEB}; {_MIRT}; {_CT}; {_AGENT}"),
    TissueClass.DEEP_GREY: TissueRow((725.0, 1150.0), (74.0, 90.0), 55.0, 0.84, 0.06, 32.0, (39.0, 2.0), 128.0,  # noqa: E501
        "assumed: two thirds grey, iron shortens T2"),
    TissueClass.BONE: TissueRow((200.0, 223.0), (0.4, 0.4), 0.4, 0.2, 0.1, 0.0, (1100.0, 200.0), 5.0,  # noqa: E501
        "3 T: Du and Bydder (NMR Biomed 2013); HU: Buzug, 700-3000; PD and FDG assumed"),
    TissueClass.MARROW: TissueRow((400.0, 440.0), (60.0, 60.0), 30.0, 0.85, 0.25, 40.0, (250.0, 120.0), 25.0,  # noqa: E501
        "assumed: between fat and red marrow (549/49 at 1.5 T, de Bazelaire, Radiology 2004, "
        "10.1148/radiol.2303021331)"),
    TissueClass.FAT: TissueRow((350.0, 395.0), (70.0, 68.0), 58.0, 1.0, 0.08, 0.0, (-85.0, 12.0), 8.0,  # noqa: E501
        f"{_BRAINWEB}; 3 T: T1 by B0^.174 (Bottomley 1984), T2 de Bazelaire 2004; {_CT}; FDG "
        "assumed"),
    TissueClass.SKIN: TissueRow((800.0, 1000.0), (38.0, 36.0), 25.0, 0.75, 0.15, 200.0, (40.0, 15.0), 16.0,  # noqa: E501
        "assumed (also fasciae, dura, mucosa); FDG: brainweb package"),
    TissueClass.MUSCLE: TissueRow((900.0, 1412.0), (47.0, 50.0), 30.0, 1.0, 0.08, 80.0, (55.0, 6.0), 20.0,  # noqa: E501
        f"{_BRAINWEB}; {_MIRT}; HU, agent and FDG assumed"),
    TissueClass.BLOOD: TissueRow((1441.0, 1932.0), (290.0, 275.0), 150.0, 0.95, 0.08, 1100.0, (55.0, 5.0), 30.0,  # noqa: E501
        f"Stanisz 2005; {_CT}; T2*, PD, agent and FDG assumed"),
    TissueClass.VITREOUS: TissueRow((2900.0, 3500.0), (500.0, 500.0), 200.0, 1.0, 0.08, 0.0, (8.0, 4.0), 4.0,  # noqa: E501
        "assumed: like CSF, longer T2"),
    TissueClass.MS_LESION: TissueRow((752.0, 1202.0), (237.0, 260.0), 204.0, 0.76, 0.2, 40.0, (24.0, 3.0), 40.0,  # noqa: E501
        f"{_BRAINWEB}; 3 T scaled as grey matter (assumed); agent, HU and FDG assumed"),
    TissueClass.OEDEMA: TissueRow((907.0, 1450.0), (170.0, 200.0), 120.0, 0.88, 0.12, 123.0, (20.0, 3.0), 30.0,  # noqa: E501
        f"assumed: 3 T placeholder, 1.5 T scaled as grey matter; {_AGENT}"),
    TissueClass.NECROSIS: TissueRow((1700.0, 2200.0), (230.0, 250.0), 150.0, 0.95, 0.15, 80.0, (18.0, 4.0), 10.0,  # noqa: E501
        "assumed: between oedema and CSF; agent: the 5 mm rim of the Frankfurt series"),
    TissueClass.ENHANCING: TissueRow((938.0, 1500.0), (130.0, 150.0), 90.0, 0.88, 0.12, 600.0, (40.0, 5.0), 192.0,  # noqa: E501
        "assumed: 3 T placeholder, 1.5 T scaled as grey; agent 838 +- 210 measured, 600 at 1.5 T "
        "assumed; FDG 1.5 x grey"),
}
# fmt: on

ROONEY = {
    TissueClass.WHITE: 0.382,
    TissueClass.GREY: 0.376,
    TissueClass.MUSCLE: 0.42,
    TissueClass.FAT: 0.174,
    TissueClass.CSF: 0.0,
}
"""Exponents b of T1 ~ B0^b: white and grey by Rooney (MRM 2007, 10.1002/mrm.21122), muscle and fat
by Bottomley (Med Phys 1984, 10.1118/1.595535). From the 1.5 T values they give grey 1081 and white
652 ms at 3 T: 20 to 30 % below the 3 T rows.
"""

Law = Literal["anchors", "rooney"]


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Parameters of all tissues at one field strength, each `(tissue,)` float64, in the order of
    `TissueClass`.

    Args:
        t1, t2, t2star: ms.
        pd: relative to CSF.
        agent: fall of T1 after a contrast agent, ms.
    """

    t1: Array
    t2: Array
    t2star: Array
    pd: Array
    agent: Array

    def with_agent(self, share: float = 1.0) -> Relaxation:
        """Return the same tissues after a contrast agent, of which `share` of the usual effect is
        seen.
        """
        shortened = np.maximum(self.t1 - share * self.agent, 0.25 * self.t1)
        return Relaxation(shortened, self.t2, self.t2star, self.pd, self.agent)

    def scaled(self, t1: Array, t2: Array, pd: Array) -> Relaxation:
        """Return the parameters of one subject: each `(tissue,)` factor multiplies its parameter
        (T2 also T2*).
        """
        return Relaxation(self.t1 * t1, self.t2 * t2, self.t2star * t2, self.pd * pd, self.agent)


@cache
def relaxation(field: float, law: Law = "anchors") -> Relaxation:
    """Return the parameters of all tissues at a field strength.

    Args: field: tesla, 0.2 to 7. law: `anchors`: the power law through the measured 1.5 T and 3 T
        values. `rooney`: the published exponents of T1 from the 1.5 T values (where one is
        published; anchors elsewhere), T2 as measured at 1.5 T.

    Returns:
        T2* falls with the field as `1/T2* = 1/T2 + R2'`, with R2' proportional to the field.

    Raises:
        SettingError: the field is outside 0.2 to 7 T, or the law is unknown.
    """
    if not 0.2 <= field <= 7.0:
        raise SettingError(
            f"A field of {field} T was given; tissue parameters are known from 0.2 to 7 T."
        )
    if law not in ("anchors", "rooney"):
        raise SettingError(f"No field law is called {law!r}. {nearest(law, ('anchors', 'rooney'))}")
    rows = [RELAXATION[tissue] for tissue in TissueClass]
    t1, t2 = np.array([row.t1 for row in rows]), np.array([row.t2 for row in rows])
    ratio = field / 1.5
    exponent = np.log2(t1[:, 1] / t1[:, 0])
    t2_exponent = np.log2(t2[:, 1] / t2[:, 0])
    if law == "rooney":
        t2_exponent = np.zeros_like(t2_exponent)
        for tissue, value in ROONEY.items():
            exponent[tissue] = value
    reversible = np.maximum(1.0 / np.array([row.t2star for row in rows]) - 1.0 / t2[:, 0], 0.0)
    t1_field, t2_field = t1[:, 0] * ratio**exponent, t2[:, 0] * ratio**t2_exponent
    t2star = 1.0 / (1.0 / t2_field + reversible * ratio)
    agent = np.array([row.agent for row in rows]) * ratio**exponent
    return Relaxation(
        *(
            readonly(a)
            for a in (t1_field, t2_field, t2star, np.array([row.pd for row in rows]), agent)
        )
    )


def spin_echo(pd: Array, t1: Array, t2: Array, tr: float, te: float) -> Array:
    """Return the spin-echo signal `PD (1 - exp(-TR/T1)) exp(-TE/T2)`; arrays of one shape, times in
    ms.
    """
    return np.asarray(pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2))


def flair(pd: Array, t1: Array, t2: Array, tr: float, te: float, ti: float) -> Array:
    """Return the magnitude of inversion recovery with a spin echo, `PD |1 - 2 exp(-TI/T1) +
    exp(-TR/T1)| exp(-TE/T2)`.
    """
    return np.asarray(pd * np.abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1)) * np.exp(-te / t2))


def null_inversion_time(t1: float, tr: float) -> float:
    """Return the TI at which `flair` nulls a tissue: `T1 (ln 2 - ln(1 + exp(-TR/T1)))`, ms."""
    return float(t1 * (np.log(2.0) - np.log1p(np.exp(-tr / t1))))


def spoiled_gradient_echo(
    pd: Array, t1: Array, t2star: Array, tr: float, te: float, flip: float
) -> Array:
    """Return the steady state `PD sin a (1 - E1) / (1 - E1 cos a) exp(-TE/T2*)` with `E1 =
    exp(-TR/T1)`; flip in degrees.
    """
    angle, e1 = np.deg2rad(flip), np.exp(-tr / t1)
    return np.asarray(
        pd * np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle)) * np.exp(-te / t2star)
    )


def mprage(
    pd: Array,
    t1: Array,
    t2star: Array,
    tr: float,
    te: float,
    ti: float,
    flip: float,
    train: int = 176,
) -> Array:
    """Return the magnitude at the central echo of a magnetization-prepared rapid gradient echo.

    The longitudinal magnetization is followed through inversion, delay, pulse train and recovery
    (each an affine map) to its periodic state (Deichmann et al., NeuroImage 2000,
    10.1006/nimg.2000.0601).

    Args:
        pd, t1, t2star: arrays of one shape.
        tr: from inversion to inversion, ms.
        te: echo time, ms; the echo spacing is taken as `2 TE + 2` ms.
        ti: from inversion to the central pulse, ms.
        flip: degrees.
        train: pulses in one train.

    Raises:
        SettingError: the train does not fit between TI and TR.
    """
    spacing = 2 * te + 2
    half = train // 2
    before, after = ti - half * spacing, tr - ti - (train - half) * spacing
    if before < 0 or after < 0:
        raise SettingError(
            f"A train of {train} pulses every {spacing:g} ms around TI {ti:g} ms does not fit into "
            f"TR {tr:g} ms. "
            "Use a shorter train or echo time, or a longer TR."
        )
    cosine, sine = np.cos(np.deg2rad(flip)), np.sin(np.deg2rad(flip))
    e_pulse = np.exp(-spacing / t1)
    factor = e_pulse * cosine
    steady = (1 - e_pulse) / (1 - factor)

    def recover(time: float) -> tuple[Array, Array]:
        decay = np.exp(-time / t1)
        return decay, 1 - decay

    def pulses(count: int) -> tuple[Array, Array]:
        decay = factor**count
        return decay, steady * (1 - decay)

    slope, offset = -np.ones_like(t1), np.zeros_like(t1)
    central = (slope, offset)
    for step, (a, b) in enumerate(
        (recover(before), pulses(half), pulses(train - half), recover(after))
    ):
        slope, offset = a * slope, a * offset + b
        if step == 1:
            central = (slope, offset)
    periodic = offset / (1 - slope)
    return np.asarray(pd * np.abs(central[0] * periodic + central[1]) * sine * np.exp(-te / t2star))


@dataclass(frozen=True)
class Sequence:
    """A pulse sequence with its settings.

    Args: kind: which signal equation. tr, te, ti: ms; `ti` is used by `flair` and `mprage`. flip:
        degrees, used by `spgr` and `mprage`. train: pulses in one `mprage` train. fast: a fast spin
        echo: its dense refocusing pulses lengthen the apparent T2 of fat by `fat_t2` (Henkelman et
        al., JMRI 1992, 10.1002/jmri.1880020511). fat_t2: that factor. agent: share of the usual
        effect of a contrast agent; 0 before it is given.
    """

    kind: Literal["se", "flair", "spgr", "mprage"]
    tr: float
    te: float
    ti: float = 0.0
    flip: float = 90.0
    train: int = 176
    fat_t2: float = 1.0
    agent: float = 0.0

    def signal(self, tissue: Relaxation) -> Array:
        """Return the signal of every tissue, `(tissue,)`, non-negative, relative to the equilibrium
        of CSF.
        """
        now = tissue.with_agent(self.agent) if self.agent else tissue
        t2 = now.t2.copy()
        t2[[TissueClass.FAT, TissueClass.MARROW]] *= self.fat_t2
        if self.kind == "se":
            return spin_echo(now.pd, now.t1, t2, self.tr, self.te)
        if self.kind == "flair":
            return flair(now.pd, now.t1, t2, self.tr, self.te, self.ti)
        if self.kind == "spgr":
            return spoiled_gradient_echo(now.pd, now.t1, now.t2star, self.tr, self.te, self.flip)
        return mprage(now.pd, now.t1, now.t2star, self.tr, self.te, self.ti, self.flip, self.train)
