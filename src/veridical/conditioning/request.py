"""What is asked of a generator for one slice, and all that is known of it. Conditions read it;
training and tasks write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from veridical.types import Array

LEAST_LEVEL = 0.01
"""Expected error below which a network is not asked, in network units: 2 % of the inner tissue."""

RESTYLED = 0.1
"""Expected error of an intensity curve from the style of one scanner to that of another, in network
units.
"""


@dataclass(frozen=True, eq=False)
class Request:
    """One slice to be made, in network units (see `preprocessing`).

    Args: contrast: to be made. initial: `(y, x)`, the best simple estimate: what a classical method
        says, or the degraded image itself. level: expected root mean square error of it: what a
        network has to add. support: `(y, x)` in [0, 1], where the object is. images: contrast ->
        `(3, y, x)`: the slice that was measured, the one below, the one above. degradation: what is
        wrong with `initial` if it is a measured image; empty if this contrast was not measured.
        masks: name -> `(y, x)`, label maps and masks. attributes: name -> number or word: field
        strength in tesla, `height` of the slice in [-1, 1], age, sex, ... styles: contrast ->
        `(6,)`, the style of the whole image, of those that were measured and of the one that is
        made, as far as it is known; see `preprocessing.style`.
    """

    contrast: str
    initial: Array
    level: float
    support: Array
    images: Mapping[str, Array] = field(default_factory=dict)
    degradation: str = ""
    masks: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    styles: Mapping[str, Array] = field(default_factory=dict)
