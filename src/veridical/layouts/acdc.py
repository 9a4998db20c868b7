"""ACDC: cardiac cine MR of 150 patients, end diastole and end systole labelled (Bernard et al.
2018, 10.1109/TMI.2018.2837502).

`patient001/patient001_frame01.nii.gz`, `..._frame01_gt.nii.gz`, `..._4d.nii.gz` and `Info.cfg`,
which names the two frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.issues import Issue
from veridical.layouts.tables import as_value
from veridical.layouts.tree import Listing, split_of

PHASES = ("ED", "ES")


class Acdc(NamedFiles):
    """Two labelled phases and the cine of each patient: 1 right ventricle, 2 myocardium, 3 left
    ventricle.
    """

    title = "ACDC"
    expected = ("cine_ED", "cine_ES", "heart_ED", "heart_ES", "cine")
    labels = {"heart_ED": (0, 1, 2, 3), "heart_ES": (0, 1, 2, 3)}  # noqa: RUF012
    pattern = re.compile(
        r"(?:^|/)(?P<patient>patient\d{3})/(?P=patient)_(?:frame(?P<frame>\d\d)(?P<label>_gt)?|(?P<all>4d))\.nii(?:\.gz)?$"
    )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return both phases with their labels, and the cine."""
        frames: dict[str, set[int]] = {}
        matches = [(file, match) for file in listing.data if (match := self.pattern.search(file))]
        for file, match in matches:
            if match["frame"]:
                frames.setdefault(str(PurePosixPath(file).parent), set()).add(int(match["frame"]))
        infos = {
            folder: info_of(listing, folder)
            for folder in {str(PurePosixPath(file).parent) for file, _ in matches}
        }
        found = []
        for file, match in matches:
            folder = str(PurePosixPath(file).parent)
            entry = Entry(
                match["patient"], "cine", file, (file,), split=split_of(file), grid="cine"
            )
            if match["frame"]:
                phase = _phase(int(match["frame"]), infos[folder], sorted(frames[folder]))
                label = bool(match["label"])
                entry = replace(
                    entry,
                    name=f"{'heart' if label else 'cine'}_{phase}",
                    kind="label" if label else "image",
                    options={"contrast": f"{'heart' if label else 'cine'}_{phase}"},
                )
            found.append(entry)
        return found

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield patients without `Info.cfg`, and phases that it names and that are not there."""
        for folder in sorted({str(PurePosixPath(entry.path).parent) for entry in entries}):
            info = info_of(listing, folder)
            if not {"ED", "ES"} <= set(info):
                yield Issue(
                    "missing",
                    "warn",
                    f"{folder}/Info.cfg",
                    "It is not there or does not name the frames ED and ES",
                    next="Fetch it; until then the earlier frame is taken for end diastole.",
                )

    def covariates(self, listing: Listing, entries: list[Entry]) -> dict[str, dict[str, Any]]:
        """Return what `Info.cfg` says: group, height, weight, frames."""
        folders = {entry.patient: str(PurePosixPath(entry.path).parent) for entry in entries}
        return {patient: info_of(listing, folder) for patient, folder in folders.items()}


def info_of(listing: Listing, folder: str) -> dict[str, Any]:
    """Return the `key: value` lines of `Info.cfg`; nothing where it is missing."""
    file = "Info.cfg" if folder == "." else f"{folder}/Info.cfg"
    if not 0 < listing.files.get(file, 0) < 2**16:
        return {}
    lines = (listing.root / file).read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): as_value(value.strip()) for key, colon, value in pairs if colon}


def _phase(frame: int, info: dict[str, Any], frames: list[int]) -> str:
    """Return the phase of a frame, `frame07` when it is neither."""
    known = {info[phase]: phase for phase in PHASES if phase in info} or dict(
        zip(frames, PHASES, strict=False)
    )
    return known.get(frame, f"frame{frame:02d}")
