"""The page of a model card: what weights are for, where they fail, what they learned from, how well
they do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical.governance.promises import PROMISES
from veridical.models import weights
from veridical.models.model_card import CardScore, ModelCard, lacking, read
from veridical.report import paper
from veridical.report.words import capital, listed, percent

ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class SourceRow:
    """One source of data: its share of what was learned from, patients, licence."""

    name: str
    share: str
    patients: str
    held_out: str
    licence: str


def write(name: str, out: str | Path) -> Path:
    """Write the page of a card and return its path, `NAME-card.html`.

    Args:
        name: shipped weights, or path of a .safetensors file with its card beside it.
        out: folder; made when missing.

    Raises:
        InputError: there are no such weights.
        FormatError: the card cannot be read.
    """
    stem = weights.find(name).stem
    page = render(stem, weights.stored_card(name), weights.fingerprint(name))
    return paper.write(Path(out) / f"{stem}-card.html", page)


def render(name: str, card: Mapping[str, Any], sha256: str) -> str:
    """Return the page as a string.

    Args:
        name: of the weights.
        card: the JSON beside them.
        sha256: of the weights.
    """
    said = read(card)
    content = {
        "title": f"Model card: {name}",
        "card": said,
        "lacks": lacking(card),
        "sources": list(_sources(said)),
        "scores": [(score, _score(score)) for score in said.scores],
        "calibrations": [(job, _calibration(one)) for job, one in said.calibration.items()],
        "scope": _scope(said.scope),
        "audits": [(check, f"{o['verdict']}: {o['reason']}") for check, o in said.audits.items()],
        "facts": _facts(card, sha256),
        "promises": PROMISES,
        "arrows": ARROWS,
    }
    return paper.render("card.html.j2", ("page.css",), content)


def _sources(card: ModelCard) -> Iterator[SourceRow]:
    whole = sum(float(share) for share in card.sources.values()) or 1.0
    for path, share in card.sources.items():
        name = path.split("/")[-1]
        counts = [held.get(name) for held in (card.patients, card.validation_patients)]
        told = ["not counted" if count is None else str(count) for count in counts]
        licence = card.licences.get(name) or "not known"
        yield SourceRow(name, percent(float(share) / whole), told[0], told[1], licence)


def _score(score: CardScore) -> tuple[str, str]:
    """Return value with interval, and the baseline, in words."""
    units = "" if score.units == "1" else f" {score.units}"
    low, high = score.interval
    base = "none" if score.baseline is None else f"{score.baseline:.4g}{units}"
    return f"{score.value:.4g}{units} ({low:.4g} to {high:.4g})", base


def _calibration(one: Mapping[str, Any]) -> dict[str, str]:
    """Return level, patients, what the interval held of the calibration patients, and regions."""
    reached = ", ".join(percent(float(share)) for share in one.get("reached", ())) or "not noted"
    regions = one.get("regions", {})
    return {
        "level": percent(float(one.get("level", 0))),
        "patients": f"{one.get('patients', 'unknown')}, {one.get('calibrated_on', 'not said')}",
        "spreads": _reach(float(one.get("multiplier", 0)), float(one.get("skew", 1))),
        "reached": reached,
        "regions": "; ".join(f"{name} {percent(float(s))}" for name, s in regions.items()) or "-",
    }


def _reach(down: float, skew: float) -> str:
    return f"{down:.3g}" if skew == 1 else f"{down:.3g} down, {skew * down:.3g} up"


def _scope(described: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the training images look like: patients of each channel, units, voxels."""
    channels = described.get("channels", {})
    found = [(channel, f"{len(patients)} patients") for channel, patients in channels.items()]
    for kind, ranges in described.get("ranges", {}).items():
        units = listed(ranges.get("units", ()))
        low, high = ranges.get("spacing", ((), ()))
        voxels = " to ".join(" x ".join(f"{size:g}" for size in end) for end in (low, high) if end)
        found.append((f"{kind}: units and voxels", f"{units or 'any'}; {voxels or 'any'} mm"))
    return found


def _facts(card: Mapping[str, Any], sha256: str) -> list[tuple[str, str]]:
    """Return what else identifies the weights."""
    net, before = card.get("net", {}), card.get("from", {})
    found = {
        "model": card.get("model"),
        "network": "; ".join(f"{key.replace('_', ' ')}: {_word(net[key])}" for key in net),
        "SHA-256 of the weights": sha256,
        "trained from": "; ".join(f"{key}: {value}" for key, value in before.items()),
        "patches seen": card.get("patches"),
        "seconds of training": card.get("seconds"),
        "card": card.get("format"),
    }
    return [(capital(key), str(value)) for key, value in found.items() if value not in (None, "")]


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
