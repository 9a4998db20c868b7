"""Go on with a training that was interrupted: find the first unfinished run and continue it in the
background.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical.errors import FormatError, SettingError, VeridicalError
from veridical.training.checkpoints import owner, step_of
from veridical.training.recipe import Recipe, find
from veridical.training.train import STARTED

LOG = "train.log"
NICE = 19
PATIENCE = 120.0
"""Seconds that a started training may take to claim its folder."""


@dataclass(frozen=True)
class Unfinished:
    """A run whose checkpoint lies before the recipe's last step."""

    folder: Path
    step: int
    steps: int
    given: Mapping[str, Any]

    def command(self) -> list[str]:
        """Return the command line that goes on with it."""
        words = [
            "train",
            str(self.given["recipe"]),
            "--out",
            str(self.folder),
            "--resume",
            "--quiet",
        ]
        for flag, key in (("--data", "data"), ("--from", "start"), ("--steps", "steps")):
            if self.given.get(key):
                words += [flag, str(self.given[key])]
        return ["nice", "-n", str(NICE), sys.executable, "-m", "veridical.apps.cli", *words]


def train_on(runs: str | Path = "runs") -> str:
    """Continue the first unfinished run in the background, at the lowest priority, unless one is
    going on already.

    Args: runs: folder of runs, each with what it was started with (`started.json`, which `train`
        writes), or called like a shipped recipe.

    Returns:
        What was done, in one sentence.

    Raises:
        FormatError: what a run was started with, or its checkpoint, cannot be read.
        SettingError: the training ended at once; its log says why.
    """
    folders = sorted(path for path in Path(runs).glob("*") if path.is_dir())
    busy = {folder: process for folder in folders if (process := owner(folder))}
    if busy:
        folder, process = next(iter(busy.items()))
        return (
            f"Process {process} trains in {folder} already; nothing was started. Its log: "
            f"{folder / LOG}"
        )
    run = next(unfinished(folders), None)
    if run is None:
        return f"No run in {runs} is unfinished; nothing was started."
    with (run.folder / LOG).open("a", encoding="utf-8") as log:
        child = subprocess.Popen(
            run.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not owner(run.folder):
        if child.poll() is not None:
            raise SettingError(
                f"The training in {run.folder} ended at once; {run.folder / LOG} says why."
            )
        time.sleep(0.2)
    return (
        f"Process {child.pid} trains in {run.folder} from step {run.step} of {run.steps} on, in "
        "the background at nice "
        f"{NICE}. Its log: {run.folder / LOG}; its curves: {run.folder / 'curves.html'}"
    )


def unfinished(folders: list[Path]) -> Iterator[Unfinished]:
    """Yield the runs among folders that have steps left."""
    for folder in folders:
        given = started(folder)
        if given is None:
            continue
        plan = Recipe.read(given["recipe"], given.get("data"), given.get("start") or "")
        steps, step = int(given.get("steps") or plan.training.steps), step_of(folder)
        if step < steps:
            yield Unfinished(folder, step, steps, given)


def started(folder: Path) -> dict[str, Any] | None:
    """Return what a run was started with; the recipe of the folder's name where nothing is written;
    None: no run.
    """
    path = folder / STARTED
    if path.is_file():
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found if found["recipe"] else None
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{path} cannot be read ({error}). Remove it and train with --resume once by hand."
            ) from error
    try:
        find(folder.name)
    except VeridicalError:
        return None
    return {"recipe": folder.name}
