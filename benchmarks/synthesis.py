"""Synthetic heads against the real ones that the generator learned from, and against three that it
did not: how near, how large, how fast.

python benchmarks/synthesis.py [--heads 50] [--timed 3]

Distance: 1 minus the mean Dice of structures at 4 mm, after a rigid fit; to the nearest of the 13
heads. Heads are counted before those that are too near are drawn again, and after. The three held
out heads need the label maps in the training data beside VERIDICAL_DATA. Seconds are those of the
process (CPU), one thread, of a patient with T1w, T2w, FLAIR, without writing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from veridical.layouts.pool import data_root
from veridical.phantoms.head_distance import CORNER, SHAPE, at_4mm, distances, nearest_head
from veridical.phantoms.head_shapes import NewHead, new_head, shape_model, ventricle_volume
from veridical.phantoms.label_maps import NAMES, read, structure
from veridical.tasks.synthesize import Synthesize

GROUPS = ((20, 40), (40, 60), (60, 85))


def span(values: list[float] | np.ndarray) -> str:
    """Return mean ± SD, and least to greatest."""
    found = np.asarray(values, float)
    return f"{found.mean():.3f} ± {found.std(ddof=1):.3f} ({found.min():.3f} to {found.max():.3f})"


def real() -> None:
    """Print distances between real heads."""
    model = shape_model()
    pairs = model.between[np.triu_indices(len(model.names), 1)]
    others = (model.between + np.eye(len(model.names))).min(1)
    print(f"| two of the 13 real heads | {len(pairs)} | {span(pairs)} |")
    print(f"| each of the 13, to the nearest other | {len(others)} | {span(others)} |")
    folder = data_root().parent / "training_data" / "synthseg_labels"
    held = [folder / f"head{n}.nii.gz" for n in (14, 15, 16)]
    if all(path.exists() for path in held):
        found = [_real_distance(path) for path in held]
        print(f"| real heads held out, to the nearest of the 13 | 3 | {span(found)} |")


def _real_distance(path: Path) -> float:
    head = read(path)
    placed = np.concatenate([np.eye(3), -head.centre[:, None]], 1).astype(np.float32)
    return float(distances(at_4mm(head.structures, placed), shape_model().coarse).min())


def made(count: int) -> list[tuple[float, NewHead, float, str]]:
    """Return heads with age, distance and whether the nearest is a part of it."""
    found = []
    for number in range(count):
        rng = np.random.default_rng((2026, number))
        age = float(rng.uniform(20, 85))
        head = new_head(rng, age, "female" if number % 2 else "male")
        near = nearest_head(head.structures(CORNER, 4.0, SHAPE, upright=True))
        part = near.name in {shape_model().names[p] for p in head.parts}
        found.append((age, head, near.distance, "part" if part else ""))
    return found


def synthetic(count: int) -> None:
    """Print distances and volumes of synthetic heads."""
    heads, model = made(count), shape_model()
    found = np.array([one[2] for one in heads])
    least = float(model.between[np.triu_indices(len(model.names), 1)].min())
    print(f"| synthetic heads as drawn, to the nearest of the 13 | {count} | {span(found)} |")
    kept = found[found >= least]
    print(f"| those that are kept | {len(kept)} | {span(kept)} |")
    parts = sum(one[3] == "part" for one in heads)
    print(f"\nThe nearest head is one that it was cut out of: {parts} of {count}.")
    coarse = [one[1].structures(CORNER, 4.0, SHAPE, upright=True) for one in heads[:20]]
    pairs = np.stack([distances(one, coarse) for one in coarse])[np.triu_indices(len(coarse), 1)]
    print(f"Two of {len(coarse)} synthetic heads: {span(pairs)}.\n")
    print("| age | n | lateral ventricles, ml | fluid around the brain, ml | cortex, ml |")
    print("|---|---|---|---|---|")
    for low, high in GROUPS:
        group = [one[1] for one in heads if low <= one[0] < high]
        cut = [head.structures(CORNER, 4.0, SHAPE, upright=True) for head in group]
        rows = [np.bincount(one.ravel(), minlength=len(NAMES)) * 0.064 for one in cut]
        volumes = np.array(rows)[:, [structure("fluid around the brain"), structure("cortex")]]
        ventricles = np.array([ventricle_volume(head) for head in group])
        cells = [ventricles, *volumes.T]
        print(
            f"| {low} to {high} | {len(group)} | "
            + " | ".join(f"{c.mean():.0f} ± {c.std(ddof=1):.0f}" for c in cells)
            + " |"
        )


def timed(count: int) -> None:
    """Print seconds."""
    Synthesize(spacing=8.0)()
    print("\n| voxels | patients | CPU seconds | seconds on the wall |")
    print("|---|---|---|---|")
    for spacing in (2.0, 1.0):
        cpu, wall = [], []
        for number in range(1, count + 1):
            began = time.process_time(), time.perf_counter()
            Synthesize(spacing=spacing, number=number)(seed=3)
            cpu.append(time.process_time() - began[0])
            wall.append(time.perf_counter() - began[1])
        print(f"| {spacing:g} mm | {count} | {_seconds(cpu)} | {_seconds(wall)} |")


def _seconds(values: list[float]) -> str:
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=50)
    parser.add_argument("--timed", type=int, default=3)
    asked = parser.parse_args()
    print("| heads | n | distance: mean ± SD (range) |")
    print("|---|---|---|")
    real()
    synthetic(asked.heads)
    timed(asked.timed)
