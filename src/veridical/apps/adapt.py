"""Adapt trained weights to a folder of your own patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from veridical.apps import show

Switch = Annotated[bool, Parameter(negative=())]


def adapt(
    data: Path,
    /,
    *,
    weights: str = "brain",
    out: Path | None = None,
    how: str = "lora",
    rank: int = 8,
    steps: int = 0,
    held_out: int = 0,
    resume: Switch = False,
    quiet: Switch = False,
) -> None:
    """Adapt shipped weights to a handful of your own patients in minutes, and say what that gained.

    Writes plain weights and their card: give them to any task with --weights. Weights that are not
    better on the patients that were held out are refused.

    Args:
        data: folder of two patients or more (BIDS, BraTS, DICOM, plain NIfTI, ...).
        weights: that are adapted: brain, body, denoiser, or the path of a .safetensors file.
        out: folder for recipe, log, curves and weights; runs/WEIGHTS-adapted when not given.
        how: lora (low-rank changes of all layers), head (the last layer and biases), or all
            (every weight, for twenty patients or more).
        rank: of lora.
        steps: most optimizer steps; those of the recipe when not given.
        held_out: patients that validate and are not learned from; a fifth when not given.
        resume: go on from the last checkpoint.
        quiet: draw no progress bar.
    """
    from veridical.training.adapt import Adaptation, gain
    from veridical.training.adapt import adapt as fit

    folder = out or Path("runs") / f"{Path(weights).stem}-adapted"
    with show.progress(quiet) as progress:
        made = fit(data, weights, folder, Adaptation(how, rank, steps, held_out), resume, progress)
    print(f"{made}\n{gain(made)}\nIts intervals: veridical calibrate {made} --data OTHER_PATIENTS")
