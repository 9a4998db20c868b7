"""What the command line shows: a progress bar on standard error, a short summary, or one JSON
object.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veridical.audit.audited_study import Audited
    from veridical.evaluation.results import Evaluation
    from veridical.task import Progress
    from veridical.types import Result
    from veridical.workflow.cases import Outcome

PROGRESS = "VERIDICAL_PROGRESS"
"""Environment variable: `lines` writes progress as lines of JSON on standard error."""
EVERY = 0.2
"""Seconds between two of these lines at least."""
ROLES = {"lower": "interval_lower", "upper": "interval_upper"}
LEVELS = {
    "pixel": "pixel fidelity",
    "feature": "feature realism",
    "task": "task relevance",
    "trust": "trust",
}
COLOURS = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "not_run": "dim",
    "absent": "dim",
    "inconclusive": "yellow",
}


@contextmanager
def only_result(wanted: bool) -> Iterator[None]:
    """While work goes on, send what libraries print to standard error, so that standard output
    holds the result alone.
    """
    if not wanted:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Yield a progress callback that draws a bar on standard error, or draws nothing when that is
    no terminal; with VERIDICAL_PROGRESS=lines it writes lines of JSON there, for programs.
    """
    if not quiet and os.environ.get(PROGRESS) == "lines":
        yield _lines()
        return
    if quiet or not sys.stderr.isatty():
        from veridical.task import silent

        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        known: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            name = what.partition(":")[0]  # what follows the colon changes as work goes on
            if name not in known:
                known[name] = bars.add_task(what, total=total)
            elif (
                done < bars.tasks[known[name]].completed
            ):  # the same is done again, for the next case
                bars.reset(known[name])
            bars.update(known[name], description=what, completed=done, total=total)

        yield report


def _lines() -> Progress:
    """Return a progress callback that writes `{"progress": what, "done": 3, "total": 10}`; at most
    a few lines a second, and each last step.
    """
    last = [0.0]

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < EVERY:
            return
        last[0] = now
        said = json.dumps({"progress": what, "done": done, "total": total})
        print(said, file=sys.stderr, flush=True)

    return report


def result(derived: Result, written: Mapping[str, Path], as_json: bool) -> None:
    """Print what came of a task: units, the interval and what it rests on, the verdicts, what is
    missing, what the policy says, the files by role.
    """
    from veridical.io.bids import load_provenance

    image, step, band = derived.image, derived.steps[-1], derived.interval
    policy = load_provenance(written["provenance"]).policy
    if as_json:
        promise = ("level", "patients", "method", "promises")
        found = {
            "task": step.task,
            "kind": derived.kind,
            "units": {channel: image.units_of(channel) for channel in image.channels},
            **{ROLES.get(role, role): str(path) for role, path in written.items()},
            "interval": None if band is None else {name: getattr(band, name) for name in promise},
            "findings": [asdict(finding) for finding in derived.findings],
            "absent": dict(derived.absent),
            "model": step.model,
            "weights": step.weights,
            "seed": step.seed,
            **({} if policy is None else {"policy": policy}),
        }
        print(json.dumps(plain(found), indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.text import Text

    from veridical.report.view import interval_line
    from veridical.report.words import brief

    console = Console(soft_wrap=True)
    named = ", ".join(
        brief([f"{channel} in {image.units_of(channel)}" for channel in image.channels])
    )
    console.print(Text(f"{derived.kind} of {named} by {step.model}, {image.geometry}"))
    verdicts: list[tuple[str, str, str]] = (
        [("", "interval", interval_line(derived))] if band is not None else []
    )
    verdicts += [(f.verdict, f.check, f.reason) for f in derived.findings]
    verdicts += [("absent", companion, reason) for companion, reason in derived.absent.items()]
    for verdict, what, reason in verdicts:
        console.print(
            Text(f"{verdict.replace('_', ' '):<8}", COLOURS.get(verdict, "")),
            Text(f"{what}: {reason}"),
        )
    if policy is not None:
        ruled(policy, 8)
    for role, path in written.items():
        console.print(Text(f"{ROLES.get(role, role):<15} {path}"))


def outcomes(found: Sequence[Outcome], output: Path, as_json: bool) -> None:
    """Print what came of every case of a folder, and where the summary is."""
    files = {"table": str(output / "cases.tsv"), "summary": str(output / "summary.json")}
    if as_json:
        print(
            json.dumps(
                plain(
                    {"cases": [{**asdict(one), "verdict": one.verdict} for one in found], **files}
                ),
                indent=2,
            )
        )
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for one in found:
        word = one.verdict.replace("_", " ") if one.status in ("done", "kept") else one.status
        said = one.reason or f"{', '.join(one.made)} from {', '.join(one.images)}"
        here = " (was there already)" if one.status == "kept" else ""
        console.print(
            Text(f"{word:<14}", COLOURS.get(one.verdict or "fail", "dim")),
            Text(f"{one.case}: {said}{here}"),
        )
        for note in one.notes if not one.reason else ():
            console.print(Text(f"{'':<14}{note}", "dim"))
    console.print(Text("\n".join(files.values())))


def judgement(judged: Evaluation, written: Path, head: str, as_json: bool) -> None:
    """Print the verdicts of an evaluation, what failed, and where the report is."""
    if as_json:
        levels = {
            one.level: {"verdict": one.verdict, "reason": one.reason} for one in judged.levels
        }
        gate = [
            asdict(finding) for finding in judged.integrity if finding.verdict in ("fail", "warn")
        ]
        failed = {row.case: row.failed for row in judged.cases if row.failed}
        paths = {"page": str(written / "report.html"), "report": str(written / "report.json")}
        found = {
            "title": judged.title,
            "levels": levels,
            "integrity": gate,
            "failed": failed,
            "head": head,
            **paths,
        }
        print(json.dumps(plain(found), indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    analysed = sum(not row.failed for row in judged.cases)
    console.print(
        Text(f"{judged.title}: {analysed} of {judged.about.get('cases', 0)} cases analysed")
    )
    for finding in judged.integrity:
        if finding.verdict in ("fail", "warn"):
            console.print(
                Text(f"{finding.verdict:<13}", COLOURS[finding.verdict]),
                Text(f"{finding.check}: {finding.reason}"),
            )
    if judged.cases:
        for one in judged.levels:
            words = Text(f"{one.verdict.replace('_', ' '):<13}", COLOURS[one.verdict])
            console.print(words, Text(f"{LEVELS[one.level]}: {one.reason}"))
    for conflict in judged.conflicts:
        console.print(
            Text(f"{'conflict':<13}", "yellow"), Text(f"{conflict.name}: {conflict.reason}")
        )
    console.print(Text(f"{written / 'report.html'}\n{written / 'report.json'}\nhead {head}"))


def findings(found: Audited, written: Path, head: str, as_json: bool) -> None:
    """Print what the checks of an audit say, what the policy decides, and where the report is."""
    paths = {"page": str(written / "report.html"), "report": str(written / "report.json")}
    if as_json:
        checked = [asdict(one) for one in found.findings]
        said: dict[str, Any] = {"title": found.title, "findings": checked, "head": head, **paths}
        if found.decision is not None:
            said["policy"] = found.decision.record()
        print(json.dumps(plain(said), indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for one in found.findings:
        verdict = Text(f"{one.verdict.replace('_', ' '):<13}", COLOURS[one.verdict])
        console.print(verdict, Text(f"{one.check}: {one.reason}"))
    if found.decision is not None:
        ruled(found.decision.record(), 13)
    console.print(Text(f"{paths['page']}\n{paths['report']}\nhead {head}"))


def ruled(policy: Mapping[str, Any], width: int) -> None:
    """Print what rules of a policy say; nothing where all passes."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for one in policy["rulings"]:
        how = f"; {policy['by']}: {policy['override']}" if one["state"] == "overridden" else ""
        said = f"policy {policy['policy']}: rule {one['rule']!r} on {one['check']}{how}"
        console.print(Text(f"{one['state']:<{width}}", "yellow"), Text(said))


def listing(found: Mapping[str, Mapping[str, str]], as_json: bool) -> None:
    """Print what the registry knows: kind -> name -> summary."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    width = max((len(name) for entries in found.values() for name in entries), default=0)
    for kind, entries in found.items():
        print(f"{kind}: {len(entries)}")
        for name, summary in entries.items():
            print(f"  {name:<{width}}  {summary}")


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: numpy numbers and arrays as plain ones, what is not finite
    as null.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
