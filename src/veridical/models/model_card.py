"""The model card: what weights are for, where they fail, what they learned from, how well they do
it. It is the JSON beside the weights; what is missing in it can be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FORMAT = "veridical-card-1"
SHORTEST = 40
"""Characters of a text that says something; a word or two do not."""


@dataclass(frozen=True)
class CardScore:
    """One score of a card.

    Args:
        metric, units, better: what was measured.
        job: as results name it, `complete-FLAIR`, or what the network learned.
        on: on whom.
        n, of: how many of what the interval is over: patients, held-out batches, ...
        value, interval: mean, and its 95 % interval.
        baseline: what the simple or classical method scores there, None where there is none.
        source: where it is from: `validation of the training`, a report, a page of measurements.
    """

    metric: str
    units: str
    better: Literal["higher", "lower"]
    job: str
    on: str
    n: int
    of: str
    value: float
    interval: tuple[float, float]
    baseline: float | None = None
    source: str = ""


@dataclass(frozen=True)
class ModelCard:
    """A card, as far as people read it. The network, its preprocessing and what else runs it are
    further entries of the JSON.

    Args:
        model: name of the model.
        intended_use: for which images, for what, by whom.
        limits: what it is not for.
        known_failures: what is known to go wrong, with figures; at least one.
        sources: source of data -> its share.
        patients, validation_patients: source -> number of patients, where they are counted.
        licences: source -> licence; of every source.
        scores: with intervals; at least one.
        calibration: job -> calibration of its interval.
        uncalibrated: why there is none; empty where there is.
        scope: what the training images look like, by which new images are judged.
        scope_said: the same in words, where no image was described.
        audits: check -> `verdict`, `reason` and `head` of the signed audit that found it: whether
            what it makes copies its training images.
        may_ship, barred_by: whether the weights may be passed on, and which sources forbid it.
        trained_from: weights that training started from.
    """

    model: str
    intended_use: str = ""
    limits: str = ""
    known_failures: tuple[str, ...] = ()
    sources: Mapping[str, float] = field(default_factory=dict)
    patients: Mapping[str, int] = field(default_factory=dict)
    validation_patients: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[CardScore, ...] = ()
    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    uncalibrated: str = ""
    scope: Mapping[str, Any] = field(default_factory=dict)
    scope_said: str = ""
    audits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    may_ship: bool = False
    barred_by: tuple[str, ...] = ()
    trained_from: Mapping[str, Any] = field(default_factory=dict)


def read(card: Mapping[str, Any]) -> ModelCard:
    """Return what people read of the JSON of a card; entries of the wrong kind count as missing."""
    return ModelCard(
        str(card.get("model", "")),
        _text(card, "intended_use"),
        _text(card, "limits"),
        tuple(str(one) for one in _list(card.get("known_failures"))),
        _mapping(_mapping(card.get("data")).get("sources")),
        _mapping(card.get("patients")),
        _mapping(card.get("validation_patients")),
        _mapping(card.get("licences")),
        tuple(_scores(card.get("scores"))),
        _mapping(card.get("calibration")),
        _text(card, "uncalibrated"),
        _mapping(card.get("training_data")),
        _text(card, "scope"),
        {name: _mapping(one) for name, one in _mapping(card.get("audits")).items()},
        card.get("may_ship") is True,
        tuple(str(one) for one in _list(card.get("barred_by"))),
        _mapping(card.get("from")),
    )


def lacking(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a card lacks, one short phrase each; empty where it is complete.

    Args:
        card: the JSON.
    """
    said = read(card)
    stated = [name.split("/")[-1] for name in said.sources]
    unlicensed = sorted(
        name for name in stated if len(str(said.licences.get(name, "")).strip()) < 2
    )
    failures = [one for one in said.known_failures if len(one) >= SHORTEST]
    wanted = {
        f"format: {FORMAT!r}": card.get("format") == FORMAT,
        "intended_use: for which images, for what and by whom": len(said.intended_use) >= SHORTEST,
        "limits: what it is not for": len(said.limits) >= SHORTEST,
        "known_failures: a list of what is known to go wrong": bool(failures),
        "data.sources: what it learned from": bool(said.sources),
        f"licences of {', '.join(unlicensed) or 'the sources'}": not unlicensed,
        "scores with intervals": bool(said.scores),
        "calibration, or uncalibrated: why there is none": bool(
            said.calibration or len(said.uncalibrated) >= SHORTEST
        ),
        "training_data, or scope: what the training images look like": bool(
            said.scope or len(said.scope_said) >= SHORTEST
        ),
        "audits.copies: whether it copies its training images (veridical audit IMAGES --training "
        "DIR, then veridical card NAME --audit report.json)": _audited(said.audits, "copies"),
        "may_ship: whether it may be passed on": isinstance(card.get("may_ship"), bool),
    }
    return tuple(what for what, there in wanted.items() if not there)


def _scores(said: Any) -> Iterator[CardScore]:
    """Yield the scores that are whole: numbers, and an interval that holds the value."""
    for one in _list(said):
        try:
            low, high = one["interval"]
            score = CardScore(**{**one, "interval": (float(low), float(high))})
        except (TypeError, KeyError, ValueError):
            continue
        if low <= score.value <= high and score.n > 0:
            yield score


def _audited(audits: Mapping[str, Mapping[str, Any]], check: str) -> bool:
    """Say whether a check gave a verdict and a reason for it."""
    found = audits.get(check, {})
    return bool(found.get("verdict")) and len(str(found.get("reason", ""))) >= SHORTEST


def _text(card: Mapping[str, Any], key: str) -> str:
    found = card.get(key, "")
    return found.strip() if isinstance(found, str) else ""


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _list(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list | tuple) else ()
