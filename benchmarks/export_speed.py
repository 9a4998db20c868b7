"""Speed of the joint prior's U-Net in each runtime, beside torch, at 192x192 and batch 8.

All are timed in turn, so that a busy machine slows all alike; what counts is the median of the ratios of each turn, of wall
time and of processor time. Runtimes that are not installed, and quantized ones not made by `veridical export --quantize`,
are left out.

Usage: OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/export_speed.py [WEIGHTS] [--turns N] [--size N] [--batch N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from veridical.models import runtime, weights
from veridical.nets.unet_onnx import conditions_of
from veridical.training.export import prior

Run = Callable[[], torch.Tensor]


def runs(name: str, x: torch.Tensor, condition: torch.Tensor) -> dict[str, Run]:
    """Return what is timed: torch first."""
    _, net = prior(name)
    core = net.net
    frozen = torch.jit.freeze(torch.jit.trace(core, (x, condition)))
    cores = {"torch, eager": core, "torch, script frozen": frozen}
    for wanted in runtime.RUNTIMES[2:]:
        there = not wanted.endswith("-int8") or runtime.quantized_path(weights.fingerprint(name)).is_file()
        if there and runtime.installed(wanted.removesuffix("-int8")):
            cores[wanted] = runtime.exported(core, weights.fingerprint(name), wanted)
    return {label: lambda core=core: core(x, condition) for label, core in cores.items()}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("weights", nargs="?", default="brain-prior")
    words.add_argument("--turns", type=int, default=25)
    words.add_argument("--size", type=int, default=192)
    words.add_argument("--batch", type=int, default=8)
    given = words.parse_args()
    _, net = prior(given.weights)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(given.batch, net.net.enter.in_channels // 4, given.size, given.size, generator=generator)
    condition = torch.randn(given.batch, conditions_of(net.net), generator=generator)
    with torch.inference_mode():
        timed = runs(given.weights, x, condition)
        for run in timed.values():
            for _ in range(2):
                run()
        spent = {label: np.zeros((given.turns, 2)) for label in timed}
        for turn in range(given.turns):
            for label, run in timed.items():
                wall, used = time.perf_counter(), time.process_time()
                run()
                spent[label][turn] = time.perf_counter() - wall, time.process_time() - used
    first = next(iter(spent.values()))
    print(f"{Path(given.weights).stem}, {given.batch} x {given.size} x {given.size}, {torch.get_num_threads()} threads\n")
    print("| runtime | ms | processor ms | times faster | by processor time |\n|---|---|---|---|---|")
    for label, times in spent.items():
        wall, used = 1000 * np.median(times, 0)
        faster, cheaper = np.median(first / times, 0)
        print(f"| {label} | {wall:.0f} | {used:.0f} | {faster:.2f} | {cheaper:.2f} |")


if __name__ == "__main__":
    main()
