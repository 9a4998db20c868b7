"""Do the companions tell a good scan from a bad one? Nine masks on a real, fully sampled 8-coil
scan.

python benchmarks/trust.py [--weights PATH] [--seed 0]

For each mask: error in the head against the complete (noisy) scan, as a share of the head's largest
value; the same without the noise of the reference; the error that withheld samples announce; share
of the head inside the 90 % interval; mean evidence; rank correlation of interval width and error;
verdicts. Then the rank correlation over masks of announced and true error, and of one minus
evidence and true error. An interval that was withheld is written as a dash.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from scipy import stats

from veridical.evaluation.bench import head_mask, measurement, rss
from veridical.physics import masks
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))


def nine_masks(shape: tuple[int, int], acquired: slice, seed: int) -> dict[str, Array]:
    """Return the masks `(ky, kx)` by name."""
    rng, columns, centre = (
        np.random.default_rng(seed),
        np.arange(acquired.start, acquired.stop),
        shape[1] // 2,
    )

    def lines(chosen: Array, width: int) -> Array:
        kept = np.zeros(shape[1], bool)
        kept[chosen] = True
        kept[centre - width // 2 : centre + width // 2] = True
        return np.broadcast_to(kept, shape).copy()

    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot((y - shape[0] // 2) / (shape[0] / 2), (x - centre) / (len(columns) / 2))
    dense = rng.random(shape) < np.clip(0.9 * np.exp(-((radius / 0.35) ** 2)) + 0.08, 0, 1)
    dense[shape[0] // 2 - 12 : shape[0] // 2 + 12, centre - 12 : centre + 12] = True
    inside = np.zeros(shape[1], bool)
    inside[acquired] = True
    return {
        "uniform 3x": masks.uniform(shape, 3, 24, seed, acquired),
        "uniform 4x": masks.uniform(shape, 4, 24, seed, acquired),
        "every 8th + 16": lines(columns[seed % 8 :: 8], 16),
        "random 1D 4x": lines(rng.choice(columns, len(columns) // 4, replace=False), 24),
        "variable density 4x": masks.variable_density(shape, 4, 24, seed, acquired=acquired),
        "variable density 8x": masks.variable_density(shape, 8, 24, seed, acquired=acquired),
        "one-sided 55 %": lines(columns[: int(0.55 * len(columns))], 2),
        "2D variable density": dense & inside,
        "partial Fourier 2x": lines(columns[: int(0.625 * len(columns)) : 2], 24),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default=os.environ.get("VERIDICAL_WEIGHTS", ""))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kspace = np.load(DATA / "kspace_brain_8ch/kspace.npy")
    filled = np.flatnonzero(np.abs(kspace).sum((0, 1)) > 0)
    acquired = slice(int(filled[0]), int(filled[-1]) + 1)
    reference = rss(kspace)
    head = head_mask(reference)
    peak = float(reference[head].max())
    noise = float(np.abs(kspace[:, :8, acquired].real).std()) / peak
    print(
        "| mask | sampled | error | without noise | announced | in band | evidence | rank | "
        "findings |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for name, mask in nine_masks(kspace.shape[1:], acquired, given.seed).items():
        rows.append(row(name, kspace, mask, (reference, head, peak, noise), given.weights))
    true, announced, evidence = (np.array([r[k] for r in rows]) for k in range(3))
    known = np.isfinite(evidence)
    print(
        "\nrank correlation over masks, announced and true error: "
        f"{stats.spearmanr(announced, true).statistic:.2f}"
    )
    both = stats.spearmanr(1 - evidence[known], true[known]).statistic
    print(
        f"rank correlation over masks, 1 - evidence and true error, {known.sum()} masks with "
        f"evidence: {both:.2f}"
    )


def row(
    name: str, kspace: Array, mask: Array, truth: tuple[Array, Array, float, float], weights: str
) -> tuple[float, float, float]:
    """Print one line; returns true and announced error and mean evidence (NaN where it was
    withheld).
    """
    reference, head, peak, noise = truth
    found = Reconstruct(weights=weights)(measurement(kspace * mask, mask), seed=0)
    image = found.image.data[0, :, :, 0].T
    error = np.abs(image - reference)
    size = float(np.sqrt((error[head] ** 2).mean())) / peak
    verdicts = {finding.check: finding for finding in found.findings}
    announced = float(verdicts["sampling"].evidence["expected_error"])
    inside = rank = "-"
    if found.interval is not None:
        lower, upper = (getattr(found.interval, side)[0, :, :, 0].T for side in ("lower", "upper"))
        inside = f"{((lower <= reference) & (reference <= upper))[head].mean():.0%}"
        rank = f"{stats.spearmanr((upper - lower)[head], error[head]).statistic:.2f}"
    mean = np.nan
    if found.evidence is not None and found.evidence.map is not None:
        mean = float(found.evidence.map[0, :, :, 0].T[head].mean())
    words = (
        ", ".join(
            f"{check} {f.verdict}"
            for check, f in verdicts.items()
            if f.verdict not in ("pass", "not_run")
        )
        or "pass"
    )
    quiet = float(np.sqrt(max(size**2 - noise**2, 0)))
    shown = "-" if np.isnan(mean) else f"{mean:.2f}"
    print(
        f"| {name} | {mask.mean():.0%} | {size:.4f} | {quiet:.4f} | {announced:.4f} | {inside} | "
        f"{shown} | {rank} | {words} |",
        flush=True,
    )
    return size, announced, mean


if __name__ == "__main__":
    main()
