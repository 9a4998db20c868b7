"""Laws of the fixed reader: it reads whole heads only, made and real images alike, and only where
nobody drew structures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import segmenters
import toys
from veridical.evaluation.cases import Case
from veridical.evaluation.head_reader import NAME, READ, HeadReader, reader_of
from veridical.evaluation.sources import Source
from veridical.models import head_segmenter, weights
from veridical.models.head_segmenter import GROUPS, HeadSegmenter
from veridical.types import Geometry, Image
from veridical.workflow.evaluate import Evaluate, evaluate

HEAD, TRUTH = segmenters.head((5.0, 5.0, 5.0), size=0.85)


@pytest.fixture(scope="module", autouse=True)
def shipped() -> Iterator[None]:
    """The known segmenter in the place of the shipped one, on a coarse grid."""
    with toys.shipped(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_segmenter, "SPACING", 4.0)
        yield


def reader() -> HeadReader:
    return HeadReader(HeadSegmenter())


def test_every_structure_of_the_segmenter_is_read_as_one() -> None:
    members = [name for names in READ.values() for name in names]
    assert sorted(members) == sorted(GROUPS)
    assert next(iter(READ)) == "background"
    found = reader()(HEAD)
    assert found.shape == TRUTH.shape
    wanted = np.zeros_like(TRUTH)
    for label, name in HeadReader.names.items():
        wanted[np.isin(TRUTH, [GROUPS.index(one) for one in READ[name]])] = label
    assert (found == wanted).mean() > 0.98
    assert len(reader().sha256()) == 64


def test_it_sees_a_head_and_nothing_else() -> None:
    seen = reader().sees_head
    assert seen(HEAD)
    assert seen(segmenters.head(channel="CT")[0])
    assert not seen(replace(HEAD, geometry=Geometry.index(TRUTH.shape))), "of unknown size"
    assert not seen(replace(HEAD, units="SUV", channels=("PET",)))
    assert not seen(replace(HEAD, data=np.zeros_like(HEAD.data)))
    slab = HEAD.data[..., 20:25]
    assert not seen(Image(slab, Geometry(slab.shape[1:], HEAD.geometry.affine), "a.u.", ("T1w",)))
    assert not seen(segmenters.head(size=0.4)[0]), "too small"
    assert not seen(replace(HEAD, data=HEAD.data + 1j)), "it says so elsewhere"


def case(image: Image | None, name: str = "p") -> Case:
    return Case(name, name, None, None if image is None else Source(name, None, image=image))


def test_the_first_real_image_decides_and_weights_must_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert reader_of([case(None), case(HEAD)]) == reader()
    assert reader_of([case(replace(HEAD, data=np.zeros_like(HEAD.data)))]) is None
    assert reader_of([]) is None
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    weights.fingerprint.cache_clear()
    assert reader_of([case(HEAD)]) is None


def pairs() -> tuple[dict[str, Image], dict[str, Image]]:
    """Four heads with noise, and made ones: smoother, and one without its outer cortex."""
    real, made = {}, {}
    for number in range(4):
        noise = np.random.default_rng(number).normal(0, 3, HEAD.data.shape)
        real[f"p{number}"] = replace(HEAD, data=(HEAD.data + noise).astype(np.float32))
        smooth = ndimage.gaussian_filter(HEAD.data + noise / 2, (0, 0.5, 0.5, 0.5))
        made[f"p{number}"] = replace(HEAD, data=smooth.astype(np.float32))
    lost = np.where(HEAD.data == 225, 150.0, HEAD.data)
    made["p3"] = replace(HEAD, data=lost.astype(np.float32))
    return made, real


def test_structures_of_made_and_real_heads_are_compared_where_nobody_drew_any() -> None:
    made, real = pairs()
    judged = evaluate(made, real, levels=("task",))
    dice = {
        endpoint.region.partition(":")[2]: endpoint
        for endpoint in judged.endpoints
        if endpoint.metric == "dice" and endpoint.region.startswith(f"{NAME}:")
    }
    assert set(dice) == {"white matter", "cortex", "fluid around the brain", "skull"}
    assert dice["white matter"].value > 0.85
    assert dice["cortex"].value < dice["white matter"].value - 0.1, "one lost it"
    assert all(one.floor == 1.0 for one in dice.values())
    by_case = {row.case: row.values[f"task/dice/{NAME}:cortex"] for row in judged.cases}
    assert by_case["p3"] < 0.2 < 0.8 < by_case["p0"]


def test_no_reader_is_asked_where_it_is_switched_off_or_labels_were_given() -> None:
    made, real = pairs()
    for settings in (
        {"reader": "no"},
        {"labels": {name: replace(HEAD, data=TRUTH[None], units="label") for name in real}},
        {"levels": ("pixel",)},
    ):
        judged = evaluate(made, real, **{"levels": ("task",), **settings})
        assert not any(NAME in endpoint.region for endpoint in judged.endpoints)
    with pytest.raises(Exception, match="reader = 'yes'; expected auto or no"):
        Evaluate(reader="yes")  # type: ignore[arg-type]
