"""Laws of lesions that are described: lobe, side and size are those of the text, mirrored texts
give mirrored facts, and what is denied is not there.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from veridical.errors import InputError, SettingError
from veridical.language.fact import Fact
from veridical.language.reader import read_report
from veridical.phantoms.described_lesions import drawn, planned
from veridical.phantoms.head_painting import Anatomy, anatomy
from veridical.phantoms.head_shapes import HIGH, LOW, new_head
from veridical.phantoms.lesion_measures import diameter, pieces, volume
from veridical.phantoms.lobes import NAMES, BrainFrame, frame_of_labels
from veridical.tasks.lesion_masks import masks_of_labels
from veridical.tasks.measured_facts import measured_facts
from veridical.types import Geometry

SPACING = 3.0


@cache
def head() -> Anatomy:
    shape = tuple(int(n) for n in (HIGH - LOW) / SPACING)
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = LOW + SPACING / 2
    labels = new_head(np.random.default_rng(0), 40.0, "female").structures(
        affine[:3, 3], SPACING, shape
    )
    return anatomy(labels, Geometry(shape, affine), np.random.default_rng(1))


def made(text: str, seed: int = 0) -> Anatomy:
    facts = read_report(text).facts
    return drawn(head(), planned(head(), facts, np.random.default_rng(seed)))


def seen(text: str, seed: int = 0) -> list[Fact]:
    after = made(text, seed)
    return [one.fact for one in measured_facts(masks_of_labels(after.labels, after.geometry))]


@pytest.mark.parametrize("side", ["left", "right"])
def test_side_lobe_and_size_are_those_of_the_text(side: str) -> None:
    for lobe in ("frontal", "parietal", "temporal"):
        found = seen(f"{side} {lobe} 24 mm enhancing tumour without oedema")
        assert [one.kind for one in found] == ["tumour", "oedema"]
        assert (found[0].side, found[0].lobe, found[0].size_class) == (side, lobe, "medium")
        assert abs((found[0].size or 0) - 24) <= 1.5 * SPACING
        assert not found[1].present, "a denied finding gives none"


def test_a_text_that_denies_everything_changes_no_voxel() -> None:
    after = made("No tumour, oedema or infarct. White matter lesions are not seen.")
    np.testing.assert_array_equal(after.labels, head().labels)


def test_mirrored_texts_give_mirrored_facts() -> None:
    text = "left temporal 30 mm enhancing tumour with oedema"
    left = {(one.kind, one.lobe) for one in seen(text)}
    right = {(one.kind, one.lobe) for one in seen(text.replace("left", "right"))}
    assert left == right
    assert {one.side for one in seen(text.replace("left", "right"))} == {"right"}


def test_the_same_seed_gives_the_same_lesion_and_others_another_place() -> None:
    text = "right frontal 2 cm enhancing tumour"
    first, again, other = made(text), made(text), made(text, 5)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).any()


def test_lesions_are_as_many_as_the_text_says_and_on_both_sides() -> None:
    plan = planned(
        head(), read_report("6 bilateral white matter lesions").facts, np.random.default_rng(0)
    )
    assert [one.fact.side for one in plan] == ["left", "right"] * 3
    gaps = [np.linalg.norm(a.lesion[1:4] - b.lesion[1:4]) for a in plan for b in plan if a is not b]
    assert min(gaps) > 3


def test_an_infarct_is_a_cavity() -> None:
    found = seen("18 mm infarct in the left parietal lobe")
    assert [(one.kind, one.side, one.lobe) for one in found] == [("infarct", "left", "parietal")]


def test_what_does_not_fit_is_refused() -> None:
    many = Fact("white matter lesions", side="left", lobe="occipital", count=90)
    with pytest.raises(SettingError, match="left occipital white matter lesions"):
        planned(head(), [many], np.random.default_rng(0))
    with pytest.raises(SettingError, match="no room"):
        made("left frontal 400 mm enhancing tumour")


def test_the_rule_of_lobes_is_mirrored_and_knows_the_poles() -> None:
    frame = frame_of_labels(head().labels, head().geometry)
    offsets = np.random.default_rng(0).normal(size=(200, 3)) * frame.size
    mirrored = offsets * np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(
        frame.margins(frame.centre + offsets), frame.margins(frame.centre + mirrored)
    )
    for lobe, at in (("frontal", (0.6, 1.6, 0.3)), ("occipital", (0.5, -1.7, 0.0))):
        assert frame.lobe((frame.centre + np.array(at) * frame.size)[None]) == lobe
    assert len(NAMES) == 7


def test_no_side_is_named_where_nobody_knows_left_from_right() -> None:
    with pytest.raises(InputError, match="left and right"):
        BrainFrame.of(np.ones((4, 4, 4), bool), Geometry.index((4, 4, 4)))


def test_diameters_and_volumes_of_a_box_are_its_own() -> None:
    grid = Geometry((20, 20, 10), np.diag([1.0, 1.0, 4.0, 1.0]))
    mask = np.zeros(grid.shape, bool)
    mask[2:6, 3:6, 2:8] = True
    mask[15, 15, 5] = True
    assert diameter(mask[..., :], grid) == pytest.approx(np.hypot(13, 12) + 1)
    first = next(iter(pieces(mask)))
    assert diameter(first, grid) == pytest.approx(np.hypot(3, 2) + 1)
    assert volume(first, grid) == pytest.approx(4 * 3 * 6 * 4 / 1000)
    assert diameter(np.zeros(grid.shape, bool), grid) == 0
