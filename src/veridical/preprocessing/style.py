"""The intensity style of an image: how bright its tissues are, whatever its units are."""

from __future__ import annotations

import numpy as np

from veridical.errors import SettingError
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.types import Array

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
"""The last one is that of fat, which some scanners suppress."""


def check_style(style: tuple[float, ...]) -> None:
    """Refuse a style that is stated, and is none.

    Raises:
        SettingError: there are not as many numbers as quantiles, or they fall.
    """
    if style and (len(style) != len(QUANTILES) or list(style) != sorted(style)):
        raise SettingError(
            f"style = {style}; expected {len(QUANTILES)} numbers that do not fall, as "
            "`veridical style IMAGES` gives."
        )


def style_of(slices: Array, channel: str) -> Array:
    """Return the quantiles `(6,)` of the foreground of slices `(slice, y, x)` in network units,
    over their middle half.
    """
    quarter = len(slices) // 4
    middle = slices[quarter : max(quarter + 1, 3 * quarter)]
    inside = middle[Preprocessing().foreground(channel, middle)]
    return np.quantile(inside, QUANTILES) if len(inside) else np.zeros(len(QUANTILES))


def curve(slices: Array, own: Array, wanted: Array) -> Array:
    """Return slices under the rising curve that takes one style to another; zero stays, and beyond
    the last quantile the curve goes on with slope 1.

    Args:
        slices: `(slice, y, x)`, network units.
        own, wanted: `(6,)`.
    """
    at = np.array([0.0, *own]) + 1e-4 * np.arange(len(own) + 1)
    to = np.maximum.accumulate([0.0, *wanted])
    beyond = np.maximum(slices - at[-1], 0) + np.minimum(slices, 0)
    return np.asarray(np.interp(slices, at, to) + beyond, np.float32)
