"""What the page says of a result, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veridical.io.bids import Record
    from veridical.types import Result


def of_result(result: Result, record: Record) -> dict[str, Any]:
    """Return kind, units, interval, findings, provenance and what the policy decided.

    Args:
        result: in memory or read again.
        record: its `provenance.json`.
    """
    from veridical.evaluation import regions
    from veridical.report import words
    from veridical.report.result_page import finite
    from veridical.report.view import interval_line

    image, last = result.image, result.steps[-1] if result.steps else None
    region = regions.foreground(finite(image))
    head = words.headline(result.findings)
    labels = image.units == "label"
    return {
        "task": last.task if last else "result",
        "kind": result.kind,
        "model": last.model if last else "none",
        "seed": last.seed if last else None,
        "channels": {channel: image.units_of(channel) for channel in image.channels},
        "grid": str(image.geometry),
        "headline": asdict(head),
        "interval": interval_line(result) if result.interval is not None else "",
        "promises": result.interval.promises if result.interval is not None else "",
        "measured": [] if labels else words.measured(result, region),
        "evidence_about": result.evidence.about if result.evidence is not None else "",
        "findings": [asdict(finding) for finding in result.findings],
        "absent": dict(result.absent),
        "steps": [asdict(step) for step in result.steps],
        "files": {role: dict(entry) for role, entry in record.files.items()},
        "policy": record.policy,
        "synthetic": not any(step.inputs for step in result.steps),
    }
