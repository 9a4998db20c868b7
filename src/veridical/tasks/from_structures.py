"""CT and PET of a head from its structures: what tissue is at a place says what it attenuates and
takes up, where MR brightness alone does not (cortical bone is as dark as air).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from veridical.audit.inputs import onto
from veridical.errors import InputError
from veridical.models.head_segmenter import GROUPS
from veridical.types import Image, Result

if TYPE_CHECKING:
    from veridical.models.base import LabelModel

NAME = "structures"
HOUNSFIELD = {"background": -1000.0, "skull": 904.0, "rest of the head": -2.0} | {
    "fluid around the brain": 18.0, "lateral ventricle": 15.0, "third and fourth ventricle": 14.0,
    "white matter": 26.0, "cerebellar white matter": 26.0, "brain stem": 28.0, "lesion": 24.0,
    "cortex": 41.0, "cerebellar cortex": 40.0, "hippocampus and amygdala": 42.0, "thalamus": 40.0,
    "caudate": 39.0, "putamen": 39.0, "pallidum": 36.0,
}  # fmt: skip
"""HU of each structure: median over heads that were painted from thirteen label maps, whose tissue
values stand in `physics.tissue`.
"""
UPTAKE = {"background": 0.0, "skull": 0.8, "rest of the head": 0.8} | {
    "fluid around the brain": 1.9, "lateral ventricle": 1.2, "third and fourth ventricle": 1.7,
    "white matter": 3.2, "cerebellar white matter": 3.2, "brain stem": 2.3, "lesion": 4.3,
    "cortex": 5.2, "cerebellar cortex": 5.9, "hippocampus and amygdala": 6.5, "thalamus": 7.4,
    "caudate": 6.0, "putamen": 6.2, "pallidum": 5.6,
}  # fmt: skip
"""SUV of FDG of each structure, of the same heads."""
VALUES: Mapping[str, tuple[Mapping[str, float], str, float]] = {
    "CT": (HOUNSFIELD, "HU", 0.0),
    "PET": (UPTAKE, "SUV", 1.6),
}
"""Modality -> value of each structure, units, and mm by which its scanner blurs (standard
deviation).
"""
ABSENT = (
    "Structures have one value each, the usual one: what a patient's own bone or uptake differs by "
    "is not known."
)


def from_structures(model: LabelModel, image: Image, wanted: Sequence[str]) -> Result:
    """Return CT, PET or both of a head.

    Args:
        model: that tells the structures of heads apart.
        image: MR of the head, any contrasts; their probabilities are averaged.
        wanted: `CT`, `PET`.

    Raises:
        InputError: another modality is wanted.
    """
    from veridical.tasks.labelling import labelled

    unknown = [name for name in wanted if name not in VALUES]
    if unknown:
        raise InputError(
            f"{unknown[0]} cannot be made from structures; expected {' or '.join(VALUES)}. Use "
            "--model generator."
        )
    given = tuple(name for name in image.channels if image.units_of(name) not in ("label", "SUV"))
    found, grid = labelled(model, image, given), image.geometry
    made = []
    for name in wanted:
        values, _, blur = VALUES[name]
        level = np.array([values[group] for group in GROUPS], np.float32)
        whole = np.tensordot(level, found.probabilities, 1)
        whole = ndimage.gaussian_filter(whole, blur / model.spacing) if blur else whole
        unit = VALUES[name][1]
        made.append(onto(Image(whole[None], found.grid, unit, (name,)), grid))
    units = {name: VALUES[name][1] for name in wanted}
    absent = dict.fromkeys(("draws", "interval", "evidence"), ABSENT)
    header = {"units": units, "scale": dict.fromkeys(wanted, 1.0)}
    shared = next(iter(units.values())) if len(set(units.values())) == 1 else "mixed"
    return Result(
        Image(np.stack(made), grid, shared, tuple(wanted), header),
        "point estimate",
        absent=absent,
        facts={"card": model.card, "measured": given},
    )
