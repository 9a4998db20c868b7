"""The command that runs a league: families of generators side by side on equal terms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from veridical.apps import show
from veridical.errors import InputError, SettingError

Switch = Annotated[bool, Parameter(negative=())]


def league(
    protocol: str = "",
    /,
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    only: Annotated[tuple[str, ...], Parameter(negative_iterable=())] = (),
    budget: str = "",
    matrix: Switch = False,
    overwrite: Switch = False,
    json: Switch = False,
    quiet: Switch = False,
) -> None:
    """Train families of generators at equal budget, judge them on the same patients, and rank them.

    Every entry is trained within the same budget, makes images of held-out patients, and is judged
    at pixel, feature and task level. Tables (league.md, league.csv, league.json) and one page with
    pictures (league.html) say who is ahead and how sure that is. A league that was interrupted goes
    on where it was when it is called again; what is finished is kept.

    Args:
        protocol: TOML file, or a name: completion, synthesis, mr-to-ct, or a group of the matrix.
        out: folder; leagues/NAME_OF_THE_PROTOCOL when not given.
        only: run this entry alone; repeat the flag for several. The tables hold all that is done.
        budget: of every entry in place of the protocol's: seconds, or "500 steps".
        matrix: print which families of a review can be run for which group of methods, and end.
        overwrite: make anew what the folder holds of other settings.
        json: print the standings as one JSON object.
        quiet: draw no progress bar.
    """
    from veridical.workflow import league_matrix, league_reading

    if matrix:
        print(league_matrix.markdown())
        return
    if not protocol:
        known = ", ".join((*league_reading.shipped(), *league_matrix.matrix().groups))
        raise SettingError(
            f"No protocol was given. Give a TOML file, or one of: {known}. --matrix says what they "
            "are."
        )
    from veridical.workflow.league import FILES
    from veridical.workflow.league import league as run

    plan = league_matrix.named(protocol)
    plan = plan.with_budget(budget) if budget else plan
    folder = out or Path("leagues") / Path(protocol).stem
    with show.only_result(json), show.progress(quiet) as progress:
        found = run(plan, folder, only, overwrite, progress)
    paths = [str(folder / name) for name in FILES]
    if json:
        import json as codec

        print(codec.dumps(show.plain({**found.to_dict(), "files": paths}), indent=2))
    else:
        from veridical.report.league_tables import markdown

        print(markdown(found))
        print("\n".join(paths))
    failed = [one for one in found.entries if one.status == "failed"]
    if failed:
        said = "; ".join(f"{one.name}: {one.reason}" for one in failed)
        raise InputError(f"{len(failed)} of {len(found.entries)} entries failed: {said}")
