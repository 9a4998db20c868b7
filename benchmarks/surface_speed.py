"""Time surface distances beside MONAI and scipy on one machine in one run; prints a markdown table,
and checks equal values.

python benchmarks/surface_speed.py [repeats]
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage, spatial

from veridical.metrics.hausdorff95 import hausdorff95

warnings.simplefilter("ignore")
from monai.metrics import compute_hausdorff_distance  # noqa: E402

SHAPE, SPACING = (182, 218, 182), (1.0, 1.0, 1.0)


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of structures on the grid of a whole brain at 1 mm."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 6)
    noise /= noise.std()
    x, y, z = np.indices(SHAPE)
    brain = np.sqrt(((x - 91) / 69) ** 2 + ((y - 109) / 83) ** 2 + ((z - 91) / 69) ** 2)
    lesion, other = (
        (x - a) ** 2 + (y - b) ** 2 + (z - 90) ** 2 < 144 for a, b in ((100, 120), (103, 121))
    )
    whole = brain + 0.03 * noise < 1
    return {
        "whole brain, 3 mm apart": (whole, np.roll(brain + 0.03 * np.roll(noise, 4, 1) < 1, 3, 0)),
        "lesion, 3 mm apart": (lesion, other),
        "lesion at the wrong place": (lesion, np.roll(other, (-70, -80, -60), (0, 1, 2))),
        "lesion for a brain": (lesion, whole),
        "many blobs over the image": (noise > 1.5, np.roll(noise, 3, 2) > 1.4),
    }


def by_monai(a: np.ndarray, b: np.ndarray) -> float:
    one, other = (torch.from_numpy(m)[None, None] for m in (a, b))
    return float(
        compute_hausdorff_distance(
            one, other, include_background=True, percentile=95, spacing=SPACING
        )
    )


def surfaces(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    box = ndimage.find_objects((a | b).astype(np.uint8))[0]
    return [m[box] & ~ndimage.binary_erosion(m[box]) for m in (a, b)]


def by_transform(a: np.ndarray, b: np.ndarray) -> float:
    one, other = surfaces(a, b)
    ways = ((one, other), (other, one))
    return max(
        float(np.percentile(ndimage.distance_transform_edt(~to, SPACING)[at], 95))
        for at, to in ways
    )


def by_tree(a: np.ndarray, b: np.ndarray) -> float:
    one, other = (np.argwhere(m) * np.asarray(SPACING) for m in surfaces(a, b))
    return max(
        float(np.percentile(spatial.KDTree(to).query(at)[0], 95))
        for at, to in ((one, other), (other, one))
    )


def timed(function: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return the least of several times and the value."""
    seconds, value = [], 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    print(
        "| HD95 of two structures, 182 x 218 x 182 | HD95, mm | Veridical, ms | MONAI | scipy "
        "transform | scipy KD-tree |"
    )
    print("|---|---|---|---|---|---|")
    for name, (a, b) in cases().items():
        hausdorff95(a, b, SPACING)
        ours, value = timed(lambda a=a, b=b: hausdorff95(a, b, SPACING), repeats)
        ratios = []
        for other in (by_monai, by_transform, by_tree):
            seconds, theirs = timed(lambda a=a, b=b, other=other: other(a, b), repeats)
            if not np.isclose(theirs, value, rtol=1e-6):
                raise SystemExit(f"{name}: {other.__name__} gives {theirs}, we give {value}")
            ratios.append(f"{seconds / ours:.1f}x")
        print(f"| {name} | {value:.3f} | {1000 * ours:.1f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
