"""What 839 patients say of missing genes, and the latent classes that say it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from veridical.errors import InputError, SettingError
from veridical.models.glioma_patients import (
    FILE,
    GENES,
    NAMES,
    STATES,
    GliomaPatients,
    glioma_patients,
    stored,
)
from veridical.models.latent_classes import LatentClasses, fitted

TWO = LatentClasses(
    np.array([0.4, 0.6]),
    np.stack([np.linspace(0.8, 0.95, len(NAMES)), np.linspace(0.05, 0.2, len(NAMES))]),
    np.array([35.0, 60.0]),
    np.array([8.0, 10.0]),
)


def table(patients: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind = rng.choice(2, patients, p=TWO.shares)
    values = (rng.random((patients, len(NAMES))) < TWO.rates[kind]).astype(float)
    values[rng.random(values.shape) < 0.2] = np.nan
    return values, rng.normal(TWO.age[kind], TWO.spread[kind])


def test_classes_are_found_where_a_fifth_of_the_cells_is_missing() -> None:
    found = fitted(*table(600, 0), 2, 0)
    order = np.argsort(found.age)
    np.testing.assert_allclose(found.shares[order], TWO.shares, atol=0.05)
    np.testing.assert_allclose(found.rates[order], TWO.rates, atol=0.09)
    np.testing.assert_allclose(found.age[order], TWO.age, atol=2)


def test_of_a_patient_of_whom_nothing_is_known_the_classes_are_those_of_all() -> None:
    nothing = TWO.responsibilities(np.full((1, len(NAMES)), np.nan), np.array([np.nan]))
    np.testing.assert_allclose(nothing[0], TWO.shares)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(InputError, match="10 for each"):
        fitted(*table(15, 0), 2, 0)


def test_what_is_learned_is_read_again() -> None:
    values, ages = table(200, 1)
    learned = GliomaPatients.learned(values, ages, classes=2, resamples=5)
    read = json.loads(stored(learned, {"source": "simulated"}))
    assert (read["source"], read["patients"], len(read["fits"])) == ("simulated", 200, 6)
    np.testing.assert_allclose(read["fits"][0]["rates"], learned.fits[0].rates, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_with_nothing_known_shares_are_those_of_the_table(name: str) -> None:
    count = json.loads(FILE.read_text(encoding="utf-8"))["counts"][name]
    said = glioma_patients().chance(name, STATES[name][1], {})
    assert said.value == pytest.approx(count / 839, abs=0.02)
    assert said.low < said.value < said.high


def test_probabilities_obey_the_law_of_bayes() -> None:
    patients = glioma_patients()
    one = patients.chance("TP53", "mutated", {"age": 40})
    other = patients.chance("ATRX", "mutated", {"age": 40})
    given_one = patients.chance("ATRX", "mutated", {"age": 40, "TP53": "mutated"})
    given_other = patients.chance("TP53", "mutated", {"age": 40, "ATRX": "mutated"})
    assert one.value * given_one.value == pytest.approx(other.value * given_other.value)


def test_idh_is_mutated_where_either_gene_is() -> None:
    patients, known = glioma_patients(), {"grade": "2"}
    either = patients.chance("IDH", "mutated", known).value
    pair = [patients.chance(name, "mutated", known).value for name in ("IDH1", "IDH2")]
    assert max(pair) < either <= sum(pair)
    assert either + patients.chance("IDH", "wild type", known).value == pytest.approx(1)


def test_draws_keep_what_is_known_and_have_the_probabilities() -> None:
    patients, rng = glioma_patients(), np.random.default_rng(0)
    known = {"grade": "4", "sex": "male", "EGFR": "wt"}
    drawn = [patients.drawn(known, rng) for _ in range(400)]
    assert {(one["grade"], one["sex"], one["EGFR"]) for one in drawn} == {
        ("4", "male", "wild type")
    }
    share = np.mean([one["IDH"] == "mutated" for one in drawn])
    assert share == pytest.approx(patients.chance("IDH", "mutated", known).value, abs=0.05)
    ages = [float(one["age"]) for one in drawn]
    assert min(ages) >= 18
    assert max(ages) <= patients.ages[1]
    assert patients.drawn(known, np.random.default_rng(7)) == patients.drawn(
        known, np.random.default_rng(7)
    )


def test_draws_agree_with_what_is_said_of_idh() -> None:
    patients, rng = glioma_patients(), np.random.default_rng(0)
    for _ in range(50):
        usual = patients.drawn({"IDH": "wild-type", "grade": "2"}, rng)
        assert usual["IDH1"] == usual["IDH2"] == "wild type"
        second = patients.drawn({"IDH": "mutated", "IDH1": "wild type", "grade": "4"}, rng)
        assert second["IDH2"] == "mutated"
        either = patients.drawn({"IDH": "mutated", "age": 75}, rng)
        assert "mutated" in (either["IDH1"], either["IDH2"])


def test_the_rarer_the_patient_the_fewer_are_alike() -> None:
    patients = glioma_patients()
    assert patients.similar({}) == pytest.approx(839)
    assert patients.similar({"grade": "4"}) == pytest.approx(352, abs=5)
    assert patients.similar({"grade": "4", "IDH1": "mutated", "CIC": "mutated"}) < 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"MGMT": "methylated"}, "was not measured"),
        ({"1p/19q": "codeleted"}, "was not measured"),
        ({"IDH3": "mutated"}, "Did you mean 'IDH"),
        ({"IDH1": "broken"}, "mutated, wild type"),
        ({"grade": "5"}, "2 or 3"),
        ({"age": 95}, "14 to 89"),
        ({"IDH": "wild type", "IDH1": "mutated"}, "contradicts IDH1 = mutated"),
        ({"IDH": "mutated", "IDH1": "0", "IDH2": "0"}, "contradicts"),
    ],
)
def test_what_the_patients_do_not_say_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        glioma_patients().chance("sex", "male", given)


def test_what_is_given_is_not_asked_for() -> None:
    with pytest.raises(SettingError, match="is given"):
        glioma_patients().chance(GENES[0], "mutated", {GENES[0]: "mutated"})
