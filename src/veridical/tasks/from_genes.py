"""Genes, grade, age and sex of a patient with a tumour: what was stated, what is drawn of the rest,
and what an image of a head is assumed to owe to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from veridical.types import Finding

if TYPE_CHECKING:
    from veridical.language.fact import Fact
    from veridical.models.glioma_patients import Known

IDH = ("IDH", "IDH1", "IDH2")
"""The first is mutated where one of the others is."""
EXAMPLE = "IDH1=mutated,ATRX=wild-type"


@dataclass(frozen=True)
class TumourGenes:
    """Genes and clinical variables of a patient.

    Args:
        values: variable -> state, all of them; `age` in years.
        stated: which of them were.
        similar: patients with what was stated that are expected among those learned from.
        patients: how many those are.
        forward: whether the tumour lies before the middle of the brain because of IDH.
        enhancing: chance that the tumour enhances.
    """

    values: Known
    stated: tuple[str, ...]
    similar: float
    patients: int
    forward: bool
    enhancing: float

    @property
    def drawn(self) -> tuple[str, ...]:
        """What was not stated and does not follow from what was."""
        said = {name: self.values[name] for name in IDH if name in self.stated}
        follows: set[str] = set()
        if "mutated" in (said.get("IDH1"), said.get("IDH2")) or {"IDH1", "IDH2"} <= set(said):
            follows = {"IDH"}
        elif said.get("IDH") == "wild type":
            follows = {"IDH1", "IDH2"}
        return tuple(name for name in self.values if name not in {*self.stated, *follows})

    @property
    def effects(self) -> tuple[str, ...]:
        """What the image owes to them, a sentence each."""
        found = [
            f"Grade {self.values['grade']}: {self.enhancing:.0%} of such tumours are made with a "
            "rim that enhances, where nothing else asks for it (assumed)."
        ]
        if self.forward:
            found.append(
                "IDH mutated: before the middle of the brain, as half of such tumours are made for "
                "that reason (assumed)."
            )
        return tuple(found)

    def about(self) -> dict[str, object]:
        """Return what goes into records, as plain values."""
        return {
            "values": dict(self.values),
            "stated": list(self.stated),
            "drawn": list(self.drawn),
            "similar_patients": round(self.similar, 1),
            "learned_from": self.patients,
            "effects": list(self.effects),
        }


def checked(genes: str, given: Mapping[str, str | float]) -> dict[str, str | float]:
    """Return what was stated, in the words of the patients learned from.

    Args:
        genes: `IDH1=mutated,ATRX=wild-type`.
        given: `grade`, `age` and `sex`, those that were stated.

    Raises:
        SettingError: a gene, a state or an age that these patients do not have.
    """
    from veridical.models.glioma_patients import glioma_patients
    from veridical.tasks.gene_words import read_genes

    return glioma_patients().checked({**read_genes(genes, EXAMPLE), **given})


def tumour_genes(
    genes: str, given: Mapping[str, str | float], rng: np.random.Generator
) -> TumourGenes:
    """Return all variables of a patient; what is not stated is drawn from patients alike.

    Args:
        genes, given: as `checked`.
        rng: everything random comes from it.

    Raises:
        SettingError: as `checked`.
    """
    from veridical.models.glioma_patients import glioma_patients
    from veridical.phantoms.glioma_biology import ENHANCING, FORWARD

    stated, patients = checked(genes, given), glioma_patients()
    chance = rng.random()
    values = patients.drawn(stated, rng)
    forward = values["IDH"] == "mutated" and chance < FORWARD
    enhancing = ENHANCING[str(values["grade"])]
    known = tuple(name for name in values if name in stated)
    return TumourGenes(
        values, known, patients.similar(stated), patients.patients, forward, enhancing
    )


def with_genes(facts: tuple[Fact, ...], forward: bool, enhances: bool) -> tuple[Fact, ...]:
    """Return described findings with what genes say where the text leaves it open.

    Args:
        facts: of a text; none stays none.
        forward: whether a tumour whose place is left open lies in the frontal lobe.
        enhances: whether one enhances of which that is left open.
    """
    return tuple(
        replace(
            fact,
            lobe=fact.lobe or ("frontal" if forward and fact.side != "midline" else ""),
            enhances=enhances if fact.enhances is None else fact.enhances,
        )
        if fact.kind == "tumour" and fact.present
        else fact
        for fact in facts
    )


def genes_finding(found: TumourGenes) -> Finding:
    """Return what was stated, what was drawn, and what the image owes to it."""
    from veridical.models.glioma_patients import RARE

    said = ", ".join(f"{name} {found.values[name]}" for name in found.stated)
    reason = (
        f"Stated: {said}. Drawn from {found.patients} patients with gliomas, of whom "
        f"{found.similar:.0f} are expected to be so: all other variables. {' '.join(found.effects)}"
        " No other variable acts on the image."
    )
    if found.similar < RARE:
        reason += f" Fewer than {RARE:g} such patients were learned from: this is a guess."
        return Finding("genes", "warn", reason, found.about())
    return Finding("genes", "pass", reason, found.about())
