"""A grammar of radiology sentences over facts: templates, some of them held out, and synonyms.

What is written can be read again: `reader.read_report` returns the facts of every sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from veridical.language.fact import Fact

Split = Literal["train", "held-out"]
TEMPLATES: dict[str, dict[Split, tuple[str, ...]]] = {
    "tumour": {
        "train": (
            "There is a {size} {enhancing} {noun} in the {place}{oedema}.",
            "{size} {enhancing} {noun} in the {place}{oedema}.",
            "A {enhancing} {noun} {measuring} is seen in the {place}{oedema}.",
            "{adjective} {size} {enhancing} {noun}{oedema}.",
            "In the {place} there is a {size} {enhancing} {noun}{oedema}.",
            "The {place} shows a {enhancing} {noun} {measuring}{oedema}.",
        ),
        "held-out": (
            "Centred in the {place} lies a {enhancing} {noun} of {size}{oedema}.",
            "{enhancing} {noun}, {size}, {place}{oedema}.",
            "We see a {size} {adjective} {noun}, {enhancing}{oedema}.",
        ),
    },
    "white matter lesions": {
        "train": (
            "There are {count} {noun} in the {place}.",
            "{count} {noun} are seen in the {place}.",
            "{count} {adjective} {noun}.",
        ),
        "held-out": (
            "The {place} contains {count} {noun}.",
            "Within the {place}, {count} {noun} are demonstrated.",
        ),
    },
    "infarct": {
        "train": (
            "There is a {size} {noun} in the {place}.",
            "{adjective} {noun} {measuring}.",
            "Old {size} {noun} of the {place}.",
        ),
        "held-out": (
            "The {place} harbours a {noun} of {size}.",
            "A {noun}, {size}, is present within the {place}.",
        ),
    },
    "oedema": {
        "train": (
            "There is {noun} in the {place}.",
            "{noun} is seen in the {place}.",
        ),
        "held-out": ("The {place} shows {noun}.",),
    },
    "atrophy": {
        "train": ("There is {noun}.", "{noun} is noted.", "The scan shows {noun}."),
        "held-out": ("Also {noun}.", "{noun} is evident."),
    },
}
"""Kind -> split -> what says that it is there."""
ABSENT: dict[Split, tuple[str, ...]] = {
    "train": ("No {noun}.", "There is no evidence of {noun}.", "No sign of {noun} is seen."),
    "held-out": (
        "{noun} is not seen.",
        "The brain is free of {noun}.",
        "{noun} has been excluded.",
    ),
}
DOUBTED: dict[Split, tuple[str, ...]] = {
    "train": ("It is possible that ", "Probably ", "Suspected: "),
    "held-out": ("Suggestive of the following: ", "Questionable: "),
}
"""What is put before a sentence that is not certain."""
NOUNS: dict[str, dict[Split, tuple[str, ...]]] = {
    "tumour": {
        "train": ("tumour", "mass", "tumor", "neoplasm"),
        "held-out": ("space-occupying lesion", "glioma", "expansile lesion"),
    },
    "white matter lesions": {
        "train": ("white matter lesions", "demyelinating lesions", "MS lesions"),
        "held-out": ("demyelinating plaques", "T2 hyperintense foci"),
    },
    "infarct": {
        "train": ("infarct", "lacunar infarct"),
        "held-out": ("post-ischaemic cavity", "infarction"),
    },
    "oedema": {
        "train": ("oedema", "vasogenic oedema", "edema"),
        "held-out": ("perifocal oedema", "swelling"),
    },
    "atrophy": {
        "train": ("atrophy", "brain volume loss"),
        "held-out": ("ventriculomegaly", "cerebral atrophy"),
    },
}
ADJECTIVES = {
    "deep": ("thalamic", "deep"),
    "cerebellum": ("cerebellar",),
    "brain stem": ("pontine",),
}
"""Lobe -> words that stand before a noun; the lobe's own name where it is not here."""
PLACES = {
    "deep": ("basal ganglia", "thalamus"),
    "cerebellum": ("cerebellum", "cerebellar hemisphere"),
    "brain stem": ("brain stem", "pons"),
}
SIZE_WORDS = {"small": ("small", "tiny"), "medium": ("medium-sized",), "large": ("large", "bulky")}
COUNT_WORDS = {
    "one": ("a single", "one"),
    "few": ("a few", "several"),
    "many": ("multiple", "numerous"),
}
ENHANCING = {
    True: ("enhancing", "contrast-enhancing", "avidly enhancing"),
    False: ("non-enhancing", "nonenhancing"),
}
WITH = {
    True: (" with {noun}", " with surrounding {noun}", " and associated {noun}"),
    False: (" without {noun}", ", no {noun}"),
}
"""How a tumour's sentence says that there is oedema, or none."""


def report(
    facts: Sequence[Fact],
    rng: np.random.Generator,
    split: Split = "train",
    contrasts: Sequence[str] = (),
) -> str:
    """Return a report that says some facts, a sentence each; oedema that lies where a certain
    tumour lies is said with it.

    Args:
        facts: what is said.
        rng: draws templates and words.
        split: from which templates.
        contrasts: images that are named at the end.
    """
    left, said = list(facts), list[str]()
    while left:
        fact = left.pop(0)
        satellite = next((one for one in left if _belongs(one, fact)), None)
        if satellite is not None:
            left.remove(satellite)
        said.append(sentence(fact, rng, split, satellite))
    if contrasts:
        said.append(", ".join(contrasts) + ".")
    return " ".join(said)


def sentence(
    fact: Fact,
    rng: np.random.Generator,
    split: Split = "train",
    oedema: Fact | None = None,
    template: str = "",
) -> str:
    """Return a sentence that says a fact.

    Args:
        fact: that is said.
        rng: draws the words.
        split: from which templates.
        oedema: of a tumour, said in the same sentence.
        template: one of `TEMPLATES` or `ABSENT`; empty draws one.
    """
    sides = TEMPLATES[fact.kind] if fact.present else ABSENT
    chosen = template or _drawn(sides[split], rng)
    noun = _drawn(NOUNS[fact.kind][split], rng)
    if fact.count == 1 or fact.count_class == "one":
        noun = noun.replace("lesions", "lesion").replace("plaques", "plaque")
    words = {
        "noun": noun + ("" if fact.present else _where(fact, rng)),
        "size": _size(fact, rng),
        "measuring": f"measuring {_size(fact, rng)}" if fact.size else _size(fact, rng),
        "enhancing": "" if fact.enhances is None else _drawn(ENHANCING[fact.enhances], rng),
        "count": _count(fact, rng),
        "place": _place(fact, rng),
        "adjective": _adjective(fact, rng),
        "oedema": "",
    }
    if oedema is not None:
        own = _drawn(WITH[oedema.present], rng)
        words["oedema"] = own.format(noun=_drawn(NOUNS["oedema"][split], rng))
    said = chosen.format(**words)
    if not fact.certain:
        said = _drawn(DOUBTED[split], rng) + said[:1].lower() + said[1:]
    return tidy(said)


def tidy(text: str) -> str:
    """Return a sentence without the gaps of empty slots, with the right article and a capital."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(?:\bof|,)\s*(?=[,.])", "", text)
    text = re.sub(r"\s+([,.])", r"\1", text)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text).strip(" ,")
    return text[:1].upper() + text[1:]


def _belongs(one: Fact, fact: Fact) -> bool:
    """Say whether a fact is the oedema of a tumour."""
    return (
        one.kind == "oedema"
        and fact.kind == "tumour"
        and fact.present
        and fact.certain
        and one.certain
        and (one.side, one.lobe) == (fact.side, fact.lobe)
    )


def _drawn(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _size(fact: Fact, rng: np.random.Generator) -> str:
    if fact.size is None:
        return _drawn(SIZE_WORDS[fact.size_class], rng) if fact.size_class else ""
    forms = (f"{fact.size:g} mm", f"{fact.size / 10:g} cm", f"{fact.size:g}mm")
    return _drawn(forms, rng)


def _count(fact: Fact, rng: np.random.Generator) -> str:
    if fact.count is not None:
        return str(fact.count)
    return _drawn(COUNT_WORDS[fact.count_class], rng) if fact.count_class else ""


def _place(fact: Fact, rng: np.random.Generator) -> str:
    if not fact.lobe:
        return {"both": "both hemispheres", "midline": "midline", "": "brain"}.get(
            fact.side, f"{fact.side} hemisphere"
        )
    named = _drawn(PLACES.get(fact.lobe, (f"{fact.lobe} lobe",)), rng)
    if fact.side == "both":
        return f"bilateral {named}"
    return f"{fact.side} {named}".strip()


def _adjective(fact: Fact, rng: np.random.Generator) -> str:
    lobe = _drawn(ADJECTIVES.get(fact.lobe, (fact.lobe,)), rng)
    side = {"both": "bilateral"}.get(fact.side, fact.side)
    return f"{side} {lobe}".strip()


def _where(fact: Fact, rng: np.random.Generator) -> str:
    return f" in the {_place(fact, rng)}" if fact.side or fact.lobe else ""
