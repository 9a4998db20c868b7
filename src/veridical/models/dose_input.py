"""What a dose is computed from: a CT in HU, its target and other structures, a second CT, draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from veridical.errors import GeometryError, InputError, nearest
from veridical.models.dose_anatomy import channels_of, ct_of
from veridical.types import Array, Geometry, Image, Study

AGAINST = "second CT"


@dataclass(frozen=True, eq=False)
class DoseInput:
    """All on the grid of the CT, `(x, y, z)`.

    Args:
        ct: HU.
        target: bool.
        name: of the target.
        structures: name -> bool, the target too.
        other: HU of the CT to compare with, or None.
        draws: HU of draws of the CT.
        geometry: of the CT.
    """

    ct: Array
    target: Array
    name: str
    structures: Mapping[str, Array]
    other: Array | None
    draws: tuple[Array, ...]
    geometry: Geometry


def gathered(study: Study, target: str, against: str, samples: str) -> DoseInput:
    """Collect it from a study and from files; arguments as the settings of `Dose`.

    Raises:
        InputError: no CT, NaN in it, no target, or no such structure.
        UnitsError: a CT that is not in HU.
        GeometryError: draws on another grid.
    """
    channels = channels_of(study)
    ct = ct_of(channels, "Say which image it is: --contrast CT --units HU.")
    masks = {
        name: one.data[0] > 0
        for name, one in channels.items()
        if one.units == "label" and one.geometry.matches(ct.geometry)
    }
    if target and target not in masks and Path(target).exists():
        masks = {**masks, "target": _mask(target, ct)}
        target = "target"
    chosen = _chosen(target, masks)
    return DoseInput(
        np.asarray(ct.data[0], np.float32),
        masks[chosen],
        chosen,
        masks,
        _other(against, ct) if against else None,
        _draws(samples, ct) if samples else (),
        ct.geometry,
    )


def _chosen(target: str, masks: Mapping[str, Array]) -> str:
    if target and target not in masks:
        raise InputError(
            f"There is no structure {target!r}, and no such file. {nearest(target, masks)}"
        )
    if not target and len(masks) != 1:
        there = ", ".join(masks) or "none"
        raise InputError(
            f"Which structure is the target? There: {there}. Say --target NAME, or --target FILE "
            "with a mask."
        )
    return target or next(iter(masks))


def _mask(path: str, ct: Image) -> Array:
    from veridical.io.assemble import LESIONS, stacked
    from veridical.io.files import read

    drawn = read(path, contrast="other:target", units="label")
    if not isinstance(drawn, Image):
        raise InputError(f"{path} holds raw data; expected a mask.")
    return np.asarray(stacked([ct], drawn)[LESIONS] > 0)


def _other(path: str, ct: Image) -> Array:
    from veridical.io.assemble import stacked
    from veridical.io.files import read

    found = read(path, contrast="CT", units="HU")
    if not isinstance(found, Image) or not np.isfinite(found.data).all():
        raise InputError(f"{path} holds NaN, or raw data; expected a CT in HU.")
    both = stacked([ct, replace(found, channels=(AGAINST,))], register=False)
    return np.asarray(both[AGAINST], np.float32)


def _draws(folder: str, ct: Image) -> tuple[Array, ...]:
    from veridical.io.stored_results import stored_result

    stored = stored_result(folder)
    if stored.draws is None or "CT" not in stored.image.channels:
        raise InputError(
            f"The result in {folder} has no draws of a CT. Make it with some: veridical translate "
            "... --draws 8."
        )
    if not stored.image.geometry.matches(ct.geometry):
        raise GeometryError(
            f"The draws in {folder} lie on {stored.image.geometry}, the CT on {ct.geometry}; "
            "expected one grid."
        )
    channel = stored.image.channels.index("CT")
    return tuple(np.asarray(one[channel], np.float32) for one in stored.draws)
