"""The commands around the tasks: list, rerun, demo, train, version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import veridical
from veridical import registry
from veridical.doors import show
from veridical.errors import SettingError, nearest

Switch = Annotated[bool, Parameter(negative=())]


def list_(kind: str | None = None, /, *, json: Switch = False) -> None:
    """Show what is there: tasks, models, metrics, audits, operators, readers, data sets.

    Args:
        kind: one kind only: task, model, metric, audit, operator, reader or dataset.
        json: print one JSON object, kind -> name -> what it is.
    """
    if kind is not None and kind not in registry.FOLDERS:
        raise SettingError(f"There is no kind {kind!r}. {nearest(kind, registry.FOLDERS)}")
    kinds = list(registry.FOLDERS) if kind is None else [kind]
    show.listing({name: {e.name: e.summary for e in registry.entries(name).values()} for name in kinds}, as_json=json)


def rerun(provenance: Path, /, *, quiet: Switch = False) -> None:
    """Repeat a stored result from its provenance.json and compare it byte for byte.

    Args:
        provenance: the provenance.json of the result.
        quiet: draw no progress bar.
    """
    from veridical.workflow.rerun import rerun as repeat

    with show.progress(quiet) as progress:
        repeated = repeat(provenance, progress)
    print(f"same bytes: {', '.join(repeated.steps[-1].outputs)}")


def train(recipe: Path, /, *, out: Path | None = None, resume: Switch = False, quiet: Switch = False) -> None:
    """Train a model by a recipe and write its weights and card.

    Args:
        recipe: TOML file with the tables [model], [data] and [training].
        out: folder for checkpoints, log and weights; runs/NAME_OF_THE_RECIPE when not given.
        resume: go on from the last checkpoint in that folder.
        quiet: draw no progress bar.
    """
    from veridical.workflow.train import train as fit

    with show.progress(quiet) as progress:
        print(fit(recipe, out or Path("runs") / recipe.stem, resume, progress))


def demo(*, out: Path = Path("demo"), quiet: Switch = False) -> None:
    """Scan a digital patient at 4x, reconstruct it four ways, compare with the truth, and write one HTML report.

    Args:
        out: folder for the scan, the results and the report.
        quiet: draw no progress bar.
    """
    from veridical.workflow.demo import demo as walk

    with show.progress(quiet) as progress:
        print(walk(out, progress))


def version() -> None:
    """Print the version."""
    print(veridical.__version__)


ALL = (list_, rerun, demo, train, version)
