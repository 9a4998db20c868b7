"""Genes as they are written, `IDH1=mutated,MGMT=methylated`, and those of them that the growth of a
tumour is assumed to depend on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from veridical.errors import SettingError, nearest
from veridical.models.glioma_patients import GENES as MEASURED
from veridical.models.glioma_patients import WORDS
from veridical.phantoms.glioma_biology import GENES

EXAMPLE = "MGMT=methylated,IDH=mutant"


@dataclass(frozen=True)
class GrowthGenes:
    """Genes of a patient, as far as a model of growth goes.

    Args:
        known: gene -> state, of those that are assumed to do something (or, the null genes,
            nothing).
        inert: other genes that were stated; nothing is assumed of them.
    """

    known: Mapping[str, str]
    inert: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Genes with an assumed effect whose state is not known: their effects are averaged."""
        return tuple(name for name, gene in GENES.items() if gene.effect and name not in self.known)

    @property
    def spoken(self) -> str:
        """What was made of the genes, in words."""
        said = [f"{name} {state}" for name, state in self.known.items()]
        parts = [f"assumed to act on growth: {', '.join(said)}"] if said else []
        parts += [f"not known and averaged over: {', '.join(self.missing)}"] if self.missing else []
        parts += [f"nothing is assumed of {', '.join(self.inert)}"] if self.inert else []
        return f"Genes: {'; '.join(parts)}."


def read_genes(said: str, example: str = EXAMPLE) -> dict[str, str]:
    """Return gene -> state of `IDH1=mutated,ATRX=wild-type`.

    Args:
        said: such a list; may be empty.
        example: shown where it is none.

    Raises:
        SettingError: it is no list of pairs, or a gene stands twice.
    """
    found: dict[str, str] = {}
    for pair in filter(None, (one.strip() for one in said.split(","))):
        name, sign, state = (part.strip() for part in pair.partition("="))
        if not (name and sign and state):
            raise SettingError(f"genes = {said!r}; expected {example}.")
        if name in found:
            raise SettingError(f"genes = {said!r} names {name} twice. Name each gene once.")
        found[name] = state
    return found


def growth_genes(said: Mapping[str, str], tables: Mapping[str, Any]) -> GrowthGenes:
    """Return what is known of the genes that growth is assumed to depend on.

    A mutation of IDH1 or IDH2 is one of IDH; wild type of one alone settles nothing. A mutation of
    EGFR is no amplification.

    Args:
        said: stated by whoever asks; wins over tables.
        tables: of the study, in any words; what they say in others is not known.

    Raises:
        SettingError: a stated gene or state is not known.
    """
    known: dict[str, str] = {}
    inert: list[str] = []
    for name, state in said.items():
        _taken(known, inert, name, state)
    for name, value in tables.items():
        if name not in said:
            try:
                _taken(known, inert, name, str(value))
            except SettingError:
                inert.append(name)
    _with_idh(known, inert)
    return GrowthGenes({name: known[name] for name in known if name in GENES}, tuple(inert))


def _taken(known: dict[str, str], inert: list[str], name: str, state: str) -> None:
    """Take one gene in, in the words of the model.

    Raises:
        SettingError: gene or state is not known.
    """
    word = WORDS.get(state.lower(), state.lower())
    gene = GENES.get(name)
    if gene is not None:
        own = {"mutated": "mutant"}.get(word, word) if "mutant" in gene.altered else word
        if own in (gene.altered, gene.usual):
            known[name] = own
            return
    if name in ("IDH1", "IDH2") and word in ("mutated", "wild type"):
        known[name] = word
        return
    if name in MEASURED and word in ("mutated", "wild type"):
        inert.append(name)
        return
    if gene is not None:
        raise SettingError(f"{name} = {state}. {nearest(word, (gene.altered, gene.usual))}")
    if name in MEASURED:
        raise SettingError(f"{name} = {state}. {nearest(word, ('mutated', 'wild type'))}")
    raise SettingError(f"No gene is called {name!r}. {nearest(name, (*GENES, *MEASURED))}")


def _with_idh(known: dict[str, str], inert: list[str]) -> None:
    """Let the two genes of IDH say what they say of it.

    Raises:
        SettingError: they contradict what is said of IDH itself.
    """
    pair = [known.get("IDH1"), known.get("IDH2")]
    told = "mutant" if "mutated" in pair else "wild type" if pair == ["wild type"] * 2 else ""
    if told and known.get("IDH", told) != told:
        raise SettingError(
            f"IDH = {known['IDH']} contradicts IDH1 = {pair[0]}, IDH2 = {pair[1]}: IDH is mutant "
            "where either is. Say one of them."
        )
    if told:
        known["IDH"] = told
    elif "IDH" not in known:
        inert += [name for name in ("IDH1", "IDH2") if name in known]
