"""A twin of a patient with a glioma: demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from veridical.apps import show

Switch = Annotated[bool, Parameter(negative=())]
app = App(
    name="twin",
    help=(
        "The twin of a patient with a glioma: told scan by scan, it forecasts with intervals, "
        "chooses among treatments, and says when model and patient have parted. On simulated "
        "patients it is an in-silico twin testbed."
    ),
    group_commands=Group("Twin"),
)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("twin"),
    mismatch: Literal["none", "mass effect", "two clones", "delay"] = "none",
    members: int = 64,
    seed: int = 0,
    quiet: Switch = False,
) -> None:
    """Let a twin meet a simulated patient, and write one HTML page: scans, belief, forecast,
    decision, outcome.

    Args:
        out: folder for the page.
        mismatch: what the patient has that the model does not know.
        members: of the ensemble.
        seed: of the ensemble.
        quiet: draw no progress bar.
    """
    from veridical.workflow.twin_demo import twin_demo

    with show.progress(quiet) as progress:
        print(twin_demo(out, mismatch, members, seed, progress))
