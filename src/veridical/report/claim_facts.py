"""What a model card, an audit and a ledger say of themselves, for checklists: one sentence or a few
by name; empty where they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veridical.models.model_card import read
from veridical.report.words import capital, listed

Said = Mapping[str, Any]


def _data(card: Said) -> str:
    said = read(card)
    rows = []
    for path in said.sources:
        name = path.split("/")[-1]
        count = said.patients.get(name)
        people = "patients not counted" if count is None else f"{count} patients"
        rows.append(f"{name} ({people}; {said.licences.get(name, 'licence not known')})")
    return f"Learned from {listed(rows)}." if rows else ""


def _split(card: Said) -> str:
    held = {name: count for name, count in read(card).validation_patients.items() if count}
    told = listed(f"{count} of {name}" for name, count in held.items())
    return f"Held out by patient: {told}." if held else ""


def _scores(card: Said) -> str:
    rows = []
    for score in read(card).scores:
        units = "" if score.units == "1" else f" {score.units}"
        low, high = score.interval
        base = "" if score.baseline is None else f", baseline {score.baseline:.4g}{units}"
        rows.append(
            f"{score.job}, {score.metric} {score.value:.4g}{units} ({low:.4g} to {high:.4g}{base}) "
            f"on {score.on}, {score.n} {score.of}"
        )
    return f"Scores with 95 % intervals: {'; '.join(rows)}." if rows else ""


def _calibration(card: Said) -> str:
    rows = [
        f"{job} at {float(one['level']):.0%} from {one['patients']} patients"
        for job, one in read(card).calibration.items()
        if "level" in one and "patients" in one
    ]
    return f"Intervals are calibrated: {'; '.join(rows)}." if rows else ""


def _inputs(card: Said) -> str:
    rows = [
        f"{kind} in {listed(ranges.get('units', ())) or 'any unit'}"
        for kind, ranges in read(card).scope.get("ranges", {}).items()
    ]
    checked = "New images are compared with those of the training, and what is far is reported."
    return f"Made for {'; '.join(rows)}. {checked}" if rows else ""


def _model(card: Said) -> str:
    net = card.get("net", {})
    parts = "; ".join(f"{key.replace('_', ' ')} {_word(value)}" for key, value in net.items())
    return f"Model {card.get('model')}: {parts}." if parts else ""


def _training(card: Said) -> str:
    settings, before = card.get("training", {}), read(card).trained_from
    if not settings:
        return ""
    start = f" from the weights {before['weights']}" if "weights" in before else ""
    parts = "; ".join(f"{key.replace('_', ' ')} {_word(value)}" for key, value in settings.items())
    return f"Trained{start} on {card.get('patches', 'uncounted')} patches: {parts}."


def _passing_on(card: Said) -> str:
    said = read(card)
    if said.may_ship:
        return "The licences of the data allow the weights to be passed on."
    return f"The weights may not be passed on: {listed(said.barred_by)}." if said.barred_by else ""


def _text(key: str, name: str) -> Callable[[Said], str]:
    return lambda card: f"{name}: {getattr(read(card), key)}" if getattr(read(card), key) else ""


CARD_FACTS: Mapping[str, Callable[[Said], str]] = {
    "card use": _text("intended_use", "Intended use"),
    "card limits": _text("limits", "Limits"),
    "card failures": lambda card: " ".join(read(card).known_failures),
    "card data": _data,
    "card split": _split,
    "card scores": _scores,
    "card calibration": _calibration,
    "card inputs": _inputs,
    "card model": _model,
    "card training": _training,
    "card passing on": _passing_on,
}
"""What the JSON of a card can say, by name."""


def _checks(*parts: str) -> Callable[[Said], str]:
    """Return what finds the checks of an audit whose names hold one of these parts."""

    def said(audit: Said) -> str:
        return " ".join(
            f"{capital(one['check'])} ({one['verdict']}): {one['reason']}"
            for one in audit.get("findings", ())
            if one["verdict"] != "not_run" and any(part in one["check"] for part in parts)
        )

    return said


def _all_checks(audit: Said) -> str:
    rows = [
        f"{one['check']} {one['verdict']}"
        for one in audit.get("findings", ())
        if one["verdict"] != "not_run"
    ]
    return f"A signed audit found: {', '.join(rows)}." if rows else ""


AUDIT_FACTS: Mapping[str, Callable[[Said], str]] = {
    "audit": _all_checks,
    "audit scope": _checks("out-of-distribution", "scope"),
    "audit copies": _checks("memorization", "copies", "membership"),
    "audit explanation": _checks("expla", "attribution"),
    "audit robustness": _checks("robust"),
    "audit fairness": _checks("fair"),
}
"""What the report.json of an audit can say, by name."""


def _log(ledger: Said) -> str:
    counts = listed(f"{count} of kind {kind}" for kind, count in ledger.get("counts", {}).items())
    return (
        f"A ledger holds {counts}; each line has the hash of the one before, the last is "
        f"{ledger['head']}."
        if counts
        else ""
    )


LEDGER_FACTS: Mapping[str, Callable[[Said], str]] = {"ledger": _log}
"""What is known of a ledger: `counts` by kind and the `head`."""


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
