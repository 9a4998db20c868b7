"""Task level over all cases together: agreement of volumes, and what a classifier learns from the
candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from veridical.errors import InputError
from veridical.evaluation import catalogue
from veridical.evaluation.aggregate import Outcome, Setting, with_interval
from veridical.evaluation.classifier import Labelled, transfer
from veridical.evaluation.lesions import SIDES, as_detections, channels
from veridical.evaluation.measure import Measured, Rules
from veridical.evaluation.results import CaseRow, Endpoint
from veridical.evaluation.statistics import Statistic
from veridical.evaluation.verdicts import normalised
from veridical.metrics.auc import auc
from veridical.metrics.concordance import concordance
from veridical.metrics.lesion_f1 import froc
from veridical.metrics.observer import Detectability, detectability
from veridical.types import Array

PATCHES = ("present", "absent")
FOLDS = 5
FEWEST = 20
"""Real cases with a class from which a classifier is worth training."""
YES, NO = {"1", "yes", "true", "y"}, {"0", "no", "false", "n"}


def usefulness(
    measured: Sequence[Measured], rules: Rules, setting: Setting, column: str
) -> list[Outcome]:
    """Return the endpoints of task level that need all cases at once.

    Args:
        measured: all cases.
        rules: of the evaluation.
        setting: of the aggregation.
        column: of the groups that holds a yes/no class.
    """
    rows = [one.row for one in measured]
    found = [
        _volumes(name, rows, setting)
        for name in sorted({name for row in rows for name in row.labelled})
    ]
    found += [
        _froc(name, measured, setting)
        for name in sorted({name for one in measured for name in one.detections})
    ]
    found += [
        _observer(name, measured)
        for name in sorted({name for one in measured for name in one.patches})
    ]
    return [
        *found,
        *(
            _transfer(name, measured, setting, column)
            for name in rules.extractors
            if _classes(rows, column)
        ),
    ]


def _volumes(name: str, rows: Sequence[CaseRow], setting: Setting) -> Outcome:
    """Return Lin's concordance of a structure's volumes."""
    having = [row for row in rows if name in row.labelled]
    pairs = np.array([row.labelled[name] for row in having])
    empty = _endpoint(
        "concordance", name, len(having), len(having) + sum(bool(row.failed) for row in rows)
    )
    if len(having) < 3:
        return replace(
            empty,
            verdict="not_run",
            note=f"{len(having)} cases with this structure; at least 3 are needed.",
        ), None
    return with_interval(
        empty, _along(lambda i: concordance(pairs[i, 0], pairs[i, 1])), having, setting
    )


def _froc(name: str, measured: Sequence[Measured], setting: Setting) -> Outcome:
    """Return the mean sensitivity to lesions at 1/8 to 8 false alarms a case."""
    having = [one for one in measured if name in one.detections]
    made, real = ([as_detections(one.detections[name], side) for one in having] for side in SIDES)
    empty = Endpoint(
        f"task/froc/{name}",
        "task",
        "froc",
        "FROC sensitivity",
        "1",
        "higher",
        name,
        None,
        analysed=len(having),
        total=len(having) + sum(bool(one.row.failed) for one in measured),
        note="Mean at 1/8 to 8 false alarms a case.",
    )
    try:
        floor = froc(real).mean
    except InputError as error:
        return replace(empty, verdict="not_run", note=str(error)), None
    known = replace(
        empty,
        bad=0.0,
        bad_is="nothing found",
        floor=floor,
        floor_is="the same task on the real image",
    )

    def read(index: Array) -> float:
        chosen = [made[i] for i in index]
        return froc(chosen).mean if any(len(one.found) for one in chosen) else 0.0

    return with_interval(known, _along(read), [one.row for one in having], setting)


def _observer(name: str, measured: Sequence[Measured]) -> Outcome:
    """Return d' of a channelized Hotelling observer that tells lesions from places without one."""
    having = [one for one in measured if one.patches.get(name)]
    empty = Endpoint(
        f"task/detectability/{name}",
        "task",
        "detectability",
        "detectability d'",
        "1",
        "higher",
        name,
        None,
        n=len({one.row.patient for one in having}),
        analysed=len(having),
        total=len(measured),
    )

    def seen(side: str) -> Detectability:
        present, absent = (
            np.concatenate([one.patches[name][f"{side}-{what}"] for one in having])
            for what in PATCHES
        )
        return detectability(present, absent, channels=channels())

    try:
        if not having:
            raise InputError(
                "No lesion has room for a patch around it. Its images may be too small."
            )
        made, real = seen("candidate"), seen("reference")
    except InputError as error:
        return replace(empty, verdict="not_run", note=str(error)), None
    known = replace(empty, value=made.index, interval=made.interval, bad=0.0, bad_is="not visible")
    known = replace(known, floor=real.index, floor_is="the real images at the same places")
    note = (
        f"{made.images[0]} patches with a lesion, {made.images[1]} without, {made.channels} "
        "channels; Hotelling's T2 interval."
    )
    return normalised(replace(known, note=note)), None


def _transfer(
    extractor: str, measured: Sequence[Measured], setting: Setting, column: str
) -> Outcome:
    """Return the AUC on real cases of a classifier trained on generated ones; the floor is one
    trained on real ones.
    """
    sides = {
        side: _labelled(measured, extractor, side, column) for side in ("candidate", "reference")
    }
    generated, real = sides["candidate"][0], sides["reference"][0]
    empty = _endpoint("auc", f"{column} by {extractor}", len(real.truth), len(real.truth))
    try:
        if min(len(generated.truth), len(real.truth)) < FEWEST:
            raise InputError(
                f"{len(generated.truth)} generated and {len(real.truth)} real cases have a class; "
                f"expected {FEWEST}."
            )
        synthetic, control = transfer(generated, real, FOLDS, setting.protocol.seed)
        floor = auc(control, real.truth)
    except InputError as error:
        return replace(empty, verdict="not_run", note=str(error)), None
    known = replace(
        empty,
        bad=0.5,
        bad_is="chance",
        floor=floor,
        floor_is="the same classifier, trained on as many real cases",
    )
    return with_interval(
        known, _along(lambda i: auc(synthetic[i], real.truth[i])), sides["reference"][1], setting
    )


def _along(function: Callable[[Array], float]) -> Statistic:
    """Return a function of positions `(n,)` as one along the last axis of many."""

    def value(index: Array) -> float:
        try:
            return function(index)
        except InputError:  # a resample of one class has no AUC
            return float("nan")

    return lambda index: np.apply_along_axis(value, -1, index)


def _labelled(
    measured: Sequence[Measured], extractor: str, side: str, column: str
) -> tuple[Labelled, list[CaseRow]]:
    """Return the cases of one side that have a class; rows of features of a case are averaged."""
    chosen = [
        one
        for one in measured
        if side in one.features.get(extractor, {})
        and one.row.groups.get(column, "").lower() in YES | NO
    ]
    features = np.array([one.features[extractor][side].mean(axis=0) for one in chosen])
    truth = np.array([one.row.groups[column].lower() in YES for one in chosen], dtype=bool)
    return Labelled(features, truth, [one.row.patient for one in chosen]), [
        one.row for one in chosen
    ]


def _classes(rows: Sequence[CaseRow], column: str) -> bool:
    return any(row.groups.get(column, "").lower() in YES | NO for row in rows)


def _endpoint(metric: str, region: str, analysed: int, total: int) -> Endpoint:
    about = catalogue.about(metric)
    return Endpoint(
        f"task/{metric}/{region}",
        "task",
        metric,
        about.label,
        about.units,
        about.better,
        region,
        None,
        analysed=analysed,
        total=total,
        ideal=about.ideal,
    )
