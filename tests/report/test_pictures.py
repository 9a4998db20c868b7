from __future__ import annotations

import base64
import io
import itertools

import numpy as np
import pytest
from PIL import Image as Drawing

from veridical.errors import InputError
from veridical.report.pictures import (
    IMAGINED,
    LABELLED,
    Picture,
    View,
    bar,
    coloured,
    grey,
    label_colour,
    labelled,
    outline,
    overlay,
    percentile_window,
    swatch,
)
from veridical.types import Array, Geometry


def drawn(picture: Picture, mode: str = "RGB") -> Array:
    data = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Drawing.open(io.BytesIO(data)).convert(mode)).astype(int)


SQUARE = View(Geometry.index((6, 5, 1)), 0)


@pytest.mark.parametrize(
    ("axes", "top_left"),
    [((0, 1, 2), ("right", "front")), ((0, 2, 1), ("right", "top")), ((1, 2, 0), ("front", "top"))],
    ids=["axial", "coronal", "sagittal"],
)
def test_any_storage_of_the_same_body_is_shown_the_same_way(
    axes: tuple[int, int, int], top_left: tuple[str, str]
) -> None:
    body = np.random.default_rng(0).random((4, 5, 6))
    steps = np.diag([1.0, 2.0, 3.0])
    first, second, through = axes
    want = body.take(2, through)[::-1, ::-1].T
    for swap, flips in itertools.product((False, True), itertools.product((1, -1), repeat=2)):
        order = (second, first, through) if swap else axes
        stored = body.transpose(order)[:: flips[0], :: flips[1]]
        affine = np.eye(4)
        affine[:3, :3] = steps[:, list(order)] * np.array([*flips, 1])
        view = View(Geometry(stored.shape, affine), 2)
        np.testing.assert_array_equal(view.plane(stored), want)
        assert view.size(want.shape) == View(Geometry(stored.shape, affine), 0).size(want.shape)
    assert "slice 3 of" in view.said
    assert ("front on the left" in view.said) is (top_left[0] == "front")


def test_pixels_are_square_in_the_picture() -> None:
    view = View(Geometry((10, 20, 3), np.diag([2.0, 0.5, 4.0, 1.0])), 1)
    plane = view.plane(np.zeros((10, 20, 3)))
    assert plane.shape == (20, 10)
    assert view.size(plane.shape) == (40, 20)
    assert grey(plane, (0, 1), view).width == 40


def test_an_unknown_orientation_is_shown_as_stored_and_said_so() -> None:
    volume = np.arange(30.0).reshape(6, 5, 1)
    np.testing.assert_array_equal(SQUARE.plane(volume), volume[..., 0].T)
    assert "as stored (orientation unknown)" in SQUARE.said
    with pytest.raises(InputError, match="expected 0 to 0"):
        View(SQUARE.geometry, 1)


def test_a_window_maps_its_ends_to_black_and_white() -> None:
    plane = np.array([[-1.0, 0.0, 1.0, 2.0, 3.0]])
    view = View(Geometry.index((5, 1, 1)), 0)
    assert drawn(grey(plane, (0, 2), view))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert drawn(grey(plane * 1j, (0, 2), view))[0, :, 0].tolist() == [128, 0, 128, 255, 255]


def test_colours_are_those_of_matplotlib_and_grow_lighter() -> None:
    from matplotlib import colormaps

    for name in ("inferno", "viridis", "cividis"):
        ramp = drawn(
            coloured(
                np.linspace(0, 1, 256)[None], (0, 1), name, View(Geometry.index((256, 1, 1)), 0)
            )
        )[0]
        np.testing.assert_allclose(ramp, 255 * colormaps[name](np.arange(256))[:, :3], atol=0.51)
        np.testing.assert_array_equal(drawn(bar(name))[0], ramp)
        assert (np.diff(ramp @ [0.2126, 0.7152, 0.0722]) > -1.5).all()


def test_the_overlay_leaves_measured_voxels_grey_and_paints_imagined_ones() -> None:
    plane, evidence = (
        np.full((5, 6), 0.5),
        np.tile(np.array([1.0, 1.0, 0.5, 0.0, 0.0, 0.0]), (5, 1)),
    )
    region = np.ones((5, 6), dtype=bool)
    region[:, 5] = False
    colours = drawn(overlay(plane, evidence, region, (0, 1), SQUARE))[0]
    assert (colours[[0, 1, 5]] == 128).all()
    assert colours[3].tolist() == sorted(colours[3], reverse=True)
    hue = colours[:, 0] - colours[:, 2]
    assert hue[0] < hue[2] < hue[3]
    assert np.abs(colours[3] / colours[3].max() - IMAGINED / IMAGINED.max()).max() < 0.2


def test_an_outline_surrounds_its_mask_and_covers_nothing_of_it() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[8:12, 8:12] = True
    alpha = drawn(outline(mask, View(Geometry.index((20, 20, 1)), 0)), "RGBA")[..., 3] > 0
    assert alpha.any()
    assert not (alpha & mask).any()
    assert not alpha[:6].any()


def test_a_window_of_equal_values_is_not_empty() -> None:
    assert percentile_window(np.zeros(5), np.zeros(5)) == (0.0, 1.0)
    low, high = percentile_window(np.arange(1001.0), np.arange(2001.0), (0, 50))
    assert (low, high) == (0.0, 1000.0)


def test_labels_are_seen_in_colours_of_their_own_over_the_grey_image() -> None:
    plane = np.zeros((5, 6), np.uint8)
    plane[1:3, :3], plane[3:, 3:] = 1, 2
    base = np.full((5, 6), 0.5)
    shown = drawn(labelled(plane, base, (0.0, 1.0), SQUARE))
    assert (shown[0, 0] == 128).all(), "0 has no colour"
    for label, place in ((1, (1, 0)), (2, (4, 5))):
        mixed = (1 - LABELLED) * 128 + LABELLED * np.array(label_colour(label))
        np.testing.assert_allclose(shown[place], mixed, atol=1)
        assert (drawn(swatch(label)) == label_colour(label)).all()
    colours = [label_colour(label) for label in range(1, 17)]
    apart = [np.abs(np.subtract(a, b)).sum() for a, b in itertools.combinations(colours, 2)]
    assert min(apart) > 30, "sixteen labels can be told apart"
