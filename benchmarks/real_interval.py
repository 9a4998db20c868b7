"""Interval, evidence and findings on a real, complete scan: how much of the head lies inside the band.

python benchmarks/real_interval.py SCAN.npy      (coil, y, x), complex, complete over its columns
"""

from __future__ import annotations

import sys

import numpy as np

from veridical.metrics.coverage import coverage
from veridical.metrics.rank_correlation import rank_correlation
from veridical.physics import masks
from veridical.tasks.reconstruct import Reconstruct
from veridical.workflow import bench


def main() -> None:
    kspace = np.load(sys.argv[1])
    columns = np.flatnonzero(np.abs(kspace).sum((0, 1)) > 0)
    acquired = slice(int(columns[0]), int(columns[-1]) + 1)
    reference = bench.rss(kspace)
    head = bench.head_mask(reference).T[..., None]
    truth = reference.T[None, :, :, None]
    print("| pattern | coverage of the 90 % interval | rank correlation | mean evidence | findings |\n|---|---|---|---|---|")
    for factor in (3, 4):
        mask = masks.uniform(kspace.shape[1:], factor, bench.CENTRE, 0, acquired)
        found = Reconstruct()(bench.measurement(kspace * mask, mask, "T1c"))
        inside = coverage(found.interval, truth, mask=head)
        rank = rank_correlation(found.image.data, truth, interval=found.interval, mask=head)
        verdicts = ", ".join(f"{f.check} {f.verdict}" for f in found.findings)
        print(f"| uniform {factor}x | {inside:.3f} | {rank:.3f} | {found.evidence.map[0][head].mean():.3f} | {verdicts} |")


if __name__ == "__main__":
    main()
