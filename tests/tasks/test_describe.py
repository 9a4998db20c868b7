"""Laws of describing: what is in the image is said with its numbers and their intervals, what is
not is denied, and a sentence about an imagined region is refused and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import segmenters
from veridical.errors import InputError, SettingError
from veridical.language.reader import read_report
from veridical.models import head_segmenter
from veridical.models.head_segmenter import GROUPS
from veridical.tasks.describe import Describe
from veridical.tasks.labelling import Labelling
from veridical.tasks.lesion_masks import masks_of_image
from veridical.tasks.sentences import Sentence, findings, judged, sentences
from veridical.types import Array, Geometry, Image, Study

SIZE, SPACING = 48, 3.0
AT = np.array([-30.0, 18.0, 6.0])
"""mm: middle of the tumour, on the left."""
BRIGHTNESS = {
    "T1w": (40.0, 100.0, 70.0, 60.0, 60.0, 45.0),
    "T1c": (40.0, 100.0, 72.0, 160.0, 62.0, 45.0),
    "FLAIR": (30.0, 60.0, 70.0, 100.0, 120.0, 60.0),
}
"""Fluid, white and grey matter, enhancing tumour, oedema, necrosis."""


def distance(middle: Array) -> Array:
    index = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"), -1)
    at = (index - (SIZE - 1) / 2) * SPACING
    return np.asarray(np.sqrt(((at - middle) ** 2).sum(-1)))


@cache
def head(tumour: bool = True) -> tuple[Image, Labelling]:
    """A ball of white matter in cortex and fluid, with a ring that enhances in oedema."""
    radius, near = distance(np.zeros(3)), distance(AT)
    groups = np.zeros((SIZE,) * 3, np.uint8)
    for name, size in (("skull", 68), ("fluid around the brain", 63), ("cortex", 60),
                       ("white matter", 54), ("lateral ventricle", 9)):  # fmt: skip
        groups[radius < size] = GROUPS.index(name)
    fluid, white, grey = (
        np.isin(groups, [GROUPS.index(name) for name in names])
        for names in (
            ("fluid around the brain", "lateral ventricle"), ("white matter",), ("cortex",)
        )
    )  # fmt: skip
    parts = [fluid, white, grey, near < 12, (near >= 12) & (near < 18), near < 6]
    rng, channels = np.random.default_rng(0), []
    for values in BRIGHTNESS.values():
        data = np.zeros(groups.shape)
        for k, (part, value) in enumerate(zip(parts, values, strict=True)):
            if tumour or k < 3:
                data[part] = value
        channels.append(np.abs(data + rng.normal(0, 2, data.shape)))
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = -SPACING * (SIZE - 1) / 2
    grid = Geometry(groups.shape, affine)  # type: ignore[arg-type]
    sure = np.moveaxis(np.eye(len(GROUPS), dtype=np.float32)[groups], -1, 0)
    image = Image(np.stack(channels).astype(np.float32), grid, "a.u.", tuple(BRIGHTNESS))
    return image, Labelling(sure, GROUPS, grid, np.ones(groups.shape, bool))


def said(
    image: Image, found: Labelling, shares: dict[str, Array] | None = None, age: float = 0.0
) -> list[Sentence]:
    masks = {shift: masks_of_image(image, found, shift) for shift in (0.0, 1.0, -1.0)}
    return sentences(masks, found, image, shares, age)


@pytest.fixture(scope="module")
def spoken() -> list[Sentence]:
    return said(*head())


def test_a_tumour_is_said_with_side_size_and_interval(spoken: list[Sentence]) -> None:
    tumour = next(one for one in spoken if one.fact.kind == "tumour")
    assert (tumour.fact.side, tumour.fact.enhances, tumour.fact.present) == ("left", True, True)
    band = tumour.numbers["diameter_mm"]
    assert band["lower"] <= 24 <= band["upper"]
    assert band["lower"] <= band["value"] <= band["upper"]
    assert abs(tumour.numbers["volume_ml"]["value"] - 4 / 3 * np.pi * 1.2**3) < 2.5


def test_its_oedema_lies_where_it_lies(spoken: list[Sentence]) -> None:
    oedema = next(one for one in spoken if one.fact.kind == "oedema")
    assert (oedema.fact.present, oedema.fact.side) == (True, "left")


def test_what_is_not_there_is_denied() -> None:
    denied = {one.fact.kind for one in said(*head(False)) if not one.fact.present}
    assert {"tumour", "white matter lesions", "infarct"} <= denied
    assert not [one for one in said(*head(False)) if one.fact.present]


def test_the_mirrored_image_gives_the_mirrored_facts(spoken: list[Sentence]) -> None:
    image, found = head()
    data = np.asarray(image.data)[:, ::-1]
    mirrored = Labelling(found.probabilities[:, ::-1], GROUPS, found.grid, found.seen)
    other = said(Image(data, image.geometry, "a.u.", image.channels), mirrored)
    assert [one.fact for one in other] == [one.fact.mirrored() for one in spoken]


def test_its_sentences_are_read_as_the_facts_they_say(spoken: list[Sentence]) -> None:
    for one in spoken:
        read = read_report(one.text.partition(" (")[0] + ".").facts[0]
        assert (read.kind, read.side, read.present) == (
            one.fact.kind, one.fact.side, one.fact.present
        )  # fmt: skip


def test_a_sentence_about_an_imagined_region_is_refused_and_counted() -> None:
    image, found = head()
    share = np.ones(image.geometry.shape, np.float32)
    share[distance(AT) < 20] = 0.0
    spoken = said(image, found, dict.fromkeys(image.channels, share))
    kept, refused = judged(spoken, 0.5)
    assert {one.fact.kind for one in refused} == {"tumour", "oedema"}
    listed = list(findings(kept, refused, image.channels))
    assert listed[-1].evidence["refused"] == 2
    assert listed[-1].verdict == "warn"
    assert not [one for one in listed if one.verdict == "pass" and "tumour" in one.reason[:20]]


def test_evidence_is_the_least_of_the_channels_that_show_it() -> None:
    image, found = head()
    shares = {name: np.full(image.geometry.shape, 0.9, np.float32) for name in image.channels}
    shares["T1c"] = np.full(image.geometry.shape, 0.2, np.float32)
    spoken = {one.fact.kind: one.evidence for one in said(image, found, shares)}
    assert spoken["tumour"] == pytest.approx(0.2)
    assert spoken["oedema"] == pytest.approx(0.9)


def test_a_channel_that_is_missing_leaves_its_question_open() -> None:
    image, found = head()
    spoken = said(image.channel("T1w"), found)
    assert {one.fact.kind for one in spoken} == {"infarct"}
    open_ = list(findings(spoken, [], ("T1w",)))[-1].evidence["not_assessed"]
    assert len(open_) == 2


def test_ventricles_are_judged_by_age() -> None:
    spoken = said(*head(False), age=30.0)
    wide = next(one for one in spoken if one.fact.kind == "atrophy")
    assert not wide.fact.present
    assert wide.numbers["volume_ml"]["value"] == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.25)
    assert not [one for one in said(*head(False)) if one.fact.kind == "atrophy"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_segmenter, "SPACING", 6.0)
        yield segmenters.weights(tmp_path_factory.mktemp("describe"))


def test_the_task_says_how_many_sentences_it_refused(weights: str) -> None:
    image = segmenters.head((6.0, 6.0, 6.0), size=0.8)[0]
    none = Image(np.zeros_like(image.data), image.geometry, "1", image.channels)
    study = Study("", {0.0: {"T1w": image, "evidence": none}})
    result = Describe(weights=weights).apply(study, 0, lambda *_: None)
    assert result.facts["refused"]
    assert not result.facts["facts"]
    assert result.findings[-1].verdict == "warn"
    assert result.evidence is not None
    whole = Describe(weights=weights).apply(Study.of(image), 0, lambda *_: None)
    assert "evidence" in whole.absent
    assert Path(weights).exists()


def test_what_cannot_be_described_is_refused(weights: str) -> None:
    with pytest.raises(SettingError, match="share"):
        Describe(least_evidence=1.5)
    label = Image(np.ones((1, 4, 4, 4)), Geometry((4, 4, 4), np.eye(4)), "label", ("a",))
    with pytest.raises(InputError, match="no image to describe"):
        Describe(weights=weights).apply(Study.of(label), 0, lambda *_: None)
