"""The tables of a data set: which column names the patients, and what the rows say of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from veridical.layouts.tree import Listing, suffix_of

LARGEST = 16 * 2**20
"""Bytes; a larger table is not an index of patients."""


@dataclass(frozen=True)
class Index:
    """One table.

    Args: path: below the root. column: the one that names patients. rows: patient -> column ->
        value (numbers as numbers, empty ones left out); the first row of a patient. repeated:
        number of rows beyond the first of a patient.
    """

    path: str
    column: str
    rows: Mapping[str, Mapping[str, Any]]
    repeated: int


ABSENT = frozenset({"", "n/a", "na", "nan"})
"""What stands in an empty cell; `n/a` is that of BIDS."""


def tables_of(
    listing: Listing, patients: set[str], row_patient: Callable[[str, str], str]
) -> list[Index]:
    """Return the `.csv` and `.tsv` files with a column in which these patients stand.

    A column counts when at least a third of its values are patients, or when it holds half of the
    patients.

    Args:
        patients: ids.
        row_patient: path and value -> the id it means.
    """
    found = []
    for path in listing.files:
        if suffix_of(path) not in (".csv", ".tsv") or not 0 < listing.files[path] < LARGEST:
            continue
        rows = rows_of((listing.root / path).read_bytes(), path)
        best, hits = "", 0
        for column in rows[0] if rows else ():
            values = {row_patient(path, row[column].strip()) for row in rows if row[column].strip()}
            known = len(values & patients)
            if known > hits and (3 * known >= len(values) or 2 * known >= len(patients)):
                best, hits = column, known
        if hits:
            found.append(_table(path, best, rows, row_patient))
    return found


def rows_of(content: bytes, path: str) -> list[dict[str, str]]:
    """Return the rows of a table by column; commas, semicolons or tabs, whichever stands in its
    first line most often.

    Rows longer or shorter than the first are filled with nothing or cut.
    """
    text = content.decode("utf-8-sig", errors="replace")
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=mark)
    try:
        head = [name.strip() for name in next(reader, [])]
        lines = [line for line in reader if any(cell.strip() for cell in line)]
    except csv.Error:
        return []
    return [dict(zip(head, [*line, *[""] * len(head)], strict=False)) for line in lines]


def as_value(text: str) -> Any:
    """Return a cell as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text.strip())
        except ValueError:
            continue
    return text.strip()


def _table(
    path: str, column: str, rows: list[dict[str, str]], row_patient: Callable[[str, str], str]
) -> Index:
    found: dict[str, dict[str, Any]] = {}
    repeated = 0
    for row in rows:
        if not row[column].strip():
            continue
        patient = row_patient(path, row[column].strip())
        if patient in found:
            repeated += 1
            continue
        found[patient] = {
            k: as_value(v)
            for k, v in row.items()
            if k and k != column and v.strip().lower() not in ABSENT
        }
    return Index(path, column, found, repeated)
