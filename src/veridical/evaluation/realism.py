"""Feature level: are the candidates, as a set, drawn from where the real images are drawn from?

Metrics between sets depend on the size of the sets, and a candidate made from a patient is nearer
to that patient than any other real one is. Both are taken out of the score: it compares half of the
patients' candidates with the other half's real images, and holds that against the same comparison
of real with real and of a blurred copy with real. Where candidates and real images are of the same
patients, that is the value as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from veridical.errors import InputError
from veridical.evaluation import catalogue
from veridical.evaluation.aggregate import Against, Outcome, Setting
from veridical.evaluation.catalogue import Handle
from veridical.evaluation.measure import Measured, Rules
from veridical.evaluation.results import Endpoint
from veridical.evaluation.verdicts import normalised
from veridical.metrics.concordance import concordance
from veridical.metrics.feature_sets import (
    interval,
    permutation_p,
    split_floor,
    split_values,
    standard_error,
    whole,
)
from veridical.types import Array

TESTED = ("kid", "mmd")
"""Metrics that are tests of two samples as well."""
SPLITS = 100
FARTHEST = 5.0
"""Standard deviations of the real set beyond which a feature is no farther away."""
MOST_ROWS = 2500
"""Rows a side; of more, evenly spread ones are taken, so that all pairs fit in memory."""
Set = tuple[Array, list[str]]
"""Rows, and the patient of each."""


def realism(
    measured: Sequence[Measured],
    rules: Rules,
    further: Mapping[str, Mapping[str, Mapping[str, Array]]],
    setting: Setting,
) -> list[Outcome]:
    """Return every metric between sets on every extractor, and the agreement of single features
    where cases are paired.

    Args:
        measured: all cases, with their features.
        rules: of the evaluation.
        further: features of the `second` real set, where there is one.
        setting: of the aggregation.
    """
    found: list[Outcome] = []
    failed = len({one.row.patient for one in measured if one.row.failed})
    everyone = len(
        {m.row.patient for m in measured if not m.row.failed and "reference" not in _only(m)}
    )
    for extractor in rules.extractors:
        sides = {
            side: _gathered(measured, extractor, side)
            for side in ("candidate", "reference", "baseline")
        }
        second = further.get("second", {}).get(extractor)
        if second:
            sides["second"] = _thinned([(rows, name) for name, rows in sorted(second.items())])
        sides = _standardised(sides)
        for handle in catalogue.taking("candidate_features", "reference_features"):
            found.append(_between(handle, extractor, sides, failed, everyone, setting))
        if extractor == "radiomics":
            found += _agreement(measured, extractor)
    return found


def _only(one: Measured) -> set[str]:
    """Return `{"reference"}` for a real image without a candidate, as in sets without pairs."""
    sides = {side for each in one.features.values() for side in each}
    return {"reference"} if sides and "candidate" not in sides else set()


def _between(
    handle: Handle,
    extractor: str,
    sides: Mapping[str, Set],
    failed: int,
    everyone: int,
    setting: Setting,
) -> Outcome:
    protocol, about = setting.protocol, handle.about
    (rows, patients), (real, owners) = sides["candidate"], sides["reference"]
    key = f"feature/{handle.name}/{extractor}"
    count = len(set(patients))
    known = Endpoint(
        key,
        "feature",
        handle.name,
        about.label,
        about.units,
        about.better,
        extractor,
        None,
        n=count,
        analysed=count,
        total=failed + everyone,
        ideal=about.ideal,
    )
    try:
        value = whole(handle.name, rows, real, patients, owners)
        known = replace(known, value=value)
        size = min(len(set(owners)), len(set(patients) | set(owners))) // 2
        apart = _apart(handle, sides, "candidate", size, protocol.seed)
        floor, floor_is = _floor(handle, sides, size, protocol.seed)
        bad = _apart(handle, sides, "baseline", size, protocol.seed)
        given = handle.name, rows, real, patients, owners
        low, high = interval(*given, resamples=protocol.resamples, seed=protocol.seed)
        error = standard_error(*given, resamples=protocol.resamples, seed=protocol.seed)
    except InputError as refusal:
        return replace(
            known, verdict="not_run" if known.value is None else "exploratory", note=str(refusal)
        ), None
    if about.ideal is not None:
        floor, bad = abs(floor - about.ideal), abs(bad - about.ideal)
    known = replace(
        known, floor=floor, floor_is=floor_is, bad=bad, bad_is=setting.baseline_is["feature"]
    )
    found = normalised(
        replace(known, value=apart, interval=(apart + low - value, apart + high - value))
    )
    how = f"{size} patients a side, none on both."
    if not set(patients) & set(owners):
        how = (
            f"Score, floor and baseline: {size} patients a side, where the candidates have "
            f"{apart:.4g}."
        )
        found = replace(found, value=value, interval=(low, high))
    missing = known.total - known.analysed
    left = (
        f"{missing} patients are not in the set: their case failed or this extractor cannot take "
        "it."
        if missing
        else ""
    )
    found = replace(found, note=" ".join(part for part in (found.note, how, left) if part))
    if handle.name in TESTED:
        p = permutation_p(
            handle.name, rows, real, patients, owners, protocol.permutations, protocol.seed
        )
        found = replace(found, p=p)
    declared = protocol.limit(key)
    if declared is None:
        return found, None
    found = replace(found, primary=True, limit=declared.limit, limit_of=declared.of)
    fewer = min(len(set(patients)), len(set(owners)))
    return found, _against(
        found, apart if declared.of == "score" else found.value or 0.0, error, fewer
    )


def _against(e: Endpoint, value: float, error: float, patients: int) -> Against | None:
    """Return the p-values against the limit by Student's t, as the interval is made."""
    if (
        e.limit is None
        or error <= 0
        or (e.limit_of == "score" and (e.score is None or e.bad is None or e.floor is None))
    ):
        return None
    low_good = e.better == "lower" or e.ideal is not None
    limit = (
        e.limit
        if e.limit_of == "value"
        else (e.bad or 0.0) - e.limit * ((e.bad or 0.0) - (e.floor or 0.0))
    )
    ends = (
        [(limit, low_good)]
        if e.ideal is None
        else [(e.ideal + limit, True), (e.ideal - limit, False)]
    )
    share = stats.t(patients - 1)
    better = [
        float(share.cdf((value - end) / error) if below else share.sf((value - end) / error))
        for end, below in ends
    ]
    return max(better), min(1 - p for p in better)


def _floor(handle: Handle, sides: Mapping[str, Set], size: int, seed: int) -> tuple[float, str]:
    """Return what real against real scores at this size, and what it was."""
    if "second" in sides:
        smaller = min(size, len(set(sides["second"][1])))
        return _apart(
            handle, sides, "second", smaller, seed
        ), f"the second real set, {smaller} patients a side"
    real, owners = sides["reference"]
    values = split_floor(handle.name, real, owners, size=size, repeats=SPLITS, seed=seed)
    return float(np.mean(values)), f"one half of the real patients against the other, {size} a side"


def _apart(handle: Handle, sides: Mapping[str, Set], side: str, size: int, seed: int) -> float:
    """Return the mean value between `size` patients of a side and `size` other patients of the
    reference.
    """
    (rows, patients), (real, owners) = sides[side], sides["reference"]
    return float(
        np.mean(
            split_values(
                handle.name, rows, real, patients, owners, size=size, repeats=SPLITS, seed=seed
            )
        )
    )


def _standardised(sides: Mapping[str, Set]) -> dict[str, Set]:
    """Bring every feature to mean 0 and standard deviation 1 of the reference set, so that no
    feature counts for its unit.

    As the Frechet radiomics distance does (Konz et al. 2024, arXiv 2412.01496). Beyond five
    standard deviations counts as five: a few features that hardly vary among real images would
    otherwise outweigh all others in a cubic kernel.
    """
    real, _ = sides["reference"]
    middle, spread = real.mean(axis=0), real.std(axis=0)
    scale = np.maximum(spread, 1e-3 * np.abs(middle)) + 1e-9

    def brought(rows: Array) -> Array:
        return np.asarray(np.clip((rows - middle) / scale, -FARTHEST, FARTHEST))

    return {
        side: (brought(rows) if len(patients) else rows, patients)
        for side, (rows, patients) in sides.items()
    }


def _gathered(measured: Sequence[Measured], extractor: str, side: str) -> Set:
    pairs = [
        (one.features[extractor][side], one.row.patient)
        for one in measured
        if side in one.features.get(extractor, {})
    ]
    return _thinned(pairs)


def _thinned(pairs: Sequence[tuple[Array, str]]) -> Set:
    """Stack the rows of all cases; of too many, evenly spread ones are kept."""
    if not pairs:
        return np.zeros((0, 1)), []
    rows = np.concatenate([rows for rows, _ in pairs])
    patients = [patient for each, patient in pairs for _ in range(len(each))]
    if len(rows) <= MOST_ROWS:
        return rows, patients
    kept = np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)
    return rows[kept], [patients[i] for i in kept]


def _agreement(measured: Sequence[Measured], extractor: str) -> list[Outcome]:
    """Return the median over features of Lin's concordance between candidate and reference, where
    cases are paired.
    """
    both = [
        one
        for one in measured
        if {"candidate", "reference"} <= set(one.features.get(extractor, {}))
    ]
    if len(both) < 3:
        return []
    one, other = (
        np.array([m.features[extractor][side].mean(axis=0) for m in both])
        for side in ("candidate", "reference")
    )
    about = catalogue.about("concordance")
    values = [
        concordance(one[:, i], other[:, i]) for i in range(one.shape[1]) if np.ptp(other[:, i]) > 0
    ]
    low, high = np.quantile(values, (0.05, 0.95))
    note = (
        f"Median over {len(values)} features; 5th to 95th percentile of features {low:.2f} to "
        f"{high:.2f} (not an interval)."
    )
    return [
        (
            Endpoint(
                f"feature/concordance/{extractor}",
                "feature",
                "concordance",
                about.label,
                about.units,
                about.better,
                extractor,
                float(np.median(values)),
                n=len({m.row.patient for m in both}),
                analysed=len(both),
                total=len(measured),
                note=note,
            ),
            None,
        )
    ]
