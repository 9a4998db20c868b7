"""Dose prediction on the validation patients of OpenKBP: both official scores, coverage of the
interval, seconds a patient. Nothing is tuned on them.

    python benchmarks/dose.py [--weights dose] [--card]

`--card` notes the scores on the card of the weights.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

import numpy as np

from veridical.io.guards import write_text
from veridical.metrics.plan_points import dose_score, point_differences
from veridical.models import weights
from veridical.models.dose_anatomy import gathered
from veridical.models.model_card import CardScore
from veridical.physics.prescriptions import ALLOWED
from veridical.tasks.plan import Plan
from veridical.tasks.plan_findings import masks_of
from veridical.training.card_scores import t_interval
from veridical.training.dose_data import of_split
from veridical.types import Array

SOURCE = "docs/measurements/treatment.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="")
    parser.add_argument("--card", action="store_true")
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
    if given.card:
        note(given.weights or "dose", table)


def note(name: str, table: Array) -> None:
    """Write both scores, with intervals over patients, into the card of some weights."""
    card, file = weights.stored_card(name), weights.find(name).with_suffix(".json")
    kept = [one for one in card.get("scores", ()) if one.get("source") != SOURCE]
    for column, metric in enumerate(("dose score", "DVH score")):
        values = table[:, column]
        score = CardScore(
            metric, "Gy", "lower", "plan", "OpenKBP patients of the validation split", len(values),
            "patients", round(float(values.mean()), 3), t_interval(values.tolist()), source=SOURCE,
        )  # fmt: skip
        kept.append(asdict(score))
    write_text(file, json.dumps(card | {"scores": kept}, indent=2) + "\n")


if __name__ == "__main__":
    main()
