"""Laws of labels on any grid: orientation, spacing and pose do not matter, and probabilities are
interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import ndimage

import segmenters
from veridical.errors import InputError, SettingError
from veridical.models.base import LabelModel
from veridical.models.head_segmenter import GROUPS
from veridical.tasks.labelling import Labelling, labelled, ml_of
from veridical.types import Array, Geometry, Image


@dataclass(frozen=True)
class Brightness(LabelModel):
    """Tells groups of `segmenters.head` apart by brightness relative to the largest value."""

    name: ClassVar[str] = "brightness"

    @property
    def labels(self) -> tuple[str, ...]:
        return GROUPS

    @property
    def spacing(self) -> float:
        return 3.0

    def probabilities(self, volume: Array) -> Array:
        chosen = np.digitize(volume / max(float(np.percentile(volume, 99.5)), 1e-6),
                             segmenters.EDGES)  # fmt: skip
        found = np.zeros((len(GROUPS), *volume.shape), np.float32)
        for place, name in enumerate(segmenters.ORDER):
            found[GROUPS.index(name)] = chosen == place
        return found


MODEL = Brightness()


def agreement(labels: Array, truth: Array) -> float:
    """Share of voxels with the right label, away from borders between labels."""
    even = np.ones(truth.shape, bool)
    for axis in range(3):
        for shift in (-1, 1):
            even &= np.roll(truth, shift, axis) == truth
    return float((labels == truth)[even].mean())


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"directions": "LPS"},
        {"directions": "PIR", "spacing": (3.0, 4.0, 5.0)},
        {"directions": "IAL", "spacing": (2.5, 6.0, 3.0)},
        {"spacing": (2.0, 2.0, 6.0)},
        {"turn": 30.0},
        {"channel": "CT"},
    ],
    ids=str,
)
def test_orientation_spacing_pose_and_units_do_not_matter(seen: dict[str, Any]) -> None:
    image, truth = segmenters.head(**seen)
    found = labelled(MODEL, image, image.channels)
    labels, confidence = found.placed(image.geometry)
    assert agreement(labels, truth) > 0.99
    assert confidence.min() > 0.2
    assert confidence.max() <= 1 + 1e-5
    ml = ml_of(labels, GROUPS, image.geometry)
    whole = 4 / 3 * np.pi * np.prod(segmenters.HALF) / 1000
    assert sum(ml.values()) == pytest.approx(whole, rel=0.04)
    assert ml["white matter"] == pytest.approx(0.6**3 * whole, rel=0.1)


def test_the_model_s_grid_is_isotropic_ras_and_covers_what_is_shown() -> None:
    image, truth = segmenters.head(directions="PIR", turn=20.0)
    found = labelled(MODEL, image, ("T1w",))
    np.testing.assert_allclose(found.grid.affine[:3, :3], 3 * np.eye(3), atol=1e-9)
    for corner in np.argwhere(truth > 0)[::97]:
        at = np.linalg.inv(found.grid.affine) @ image.geometry.affine @ [*corner, 1.0]
        assert (at[:3] > -0.5).all()
        assert (at[:3] < np.array(found.grid.shape) - 0.5).all()
    assert np.prod(found.grid.shape) < 2.5 * np.prod(2 * segmenters.HALF + 20) / 27


def test_air_around_the_object_is_left_out_and_labelled_background() -> None:
    image, truth = segmenters.head()
    wide = np.pad(image.data[0], 20)
    affine = np.array(image.geometry.affine)
    affine[:3, 3] -= affine[:3, :3] @ (20, 20, 20)
    far = Image(wide[None], Geometry(wide.shape, affine), "a.u.", ("T1w",))
    near, found = (labelled(MODEL, one, ("T1w",)) for one in (image, far))
    assert np.prod(found.grid.shape) < 1.5 * np.prod(near.grid.shape)
    labels, _ = found.placed(far.geometry)
    assert not labels[:18].any()
    assert agreement(labels[20:-20, 20:-20, 20:-20], truth) > 0.99


def test_probabilities_are_interpolated_linearly_before_the_largest_is_taken() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(5, 7, 6, 8)).astype(np.float32)
    values /= values.sum(0)
    grid = Geometry((7, 6, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
    known = Labelling(values, tuple("abcde"), grid, np.ones((7, 6, 8), bool))
    turn = np.array([[0.9, 0.2, 0.0], [-0.2, 0.8, 0.1], [0.05, 0.0, 1.1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (0.4, 2.3, 1.0)
    target = Geometry((9, 8, 10), affine)
    labels, confidence = known.placed(target)
    step = np.linalg.inv(grid.affine) @ affine
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"))
    at = np.tensordot(step[:3, :3], index, 1) + step[:3, 3, None, None, None]
    each = np.stack([ndimage.map_coordinates(v, at, order=1, mode="nearest") for v in values])
    np.testing.assert_allclose(confidence, each.max(0), atol=1e-5)
    assert (labels == each.argmax(0)).mean() > 0.999


def test_channels_are_averaged() -> None:
    image, _ = segmenters.head((6.0, 6.0, 6.0))
    dark = Image(
        np.concatenate([image.data, np.zeros_like(image.data)]), image.geometry, "a.u.",
        ("T1w", "T2w"),
    )  # fmt: skip
    alone, both = (labelled(MODEL, dark, names) for names in (("T1w",), ("T1w", "T2w")))
    assert both.grid == alone.grid
    nothing = MODEL.probabilities(np.zeros(alone.grid.shape))
    np.testing.assert_allclose(both.probabilities, (alone.probabilities + nothing) / 2, atol=1e-6)


def test_sets_of_labels_have_the_sum_of_the_probabilities_and_must_be_known() -> None:
    image, _ = segmenters.head((6.0, 6.0, 6.0))
    found = labelled(MODEL, image, ("T1w",))
    inside = ("white matter", "cortex", "fluid around the brain")
    rest = tuple(name for name in GROUPS if name not in inside)
    merged = found.merged({"rest": rest, "brain": inside})
    assert merged.names == ("rest", "brain")
    np.testing.assert_allclose(merged.probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(merged.where(("brain",)), found.where(inside))
    assert merged.volume(("brain",)) == pytest.approx(found.volume(inside))
    with pytest.raises(SettingError, match=r"does not tell nose apart; it knows background"):
        found.merged({"rest": ("nose",)})


def test_what_lies_outside_of_the_field_of_view_is_not_seen() -> None:
    image, _ = segmenters.head((6.0, 6.0, 6.0), turn=30.0)
    found = labelled(MODEL, image, ("T1w",))
    assert not found.seen.all()
    corner = np.linalg.inv(image.geometry.affine) @ found.grid.affine
    for index in ((0, 0, 0), tuple(n // 2 for n in found.grid.shape)):
        at = (corner @ [*index, 1.0])[:3]
        within = bool(((at >= -0.5) & (at <= np.array(image.geometry.shape) - 0.5)).all())
        assert bool(found.seen[index]) == within
    assert found.probabilities[0][~found.seen].all(), "and shows air"


def test_an_empty_image_is_background_and_a_slice_is_labelled_too() -> None:
    grid = Geometry((20, 24, 1), np.diag([4.0, 4.0, 5.0, 1.0]))
    nothing = Image(np.zeros((1, 20, 24, 1), np.float32), grid, "a.u.", ("T1w",))
    labels, _ = labelled(MODEL, nothing, ("T1w",)).placed(grid)
    assert not labels.any()
    image, truth = segmenters.head()
    place = truth.shape[2] // 2
    affine = np.array(image.geometry.affine)
    affine[:3, 3] += place * affine[:3, 2]
    one = Image(
        image.data[..., place : place + 1], Geometry((*truth.shape[:2], 1), affine), "a.u.",
        ("T1w",),
    )  # fmt: skip
    labels, _ = labelled(MODEL, one, ("T1w",)).placed(one.geometry)
    assert (labels[..., 0] == truth[..., place]).mean() > 0.8


def test_values_that_were_shifted_below_zero_are_seen_from_air_upwards() -> None:
    image, truth = segmenters.head()
    shifted = replace(image, data=(image.data - 120.0) / 60.0)
    labels, _ = labelled(MODEL, shifted, ("T1w",)).placed(image.geometry)
    assert agreement(labels, truth) > 0.98


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"geometry": Geometry.index((30, 37, 32))}, "voxel size.*--spacing"),
        ({"data": np.full((1, 30, 37, 32), np.nan)}, "NaN"),
        ({"data": np.ones((1, 30, 37, 32), complex)}, "complex"),
        (
            {"geometry": Geometry((30, 37, 32), np.diag([20.0, 20.0, 20.0, 1.0]))},
            r"over \d{3} x \d{3} x \d{3} mm",
        ),
    ],
)
def test_images_without_a_size_a_value_or_of_more_than_a_head_are_refused(
    change: dict[str, Any], word: str
) -> None:
    data = np.random.default_rng(0).uniform(0.5, 1, (1, 30, 37, 32)).astype(np.float32)
    image = Image(data, Geometry((30, 37, 32), np.eye(4)), "a.u.", ("T1w",))
    with pytest.raises(InputError, match=word):
        labelled(MODEL, replace(image, **change), ("T1w",))
