"""A ledger of what was made, audited and released: list, show, verify, export, add, release."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from veridical.errors import InputError
from veridical.terms import ENVIRONMENT, Terms

if TYPE_CHECKING:
    from veridical.governance.ledger import Ledger, Line

Switch = Annotated[bool, Parameter(negative=())]
app = App(
    name="ledger",
    help=(
        "The ledger of what was made by which model from what, with which findings, and who "
        "released it. It is off until VERIDICAL_LEDGER or --ledger names a file; then every result "
        "and every audit gets its line by itself. Each line holds the hash of the one before."
    ),
    group_commands=Group("Ledger"),
)


@app.command(name="list")
def list_(
    *, ledger: Path | None = None, kind: str | None = None, last: int = 20, json: Switch = False
) -> None:
    """List the last lines: number, time, kind, case, who, task and model, verdicts that object.

    Args:
        ledger: file of the ledger; that of VERIDICAL_LEDGER when not given.
        kind: only result, blocked, audit or release.
        last: so many lines; 0 for all.
        json: print one JSON object a line, as export does.
    """
    from veridical.governance.chain import export as text

    found = [line for line in _kept(ledger).lines() if kind in (None, line.kind)][-last:]
    print(text(found) if json else "\n".join(map(_sentence, found)), end="" if json else "\n")


@app.command
def show(what: str, /, *, ledger: Path | None = None) -> None:
    """Print whole lines: one by its number, or all about a stored result.

    Args:
        what: number of a line, or folder of a result.
        ledger: file of the ledger; that of VERIDICAL_LEDGER when not given.
    """
    from veridical.governance.admission import lines_of
    from veridical.io.bids import PROVENANCE

    kept, record = _kept(ledger), Path(what) / PROVENANCE
    if what.isdecimal():
        found = [line for line in kept.lines() if line.number == int(what)]
    elif record.is_file():
        found = lines_of(kept, record)
    else:
        raise InputError(f"{what} is neither the number of a line nor the folder of a result.")
    if not found:
        raise InputError(f"The ledger {kept.path} has no line about {what}.")
    for line in found:
        said = {"number": line.number, "time": line.time, "kind": line.kind, **line.says}
        hashes = {"before": line.before, "sha256": line.sha256}
        print(codec.dumps(said | hashes, indent=2, ensure_ascii=False))


@app.command
def verify(file: Path | None = None, /, *, head: str | None = None) -> None:
    """Check that no line was changed, dropped or moved; exit code 2 names those that were.

    Args:
        file: ledger, or a copy by export; that of VERIDICAL_LEDGER when not given.
        head: hash of a line that you kept elsewhere. Without it, someone who wrote the whole ledger
            anew is not found.
    """
    from veridical.governance.chain import verify as wrong_of
    from veridical.governance.stored import kept

    path = file or kept(ENVIRONMENT).path
    wrong = wrong_of(path, head)
    if wrong:
        raise InputError(f"{path} is not as it was written: {'; '.join(wrong)}.")
    print(f"intact: {path}")


@app.command
def head(*, ledger: Path | None = None) -> None:
    """Print number and hash of the last line; keep them elsewhere, for verify --head.

    Args:
        ledger: file of the ledger; that of VERIDICAL_LEDGER when not given.
    """
    number, sha256 = _kept(ledger).head()
    print(f"{number} {sha256}")


@app.command
def export(out: Path, /, *, ledger: Path | None = None) -> None:
    """Write a copy as JSON lines, which verify checks too.

    Args:
        out: file to write.
        ledger: file of the ledger; that of VERIDICAL_LEDGER when not given.
    """
    from veridical.governance.chain import export as text
    from veridical.io.guards import write_text

    write_text(out, text(_kept(ledger).lines()))
    print(out)


@app.command
def add(result: Path, /, *, ledger: Path | None = None) -> None:
    """Note a stored result that was written without the ledger.

    Args:
        result: folder of the result.
        ledger: file of the ledger; that of VERIDICAL_LEDGER when not given.
    """
    from veridical.governance import stored

    print(_sentence(stored.add(result, Terms(ledger=ledger))))


@app.command
def release(
    result: Path,
    /,
    *,
    reason: str,
    ledger: Path | None = None,
    policy: Path | None = None,
    override: str = "",
) -> None:
    """Note that you release a stored result, which must be in the ledger and as it was written.

    Args:
        result: folder of the result.
        reason: for what, and after which review; name no patient.
        ledger: file of the ledger; that of VERIDICAL_LEDGER when not given.
        policy: policy file that may block it; that of VERIDICAL_POLICY when not given.
        override: reason to release what the policy blocks, where it allows you to.
    """
    from veridical.governance import stored

    print(_sentence(stored.release(result, reason, Terms(policy, ledger, override))))


def _kept(path: Path | None) -> Ledger:
    """Return the ledger that is kept."""
    from veridical.governance.stored import kept

    return kept(Terms(ledger=path))


def _sentence(line: Line) -> str:
    """Return a line of a ledger in short."""
    says = line.says
    step = says["steps"][-1] if says.get("steps") else None
    objects = [
        f"{check} {verdict}s" for check, verdict in says["findings"] if verdict in ("warn", "fail")
    ]
    policy = says.get("policy", {})
    parts = [
        says.get("case") or (says.get("record") or says.get("report", ""))[:16],
        f"by {says['by']}",
        f"{step['task']} with {step['model']}" if step else "",
        ", ".join(objects),
        f"policy: {policy['verdict']}" if policy else "",
        policy.get("override", ""),
        says.get("reason", ""),
    ]
    told = "; ".join(part for part in parts if part)
    return f"{line.number:>6}  {line.time[:19]}  {line.kind:<8} {told}"
