"""Dose prediction on the validation patients of OpenKBP: both official scores, coverage of the
interval, seconds a patient. Nothing is tuned on them.

    python benchmarks/dose.py [--weights dose] [--out table.csv]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from veridical.io.openkbp import ALLOWED
from veridical.metrics.plan_points import dose_score, point_differences
from veridical.models.dose_anatomy import gathered
from veridical.tasks.plan import Plan
from veridical.tasks.plan_findings import masks_of
from veridical.training.dose_data import of_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="")
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    rows, points, kinds = [], [], dict[str, list[float]]()
    for study in of_split("val"):
        begun, wall = time.process_time(), time.perf_counter()
        result = Plan(weights=given.weights, draws=0)(study)
        spent, passed = time.process_time() - begun, time.perf_counter() - wall
        image, _ = gathered(study, {})
        planned, allowed = np.asarray(image["dose"]), image[ALLOWED] > 0
        dose = result.image.data[0]
        differences = point_differences(dose, planned, masks_of(image), image.geometry.spacing)
        points += list(differences.values())
        for (name, point), value in differences.items():
            kinds.setdefault(f"{name} {point}", []).append(value)
        inside, width = float("nan"), float("nan")
        if result.interval is not None:
            low, high = result.interval.lower[0], result.interval.upper[0]
            inside = float(((planned >= low) & (planned <= high))[allowed].mean())
            width = float((high - low)[allowed].mean())
        score = dose_score(dose, planned, allowed)
        rows.append((score, float(np.mean(list(differences.values()))), inside, width, spent))
        said = "  ".join(f"{value:.3f}" for value in rows[-1])
        print(f"{study.id:8s} {said}  wall {passed:.1f}", flush=True)
    table = np.array(rows)
    mean, sd = table.mean(0), table.std(0, ddof=1)
    print(f"n = {len(rows)}")
    print(f"dose score {mean[0]:.3f} Gy (SD {sd[0]:.2f})")
    print(f"DVH score {np.mean(points):.3f} Gy over {len(points)} points")
    print(f"inside of the interval {mean[2]:.4f} (SD {sd[2]:.3f}), mean width {mean[3]:.1f} Gy")
    print(f"processor time {mean[4]:.1f} s, at most {table[:, 4].max():.1f} s")
    for name, values in kinds.items():
        print(f"  {name:22s} {np.mean(values):.2f} Gy (n = {len(values)})")
    if given.out:
        header = "dose_score,dvh_score,inside,width,seconds"
        np.savetxt(Path(given.out), table, delimiter=",", header=header, comments="")


if __name__ == "__main__":
    main()
