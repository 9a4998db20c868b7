"""All cases, a few at a time: measured in threads, kept on disk as they come, failures written down
and not hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from veridical.errors import InputError, VeridicalError
from veridical.evaluation import store
from veridical.evaluation.cases import Case, Cases
from veridical.evaluation.measure import Measured, Rules, embedded, measure
from veridical.evaluation.protocol import Protocol
from veridical.evaluation.regions import blurred
from veridical.evaluation.results import CaseRow
from veridical.evaluation.sources import Source
from veridical.task import Progress
from veridical.types import Array

RANGE_CASES = 16
"""Reference images, evenly spread over the cases, from which the range of the signal is found."""
PERCENTILES = (0.5, 99.5)
T = TypeVar("T")


@dataclass(frozen=True)
class Schedule:
    """How cases are worked through.

    Args: folder: where measured cases are kept until the report stands; None keeps nothing.
        workers: cases at a time. progress: called as work goes on. extra: what the numbers depend
        on beside files and rules, e.g. the hash of a trained segmenter.
    """

    folder: Path | None
    workers: int
    progress: Progress
    extra: str = ""


def with_range(protocol: Protocol, cases: Cases, failed: Mapping[str, str]) -> tuple[Protocol, str]:
    """Return the protocol with its data range and window filled in from the reference images where
    it leaves them open, and the images' units.

    Raises:
        InputError: no reference image can be read.
    """
    usable = [
        case.reference
        for case in cases.cases
        if case.reference is not None and case.name not in failed
    ]
    if not usable:
        raise InputError(
            "No reference image can be used, so there is nothing to compare with. See the "
            "integrity findings."
        )
    chosen = [
        usable[i]
        for i in np.unique(np.linspace(0, len(usable) - 1, RANGE_CASES).round().astype(int))
    ]
    images = (source.load() for source in chosen)
    found = [(np.percentile(image.data, PERCENTILES), image.units) for image in images]
    ends = np.array([percentiles for percentiles, _ in found])
    low, high = (
        float(np.format_float_positional(end, 6, fractional=False)) for end in ends.mean(axis=0)
    )
    if high <= low:
        raise InputError(
            f"The reference images range from {low:g} to {high:g}, no range. Set data_range in a "
            "protocol."
        )
    window = protocol.window if protocol.window[1] > protocol.window[0] else (low, high)
    return replace(protocol, data_range=protocol.data_range or high - low, window=window), found[0][
        1
    ]


def measure_all(
    cases: Cases, rules: Rules, failed: Mapping[str, str], running: Schedule
) -> list[Measured]:
    """Measure every case, in the order of the cases; of pairs, one without a reference has nothing
    to be measured against.

    Args:
        cases: all of them.
        rules: of the evaluation.
        failed: case -> reason, from the integrity gate; these are not measured.
        running: workers, resume, progress.
    """
    first = next((case.name for case in cases.cases if case.name not in failed), "")

    def one(case: Case) -> Measured:
        if case.name in failed:
            return _failure(case, failed[case.name])
        try:
            return (
                measure(case, rules, itself=case.name == first)
                if cases.paired
                else one_side(case, rules)
            )
        except VeridicalError as error:
            return _failure(case, str(error))

    listed = [case for case in cases.cases if case.reference is not None or not cases.paired]
    return _run(listed, lambda case: _kept(case, rules, running, one), running, "measuring cases")


def embed_all(
    sources: Mapping[str, Source], rules: Rules, running: Schedule, what: str
) -> dict[str, dict[str, Array]]:
    """Return extractor -> case -> rows of features for further real images, e.g. a second site."""

    def one(case: Case) -> Measured:
        return one_side(case, rules)

    listed = [Case(name, name, None, source, {}, {}) for name, source in sorted(sources.items())]
    done = _run(listed, lambda case: _kept(case, rules, running, one), running, what)
    return {
        name: {m.row.case: m.features[name]["reference"] for m in done if m.features.get(name)}
        for name in rules.extractors
    }


def one_side(case: Case, rules: Rules) -> Measured:
    """Measure a case of which there is only one side: its features, those of its blurred self where
    it is real, and what the user's tasks say of it.
    """
    side = "candidate" if case.candidate is not None else "reference"
    source = case.candidate or case.reference
    if source is None:
        raise InputError(f"{case.name} has no image.")
    image = source.load()
    images = {side: image} | (
        {"baseline": blurred(image, rules.protocol.blur)} if side == "reference" else {}
    )
    features = {name: embedded(images, rules, name, None) for name in rules.extractors}
    answers = {name: probe(image) for name, probe in rules.probes.items()}
    numbers = {
        f"task/{name}/number": float(answer)
        for name, answer in answers.items()
        if isinstance(answer, float | int)
    }
    return Measured(CaseRow(case.name, case.patient, numbers, groups=case.groups), features)


def _kept(case: Case, rules: Rules, running: Schedule, one: Callable[[Case], Measured]) -> Measured:
    """Return a case measured before, or measure and keep it."""
    if running.folder is None:
        return one(case)
    name = store.key(case, rules, running.extra)
    measured = store.load(running.folder, name)
    if measured is None:
        measured = one(case)
        store.save(measured, running.folder, name)
    return measured


def _failure(case: Case, reason: str) -> Measured:
    return Measured(CaseRow(case.name, case.patient, failed=reason, groups=case.groups))


def _run(items: Sequence[Case], work: Callable[[Case], T], running: Schedule, what: str) -> list[T]:
    running.progress(what, 0, len(items))
    with ThreadPoolExecutor(max_workers=max(1, running.workers)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for done, _ in enumerate(as_completed(futures), 1):
                running.progress(what, done, len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]
