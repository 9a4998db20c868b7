"""Laws of painting: fractions sum to one, labels follow the map, lesions lie where they may, fat
lies between muscles.
"""

from __future__ import annotations

import numpy as np
import pytest

from label_balls import ball
from veridical.errors import InputError
from veridical.phantoms.head_labels import LABELS, TISSUE
from veridical.phantoms.head_painting import anatomy, coarser
from veridical.phantoms.label_maps import structure
from veridical.phantoms.lesions import MS, TUMOUR, frame, row
from veridical.phantoms.scanners import SITES
from veridical.types import Geometry


def lesion(kind: float, at: tuple[float, float, float], radius: float) -> np.ndarray:
    axes = frame(np.array([1.0, 0.2, 0.1]), np.random.default_rng(0))
    return row(kind, np.array(at), axes, np.full(3, radius), 0.0, 1.6)[None]


def test_the_middle_of_the_brain_is_the_origin() -> None:
    np.testing.assert_allclose(ball().centre, 100, atol=1e-3)


@pytest.mark.parametrize("fine", [1, 2])
def test_fractions_sum_to_one_and_agree_with_the_labels(fine: int) -> None:
    head, labels = ball().painted(fine, "none", SITES[0], np.random.default_rng(0), (0, 1))
    np.testing.assert_allclose(head.tissues.sum(0), 1, atol=1e-5)
    tissue = TISSUE[labels]
    share = np.take_along_axis(head.tissues, tissue[None], 0)[0]
    assert share.min() > (0.99 if fine == 1 else 0.12)
    assert head.geometry.shape == labels.shape == tuple(n // fine for n in ball().labels.shape)


def test_a_coarser_grid_covers_the_same_space() -> None:
    grid = ball().geometry
    two = coarser(grid, 2, (18, 18, 18))
    corner = grid.affine @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(two.affine @ [-0.5, -0.5, -0.5, 1], corner)
    assert two.spacing == (4, 4, 4)


def test_multiple_sclerosis_changes_white_matter_only() -> None:
    before = ball()
    after = before.with_lesions(lesion(MS, (12, 0, 0), 9.0), enhances=False)
    changed = after.labels != before.labels
    assert set(before.labels[changed]) == {structure("white matter")}
    assert set(after.labels[changed]) == {structure("lesion")}


def test_a_tumour_has_a_core_a_rim_and_oedema_around_it() -> None:
    before = ball()
    after = before.with_lesions(lesion(TUMOUR, (8, 0, 0), 7.0), enhances=True)
    at = {
        name: np.argwhere(after.labels == LABELS.index(name)) @ before.placed[:, :3].T
        + before.placed[:, 3]
        for name in ("necrosis", "enhancing tumour", "oedema")
    }
    far = [np.linalg.norm(at[name] - [8, 0, 0], axis=1).mean() for name in at]
    assert far == sorted(far)
    assert min(len(places) for places in at.values()) > 10


def test_the_volume_of_a_ball_is_that_of_geometry_whatever_the_grid() -> None:
    for spacing, tolerance in ((1.0, 0.05), (2.0, 0.25)):
        head = ball(spacing)
        after = head.with_lesions(lesion(MS, (12, 0, 0), 6.0), enhances=False)
        volume = (after.labels != head.labels).sum() * head.voxel
        assert volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=tolerance)


def test_fat_lies_between_muscles_of_the_fat_and_not_of_the_lean() -> None:
    before = ball()
    lean, fat = before.marbled(6.0).labels, before.marbled(0.0).labels
    np.testing.assert_array_equal(lean, before.labels)
    changed = fat != before.labels
    assert set(before.labels[changed]) == {structure("muscle")}
    assert set(fat[changed]) == {structure("fat")}


def test_places_of_lesions_lie_in_white_matter_and_those_by_the_ventricles_near_them() -> None:
    places = ball().places
    radius = np.linalg.norm(places.white, axis=1)
    assert radius.min() > 4
    assert radius.max() < 20
    assert np.linalg.norm(places.periventricular, axis=1).max() < 5 + 12 + 2


def test_a_head_without_white_matter_cannot_have_lesions() -> None:
    labels = np.full((8, 8, 8), structure("muscle"), np.uint8)
    head = anatomy(labels, Geometry((8, 8, 8), np.eye(4)), np.random.default_rng(0))
    with pytest.raises(InputError, match="no white matter"):
        _ = head.places
