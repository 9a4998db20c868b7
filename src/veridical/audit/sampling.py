"""Sampling: can what was not sampled be believed? A scan's own withheld samples say what error to
expect there.

The mathematics is in `self_calibration`. It is for Cartesian MR scans; of others it says what is
not known.
"""

from __future__ import annotations

from veridical.audit.inputs import of_slices, scan
from veridical.types import Finding, Result, Study

NAME = "sampling"
ARTEFACTS = {
    "cartesian-mri": "aliasing",
    "noncartesian-mri": "streaks and blur from missing readouts",
    "parallel-beam": "streaks from missing angles",
    "fan-beam": "streaks from missing angles",
    "pet": "noise of few counts",
    "photoacoustic": "arcs from missing detectors",
    "ultrasound": "side lobes from missing transmissions",
}
"""Operator -> what it looks like where too little was sampled."""


def sampling(study: Study, result: Result) -> Finding | None:
    """Judge the errors expected outside of the samples, one a slice; None for images and for scans
    that miss nothing.
    """
    expected = result.facts.get("sampling", ())
    if expected:
        return of_slices([one.finding(NAME) for one in expected])
    measured = scan(study)
    mask = getattr(getattr(measured, "operator", None), "mask", None)
    if measured is None or (mask is not None and bool((mask != 0).all())):
        return None
    what = ARTEFACTS.get(measured.operator.name, "artefacts of missing samples")
    reason = (
        "No samples were withheld, so nothing says how wrong the image is where none were taken "
        f"({what})."
    )
    if measured.operator.name == "cartesian-mri":
        return Finding(
            NAME,
            "not_run",
            f"{reason} A sampler with 2 or more draws does that: --model denoiser --draws 8.",
        )
    return Finding(NAME, "not_run", f"{reason} Samples are withheld for Cartesian MRI only.")
