"""FLAIR predicted from T1 by a trivial regressor, judged at all levels on real patients of another site.

Trains on the patients of site CS of the low-grade glioma set, predicts those of site DU. What it writes is then judged by

    veridical evaluate WORK/predicted --reference WORK/real --labels WORK/lesions --structures 1=lesion \\
      --training WORK/train --training-labels WORK/train-lesions --second WORK/train --table WORK/patients.csv --axes x,y,z

Usage: python benchmarks/flair_from_t1.py [WORK]
"""

from __future__ import annotations

import csv
import os
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from veridical.apps.cli import main as veridical

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data")) / "lgg_tcga"
T1, FLAIR = 0, 1
RIDGE = 1e-3
SHARE = 20
"""One foreground voxel in so many is used for the fit."""


def volumes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images `(contrast, x, y, z)` and lesion `(x, y, z)` of one patient."""
    with np.load(path, allow_pickle=False) as file:
        return file["image"].transpose(1, 3, 2, 0).astype(np.float32), file["mask"].transpose(2, 1, 0)


def described(t1: np.ndarray) -> np.ndarray:
    """What the regressor knows of every voxel: T1 by its own 99.5th percentile, its square, its surroundings at three sizes."""
    x = t1 / max(float(np.percentile(t1, 99.5)), 1.0)
    smooth = [ndimage.gaussian_filter(x, (s, s, 0)) for s in (1, 3, 9)]
    return np.stack([np.ones_like(x), x, x**2, x**3, *smooth, x * smooth[1]])


def fit(paths: list[Path]) -> np.ndarray:
    """Ridge regression over the foreground of all training patients."""
    gram, moment = 0.0, 0.0
    for path in paths:
        image, _ = volumes(path)
        inside = image[T1] > 0.1 * np.percentile(image[T1], 99)
        a = described(image[T1])[:, inside][:, ::SHARE].astype(np.float64)
        gram, moment = gram + a @ a.T, moment + a @ image[FLAIR][inside][::SHARE]
    return np.linalg.solve(gram + RIDGE * np.trace(gram) * np.eye(len(gram)) / len(gram), moment)


def usable() -> dict[str, Path]:
    """Patients of the set, as it is there, that have both contrasts."""
    with (DATA / "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["has_t1pre"] == "1" and row["has_flair"] == "1"]
    paths = {row["case"]: DATA / f"{row['case']}.npz" for row in rows}
    return {case: path for case, path in paths.items() if path.exists()}


def save(folder: Path, case: str, array: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{case}.npy", array)


def table(work: Path, cases: list[str]) -> None:
    """Sex and grade of the patients, from the clinical variables."""
    with (DATA / "data.csv").open() as file:
        known = {row["Patient"]: row for row in csv.DictReader(file, delimiter=";")}
    with (work / "patients.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["case", "site", "sex", "grade"])
        for case in cases:
            row = known.get(case.rsplit("_", 1)[0], {})
            site = case.split("_")[1]
            out.writerow([case, site, row.get("gender", ""), row.get("neoplasm_histologic_grade", "")])


def prepare(work: Path) -> None:
    """Write all folders."""
    cases = usable()
    weights = fit([path for case, path in cases.items() if "_CS_" in case])
    for case, path in cases.items():
        image, lesion = volumes(path)
        if "_CS_" in case:
            save(work / "train", case, image[FLAIR])
            save(work / "train-lesions", case, lesion.astype(np.uint8))
            continue
        inside = image[T1] > 0.1 * np.percentile(image[T1], 99)
        predicted = np.where(inside, np.tensordot(weights, described(image[T1]), 1), 0.0)
        save(work / "predicted", case, np.clip(predicted, 0, 255).astype(np.float32))
        save(work / "real", case, image[FLAIR])
        save(work / "lesions", case, lesion.astype(np.uint8))
    table(work, [case for case in cases if "_DU_" in case])


def main() -> int:
    work = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/flair_from_t1")
    prepare(work)
    words = ["evaluate", str(work / "predicted"), "--reference", str(work / "real"), "--out", str(work / "report")]
    words += ["--labels", str(work / "lesions"), "--structures", "1=lesion", "--training", str(work / "train")]
    words += ["--training-labels", str(work / "train-lesions"), "--second", str(work / "train")]
    words += ["--table", str(work / "patients.csv"), "--axes", "x,y,z", "--overwrite"]
    print("veridical", " ".join(words), flush=True)
    start = time.perf_counter()
    code = veridical(words)
    print(f"{time.perf_counter() - start:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
