"""Time one 8-coil slice, coil maps included on both sides, in one run: ours against BART; and where our time goes.

python benchmarks/speed.py SCAN.npy [runs]      (coil, y, x), complex
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from veridical.tasks.reconstruct import Reconstruct
from veridical.workflow import peers
from veridical.workflow.bench import measurement


def timed(call: Callable[[], Any], runs: int) -> tuple[float, float, float]:
    call()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), min(seconds), max(seconds)


def main() -> None:
    kspace = np.load(sys.argv[1])
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    subject = measurement(kspace, np.abs(kspace).sum(0) > 0)

    def solve(task: Reconstruct) -> Callable[[], Any]:
        return lambda: task.build().solve(next(task.scans(subject)), task.draws, 0, "other")

    calls: dict[str, Callable[[], Any]] = {
        "BART ecalib + L1-wavelet, 60 iterations, one set": lambda: peers.bart(kspace, 1, "W:3:0", (0.002,)),
        "BART ecalib + L1-wavelet, 60 iterations, two sets": lambda: peers.bart(kspace, 2, "W:3:0", (0.002,)),
        "maps, noise, start (all of ours do this)": lambda: next(Reconstruct().scans(subject)),
        "wavelet": solve(Reconstruct(model="wavelet")),
        "unrolled, one set": solve(Reconstruct(model="unrolled", sets=1)),
        "unrolled, two sets": solve(Reconstruct(model="unrolled")),
        "brain-prior, 8 draws x 8 steps": solve(Reconstruct()),
        "brain-prior with all companions": lambda: Reconstruct()(subject),
    }
    print(f"matrix {kspace.shape}, {torch.get_num_threads()} threads, {runs} runs: median (min to max) seconds\n")
    print("| what | seconds | BART, one set / this |\n|---|---|---|")
    reference = 0.0
    for name, call in calls.items():
        median, least, most = timed(call, runs)
        reference = reference or median
        print(f"| {name} | {median:.3f} ({least:.3f} to {most:.3f}) | {reference / median:.2f} |")
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as record:
        solve(Reconstruct(model="unrolled"))()
    averages = record.key_averages()
    print("\nWhere the time of `unrolled` goes:\n")
    print(averages.table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40))
    flops = sum(event.flops for event in averages)
    matrix = torch.randn(1024, 1024)
    best = timed(lambda: matrix @ matrix, 20)[1]
    peak = 2 * 1024**3 / best
    print(f"counted operations {flops / 1e9:.2f} G, measured peak {peak / 1e9:.0f} G/s: floor {flops / peak:.3f} s")


if __name__ == "__main__":
    main()
