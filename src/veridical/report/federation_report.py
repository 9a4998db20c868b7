"""The report of a federation: what each site gained, and who was left out of which round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veridical.training.federated_card import left_out, privacy
from veridical.training.federation import Federation


def collected(
    federation: Federation,
    lines: Sequence[Mapping[str, Any]],
    reports: Mapping[str, dict[str, Any] | str],
) -> dict[str, Any]:
    """Return all that is reported, as JSON holds it.

    Args:
        federation: what was trained.
        lines: of the log of rounds.
        reports: of the sites; words where one gave none.
    """
    told = {name: one for name, one in reports.items() if isinstance(one, dict)}
    silent = {name: one for name, one in reports.items() if isinstance(one, str)}
    excluded = {name: "no longer asked" for name in federation.sites if name not in reports}
    return {
        "federation": federation.name,
        "recipe": federation.recipe.name,
        "strategy": federation.settings.strategy,
        "rounds": len(lines),
        "local_steps": federation.settings.local_steps,
        "secure_aggregation": federation.settings.secure_aggregation,
        "privacy": privacy(federation, told),
        "sites": told,
        "without_report": silent | excluded,
        "left_out": left_out(lines),
    }


def markdown(whole: Mapping[str, Any]) -> str:
    """Return the report as a page in Markdown."""
    bound = whole["privacy"]
    private = bound["epsilon"] is not None
    masked = "the server saw sums only (SecAgg+)" if whole["secure_aggregation"] else "none"
    lines = [
        f"# Federation {whole['federation']}",
        "",
        f"{whole['recipe']} by {whole['strategy']}: {whole['rounds']} rounds of "
        f"{whole['local_steps']} steps at each site.",
        "",
        f"Privacy of patients: epsilon {bound['epsilon']:.2f}, delta {bound['delta']:g}. "
        f"{bound['said']}"
        if private
        else f"Privacy of patients: {bound['said']}",
        "",
        f"Secure aggregation: {masked}.",
        "",
        "| site | patients | held out | noisy | weights (95 % interval) | 90 % interval holds | "
        "membership |",
        "|---|---|---|---|---|---|---|",
        *(_row(name, one) for name, one in whole["sites"].items()),
        "",
        "PSNR in dB (peak 1) of held-out patients under real white noise. Intervals are those of "
        "posterior samples before calibration.",
        "",
        "## Membership",
        "",
        *(f"- {name}: {one['membership']['reason']}" for name, one in whole["sites"].items()),
        *(["", "## Sites without a report", ""] if whole["without_report"] else []),
        *(f"- {name}: {why}" for name, why in whole["without_report"].items()),
        "",
        "## Left out",
        "",
        *(f"- round {one['round']}, {one['site']}: {one['reason']}" for one in whole["left_out"]),
        *([] if whole["left_out"] else ["Nobody in any round."]),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, one: Mapping[str, Any]) -> str:
    low, high = one["net_interval"]
    return (
        f"| {name} | {one['patients']} | {one['held_out']} | {one['start_db']:.2f} | "
        f"{one['net_db']:.2f} ({low:.2f} to {high:.2f}) | {one['coverage']:.0%} | "
        f"{one['membership']['verdict']} |"
    )
