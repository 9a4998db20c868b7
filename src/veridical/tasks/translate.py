"""Translate between modalities: CT from MR, PET from MR and CT."""

from __future__ import annotations

from dataclasses import dataclass

from veridical.tasks.complete import Complete


@dataclass(frozen=True)
class Translate(Complete):
    """Make a modality that is missing from T1w, CT (HU) and PET (SUV), as far as they were
    measured.
    """

    to: str = "CT"
    """Modality to make: CT, PET or T1w; several separated by commas."""
    weights: str = "body"
    """Shipped weights, body (limbs) or brain (heads), or path of others (.safetensors with a card
    beside it).
    """
