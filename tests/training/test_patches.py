"""Laws of patches: pixels as they were in four of ten, air outside, masks that follow, absolute
units that stay.
"""

from __future__ import annotations

import numpy as np
import pytest

from veridical.preprocessing.preprocessing import Preprocessing
from veridical.training.patches import AS_IT_IS, AT_LESION, patch
from veridical.training.prepared_visits import Slab
from veridical.types import Array

PREPARE = Preprocessing()
SIZE = 32


def slab(*names: str, size: int = 80, images: Array | None = None, **known: object) -> Slab:
    """A disc of 0.4, CT of 40 HU, in air."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = x**2 + y**2 < 0.6
    shown = [np.where(body, 0.04, -1.0) if name == "CT" else 0.4 * body for name in names]
    made = np.stack([[one] * 3 for one in shown]).astype(np.float32) if images is None else images
    return Slab(made, names, **known)  # type: ignore[arg-type]


def patches(given: Slab, count: int) -> list[Slab]:
    rng = np.random.default_rng(0)
    return [patch(given, SIZE, PREPARE, rng) for _ in range(count)]


def test_the_same_random_numbers_give_the_same_patch_and_the_size_is_that_asked_for() -> None:
    first, again = (patches(slab("T1w", "CT"), 3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.images.shape == (2, 3, SIZE, SIZE)
        np.testing.assert_array_equal(one.images, other.images)
    assert not np.array_equal(first[0].images, first[1].images)


def test_four_patches_in_ten_keep_the_pixels_as_they_were_reconstructed() -> None:
    """White noise shows it: neighbours are alike only where pixels were interpolated."""
    noise = np.random.default_rng(0).uniform(0.2, 1, (1, 3, 80, 80)).astype(np.float32)
    kept = []
    for found in patches(slab("T1w", images=noise), 150):
        rows = found.images[0, 1, 8:24, 8:24]
        alike = np.corrcoef(rows[:, 1:].ravel(), rows[:, :-1].ravel())[0, 1]
        kept.append(abs(alike) < 0.15)
    assert np.mean(kept) == pytest.approx(AS_IT_IS, abs=0.12)


def test_outside_of_the_image_there_is_the_air_of_each_modality() -> None:
    for found in patches(slab("T1w", "CT", size=20), 20):
        t1w, ct = found.images
        assert t1w.min() == pytest.approx(0, abs=1e-6)
        assert ct.min() == pytest.approx(-1, abs=1e-6)
        assert ((ct > -0.9) == (t1w > 0.02)).mean() > 0.97


def test_absolute_units_stay_and_the_inner_tissue_of_mr_about_keeps_its_place() -> None:
    seen = []
    for found in patches(slab("T1w", "CT"), 80):
        t1w, ct = found.images
        assert ct.max() == pytest.approx(0.04, abs=1e-5)
        seen.append(float(t1w.max()))
    assert np.mean(seen) == pytest.approx(PREPARE.tissue, rel=0.02)
    assert 0.03 < np.std(seen) / PREPARE.tissue < 0.08, "the gain of other scanners"


def test_contrast_changes_about_the_inner_tissue() -> None:
    images = np.stack([[np.where(np.arange(80) < 40, 0.4, 0.8) * np.ones((80, 1))] * 3]).astype(
        np.float32
    )
    ratios = []
    for found in patches(slab("T1w", images=images), 80):
        values = found.images[0, 0][found.images[0, 0] > 0.1]
        if np.ptp(values) > 0.1:
            ratios.append(np.log2(np.percentile(values, 98) / np.percentile(values, 2)))
    assert len(ratios) > 40
    assert np.median(ratios) == pytest.approx(1.0, abs=0.1)
    assert np.std(ratios) > 0.08


def test_masks_go_where_the_image_goes_and_stay_masks() -> None:
    given = slab("T1w")
    body = given.images[0, 0] > 0.2
    for found in patches(slab("T1w", masks={"lesions": body}), 30):
        mask = found.masks["lesions"]
        assert mask.dtype == bool
        assert (mask == (found.images[0, 0] > 0.2)).mean() > 0.95


def test_half_of_the_patches_are_mirrored() -> None:
    image = np.stack([[np.linspace(0.1, 1, 80) * np.ones((80, 1))] * 3]).astype(np.float32)
    slopes = [
        np.diff(found.images[0, 0, 16, 8:24]).mean() < 0
        for found in patches(slab("T1w", images=image), 80)
    ]
    assert np.mean(slopes) == pytest.approx(0.5, abs=0.15)


def test_attributes_and_names_stay_and_a_slab_without_an_object_is_cut_in_its_middle() -> None:
    given = slab("T1w", attributes={"field": 1.5}, images=np.zeros((1, 3, 20, 20), np.float32))
    (found,) = patches(given, 1)
    assert (found.names, dict(found.attributes)) == (("T1w",), {"field": 1.5})
    assert not found.images.any()


def test_patches_lie_about_a_lesion_as_often_as_said_where_there_is_one() -> None:
    lesion = np.zeros((80, 80), bool)
    lesion[12:14, 38:40] = True
    nowhere = np.zeros((80, 80), bool)
    given = slab("T1w", masks={"lesions": lesion, "change": nowhere})
    middle = slice(SIZE // 2 - 4, SIZE // 2 + 4)
    found = [one.masks["lesions"][middle, middle].any() for one in patches(given, 150)]
    assert np.mean(found) == pytest.approx(AT_LESION, abs=0.12)
    rest = [
        one.masks["lesions"].any() for one in patches(slab("T1w", masks={"lesions": nowhere}), 9)
    ]
    assert not any(rest)


def test_the_style_of_an_image_follows_its_tint_and_absolute_units_keep_theirs() -> None:
    """A flat body of 0.6 has a style of 0.6 in every patch, whatever its gamma and brightness."""
    disc = slab("T1w", "CT")
    flat = Slab(
        1.5 * disc.images, disc.names, styles={"T1w": np.full(6, 0.6), "CT": np.full(6, 0.06)}
    )
    for one in patches(flat, 6):
        shown = np.median(one.images[0][one.images[0] > 0.3])
        np.testing.assert_allclose(one.styles["T1w"], shown, rtol=0.02)
        np.testing.assert_array_equal(one.styles["CT"], flat.styles["CT"])
