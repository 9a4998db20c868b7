"""What every task must keep."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from veridical.errors import VeridicalError
from veridical.provenance import inputs
from veridical.task import Task, setting_docs
from veridical.testing.subjects import study as fitting
from veridical.types import Image, Measurement, Result, Study

COMPANIONS = ("draws", "interval", "evidence")


def check_task(kind: type[Task], study: Study | None = None, **settings: Any) -> Result:
    """Check a task class by running it on a small study.

    Settings survive a record and have docs; the same seed gives the same bytes; the study stays as
    it was; the grid keeps its frame; each companion is there or its absence is explained, has the
    estimate's shape and keeps its range; findings have reasons; NaN are refused.

    Args:
        kind: the class.
        study: to run it on; None: a small one by what the task takes.
        settings: of the task.

    Returns:
        The result, for further checks.

    Raises:
        AssertionError: a promise is broken.
    """
    _settings(kind)
    task, subject = kind(**settings), study or fitting(kind.takes)
    before = inputs(subject)
    result = task(subject, seed=1)
    assert inputs(subject) == before, "the study was changed"
    assert dict(result.steps[-1].inputs) == before, (
        "the provenance does not hold the hashes of the input"
    )
    again = task(subject, seed=1)
    assert dict(again.steps[-1].outputs) == dict(result.steps[-1].outputs), (
        "the same seed gave other bytes"
    )
    _companions(result)
    _sound(result, subject)
    for bad in _damaged(subject):
        try:
            task(bad)
        except VeridicalError:
            continue
        raise AssertionError("a study with NaN in it was not refused; expected an InputError")
    return result


def _settings(kind: type[Task]) -> None:
    usual = kind()
    stored = json.loads(json.dumps(dataclasses.asdict(usual)))
    plain = {
        key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
    }
    assert kind.from_settings(plain) == usual, "settings do not survive being stored as JSON"
    silent = [
        field.name for field in dataclasses.fields(kind) if field.name not in setting_docs(kind)
    ]
    assert not silent, f"no docstring says what these settings do: {', '.join(silent)}"


def _companions(result: Result) -> None:
    evidence = None if result.evidence is None else result.evidence.map
    values = {"draws": result.draws, "interval": result.interval, "evidence": evidence}
    for name, value in values.items():
        missing = name in result.absent
        wrong = "there, yet called" if missing else "missing and not said to be"
        assert (value is None) == missing, f"{name} is {wrong} absent"
        assert not missing or len(result.absent[name]) > 10, f"it is not said why {name} is absent"
    shape = result.image.data.shape
    assert result.draws is None or result.draws.shape[1:] == shape, (
        "draws have another shape than the estimate"
    )
    if result.interval is not None:
        lower, upper = result.interval.lower, result.interval.upper
        assert lower.shape == upper.shape == shape, (
            "the interval has another shape than the estimate"
        )
        assert (lower <= upper).all(), "a lower end lies above its upper end"
        assert 0 < result.interval.level < 1, "the level is no share"
    if evidence is not None:
        assert evidence.shape == shape, "the evidence has another shape than the estimate"
        assert evidence.min() >= 0, "evidence below 0"
        assert evidence.max() <= 1, "evidence above 1"


def _sound(result: Result, subject: Study) -> None:
    assert np.isfinite(result.image.data).all(), "the estimate is not finite"
    first = next(iter(subject.visit().values()))
    assert result.image.geometry.frame == first.geometry.frame, "the frame of reference was changed"
    assert result.findings, "no audit said anything"
    assert all(len(finding.reason) > 10 for finding in result.findings), "a finding has no reason"


def _damaged(subject: Study) -> list[Study]:
    """Return the study with NaN in what its last visit holds."""
    day = subject.days[-1]
    visit: dict[str, Image | Measurement] = {}
    for name, one in subject.visits[day].items():
        data = np.array(one.data)
        data.flat[data.size // 2] = np.nan
        visit[name] = dataclasses.replace(one, data=data)
    return [dataclasses.replace(subject, visits={**subject.visits, day: visit})]
