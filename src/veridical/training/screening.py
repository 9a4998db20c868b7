"""Which updates of sites are left out of the mean: garbage, and those unlike all others.

Garbage is what has other names, shapes or numbers than the weights. Of the rest, an update that is
far longer than the median of the others is scaled (norms: Sun et al. 2019, arXiv 1911.07963), and
one that points away from the coordinate-wise median of the others is turned (median: Yin et al.
2018, arXiv 1803.01498; direction: Cao et al. 2021, 10.14722/ndss.2021.24434). The worst is left out
first, and the rest is looked at anew. At least three are needed to say which one is unlike. Krum
and Bulyan, which need 2 f + 3 updates for f attackers, protect from none among four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from veridical.training.federation import Defence
from veridical.types import Array

Arrays = Mapping[str, Array]
TOLD_APART = 3
"""Updates below which none can be called unlike the others."""


@dataclass(frozen=True)
class ComparedUpdate:
    """An update beside the others.

    Args:
        length: its norm.
        ratio: to the median of the others' norms.
        cosine: with the coordinate-wise median of the others.
    """

    length: float
    ratio: float
    cosine: float


@dataclass(frozen=True)
class Screened:
    """What screening found.

    Args:
        kept: sites whose updates count, in their order.
        left_out: site -> why, in words.
        measured: site -> how it compares, of those that are no garbage.
    """

    kept: tuple[str, ...]
    left_out: Mapping[str, str]
    measured: Mapping[str, ComparedUpdate]


def screened(updates: Mapping[str, Arrays], weights: Arrays, defence: Defence) -> Screened:
    """Tell updates that count from those that do not.

    Args:
        updates: site -> name -> what it adds to the weights.
        weights: name -> array; names and shapes are those that updates must have.
        defence: the limits.
    """
    left_out: dict[str, str] = {}
    flat: dict[str, Array] = {}
    for site, update in updates.items():
        if fault := garbage(update, weights):
            left_out[site] = fault
        else:
            flat[site] = flattened(update, weights)
    measured = compared(flat) if len(flat) > 1 else {}
    if not defence.screen:
        return Screened(tuple(flat), left_out, measured)
    while len(flat) >= TOLD_APART:
        worst = _worst(compared(flat), defence)
        if worst is None:
            break
        site, why = worst
        left_out[site] = why
        del flat[site]
    return Screened(tuple(flat), left_out, measured)


def garbage(update: Arrays, weights: Arrays) -> str:
    """Say what makes an update none; empty where nothing does."""
    if update.keys() != weights.keys():
        other = sorted(update.keys() ^ weights.keys())
        return f"garbage: other arrays than the weights ({len(other)}, such as {other[0]!r})"
    for name, array in weights.items():
        if update[name].shape != array.shape:
            return f"garbage: {name} has the shape {update[name].shape}; expected {array.shape}"
        if update[name].dtype.kind != "f" or not np.isfinite(update[name]).all():
            return f"garbage: {name} holds what is no finite number"
    return ""


def flattened(update: Arrays, weights: Arrays) -> Array:
    """Return an update as one vector, in the order of the weights."""
    return np.concatenate([np.asarray(update[name], np.float64).ravel() for name in weights])


def compared(updates: Mapping[str, Array]) -> dict[str, ComparedUpdate]:
    """Compare each of two or more vectors with the others."""
    lengths = {site: float(np.linalg.norm(vector)) for site, vector in updates.items()}
    found = {}
    for site, vector in updates.items():
        others = [other for name, other in updates.items() if name != site]
        middle = np.median(others, axis=0)
        usual = float(np.median([lengths[name] for name in updates if name != site]))
        both = lengths[site] * float(np.linalg.norm(middle))
        cosine = float(vector @ middle) / both if both else 0.0
        ratio = lengths[site] / usual if usual else (np.inf if lengths[site] else 1.0)
        found[site] = ComparedUpdate(lengths[site], float(ratio), cosine)
    return found


def _worst(measured: Mapping[str, ComparedUpdate], defence: Defence) -> tuple[str, str] | None:
    """Return the site that is most unlike the others and why, or None."""
    site = max(measured, key=lambda name: measured[name].ratio)
    if (ratio := measured[site].ratio) > defence.longest:
        return site, (
            f"poison: its update is {ratio:.3g} times as long as the median of the others "
            f"(limit {defence.longest:g})"
        )
    site = min(measured, key=lambda name: measured[name].cosine)
    if (cosine := measured[site].cosine) < defence.least_cosine:
        return site, (
            f"poison: its update points away from the median of the others, cosine {cosine:.2f} "
            f"(limit {defence.least_cosine:g})"
        )
    return None


def mean(updates: Mapping[str, Arrays], counts: Mapping[str, int]) -> dict[str, Array]:
    """Return the mean of updates weighted by patients, as federated averaging does (McMahan et al.
    2017, arXiv 1602.05629).

    No site counts more than three times the median, whatever number of patients it says.

    Args:
        updates: site -> name -> array.
        counts: site -> patients.
    """
    most = 3 * float(np.median([counts[site] for site in updates]))
    weights = np.array([min(counts[site], most) for site in updates], dtype=float)
    weights /= weights.sum()
    names = next(iter(updates.values()))
    return {
        name: np.asarray(
            sum(
                weight * np.asarray(update[name], np.float64)
                for weight, update in zip(weights, updates.values(), strict=True)
            ),
            np.float32,
        )
        for name in names
    }
