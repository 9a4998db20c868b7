"""Integrity of the reference itself, before anything is scored: its defects must not be charged to
the candidate.

Whose defect it is, is decided by what does not come from the candidate: by the reference alone, by
the other references, and by labels, masks and second scans of the case. So no candidate can have a
case left out. Where that does not tell, the candidate differs from its reference, and the case
counts against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from veridical.errors import InputError, VeridicalError
from veridical.evaluation.cases import OF_CANDIDATE, Case, Cases
from veridical.evaluation.likeness import PERCENTILES, other_grid, sampled, turned
from veridical.evaluation.regions import foreground, whole_numbers
from veridical.evaluation.sources import Source
from veridical.provenance import digest
from veridical.types import Array, Finding, Geometry, Image, Verdict

DROPPED = ("labels", "dose")
"""Roles without which the rest of a case can be scored; without `mask`, `baseline` and `retest` it
cannot.
"""
FEWEST = 3
"""Other references by which one of them can be told to be different."""
SHOWN = 3
CLIPPED = 0.01
"""Share of the foreground at the largest value from which a reference that stands alone with it
counts as clipped.
"""
OUTSIDE, INSIDE = 0.2, 0.7
"""Share of labelled voxels in the foreground: below the first labels lie elsewhere, where those of
other cases lie above the second.
"""


@dataclass
class Seen:
    """What was seen of the reference side of a case.

    Args: grids: `reference`, `candidate` and roles -> grid. small, second: the reference and the
        second scan at a few voxels, float32; None where there is none. ends: percentiles of the
        reference. clipped: share of its foreground at its largest value. labels: hash of the label
        map; empty where nothing is labelled. inside: share of labelled voxels in the foreground.
    """

    grids: dict[str, Geometry] = field(default_factory=dict)
    small: Array | None = None
    second: Array | None = None
    ends: tuple[float, ...] = ()
    clipped: float = 0.0
    labels: str = ""
    inside: float = 1.0


@dataclass
class Defects:
    """Defects of the reference side.

    Args:
        seen: case -> what was seen.
        left_out: case -> why it cannot be scored.
        without: case -> role -> why this role is not used.
        noted: case -> what was mended, or is to be borne in mind.
    """

    seen: dict[str, Seen] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    without: dict[str, dict[str, str]] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)

    def drop(self, case: str, role: str, why: str) -> None:
        """Do not use a role of a case; where it cannot be scored without, leave the case out."""
        if role in DROPPED:
            self.without.setdefault(case, {}).setdefault(role, why)
        else:
            self.left_out.setdefault(case, why)

    def others(self, case: str) -> list[Seen]:
        """Return what was seen of the other references that can be used."""
        return [
            one
            for name, one in self.seen.items()
            if name != case and name not in self.left_out and one.small is not None
        ]

    def look(self, case: Case, reference: Image, small: Array) -> None:
        """Take note of a reference that can be read."""
        seen = self.seen.setdefault(case.name, Seen())
        seen.grids["reference"] = reference.geometry
        seen.small = small.astype(np.float32)
        seen.ends = tuple(float(end) for end in np.percentile(reference.data, PERCENTILES))
        body = reference.data[:, foreground(reference).mask]
        top = body.max() if body.size else 0.0
        seen.clipped = float((body == top).mean()) if body.size and top > np.median(body) else 0.0

    def companions(self, case: Case, image: Image) -> None:
        """Take note of masks, labels, doses and further images of the reference side that cannot be
        used as they are.
        """
        seen = self.seen.setdefault(case.name, Seen())
        for role, source in case.roles.items():
            if not isinstance(source, Source) or (role in OF_CANDIDATE):
                continue
            try:
                companion = source.load()
                if role in ("mask", "labels"):
                    self._labels(case.name, role, companion, image, seen)
            except VeridicalError as error:
                self.drop(case.name, role, f"{role}: {error}")
                continue
            seen.grids[role] = companion.geometry
            if role == "retest":
                seen.second = sampled(companion.data).astype(np.float32)
            if not np.isfinite(companion.data).all():
                self.drop(case.name, role, f"The {role} holds NaN or infinite values.")
            elif role == "mask" and not companion.data.any():
                self.drop(
                    case.name,
                    role,
                    "The mask is empty, so no voxel would count. Draw it, or leave it out.",
                )

    def _labels(self, case: str, role: str, companion: Image, image: Image, seen: Seen) -> None:
        """Take note of labels that are no whole numbers, of what they are a copy of, and of where
        they lie.
        """
        if len(companion.data) != 1 and role == "labels":
            raise InputError(
                f"{len(companion.data)} channels; expected one. Give one label map a case."
            )
        data = companion.data[:1]
        if role == "labels":
            whole = whole_numbers(data)
            if not np.array_equal(whole, data):
                self.noted[case] = (
                    "The labels are whole numbers but for rounding; they were rounded."
                )
            if whole.any():
                seen.labels = digest(np.asarray(whole, np.int32))
                if companion.geometry.shape == image.geometry.shape:
                    seen.inside = float(foreground(image).mask[whole[0] != 0].mean())


def resolve(defects: Defects) -> None:
    """Judge what takes all references to judge: grids, copies and places of labels, clipping."""
    usual = _usual_grid(defects)
    for name, seen in defects.seen.items():
        own = seen.grids.get("reference")
        astray = own is not None and off_grid(name, defects, usual)
        ground = seen.grids.get("candidate") if astray else own
        for role, grid in seen.grids.items():
            if (
                role in ("reference", "candidate")
                or ground is None
                or role in OF_CANDIDATE
                or role == "dose"
            ):
                continue
            grids = other_grid(grid, ground, rounded=True)
            if grids:
                defects.drop(
                    name,
                    role,
                    f"The {role} lies on another grid than its image: {grids}. Resample it.",
                )
    _copied_labels(defects)
    for name, seen in defects.seen.items():
        rest = [one for one in defects.others(name) if one.labels]
        if (
            seen.labels
            and seen.inside < OUTSIDE
            and len(rest) >= FEWEST
            and np.median([o.inside for o in rest]) > INSIDE
        ):
            defects.drop(
                name,
                "labels",
                f"Only {seen.inside:.0%} of the labelled voxels lie in the object: flipped or "
                "shifted.",
            )
        others = [one.clipped for one in defects.others(name)]
        if (
            seen.clipped > CLIPPED
            and len(others) >= FEWEST
            and seen.clipped > 5 * float(np.median(others))
        ):
            defects.noted.setdefault(
                name,
                f"{seen.clipped:.1%} of the object has the largest value, {seen.ends[-1]:.4g}: the "
                "reference is clipped.",
            )


def off_grid(case: str, defects: Defects, usual: Geometry | None = None) -> bool:
    """Say whether a reference, and not its candidate, has lost its grid: the labels, mask or second
    scan of the case lie on the candidate's, or all other references do.
    """
    seen = defects.seen[case]
    own, candidate = seen.grids.get("reference"), seen.grids.get("candidate")
    if own is None or candidate is None or not other_grid(candidate, own):
        return False
    given = [
        grid
        for role, grid in seen.grids.items()
        if role in ("labels", "mask", "retest", "baseline")
    ]
    witnesses = [
        *given,
        *([usual or _usual_grid(defects)] if usual or _usual_grid(defects) else []),
    ]
    for_candidate = sum(grid is not None and not other_grid(candidate, grid) for grid in witnesses)
    for_reference = sum(grid is not None and not other_grid(own, grid) for grid in witnesses)
    return for_candidate > for_reference


def _usual_grid(defects: Defects) -> Geometry | None:
    """Return the grid that most references have, where at least three have it."""
    grids = [seen.grids["reference"] for seen in defects.seen.values() if "reference" in seen.grids]
    known = [grid for grid in grids if grid.frame != "index"]
    counts = Counter(
        (grid.shape, tuple(np.round(grid.affine, 2).ravel().tolist())) for grid in known
    )
    if not counts:
        return None
    key, count = counts.most_common(1)[0]
    if count < FEWEST or 2 * count <= len(grids):
        return None
    return next(
        grid
        for grid in known
        if (grid.shape, tuple(np.round(grid.affine, 2).ravel().tolist())) == key
    )


def turned_itself(case: Case, defects: Defects, gain: float) -> str:
    """Return how a reference is turned against the second scan of its case, or the mean of the
    other references.
    """
    seen = defects.seen[case.name]
    if seen.small is None:
        return ""
    shape = seen.grids["reference"].shape
    own = np.asarray(seen.small, np.float64)
    if seen.second is not None and seen.second.shape == own.shape:
        return turned(own, np.asarray(seen.second, np.float64), shape, gain)
    others = [
        one.small
        for one in defects.others(case.name)
        if one.small is not None and one.grids["reference"].shape == shape
    ]
    if len(others) < FEWEST:
        return ""
    return turned(
        own, np.mean([one / (np.abs(one).mean() or 1.0) for one in others], axis=0), shape, gain
    )


def rescaled_itself(case: str, defects: Defects, ratio: float) -> bool:
    """Say whether the range of a reference is far from that of all other references."""
    own = defects.seen[case].ends
    others = [one.ends for one in defects.others(case) if one.ends]
    if not own or len(others) < FEWEST:
        return False
    widths = [ends[-1] - ends[0] for ends in others]
    usual = float(np.median(widths))
    alike = sum(1 / ratio <= width / usual <= ratio for width in widths) if usual > 0 else 0
    return (
        usual > 0 and alike == len(widths) and not 1 / ratio <= (own[-1] - own[0]) / usual <= ratio
    )


def _copied_labels(defects: Defects) -> None:
    """Do not use a label map that two or more references share while all others have one of their
    own.

    Several such groups, or one of most cases, are meant: an atlas, or visits of one patient.
    """
    groups: dict[str, list[str]] = {}
    for name, seen in defects.seen.items():
        if seen.labels:
            groups.setdefault(seen.labels, []).append(name)
    shared = [names for names in groups.values() if len(names) > 1]
    if len(shared) != 1 or len(groups) - 1 < max(FEWEST, len(shared[0])):
        return
    for name in shared[0]:
        others = ", ".join(other for other in shared[0] if other != name)
        defects.drop(
            name, "labels", f"The label map is that of {others} too: one of them is a copy."
        )


def without(cases: Cases, defects: Defects) -> Cases:
    """Return the cases without those that cannot be scored, and without roles that cannot be
    used.
    """
    kept = []
    for case in cases.cases:
        if case.name in defects.left_out:
            continue
        lost = defects.without.get(case.name, {})
        kept.append(
            replace(
                case,
                roles={role: source for role, source in case.roles.items() if role not in lost},
            )
        )
    dropped = {name: f"The reference: {why}" for name, why in defects.left_out.items()}
    return replace(cases, cases=tuple(kept), dropped={**cases.dropped, **dropped})


def finding(defects: Defects, total: int, most: float) -> Finding:
    """Say what is wrong with the reference itself, and what came of it."""
    parts = list(_parts(defects, total))
    if not parts:
        return Finding(
            "reference", "pass", "References and what belongs to them can be used as they are."
        )
    void = {name for name, roles in defects.without.items() if roles} | set(defects.left_out)
    verdict: Verdict = "fail" if len(void) > most * total else "warn"
    reason = f"{' '.join(parts)} None of this is counted against the candidate."
    evidence = {"left_out": defects.left_out, "without": defects.without, "noted": defects.noted}
    return Finding(
        "reference", verdict, reason, {"cases": sorted({*void, *defects.noted}), **evidence}
    )


def _parts(defects: Defects, total: int) -> Iterator[str]:
    lost = {name: " ".join(roles.values()) for name, roles in defects.without.items()}
    kinds: tuple[tuple[str, Mapping[str, str]], ...] = (
        ("were left out, since their reference has a defect", defects.left_out),
        ("are scored without labels or dose that have a defect", lost),
        ("have a reference to be looked at", defects.noted),
    )
    for what, found in kinds:
        if found:
            first = next(iter(found))
            names = ", ".join(list(found)[:SHOWN])
            yield f"{len(found)} of {total} cases {what} ({names}). {first}: {found[first]}"
