"""Model card: do the weights in use say what they are for, where they fail and how well they do?

Shipped weights without a complete card do not load at all; of others this is what a result says.
"""

from __future__ import annotations

from veridical.models.model_card import lacking
from veridical.types import Finding, Result, Study

NAME = "model-card"


def model_card(study: Study, result: Result) -> Finding | None:
    """Warn of weights whose card is not complete; None where it is, and where nothing was learned.

    Args:
        study: what the result was made from.
        result: with the card in its facts.
    """
    card = result.facts.get("card")
    lacks = lacking(card) if card else ()
    if not lacks:
        return None
    reason = (
        f"The card of the weights lacks {len(lacks)} entries: {'; '.join(lacks)}. Write them into "
        "the JSON beside the weights; veridical card WEIGHTS --check names what is left."
    )
    return Finding(NAME, "warn", reason, {"lacks": list(lacks)})
