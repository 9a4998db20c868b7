"""The table of an evaluation: patient and subgroups of each case, from a CSV or TSV file."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from veridical.errors import InputError, nearest
from veridical.evaluation.names import match, patient_of
from veridical.io.contrast import stem

CASE = ("case", "case_id")
PATIENT = ("patient", "patient_id", "participant_id", "subject")
FILES = (".nii", ".nii.gz", ".npy", ".npz")
ABSENT = frozenset({"", "n/a", "na", "nan"})


@dataclass(frozen=True)
class CaseTable:
    """What a table says.

    Args:
        path: of the file.
        by: `case` or `patient`: what its rows are about.
        patients: row -> patient, where the table says so.
        columns: row -> column -> value; what is absent is left out.
    """

    path: Path | None = None
    by: str = "case"
    patients: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def fit(self, cases: Collection[str], notes: list[str]) -> dict[str, str]:
        """Return case -> row; what does not fit but does no harm is noted.

        Raises:
            InputError: a row names no case while a case has no row: a name is misspelt.
        """
        if self.path is None:
            return {}
        wanted = {
            case: case if self.by == "case" else patient_of(case) for case in dict.fromkeys(cases)
        }
        names = set(wanted.values())
        fits, stripped = match(self.columns, names)
        if stripped:
            notes.append(
                f"{self.path.name}: rows were matched after leaving out {stripped}.".replace(
                    "candidates", "rows"
                )
            )
        row_of = {name: row for row, name in fits.items()}
        unknown = [row for row in self.columns if row not in fits]
        bare = sorted(names - set(row_of))
        if unknown and bare:
            raise InputError(
                f"{self.path} has {len(unknown)} rows of no known {self.by}, e.g. {unknown[0]!r}, "
                f"and {len(bare)} have no row. "
                f"{nearest(unknown[0], bare)} Mend the column {self.by!r}."
            )
        if unknown:
            notes.append(
                f"{self.path.name}: {len(unknown)} rows are of no case here, e.g. {unknown[0]}."
            )
        if bare:
            notes.append(f"{self.path.name}: {len(bare)} cases have no row, e.g. {bare[0]}.")
        return {case: row_of[name] for case, name in wanted.items() if name in row_of}

    def patient(self, case: str, rows: Mapping[str, str]) -> str:
        """Return the patient of a case: what the table says, else what its name says."""
        row = rows.get(case)
        return self.patients.get(row, patient_of(case)) if row is not None else patient_of(case)

    def groups(self, case: str, rows: Mapping[str, str]) -> dict[str, str]:
        """Return the subgroups of a case by column."""
        return dict(self.columns.get(rows.get(case, ""), {}))


def read_table(path: str | Path) -> CaseTable:
    """Read a table with commas, semicolons or tabs, and a column `case` or `patient`
    (`participant_id` as in BIDS).

    The rows may be called by file names, `001.nii.gz` for the case 001.

    Raises:
        InputError: no such file, no such column, an empty table, or two rows of one name.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            rows = list(csv.DictReader(stream, delimiter=max(",;\t", key=head.count)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file} cannot be read as a table ({error}). Give a CSV file in UTF-8."
        ) from error
    if not rows:
        raise InputError(f"{file} has no rows; expected one a case below a line of column names.")
    plain = [
        {
            str(key).strip(): (value or "").strip()
            for key, value in row.items()
            if isinstance(value, str)
        }
        for row in rows
    ]
    case = next((name for name in plain[0] if name.lower() in CASE), None)
    patient = next((name for name in plain[0] if name.lower() in PATIENT), None)
    column = case or patient
    if column is None:
        raise InputError(
            f"{file} has the columns {', '.join(plain[0])}; expected one called 'case' or "
            "'patient'. Rename one."
        )
    found: dict[str, dict[str, str]] = {}
    patients: dict[str, str] = {}
    for row in plain:
        name = stem(Path(row[column])) if row[column].endswith(FILES) else row[column]
        if name in found:
            raise InputError(
                f"{file} has two rows of {name!r} in the column {column!r}; expected one each. "
                "Remove one."
            )
        found[name] = {
            k: v for k, v in row.items() if k not in (case, patient) and v.lower() not in ABSENT
        }
        if patient is not None and row[patient].lower() not in ABSENT:
            patients[name] = row[patient]
    return CaseTable(file, "case" if case else "patient", patients, found)
