"""The command of a task that takes nothing and makes patients: `veridical TASK OUTPUT [--n 10]`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from veridical.apps import show
from veridical.errors import InputError, PolicyError, SettingError
from veridical.task import Task, explained
from veridical.terms import ENVIRONMENT, Terms
from veridical.types import Image

if TYPE_CHECKING:
    from veridical.workflow.synthetic_patients import Made

SETTINGS = Group("Settings", sort_key=1)
RUNNING = Group("Running", sort_key=3)
TERMS = Group("Terms: what may be written, and where it is noted", sort_key=4)
NUMBERED = "dseg.tsv"
"""Table of labels beside a label map that Veridical wrote, or at the top of its data set."""


@explained
@dataclasses.dataclass(frozen=True)
class Creating:
    """How many, from what, and what to print."""

    n: int = 1
    """Patients to make, from --number on. Those that are there and whole are kept."""
    mask: Path | None = None
    """Label map of a head to paint (NIfTI); without it the anatomy is imagined. Whose numbers it
    has says --numbering, or a dseg.tsv with it.
    """
    seed: int = 0
    """Seed of everything random: same seed, same bytes."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""
    overwrite: bool = False
    """Replace patients in OUTPUT that were made with other settings."""
    quiet: bool = False
    """Draw no progress bar."""


def command(task: type[Task]) -> Callable[..., None]:
    """Return the function from which the command line makes the task's flags and help."""

    def run(
        output: Path, /, *, settings: Any, creating: Any = Creating(), terms: Any = ENVIRONMENT
    ) -> None:
        execute(settings, output, creating, terms)

    run.__kwdefaults__ = {**(run.__kwdefaults__ or {}), "settings": task()}
    run.__doc__ = " ".join((task.__doc__ or "").partition("\n\nArgs:")[0].split())
    run.__annotations__ = {
        "output": Annotated[
            Path, Parameter(name="OUTPUT", help="Folder for the data set; made when missing.")
        ],
        "settings": Annotated[task, Parameter(name="*", negative_iterable=(), group=SETTINGS)],
        "creating": Annotated[Creating, Parameter(name="*", negative=(), group=RUNNING)],
        "terms": Annotated[Terms, Parameter(name="*", group=TERMS)],
        "return": None,
    }
    return run


def execute(task: Any, output: Path, creating: Creating, terms: Terms) -> None:
    """Make the patients and say what came of each.

    Raises:
        SettingError: fewer than one is asked for.
        InputError: the label map is no image, or some patients failed; all others are done.
        PolicyError: none failed, and the policy blocks some.
    """
    from veridical.io.files import read
    from veridical.workflow.synthetic_patients import synthetic_patients

    if creating.n < 1:
        raise SettingError(f"--n {creating.n}; expected 1 patient or more.")
    labels = None
    if creating.mask is not None:
        found = read(creating.mask, units="label", contrast="structures")
        if not isinstance(found, Image):
            raise InputError(f"{creating.mask} holds raw data; expected a label map (NIfTI).")
        labels = found
        if _ours(creating.mask):
            task = dataclasses.replace(task, numbering="veridical")
    with show.only_result(creating.json), show.progress(creating.quiet) as progress:
        made = synthetic_patients(
            task, output, creating.n, creating.seed, labels, progress, creating.overwrite, terms
        )
    _print(made, output, creating.json)
    failed = [one for one in made if one.status == "failed"]
    if failed:
        raise InputError(
            f"{len(failed)} of {len(made)} patients failed, for instance {failed[0].name}: "
            f"{failed[0].reason}"
        )
    blocked = [one for one in made if one.status == "blocked"]
    if blocked:
        raise PolicyError(
            f"{len(blocked)} of {len(made)} patients are blocked; for instance {blocked[0].name}: "
            f"{blocked[0].reason}"
        )


def _ours(mask: Path) -> bool:
    """Say whether a table of our labels lies with a label map: beside it, or up to two folders
    above.
    """
    from veridical.phantoms.head_labels import LABELS

    wanted = "".join(f"{number}\t{name}\n" for number, name in enumerate(LABELS))
    for folder in mask.resolve().parents[:3]:
        table = folder / NUMBERED
        if table.is_file():
            return wanted in table.read_text(encoding="utf-8", errors="replace")
    return False


def _print(made: Sequence[Made], output: Path, as_json: bool) -> None:
    table = str(output / "participants.tsv")
    if as_json:
        patients = [dataclasses.asdict(one) for one in made]
        found = {"patients": patients, "folder": str(output), "table": table}
        print(json.dumps(show.plain(found), indent=2, allow_nan=False))
        return
    for one in made:
        said = {key: value for key, value in one.about.items() if value is not None}
        words = one.reason or (
            f"{said.get('sex', '')} {said.get('age', '')} {said['pathology']}, lesions "
            f"{said['lesions_ml']:g} ml, site {said['site']} {said['field']:g} T, "
            f"{said['nearest_distance']:.3f} from {said['nearest_head']} "
            f"({said['memorization']})"
        )
        print(f"{one.status:<7} {one.name}: {' '.join(words.split())}")
    print(table)
