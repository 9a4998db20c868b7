"""A table of patients without images: ages, grades, genes, reports; `.csv` or `.tsv`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tables import ABSENT, as_value, rows_of
from veridical.layouts.tree import Listing, stem_of, suffix_of
from veridical.types import Study

IDS = (
    "patient",
    "patient_id",
    "patientid",
    "subject",
    "subject_id",
    "participant_id",
    "case",
    "case_id",
    "id",
    "mrid",
)
REPORTS = ("report", "text", "findings", "impression")
GENES = frozenset(
    {
        "IDH1",
        "IDH2",
        "TP53",
        "ATRX",
        "PTEN",
        "EGFR",
        "CIC",
        "MUC16",
        "PIK3CA",
        "PIK3R1",
        "NF1",
        "FUBP1",
        "RB1",
        "NOTCH1",
        "BCOR",
    }
    | {
        "CSMD3",
        "SMARCA4",
        "GRIN2A",
        "FAT4",
        "PDGFRA",
        "TERT",
        "BRAF",
        "KRAS",
        "CDKN2A",
        "MGMT",
        "H3F3A",
    }
)
"""Columns that go to the genes of a patient: those of the glioma tables of TCGA."""


class Table(Layout):
    """A row a patient: columns as covariates, gene columns as genes, a report column as report."""

    title = "a table of patients"
    specific = False

    def recognise(self, listing: Listing) -> Match:
        """Say so where there are tables and no images."""
        tables = self._tables(listing)
        sure = 0.8 if tables and not listing.data else 0.0
        return Match(
            self.name,
            sure,
            f"{len(tables)} tables and no image" if sure else "there are images, or no table",
        )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return each table as a stack of as many patients as it has rows."""
        return [
            Entry(
                stem_of(file),
                "table",
                file,
                (file,),
                kind="object",
                count=len(self._rows(listing, file)),
            )
            for file in self._tables(listing)
        ]

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the UCI glioma table where the genes are its, else a table."""
        heads = {column for entry in entries for column in self._columns(listing, entry.path)}
        return "Glioma grading (UCI)" if {"IDH1", "ATRX", "Grade"} <= heads else self.title

    def head(self, root: Path, entry: Entry) -> Head:
        """Return nothing: a table has no grid."""
        return Head(None)

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield empty tables, ids that stand twice, and columns with empty cells."""
        for file in self._tables(listing):
            rows = self._rows(listing, file)
            if not rows:
                yield Issue(
                    "empty", "error", file, "The table has no row", next="Download it again."
                )
                continue
            column = _id_column(list(rows[0]))
            counts = Counter(row[column] for row in rows) if column else Counter()
            repeated = [value for value, count in counts.items() if count > 1]
            if repeated:
                yield Issue(
                    "duplicate",
                    "warn",
                    file,
                    f"{len(repeated)} patients have several rows",
                    repeated[0],
                    "one row each",
                    "Keep one, or give visits a column.",
                )
            if not column:
                yield Issue(
                    "no_ids",
                    "note",
                    file,
                    "No column names the patients",
                    next="They are numbered by their rows.",
                )
            gaps = {
                name: sum(row[name].strip().lower() in ABSENT for row in rows) for name in rows[0]
            }
            holes = [f"{name} {count}" for name, count in gaps.items() if count]
            if holes:
                yield Issue(
                    "empty_cells",
                    "note",
                    file,
                    "Cells are empty",
                    ", ".join(holes[:6]),
                    "",
                    "They are left out, not zero.",
                )

    def studies(self, listing: Listing) -> Iterator[Study]:
        """Yield a patient a row; empty cells are left out."""
        for file in self._tables(listing):
            rows = self._rows(listing, file)
            column = _id_column(list(rows[0])) if rows else ""
            for number, row in enumerate(rows):
                said = {
                    name: as_value(value)
                    for name, value in row.items()
                    if name and value.strip().lower() not in ABSENT
                }
                identity = (
                    str(said.pop(column)) if column in said else f"{stem_of(file)}_{number + 1:05d}"
                )
                report = next(
                    (str(said.pop(name)) for name in list(said) if name.lower() in REPORTS), ""
                )
                genes = {name: said.pop(name) for name in list(said) if name in GENES}
                yield Study(identity, {}, said, report, genes)

    def _tables(self, listing: Listing) -> list[str]:
        return [
            file
            for file, size in listing.files.items()
            if suffix_of(file) in (".csv", ".tsv") and size > 0
        ]

    def _rows(self, listing: Listing, file: str) -> list[dict[str, str]]:
        return rows_of((listing.root / file).read_bytes(), file)

    def _columns(self, listing: Listing, file: str) -> list[str]:
        rows = self._rows(listing, file)
        return list(rows[0]) if rows else []


def _id_column(columns: list[str]) -> str:
    return next((column for column in columns if column.lower() in IDS), "")
