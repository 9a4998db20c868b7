"""M&Ms and M&Ms-2: cardiac cine MR of several vendors (Campello et al. 2021,
10.1109/TMI.2021.3090082).

M&Ms: `A0S9V9/A0S9V9_sa.nii.gz` and `..._sa_gt.nii.gz`, both over time. M&Ms-2:
`001/001_SA_ED.nii.gz`, `..._ED_gt.nii.gz`, the same for ES, the long axis (LA) and the whole cine
(CINE).
"""

from __future__ import annotations

import re
from dataclasses import replace

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.tree import Listing, split_of

HEART = (0, 1, 2, 3)


class Mnms(NamedFiles):
    """Cine of the short axis, in M&Ms-2 of the long one too: 1 left ventricle, 2 myocardium, 3
    right ventricle.
    """

    title = "M&Ms Challenge"
    labels = {  # noqa: RUF012
        "heart": HEART,
        **{f"heart_{axis}_{phase}": HEART for axis in ("SA", "LA") for phase in ("ED", "ES")},
    }
    pattern = re.compile(
        r"(?:^|/)(?P<patient>[A-Z0-9]{6}|\d{3})/(?P=patient)_(?P<axis>sa|SA|LA)(?:_(?P<phase>ED|ES|CINE))?(?P<label>_gt)?"
        r"\.nii(?:\.gz)?$"
    )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return cines, phases and their labels."""
        found = []
        for file in listing.data:
            match = self.pattern.search(file)
            if match is None:
                continue
            two = match["phase"] is not None
            place = (
                f"_{match['axis'].upper()}"
                + ("" if match["phase"] == "CINE" else f"_{match['phase']}")
                if two
                else ""
            )
            name = ("heart" if match["label"] else "cine") + place
            entry = Entry(
                match["patient"],
                name,
                file,
                (file,),
                split=split_of(file),
                grid=match["axis"].upper(),
            )
            found.append(replace(entry, kind="label") if match["label"] else entry)
        return found

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return which of the two challenges."""
        return "M&Ms-2 Challenge" if any("_" in entry.name for entry in entries) else self.title

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return the cine; in M&Ms-2 cine and both phases of both axes."""
        if not any("_" in entry.name for entry in entries):
            return ("cine",)
        return tuple(f"cine_{axis}{phase}" for axis in ("SA", "LA") for phase in ("", "_ED", "_ES"))
