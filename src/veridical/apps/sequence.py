"""The command of a task that follows a sequence: `veridical TASK REFERENCE MEASUREMENTS OUTPUT`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from veridical.apps import show
from veridical.errors import InputError
from veridical.task import explained
from veridical.terms import ENVIRONMENT, Terms

if TYPE_CHECKING:
    from veridical.task import Task

SETTINGS = Group("Settings", sort_key=1)
RUNNING = Group("Running", sort_key=3)
TERMS = Group("Terms: what may be written, and where it is noted", sort_key=4)
MEASURED = (
    "Archive (.npz) with times, reference_times (s) and one of: kspace with trajectory (and maps); "
    "projections with angles (degrees); surrogate with reference_surrogate."
)


@explained
@dataclasses.dataclass(frozen=True)
class Following:
    """How to read the reference, and how to run."""

    units: str | None = None
    """Units of the reference: HU for CT, a.u. for MR."""
    name: str | None = None
    """Start of the names of the output files; that of REFERENCE when not given."""
    seed: int = 0
    """Seed of everything random: same seed, same bytes."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""
    overwrite: bool = False
    """Replace an earlier result in OUTPUT."""
    quiet: bool = False
    """Draw no progress bar."""


def command(task: type[Task]) -> Callable[..., None]:
    """Return the function from which the command line makes the task's flags and help."""

    def run(
        reference: Path, measurements: Path, output: Path, /, *,
        settings: Any, following: Any = Following(), terms: Any = ENVIRONMENT,
    ) -> None:  # fmt: skip
        execute(settings, (reference, measurements), output, following, terms)

    run.__kwdefaults__ = {**(run.__kwdefaults__ or {}), "settings": task()}
    run.__doc__ = " ".join((task.__doc__ or "").partition("\n\nArgs:")[0].split())
    helped = {
        "reference": "Image file of the reference sequence; its channels are the frames.",
        "measurements": MEASURED,
        "output": "Folder for the result; made when missing.",
    }
    run.__annotations__ = {
        **{
            name: Annotated[Path, Parameter(name=name.upper(), help=said)]
            for name, said in helped.items()
        },
        "settings": Annotated[task, Parameter(name="*", negative_iterable=(), group=SETTINGS)],
        "following": Annotated[Following, Parameter(name="*", negative=(), group=RUNNING)],
        "terms": Annotated[Terms, Parameter(name="*", group=TERMS)],
        "return": None,
    }
    return run


def execute(
    task: Task, files: tuple[Path, Path], output: Path, following: Following, terms: Terms
) -> None:
    """Read, run, save, and say what came of it.

    Raises:
        InputError: OUTPUT holds a result, or a file cannot be read.
    """
    from veridical.apps.run import case
    from veridical.io import bids
    from veridical.io.cine import read_sequence

    if (output / bids.PROVENANCE).exists() and not following.overwrite:
        raise InputError(f"{output} already holds a result. Give another folder, or --overwrite.")
    with show.only_result(following.json), show.progress(following.quiet) as progress:
        study = read_sequence(*files, units=following.units)
        derived = task(study, following.seed, progress)
        name = following.name or case(files[0])
        written = derived.save(output, name, overwrite=following.overwrite, terms=terms)
    show.result(derived, written, as_json=following.json)
