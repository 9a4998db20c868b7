"""Checks of grids and voxels: does an image look like what it is called, and a label map like
one?
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from veridical.io.sequence import MR
from veridical.layouts.base import Entry, Layout
from veridical.layouts.check_files import Visits
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.types import Array, Image, Measurement

AIR = -200.0
"""HU; every CT of a body holds lower values than this, in the air about it or in it."""
SPACING = (0.01, 50.0)
"""Millimetres between which a voxel's size is believed."""
MANY = 256
"""Different values above which a label map is taken for an image."""


def spacing(entry: Entry, head: Head) -> Iterator[Issue]:
    """Yield a size of voxels that cannot be."""
    if head.geometry is None or head.geometry.frame == "index":
        return
    low, high = min(head.geometry.spacing), max(head.geometry.spacing)
    if low < SPACING[0] or high > SPACING[1]:
        yield Issue(
            "spacing",
            "error",
            entry.path,
            "The size of the voxels cannot be",
            f"{low:.4g} to {high:.4g} mm",
            f"{SPACING[0]:g} to {SPACING[1]:g} mm",
            "The header may be in metres or damaged; write it again from its source.",
        )


def grids(visits: Visits, heads: Mapping[int, Head]) -> Iterator[Issue]:
    """Yield images of a visit that ought to lie on one grid and do not: against the grid that most
    of them have.
    """
    for entries in visits.values():
        groups: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            head = heads.get(id(entry))
            if entry.grid and head is not None and head.geometry is not None:
                groups[entry.grid].append(entry)
        for group in groups.values():
            places = [heads[id(entry)].geometry for entry in group]
            votes = [
                sum(place.matches(other, 0.05) for other in places if other)
                for place in places
                if place
            ]
            first = int(np.argmax(votes))
            reference = places[first]
            for entry, place in zip(group, places, strict=True):
                if (
                    reference is not None
                    and place is not None
                    and not place.matches(reference, 0.05)
                ):
                    yield Issue(
                        "grid",
                        "error",
                        entry.path,
                        f"{entry.name} lies on another grid than {group[first].name}",
                        f"{place}{_moved(place.affine, reference.affine)}",
                        str(reference),
                        "One of them may be of another patient or not registered; fetch or "
                        "register it again.",
                    )


def _moved(affine: Array, reference: Array) -> str:
    shift = float(np.linalg.norm(affine[:3, 3] - reference[:3, 3]))
    return f", {shift:.1f} mm apart" if shift > 0.05 else ""


def digest_of(subject: Image | Measurement) -> str:
    """Return a hash of the numbers alone; empty where they are all the same, which proves
    nothing.
    """
    stored = subject.data
    if stored.size == 0 or (stored == stored.flat[0]).all():
        return ""
    data = stored.T if stored.flags.f_contiguous else np.ascontiguousarray(stored)
    data = data.astype(np.float32) if data.dtype == np.float64 else data
    return hashlib.blake2b(data.view(np.uint8).data, digest_size=16).hexdigest() + str(stored.shape)


def content(layout: Layout, entry: Entry, subject: Image | Measurement) -> Iterator[Issue]:
    """Yield what the numbers of one entry say against what it is called."""
    if isinstance(subject, Measurement):
        if entry.kind != "raw":
            yield Issue(
                "mislabelled",
                "error",
                entry.path,
                f"{entry.name} holds raw data",
                next="Reconstruct it first.",
            )
        return
    data = np.asarray(subject.data)
    low, high = float(data.min()), float(data.max())
    if entry.kind == "label":
        yield from _label(layout, entry, data)
    elif low == high:
        yield Issue(
            "empty",
            "error",
            entry.path,
            f"{entry.name} is the same number everywhere",
            f"{low:g}",
            "an image",
            "Fetch it again, or leave it out: it was not measured.",
        )
    elif entry.contrast in ("CT", "CBCT") and low > AIR:
        yield Issue(
            "mislabelled",
            "error",
            entry.path,
            f"{entry.name} holds no air, so it is not in Hounsfield units or no CT",
            f"{low:g} to {high:g}",
            f"values below {AIR:g} HU",
            "Apply the rescale slope and intercept, or rename it.",
        )
    elif entry.contrast in MR and low <= -500 and float((data < -100).mean()) > 0.1:
        yield Issue(
            "mislabelled",
            "error",
            entry.path,
            f"{entry.name} has the values of a CT",
            f"{low:g} to {high:g}",
            "few values below 0",
            "Rename it, or fetch the MR image again.",
        )
    elif entry.contrast == "PET" and float((data < 0).mean()) > 0.01:
        yield Issue(
            "mislabelled",
            "warn",
            entry.path,
            "More than 1 % of the values of a PET image are negative",
            f"from {low:g}",
            "uptake of 0 and more",
            "Look at its units and rescaling.",
        )


def _label(layout: Layout, entry: Entry, data: Array) -> Iterator[Issue]:
    """Yield what speaks against a label map: fractions, values that mean nothing, nothing in it."""
    whole = data if data.dtype.kind in "iub" else np.rint(data)
    if whole is not data and not np.array_equal(whole, data):
        share = 100 * float((whole != data).mean())
        yield Issue(
            "mislabelled", "error", entry.path, f"The label map {entry.name} holds fractions",
            f"{share:.2g} % of the voxels are not whole", "whole numbers",
            "It may be an image, or resampled with interpolation: resample with nearest neighbour.",
        )  # fmt: skip
        return
    values = np.unique(whole)
    known = layout.labels.get(entry.name)
    strange = [int(value) for value in values if known is not None and int(value) not in known]
    if strange:
        listed = f"{_some(known)}" if known else ""
        yield Issue(
            "label_values",
            "error",
            entry.path,
            f"The label map {entry.name} holds values that mean nothing in {layout.title}",
            _some(strange),
            listed,
            "Map them to the known ones, or it is another label map.",
        )
    elif len(values) > MANY:
        yield Issue(
            "mislabelled",
            "error",
            entry.path,
            f"The label map {entry.name} looks like an image",
            f"{len(values)} different values",
            f"at most {MANY}",
            "Find the label map; rename this one.",
        )
    elif not whole.any():
        yield Issue(
            "empty_label",
            "note",
            entry.path,
            f"The label map {entry.name} is empty",
            next="There may be nothing to see.",
        )


def _some(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:8])) + (
        f" and {len(values) - 8} more" if len(values) > 8 else ""
    )
