"""Where the real training slices come from: axial, coronal and sagittal slices of the sets whose licence allows it.

Only `openms`, `ixi_t1_2mm` and `sts_mr_ct_pet` may train weights that ship; asking for another set is an error. Patients
named as held out never enter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from veridical.errors import InputError, SettingError, nearest
from veridical.types import Array

LICENCES = {
    "cohort": "made by this package from the MNI152 template",
    "openms": "CC BY (Lesjak et al. 2016)",
    "ixi": "CC BY-SA 3.0",
    "sarcoma": "CC BY 3.0",
    "sarcoma-mr": "CC BY 3.0",
    "sarcoma-ct": "CC BY 3.0",
    "sarcoma-pet": "CC BY 3.0",
    "lgg": "TCIA TCGA-LGG, masks non-commercial: weights trained on it are for benchmarks and do not ship",
}
CONTRASTS = {"T1W": "T1w", "T2W": "T2w", "FLAIR": "FLAIR"}


@dataclass(frozen=True)
class PoolSlice:
    """One magnitude slice `(y, x)` float16, scaled to its volume's 99.5th percentile, with its contrast and patient."""

    image: Array
    contrast: str
    patient: str


def data_root() -> Path:
    """Return the folder of real data: `VERIDICAL_DATA`, or `../shared/data` beside the working folder."""
    return Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))


def load(source: str, held_out: tuple[str, ...] = (), validation: bool = False) -> list[PoolSlice]:
    """Load all slices of one set.

    Args:
        source: `openms`, `ixi` or `sarcoma`.
        held_out: patients that are kept from training.
        validation: return the held-out patients instead of the others; may be none.

    Raises:
        SettingError: the set is unknown or may not train.
        InputError: its folder is not there.
    """
    loaders = {"openms": _openms, "ixi": _ixi, "sarcoma": _sarcoma}
    if source not in loaders:
        raise SettingError(f"No training set is called {source!r}. {nearest(source, loaders)}")
    found: list[PoolSlice] = []
    for path, contrast, patient, views in loaders[source](data_root()):
        if (patient in held_out) == validation:
            found += _slices(path, contrast, patient, views)
    if not found and not validation:
        raise InputError(f"{data_root()} holds nothing of {source!r}. Set VERIDICAL_DATA to the folder of real data.")
    return found


Volume = tuple[Path, str, str, tuple[int, ...]]


def _openms(root: Path) -> list[Volume]:
    """The raw longitudinal scans: whole heads, 0.5 to 0.9 mm in plane; thick slices, so axial only."""
    volumes: list[Volume] = []
    for path in sorted(root.glob("openms/longitudinal_raw/*/study*_*.nii.gz")):
        contrast = CONTRASTS[path.name.split("_")[1].split(".")[0]]
        volumes.append((path, contrast, f"openms-{path.parent.name}", (2,)))
    return volumes


def _ixi(root: Path) -> list[Volume]:
    return [(path, "T1w", path.name.split("-")[0], (0, 1, 2)) for path in sorted(root.glob("ixi_t1_2mm/nifti/*.nii.gz"))]


def _sarcoma(root: Path) -> list[Volume]:
    return [(path, "T1w", path.parent.name, (2,)) for path in sorted(root.glob("sts_mr_ct_pet/nifti/*/MR_T1_image.nii.gz"))]


def _slices(path: Path, contrast: str, patient: str, views: tuple[int, ...]) -> list[PoolSlice]:
    volume = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32)
    foreground = volume[volume > 0.1 * np.percentile(volume, 99)]
    volume = np.clip(volume / np.percentile(foreground, 99), 0, 1.5)
    found = []
    for view in views:
        for index in range(0, volume.shape[view], 1 if len(views) == 1 else 3):
            image = np.take(volume, index, view).T[::-1]
            if (image > 0.1).mean() > 0.12:
                found.append(PoolSlice(np.ascontiguousarray(image, dtype=np.float16), contrast, patient))
    return found
