"""Fit the error level of the unrolled model from what is known without a truth; its numbers go into recipes/brain-prior.toml.

python benchmarks/error_level.py [weights] [scans]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from veridical.models.prepared_scan import prepare
from veridical.models.scan_known import error_features
from veridical.models.unrolled import Unrolled
from veridical.workflow.calibrate import UNSEEN
from veridical.workflow.recipe import Recipe
from veridical.workflow.scan_course import ScanCourse


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "unrolled"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 80
    source = ScanCourse(Unrolled, Recipe.read(Path("recipes/unrolled.toml")).data, 0)
    rows, levels = [], []
    for step in range(count):
        rehearsal, _ = source.draw(UNSEEN - 1 - step)
        scan = prepare(rehearsal.kspace, rehearsal.mask, rehearsal.maps, rehearsal.sigma)
        image = Unrolled(weights=name).solve(scan, 1, 0, "other")[0]
        error = (image - rehearsal.truth / scan.scale).abs().square().sum(0).mean() / scan.support.mean().clamp_min(1e-3)
        # per real component
        levels.append(0.5 * math.log(float(error) / 2 + 1e-8))
        rows.append(error_features(scan, image - scan.start))
    fit, *_ = np.linalg.lstsq(np.array(rows), np.array(levels), rcond=None)
    left = np.array(levels) - np.array(rows) @ fit
    print(f"error = {[round(float(c), 3) for c in fit]}")
    print(f"# standard deviation of the log that is left: {left.std():.2f}; without a model {np.std(levels):.2f}")


if __name__ == "__main__":
    main()
