"""Laws of slabs and volumes: scale, neighbours, channels, and real patients the right way up and kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError, SettingError
from veridical.phantoms.cohort import Cohort
from veridical.training.slabs import (
    LOADERS,
    MAY_SHIP,
    Volume,
    cohort_slab,
    normalized,
    scale_of,
    viewed,
    volumes,
)

IMAGE = np.random.default_rng(0).uniform(0, 300, (5, 40, 30)).astype(np.float32)


@pytest.mark.parametrize("factor", [0.01, 1.0, 500.0])
def test_magnitude_images_are_the_same_in_any_units(factor: float) -> None:
    np.testing.assert_allclose(normalized(factor * IMAGE, "T1w"), normalized(IMAGE, "T1w"), rtol=1e-5)
    assert scale_of(factor * IMAGE) == pytest.approx(factor * scale_of(IMAGE))


def test_the_scale_is_that_of_the_foreground_however_much_air_there_is() -> None:
    alone, padded = IMAGE, np.pad(IMAGE, ((0, 0), (20, 20), (20, 20)))
    assert scale_of(padded) == pytest.approx(scale_of(alone), rel=0.02)
    assert float(np.percentile(normalized(padded, "T1w")[normalized(padded, "T1w") > 0.1], 99)) == pytest.approx(1, abs=0.01)


def test_ct_keeps_its_absolute_units() -> None:
    np.testing.assert_allclose(normalized(np.array([-2000.0, -1000, 0, 40, 5000]), "CT"), [-1.024, -1, 0, 0.04, 3.071])


def test_an_image_of_nothing_stays_nothing_and_has_no_scale() -> None:
    assert not normalized(np.zeros((4, 4)), "T2w").any()
    with pytest.raises(InputError, match="no scale"):
        scale_of(np.zeros((4, 4)))


def volume() -> Volume:
    """Ten slices of two contrasts, the number of the slice in each voxel; the first two and the last one are air."""
    ramp = np.broadcast_to(np.arange(10, dtype=np.float16)[:, None, None] / 10, (10, 8, 6)).copy()
    ramp[[0, 1, 9]] = 0
    return Volume(np.stack([ramp, 2 * ramp]), ("T1w", "FLAIR"), "p", "s", 3.0, 1.0, 4.0)


def test_slices_that_show_nothing_are_not_learned_from() -> None:
    assert volume().usable() == [2, 3, 4, 5, 6, 7, 8]


def test_a_slab_is_a_slice_between_its_neighbours_and_at_the_ends_stands_for_the_missing_one() -> None:
    slab = volume().slab(5)
    np.testing.assert_allclose(slab.images[:, :, 0, 0], [[0.4, 0.5, 0.6], [0.8, 1.0, 1.2]], atol=1e-3)
    assert slab.images.dtype == np.float32
    assert (slab.names, slab.patient, slab.field, slab.pixel) == (("T1w", "FLAIR"), "p", 3.0, 1.0)
    assert slab.height == pytest.approx(2 * 5 / 9 - 1)
    first, last = volume().slab(0).images[0, :, 0, 0], volume().slab(9).images[0, :, 0, 0]
    assert first[0] == first[1]
    assert last[1] == last[2]


def test_channels_a_net_has_not_are_dropped() -> None:
    whole = volume()
    assert whole.only(("FLAIR", "T2w", "T1w")) is whole
    kept = whole.only(("FLAIR", "CT"))
    assert kept is not None
    assert kept.names == ("FLAIR",)
    np.testing.assert_array_equal(kept.images[0], whole.images[1])
    assert whole.only(("CT",)) is None


def test_views_along_every_axis_stand_upright() -> None:
    """`(z, y, x)` with the front on top: in coronal and sagittal slices the top of the head is above."""
    z, y, x = np.meshgrid(*[np.arange(n) for n in (4, 5, 6)], indexing="ij")
    axial, coronal, sagittal = (np.stack([viewed(part, axis) for part in (z, y, x)]) for axis in range(3))
    assert axial.shape == (3, 4, 5, 6)
    np.testing.assert_array_equal(axial[1, 0, :, 0], np.arange(5))
    assert coronal.shape == (3, 5, 4, 6)
    np.testing.assert_array_equal(coronal[0, 0, :, 0], np.arange(4)[::-1])
    assert sagittal.shape == (3, 6, 4, 5)
    np.testing.assert_array_equal(sagittal[0, 0, :, 0], np.arange(4)[::-1])
    np.testing.assert_array_equal(sagittal[1, 0, 0], np.arange(5))


def test_a_digital_slab_follows_from_its_number_and_shows_the_brain() -> None:
    one, again, other = (cohort_slab(Cohort(2), index, ("T1w", "FLAIR"), 3.0, (96, 96), 2.2) for index in (4, 4, 5))
    np.testing.assert_array_equal(one.images, again.images)
    assert not np.array_equal(one.images, other.images)
    assert one.images.shape == (2, 3, 96, 96)
    assert one.body is not None
    assert one.images[:, 1][:, one.body].mean() > 1.5 * one.images[:, 1][:, ~one.body].mean()
    assert not np.array_equal(one.images[:, 0], one.images[:, 1]), "neighbours are other slices"


def test_an_unknown_set_is_refused_with_the_nearest_and_a_missing_one_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match="'openms'"):
        volumes("openmss")
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path))
    with pytest.raises(InputError, match="VERIDICAL_DATA"):
        volumes("ixi")
    assert volumes("ixi", validation=True) == []


def test_sets_that_are_not_free_do_not_ship() -> None:
    assert "lgg" in LOADERS
    assert "lgg" not in MAY_SHIP
    assert set(MAY_SHIP) <= {"cohort", *LOADERS}


@pytest.mark.real
@pytest.mark.parametrize(("source", "names"), [("ixi", {"T1w"}), ("openms", {"T1w", "T2w", "FLAIR"})])
def test_real_patients_are_upright_and_held_out_by_the_beginning_of_their_name(
    source: str, names: set[str], real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(real_data))
    every = volumes(source)
    patients = sorted({one.patient for one in every})
    held = volumes(source, (patients[0],), validation=True)
    assert {one.patient for one in held} == {patients[0]}
    assert {name for one in every for name in one.names} == names
    for one in every:
        assert one.images.dtype == np.float16
        assert 0.8 < float(np.percentile(one.images[one.images > 0.1].astype(float), 99)) < 1.3
    for axial in (one for one in every if one.source in ("ixi-axial", "openms")):
        middle = axial.images[0, axial.images.shape[1] * 2 // 3].astype(float)
        rows = np.flatnonzero((middle > 0.1).any(1))
        columns = np.flatnonzero((middle > 0.1).any(0))
        assert rows[-1] - rows[0] > columns[-1] - columns[0], "a head is longer than wide"
