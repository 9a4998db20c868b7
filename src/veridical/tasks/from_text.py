"""What a text asks of a synthetic head, checked before anything is drawn, and what is said of it in
the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from veridical.errors import SettingError
from veridical.language.fact import Fact, ReadReport
from veridical.types import Finding

if TYPE_CHECKING:
    from veridical.phantoms.population import Pathology

EXAMPLE = "left frontal 2 cm enhancing tumour with oedema, T1c"
ATROPHIC, USUAL = (1.8, 2.4), (-1.2, 0.8)
"""Standard deviations of the logarithm by which ventricles are larger than usual at that age with
atrophy, and where a text says that there is none.
"""


@lru_cache(maxsize=64)
def asked(text: str) -> ReadReport:
    """Return what a text asks for.

    Raises:
        SettingError: it names no finding that can be made, or one that cannot.
    """
    from veridical.language.encoder import suggestions
    from veridical.language.reader import read_report

    found = read_report(text)
    if found.unknown:
        raise SettingError(
            f"text names {', '.join(found.unknown)}, which Veridical can neither paint nor "
            "measure. It knows tumour, oedema, white matter lesions, infarct and atrophy. Leave "
            "the rest out."
        )
    if not found.facts:
        left = f" Not understood: {suggestions(found.unread)}." if found.unread else ""
        raise SettingError(
            f"text names no finding that Veridical knows.{left} Say it like this: {EXAMPLE!r}."
        )
    denied = {fact.kind for fact in found.facts if not fact.present and not fact.side}
    said = next((one.kind for one in found.facts if one.present and one.kind in denied), None)
    if said:
        raise SettingError(f"text says that there is {said}, and that there is none. Say one.")
    return found


def pathology_of(facts: Sequence[Fact]) -> Pathology:
    """Return which of the kinds of patients the facts describe."""
    kinds = {fact.kind for fact in facts if fact.present}
    if kinds & {"tumour", "oedema"}:
        return "tumour"
    return "ms" if "white matter lesions" in kinds else "none"


def deviation_of(facts: Sequence[Fact], rng: np.random.Generator) -> float | None:
    """Return by how much ventricles are to be larger than usual; None where nothing is said."""
    low, high = rng.uniform(*USUAL), rng.uniform(*ATROPHIC)
    said = [fact.present for fact in facts if fact.kind == "atrophy"]
    return None if not said else float(high if said[0] else low)


def text_finding(found: ReadReport) -> Finding:
    """Return what was understood of a text and what was not."""
    from veridical.language.encoder import suggestions

    evidence = {
        "facts": [words(fact) for fact in found.facts],
        "not_understood": list(found.unread),
    }
    said = "; ".join(words(fact) for fact in found.facts)
    if found.unread:
        left = suggestions(found.unread)
        reason = f"Made: {said}. Not understood, so not in the image: {left}."
        return Finding("text", "warn", reason, evidence)
    return Finding("text", "pass", f"All of the text was understood: {said}.", evidence)


def words(fact: Fact) -> str:
    """Return a fact in a few words."""
    said = ["possible"] if not fact.certain else []
    said += [] if fact.present else ["no"]
    said += [word for word in (fact.side, fact.lobe) if word]
    if fact.enhances is not None:
        said.append("enhancing" if fact.enhances else "non-enhancing")
    number = str(fact.count) if fact.count else fact.count_class
    size = f"{fact.size:g} mm" if fact.size else fact.size_class
    return " ".join([*said, *(word for word in (number, size) if word), fact.kind])
