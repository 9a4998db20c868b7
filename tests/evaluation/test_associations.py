"""Associations: known tests, uniform p-values of null genes, planted effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import InputError
from veridical.evaluation.associations import associations, p_value_of


def test_two_genes_are_tested_as_fisher_does() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.random((2, 60)) < 0.3).astype(float)
        counts = [[np.sum((a == i) & (b == j)) for j in (0, 1)] for i in (0, 1)]
        assert p_value_of(a, b) == pytest.approx(stats.fisher_exact(counts).pvalue)


def test_p_values_of_null_genes_are_uniform() -> None:
    rng = np.random.default_rng(1)
    other, number = (rng.random(300) < 0.3).astype(float), rng.standard_normal(300)
    genes = (rng.random((400, 300)) < 0.2).astype(float)
    ties = rng.random(400)
    for ps in (
        [p_value_of(gene, other, t) for gene, t in zip(genes, ties, strict=True)],
        [p_value_of(gene, number) for gene in genes],
    ):
        assert stats.kstest(ps, "uniform").pvalue > 0.01
    exact = [p_value_of(gene, other) for gene in genes]
    assert np.mean(np.array(exact) <= 0.05) <= 0.07


def test_a_planted_effect_is_found_and_null_genes_are_not() -> None:
    rng = np.random.default_rng(2)
    gene, null = (rng.random((2, 200)) < 0.3).astype(float)
    size = rng.standard_normal(200) + gene
    size[:20] = np.nan
    table = {"gene": gene, "null": null, "size": size, "age": rng.standard_normal(200)}
    pairs = [("gene", "size"), ("null", "size"), ("gene", "age"), ("null", "age"), ("age", "size")]
    found = {(one.first, one.second): one for one in associations(table, pairs, 300)}
    true = found["gene", "size"]
    assert true.holds
    assert true.n == 180
    assert true.low is not None
    assert true.low < 0.42 < (true.high or 0)  # Spearman's, of a shift by one SD in 30 %
    assert not any(one.holds for pair, one in found.items() if pair != ("gene", "size"))
    assert all(one.p <= one.discovery <= one.holm for one in found.values())


def test_what_never_differs_is_refused() -> None:
    with pytest.raises(InputError, match="values that differ"):
        associations({"a": np.ones(20), "b": np.arange(20.0)}, [("a", "b")])
