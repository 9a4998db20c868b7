"""Training: from a recipe to weights with their card.

A recipe is a TOML file (`workflow/recipe.py`). Every `checkpoint` steps, the net, its moving average and the optimizer's state
are written beside the log, and `curves.html` is drawn anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from veridical import registry
from veridical.datasets import pool
from veridical.datasets.slabs import MAY_SHIP
from veridical.errors import SettingError
from veridical.models import weights
from veridical.models.base import ImageModel, Trainable
from veridical.task import Progress, silent
from veridical.workflow.checkpoints import log_lines, write_tensors, write_text
from veridical.workflow.course import KNOWN
from veridical.workflow.ranks import together
from veridical.workflow.recipe import Recipe
from veridical.workflow.run import Run

LIMITS = (
    "Cartesian MR slices of heads, and a few of limbs; not for diagnosis. Other anatomy, contrasts, patterns and noise levels "
    "than those rehearsed are outside of what it knows, and the scope check does not find all of them."
)


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
        recipe: path of the TOML file, or the name of a shipped one (`fine-tune`).
        out: folder for checkpoints, log, curves and the final weights; made when missing.
        resume: go on from the last checkpoint in `out`; without one it starts anew.
        progress: called as work goes on.
        data: folder of images, of any known layout, that the recipe calls `data`.
        start: weights to start from, by name or path; then model and net are those of their card.
        steps: optimizer steps; those of the recipe when None.

    Returns:
        The path of the weights (`NAME.safetensors`, half precision, with its card `NAME.json` beside it).

    Raises:
        SettingError: the recipe is wrong, or its model has nothing to train.
        InputError: the data or the weights to start from are not there, or nothing in them fits.
    """
    plan = Recipe.read(recipe, data, start)
    if steps is not None:
        plan = replace(plan, training=replace(plan.training, steps=steps))
    model: type[Trainable | ImageModel] = registry.get("model", plan.model)
    if not issubclass(model, Trainable | ImageModel):
        raise SettingError(f"{plan.model} has nothing to train.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with together(plan.training.device) as ranks:
        run = Run(plan, model, folder, ranks)
        if resume:
            run.restore()
        run.loop(progress if ranks.first else silent)
        return finish(run)


def finish(run: Run) -> Path:
    """Write the averaged weights in half precision and the card; the first process alone does."""
    path = run.folder / f"{run.plan.name}.safetensors"
    if run.ranks.first:
        write_tensors(path, {key: value.half() for key, value in run.state.average.items()}, {})
        write_text(path.with_suffix(".json"), json.dumps(card(run), indent=2) + "\n")
    return path


def card(run: Run) -> dict[str, Any]:
    """Return the card: model and net, what they were trained on, from which weights, and whether they may be passed on."""
    plan = run.plan
    called = {name: name if name in KNOWN else Path(name).name for name in plan.data.sources}
    found: dict[str, Any] = {
        "model": plan.model,
        "net": dict(plan.net),
        "data": asdict(replace(plan.data, sources={called[name]: weight for name, weight in plan.data.sources.items()})),
        "patients": {called[name]: count for name, count in run.source.patients().items()},
        "validation_patients": {called[name]: count for name, count in run.unseen.patients().items()},
        "licences": {called[name]: pool.LICENCES.get(name, "not known to this package") for name in plan.data.sources},
    }
    barred = [called[name] for name in plan.data.sources if name not in MAY_SHIP]
    if plan.start:
        parent = weights.card(plan.start)
        found["from"] = {"weights": Path(plan.start).stem, "sha256": weights.fingerprint(plan.start)}
        barred += parent.get("barred_by", [])
    if run.teacher:
        steps = {"teacher_steps": plan.training.teacher, "student_steps": list(plan.training.students)}
        found["distilled"] = {**steps, "from": found["from"]["sha256"]}
    return found | {
        "may_ship": not barred,
        "barred_by": barred,
        "limits": getattr(run.model, "limits", LIMITS),
        "training": asdict(plan.training),
        "processes": run.ranks.size,
        "seconds": round(run.seconds),
        "validation": log_lines(run.folder)[-1],
    }
