"""What audits ask of a study: the images that a result was made from, marked lesions, and grids
brought together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from veridical.types import SEVERITY, Array, Finding, Geometry, Image, Measurement, Result, Study

LESIONS = "lesions"
"""Name of an image that is a mask of lesions."""


def images(study: Study, result: Result) -> dict[str, Image]:
    """Return the images of the last visit that a result was made from: those noted as `measured`,
    `changed` or `harmonized` in its facts, else all of them. Label maps and masks of lesions are no
    measurements.
    """
    visit = study.visit() if study.visits else {}
    found = {
        name: one
        for name, one in visit.items()
        if isinstance(one, Image) and one.units != "label" and name.split(".")[0] != LESIONS
    }
    facts = result.facts
    if "measured" not in facts:
        return found
    used = {*facts["measured"], *facts.get("changed", ()), facts.get("harmonized")}
    return {name: image for name, image in found.items() if name in used}


def scan(study: Study) -> Measurement | None:
    """Return the raw data of the last visit, or None."""
    visit = study.visit() if study.visits else {}
    return next((one for one in visit.values() if isinstance(one, Measurement)), None)


def lesions(study: Study, geometry: Geometry) -> Array | None:
    """Return the marked lesions of the last visit as bool `(x, y, z)` on a grid; None where nobody
    marked any.
    """
    visit = study.visit() if study.visits else {}
    marked = visit.get(LESIONS)
    if not isinstance(marked, Image):
        return None
    mask = onto(marked, geometry, order=0) > 0
    return mask if mask.any() else None


def onto(image: Image, geometry: Geometry, order: int = 1) -> Array:
    """Return the first channel of an image `(x, y, z)` on another grid, by splines of an order (0:
    the nearest voxel).
    """
    data = np.asarray(image.data[0])
    if image.geometry.matches(geometry):
        return data
    step = np.linalg.inv(image.geometry.affine) @ geometry.affine
    moved = ndimage.affine_transform(
        data.astype(np.float32),
        step[:3, :3],
        step[:3, 3],
        geometry.shape,
        order=order,
        mode="nearest",
    )
    return np.asarray(moved)


def of_slices(findings: Sequence[Finding]) -> Finding:
    """Return the worst of the findings of all slices, saying in how many it is so."""
    worst = max(findings, key=lambda finding: SEVERITY.index(finding.verdict))
    if len(findings) == 1:
        return worst
    like = sum(finding.verdict == worst.verdict for finding in findings)
    return replace(worst, reason=f"{like} of {len(findings)} slices: {worst.reason}")
