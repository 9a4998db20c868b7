"""Open MS data: multiple sclerosis, two parts (Lesjak et al. 2016 and 2017,
github.com/muschellij2/open_ms_data).

`cross_sectional_MNI`: one visit, all contrasts registered to MNI152 at 1 mm, consensus lesions.
`longitudinal_raw`: two visits, each contrast on its own grid, and a mask of change in a common
space, to which text files hold the transforms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing

TRANSFORM = re.compile(r"study(?P<visit>\d)_(?P<name>\w+?)_(?:intrastudy_)?to_\w+\.txt$")


class Openms(NamedFiles):
    """Contrasts and lesions of patients with multiple sclerosis; the two parts have patients of
    their own.
    """

    title = "Open MS data"
    alike = False
    labels = {"lesion": (0, 1), "change": (0, 1), "brain": (0, 1)}  # noqa: RUF012
    pattern = re.compile(
        r"(?:^|/)(?P<patient>patient\d+)/(?:study(?P<visit>\d)_(?P<raw>FLAIR|T1W|T2W)"
        r"|(?P<made>FLAIR|T1|T1POST|T2|GOLD_STANDARD)_N4\w*|(?P<mask>gt|brain_mask))\.nii(?:\.gz)?$"
    )
    names = {  # noqa: RUF012
        **{"flair": "FLAIR", "t1w": "T1w", "t2w": "T2w", "t1": "T1w", "t1post": "T1c", "t2": "T2w"},
        **{"gold_standard": "lesion", "gt": "change", "brain_mask": "brain"},
    }

    def entries(self, listing: Listing) -> list[Entry]:
        """Return all images; a patient is named after his part, for the two parts count from 1
        each.
        """
        found = []
        for file in listing.data:
            match = self.pattern.search(file)
            if match is None:
                continue
            raw = match["made"] is None
            name = self.names[(match["raw"] or match["made"] or match["mask"]).lower()]
            found.append(
                Entry(
                    patient=f"{'longitudinal' if raw else 'cross_sectional'}_{match['patient']}",
                    name=name,
                    path=file,
                    files=(file,),
                    visit=float(int(match["visit"] or 1) - 1),
                    kind="label" if name in self.labels else "image",
                    grid="" if raw else "MNI",
                )
            )
        return self._days(listing, found)

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return the contrasts and masks of the part that a visit is of."""
        if entries[0].patient.startswith("cross"):
            return ("T1w", "T1c", "T2w", "FLAIR", "lesion")
        return ("T1w", "T2w", "FLAIR", *(() if entries[0].visit else ("change",)))

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield transforms whose image is missing, and raw FLAIRs without the transform that the
        mask of change needs.
        """
        there = {entry.path.removesuffix(".gz").removesuffix(".nii") for entry in entries}
        for file in listing.named(TRANSFORM.pattern):
            match = TRANSFORM.search(file)
            image = (
                str(PurePosixPath(file).parent / f"study{match['visit']}_{match['name']}")
                if match
                else ""
            )
            if image not in there:
                yield Issue(
                    "orphan",
                    "note",
                    file,
                    "This transform belongs to an image that is not there",
                    "",
                    f"{image}.nii.gz",
                    "Fetch the image; the transform proves that it existed.",
                )
        for entry in entries:
            if entry.name == "FLAIR" and entry.patient.startswith("long"):
                wanted = re.sub(r"\.nii(\.gz)?$", "_to_common_space.txt", entry.path)
                if wanted not in listing.files:
                    yield Issue(
                        "missing",
                        "error",
                        wanted,
                        "The transform of this visit to the common space is not there",
                        next=(
                            "Fetch it: without it the mask of change cannot be laid over the "
                            "images."
                        ),
                    )

    def row_patient(self, table: str, value: str) -> str:
        """Return the patient of the longitudinal part with this number."""
        return f"longitudinal_patient{int(value):02d}" if value.isdigit() else value

    def covers(self, table: str, patient: str) -> bool:
        """Say that the table of days and ages is about the longitudinal part only."""
        return patient.startswith("longitudinal")

    def _days(self, listing: Listing, found: list[Entry]) -> list[Entry]:
        """Put the days between studies in place of the order of visits, where the table says
        them.
        """
        said: dict[str, dict[str, Any]] = self.covariates(listing, found)
        days = {
            patient: row["days_between_studies"]
            for patient, row in said.items()
            if "days_between_studies" in row
        }
        return [
            replace(entry, visit=float(days.get(entry.patient, 1)) * entry.visit) for entry in found
        ]
