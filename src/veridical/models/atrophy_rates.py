"""What populations lose: rates of regional volume change by age, sex and diagnosis, as a Gaussian
over the regions.

Published rates and what is assumed around them. A patient's own scans then move his rates away from
these, as far as they say something (`shrunk_rates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError, SettingError, nearest

Reals = NDArray[np.float64]
Group = Literal["healthy", "mild cognitive impairment", "Alzheimer", "multiple sclerosis", "glioma"]
GROUPS: tuple[Group, ...] = get_args(Group)

REGIONS: dict[str, tuple[str, ...]] = {
    "hippocampus and amygdala": ("hippocampus and amygdala",),
    "cortex": ("cortex",),
    "white matter": ("white matter", "lesion", "oedema", "enhancing tumour", "necrosis"),
    "deep grey matter": ("thalamus", "putamen", "pallidum"),
    "caudate": ("caudate",),
    "cerebellum and brain stem": (
        "cerebellar cortex", "cerebellar white matter", "brain stem",
    ),
    "lateral ventricle": ("lateral ventricle",),
}  # fmt: skip
"""Region -> structures. The fluid around the brain takes what they leave."""
NAMES = tuple(REGIONS)
VENTRICLE = NAMES.index("lateral ventricle")

RATES: Mapping[str, tuple[float, ...]] = {
    "healthy": (1.41, 0.5, 0.3, 0.5, 0.0, 0.2),
    "mild cognitive impairment": (2.6, 1.0, 0.6, 0.7, 0.0, 0.3),
    "Alzheimer": (4.66, 2.0, 1.2, 1.2, 0.0, 0.4),
}
"""Loss of the regions but the ventricle, per cent a year, at 60 years and above. Hippocampus: 4.66
in Alzheimer's disease, 1.41 in controls (Barnes et al., Neurobiol Aging 2009,
10.1016/j.neurobiolaging.2008.01.010). Cortex of the healthy about 0.5, caudate none (Fjell et al.,
J Neurosci 2009, 10.1523/JNEUROSCI.3252-09.2009). All others are assumed between the two.
"""
YOUNG, OLD, YOUNG_SHARE = 35.0, 60.0, 0.4
"""Until 35 years the healthy lose that share of what they lose from 60 years on: 0.2 and 0.5 per
cent of the brain a year (Hedman et al., Hum Brain Mapp 2012, 10.1002/hbm.21334).
"""
SCLEROSIS = 0.51 / 0.27
"""How much faster brains with multiple sclerosis shrink than those of controls: 0.51 and 0.27 per
cent a year (De Stefano et al., J Neurol Neurosurg Psychiatry 2016, 10.1136/jnnp-2014-309903).
"""
WOMEN = 1.05
"""Factor of women's rates, and one over that of men's (assumed: 1.18 of grey matter after Crivello
et al., PLoS One 2014, 10.1371/journal.pone.0114478; others found none).
"""
FASTER: Mapping[str, tuple[float, float]] = {
    "mild cognitive impairment": (0.22, 0.27),
    "Alzheimer": (0.0, 0.88),
}
"""How much faster the hippocampus shrinks each year, per cent/y2, and the lateral ventricles grow,
ml/y2 (Leung et al., Neurology 2013, 10.1212/WNL.0b013e318281ccd3).
"""
SHARES: Mapping[str, float] = {
    "healthy": 0.7, "mild cognitive impairment": 0.2, "Alzheimer": 0.1,
}  # fmt: skip
"""Of groups among patients whose diagnosis is not known (assumed)."""
UNKNOWN_AGE = 60.0
INTO_VENTRICLES = 0.3
"""Share of the loss of tissue that the lateral ventricles take up (assumed)."""
PACE = 0.35
"""Standard deviation between patients of one group of a factor on all rates (assumed)."""
OWN = 0.25
"""That of each region's own rate, relative, beside `LEAST` (assumed)."""
LEAST = np.array([0.5, 0.15, 0.15, 0.3, 0.3, 0.15, 1.5])
"""Standard deviation of each region's rate beyond that, per cent a year (assumed)."""


@dataclass(frozen=True, eq=False)
class RegionalRates:
    """A Gaussian over the rates of the regions.

    Args:
        mean: `(region,)` change of the logarithm of the volume a year, in the order of `NAMES`.
        covariance: `(region, region)`.
    """

    mean: Reals
    covariance: Reals


def group_of(diagnosis: str) -> Group | None:
    """Return the group that a diagnosis means; None where none is stated.

    Raises:
        SettingError: it is none that is known.
    """
    said = diagnosis.strip().lower()
    if not said or said in ("unknown", "n/a"):
        return None
    short = {
        "ad": "Alzheimer", "alzheimer's disease": "Alzheimer", "dementia": "Alzheimer",
        "mci": "mild cognitive impairment", "ms": "multiple sclerosis", "control": "healthy",
        "cn": "healthy", "hc": "healthy", "glioblastoma": "glioma",
    }  # fmt: skip
    known = {one.lower(): one for one in GROUPS} | short
    if said not in known:
        raise SettingError(f"No diagnosis is called {diagnosis!r}. {nearest(diagnosis, GROUPS)}")
    return known[said]  # type: ignore[return-value]


def population(age: float | None, sex: str, group: Group | None, volumes: Reals) -> RegionalRates:
    """Return what is expected of a patient before his own change is looked at.

    Args:
        age: years; None: not known.
        sex: `female`, `male`; anything else counts as not known.
        group: the diagnosis; None: not known, a mixture.
        volumes: `(region,)` ml, from which the ventricle's rate follows.

    Raises:
        InputError: an age outside of 0 to 120.
    """
    if age is not None and not 0 <= age <= 120:
        raise InputError(f"An age of {age:g} years was given; expected 0 to 120.")
    parts = SHARES if group is None else {group: 1.0}
    means = np.array([_mean(age, sex, one, volumes) for one in parts])
    weights = np.array([*parts.values()])
    mean = weights @ means
    between = np.einsum("g,gi,gj->ij", weights, means - mean, means - mean)
    within = PACE**2 * np.einsum("g,gi,gj->ij", weights, means, means)
    own = (OWN * np.abs(mean)) ** 2 + (LEAST / 100) ** 2
    return RegionalRates(mean, between + within + np.diag(own))


def acceleration(group: Group | None, volumes: Reals) -> Reals:
    """Return by how much the rates `(region,)` of a group change in a year.

    Args:
        group, volumes: as `population` takes them.
    """
    hippocampus, ventricle = FASTER.get(group or "", (0.0, 0.0))
    found = np.zeros(len(NAMES))
    found[0] = -hippocampus / 100
    found[VENTRICLE] = ventricle / max(float(volumes[VENTRICLE]), 1.0)
    return found


def _mean(age: float | None, sex: str, group: str, volumes: Reals) -> Reals:
    years = UNKNOWN_AGE if age is None else age
    ageing = np.interp(years, (YOUNG, OLD), (YOUNG_SHARE, 1.0))
    base = RATES.get(group, RATES["healthy"])
    factor = 1.0 if group in ("mild cognitive impairment", "Alzheimer") else float(ageing)
    factor *= SCLEROSIS if group == "multiple sclerosis" else 1.0
    factor *= {"female": WOMEN, "male": 1 / WOMEN}.get(sex, 1.0)
    rates = -factor * np.array([*base, 0.0]) / 100
    lost = -float(rates @ volumes)
    rates[VENTRICLE] = INTO_VENTRICLES * lost / max(float(volumes[VENTRICLE]), 1.0)
    return rates
