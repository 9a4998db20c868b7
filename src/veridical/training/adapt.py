"""Adapt trained weights to a handful of patients: a recipe of its own beside the run, training with
an early stop, and a verdict on patients that were held out.

What is written is plain weights that every task takes. Weights that are not better than those they
come from, on the patients that were held out, are not written.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical import registry
from veridical.errors import InputError, SettingError, nearest
from veridical.io.guards import write_text
from veridical.layouts.discovery import studies
from veridical.models import weights
from veridical.nets.lora import WAYS
from veridical.task import Progress, explained, silent
from veridical.training.recipe import FOLDERS, find
from veridical.training.train import train

PREFIX = "adapt-"
"""Of the shipped recipes for adapting, followed by what the model learns."""
HELD_OUT = 0.2
"""Share of the patients that validate, at least one."""


@explained
@dataclass(frozen=True)
class Adaptation:
    """How weights are adapted; 0 and empty leave what the shipped recipe says."""

    how: str = ""
    """lora: low-rank changes of all layers (the usual one); head: the last layer and the biases,
    least likely to learn patients by heart; all: every weight, for twenty patients or more.
    """
    rank: int = 0
    """Of lora: more can learn more, and needs more patients."""
    steps: int = 0
    """Most optimizer steps; it stops earlier where validation is no longer better."""
    held_out: int = 0
    """Patients that validate and are not learned from: a fifth, at least one, when not given."""

    def __post_init__(self) -> None:
        if self.how not in ("", *WAYS):
            raise SettingError(f"how = {self.how!r} is not known. {nearest(self.how, WAYS)}")
        if min(self.rank, self.steps, self.held_out) < 0:
            raise SettingError(
                f"rank = {self.rank}, steps = {self.steps}, held_out = {self.held_out}; expected "
                "numbers above 0, or none."
            )


def adapt(
    data: str | Path,
    start: str,
    out: str | Path,
    adaptation: Adaptation | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Path:
    """Adapt weights to the patients of a folder.

    Args:
        data: folder of any known layout, two patients or more.
        start: weights to start from, a shipped name or a path.
        out: folder for recipe, checkpoints, log, curves and weights.
        adaptation: how; the shipped recipe's way when None.
        resume: go on from the last checkpoint in `out`, by the recipe that lies there.
        progress: called as work goes on.

    Returns: The path of the weights, `NAME-adapted.safetensors`; their card says under `adaptation`
        what was gained on held-out patients.

    Raises: InputError: a single patient, nothing that these weights could learn from, or the
        adapted weights are not better on the patients held out: then none are written.
        SettingError: models of that kind are not adapted to folders.
    """
    recipe = Path(out) / f"{Path(start).stem}-adapted.toml"
    if not (resume and recipe.is_file()):
        tables = _tables(start, adaptation or Adaptation(), _patients(data))
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_text(recipe, toml(tables))
    return train(recipe, out, resume, progress, data=data, start=start)


def gain(path: Path) -> str:
    """Return in one sentence what adapted weights gained on the patients that were held out.

    Args:
        path: of the weights; their card lies beside them.
    """
    found = weights.card(str(path))["adaptation"]
    low, high = found["interval"]
    sure = "" if low > 0 else " That may be chance: the interval holds 0."
    return (
        f"{found['before']:.2f} dB -> {found['after']:.2f} dB on {found['patients']} held-out "
        f"patient{'s' if found['patients'] != 1 else ''} ({found['gain']:+.2f} dB, {low:+.2f} to "
        f"{high:+.2f} over {found['items']} batches), after {found['step']} steps of "
        f"{found['way']}, {found['learned']:.1%} of the weights.{sure}"
    )


def _patients(data: str | Path) -> int:
    """Return how many patients a folder has.

    Raises:
        InputError: fewer than two.
    """
    count = len({study.id for study in studies(data)})
    if count < 2:
        raise InputError(
            f"{data} holds {count} patient{'s' if count != 1 else ''}; expected two or more: one "
            "of them is held out, and tells whether the others taught anything."
        )
    return count


def _tables(start: str, adaptation: Adaptation, patients: int) -> dict[str, Any]:
    """Return the recipe for some weights: the shipped one, changed by what was asked for."""
    model = registry.get("model", weights.card(start)["model"])
    shipped = sorted(path.stem for folder in FOLDERS for path in folder.glob(f"{PREFIX}*.toml"))
    name = f"{PREFIX}{model.learns}"
    if name not in shipped:
        kinds = ", ".join(dict.fromkeys(one.removeprefix(PREFIX) for one in shipped))
        raise SettingError(
            f"{start!r} are weights of {model.name}, which learns {model.learns or 'nothing'} from "
            f"named sets and not from folders. Weights that are adapted learn: {kinds}."
        )
    tables = tomllib.loads(find(name).read_text(encoding="utf-8"))
    tables["model"]["from"] = start
    held_out = adaptation.held_out or max(1, round(HELD_OUT * patients))
    if held_out >= patients:
        raise SettingError(
            f"held_out = {held_out} of {patients} patients leaves nobody to learn from."
        )
    tables["data"]["validate_on"] = held_out
    asked = {"adapt": adaptation.how, "rank": adaptation.rank, "steps": adaptation.steps}
    tables["training"] |= {key: value for key, value in asked.items() if value}
    return tables


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of texts, numbers, lists and flat mappings as TOML."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)
