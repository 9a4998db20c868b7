"""The card of weights that were trained over sites: who took part, who was left out and why, and
what the privacy of patients is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from veridical.models.model_card import FORMAT, CardScore
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.training.card_scores import UNCALIBRATED, words
from veridical.training.clean_volumes import SOURCES
from veridical.training.federated import SharedState
from veridical.training.federation import Federation

YOURS = "stays at the site, under its own terms"
SCOPE = (
    "Images of the sites, which were never in one place: their description stays at the sites too."
)
FAILURE = (
    "Trained over sites and judged by each on its own held-out patients only; what it does on the "
    "scanners of others is not known."
)


def federated_card(
    federation: Federation,
    standing: SharedState,
    lines: Sequence[Mapping[str, Any]],
    reports: Mapping[str, dict[str, Any] | str],
) -> dict[str, Any]:
    """Return the card.

    Args:
        federation: what was trained.
        standing: after the last round.
        lines: of the log of rounds.
        reports: of the sites; words where one gave none.
    """
    plan, settings = federation.recipe, federation.settings
    told = {name: one for name, one in reports.items() if isinstance(one, dict)}
    said = words(plan, {})
    said.setdefault("scope", SCOPE)
    barred = [name for name in federation.sites if licence(federation, name) == YOURS]
    return {
        "format": FORMAT,
        "model": plan.model,
        "net": dict(plan.net),
        "data": {"sources": dict.fromkeys(federation.sites, 1.0)},
        "patients": dict(standing.patients),
        "validation_patients": {name: one["held_out"] for name, one in told.items()},
        "licences": {name: licence(federation, name) for name in federation.sites},
        "patches": settings.local_steps * plan.data.batch * len(federation.sites) * len(lines),
        "preprocessing": Preprocessing().to_card(),
        **said,
        "known_failures": [*plan.known_failures, FAILURE],
        "may_ship": not barred,
        "barred_by": barred,
        "uncalibrated": UNCALIBRATED,
        "scores": [asdict(score(name, one)) for name, one in told.items()],
        "training": asdict(plan.training) | {"steps": federation.steps},
        "federation": {
            "rounds": standing.rounds,
            "local_steps": settings.local_steps,
            "strategy": settings.strategy,
            "proximal": federation.proximal,
            "secure_aggregation": settings.secure_aggregation,
            "sites": list(federation.sites),
            "left_out": left_out(lines),
            "privacy": privacy(federation, told),
        },
    }


def privacy(federation: Federation, told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what may be said of the privacy of patients."""
    asked = federation.privacy
    if not federation.private:
        return {
            "epsilon": None,
            "said": "No bound: images stayed at the sites, no noise was added.",
        }
    spent = [one["epsilon"] for one in told.values()]
    by = "the seed, so that this simulation gives no privacy" if asked.seeded else "the system"
    return {
        "epsilon": max(spent, default=None),
        "asked": asked.epsilon,
        "delta": asked.delta,
        "unit": "patient",
        "clip": asked.clip,
        "accountant": f"{asked.accountant} (Opacus)",
        "said": "Sets of patients that differ in one patient; of each site, before anything left "
        f"it. Randomness from {by}. Scores on held-out patients and numbers of patients are not "
        "covered.",
    }


def left_out(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return who was left out in which round and why."""
    return [
        {"round": line["round"], "site": name, "reason": reason}
        for line in lines
        for name, reason in line["left_out"].items()
    ]


def licence(federation: Federation, site: str) -> str:
    """Return the licences of the images of a site."""
    plan = federation.sites[site]
    if plan.folder or not plan.sources:
        return YOURS
    return "; ".join(sorted({SOURCES[name].licence for name in plan.sources}))


def score(name: str, report: Mapping[str, Any]) -> CardScore:
    """Return the score of a site."""
    return CardScore(
        "psnr",
        "dB",
        "higher",
        "stack",
        f"held-out patients: {report['held_out']} of site {name}",
        report["held_out"],
        "held-out patients",
        report["net_db"],
        (report["net_interval"][0], report["net_interval"][1]),
        report["start_db"],
        "report of the site",
    )
