"""The tree of errors: each says what was wrong, what was got, what was expected and what to do
next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VeridicalError(Exception):
    """Anything Veridical refuses. Doors turn it into one line and exit code 2."""


class InputError(VeridicalError):
    """The data handed in cannot be used as they are."""


class FormatError(InputError):
    """A file is not what its name or its first bytes say it is, is truncated, or holds NaN."""


class GeometryError(InputError):
    """Two grids, or an array and an operator, do not fit together."""


class UnitsError(InputError):
    """A unit, data range or contrast is missing or cannot be converted."""


class BudgetError(InputError):
    """The work would need more memory or disk than allowed; raised before anything is allocated."""


class SettingError(VeridicalError):
    """A setting, flag, key or name is unknown or out of its range."""


class MissingExtra(VeridicalError):
    """An optional dependency is needed and not installed; the message names the extra."""


class CalibrationError(VeridicalError):
    """An interval cannot be promised: too few calibration patients for the level asked for."""


class ProvenanceError(VeridicalError):
    """A stored result and its remake differ, or its record cannot be read."""


class PolicyError(VeridicalError):
    """A policy blocks a result; nothing was written. The command line ends with exit code 3."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error sentence that helps with a misspelt name: the nearest known one
    and the whole list.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
