"""The chain of a ledger: whether its lines are those that were written, and a copy as JSON lines
that can be checked without the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from veridical.errors import FormatError, InputError
from veridical.governance.ledger import START, Ledger, Line

MAGIC = b"SQLite format 3\0"


def verify(path: str | Path, head: str | None = None) -> tuple[str, ...]:
    """Return what is not as it was written; empty when all is.

    Args:
        path: a ledger, or a copy by `export`.
        head: hash of a line, kept elsewhere; None: the chain is checked against itself only, and
            someone who wrote all of it anew is not found.

    Raises:
        InputError: there is no such file.
        FormatError: it is neither.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no ledger at {file}. Check the path.")
    with file.open("rb") as opened:
        stored = opened.read(len(MAGIC)) == MAGIC
    if not stored:
        return broken(imported(file), head)
    ledger = Ledger(file, create=False)
    lines, (number, last) = list(ledger.lines()), ledger.head()
    wrong = list(broken(lines, head))
    if lines and number > lines[-1].number:
        wrong.append(f"{_named(lines[-1].number + 1, number)} missing at the end")
    elif (number, last) != ((lines[-1].number, lines[-1].sha256) if lines else (0, START)):
        wrong.append("the last line is not the one that the ledger noted as its last")
    return tuple(wrong)


def broken(lines: Sequence[Line], head: str | None = None) -> tuple[str, ...]:
    """Return which lines were changed, are missing or changed places.

    Args:
        lines: in the order in which they lie.
        head: a hash that one of them must have; None: not asked for.
    """
    changed = {line.number for line in lines if line.hashed() != line.sha256}
    held = {line.number for line in lines}
    wrong, before, expected, told = [], START, 1, False
    for line in lines:
        skipped = [number for number in range(expected, line.number) if number not in held]
        moved = line.number < expected
        if skipped:
            wrong.append(f"{_named(skipped[0], skipped[-1])} missing")
        if moved:
            wrong.append(f"line {line.number} lies behind line {expected - 1}")
        if line.number in changed:
            was = next((n for n in changed if line.hashed(n) == line.sha256), None)
            wrong.append(
                f"line {line.number} {'was changed' if was is None else f'was line {was}'}"
            )
        elif line.before != before and not (skipped or moved or told):
            wrong.append(f"line {line.number} does not follow line {line.number - 1}")
        before, expected = line.sha256, max(expected, line.number) + 1
        told = line.number in changed
    if head is not None and head not in {line.sha256 for line in lines}:
        wrong.append(f"no line has the hash {head}: lines are missing or all were written anew")
    return tuple(wrong)


def export(lines: Iterable[Line]) -> str:
    """Return lines as JSON, one object in each line of text."""
    return "".join(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in lines)


def imported(path: Path) -> list[Line]:
    """Read a copy of a ledger.

    Raises:
        FormatError: it is none.
    """
    found, names = [], {field.name for field in fields(Line)}
    try:
        text = path.read_text(encoding="utf-8")
        for number, row in enumerate(text.splitlines(), 1):
            said = json.loads(row)
            if not isinstance(said, dict) or set(said) != names or type(said["number"]) is not int:
                raise ValueError(f"line {number} has other entries than {', '.join(names)}")
            found.append(Line(**said))
    except ValueError as error:
        raise FormatError(
            f"{path} is neither a ledger nor a copy of one ({error}). Give the file that "
            "VERIDICAL_LEDGER names."
        ) from error
    return found


def _named(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
