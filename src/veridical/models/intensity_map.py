"""Intensity map: a polynomial from the contrasts that were measured to one that was not. The
classical answer to completion.

Fitted by least squares on training patients, for every set of measured contrasts, on intensities
relative to the inner tissue. It is where every generator starts, and the rival that it has to beat.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.models.base import ImageModel, WithWeights
from veridical.types import Array

DEGREE = 3
"""Of the polynomial: a fourth gains 1 % on another scanner, a second loses 6 %."""
RIDGE = 1e-4
"""Of the fit, relative to the mean square of each term: keeps maps of few patients from wild
coefficients.
"""
SHOWN = (0.2, 99.8)
"""Percentiles of the training voxels between which a map stays: a polynomial runs away on
intensities that it was not fitted on.
"""
NEVER_SEEN: Mapping[str, Any] = {"terms": [0.4], "error": 0.3, "range": [-1.0, 4.0]}
"""Of a contrast that no training patient had: about what MR images show."""
Coefficients = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Contrast to be made -> measured contrasts joined by `+` -> `terms`, `error` and `range`."""


def terms(images: Sequence[Array]) -> list[Array]:
    """Return every product of up to `DEGREE` of the images, the constant first."""
    found = [np.ones_like(images[0])]
    for degree in range(1, DEGREE + 1):
        found += [
            reduce(np.multiply, chosen)
            for chosen in itertools.combinations_with_replacement(images, degree)
        ]
    return found


def fit(
    samples: Iterable[Mapping[str, Array]], contrasts: Sequence[str], most: int = 3
) -> dict[str, Any]:
    """Fit all maps.

    Args: samples: of each training visit, contrast -> `(voxel,)` foreground voxels in network
        units, the same ones in all. contrasts: that may be given or made. most: measured contrasts
        that a map takes.
    """
    found: dict[str, Any] = {}
    every = [{name: v for name, v in sample.items() if name in contrasts} for sample in samples]
    for made in contrasts:
        with_it = [sample for sample in every if made in sample]
        if not with_it:
            continue
        truth = np.concatenate([sample[made] for sample in with_it])
        found[made] = {
            "": {
                "terms": [float(truth.mean())],
                "error": float(truth.std()),
                "range": _range(truth),
            }
        }
        sets = {
            s
            for sample in with_it
            for n in range(1, most + 1)
            for s in itertools.combinations(sorted(set(sample) - {made}), n)
        }
        for given in sorted(sets):
            found[made]["+".join(given)] = _map(
                [s for s in with_it if set(given) <= set(s)], given, made
            )
    return found


def _map(
    samples: Sequence[Mapping[str, Array]], given: tuple[str, ...], made: str
) -> dict[str, Any]:
    rows = np.stack(
        terms([np.concatenate([sample[name] for sample in samples]) for name in given]), 1
    )
    truth = np.concatenate([sample[made] for sample in samples])
    gram = rows.T @ rows / len(rows)
    found = np.linalg.solve(gram + RIDGE * np.diag(np.diag(gram)), rows.T @ truth / len(rows))
    low, high = _range(truth)
    error = float(np.sqrt(np.mean((np.clip(rows @ found, low, high) - truth) ** 2)))
    return {
        "terms": [round(float(v), 6) for v in found],
        "error": round(error, 5),
        "range": _range(truth),
    }


def _range(truth: Array) -> list[float]:
    return [round(float(v), 4) for v in np.percentile(truth, SHOWN)]


def estimate(
    maps: Coefficients, images: Mapping[str, Array], made: str, support: Array, air: float
) -> tuple[Array, float]:
    """Return a contrast as the best map makes it, and its expected error.

    Args:
        maps: from `fit`.
        images: contrast -> `(..., y, x)` in network units.
        made: the contrast.
        support: where the object is; `air` elsewhere.
        air: what the contrast shows there.
    """
    known = maps.get(made, {})
    usable = [name for name in known if name and set(name.split("+")) <= set(images)]
    best = min(usable, key=lambda name: known[name]["error"], default="")
    stored = known.get(best, NEVER_SEEN)
    parts = terms([images[name] for name in best.split("+")]) if best else [np.ones_like(support)]
    whole = sum(weight * part for weight, part in zip(stored["terms"], parts, strict=True))
    inside = np.clip(np.asarray(whole, np.float32), *stored["range"])
    return np.asarray(air + (inside - air) * support, np.float32), max(
        LEAST_LEVEL, float(stored["error"])
    )


def spread_of(maps: Coefficients, contrast: str) -> float:
    """Return the standard deviation of a contrast over such images, of which nothing else is
    known.
    """
    return float(maps.get(contrast, {}).get("", NEVER_SEEN)["error"])


@dataclass(frozen=True)
class IntensityMap(WithWeights, ImageModel):
    """The polynomial alone, as the card of a generator's weights holds it."""

    name: ClassVar[str] = "intensity-map"
    weights: str = "brain"
    """Name of shipped weights, or the path of a .safetensors file, whose card holds the maps."""

    def make(self, requests: Sequence[Request], draws: int, noise: Array | None = None) -> Array:
        return np.stack([request.initial for request in requests])[:, None]
