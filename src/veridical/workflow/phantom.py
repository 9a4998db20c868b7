"""A scan to try things on: one slice of a digital patient as undersampled multi-coil raw data in a
file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veridical.errors import InputError
from veridical.io.guards import replacing
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.simulated_scan import examine


def phantom(
    out: Path,
    /,
    *,
    patient: int = 0,
    contrast: str = "T1w",
    acceleration: float = 4.0,
    pattern: str = "uniform",
    coils: int = 8,
) -> Path:
    """Scan one axial slice through a lesion of a digital patient and write its k-space.

    Args:
        out: `.npy` file to write: complex64, axes coil,y,x, centred, exact zeros where not sampled.
        patient: number of the patient in the cohort; the same number gives the same bytes.
        contrast: T1w, T2w, FLAIR, PD or T1c.
        acceleration: of the pattern; the 24 central lines are always sampled.
        pattern: uniform, variable (random columns) or poisson (both directions).
        coils: number of receive coils.

    Raises:
        InputError: the file exists, or its name does not end in `.npy`.
        SettingError: an unknown contrast or pattern, or a number out of range.
    """
    if out.suffix != ".npy" or out.exists():
        raise InputError(
            f"{out} {'exists' if out.exists() else 'does not end in .npy'}; give the name of a new "
            ".npy file."
        )
    exam = examine(
        Cohort(),
        patient,
        contrast,
        acceleration,
        pattern,
        coils=coils,
        plane="axial",
        pathology="ms",
    )
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.save(file, exam.measurement.data[0])
    return out
