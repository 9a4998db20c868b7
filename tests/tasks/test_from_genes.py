"""Genes as conditions of a synthetic head."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.language.fact import Fact
from veridical.phantoms.glioma_biology import FORWARD, FRONTAL
from veridical.phantoms.head_painting import Places
from veridical.phantoms.lesions import tumour
from veridical.tasks.from_genes import TumourGenes, genes_finding, tumour_genes, with_genes
from veridical.tasks.synthesize import Synthesize
from veridical.types import Result


def made(genes: str, given: dict[str, str | float], seed: int) -> TumourGenes:
    return tumour_genes(genes, given, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def head() -> Result:
    task = Synthesize(contrasts="T1c", spacing=9.0, genes="IDH1=mutated", grade=2, age=40)
    return task(None, 3)


def test_records_say_what_was_stated_and_what_was_drawn(head: Result) -> None:
    about = head.image.header["synthetic"]
    genes = about["genes"]
    assert set(genes["stated"]) == {"IDH1", "grade", "age"}
    assert {"sex", "TP53", "IDH2"} <= set(genes["drawn"])
    assert "IDH" not in genes["drawn"]  # it follows from IDH1
    assert (about["age"], about["sex"]) == (40, genes["values"]["sex"])
    assert about["pathology"] == "tumour"
    assert about["lesions_ml"] > 0
    finding = next(one for one in head.findings if one.check == "genes")
    assert finding.verdict == "pass"
    assert "No other variable acts on the image." in finding.reason
    assert head.steps[-1].settings["genes"] == "IDH1=mutated"


def test_only_idh_and_grade_act_and_only_as_is_documented() -> None:
    mutated = [made("IDH=mutated", {"grade": "2"}, n) for n in range(200)]
    usual = [made("IDH=wt,TP53=1,EGFR=1,MUC16=1", {"grade": "4"}, n) for n in range(40)]
    assert np.mean([one.forward for one in mutated]) == pytest.approx(FORWARD, abs=0.1)
    assert not any(one.forward for one in usual)
    assert {one.enhancing for one in mutated} == {0.35}
    assert {one.enhancing for one in usual} == {0.95}


def test_the_same_seed_draws_the_same_patient() -> None:
    assert made("IDH=mutated", {}, 4) == made("IDH=mutated", {}, 4)


def test_a_patient_like_whom_hardly_any_was_seen_is_a_guess() -> None:
    rare = made("IDH=mutated,CIC=mutated,EGFR=mutated", {"grade": "4"}, 0)
    assert genes_finding(rare).verdict == "warn"


def test_forward_tumours_lie_before_the_middle_of_the_brain() -> None:
    rng = np.random.default_rng(0)
    white = rng.uniform(-60, 60, (500, 3)).astype(np.float32)
    places = Places(white, white).before(FRONTAL)
    assert all(tumour(rng, places)[0, 2] > FRONTAL for _ in range(20))
    behind = Places(white, np.minimum(white, 0))
    assert behind.before(FRONTAL) is behind


def test_genes_say_only_what_a_text_leaves_open() -> None:
    said = (Fact("tumour", lobe="parietal"), Fact("tumour", enhances=False), Fact("oedema"))
    first, second, third = with_genes(said, forward=True, enhances=True)
    assert (first.lobe, first.enhances) == ("parietal", True)
    assert (second.lobe, second.enhances) == ("frontal", False)
    assert third == said[2]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"genes": "MGMT=methylated"}, "was not measured"),
        ({"genes": "IDH1"}, "expected IDH1=mutated"),
        ({"grade": 5}, "expected 2, 3 or 4"),
        ({"grade": 1}, "expected 2, 3 or 4"),
        ({"genes": "TP53=1", "pathology": "ms"}, "asks for none"),
        ({"grade": 2, "text": "white matter lesions"}, "asks for none"),
        ({"grade": 4, "age": 94.0}, "14 to 89"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        Synthesize(**settings)  # type: ignore[arg-type]
