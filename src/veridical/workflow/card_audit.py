"""What a signed audit of images found about copies of training images, noted on the card of the
weights that made them.
"""

from __future__ import annotations

import json
from pathlib import Path

from veridical.errors import InputError, ProvenanceError
from veridical.evaluation.signature import REPORT, head, verify
from veridical.io.guards import write_text
from veridical.models import weights

PRIVACY = ("copies", "membership")
"""Checks that a card notes."""


def add_audit(name: str, audit: str | Path) -> Path:
    """Note on the card of weights what a signed audit of their images found about copies.

    Args:
        name: shipped weights, or path of a .safetensors file with its card beside it.
        audit: the `report.json` that `veridical audit IMAGES --training DIR` wrote, or its folder.

    Returns:
        The path of the card.

    Raises:
        InputError: there are no such weights or audit, or it did not look for copies.
        ProvenanceError: the audit was changed since it was signed.
    """
    path = Path(audit) / REPORT if Path(audit).is_dir() else Path(audit)
    if wrong := verify(path, inputs=False):
        raise ProvenanceError(f"{path} is not as it was signed: {'; '.join(wrong)}. Audit again.")
    document = json.loads(path.read_bytes())
    found = {one["check"]: one for one in document.get("findings", ()) if one["check"] in PRIVACY}
    if found.get("copies", {}).get("verdict", "not_run") == "not_run":
        raise InputError(
            f"{path} did not look for copies. Give it the training images: veridical audit IMAGES "
            "--training DIR"
        )
    noted = {
        check: {"verdict": one["verdict"], "reason": one["reason"], "head": head(path)}
        for check, one in found.items()
    }
    card, file = weights.stored_card(name), weights.find(name).with_suffix(".json")
    card["audits"] = {**card.get("audits", {}), **noted}
    write_text(file, json.dumps(card, indent=2) + "\n")
    return file
