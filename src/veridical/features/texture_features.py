"""Texture features from texture matrices, as the Image Biomarker Standardisation Initiative (IBSI)
defines them.

Sections 3.6 to 3.11 of the IBSI reference manual, arXiv 1612.07003, with its aggregations: features
of every slice averaged (2D), matrices of slices summed first (2.5D), or the volume as one (3D); and
for co-occurrences and runs, features of every direction averaged, or matrices of directions merged
first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from veridical.features.texture_matrices import (
    Levels,
    cooccurrences,
    neighbourhoods,
    run_lengths,
    zones,
)
from veridical.types import Array

Dimensions = Literal["2D", "2.5D", "3D"]
COARSEST = 1e6
"""NGTDM coarseness of a constant region (IBSI 3.10.1)."""


def texture(levels: Levels, dimensions: Dimensions = "3D", merged: bool = True) -> dict[str, float]:
    """Return all texture features of a discretised region.

    Args: levels: the region. dimensions: 2D averages the features of slices, 2.5D sums the matrices
        of slices, 3D takes the volume as one, in which a region of one slice has directions and a
        border across it. merged: sum the matrices of all directions (GLCM, GLRLM); else their
        features are averaged.

    Returns: IBSI name -> value: `glcm_` (25), `glrlm_`, `glszm_`, `gldzm_` (16 each), `ngtdm_` (5),
        `ngldm_` (17). All are finite.

    Raises:
        InputError: no two voxels of the region touch each other.
    """
    slicewise, together = dimensions != "3D", dimensions == "2.5D"
    volume = np.count_nonzero(levels.block, axis=(1, 2))[1:-1]
    volumes = volume if slicewise else volume.sum(keepdims=True)
    pairs = _merged(cooccurrences(levels, slicewise), together, merged)
    runs = _merged(run_lengths(levels, slicewise), together, merged)
    counted = _merged(
        np.repeat(volumes[:, None], 13 if not slicewise else 4, axis=1), together, merged
    )
    found = zones(levels, slicewise)
    tones, dependences = neighbourhoods(levels, slicewise)
    if together:
        found, volumes = [np.concatenate(found)], volumes.sum(keepdims=True)
        tones, dependences = (
            tones.sum(axis=0, keepdims=True),
            dependences.sum(axis=0, keepdims=True),
        )
    return (
        _mean(_glcm(matrix / matrix.sum()) for matrix in pairs if matrix.any())
        | _mean(
            _emphases(*_listed(m), n, GLRLM) for m, n in zip(runs, counted, strict=True) if m.any()
        )
        | _mean(
            _emphases(*_tallied(m[:, 0], m[:, 1]), n, GLSZM)
            for m, n in zip(found, volumes, strict=True)
            if len(m)
        )
        | _mean(
            _emphases(*_tallied(m[:, 0], m[:, 2]), n, GLDZM)
            for m, n in zip(found, volumes, strict=True)
            if len(m)
        )
        | _mean(_ngtdm(counts, differences) for counts, differences in tones if counts.any())
        | _mean(
            _ngldm(*_listed(m), n) for m, n in zip(dependences, volumes, strict=True) if m.any()
        )
    )


def _merged(counts: Array, together: bool, merged: bool) -> Array:
    """Sum `(slice, direction, ...)` over slices and over directions where asked to; the rest in one
    row.
    """
    summed = counts.sum(axis=0, keepdims=True) if together else counts
    summed = summed.sum(axis=1, keepdims=True) if merged else summed
    return np.asarray(summed.reshape(-1, *counts.shape[2:]))


def _mean(found: Iterable[dict[str, float]]) -> dict[str, float]:
    rows = list(found)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _listed(matrix: Array) -> tuple[Array, Array, Array]:
    """Return row, column (both from 1) and content of what is not zero in a matrix."""
    i, j = np.nonzero(matrix)
    return i + 1.0, j + 1.0, matrix[i, j].astype(np.float64)


def _tallied(i: Array, j: Array) -> tuple[Array, Array, Array]:
    """Return the pairs that occur and how often."""
    keys, counts = np.unique(i * (j.max() + 1) + j, return_counts=True)
    rows, columns = np.divmod(keys, j.max() + 1)
    return rows.astype(np.float64), columns.astype(np.float64), counts.astype(np.float64)


def _entropy(share: Array) -> float:
    """Return the entropy in bits."""
    share = share[share > 0]
    return abs(float(share @ np.log2(share)))


GLRLM = (
    "glrlm_short_runs_emphasis",
    "glrlm_long_runs_emphasis",
    "glrlm_low_grey_level_run_emphasis",
    "glrlm_high_grey_level_run_emphasis",
    "glrlm_short_run_low_grey_level_emphasis",
    "glrlm_short_run_high_grey_level_emphasis",
    "glrlm_long_run_low_grey_level_emphasis",
    "glrlm_long_run_high_grey_level_emphasis",
    "glrlm_grey_level_non_uniformity",
    "glrlm_normalised_grey_level_non_uniformity",
    "glrlm_run_length_non_uniformity",
    "glrlm_normalised_run_length_non_uniformity",
    "glrlm_run_percentage",
    "glrlm_grey_level_variance",
    "glrlm_run_length_variance",
    "glrlm_run_entropy",
)
GLSZM = (
    "glszm_small_zone_emphasis",
    "glszm_large_zone_emphasis",
    "glszm_low_grey_level_zone_emphasis",
    "glszm_high_grey_level_zone_emphasis",
    "glszm_small_zone_low_grey_level_emphasis",
    "glszm_small_zone_high_grey_level_emphasis",
    "glszm_large_zone_low_grey_level_emphasis",
    "glszm_large_zone_high_grey_level_emphasis",
    "glszm_grey_level_non_uniformity",
    "glszm_normalised_grey_level_non_uniformity",
    "glszm_zone_size_non_uniformity",
    "glszm_normalised_zone_size_non_uniformity",
    "glszm_zone_percentage",
    "glszm_grey_level_variance",
    "glszm_zone_size_variance",
    "glszm_zone_size_entropy",
)
GLDZM = (
    "gldzm_small_distance_emphasis",
    "gldzm_large_distance_emphasis",
    "gldzm_low_grey_level_zone_emphasis",
    "gldzm_high_grey_level_zone_emphasis",
    "gldzm_small_distance_low_grey_level_emphasis",
    "gldzm_small_distance_high_grey_level_emphasis",
    "gldzm_large_distance_low_grey_level_emphasis",
    "gldzm_large_distance_high_grey_level_emphasis",
    "gldzm_grey_level_non_uniformity",
    "gldzm_normalised_grey_level_non_uniformity",
    "gldzm_zone_distance_non_uniformity",
    "gldzm_normalised_zone_distance_non_uniformity",
    "gldzm_zone_percentage",
    "gldzm_grey_level_variance",
    "gldzm_zone_distance_variance",
    "gldzm_zone_distance_entropy",
)
NGLDM = (
    "ngldm_low_dependence_emphasis",
    "ngldm_high_dependence_emphasis",
    "ngldm_low_grey_level_count_emphasis",
    "ngldm_high_grey_level_count_emphasis",
    "ngldm_low_dependence_low_grey_level_emphasis",
    "ngldm_low_dependence_high_grey_level_emphasis",
    "ngldm_high_dependence_low_grey_level_emphasis",
    "ngldm_high_dependence_high_grey_level_emphasis",
    "ngldm_grey_level_non_uniformity",
    "ngldm_normalised_grey_level_non_uniformity",
    "ngldm_dependence_count_non_uniformity",
    "ngldm_normalised_dependence_count_non_uniformity",
    "ngldm_dependence_count_percentage",
    "ngldm_grey_level_variance",
    "ngldm_dependence_count_variance",
    "ngldm_dependence_count_entropy",
)


def _emphases(
    i: Array, j: Array, counts: Array, voxels: int, names: Sequence[str]
) -> dict[str, float]:
    """Return the 16 features that runs, zones and dependences share (IBSI 3.7 to 3.9 and 3.11).

    Args:
        i, j: grey level and length (size, distance, dependence) of what occurs.
        counts: how often.
        voxels: how many voxels were counted, once for every matrix that was merged.
        names: of the features, in the manual's order.
    """
    total = counts.sum()
    share = counts / total
    by_level, by_size = (
        np.bincount(np.unique(k, return_inverse=True)[1], weights=share) for k in (i, j)
    )
    values = (
        share @ j**-2.0,
        share @ j**2,
        share @ i**-2.0,
        share @ i**2,
        share @ (i * j) ** -2.0,
        share @ (i / j) ** 2,
        share @ (j / i) ** 2,
        share @ (i * j) ** 2,
        total * (by_level @ by_level),
        by_level @ by_level,
        total * (by_size @ by_size),
        by_size @ by_size,
        total / voxels,
        share @ (i - share @ i) ** 2,
        share @ (j - share @ j) ** 2,
        _entropy(share),
    )
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _ngldm(i: Array, j: Array, counts: Array, voxels: int) -> dict[str, float]:
    energy = float(((counts / counts.sum()) ** 2).sum())
    return _emphases(i, j, counts, voxels, NGLDM) | {"ngldm_dependence_count_energy": energy}


def _glcm(p: Array) -> dict[str, float]:
    """Return the 25 features of a symmetric co-occurrence matrix of sum 1 (IBSI 3.6).

    What the manual leaves undefined for a single grey level: correlation is then 1, the measures of
    information correlation 0.
    """
    number = len(p)
    i = np.arange(1.0, number + 1)
    row, column = i[:, None], i[None, :]
    apart, both = np.abs(row - column), row + column
    marginal = p.sum(axis=1)
    mean = float(marginal @ i)
    variance = float(marginal @ (i - mean) ** 2)
    difference = np.bincount(apart.astype(np.int64).ravel(), weights=p.ravel(), minlength=number)
    total = np.bincount(both.astype(np.int64).ravel(), weights=p.ravel())
    k, s = np.arange(float(number)), np.arange(float(len(total)))
    dissimilarity, average = float(difference @ k), float(total @ s)
    independent = marginal[:, None] * marginal[None, :]
    occurs = p > 0
    joint, alone = _entropy(p), _entropy(marginal)
    crossed = -float(p[occurs] @ np.log2(independent[occurs]))
    surplus = max(0.0, _entropy(independent) - joint)
    return {
        "glcm_joint_maximum": float(p.max()),
        "glcm_joint_average": mean,
        "glcm_joint_variance": variance,
        "glcm_joint_entropy": joint,
        "glcm_difference_average": dissimilarity,
        "glcm_difference_variance": float(difference @ (k - dissimilarity) ** 2),
        "glcm_difference_entropy": _entropy(difference),
        "glcm_sum_average": average,
        "glcm_sum_variance": float(total @ (s - average) ** 2),
        "glcm_sum_entropy": _entropy(total),
        "glcm_angular_second_moment": float((p**2).sum()),
        "glcm_contrast": float(difference @ k**2),
        "glcm_dissimilarity": dissimilarity,
        "glcm_inverse_difference": float(difference @ (1 / (1 + k))),
        "glcm_normalised_inverse_difference": float(difference @ (1 / (1 + k / number))),
        "glcm_inverse_difference_moment": float(difference @ (1 / (1 + k**2))),
        "glcm_normalised_inverse_difference_moment": float(
            difference @ (1 / (1 + (k / number) ** 2))
        ),
        "glcm_inverse_variance": float(difference[1:] @ k[1:] ** -2.0),
        "glcm_correlation": (float((p * row * column).sum()) - mean**2) / variance
        if alone
        else 1.0,
        "glcm_autocorrelation": float((p * row * column).sum()),
        "glcm_cluster_tendency": float((p * (both - 2 * mean) ** 2).sum()),
        "glcm_cluster_shade": float((p * (both - 2 * mean) ** 3).sum()),
        "glcm_cluster_prominence": float((p * (both - 2 * mean) ** 4).sum()),
        "glcm_first_measure_of_information_correlation": (joint - crossed) / alone
        if alone
        else 0.0,
        "glcm_second_measure_of_information_correlation": float(np.sqrt(1 - np.exp(-2 * surplus))),
    }


def _ngtdm(counts: Array, differences: Array) -> dict[str, float]:
    """Return the 5 features of grey tone differences (IBSI 3.10), with the values that the manual
    gives to a constant region.

    Args:
        counts: voxels of each level that have neighbours.
        differences: their summed difference from the neighbours' mean.
    """
    level = np.flatnonzero(counts) + 1.0
    s = differences[counts > 0]
    voxels = counts.sum()
    p = counts[counts > 0] / voxels
    present = len(level)
    apart = level[:, None] - level[None, :]
    weighted = float(p @ s)
    unevenness = float(np.abs((level * p)[:, None] - (level * p)[None, :]).sum())
    pairs = p[:, None] + p[None, :]
    spread = float(p @ apart**2 @ p) / (present * (present - 1)) if present > 1 else 0.0
    tones = (p * s)[:, None] + (p * s)[None, :]
    return {
        "ngtdm_coarseness": min(1 / weighted, COARSEST) if weighted else COARSEST,
        "ngtdm_contrast": spread * float(s.sum()) / voxels,
        "ngtdm_busyness": weighted / unevenness if unevenness else 0.0,
        "ngtdm_complexity": float((np.abs(apart) * tones / pairs).sum()) / voxels,
        "ngtdm_strength": float((pairs * apart**2).sum()) / float(s.sum()) if s.any() else 0.0,
    }
