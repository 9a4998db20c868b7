"""Styles that an image could have which was not measured: those of training patients whose other
images look like the measured ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from veridical.conditioning.request import Request
from veridical.types import Array


def styled(
    requests: Sequence[Request], draws: int, stored: Sequence[Mapping[str, Any]]
) -> list[Request]:
    """Return every request `draws` times, one after the other, each with a style; without one
    where no training patient had the contrast.

    Args:
        requests: of one volume; a style that one states is kept.
        draws: of each.
        stored: contrast -> style, of training patients.
    """
    found: list[Request] = []
    for request in requests:
        given = request.styles
        known = given.get(request.contrast)
        drawn = likely(given, request.contrast, draws, stored) if known is None else [known] * draws
        each = [{**given, request.contrast: style} for style in drawn] or [{**given}] * draws
        found += [replace(request, styles=styles) for styles in each]
    return found


def likely(
    given: Mapping[str, Array], contrast: str, count: int, stored: Sequence[Mapping[str, Any]]
) -> list[Array]:
    """Return styles of a contrast: of the patients whose styles of the given contrasts are nearest
    to those given, the nearest first; they start anew where there are fewer than asked for. None
    where no patient had it.
    """
    able = [styles for styles in stored if contrast in styles]
    far = [
        np.mean([np.abs(given[name] - np.array(styles[name])).mean()
                 for name in given if name in styles] or [np.inf])
        for styles in able
    ]  # fmt: skip
    order = np.argsort(far, kind="stable")[:count]
    return [np.array(able[order[n % len(order)]][contrast]) for n in range(count if able else 0)]
