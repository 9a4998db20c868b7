"""Digital patients scanned at 4x, reconstructed by the denoiser, and judged by `veridical evaluate`
at all four levels.

A segmenter is trained on the true images of other patients; the intervals of the reconstructions
are judged on trust.

Usage: python examples/judge.py [FOLDER]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from veridical import Image, Reconstruct, write
from veridical.apps.cli import main as veridical
from veridical.io.bids import save
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.simulated_scan import Examination, examine

CONTRAST = "FLAIR"
FIRST = 5000
"""Patients from here on are in no training set of the shipped weights."""
TRAINED, JUDGED = 20, 12


def lesions(scan: Examination) -> Image:
    return Image(scan.lesions[None].astype(np.uint8), scan.truth.geometry, "label", ("label",))


def scanned(index: int) -> Examination:
    """A slice through the lesions of a patient with multiple sclerosis or a tumour."""
    return examine(Cohort(), FIRST + index, CONTRAST, pathology=("ms", "tumour")[index % 2])


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "judge")
    for part in ("real", "lesions", "train", "train-lesions", "generated"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    reconstruct = Reconstruct(model="denoiser", draws=4)
    rows = [("case", "disease")]
    for index in range(TRAINED + JUDGED):
        scan, name = scanned(index), f"sub-{index:03d}_{CONTRAST}"
        test = index >= TRAINED
        write(scan.truth, folder / ("real" if test else "train") / f"{name}.nii.gz")
        write(lesions(scan), folder / ("lesions" if test else "train-lesions") / f"{name}.nii.gz")
        if test:
            result = reconstruct(scan.measurement, seed=index)
            save(
                result,
                folder / "generated" / f"sub-{index:03d}",
                f"sub-{index:03d}",
                overwrite=True,
            )
            rows.append((name, ("ms", "tumour")[index % 2]))
        print(f"\rpatient {index + 1} of {TRAINED + JUDGED}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    with (folder / "patients.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    words = [
        "evaluate",
        str(folder / "generated"),
        "--out",
        str(folder / "report"),
        "--overwrite",
        "--structures",
        "1=lesion",
    ]
    words += ["--segmenter-steps", "600", "--table", str(folder / "patients.csv")]
    for flag, part in {
        "--reference": "real", "--labels": "lesions", "--training": "train", "--training-labels": "train-lesions",  # noqa: E501
    }.items():  # fmt: skip
        words += [flag, str(folder / part)]
    print("veridical", " ".join(words), flush=True)
    return veridical(words)


if __name__ == "__main__":
    sys.exit(main())
