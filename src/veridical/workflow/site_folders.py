"""Folders of digital patients as sites of a federation have them: each with a scanner, contrasts
and noise of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veridical.io.files import write
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.rendering import render
from veridical.phantoms.scanners import SITES
from veridical.types import Geometry, Image

CONTRASTS = ("T1w", "T2w", "FLAIR", "PD")
"""Of the first sites; the next begin anew."""
SPACING, THICKNESS = 2.0, 4.0
"""Of a slice, mm."""


def phantom_sites(
    out: str | Path, sites: int = 3, patients: int = 10, size: int = 96, seed: int = 0
) -> list[Path]:
    """Write a folder of patients for each site, one axial slice a patient, and return the folders.

    Args:
        out: folder, made when missing; patients that are there already are kept.
        sites: how many; each is a scanner of `phantoms.scanners` and mostly has one contrast.
        patients: of each, `sub-NAME000` on.
        size: pixels of a side.
        seed: of the patients.
    """
    folders = []
    for number in range(sites):
        scanner = SITES[number % len(SITES)]
        folder = Path(out) / scanner.name
        for patient in range(patients):
            name = f"{scanner.name}{patient:03}"
            rng = np.random.default_rng([seed, number, patient])
            usual = rng.random() < 0.75
            contrast = CONTRASTS[number % 4 if usual else int(rng.integers(4))]
            path = folder / f"sub-{name}" / "anat" / f"sub-{name}_{contrast}.nii.gz"
            if path.exists():
                continue
            head = Cohort(seed + 1000 * number).slice(
                patient, (size, size), SPACING, "axial", thickness=THICKNESS
            )
            clean = render(head, contrast, scanner)
            level = float(rng.uniform(*scanner.noise)) * float(np.percentile(clean, 99))
            noise = level * rng.standard_normal((2, *clean.shape))
            shown = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
            affine = np.diag([SPACING, SPACING, THICKNESS, 1.0])
            grid = Geometry((size, size, 1), affine, "scanner")
            path.parent.mkdir(parents=True, exist_ok=True)
            write(Image(shown.T[None, :, :, None], grid, "a.u.", (contrast,)), path)
        folders.append(folder)
    return folders
