"""What a check finds: one thing that is wrong, or worth knowing, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warn", "note"]


@dataclass(frozen=True)
class Issue:
    """One finding.

    Args: code: a word for machines, e.g. `missing`, `duplicate`, `mislabelled`. level: `error`: the
        set must not be used like this; `warn`: look at it; `note`: good to know. path: file or
        folder below the root, empty for the set as a whole. what: what is wrong, a sentence without
        its full stop. got, expected: a few words each, or empty. next: what to do, a whole
        sentence, or empty.
    """

    code: str
    level: Severity
    path: str
    what: str
    got: str = ""
    expected: str = ""
    next: str = ""

    def __str__(self) -> str:
        parts = [
            f"got {self.got}" if self.got else "",
            f"expected {self.expected}" if self.expected else "",
        ]
        middle = "; ".join(part for part in parts if part)
        text = f"{self.what}: {middle}." if middle else f"{self.what}."
        return f"{self.path or 'the whole set'}: {text}{' ' + self.next if self.next else ''}"
