"""Looking at what flows between the parts: shape, affine, array, three planes. What draws is loaded
when it is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from veridical.types import Array, Image


class Viewable:
    """What images, studies and results share: each can be looked at, and read as an array
    `(channel, x, y, z)` on a grid.
    """

    def _whole(self) -> Image:
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """`(channel, x, y, z)`."""
        return tuple(self._whole().data.shape)

    @property
    def affine(self) -> Array:
        """`(4, 4)` voxel index to millimetres, RAS+."""
        return self._whole().geometry.affine

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._whole().data, dtype, copy=copy)

    def show(self, file: str | Path | None = None) -> None:
        """Draw three planes of every channel with matplotlib: in a window or a notebook, or into a
        file.
        """
        report("view").show(self, file)

    def _repr_html_(self) -> str:
        html: str = report("view").html(self)
        return html


def report(module: str) -> Any:
    """Return a module of the layer that draws; it lies above this one and is loaded when something
    is to be drawn.
    """
    return importlib.import_module(f"veridical.report.{module}")
