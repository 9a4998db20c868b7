"""Speed of a network's backbone in each installed runtime, beside torch.

OMP_NUM_THREADS=1 python benchmarks/runtime_speed.py [WEIGHTS] [--turns 15] [--size 192] [--batch 8]

All are timed in turn, so that a busy machine slows all alike; what counts is the median of the
ratios of each turn, of wall time and of processor time.
"""

from __future__ import annotations

import argparse
import importlib.util
import time

import numpy as np
import torch
from patients import table

from veridical import registry
from veridical.models import weights
from veridical.models.runtime import RUNTIMES, exported


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("weights", nargs="?", default="denoiser")
    for flag, usual in (("--turns", 15), ("--size", 192), ("--batch", 8)):
        words.add_argument(flag, type=int, default=usual)
    given = words.parse_args()
    kind = registry.get("model", weights.card(given.weights)["model"])
    core = weights.network(kind.name, kind.build, given.weights).eval().get_submodule("backbone")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(given.batch, core.inputs, given.size, given.size, generator=generator)
    condition = torch.randn(given.batch, core.conditions, generator=generator)
    there = [name for name in RUNTIMES[2:] if importlib.util.find_spec(name)]
    with torch.inference_mode():
        timed = {"torch": core, **{name: exported(core, name) for name in there}}
        spent = {name: np.zeros((given.turns, 2)) for name in timed}
        for turn in range(-2, given.turns):
            for name, run in timed.items():
                wall, used = time.perf_counter(), time.process_time()
                run(x, condition)
                if turn >= 0:
                    spent[name][turn] = time.perf_counter() - wall, time.process_time() - used
    print(
        f"{given.weights}, {given.batch} x {given.size} x {given.size}, {torch.get_num_threads()} "
        "threads\n"
    )
    rows = []
    for name, times in spent.items():
        wall, used = 1000 * np.median(times, 0)
        faster, cheaper = np.median(spent["torch"] / times, 0)
        rows.append([name, f"{wall:.0f}", f"{used:.0f}", f"{faster:.2f}", f"{cheaper:.2f}"])
    print(table(("runtime", "ms", "processor ms", "times faster", "by processor time"), rows))


if __name__ == "__main__":
    main()
