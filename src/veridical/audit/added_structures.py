"""Added structures: images of a set that show a lesion, or lack one, that their references do not.

Scores over whole images pass a set in which every image has one lesion too many: it is a thousandth
of the voxels. Here each image is held against its own reference, place by place and size by size,
and what differs there against what differs elsewhere.
"""

from __future__ import annotations

from veridical.audit.audited_study import AuditedStudy
from veridical.audit.hallucination import LIMITS
from veridical.audit.inputs import onto
from veridical.audit.structures import Structure, differences
from veridical.types import Finding, Image, Result, Study

SUBJECT = "set"
NAME = "added structures"


def added_structures(study: Study, result: Result) -> Finding | None:
    """Hold every image of a set against the reference of its name; None where none has one."""
    if not isinstance(study, AuditedStudy) or not study.generated or not study.references:
        return None
    shared = [name for name in study.generated if name in study.references]
    if not shared:
        return Finding(
            NAME,
            "not_run",
            "No image of the set has the name of a reference. Give references of the same names.",
        )
    found = {name: strongest(study.generated[name], study.references[name]) for name in shared}
    scores = {name: 0.0 if one is None else one.score for name, one in found.items()}
    marked = [name for name in shared if scores[name] > LIMITS[0]]
    evidence = {
        "images": len(shared),
        "marked": {name: scores[name] for name in marked},
        "without_reference": len(study.generated) - len(shared),
        "limits": list(LIMITS),
    }
    if not marked:
        highest = max(scores.values())
        return Finding(
            NAME,
            "pass",
            f"None of {len(shared)} images differs from its reference by a structure of its own: "
            f"the strongest stands out by {highest:.1f} deviations of what differs elsewhere (up "
            f"to {LIMITS[0]:g} passes).",
            evidence,
        )
    worst = max(marked, key=lambda name: scores[name])
    one = found[worst]
    assert one is not None
    told = (
        f"{worst} at voxel {', '.join(map(str, one.place))}, {one.size:g} mm wide and too "
        f"{'bright' if one.contrast > 0 else 'dark'} by {abs(one.contrast):.3g}, "
        f"{one.score:.0f} deviations"
    )
    return Finding(
        NAME,
        "fail" if scores[worst] > LIMITS[1] else "warn",
        f"{len(marked)} of {len(shared)} images show a structure that their reference has not, or "
        f"lack one that it has. The clearest: {told}.",
        evidence,
    )


def strongest(image: Image, reference: Image) -> Structure | None:
    """Return the surest structure by which an image differs from its reference; None where there is
    none of visible contrast.
    """
    truth = reference.data[0]
    if reference.geometry.shape != image.geometry.shape:
        truth = onto(reference, image.geometry)
    every = differences(image.data[0], truth, image.geometry.spacing)
    return every[0] if every else None
