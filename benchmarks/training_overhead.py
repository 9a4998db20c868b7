"""What the training loop costs beside a bare one: same net, same batches, forward, loss, backward
and step of Adam.

python benchmarks/training_overhead.py [steps]

Processor time of this process a step, which other work on the machine does not change: of the bare
loop and of the loop's own step (gradient clipping, moving average) on batches that are ready, and
of the whole loop, which takes them from a process that prepares them beside it. That process costs
no time as long as it needs less for an item than a step takes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from veridical.models.generator import Generator
from veridical.task import silent
from veridical.training.distributed import Ranks
from veridical.training.generation_data import Batch, GenerationCourse
from veridical.training.loop import Run
from veridical.training.recipe import Recipe

ROUNDS = 3


def bare(course: GenerationCourse, net: torch.nn.Module, batches: list[Batch]) -> None:
    """Train as briefly as it can be written."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        loss = course.parts.family.loss(
            net, batch.given, batch.truth, torch.Generator().manual_seed(number)
        )
        torch.autograd.backward(loss)
        optimizer.step()


def stepwise(run: Run, batches: list[Batch]) -> None:
    """Train by the loop's own step on batches that are ready."""
    for number, batch in enumerate(batches):
        run.update([(number, batch)])
        run.step += 1


def whole(run: Run) -> None:
    """Train by the loop; without validation and checkpoints, which a bare loop has not either."""
    run.log = lambda loss: None  # type: ignore[method-assign]
    object.__setattr__(run.state, "save", lambda folder, step, seconds: None)
    run.loop(silent)


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    recipe = Recipe.read("brain")
    data = replace(recipe.data, sources={"phantoms": 1.0}, held_out=())
    training = replace(
        recipe.training, steps=count, checkpoint=10**6, validate=1, workers=1, device="cpu"
    )
    plan = replace(recipe, data=data, training=training, start="")
    with tempfile.TemporaryDirectory() as folder:

        def fresh() -> Run:
            return Run(plan, Generator, Path(folder), Ranks(0, 1, torch.device("cpu")))

        source = fresh().source
        source[count]  # fills what is kept for later items
        since = time.process_time()
        batches = [source[number] for number in range(count)]
        prepared = (time.process_time() - since) / count
        ways: dict[str, Callable[[Run], None]] = {
            "bare loop": lambda run: bare(source, run.net, batches),
            "our step": lambda run: stepwise(run, batches),
            "our loop": whole,
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                run, since = fresh(), time.process_time()
                way(run)
                taken[name].append((time.process_time() - since) / count)
    first = statistics.median(taken["bare loop"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:<12} {1000 * middle:7.1f} ms a step   {middle / first:5.2f} x bare")
    print(
        f"an item      {1000 * prepared:7.1f} ms in the process that prepares it   "
        f"{prepared / first:5.2f} x bare"
    )


if __name__ == "__main__":
    main()
