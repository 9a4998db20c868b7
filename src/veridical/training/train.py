"""Training: from a recipe to weights with their card.

A recipe is a TOML file (`training/recipe.py`). Every `checkpoint` steps, the net, its moving
average and the optimizer's state are written beside the log, and `curves.html` is drawn anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from veridical import registry
from veridical.io.guards import write_text
from veridical.models import weights
from veridical.models.model_card import FORMAT
from veridical.task import Progress, silent
from veridical.training import stopping
from veridical.training.card_scores import UNCALIBRATED, scores, words
from veridical.training.checkpoints import claimed, log_lines, write_tensors
from veridical.training.distributed import together
from veridical.training.gain import gained
from veridical.training.loop import Run
from veridical.training.recipe import Recipe

T = TypeVar("T")
STARTED = "started.json"
"""What a run was started with, beside its checkpoint."""


def train(
    recipe: str | Path,
    out: str | Path,
    resume: bool = False,
    progress: Progress = silent,
    *,
    data: str | Path | None = None,
    start: str = "",
    steps: int | None = None,
) -> Path:
    """Train a model by a recipe; under `torchrun` by all its processes together.

    Args:
        recipe: path of the TOML file, or the name of a shipped one (`brain`).
        out: folder for checkpoints, log, curves and the final weights; made when missing.
        resume: go on from the last checkpoint in `out`; without one it starts anew.
        progress: called as work goes on.
        data: folder of images, of any known layout, that the recipe calls `data`.
        start: weights to start from, by name or path; then model and net are those of their card.
        steps: optimizer steps; those of the recipe when None.

    Returns: The path of the weights (`NAME.safetensors`, half precision, with its card `NAME.json`
        beside it).

    Raises: SettingError: the recipe is wrong, or its model has nothing to train. InputError: the
        data or the weights to start from are not there, nothing in them fits, another process
        trains in `out`, or weights that may stop early are not better than those they come from.
    """
    plan = Recipe.read(recipe, data, start)
    if steps is not None:
        plan = replace(plan, training=replace(plan.training, steps=steps))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with together(plan.training.device) as ranks, claimed(folder, ranks.first):
        if ranks.first:
            _note(folder, recipe, data, start, steps)
        run = Run(plan, registry.get("model", plan.model), folder, ranks)
        if resume:
            run.restore()
        run.loop(progress if ranks.first else silent)
        return finish(run)


def _note(
    folder: Path, recipe: str | Path, data: str | Path | None, start: str, steps: int | None
) -> None:
    """Write what a run was started with, so that `train-on` can go on with it from the same working
    directory.
    """
    given = {
        "recipe": str(recipe),
        "data": None if data is None else str(data),
        "start": start,
        "steps": steps,
    }
    write_text(folder / STARTED, json.dumps(given, indent=2) + "\n")


def finish(run: Run) -> Path:
    """Write the weights in half precision and the card; the first process alone does."""
    path = run.folder / f"{run.plan.name}.safetensors"
    if run.ranks.first:
        text = json.dumps(card(run), indent=2) + "\n"
        write_tensors(path, {key: value.half() for key, value in run.kept().items()}, {})
        write_text(path.with_suffix(".json"), text)
    return path


def card(run: Run) -> dict[str, Any]:
    """Return the card: model and net, what they were trained on, from which weights, and whether
    they may be passed on.

    Folders are called by their last name.

    Raises:
        InputError: the weights are not better than those that they come from.
    """
    plan = run.plan
    adapted = gained(run) if plan.start and plan.training.patience else {}
    lines = log_lines(run.folder)
    found: dict[str, Any] = {
        "format": FORMAT,
        "model": plan.model,
        "net": dict(plan.net),
        "data": asdict(plan.data) | {"sources": _called(plan.data.sources)},
        "patients": _called(run.source.patients()),
        "validation_patients": _called(run.unseen.patients()),
        "licences": _called(run.source.licences()),
        "patches": run.step * plan.training.accumulate * run.ranks.size * plan.data.batch,
    }
    barred = [Path(name).name for name in run.source.barred()]
    parent = weights.card(plan.start) if plan.start else {}
    if parent:
        found["from"] = {
            "weights": Path(plan.start).stem,
            "sha256": weights.fingerprint(plan.start),
        }
        found["from"] |= {"patches": parent["patches"]} if "patches" in parent else {}
        barred += parent.get("barred_by", [])
    return (
        found
        | run.facts
        | {
            "may_ship": not barred,
            "barred_by": barred,
            **words(plan, parent),
            "uncalibrated": UNCALIBRATED,
            **_judged(run),
            "training": asdict(plan.training),
            "processes": run.ranks.size,
            "seconds": round(run.seconds),
            "validation": lines[stopping.best(lines) if plan.training.patience else -1],
            **adapted,
        }
    )


def _judged(run: Run) -> dict[str, Any]:
    """Return what the weights score on held-out items, and what else is found out on them."""
    net = run.model.build(run.plan.net).to(run.ranks.device)
    net.load_state_dict(run.kept())
    found = scores(net, run.unseen, run.plan.training.validate, run.ranks.device)
    closing = run.unseen.closing(net.eval(), run.ranks.device)
    return {"scores": [asdict(score) for score in found], **closing}


def _called(values: Mapping[str, T]) -> dict[str, T]:
    return {Path(name).name: value for name, value in values.items()}
