"""A scan to try things on: one slice of a digital patient as undersampled multi-coil raw data in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veridical.datasets.acquire import scan
from veridical.datasets.cohort import Cohort
from veridical.datasets.rendering import render
from veridical.errors import InputError
from veridical.io.guards import replacing
from veridical.physics.masks import uniform


def phantom(
    out: Path,
    /,
    *,
    patient: int = 0,
    contrast: str = "T1w",
    size: int = 192,
    coils: int = 8,
    acceleration: int = 4,
    noise: float = 0.01,
) -> Path:
    """Scan one axial slice through a lesion of a digital patient and write its k-space.

    Args:
        out: `.npy` file to write: complex64 `(coil, y, x)`, centred, exact zeros where not sampled.
        patient: number of the patient in the cohort; the same number gives the same bytes.
        contrast: T1w, T2w, FLAIR, PD or T1c.
        size: pixels along y and x of a field of view of 230 mm.
        coils: number of receive coils.
        acceleration: every how many columns are sampled, besides the central ones (one in ten).
        noise: standard deviation per real component and coil, relative to the 99th percentile of the image.

    Raises:
        InputError: the file exists, or its name does not end in `.npy`.
        SettingError: an unknown contrast, or a number out of range.
    """
    if out.suffix != ".npy" or out.exists():
        raise InputError(f"{out} {'exists' if out.exists() else 'does not end in .npy'}; give the name of a new .npy file.")
    mask = uniform((size, size), acceleration, acs=max(16, size // 10))
    head = Cohort().slice(patient, (size, size), 230 / size, plane="axial", pathology="ms")
    kspace = scan(render(head, contrast), np.random.default_rng((patient, 9)), coils, noise).kspace
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.save(file, kspace * mask)
    return out
