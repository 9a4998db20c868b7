"""From arrays to PNG pictures inside the page: one slice, a fixed window, perceptually uniform
colours.
"""

from __future__ import annotations

import base64
import colorsys
import io
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from veridical.errors import InputError
from veridical.evaluation.regions import magnitude
from veridical.types import Array, Geometry

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

ERROR, WIDTH, FILLED, EVIDENCE = PALETTES = "inferno", "viridis", "magma", "cividis"
"""Colour maps of matplotlib, the rows of `palettes.png`, so that a picture does not wait for
matplotlib to load.
"""
IMAGINED = np.array([230.0, 159.0, 0.0])
"""Okabe and Ito's orange, told from grey by every kind of colour vision."""
OPAQUE, LABELLED = 0.85, 0.55
"""How much of the grey image is covered where nothing was measured, and by labels."""


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class View:
    """How a slice of a grid is shown: the patient's right on the left, the front or top above.

    Args:
        geometry: the grid.
        index: of the slice.
        along: axis of the grid that the slice is at right angles to.
    """

    geometry: Geometry
    index: int
    along: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.geometry.shape[self.along]:
            raise InputError(
                f"Slice {self.index} was asked for; expected 0 to "
                f"{self.geometry.shape[self.along] - 1}."
            )

    def plane(self, volume: Array) -> Array:
        """Return the slice of `(x, y, z)` as rows and columns of square pixels, as it is shown."""
        shown: Array = np.take(volume, self.index, self.along)
        if self.geometry.frame == "index":
            return shown.T
        (first, up), (second, over) = self._axes()
        shown = shown if up else shown[::-1]
        shown = shown if over else shown[:, ::-1]
        return shown if first > second else shown.T

    def size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return width and height at which a plane of `shape` (rows, columns) has square pixels."""
        steps = [self.geometry.spacing[axis] for axis in self._across]
        rows, columns = steps[::-1] if self._transposed() else steps
        finest = min(rows, columns)
        return max(1, round(shape[1] * columns / finest)), max(1, round(shape[0] * rows / finest))

    @property
    def said(self) -> str:
        """How the slice lies, in words."""
        where = f"slice {self.index + 1} of {self.geometry.shape[self.along]}"
        if self.geometry.frame == "index":
            return f"{where}, as stored (orientation unknown)"
        across = 3 - self._axes()[0][0] - self._axes()[1][0]
        plane = (
            "sagittal, front on the left",
            "coronal, patient's right on the left",
            "axial, patient's right on the left",
        )
        return f"{where}, {plane[across]}"

    @property
    def _across(self) -> list[int]:
        return [axis for axis in range(3) if axis != self.along]

    def _transposed(self) -> bool:
        if self.geometry.frame == "index":
            return True
        (first, _), (second, _) = self._axes()
        return first < second

    def _axes(self) -> tuple[tuple[int, bool], tuple[int, bool]]:
        """Return, for the two voxel axes of the slice, the world axis they run along and whether
        they run as they are shown.

        Shown: x and y (as a column axis) run from the patient's right and front; y and z (as a row
        axis) from front and top.
        """
        directions = (self.geometry.affine[:3, :3] / np.array(self.geometry.spacing))[
            :, self._across
        ]
        order = sorted((0, 1), key=lambda axis: -float(np.abs(directions[:, axis]).max()))
        world: dict[int, int] = {}
        for axis in order:
            strength = np.abs(directions[:, axis]).copy()
            strength[list(world.values())] = -1
            world[axis] = int(strength.argmax())
        return tuple((world[axis], bool(directions[world[axis], axis] < 0)) for axis in (0, 1))  # type: ignore[return-value]


def grey(plane: Array, window: tuple[float, float], view: View) -> Picture:
    """Return a plane in grey, black at the window's lower and white at its upper end."""
    from PIL import Image

    return _encode(Image.fromarray(_bytes(plane, window)), view)


def coloured(plane: Array, window: tuple[float, float], colours: str, view: View) -> Picture:
    """Return a plane in one of matplotlib's uniform colour maps."""
    from PIL import Image

    image = Image.fromarray(_bytes(plane, window))
    image.putpalette(_palette(colours))
    return _encode(image, view)


def overlay(
    plane: Array, evidence: Array, region: Array, window: tuple[float, float], view: View
) -> Picture:
    """Return a plane in grey, the more covered with orange the less evidence there is; only inside
    the region.
    """
    from PIL import Image

    base = _bytes(plane, window).astype(np.float64)[..., None]
    cover = OPAQUE * np.where(region, 1 - np.clip(evidence, 0, 1), 0.0)[..., None]
    mixed = np.round((1 - cover) * base + cover * IMAGINED * (0.45 + 0.55 * base / 255)).astype(
        np.uint8
    )
    return _encode(Image.fromarray(mixed), view)


def label_colour(label: int) -> tuple[int, int, int]:
    """Return the colour of a label, 8 bits each; neighbouring labels differ in hue by the golden
    ratio.
    """
    hue, value = label * 0.618034 % 1.0, 0.95 if label % 2 else 0.75
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.7, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def swatch(label: int) -> Picture:
    """Return a small square in the colour of a label."""
    from PIL import Image

    return _encode(Image.new("RGB", (4, 4), label_colour(label)))


def labelled(plane: Array, base: Array, window: tuple[float, float], view: View) -> Picture:
    """Return a plane in grey under the colours of its labels; 0 has none."""
    from PIL import Image

    known, place = np.unique(plane, return_inverse=True)
    colours = np.array([label_colour(int(label)) for label in known], np.float64)
    cover = LABELLED * (plane != 0)[..., None]
    mixed = (1 - cover) * _bytes(base, window)[..., None] + cover * colours[
        place.reshape(plane.shape)
    ]
    return _encode(Image.fromarray(np.round(mixed).astype(np.uint8)), view)


def outline(mask: Array, view: View) -> Picture:
    """Return a transparent picture with the border of a mask, one pixel wide, just outside it."""
    from PIL import Image
    from scipy import ndimage

    edge = ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=2) & ~ndimage.binary_dilation(
        mask
    )
    drawn = np.zeros((*mask.shape, 4), dtype=np.uint8)
    drawn[edge] = (0, 229, 255, 255)
    return _encode(Image.fromarray(drawn), view)


def bar(colours: str) -> Picture:
    """Return a colour bar, small values on the left; `grey` and `overlay` are known beside
    matplotlib's names.
    """
    from PIL import Image

    ramp = np.arange(256, dtype=np.uint8)[None]
    if colours == "overlay":
        cover = OPAQUE * (1 - ramp / 255.0)[..., None]
        image = Image.fromarray(
            np.round((1 - cover) * 150 + cover * IMAGINED * 0.9).astype(np.uint8)
        )
    else:
        image = Image.fromarray(ramp)
        if colours != "grey":
            image.putpalette(_palette(colours))
    return _encode(image)


def percentile_window(
    low: Array, high: Array, bounds: tuple[float, float] = (0.5, 99.5)
) -> tuple[float, float]:
    """Return a window from a low percentile of one set of values and a high percentile of
    another.
    """
    window = (
        float(np.percentile(magnitude(low), bounds[0])),
        float(np.percentile(magnitude(high), bounds[1])),
    )
    return window if window[1] > window[0] else (window[0], window[0] + 1.0)


def _bytes(plane: Array, window: tuple[float, float]) -> Array:
    scaled = (magnitude(plane) - window[0]) / (window[1] - window[0])
    return np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


@cache
def _palette(colours: str) -> bytes:
    from PIL import Image

    with resources.files("veridical.report").joinpath("palettes.png").open("rb") as file:
        return bytes(np.asarray(Image.open(file))[PALETTES.index(colours)])


def _encode(drawing: Drawing, view: View | None = None) -> Picture:
    """Return a drawing as PNG, with square pixels when a view is given."""
    from PIL.Image import Resampling

    size = drawing.size if view is None else view.size((drawing.height, drawing.width))
    if size != drawing.size:
        drawing = (drawing.convert("RGB") if drawing.mode == "P" else drawing).resize(
            size, Resampling.BILINEAR
        )
    buffer = io.BytesIO()
    drawing.save(buffer, "PNG", optimize=True)
    return Picture(
        f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}", *size
    )
