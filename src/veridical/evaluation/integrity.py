"""Level 0, the gate: can these images be compared at all? Where they cannot, no score is given, and the reason is.

A defect of single candidates is a warning: they count as the worst value. A defect of most, or one that voids the comparison
whatever its share (the same image twice, a patient in training and test), fails the gate. Defects of the reference itself are
looked for first, in `reference`: they are told, and no candidate is charged with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from veridical.errors import VeridicalError
from veridical.evaluation import reference as references
from veridical.evaluation.cases import Case, Cases
from veridical.evaluation.likeness import correlation, other_grid, rescaled, sampled, turned
from veridical.evaluation.reference import Defects
from veridical.evaluation.regions import whole_numbers
from veridical.evaluation.sources import Source
from veridical.provenance import digest
from veridical.task import Progress, silent
from veridical.types import Array, Finding, Geometry, Image, Verdict

SHOWN = 3
FEWEST = 5
PAIRS = 40
"""Pairs that are held against each other to see whether they are pairs."""
KEPT = 2048
"""Voxels of an image that are kept to compare the ranges of whole sets."""
ON_GRID = ("candidate_labels", "lower", "upper")
"""Roles of the candidate whose images lie on the grid of the case."""


@dataclass(frozen=True)
class Rules:
    """What is too much.

    Args:
        most: share of cases with a defect beyond which it is systematic.
        ratio: of the candidate's to the reference's intensity range.
        offset: of the candidate's percentiles from the reference's, in ranges of the reference.
        turned: gain of correlation (Fisher's z) by turning the candidate from which it counts as turned.
    """

    most: float = 0.5
    ratio: float = 3.0
    offset: float = 0.25
    turned: float = 0.5


@dataclass
class Kind:
    """What the images of one set are like.

    Args:
        dimensions: number of axes longer than one voxel and number of channels, in words.
        units: as the images say.
        voxels: a few of each image.
    """

    dimensions: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    voxels: list[Array] = field(default_factory=list)

    def add(self, image: Image) -> None:
        """Take note of one image."""
        shape = image.geometry.shape
        channels = f"{len(image.data)} channel{'s' if len(image.data) > 1 else ''}"
        self.dimensions.add(f"{'3D' if shape[2] > 1 else '2D'}, {channels}")
        self.units.add(image.units)
        flat = sampled(image.data).ravel()
        self.voxels.append(flat[:: max(1, flat.size // KEPT)].astype(np.float32))


@dataclass
class Look:
    """What one pass over the images saw.

    Args:
        failed: case -> why it cannot be scored.
        defects: check -> case -> what is wrong.
        digests: side -> hash of the voxels -> cases; images without content are left out.
        kinds: side or set -> what its images are like.
        pairs: name, candidate and reference of some pairs at a few voxels.
        reference: defects of the reference side.
        unlike: case -> check -> how its candidate differs from its reference, whosever defect it is.
    """

    failed: dict[str, str] = field(default_factory=dict)
    defects: dict[str, dict[str, str]] = field(default_factory=dict)
    digests: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
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


def check(cases: Cases, rules: Rules = Rules(), progress: Progress = silent) -> Gate:
    """Look at every image once and say whether the cases can be compared.

    Args:
        cases: all of them.
        rules: thresholds.
        progress: called as work goes on.
    """
    look = Look()
    for done, case in enumerate(cases.cases, 1):
        _look(case, cases.paired, rules, look)
        progress("checking integrity", done, len(cases.cases))
    total = len(cases.cases)
    references.resolve(look.reference)
    for case in cases.cases:
        _charge(case, rules, look)
    kept = references.without(cases, look.reference)
    failed = {name: why for name, why in look.failed.items() if name not in look.reference.left_out}
    findings = [_pairing(cases, look), references.finding(look.reference, total, rules.most)]
    findings += [_defect(name, said, look, total, rules) for name, said in CHECKS.items()]
    findings += [_correspondence(look, cases.insisted)] if cases.paired else []
    unread = [*_further(cases.second, "second", look, progress), *_further(cases.training, "training", look, progress)]
    findings += [_dimensions(look, cases.paired, rules), _duplicates(look), _identical(look), _leakage(cases, look, unread)]
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


def _look(case: Case, paired: bool, rules: Rules, look: Look) -> None:
    images: dict[str, Image] = {}
    for side, source in (("candidate", case.candidate), ("reference", case.reference)):
        if source is None:
            if paired:
                look.note("pairing", case.name, f"The {side} is missing.", True)
            continue
        try:
            image = source.load()
        except VeridicalError as error:
            _unusable("finite" if "NaN" in str(error) else "readable", case.name, side, str(error), look)
            continue
        if not np.isfinite(image.data).all():
            said = f"it holds {int((~np.isfinite(image.data)).sum())} NaN or infinite voxels."
            _unusable("finite", case.name, side, said, look)
        elif float(np.ptp(image.data)) == 0:
            _unusable("constant", case.name, side, f"every voxel is {float(image.data.flat[0]):g}.", look)
        else:
            images[side] = image
            look.digests.setdefault(side, {}).setdefault(_content(image), []).append(case.name)
            look.kinds.setdefault(side, Kind()).add(image)
    if "reference" in images:
        look.reference.look(case, images["reference"], sampled(images["reference"].data))
    if images:
        image = images.get("reference") or images["candidate"]
        look.reference.companions(case, image)
        _companions(case, image, look)
    if len(images) == 2:
        look.reference.seen[case.name].grids["candidate"] = images["candidate"].geometry
        _compare(case.name, images["candidate"], images["reference"], rules, look)


def _unusable(check: str, case: str, side: str, said: str, look: Look) -> None:
    """Note an image that cannot be used: a case whose reference it is, is left out, and its candidate not charged."""
    if side == "reference":
        look.reference.left_out.setdefault(case, said)
    else:
        look.note(check, case, f"{side}: {said}", True)


def _compare(name: str, candidate: Image, reference: Image, rules: Rules, look: Look) -> None:
    """Note how a candidate differs from its reference, whosever defect that is."""
    found = look.unlike.setdefault(name, {})
    grids = other_grid(candidate.geometry, reference.geometry)
    if grids:
        found["geometry"] = f"Candidate and reference lie on different grids: {grids}. Resample one."
    if candidate.units != reference.units or not _same_channels(candidate, reference):
        said = f"candidate {candidate.units} {candidate.channels}, reference {reference.units} {reference.channels}"
        found["units"] = f"They differ: {said}. Convert one, or say --units and --contrast."
        return
    if candidate.geometry.shape != reference.geometry.shape or len(candidate.data) != len(reference.data):
        return
    x, y = (sampled(image.data) for image in (candidate, reference))
    turn = turned(x, y, candidate.geometry.shape, rules.turned)
    if turn:
        found["orientation"] = f"The candidate fits far better {turn}. Turn it back."
    scale = rescaled(x, y, rules.ratio, rules.offset)
    if scale:
        found["range"] = f"{scale[0].upper()}{scale[1:]}. Bring both to one scale first."
    if not found and len(look.pairs) < PAIRS:
        look.pairs.append((name, x.astype(np.float32), y.astype(np.float32)))


def _charge(case: Case, rules: Rules, look: Look) -> None:
    """Charge what differs to the candidate, unless it is the reference that is unlike all others."""
    found, defects = dict(look.unlike.get(case.name, {})), look.reference
    if "geometry" in found and references.off_grid(case.name, defects):
        ours, theirs = (replace(grid, frame="local") for grid in _both(case.name, defects))
        said = f"The reference does not lie where other images of the case, or all other references, do: {found['geometry']}"
        if not other_grid(ours, theirs) and not {"units", "orientation"} & set(found):
            defects.noted[case.name] = f"{said} Voxel by voxel it fits, so it was compared voxel by voxel."
        else:
            defects.left_out[case.name] = said
        del found["geometry"]
    if "orientation" in found and (turn := references.turned_itself(case, defects, rules.turned)):
        defects.left_out[case.name] = f"The reference fits the others far better {turn}."
    if "range" in found and references.rescaled_itself(case.name, defects, rules.ratio):
        defects.left_out[case.name] = f"The range of the reference is unlike that of all others. {found['range']}"
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
    stated = [not str(image.header.get("contrast_source", "given")).endswith("not stated") for image in (one, other)]
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
        if grids and (case.candidate is None or other_grid(companion.geometry, case.candidate.load().geometry, rounded=True)):
            look.note("companions", case.name, f"The {role} lies on another grid: {grids}. Resample it.", True)


def _content(image: Image) -> str:
    """Return the hash of the voxels, whatever the file's type and packing."""
    return digest(image.data.astype(np.float32) + np.float32(0))


def _defect(check: str, said: str, look: Look, total: int, rules: Rules) -> Finding:
    found = look.defects.get(check, {})
    if not found:
        return Finding(check, "pass", f"All images {said}.")
    first = next(iter(found))
    reason = f"In {len(found)} of {total} cases it does not hold that images {said}. {first}: {found[first]}"
    systematic = len(found) > rules.most * total
    consequence = "" if systematic or check == "range" else " They count as the worst value."
    return Finding(check, "fail" if systematic else "warn", reason + consequence, {"cases": sorted(found)})


def _pairing(cases: Cases, look: Look) -> Finding:
    notes = " ".join(cases.notes)
    if not cases.paired:
        return Finding("pairing", "pass", f"Candidate and reference are two sets without pairs. {notes}".strip())
    missing = look.defects.get("pairing", {})
    without = [case.name for case in cases.cases if case.candidate is None]
    extra = [case.name for case in cases.cases if case.reference is None]
    if not missing:
        return Finding("pairing", "pass", f"All {len(cases.cases)} cases have both sides. {notes}".strip())
    parts = [
        f"{len(names)} have no {side} ({', '.join(names[:SHOWN])}) and {what}"
        for side, names, what in (("candidate", without, "count as the worst value"), ("reference", extra, "are left out"))
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
        return Finding("correspondence", "not_run", f"{len(others)} pairs of one shape: too few to see whether they are pairs.")
    alike, apart = float(np.median(own)), float(np.median(others))
    said = f"Median correlation of pairs {alike:.2f}, of a candidate and another case's reference {apart:.2f}"
    if alike > apart + 0.1 * (1 - apart):
        return Finding("correspondence", "pass", f"{said}: the pairs show the same cases.", {"pairs": alike, "others": apart})
    reason = (
        f"{said}: nothing shows that the pairs are of the same cases. Check the names; say --paired no for two sets "
        "without pairs, or --paired yes where they are pairs and the candidates are that poor."
    )
    return Finding("correspondence", "warn" if insisted else "fail", reason, {"pairs": alike, "others": apart})


def _duplicates(look: Look) -> Finding:
    groups = [(side, names) for side, found in look.digests.items() for names in found.values() if len(names) > 1]
    if not groups:
        return Finding("duplicates", "pass", "No image comes twice.")
    side, names = groups[0]
    of = " It is a defect of the reference, not of the candidate." if all(side == "reference" for side, _ in groups) else ""
    reason = (
        f"{len(groups)} images come more than once, for example the {side} of {', '.join(names[:SHOWN])}: the same voxels. "
        f"Copies count one case several times. Remove them.{of}"
    )
    return Finding("duplicates", "fail", reason, {"groups": [names for _, names in groups[:20]]})


def _identical(look: Look) -> Finding:
    """Say whether candidates, or images of the second set, are the references themselves."""
    real = look.digests.get("reference", {})
    for side, what in (("candidate", "candidates"), ("second", "images of the second set")):
        copies = [(name, real[key][0]) for key, names in look.digests.get(side, {}).items() if key in real for name in names]
        if copies:
            reason = (
                f"{len(copies)} {what} are reference images, voxel for voxel, for example {copies[0][0]}. "
                "Check that the right folder was given."
            )
            return Finding("copies", "fail", reason, {"cases": [name for name, _ in copies]})
    return Finding("copies", "pass", "No candidate is a reference image.")


def _further(sources: Mapping[str, Source], what: str, look: Look, progress: Progress) -> Iterator[str]:
    """Look at the images of another set; yield those that cannot be read."""
    for done, (name, source) in enumerate(sorted(sources.items()), 1):
        try:
            image = source.load()
        except VeridicalError as error:
            yield f"{name} ({error})"
        else:
            look.digests.setdefault(what, {}).setdefault(_content(image), []).append(name)
            look.kinds.setdefault(what, Kind()).add(image)
        progress(f"checking the {what} set", done, len(sources))


def _dimensions(look: Look, paired: bool, rules: Rules) -> Finding:
    """Say whether the sets that are compared as sets are of one kind: dimensions, units and, without pairs, range."""
    real = look.kinds.get("reference")
    for name, kind in look.kinds.items():
        if real is None or name == "reference" or (paired and name == "candidate"):
            continue
        for what, ours, theirs in (("dimensions", kind.dimensions, real.dimensions), ("units", kind.units, real.units)):
            if ours != theirs:
                said = f"{', '.join(sorted(ours))} in the {name} set, {', '.join(sorted(theirs))} in the reference set"
                return Finding("dimensions", "fail", f"The sets differ in {what}: {said}. Convert one.", {name: sorted(ours)})
        scale = rescaled(np.concatenate(kind.voxels), np.concatenate(real.voxels), rules.ratio, rules.offset, paired=False)
        if scale and name == "candidate":
            return Finding("dimensions", "fail", f"The sets differ in range: {scale}. Bring both to one scale first.")
    mixed = [
        f"the {name} set holds {' and '.join(sorted(k.dimensions))}" for name, k in look.kinds.items() if len(k.dimensions) > 1
    ]
    if mixed:
        return Finding("dimensions", "fail", f"Scores of different kinds cannot be averaged: {'; '.join(mixed)}. Part them.")
    return Finding("dimensions", "pass", "All sets are of one kind.")


def _leakage(cases: Cases, look: Look, unread: list[str]) -> Finding:
    """Say whether images or patients that a model was trained on are among the candidates or the references."""
    split = _split(cases)
    if split:
        reason = f"{len(split)} patients are in more than one split of the table, for example {split[0]}. Split by patient."
        return Finding("leakage", "fail", reason, {"patients": split})
    if not cases.training:
        return Finding("leakage", "not_run", "No training set was given, so that leakage cannot be seen. Give --training.")
    ours = {key: names[0] for side in ("reference", "candidate") for key, names in look.digests.get(side, {}).items()}
    trained = look.digests.get("training", {})
    same = [(name, ours[key]) for key, names in trained.items() if key in ours for name in names]
    if same:
        reason = f"{len(same)} training images are among the images judged, voxel for voxel: {same[0][0]} is {same[0][1]}."
        return Finding("leakage", "fail", f"{reason} Remove them from one side.", {"cases": sorted(case for _, case in same)})
    numbered = [name for name, source in cases.training.items() if source.index is not None]
    patients = {cases.patients.get(name, name) for name in cases.training} - set(numbered)
    whose = [case.name for case in cases.cases if case.reference is not None and case.patient in patients]
    if whose:
        reason = (
            f"{len(whose)} test cases are of patients in the training set, for example {whose[0]}. Split by patient; where the "
            "names only look the same, give a table with the column patient."
        )
        return Finding("leakage", "fail", reason, {"cases": whose})
    said = f"None of {len(cases.training)} training images or their patients is among the cases."
    if unread:
        return Finding("leakage", "warn", f"{said} {len(unread)} images could not be read, the first is {unread[0]}")
    return Finding("leakage", "pass", said)


def _split(cases: Cases) -> list[str]:
    """Return the patients that the table's column `split` has in several parts."""
    parts: dict[str, set[str]] = {}
    for case in cases.cases:
        if "split" in case.groups:
            parts.setdefault(case.patient, set()).add(case.groups["split"])
    return sorted(patient for patient, several in parts.items() if len(several) > 1)
