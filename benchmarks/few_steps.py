"""How few sampler steps do: FLAIR from T1w and T2w in 1, 2, 4 and 8 steps beside 50, on digital and on real patients.

The digital patients are of the second simulator, the real ones are the two of openms in MNI space; no training saw any.
For each solver, number of steps and time grid: PSNR of the mean of 8 draws and of one draw, KID of the draws, times a
thousand, and the spread of the draws over the error of their mean. KID has the floor that even real slices have against odd
ones. Prints one markdown table a set.

Usage: python benchmarks/few_steps.py [WEIGHTS] [--patients N] [--every N] [--runtime R] [--steps N ...] [--shifts S ...]
       [--sets openms simulator]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

import completion as shared
import numpy as np
import torch

from veridical.phantoms.cohort_b import CohortB
from veridical.training.patient_volumes import patient_volumes
from veridical.layouts.pool import data_root
from veridical.training.slabs import Volume, cohort_slab
from veridical.generative.flow import times
from veridical.generative.samplers import euler, heun
from veridical.models import weights
from veridical.models.brain_prior import BrainPrior
from veridical.models.joint_prior import SHIFT, denoiser, start
from veridical.models.known import Known
from veridical.evaluation.simulation_study import TEST_SEED

TARGET, MEASURED, DRAWS, MOST = "FLAIR", ("T1w", "T2w"), 8, 50
Sampler = tuple[str, int, float]
"""Solver, steps and shift of the time grid."""


def digital(count: int, prior: shared.Prior) -> list[shared.Part]:
    """Return a slice of each of some patients of the second simulator."""
    cohort, parts = CohortB(TEST_SEED), []
    for index in range(count):
        slab = cohort_slab(cohort, index, (*MEASURED, TARGET), 3.0)
        volume = Volume(slab.images, slab.names, slab.patient, slab.source, slab.field, slab.pixel)
        parts.append(shared.part(volume, np.zeros(slab.images.shape[1:]), [1], {TARGET: MEASURED}, prior, rim=0))
        parts[-1].known[TARGET].height.zero_()
    return parts


def real(every: int, prior: shared.Prior) -> list[shared.Part]:
    """Return every n-th slice of the two patients of openms."""
    folder = data_root() / "openms" / "cross_sectional_MNI"
    volumes = patient_volumes(folder, prior.channels, (), validation=False)
    return [
        shared.part(v, np.zeros(v.images.shape[1:]), v.usable()[::every], {TARGET: MEASURED}, prior, rim=0) for v in volumes
    ]


def slice_of(known: Known, z: int) -> Known:
    """Return one slice of a batch."""
    return replace(known, **{f.name: getattr(known, f.name)[z : z + 1] for f in fields(known)})


def drawn(net: torch.nn.Module, known: Known, seed: int, sampler: Sampler) -> torch.Tensor:
    """Return draws `(draw, channel, y, x)` of one slice; every sampler starts from the same noise."""
    solver, steps, shift = sampler
    many = known.repeat(DRAWS)
    noise = start(many, torch.randn(many.anchor.shape, generator=torch.Generator().manual_seed(seed)))
    solve: Callable[..., torch.Tensor] = {"euler": euler, "heun": heun}[solver]

    with torch.inference_mode():
        return many.anchor + many.over(many.level) * solve(denoiser(net, known, DRAWS), noise, times(steps, shift))


def row(model: BrainPrior, parts: Sequence[shared.Part], seen: np.ndarray, sampler: Sampler) -> list[float]:
    """Return the scores of a sampler over all slices and the processor seconds a slice took."""
    k, net, rows, scores, used = model.channels.index(TARGET), model.net(), [], [], 0.0
    for part in parts:
        for z, head in enumerate(part.head):
            known, begin = slice_of(part.known[TARGET], z), time.process_time()
            found = drawn(net, known, 1000 * len(scores) + z, sampler)[:, k].numpy()
            used += time.process_time() - begin
            truth = part.images[TARGET][z]
            error = [((image - truth)[head] ** 2).mean() for image in (found.mean(0), found[0])]
            spread = found[:, head].var(0, ddof=1).mean()
            scores.append([*(-10 * np.log10(error)), np.sqrt(spread * (1 + 1 / DRAWS) / error[0])])
            rows.append(shared.features(found, np.repeat(head[None], DRAWS, 0)))
    means = np.mean(scores, 0)
    return [means[0], means[1], shared.distance(rows, [seen]), means[2], used / len(scores)]


def samplers(steps: Sequence[int], shifts: Sequence[float]) -> Iterator[Sampler]:
    """Yield the reference, then few steps on several grids; Heun's take as many calls as Euler's of the same row."""
    yield "euler", MOST, 1.0
    for count in steps:
        for shift in shifts if count > 1 else shifts[:1]:
            yield "euler", count, shift
        if count >= 4:
            yield "heun", count // 2, SHIFT


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("weights", nargs="?", default="brain-prior")
    words.add_argument("--patients", type=int, default=24)
    words.add_argument("--every", type=int, default=8)
    words.add_argument("--runtime", default="auto")
    words.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    words.add_argument("--shifts", type=float, nargs="+", default=[0.3, 0.5, 1.0, 2.0])
    words.add_argument("--sets", choices=("openms", "simulator"), nargs="+", default=["openms", "simulator"])
    given = words.parse_args()
    settings = weights.card(given.weights)["net"]
    prior = shared.Prior(tuple(settings["channels"]), tuple(settings["prior_mean"]), tuple(settings["prior_std"]))
    model = BrainPrior(weights=given.weights, device="cpu", runtime=given.runtime)
    head = ["solver", "steps", "shift", f"PSNR of the mean of {DRAWS}, dB", "one draw, dB", "KID x 1000", "spread / error", "s"]
    for name in given.sets:
        parts = real(given.every, prior) if name == "openms" else digital(given.patients, prior)
        seen = np.concatenate([shared.features(part.images[TARGET], part.head) for part in parts])
        print(f"## {name}: {len(seen)} slices; KID of real against real {shared.distance([seen[::2]], [seen[1::2]]):.1f}\n")
        print(shared.table(head, []), end="", flush=True)
        for sampler in samplers(given.steps, given.shifts):
            numbers = row(model, parts, seen, sampler)
            cells = [*sampler, *(f"{value:.{places}f}" for value, places in zip(numbers, (2, 2, 1, 2, 2), strict=True))]
            print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
        print()


if __name__ == "__main__":
    main()
