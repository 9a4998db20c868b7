"""A nose is seen on any grid, none on a head without; defacing removes it and spares the brain."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from veridical.audit.audited_study import known
from veridical.audit.face import STANDS_OUT, face, nose_of
from veridical.errors import InputError
from veridical.preprocessing.face import head_frame
from veridical.task import silent
from veridical.tasks.deface import Deface
from veridical.tasks.synthesize import NOTHING, Synthesize
from veridical.testing import check_audit
from veridical.types import Array, Geometry, Image, Result, Study

GRID = Geometry(
    (60, 76, 64), np.array([[3.0, 0, 0, -88], [0, 3, 0, -110], [0, 0, 3, -110], [0, 0, 0, 1]])
)
ABSENT = dict.fromkeys(("draws", "interval", "evidence"), "another generator made it")


def shape(nose: bool, scale: float = 1.0) -> Array:
    """An egg 185 mm long with a neck, and a nose of 22 mm 115 mm below the vertex."""
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), -1)
    x, y, z = np.moveaxis((index @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]) / scale, -1, 0)
    skull = (x / 75) ** 2 + (y / 92.5) ** 2 + ((z - 0) / 75) ** 2 < 1
    jaw = (np.abs(x) < 55) & (y < 75) & (y > -40) & (z < -10) & (z > -100)
    head = skull | jaw
    if nose:
        head |= (np.abs(x) < 9) & (y > 60) & (y < 97) & (np.abs(z + 40) < 14)
    return head.astype(np.float32) * 100


def image(data: Array, geometry: Geometry = GRID) -> Image:
    return Image(np.asarray(data, np.float32)[None], geometry, "a.u.", ("T1w",))


@cache
def head() -> Image:
    """A whole head of a digital patient at 4 mm, T1w."""
    made = Synthesize(contrasts="T1w", spacing=4.0, pathology="none").apply(NOTHING, 0, silent)
    return made.image.channel("T1w")


def test_a_nose_is_seen_and_a_head_without_has_none() -> None:
    with_nose, without = nose_of(image(shape(True))), nose_of(image(shape(False)))
    assert with_nose is not None
    assert without is not None
    assert with_nose > STANDS_OUT > without + 3


def test_orientation_and_size_of_the_head_do_not_matter() -> None:
    data = shape(True)
    turned = Geometry(
        (64, 76, 60),
        np.array([[0, 0, -3.0, 89], [0, 3, 0, -110], [3, 0, 0, -110], [0, 0, 0, 1]]),
    )
    moved = image(np.ascontiguousarray(np.transpose(data, (2, 1, 0))[:, :, ::-1]), turned)
    assert nose_of(moved) == pytest.approx(nose_of(image(data)), abs=4)
    child = nose_of(image(shape(True, 0.8)))
    assert child is not None
    assert child > STANDS_OUT


def test_a_digital_patient_is_recognized_and_defaced() -> None:
    before = nose_of(head())
    assert before is not None
    assert before > STANDS_OUT
    result = Deface()(head())
    found = next(one for one in result.findings if one.check == "face")
    assert found.verdict == "pass"
    assert nose_of(result.image) == pytest.approx(0, abs=5)
    kept = result.image.data == head().data
    assert 0.7 < kept.mean() < 0.99


def test_a_mask_of_the_brain_is_left_whole() -> None:
    data = shape(True)
    brain = np.zeros(GRID.shape, np.uint8)
    brain[20:40, 40:66, 22:50] = 1
    mask = Image(brain[None], GRID, "label", ("brain",))
    free = Deface().apply(Study.of(image(data)), 0, silent).image.data[0]
    spared = (
        Deface()
        .apply(Study("p", {0.0: {"T1w": image(data), "brain": mask}}), 0, silent)
        .image.data[0]
    )
    assert (free != data)[brain > 0].any()
    assert not (spared != data)[brain > 0].any()


def test_what_is_no_whole_head_is_refused() -> None:
    data = shape(True)
    with pytest.raises(InputError, match="voxel size"):
        head_frame(data, Geometry.index(GRID.shape))
    with pytest.raises(InputError, match="cut off"):
        head_frame(data[:, :, :50], Geometry((60, 76, 50), GRID.affine))
    with pytest.raises(InputError, match="No head"):
        head_frame(np.zeros(GRID.shape), GRID)
    above = GRID.affine.copy()
    above[2, 3] += 3 * 30
    with pytest.raises(InputError, match="none to remove"):
        Deface().apply(Study.of(image(data[:, :, 30:], Geometry((60, 76, 34), above))), 0, silent)


def test_a_face_in_a_set_is_named_and_tasks_are_not_looked_at() -> None:
    study = known(
        Study("", {0.0: {}}), generated={"a": image(shape(True)), "b": image(shape(False))}
    )
    made = Result(image(shape(True)), "image", absent=ABSENT)
    found = check_audit(face, study, made)
    assert found is not None
    assert found.verdict == "warn"
    assert list(found.evidence["noses"]) == ["a"]
    assert face(Study.of(head()), Result(head(), "posterior mean")) is None
