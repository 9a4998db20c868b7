"""Preprocessing turns any orientation to the one that networks were trained on, in network units,
and back exactly.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import heads
from priors import volume
from veridical.errors import FormatError, InputError, UnitsError
from veridical.preprocessing.preprocessing import Preprocessing, slice_axis
from veridical.types import Geometry, Image

ORDERS = list(itertools.permutations(range(3)))
PREPARE = Preprocessing()


def turned(image: Image, order: tuple[int, ...], flips: tuple[bool, ...]) -> Image:
    """The same object stored with other axes: what stood along axis `order[k]` stands along k,
    reversed where said.
    """
    data = np.transpose(image.data, (0, *(1 + axis for axis in order)))
    affine = image.geometry.affine[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:, 3] += affine[:, axis] * (data.shape[1 + axis] - 1)
            affine[:, axis] *= -1
            data = np.flip(data, 1 + axis)
    return replace(image, data=data, geometry=Geometry(data.shape[1:], affine))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_slices_do_not_depend_on_how_a_volume_is_stored_and_turn_back_to_its_own_axes(
    order: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    image = volume()
    stored = turned(image, order, flips)
    plain, seen = PREPARE(image), PREPARE(stored)
    for name in image.channels:
        np.testing.assert_allclose(seen.images[name], plain.images[name], rtol=1e-5)
        back = seen.restore(seen.images[name]) * seen.scales[name] + seen.offsets[name]
        np.testing.assert_allclose(back, stored[name], rtol=1e-5, atol=1e-3)
    assert seen.spacing == pytest.approx(plain.spacing)
    many = np.random.default_rng(0).normal(size=(3, 2, *seen.shape))
    np.testing.assert_array_equal(seen.cut(seen.restore(many)), many)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_a_single_slice_along_any_axis_is_one_slice_and_turns_back(
    axis: int, order: tuple[int, ...]
) -> None:
    shape = tuple(1 if a == axis else n for a, n in enumerate((20, 24, 28)))
    image = turned(volume(shape=shape, spacing=(1.0, 1.0, 1.0)), order, (True, False, True))  # type: ignore[arg-type]
    seen = PREPARE(image)
    assert seen.shape[0] == 1
    assert min(seen.shape[1:]) >= 20
    for name in image.channels:
        back = seen.restore(seen.images[name]) * seen.scales[name]
        np.testing.assert_allclose(back, image[name], rtol=1e-5, atol=1e-3)


def test_oblique_images_are_turned_to_the_nearest_axes_and_back() -> None:
    image = volume()
    angle = 0.3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tilted = replace(image, geometry=Geometry(image.geometry.shape, turn @ image.geometry.affine))
    plain, seen = PREPARE(image), PREPARE(tilted)
    np.testing.assert_array_equal(seen.images["T1w"], plain.images["T1w"])
    np.testing.assert_allclose(
        seen.restore(seen.images["T2w"]) * seen.scales["T2w"], image["T2w"], rtol=1e-5
    )


@pytest.mark.parametrize(("axis", "up", "along"), [(2, 1, 2), (1, 2, 1), (0, 2, 0)])
def test_the_front_of_axial_slices_and_the_top_of_others_is_up(
    axis: int, up: int, along: int
) -> None:
    data = np.zeros((1, 5, 6, 7), np.float32)
    place = [2, 2, 2]
    place[up] = data.shape[1 + up] - 1
    data[(0, *place)] = 1.0
    seen = PREPARE(Image(data, Geometry((5, 6, 7), np.eye(4)), "a.u.", ("T1w",)), axis)
    where, row, _ = np.argwhere(seen.images["T1w"] > 0)[0]
    assert (where, row) == (place[along], 0)


def test_the_slice_axis_is_that_of_the_thickest_voxels_else_axial() -> None:
    assert PREPARE(volume(spacing=(4.0, 1.0, 1.0))).shape == (24, 6, 28)
    assert PREPARE(volume(spacing=(1.0, 4.0, 1.0))).spacing == pytest.approx((4.0, 1.0, 1.0))
    assert PREPARE(volume(spacing=(1.0, 1.2, 1.0))).shape == (6, 28, 24)
    assert slice_axis((1.0, 1.0, 1.0), (1, 64, 64)) == 0
    assert slice_axis((1.0, 5.0, 1.0), (64, 1, 1)) == 1


def test_an_array_without_known_space_is_cut_as_it_is() -> None:
    image = replace(volume(), geometry=Geometry.index((24, 28, 6)))
    seen = PREPARE(image)
    np.testing.assert_allclose(
        seen.images["T1w"][2] * seen.scales["T1w"], image["T1w"][:, :, 2].T, rtol=1e-6
    )


def test_mr_is_relative_to_its_inner_tissue_and_ct_and_pet_have_absolute_units() -> None:
    image = volume(("T1w", "CT", "PET"))
    seen = PREPARE(image)
    assert (seen.scales["CT"], seen.scales["PET"]) == (1000.0, 5.0)
    assert seen.images["CT"].min() == -1
    assert float(np.median(seen.images["T1w"][3, 10:18, 8:16])) == pytest.approx(
        PREPARE.tissue, rel=0.05
    )
    data = image.data.copy()
    data[0] *= 1e-3
    again = PREPARE(replace(image, data=data))
    np.testing.assert_allclose(again.images["T1w"], seen.images["T1w"], rtol=1e-5)
    assert again.scales["T1w"] == pytest.approx(1e-3 * seen.scales["T1w"])


@pytest.mark.parametrize("fat", [1.0, 4.0])
def test_a_head_and_the_same_head_without_its_skull_have_equal_brains(fat: float) -> None:
    whole = heads.head()
    index = np.stack(np.meshgrid(*map(np.arange, whole.geometry.shape), indexing="ij"))
    at = 4.0 * index + whole.geometry.affine[:3, 3, None, None, None]
    brain = (
        ((at - np.reshape((0, 8, -4), (3, 1, 1, 1))) / np.reshape((47, 59, 49), (3, 1, 1, 1))) ** 2
    ).sum(0) < 1
    head = np.where(
        ((at / np.reshape((57, 73, 61), (3, 1, 1, 1))) ** 2).sum(0) < 1,
        whole.data,
        fat * whole.data,
    )
    with_skull = PREPARE(replace(whole, data=head)).images["T1w"]
    seen = PREPARE(replace(whole, data=np.where(brain, whole.data, 0)))
    inside = seen.cut(brain)
    np.testing.assert_allclose(with_skull[inside], seen.images["T1w"][inside], rtol=0.06)


@pytest.mark.parametrize(
    ("channel", "units"),
    [("CT", "a.u."), ("CT", "1/mm"), ("PET", "a.u."), ("PET", "Bq/ml"), ("CT.2", "SUV")],
)
def test_ct_that_is_not_in_hu_and_pet_that_is_not_in_suv_are_refused(
    channel: str, units: str
) -> None:
    image = Image(volume(("T1w",)).data, volume().geometry, units, (channel,))
    wanted = "HU" if channel.startswith("CT") else "SUV"
    with pytest.raises(
        UnitsError, match=rf"{channel} is in '{units}'; expected {wanted}.* --units {wanted}"
    ):
        PREPARE(image)


def test_an_image_shifted_below_zero_has_air_at_zero_and_comes_back_shifted() -> None:
    image = volume(("T1w",))
    shifted = replace(image, data=(image.data - image.data.mean()) / image.data.std())
    plain, seen = PREPARE(image), PREPARE(shifted)
    np.testing.assert_allclose(seen.images["T1w"], plain.images["T1w"], atol=0.02)
    back = seen.restore(seen.images["T1w"]) * seen.scales["T1w"] + seen.offsets["T1w"]
    np.testing.assert_allclose(back, shifted["T1w"], atol=1e-5)


def test_label_maps_keep_their_values() -> None:
    image = volume(("T1w",))
    labels = Image(
        np.full((1, *image.geometry.shape), 7, np.int16), image.geometry, "label", ("lesions",)
    )
    assert (PREPARE(Image.stack([image, labels])).images["lesions"] == 7).all()


def test_what_networks_cannot_take_is_refused() -> None:
    image = volume()
    for bad in (np.nan, np.inf):
        data = image.data.copy()
        data[1, 0, 0, 0] = bad
        with pytest.raises(InputError, match="NaN or infinite"):
            PREPARE(replace(image, data=data))
    with pytest.raises(InputError, match="complex"):
        PREPARE(replace(image, data=image.data.astype(np.complex64)))
    with pytest.raises(InputError, match="shows nothing above zero"):
        PREPARE(replace(image, data=0 * image.data))


def test_the_card_stores_every_parameter_and_an_unknown_one_is_refused() -> None:
    other = Preprocessing(tissue=0.3, hounsfield=500.0)
    assert Preprocessing.from_card({"preprocessing": other.to_card()}) == other
    assert Preprocessing.from_card({}) == PREPARE
    assert Preprocessing(tissue=0.2)(volume()).scales["T1w"] == pytest.approx(
        2 * PREPARE(volume()).scales["T1w"]
    )
    with pytest.raises(FormatError, match=r"states percentile; expected tissue"):
        Preprocessing.from_card({"preprocessing": {"percentile": 99}})


def test_air_and_foreground_are_those_of_the_modality() -> None:
    assert [PREPARE.air(name) for name in ("T1w", "CT", "CT.2", "PET")] == [0, -1, -1, 0]
    seen = PREPARE(volume(("T1w", "CT", "PET"), (40, 44, 8)))
    shown = {name: PREPARE.foreground(name, image) for name, image in seen.images.items()}
    for mask in shown.values():
        agree = (mask == (seen.images["T1w"] > 0)).mean()
        assert agree > 0.85
    assert PREPARE.clipped(np.array([-3.0, 0.5, 9.0])).tolist() == [-1, 0.5, 4]
