"""A view turns any orientation to the one that networks were trained on, in network units, and turns back exactly."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from priors import volume
from veridical.errors import InputError
from veridical.tasks.view import View, scale, view
from veridical.types import Geometry, Image

ORDERS = list(itertools.permutations(range(3)))


def turned(image: Image, order: tuple[int, ...], flips: tuple[bool, ...]) -> Image:
    """The same object stored with other axes: what stood along axis `order[k]` stands along k, reversed where said."""
    data = np.transpose(image.data, (0, *(1 + axis for axis in order)))
    affine = image.geometry.affine[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:, 3] += affine[:, axis] * (data.shape[1 + axis] - 1)
            affine[:, axis] *= -1
            data = np.flip(data, 1 + axis)
    return replace(image, data=data, geometry=Geometry(data.shape[1:], affine))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
def test_slices_do_not_depend_on_how_a_volume_is_stored_and_turn_back_to_its_own_axes(
    order: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    image = volume()
    stored = turned(image, order, flips)
    plain, seen = view(image), view(stored)
    for name in image.channels:
        np.testing.assert_array_equal(seen.images[name], plain.images[name])
        back = seen.restore(seen.images[name]) * seen.scales[name]
        np.testing.assert_allclose(back, stored[name], rtol=1e-6)
    assert seen.spacing == pytest.approx(plain.spacing)
    many = np.random.default_rng(0).normal(size=(3, 2, *seen.shape))
    np.testing.assert_array_equal(seen.cut(seen.restore(many)), many)


@pytest.mark.parametrize(("axis", "up", "along"), [(2, 1, 2), (1, 2, 1), (0, 2, 0)])
def test_the_front_of_axial_slices_and_the_top_of_others_is_up(axis: int, up: int, along: int) -> None:
    data = np.zeros((1, 5, 6, 7), np.float32)
    place = [2, 2, 2]
    place[up] = data.shape[1 + up] - 1
    data[(0, *place)] = 1.0
    seen = view(Image(data, Geometry((5, 6, 7), np.eye(4)), "a.u.", ("T1w",)), axis)
    where, row, _ = np.argwhere(seen.images["T1w"] > 0)[0]
    assert (where, row) == (place[along], 0)


def test_the_slice_axis_is_that_of_the_thickest_voxels_else_axial() -> None:
    assert view(volume(spacing=(4.0, 1.0, 1.0))).shape == (24, 6, 28)
    assert view(volume(spacing=(1.0, 4.0, 1.0))).spacing == pytest.approx((4.0, 1.0, 1.0))
    assert view(volume(spacing=(1.0, 1.2, 1.0))).shape == (6, 28, 24)


def test_an_array_without_known_space_is_cut_as_it_is() -> None:
    image = replace(volume(), geometry=Geometry.index((24, 28, 6)))
    seen = view(image)
    np.testing.assert_allclose(seen.images["T1w"][2] * seen.scales["T1w"], image["T1w"][:, :, 2].T, rtol=1e-6)


def test_mr_is_relative_to_its_own_foreground_and_ct_and_pet_have_absolute_units() -> None:
    image = volume(("T1w", "CT", "PET"))
    seen = view(image)
    assert (seen.scales["CT"], seen.scales["PET"]) == (1000.0, 5.0)
    inside = seen.images["T1w"][seen.images["T1w"] > 0.1]
    assert np.percentile(inside, 99) == pytest.approx(1.0)
    data = image.data.copy()
    data[0] *= 1e-3
    again: View = view(replace(image, data=data))
    np.testing.assert_allclose(again.images["T1w"], seen.images["T1w"], rtol=1e-5)
    assert again.scales["T1w"] == pytest.approx(1e-3 * seen.scales["T1w"])


def test_a_volume_that_shows_nothing_or_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="shows nothing above zero"):
        scale("T1w", np.zeros((3, 3, 3)))
    image = volume()
    data = image.data.copy()
    data[1, 0, 0, 0] = np.inf
    with pytest.raises(InputError, match="NaN or infinite"):
        view(replace(image, data=data))
