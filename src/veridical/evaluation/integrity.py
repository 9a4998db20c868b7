"""Level 0, the gate: can these images be compared at all? Where they cannot, no score is given, and
the reason is.

A defect of single candidates is a warning: they count as the worst value. A defect of most, or one
that voids the comparison whatever its share (the same image twice, a patient in training and test),
fails the gate. Defects of the reference itself are looked for first, in `reference`: they are told,
and no candidate is charged with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from veridical.errors import VeridicalError
from veridical.evaluation import reference as references
from veridical.evaluation.cases import Case, Cases
from veridical.evaluation.likeness import correlation, other_grid, rescaled, sampled, turned
from veridical.evaluation.reference import Defects
from veridical.evaluation.regions import whole_numbers
from veridical.evaluation.sets import Sets
from veridical.evaluation.sources import Source
from veridical.task import Progress, silent
from veridical.types import Array, Finding, Geometry, Image, Verdict

SHOWN = 3
FEWEST = 5
PAIRS = 40
"""Pairs that are held against each other to see whether they are pairs."""
ON_GRID = ("candidate_labels", "lower", "upper")
"""Roles of the candidate whose images lie on the grid of the case."""


@dataclass(frozen=True)
class Limits:
    """What is too much.

    Args: most: share of cases with a defect beyond which it is systematic. ratio: of the
        candidate's to the reference's intensity range. offset: of the candidate's percentiles from
        the reference's, in ranges of the reference. turned: gain of correlation (Fisher's z) by
        turning the candidate from which it counts as turned.
    """

    most: float = 0.5
    ratio: float = 3.0
    offset: float = 0.25
    turned: float = 0.5


@dataclass
class Look:
    """What one pass over the images saw.

    Args: failed: case -> why it cannot be scored. defects: check -> case -> what is wrong. sets:
        candidates, references and further sets as wholes; images without content are left out.
        pairs: name, candidate and reference of some pairs at a few voxels. reference: defects of
        the reference side. unlike: case -> check -> how its candidate differs from its reference,
        whosever defect it is.
    """

    failed: dict[str, str] = field(default_factory=dict)
    defects: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: Sets = field(default_factory=Sets)
    pairs: list[tuple[str, Array, Array]] = field(default_factory=list)
    reference: Defects = field(default_factory=Defects)
    unlike: dict[str, dict[str, str]] = field(default_factory=dict)

    def note(self, check: str, case: str, said: str, failed: bool) -> None:
        """Note a defect; `failed`: the case cannot be scored."""
        self.defects.setdefault(check, {})[case] = said
        if failed:
            self.failed.setdefault(case, said)


@dataclass(frozen=True, eq=False)
class Gate:
    """What the gate says.

    Args:
        findings: one a check.
        failed: case -> why its candidate cannot be scored; it counts as the worst value.
        cases: those to be scored: without cases and roles that a defect of the reference voids.
    """

    findings: tuple[Finding, ...]
    failed: Mapping[str, str]
    cases: Cases


def check(cases: Cases, limits: Limits = Limits(), progress: Progress = silent) -> Gate:
    """Look at every image once and say whether the cases can be compared.

    Args:
        cases: all of them.
        limits: thresholds.
        progress: called as work goes on.
    """
    look = Look()
    for done, case in enumerate(cases.cases, 1):
        _look(case, cases.paired, limits, look)
        progress("checking integrity", done, len(cases.cases))
    total = len(cases.cases)
    references.resolve(look.reference)
    for case in cases.cases:
        _charge(case, limits, look)
    kept = references.without(cases, look.reference)
    failed = {name: why for name, why in look.failed.items() if name not in look.reference.left_out}
    findings = [_pairing(cases, look), references.finding(look.reference, total, limits.most)]
    findings += [_defect(name, said, look, total, limits) for name, said in CHECKS.items()]
    findings += [_correspondence(look, cases.insisted)] if cases.paired else []
    unread = [
        *look.sets.read(cases.second, "second", progress),
        *look.sets.read(cases.training, "training", progress),
    ]
    findings += [
        look.sets.alike(cases.paired, limits.ratio, limits.offset),
        look.sets.duplicates(),
        look.sets.copies(),
    ]
    findings.append(look.sets.leakage(cases, unread))
    return Gate(tuple(findings), failed, kept)


CHECKS: Mapping[str, str] = {
    "readable": "can be read",
    "finite": "hold finite numbers only",
    "constant": "show something: not all voxels are equal",
    "geometry": "lie on the grid of their reference",
    "units": "have the units and channels of their reference",
    "orientation": "are oriented as their reference",
    "range": "have the intensity range of their reference",
    "companions": "have labels and intervals that can be read and lie on their grid",
}


def _look(case: Case, paired: bool, limits: Limits, look: Look) -> None:
    images: dict[str, Image] = {}
    for side, source in (("candidate", case.candidate), ("reference", case.reference)):
        if source is None:
            if paired:
                look.note("pairing", case.name, f"The {side} is missing.", True)
            continue
        try:
            image = source.load()
        except VeridicalError as error:
            _unusable(
                "finite" if "NaN" in str(error) else "readable", case.name, side, str(error), look
            )
            continue
        if not np.isfinite(image.data).all():
            said = f"it holds {int((~np.isfinite(image.data)).sum())} NaN or infinite voxels."
            _unusable("finite", case.name, side, said, look)
        elif float(np.ptp(image.data)) == 0:
            _unusable(
                "constant", case.name, side, f"every voxel is {float(image.data.flat[0]):g}.", look
            )
        else:
            images[side] = image
            look.sets.add(side, case.name, image)
    if "reference" in images:
        look.reference.look(case, images["reference"], sampled(images["reference"].data))
    if images:
        image = images.get("reference") or images["candidate"]
        look.reference.companions(case, image)
        _companions(case, image, look)
    if len(images) == 2:
        look.reference.seen[case.name].grids["candidate"] = images["candidate"].geometry
        _compare(case.name, images["candidate"], images["reference"], limits, look)


def _unusable(check: str, case: str, side: str, said: str, look: Look) -> None:
    """Note an image that cannot be used: a case whose reference it is, is left out, and its
    candidate not charged.
    """
    if side == "reference":
        look.reference.left_out.setdefault(case, said)
    else:
        look.note(check, case, f"{side}: {said}", True)


def _compare(name: str, candidate: Image, reference: Image, limits: Limits, look: Look) -> None:
    """Note how a candidate differs from its reference, whosever defect that is."""
    found = look.unlike.setdefault(name, {})
    grids = other_grid(candidate.geometry, reference.geometry)
    if grids:
        found["geometry"] = (
            f"Candidate and reference lie on different grids: {grids}. Resample one."
        )
    if candidate.units != reference.units or not _same_channels(candidate, reference):
        said = (
            f"candidate {candidate.units} {candidate.channels}, reference {reference.units} "
            f"{reference.channels}"
        )
        found["units"] = f"They differ: {said}. Convert one, or say --units and --contrast."
        return
    if candidate.geometry.shape != reference.geometry.shape or len(candidate.data) != len(
        reference.data
    ):
        return
    x, y = (sampled(image.data) for image in (candidate, reference))
    turn = turned(x, y, candidate.geometry.shape, limits.turned)
    if turn:
        found["orientation"] = f"The candidate fits far better {turn}. Turn it back."
    scale = rescaled(x, y, limits.ratio, limits.offset)
    if scale:
        found["range"] = f"{scale[0].upper()}{scale[1:]}. Bring both to one scale first."
    if not found and len(look.pairs) < PAIRS:
        look.pairs.append((name, x.astype(np.float32), y.astype(np.float32)))


def _charge(case: Case, limits: Limits, look: Look) -> None:
    """Charge what differs to the candidate, unless it is the reference that is unlike all
    others.
    """
    found, defects = dict(look.unlike.get(case.name, {})), look.reference
    if "geometry" in found and references.off_grid(case.name, defects):
        ours, theirs = (replace(grid, frame="local") for grid in _both(case.name, defects))
        said = (
            "The reference does not lie where other images of the case, or all other references, "
            f"do: {found['geometry']}"
        )
        if not other_grid(ours, theirs) and not {"units", "orientation"} & set(found):
            defects.noted[case.name] = (
                f"{said} Voxel by voxel it fits, so it was compared voxel by voxel."
            )
        else:
            defects.left_out[case.name] = said
        del found["geometry"]
    if "orientation" in found and (turn := references.turned_itself(case, defects, limits.turned)):
        defects.left_out[case.name] = f"The reference fits the others far better {turn}."
    if "range" in found and references.rescaled_itself(case.name, defects, limits.ratio):
        defects.left_out[case.name] = (
            f"The range of the reference is unlike that of all others. {found['range']}"
        )
    if case.name in defects.left_out:
        return
    if "geometry" in found:  # on two grids, voxels say nothing
        found = {"geometry": found["geometry"]}
    for check, said in found.items():
        look.note(check, case.name, said, check != "range")


def _both(case: str, defects: Defects) -> tuple[Geometry, Geometry]:
    return defects.seen[case].grids["candidate"], defects.seen[case].grids["reference"]


def _same_channels(one: Image, other: Image) -> bool:
    """Say whether the channels may be the same: a name that no file states fits every other."""
    if len(one.channels) != len(other.channels):
        return False
    stated = [
        not str(image.header.get("contrast_source", "given")).endswith("not stated")
        for image in (one, other)
    ]
    return one.channels == other.channels or not all(stated)


def _companions(case: Case, image: Image, look: Look) -> None:
    """Note labels and intervals of a candidate that cannot be used."""
    for role in ON_GRID:
        source = case.roles.get(role)
        if not isinstance(source, Source):
            continue
        try:
            companion = source.load()
            if role == "candidate_labels":
                whole_numbers(companion.data)
        except VeridicalError as error:
            look.note("companions", case.name, f"{role}: {error}", True)
            continue
        grids = other_grid(companion.geometry, image.geometry, rounded=True)
        if grids and (
            case.candidate is None
            or other_grid(companion.geometry, case.candidate.load().geometry, rounded=True)
        ):
            look.note(
                "companions",
                case.name,
                f"The {role} lies on another grid: {grids}. Resample it.",
                True,
            )


def _defect(check: str, said: str, look: Look, total: int, limits: Limits) -> Finding:
    found = look.defects.get(check, {})
    if not found:
        return Finding(check, "pass", f"All images {said}.")
    first = next(iter(found))
    reason = (
        f"In {len(found)} of {total} cases it does not hold that images {said}. {first}: "
        f"{found[first]}"
    )
    systematic = len(found) > limits.most * total
    consequence = "" if systematic or check == "range" else " They count as the worst value."
    return Finding(
        check, "fail" if systematic else "warn", reason + consequence, {"cases": sorted(found)}
    )


def _pairing(cases: Cases, look: Look) -> Finding:
    notes = " ".join(cases.notes)
    if not cases.paired:
        return Finding(
            "pairing",
            "pass",
            f"Candidate and reference are two sets without pairs. {notes}".strip(),
        )
    missing = look.defects.get("pairing", {})
    without = [case.name for case in cases.cases if case.candidate is None]
    extra = [case.name for case in cases.cases if case.reference is None]
    if not missing:
        return Finding(
            "pairing", "pass", f"All {len(cases.cases)} cases have both sides. {notes}".strip()
        )
    parts = [
        f"{len(names)} have no {side} ({', '.join(names[:SHOWN])}) and {what}"
        for side, names, what in (
            ("candidate", without, "count as the worst value"),
            ("reference", extra, "are left out"),
        )
        if names
    ]
    verdict: Verdict = "fail" if len(missing) > len(cases.cases) / 2 else "warn"
    reason = f"Of {len(cases.cases)} cases {', '.join(parts)}. {notes}".strip()
    return Finding("pairing", verdict, reason, {"cases": sorted(missing)})


def _correspondence(look: Look, insisted: bool) -> Finding:
    """Say whether pairs are more alike than a candidate and the reference of another case."""
    pairs = look.pairs
    own = [correlation(x, y) for _, x, y in pairs]
    others = [
        correlation(x, pairs[(i + 1) % len(pairs)][2]) for i, (_, x, _) in enumerate(pairs)
        if len(pairs) > 2 and x.shape == pairs[(i + 1) % len(pairs)][2].shape
    ]  # fmt: skip
    if len(others) < FEWEST:
        return Finding(
            "correspondence",
            "not_run",
            f"{len(others)} pairs of one shape: too few to see whether they are pairs.",
        )
    alike, apart = float(np.median(own)), float(np.median(others))
    said = (
        f"Median correlation of pairs {alike:.2f}, of a candidate and another case's reference "
        f"{apart:.2f}"
    )
    if alike > apart + 0.1 * (1 - apart):
        return Finding(
            "correspondence",
            "pass",
            f"{said}: the pairs show the same cases.",
            {"pairs": alike, "others": apart},
        )
    reason = (
        f"{said}: nothing shows that the pairs are of the same cases. Check the names; say "
        "--paired no for two sets "
        "without pairs, or --paired yes where they are pairs and the candidates are that poor."
    )
    return Finding(
        "correspondence", "warn" if insisted else "fail", reason, {"pairs": alike, "others": apart}
    )
