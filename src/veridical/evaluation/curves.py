"""The plots of an evaluation: power spectra, correlation by detail size, volumes by Bland and
Altman, ranks among draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.evaluation.measure import Measured
from veridical.evaluation.results import CaseRow, Curve
from veridical.metrics.limits_of_agreement import bland_altman
from veridical.types import Array

POINTS = 64
"""Points of a curve that is a mean over cases with different grids."""


def curves(measured: Sequence[Measured]) -> tuple[Curve, ...]:
    """Return the plots: noise power, band-wise correlation, volumes by Bland and Altman, ranks
    among draws.
    """
    found = [
        _noise_power(measured),
        _correlation(measured),
        *_volumes([m.row for m in measured]),
        _ranks(measured),
    ]
    return tuple(curve for curve in found if curve is not None)


def _mean_line(lines: Sequence[Array]) -> tuple[Array, Array]:
    """Return the mean of curves `(2, n)` over the positions that all have."""
    low, high = max(line[0, 0] for line in lines), min(line[0, -1] for line in lines)
    x = np.linspace(low, high, POINTS)
    return x, np.mean([np.interp(x, line[0], line[1]) for line in lines], axis=0)


def _noise_power(measured: Sequence[Measured]) -> Curve | None:
    sides: dict[str, list[Array]] = {}
    for one in measured:
        for side, line in one.curves.get("noise-power", {}).items():
            sides.setdefault(side, []).append(line)
    if not sides:
        return None
    means = {side: _mean_line(lines) for side, lines in sides.items()}
    x = means["reference"][0]
    return Curve(
        "pixel/noise-power",
        "pixel",
        "line",
        "Power spectrum",
        "spatial frequency, cycles/mm",
        "power, log scale",
        _plain(x),
        {side: _plain(np.interp(x, *line)) for side, line in means.items()},
        said=(
            "Above the reference at the right end: noise or invented texture. Below it: smoothing."
        ),
    )


def _correlation(measured: Sequence[Measured]) -> Curve | None:
    lines = [
        one.curves["fourier-correlation"]["candidate"]
        for one in measured
        if "fourier-correlation" in one.curves
    ]
    if not lines:
        return None
    x, mean = _mean_line(lines)
    return Curve(
        "pixel/fourier-correlation",
        "pixel",
        "line",
        "Correlation by detail size",
        "spatial frequency, cycles/mm",
        "Fourier correlation",
        _plain(x),
        {"candidate": _plain(mean)},
        {"one half": 0.5},
        said=(
            "Where the curve falls below one half, the detail of the candidate is no longer that "
            "of the reference."
        ),
    )


def _volumes(rows: Sequence[CaseRow]) -> list[Curve]:
    """Return one Bland-Altman plot a structure: mean of both volumes against their difference."""
    found = []
    for name in sorted({name for row in rows for name in row.labelled}):
        pairs = np.array([row.labelled[name] for row in rows if name in row.labelled])
        if len(pairs) < 3:
            continue
        table = bland_altman(pairs[:, 0], pairs[:, 1])
        marks = {"bias": table.bias, "lower limit": table.lower, "upper limit": table.upper}
        title, said = (
            f"Volume of {name}",
            "Each point is a case. Between the limits lie 95 % of the differences (Bland and "
            "Altman).",
        )
        x, y = _plain(pairs.mean(axis=1)), {"cases": _plain(pairs[:, 0] - pairs[:, 1])}
        labels = ("mean of both, ml", "candidate - reference, ml")
        found.append(
            Curve(f"task/volume/{name}", "task", "points", title, *labels, x, y, marks, said)
        )
    return found


def _ranks(measured: Sequence[Measured]) -> Curve | None:
    histograms = [one.ranks for one in measured if one.ranks is not None]
    if not histograms or len({len(h) for h in histograms}) > 1:
        return None
    shares = np.sum([h / h.sum() for h in histograms], axis=0) / len(histograms)
    return Curve(
        "trust/ranks",
        "trust",
        "bars",
        "Rank of the truth among the draws",
        "rank",
        "share of voxels",
        _plain(np.arange(len(shares))),
        {"truth": _plain(shares)},
        {"calibrated": 1 / len(shares)},
        "Flat: calibrated. High at both ends: the draws vary too little. High in the middle: too "
        "much.",
    )


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
