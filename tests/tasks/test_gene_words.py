"""Genes as they are written, and those that growth is assumed to depend on."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.phantoms.glioma_biology import GENES, NAMES, population
from veridical.tasks.gene_words import growth_genes, read_genes


def test_pairs_are_read() -> None:
    assert read_genes(" IDH1=mutated, ATRX = wild-type ") == {
        "IDH1": "mutated",
        "ATRX": "wild-type",
    }
    assert read_genes("") == {}


@pytest.mark.parametrize("said", ["MGMT", "=mutated", "MGMT=", "IDH=mutant,IDH=wt"])
def test_what_is_no_pair_is_refused(said: str) -> None:
    with pytest.raises(SettingError, match="genes ="):
        read_genes(said)


def test_a_mutation_of_idh1_is_one_of_idh_and_wild_type_alone_settles_nothing() -> None:
    assert growth_genes({"IDH1": "mutated"}, {}).known == {"IDH": "mutant"}
    assert growth_genes({"IDH1": "wt", "IDH2": "wt"}, {}).known == {"IDH": "wild type"}
    open_ = growth_genes({"IDH1": "wild-type"}, {})
    assert open_.known == {}
    assert open_.inert == ("IDH1",)
    assert "IDH" in open_.missing


def test_a_mutation_of_egfr_is_no_amplification() -> None:
    found = growth_genes({"EGFR": "mutated", "MGMT": "methylated"}, {})
    assert found.known == {"MGMT": "methylated"}
    assert found.inert == ("EGFR",)
    assert found.spoken == (
        "Genes: assumed to act on growth: MGMT methylated; not known and averaged over: IDH, EGFR, "
        "TERT; nothing is assumed of EGFR."
    )


def test_what_is_said_goes_before_tables_and_their_strange_words_are_not_known() -> None:
    found = growth_genes({"IDH": "mutant"}, {"IDH": "wild type", "APOE e4": "carrier", "ATRX": 1})
    assert found.known == {"IDH": "mutant"}
    assert set(found.inert) == {"APOE e4", "ATRX"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"MGMD": "methylated"}, "Did you mean 'MGMT'"),
        ({"MGMT": "mutated"}, "methylated, unmethylated"),
        ({"ATRX": "odd"}, "mutated, wild type"),
        ({"IDH": "wild type", "IDH2": "mutated"}, "contradicts"),
    ],
)
def test_unknown_genes_and_states_are_refused(said: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        growth_genes(said, {})


def test_genes_that_are_not_known_are_averaged_and_widen_the_prior() -> None:
    usual = {name: gene.usual for name, gene in GENES.items()}
    some = {name: state for name, state in usual.items() if name != "IDH"}
    growth = NAMES.index("proliferation")
    known, mutant = (population({**usual, "IDH": state}) for state in ("wild type", "mutant"))
    mean, spread = population(some)
    assert mutant[0][growth] < mean[growth] < known[0][growth]
    assert spread[growth] > known[1][growth]
    np.testing.assert_array_equal(spread[0], known[1][0])
    np.testing.assert_allclose(population({})[0], population(None)[0])
