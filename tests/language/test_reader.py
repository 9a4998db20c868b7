"""Laws of reading reports: what the grammar writes is read again, negation has its reach, sides and
units are kept, and what is not understood is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.language.fact import Fact, ReadReport, count_class, size_class
from veridical.language.grammar import ABSENT, TEMPLATES, report, sentence
from veridical.language.reader import read_report

PLACES = (("left", "frontal"), ("right", "deep"), ("both", "cerebellum"), ("", ""), ("left", ""))
SAID = ((20.0, "", True), (None, "small", False), (None, "", None), (34.0, "", False))


def facts() -> Iterator[Fact]:
    for side, lobe in PLACES:
        place: dict[str, str] = {"side": side, "lobe": lobe}
        for size, name, enhances in SAID:
            yield Fact("tumour", size=size, size_class=name, enhances=enhances, **place)
        yield Fact("infarct", size=7.0, **place)
        yield Fact("white matter lesions", count=7, **place)
        yield Fact("white matter lesions", count_class="few", **place)
        yield Fact("oedema", **place)
    yield Fact("atrophy")


def only(text: str) -> Fact:
    found = read_report(text)
    assert len(found.facts) == 1, found
    return found.facts[0]


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_every_template_is_read_as_the_fact_that_it_was_written_from(split: str) -> None:
    rng = np.random.default_rng(0)
    for fact, certain in product(facts(), (True, False)):
        for template in TEMPLATES[fact.kind][split]:
            said = replace(fact, certain=certain)
            text = sentence(said, rng, split, template=template)
            if "{enhancing}" not in template:
                said = replace(said, enhances=None)
            found = read_report(text)
            assert found.facts == (said,), text
            assert not found.unread, text


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_every_denial_is_read_as_one(split: str) -> None:
    rng = np.random.default_rng(1)
    for kind, template in product(TEMPLATES, ABSENT[split]):
        fact = Fact(kind, present=False)
        assert read_report(sentence(fact, rng, split, template=template)).facts == (fact,)


@pytest.mark.parametrize("present", [True, False])
def test_a_report_of_several_facts_is_read_whole(present: bool) -> None:
    wanted = (
        Fact("tumour", side="left", lobe="temporal", size=23.0, enhances=True),
        Fact("oedema", present=present, side="left", lobe="temporal"),
        Fact("atrophy", present=False),
    )
    for seed in range(20):
        text = report(wanted, np.random.default_rng(seed), "held-out", ("T1c", "FLAIR"))
        found = read_report(text)
        assert (found.facts, found.contrasts) == (wanted, ("T1c", "FLAIR")), text


def test_a_mirrored_text_is_read_as_mirrored_facts() -> None:
    text = "Left frontal 2 cm tumour with oedema. Three right temporal demyelinating plaques."
    swapped = text.replace("Left", "Xx").replace("right", "left").replace("Xx", "Right")
    assert read_report(swapped).facts == tuple(one.mirrored() for one in read_report(text).facts)


@pytest.mark.parametrize(
    ("text", "present"),
    [
        ("No mass.", False),
        ("There is no evidence of a mass or oedema.", False),
        ("A mass is not seen.", False),
        ("Mass and oedema are absent.", False),
        ("The brain is free of tumour.", False),
        ("No haemorrhage but a mass in the left frontal lobe.", True),
        ("No oedema, a 2 cm mass on the right.", True),
        ("No change of the known mass in the left parietal lobe.", True),
        ("Mass without haemorrhage.", True),
        ("A tumour cannot be excluded.", True),
        ("Not only oedema, also a mass.", True),
    ],
)
def test_negation_reaches_as_far_as_a_reader_takes_it(text: str, present: bool) -> None:
    assert {one.present for one in read_report(text).facts if one.kind == "tumour"} == {present}


def test_doubt_is_no_denial() -> None:
    assert only("Possible small infarct in the left thalamus.") == Fact(
        "infarct", certain=False, side="left", lobe="deep", size_class="small"
    )
    assert only("Infarct cannot be excluded in the right frontal lobe.").certain is False


@pytest.mark.parametrize(
    ("said", "size"),
    [("2 cm", 20.0), ("20mm", 20.0), ("2.3 x 1.8 cm", 23.0), ("two centimetres", 20.0),
     ("1,5 cm", 15.0), ("20-24 mm", 22.0)],
)  # fmt: skip
def test_sizes_are_the_longest_diameter_in_mm(said: str, size: float) -> None:
    assert only(f"Mass of {said} in the left frontal lobe.").size == size


def test_size_and_number_decide_their_classes() -> None:
    assert [size_class(size) for size in (14.9, 15.0, 30.0)] == ["small", "medium", "large"]
    assert [count_class(count) for count in (1, 5, 6)] == ["one", "few", "many"]
    assert Fact("tumour", size=40.0, size_class="small").size_class == "large"


def test_a_later_sentence_adds_to_the_last_finding() -> None:
    found = only("Mass in the left parietal lobe. It measures 34 mm. There is no enhancement.")
    assert (found.size, found.enhances) == (34.0, False)


def test_what_is_not_understood_is_said_and_not_guessed() -> None:
    found = read_report("Left frontal mass. Florbic zanthoma beside it. No haemorrhage, a cyst.")
    assert found.unread == ("Florbic zanthoma",)
    assert found.unknown == ("cyst",), "a denied one is understood"
    assert read_report("T2 hyperintense lesion.") == ReadReport((), (), ("lesion",))


def test_a_fact_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="frontal"):
        Fact("tumour", lobe="frontall")
    with pytest.raises(InputError, match="more than 0"):
        Fact("tumour", size=-1.0)
