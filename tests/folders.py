"""Small folders of images, for tests that read what a hospital might have."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from veridical.types import Array

SHAPE = (40, 48, 12)


def head(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Array:
    """An ellipsoid with two inner parts of random size, `(x, y, z)` float32; what is right, front
    or top is brighter.
    """
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    image = 100.0 * (x**2 + y**2 + 0.5 * z**2 < 0.8) * (1 + 0.1 * x + 0.2 * y + 0.15 * z)
    for part, strength in ((0.1, 60.0), (-0.3, -50.0)):
        image += (
            strength * ((x - part) ** 2 + (y - part) ** 2 < rng.uniform(0.02, 0.1)) * (image > 0)
        )
    return image.astype(np.float32)


def write(path: Path, image: Array, spacing: tuple[float, float, float] = (2.0, 2.0, 4.0)) -> None:
    """Write an image centred on the scanner's origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(image.shape) - 1) * np.array(spacing) / 2
    nib.save(nib.Nifti1Image(image, affine), path)


def bids(root: Path, subjects: int = 4, contrasts: tuple[str, ...] = ("T1w", "FLAIR")) -> Path:
    """Write a BIDS tree of subjects `sub-01`, `sub-02`, ... with these contrasts, and return it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(
        '{"Name": "made up", "BIDSVersion": "1.10.0"}', encoding="utf-8"
    )
    for index in range(1, subjects + 1):
        subject = f"sub-{index:02}"
        for place, contrast in enumerate(contrasts):
            write(
                root / subject / "anat" / f"{subject}_{contrast}.nii.gz", head(10 * index + place)
            )
    return root
