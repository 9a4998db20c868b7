"""BIDS: `sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz` with its `.json`, and `participants.tsv`
(bids.neuroimaging.io).

Sidecars are read to compare what they say of the sequence with what the name says. Images below
`derivatives` are not offered (see `layouts.tree`); masks and segmentations there are. Phase, real
and imaginary parts (`part-`) are counted, not offered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from veridical.io.bids import LABELS
from veridical.io.contrast import contrast_of
from veridical.io.sequence import contradiction
from veridical.layouts.base import Entry, Kind, Layout
from veridical.layouts.heads import Head, head_of
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing, split_of, stem_of

PATH = re.compile(
    r"(?:^|/)(?P<patient>sub-[A-Za-z0-9]+)/(?:(?P<visit>ses-[A-Za-z0-9]+)/)?(?P<kind>[a-z]+)/"
    r"(?P<stem>(?P=patient)_(?:[a-zA-Z]+-[A-Za-z0-9]+_)*(?P<suffix>[A-Za-z0-9]+))(?i:\.nii(?:\.gz)?)$"
)
PART = re.compile(r"_part-(?:phase|real|imag)_")
RUN = re.compile(r"_run-(\d+)")
LIMIT = 2**20


class Bids(Layout):
    """Every image by its suffix (`T1w`, `T2w`, `FLAIR`, ...; with `ce-` T1c), label maps by
    theirs.
    """

    title = "BIDS"

    def recognise(self, listing: Listing) -> Any:
        """Say so the surer when `dataset_description.json` is there."""
        match = super().recognise(listing)
        described = bool(listing.named(r"^dataset_description\.json$"))
        reason = f"{match.reason}{' and dataset_description.json is there' if described else ''}"
        return replace(
            match,
            sure=match.sure if described else max(0.0, round(match.sure - 0.09, 2)),
            reason=reason,
        )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return all images of all subjects."""
        found, sessions = [], _sessions(listing)
        for file in listing.data:
            match = PATH.search(file)
            if match is None:
                continue
            suffix = match["suffix"]
            label = suffix.lower() in LABELS
            kind: Kind = "label" if label else "object" if PART.search(match["stem"]) else "image"
            run = RUN.search(match["stem"])
            known = contrast_of(Path(file)) or suffix
            name = _label_name(match["stem"], suffix) if label else known
            visit = sessions[match["patient"]].get(match["visit"] or "", 0.0)
            found.append(
                Entry(
                    match["patient"],
                    name,
                    file,
                    _with_sidecar(listing, file),
                    visit,
                    kind,
                    split=split_of(file),
                    run=int(run[1]) if run else 0,
                )
            )
        return found

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the name that `dataset_description.json` says."""
        return str(_json(listing.root / "dataset_description.json").get("Name") or self.title)

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield the lack of the one file that BIDS requires, and images whose suffix is none of
        BIDS's folders.
        """
        if "dataset_description.json" not in listing.files:
            yield Issue(
                "missing",
                "warn",
                "dataset_description.json",
                "BIDS requires this file at the top",
                next="Write one: Name, BIDSVersion.",
            )

    def head(self, root: Path, entry: Entry) -> Head:
        """Return the grid, and what the sidecar says against the name."""
        head = head_of(root / entry.path)
        side = next((root / file for file in entry.files if file.endswith(".json")), None)
        said = _json(side) if side else {}
        against = contradiction(entry.contrast, said) if entry.kind != "label" else ""
        if not against:
            return head
        issue = Issue(
            "mislabelled",
            "error",
            entry.path,
            f"The name says {entry.contrast}, its .json says otherwise",
            against,
            next="Look at the image and rename it, or mend the .json.",
        )
        return replace(head, issues=(*head.issues, issue))

    def row_patient(self, table: str, value: str) -> str:
        """Return `sub-01` for `01`."""
        return value if value.startswith("sub-") else f"sub-{value}"


def _sessions(listing: Listing) -> dict[str, dict[str, float]]:
    """Return subject -> session -> days where sessions are called `ses-d0129`, else the order of
    their names.
    """
    names: dict[str, set[str]] = {}
    for file in listing.data:
        if match := PATH.search(file):
            names.setdefault(match["patient"], set()).add(match["visit"] or "")
    found = {}
    for patient, sessions in names.items():
        days = {name: re.fullmatch(r"ses-d(\d+)", name) for name in sessions}
        counted = all(days.values())
        first = min((int(match[1]) for match in days.values() if match), default=0)
        found[patient] = {
            name: float(int(match[1]) - first)
            if counted and (match := days[name])
            else float(index)
            for index, name in enumerate(sorted(sessions))
        }
    return found


def _label_name(stem: str, suffix: str) -> str:
    """Return what a label map shows: its `label-` or `desc-` entity with the suffix, else the
    suffix.
    """
    entity = re.search(r"_(?:label|desc)-([A-Za-z0-9]+)", stem)
    return f"{entity[1]}_{suffix}" if entity else suffix


def _with_sidecar(listing: Listing, file: str) -> tuple[str, ...]:
    side = file[: -len(Path(file).name)] + stem_of(file) + ".json"
    return (file, side) if side in listing.files else (file,)


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a small JSON file; nothing where it is missing or damaged."""
    try:
        if path.stat().st_size > LIMIT:
            return {}
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
