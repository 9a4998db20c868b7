"""Results made again from changed input, for audits that ask what a result depends on: by the same
task and settings, from one posterior sample, by a classical method, and with random weights.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from veridical import registry
from veridical.audit.audited_study import Again
from veridical.models import weights
from veridical.task import Task, silent
from veridical.types import Result
from veridical.workflow import rerun

CLASSICAL = {
    "reconstruct": "classical",
    "enhance": "classical",
    "complete": "intensity-map",
    "translate": "intensity-map",
}
"""Task -> its classical method, a value of the setting `model`."""
SEED = 0
"""Of the random weights."""


def made_again(made: Result) -> dict[str, Again | None]:
    """Return `again`, `alone`, `classical` and `random` of an `AuditedStudy`; nothing where the
    result took several steps or no known task.
    """
    if len(made.steps) != 1 or made.steps[0].task not in registry.entries("task"):
        return {}
    step = made.steps[0]
    task: Task = registry.get("task", step.task).from_settings(rerun.plain(step.settings))
    alone = _changed(task, draws=1)
    method = CLASSICAL.get(step.task)
    return {
        "again": _by(lambda: task),
        "alone": _by(lambda: alone),
        "classical": _by(lambda: _changed(alone, model=method)) if method else None,
        "random": None if step.weights == "none" else _by(lambda: _untrained(alone, step.weights)),
    }


def _by(task: Callable[[], Task]) -> Again:
    return lambda study, seed: task().apply(study, seed, silent)


def _changed(task: Task, **settings: Any) -> Task:
    """Return a task with those of the settings that it has."""
    known = {field.name for field in fields(task)}
    return replace(task, **{name: value for name, value in settings.items() if name in known})


def _untrained(task: Task, fingerprint: str) -> Task:
    """Return a task with random weights: every tensor keeps its numbers, in random order."""
    given = getattr(task, "weights", "")
    shipped = sorted(weights.FOLDER.glob("*.safetensors"))
    name = given or next(p.stem for p in shipped if weights.fingerprint(p.stem) == fingerprint)
    return _changed(task, weights=str(_shuffled(name)))


_folders: dict[str, tempfile.TemporaryDirectory[str]] = {}


def _shuffled(name: str) -> Path:
    """Write the weights of a name or path in random order, with their card, and return the path."""
    from safetensors.torch import save_file

    if name not in _folders:
        _folders[name] = tempfile.TemporaryDirectory(prefix="veridical-random-")
        path, generator = Path(_folders[name].name) / "random.safetensors", torch.Generator()
        generator.manual_seed(SEED)
        mixed = {
            key: tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].reshape(
                tensor.shape
            )
            for key, tensor in weights.load(name).items()
        }
        save_file({key: tensor.contiguous() for key, tensor in mixed.items()}, path)
        path.with_suffix(".json").write_text(json.dumps(weights.card(name)), encoding="utf-8")
    return Path(_folders[name].name) / "random.safetensors"
