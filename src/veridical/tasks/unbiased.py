"""Bias-field removal as a result: N4, a classical method that no learned one beat here."""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.preprocessing.bias_field import bias_field
from veridical.types import Finding, Image, Result, Verdict

FAR = 2.0
"""Ratio of the brightest to the darkest field from which a warning is due."""


def unbiased(image: Image, channel: str) -> Result:
    """Divide a channel by its bias field.

    Raises:
        InputError: the voxel size is not known, and smoothness is in millimetres.
    """
    if image.geometry.frame == "index":
        raise InputError(
            "The voxel size of this image is not known, and a bias field is smooth in millimetres. "
            "Read it with its header, or "
            "give it a geometry."
        )
    data = np.asarray(image[channel], np.float32)
    field = bias_field(data, image.geometry.spacing)
    corrected = Image((data / field)[None], image.geometry, image.units_of(channel), (channel,))
    low, high = (
        float(v) for v in np.percentile(field[data > 0.1 * np.percentile(data, 99)], (1, 99))
    )
    verdict: Verdict = "warn" if high / low > FAR else "pass"
    reason = (
        f"The field that was divided out goes from {low:.2f} to {high:.2f} in the foreground; its "
        "mean is 1."
    )
    found = Finding("bias field", verdict, reason, {"low": low, "high": high})
    absent = dict.fromkeys(
        ("draws", "interval", "evidence"), "n4 gives one estimate; it has no posterior."
    )
    return Result(
        corrected,
        "point estimate",
        findings=(found,),
        absent=absent,
        facts={"measured": (channel,)},
    )
