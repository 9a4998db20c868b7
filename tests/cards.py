"""What a complete card says besides the network, for toys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from veridical.models.model_card import FORMAT, CardScore

SCORE = CardScore(
    "psnr",
    "dB",
    "higher",
    "all",
    "made-up patients",
    20,
    "patients",
    30.0,
    (29.0, 31.0),
    25.0,
    "toy",
)


def complete(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card with what it lacks of words, made up."""
    return {
        "format": FORMAT,
        "intended_use": "Tests of Veridical, which need a network and not a good one.",
        "limits": "Everything else; it was trained for two steps or not at all.",
        "known_failures": ["It makes nothing that anybody could take for an image of a patient."],
        "data": {"sources": {"toy": 1.0}},
        "licences": {"toy": "CC0"},
        "scores": [asdict(SCORE)],
        "uncalibrated": "A toy is calibrated in the tests that are about calibration.",
        "scope": "Ellipsoids with a texture and holes, on grids of a few voxels.",
        "audits": {
            "copies": {
                "verdict": "not_run",
                "reason": "A toy makes noise, which is no copy of anybody.",
            }
        },
        "may_ship": False,
        **card,
    }
