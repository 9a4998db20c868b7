"""Structures, lesions and classes: closed forms, published values, MONAI's values, and the rule for
empty structures.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, spatial

from veridical.errors import GeometryError, InputError, SettingError, UnitsError
from veridical.metrics.auc import auc, auc_covariance
from veridical.metrics.dice import dice
from veridical.metrics.hausdorff95 import hausdorff95
from veridical.metrics.invented import invented
from veridical.metrics.lesion_f1 import Detections, detections, froc, lesion_f1
from veridical.metrics.missed import missed
from veridical.metrics.surface_dice import surface_dice
from veridical.metrics.surfaces import RINGS, diagonal, surface_distances
from veridical.metrics.volume_difference import volume_difference

SHAPE, SPACING = (30, 34, 26), (1.0, 1.5, 2.5)
STRUCTURE = (dice, surface_dice, hausdorff95, volume_difference, lesion_f1)
MM = (1.0, 1.0, 1.0)
EMPTY = np.zeros(SHAPE, dtype=bool)


def box(*ranges: tuple[int, int], shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    found = np.zeros(shape, dtype=bool)
    found[tuple(slice(*r) for r in ranges)] = True
    return found


def blobs(seed: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Rough structures that touch the border of the image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5)
    return np.asarray(noise > 0.7 * noise.std())


BOX = box((8, 16), (10, 20), (6, 16))


def test_dice_of_two_boxes_that_share_half() -> None:
    assert dice(BOX, np.roll(BOX, 4, 0), SPACING) == 0.5


def test_volume_difference_is_signed_and_in_ml() -> None:
    larger = box((8, 18), (10, 20), (6, 16))
    assert volume_difference(larger, BOX, SPACING) == pytest.approx(200 * 3.75 / 1000)
    assert volume_difference(EMPTY, BOX, SPACING) == pytest.approx(-800 * 3.75 / 1000)


def test_a_box_moved_by_two_voxels_is_two_voxels_away_only_on_the_faces_across() -> None:
    forward, back = surface_distances(np.roll(BOX, 2, 2), BOX, SPACING)
    assert forward.max() == back.max() == 5.0
    assert hausdorff95(np.roll(BOX, 2, 2), BOX, SPACING) == 5.0
    assert surface_dice(np.roll(BOX, 2, 2), BOX, SPACING, tolerance=5.0) == 1.0
    assert surface_dice(np.roll(BOX, 2, 2), BOX, SPACING, tolerance=1.0) < 1.0


@pytest.mark.parametrize("apart", [3, RINGS + 1, 20])
def test_the_distance_of_two_voxels_is_pythagoras_near_and_far(apart: int) -> None:
    a, b = box((2, 3), (3, 4), (1, 2)), box((6, 7), (3 + apart, 4 + apart), (3, 4))
    assert hausdorff95(a, b, SPACING) == pytest.approx(np.hypot(np.hypot(4, 1.5 * apart), 5))


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.3, 4), st.floats(0.3, 4))
@settings(max_examples=15, deadline=None)
def test_surface_distances_are_those_of_a_search_over_all_pairs(
    first: int, second: int, sy: float, sz: float
) -> None:
    a, b = blobs(first, (14, 17, 12)), blobs(second, (14, 17, 12))
    a[9:] = b[:4] = False
    a[0, 0, 0] = b[-1, -1, -1] = True
    points = [np.argwhere(m & ~ndimage.binary_erosion(m)) * np.array([1.0, sy, sz]) for m in (a, b)]
    pairs = spatial.distance.cdist(*points)
    found = surface_distances(a, b, (1.0, sy, sz))
    np.testing.assert_allclose(found[0], pairs.min(1), rtol=1e-12)
    np.testing.assert_allclose(found[1], pairs.min(0), rtol=1e-12)


def test_surface_distances_do_not_depend_on_the_image_around_nor_on_memory_order() -> None:
    a, b = blobs(1), blobs(2)
    wide = [np.asfortranarray(np.pad(m, ((9, 3), (0, 5), (4, 0)))) for m in (a, b)]
    for found, expected in zip(
        surface_distances(*wide, SPACING), surface_distances(a, b, SPACING), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def monai() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("monai.metrics", reason="MONAI is not installed")


def tensors(*structures: np.ndarray) -> list[Any]:
    torch = pytest.importorskip("torch")
    return [torch.from_numpy(m.copy())[None, None] for m in structures]


@pytest.mark.filterwarnings("ignore")
def test_hausdorff95_and_surface_dice_are_those_of_monai(monai: Any) -> None:
    pairs = [
        (blobs(1), blobs(2)),
        (BOX, np.roll(BOX, 3, 1)),
        (BOX, box((25, 30), (0, 4), (20, 26))),
        (blobs(3), BOX),
    ]
    for a, b in pairs:
        theirs = monai.compute_hausdorff_distance(
            *tensors(a, b), include_background=True, percentile=95, spacing=SPACING
        )
        assert hausdorff95(a, b, SPACING) == pytest.approx(float(theirs), rel=1e-6)
        theirs = monai.compute_surface_dice(
            *tensors(a, b), class_thresholds=[2.1], include_background=True, spacing=SPACING
        )
        assert surface_dice(a, b, SPACING, tolerance=2.1) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_missed_structure_is_the_diagonal_of_the_image_where_monai_gives_nan_or_infinity_and_drops_it(
    monai: Any,
) -> None:
    metric = monai.HausdorffDistanceMetric(include_background=True, percentile=95)
    metric(*tensors(EMPTY, BOX))
    metric(*tensors(BOX, BOX))
    assert not np.isfinite(
        float(
            monai.compute_hausdorff_distance(
                *tensors(EMPTY, BOX), include_background=True, percentile=95
            )
        )
    )
    assert float(metric.aggregate()) != pytest.approx(diagonal(SHAPE, (1, 1, 1)) / 2)
    assert hausdorff95(EMPTY, BOX, SPACING) == pytest.approx(np.hypot(np.hypot(30, 51), 65))


def test_the_worst_hausdorff_distance_of_a_brats_image_is_the_373_mm_of_that_challenge() -> None:
    empty = np.zeros((240, 240, 155), dtype=bool)
    one = empty.copy()
    one[100, 100, 100] = True
    assert hausdorff95(empty, one, (1, 1, 1)) == pytest.approx(373.13, abs=0.005)


@pytest.mark.parametrize(
    ("metric", "both", "one"),
    [(dice, 1, 0), (surface_dice, 1, 0), (lesion_f1, 1, 0), (hausdorff95, 0, 87.90)],
)
def test_two_empty_structures_agree_and_one_is_the_worst_there_is(
    metric: Any, both: float, one: float
) -> None:
    assert metric(EMPTY, EMPTY, SPACING) == both
    assert metric(EMPTY, BOX, SPACING) == pytest.approx(one, abs=0.01)
    assert metric(BOX, EMPTY, SPACING) == pytest.approx(one, abs=0.01)


def test_a_finding_that_nothing_supports_is_invented_and_a_speck_is_not() -> None:
    other = BOX | box((0, 4), (0, 4), (0, 4))
    assert invented(other, BOX, MM) == 1
    assert invented(BOX, BOX, MM) == invented(EMPTY, BOX, MM) == 0
    assert invented(BOX | box((0, 1), (0, 1), (0, 1)), BOX, MM) == 0


def test_a_structure_is_missed_when_not_one_voxel_of_it_is_found() -> None:
    assert missed(EMPTY, BOX, MM)
    assert missed(box((0, 4), (0, 4), (0, 4)), BOX, MM)
    assert not missed(box((8, 9), (10, 11), (6, 7)), BOX, MM)
    assert not missed(BOX, EMPTY, MM)


@pytest.mark.parametrize("metric", STRUCTURE)
def test_a_structure_metric_refuses_labels_other_grids_and_a_wrong_spacing(metric: Any) -> None:
    with pytest.raises(InputError, match="labels == 2"):
        metric(BOX.astype(np.uint8), BOX, SPACING)
    with pytest.raises(GeometryError):
        metric(BOX[0], BOX[0], SPACING)
    with pytest.raises(UnitsError):
        metric(BOX, BOX, (1.0, 0.0, 1.0))
    with pytest.raises(UnitsError):
        metric(BOX, BOX, (1.0, 1.0))


@pytest.mark.parametrize("metric", [dice, surface_dice, hausdorff95, lesion_f1])
def test_a_structure_metric_is_symmetric_and_perfect_for_the_same_structure(metric: Any) -> None:
    a, b = blobs(4), blobs(5)
    assert metric(a, b, SPACING) == metric(b, a, SPACING) or metric is lesion_f1
    assert metric(a, a, SPACING) == (0 if metric is hausdorff95 else 1)


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(SettingError):
        surface_dice(BOX, BOX, SPACING, tolerance=-1)


LESIONS = (
    box((2, 5), (2, 5), (2, 5)) | box((12, 15), (2, 5), (2, 5)) | box((20, 21), (20, 21), (20, 21))
)


def test_lesion_f1_counts_lesions_not_voxels() -> None:
    speck, elsewhere = box((3, 4), (3, 4), (3, 4)), box((25, 28), (25, 28), (2, 12))
    assert lesion_f1(speck | elsewhere, LESIONS, SPACING) == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert lesion_f1(LESIONS, LESIONS, SPACING) == 1.0


def test_a_lesion_below_the_smallest_size_neither_counts_nor_makes_its_candidate_a_false_positive() -> (
    None
):
    found = box((2, 5), (2, 5), (2, 5)) | box((19, 22), (19, 22), (19, 22))
    assert lesion_f1(found, LESIONS, SPACING) == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert lesion_f1(found, LESIONS, SPACING, smallest=27 * 3.75) == pytest.approx(
        2 * 1 / (2 * 1 + 1)
    )
    assert lesion_f1(found, LESIONS, SPACING, smallest=27.1 * 3.75) == 1.0


def test_with_an_overlap_a_speck_in_a_lesion_is_no_hit() -> None:
    lesion, part = box((2, 5), (2, 5), (2, 5)), box((2, 3), (2, 5), (2, 3))
    assert lesion_f1(part, lesion, SPACING) == 1.0
    assert lesion_f1(part, lesion, SPACING, overlap=0.1) == 1.0
    assert lesion_f1(part, lesion, SPACING, overlap=3 / 27) == 0.0


def test_corners_connect() -> None:
    corner = box((2, 3), (2, 3), (2, 3)) | box((3, 4), (3, 4), (3, 4))
    assert detections(corner.astype(float), corner, SPACING, threshold=0.5).found.size == 1


def test_froc_reads_a_worked_example_as_luna16_does() -> None:
    cases = [
        Detections(np.array([0.9, 0.6]), np.array([0.8, 0.5])),
        Detections(np.array([0.7, -np.inf]), np.array([0.3])),
    ]
    curve = froc(cases)
    assert curve.false_positives == (0.0, 0.0, 0.5, 0.5, 0.5, 1.0, 1.5)
    assert curve.sensitivity == (0.0, 0.25, 0.25, 0.5, 0.75, 0.75, 0.75)
    assert curve.read == (0.25, 0.25, 0.75, 0.75, 0.75, 0.75, 0.75)
    assert curve.mean == pytest.approx(np.mean(curve.read))


def test_candidates_of_a_probability_map_have_their_highest_probability() -> None:
    probability = (
        0.6 * box((2, 5), (2, 5), (2, 5))
        + 0.3 * box((3, 4), (3, 4), (3, 4))
        + 0.2 * box((25, 28), (25, 28), (2, 12))
    )
    seen = detections(probability, LESIONS, SPACING, threshold=0.1)
    assert sorted(seen.found) == [-np.inf, -np.inf, pytest.approx(0.9)]
    np.testing.assert_allclose(seen.imagined, [0.2])


def test_a_curve_without_lesions_and_a_broken_map_are_refused() -> None:
    with pytest.raises(InputError):
        froc([Detections(np.empty(0), np.array([0.5]))])
    with pytest.raises(InputError):
        froc([])
    with pytest.raises(InputError):
        detections(np.full(SHAPE, np.nan), LESIONS, SPACING, threshold=0.5)
    with pytest.raises(SettingError):
        lesion_f1(LESIONS, LESIONS, SPACING, overlap=1.0)


def ratings(normal: tuple[int, ...], abnormal: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.concatenate(
        [np.repeat(np.arange(1, 6), counts) for counts in (normal, abnormal)]
    ).astype(float)
    return scores, np.arange(scores.size) >= sum(normal)


def test_auc_of_the_109_rated_ct_images_of_hanley_and_mcneil_1982() -> None:
    scores, truth = ratings((33, 6, 6, 11, 2), (3, 2, 2, 11, 33))
    assert auc(scores, truth) == pytest.approx(0.893, abs=5e-4)
    assert np.sqrt(auc_covariance(scores[None], truth)[0, 0]) == pytest.approx(0.0307, abs=5e-5)


OVARIAN = """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0
3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1
2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0
4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1"""
"""Albumin, total protein, K-G score and outcome of 43 patients (DeLong, DeLong and Clarke-Pearson
1988).
"""


def test_aucs_and_their_standard_errors_are_those_published_for_the_data_of_delong_1988() -> None:
    albumin, protein, kg, outcome = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4).T
    scores, truth = np.stack([albumin, protein, 10 - kg]), outcome == 1
    assert [auc(s, truth) for s in scores] == pytest.approx([0.7366, 0.6478, 0.7258], abs=5e-5)
    covariance = auc_covariance(scores, truth)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1000, 0.1028], abs=5e-5)
    contrast = np.array([1.0, 0.0, -1.0])
    assert np.sqrt(contrast @ covariance @ contrast) == pytest.approx(0.0953, abs=5e-5)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=4, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order_and_turns_round_with_the_scores(
    cases: list[tuple[int, bool]],
) -> None:
    scores, truth = np.array([c[0] for c in cases], float), np.array([c[1] for c in cases])
    if truth.all() or not truth.any():
        with pytest.raises(InputError, match="one class"):
            auc(scores, truth)
        return
    pairs = scores[truth][:, None] - scores[~truth]
    assert auc(scores, truth) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert auc(-scores, truth) == pytest.approx(1 - auc(scores, truth))


def test_auc_refuses_numbers_for_classes_nan_and_a_variance_from_one_case() -> None:
    scores, truth = np.array([0.1, 0.4, 0.8]), np.array([False, False, True])
    with pytest.raises(InputError, match="labels == 1"):
        auc(scores, truth.astype(int))
    with pytest.raises(InputError):
        auc(np.array([0.1, np.nan, 0.8]), truth)
    with pytest.raises(InputError, match="two cases"):
        auc_covariance(scores[None], truth)
    with pytest.raises(GeometryError):
        auc_covariance(scores, truth)
