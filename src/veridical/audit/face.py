"""Face: could a person be recognized from a volume of a head?

A nose that stands out beyond the cheeks is the sign: whoever can render the surface then sees a
face. Ears, the shape of the skull and of the sinuses and the brain itself can also tell a person;
this check does not look at them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veridical.audit.audited_study import AuditedStudy
from veridical.errors import InputError
from veridical.preprocessing import face as faces
from veridical.types import Finding, Image, Result, Study

NAME = "face"
SUBJECT = "set"
STANDS_OUT = 14.0
"""mm beyond the cheeks from which a nose is seen: noses of nine real and digital heads stand out by
18 to 33 mm, stripped and defaced heads have up to 12.
"""
FLAT = 10
"""Voxels along an axis below which an image is no volume."""
SHOWN = 5


def face(study: Study, result: Result) -> Finding | None:
    """Look for faces in images of other generators and scanners, and in what was defaced; None in
    other tasks.
    """
    images = _subjects(study, result)
    if not images:
        return None
    seen, looked = {}, 0
    for name, image in images.items():
        height = nose_of(image)
        looked += height is not None
        if height is not None and height >= STANDS_OUT:
            seen[name] = round(height, 1)
    evidence = {"volumes": looked, "noses": seen}
    if not looked:
        reason = "No volume shows a head as far down as a face."
        return Finding(NAME, "not_run", reason, evidence)
    if seen:
        which = ", ".join([*seen][:SHOWN])
        reason = (
            f"In {len(seen)} of {looked} volumes a nose stands out by {STANDS_OUT:g} mm or more "
            f"({which}): if they are of patients, these can be recognized. Remove the faces: "
            "veridical deface."
        )
        return Finding(NAME, "fail" if "defaced" in result.facts else "warn", reason, evidence)
    reason = (
        f"No nose stands out in {looked} volumes. Ears, skull and brain can still tell a person."
    )
    return Finding(NAME, "pass", reason, evidence)


def nose_of(image: Image) -> float | None:
    """Return how far a nose stands out, mm; None where the image shows no face or no head."""
    if min(image.geometry.shape) < FLAT or image.units == "label":
        return None
    try:
        frame = faces.head_frame(np.asarray(image.data[0]), image.geometry)
    except InputError:
        return None
    return None if frame.depth < faces.SHOWN else faces.nose(frame)


def _subjects(study: Study, result: Result) -> Mapping[str, Image]:
    if isinstance(study, AuditedStudy) and study.generated:
        return study.generated
    if "defaced" in result.facts or (isinstance(study, AuditedStudy) and result.kind == "image"):
        return {name: result.image.channel(name) for name in result.image.channels[:1]}
    return {}
