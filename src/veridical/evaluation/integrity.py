"""Level 0, the gate: can these images be compared at all? Where they cannot, no score is given, and the reason is.

A defect of single cases is a warning: they count as the worst value. A defect of most cases, or one that voids the comparison
whatever its share (the same image twice, a patient in training and test), fails the gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from veridical.errors import VeridicalError
from veridical.evaluation.cases import Case, Cases
from veridical.evaluation.names import base_of, patient_of
from veridical.evaluation.sources import Source
from veridical.provenance import digest
from veridical.task import Progress, silent
from veridical.types import Array, Finding, Image, Verdict

SHOWN = 3
FEWEST = 5
PAIRS = 40
"""Pairs that are held against each other to see whether they are pairs."""
SAMPLE = 32
"""Voxels along an axis at which images are looked at for orientation and range."""


@dataclass(frozen=True)
class Rules:
    """What is too much.

    Args:
        most: share of cases with a defect beyond which it is systematic.
        ratio: of the candidate's to the reference's intensity range.
        offset: of the candidate's from the reference's middle, in ranges of the reference.
        turned: gain of correlation by turning the candidate from which it counts as turned.
    """

    most: float = 0.5
    ratio: float = 3.0
    offset: float = 1.0
    turned: float = 0.2


@dataclass
class Look:
    """What one pass over the images saw; case names by defect."""

    failed: dict[str, str] = field(default_factory=dict)
    defects: dict[str, dict[str, str]] = field(default_factory=dict)
    digests: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    pairs: list[tuple[str, Array, Array]] = field(default_factory=list)

    def note(self, check: str, case: str, said: str, failed: bool) -> None:
        """Note a defect; `failed`: the case cannot be scored."""
        self.defects.setdefault(check, {})[case] = said
        if failed:
            self.failed.setdefault(case, said)


def check(cases: Cases, rules: Rules = Rules(), progress: Progress = silent) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """Look at every image once and say whether the cases can be compared.

    Args:
        cases: all of them.
        rules: thresholds.
        progress: called as work goes on.

    Returns:
        Findings, one a check, and case -> reason for those that cannot be scored.
    """
    look = Look()
    for done, case in enumerate(cases.cases, 1):
        _look(case, cases.paired, rules, look)
        progress("checking integrity", done, len(cases.cases))
    total = len(cases.cases)
    findings = [_pairing(cases, look)]
    findings += [_defect(name, said, look, total, rules) for name, said in CHECKS.items()]
    findings += [_correspondence(look)] if cases.paired else []
    findings += [_duplicates(look), _identical(look, total), *_leakage(cases, look, progress)]
    return tuple(findings), look.failed


CHECKS: Mapping[str, str] = {
    "readable": "can be read",
    "finite": "hold finite numbers only",
    "constant": "show something: not all voxels are equal",
    "geometry": "lie on the grid of their reference",
    "units": "have the units and channels of their reference",
    "orientation": "are oriented as their reference",
    "range": "have the intensity range of their reference",
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
            look.note("finite" if "NaN" in str(error) else "readable", case.name, f"{side}: {error}", True)
            continue
        look.digests.setdefault(side, {}).setdefault(digest(image.data), []).append(case.name)
        if not np.isfinite(image.data).all():
            look.note(
                "finite", case.name, f"The {side} holds {int((~np.isfinite(image.data)).sum())} NaN or infinite voxels.", True
            )
        elif float(np.ptp(image.data)) == 0:
            look.note("constant", case.name, f"Every voxel of the {side} is {float(image.data.flat[0]):g}.", True)
        else:
            images[side] = image
    if len(images) == 2:
        _compare(case.name, images["candidate"], images["reference"], rules, look)


def _compare(name: str, candidate: Image, reference: Image, rules: Rules, look: Look) -> None:
    one, other = candidate.geometry, reference.geometry
    if one.shape != other.shape or ("index" not in (one.frame, other.frame) and not one.matches(other, 0.01)):
        look.note(
            "geometry", name, f"The candidate is {one}, the reference {other}{_elsewhere(one, other)}. Resample one.", True
        )
        return
    if candidate.units != reference.units or candidate.channels != reference.channels:
        said = f"candidate {candidate.units} {candidate.channels}, reference {reference.units} {reference.channels}"
        look.note("units", name, f"They differ: {said}. Convert one, or say --units and --contrast.", True)
        return
    x, y = (_sampled(image.data) for image in (candidate, reference))
    if len(look.pairs) < PAIRS:
        look.pairs.append((name, x.astype(np.float32), y.astype(np.float32)))
    turned = _turned(x, y, rules.turned)
    if turned:
        look.note("orientation", name, f"The candidate fits far better {turned}. Turn it back.", True)
    ends = [np.percentile(image, (1, 99)) for image in (x, y)]
    (low, high), (floor, ceiling) = ends
    width = max(float(ceiling - floor), 1e-12)
    ratio, offset = float(high - low) / width, abs(float(high + low - ceiling - floor)) / 2 / width
    if not 1 / rules.ratio <= ratio <= rules.ratio or offset > rules.offset:
        said = f"the candidate goes from {low:.4g} to {high:.4g}, the reference from {floor:.4g} to {ceiling:.4g}"
        look.note("range", name, f"{said.capitalize()}. Bring both to one scale first.", False)


def _elsewhere(one: object, other: object) -> str:
    return ", at another place or turned" if str(one) == str(other) else ""


def _sampled(data: Array) -> Array:
    """Return an image at evenly spread voxels, at most 32 along each axis, float64."""
    places = [np.unique(np.linspace(0, n - 1, SAMPLE).round().astype(int)) for n in data.shape[1:]]
    return np.asarray(data[np.ix_(np.arange(len(data)), *places)], dtype=np.float64)


def _turned(candidate: Array, reference: Array, gain: float) -> str:
    """Return how the candidate would have to be turned to fit much better, or nothing."""
    as_is = _correlation(candidate, reference)
    best, said = as_is + gain, ""
    for image, what in _turns(candidate):
        if image.shape == reference.shape and (found := _correlation(image, reference)) > max(best, 0.5):
            best, said = found, f"{what} (correlation {found:.2f} instead of {as_is:.2f})"
    return said


def _turns(data: Array) -> Iterator[tuple[Array, str]]:
    for axis, name in ((1, "x"), (2, "y"), (3, "z")):
        if data.shape[axis] > 1:
            yield np.flip(data, axis), f"flipped along {name}"
    yield np.flip(data, (1, 2)), "flipped along x and y"
    yield data.swapaxes(1, 2), "with x and y exchanged"
    yield np.rot90(data, 1, (1, 2)), "turned by 90 degrees in the x-y plane"
    yield np.rot90(data, -1, (1, 2)), "turned by -90 degrees in the x-y plane"


def _correlation(one: Array, other: Array) -> float:
    x, y = one.ravel() - one.mean(), other.ravel() - other.mean()
    below = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / below if below > 0 else 0.0


def _defect(check: str, said: str, look: Look, total: int, rules: Rules) -> Finding:
    found = look.defects.get(check, {})
    if not found:
        return Finding(check, "pass", f"All images {said}.")
    first = next(iter(found))
    reason = f"{len(found)} of {total} cases do not: the images {said}. {first}: {found[first]}"
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
        f"{len(names)} have no {side} ({', '.join(names[:SHOWN])})"
        for side, names in (("candidate", without), ("reference", extra))
        if names
    ]
    verdict: Verdict = "fail" if len(missing) > len(cases.cases) / 2 else "warn"
    reason = f"Of {len(cases.cases)} cases {' and '.join(parts)}; they count as the worst value. {notes}".strip()
    return Finding("pairing", verdict, reason, {"cases": sorted(missing)})


def _correspondence(look: Look) -> Finding:
    """Say whether pairs are more alike than a candidate and the reference of another case."""
    pairs = look.pairs
    own = [_correlation(x, y) for _, x, y in pairs]
    others = [
        _correlation(x, pairs[(i + 1) % len(pairs)][2]) for i, (_, x, _) in enumerate(pairs)
        if len(pairs) > 2 and x.shape == pairs[(i + 1) % len(pairs)][2].shape
    ]  # fmt: skip
    if len(others) < FEWEST:
        return Finding("correspondence", "not_run", f"{len(others)} pairs of one shape: too few to see whether they are pairs.")
    alike, apart = float(np.median(own)), float(np.median(others))
    said = f"Median correlation of pairs {alike:.2f}, of a candidate and another case's reference {apart:.2f}"
    if alike > apart + 0.1 * (1 - apart):
        return Finding("correspondence", "pass", f"{said}: the pairs show the same cases.", {"pairs": alike, "others": apart})
    reason = f"{said}: the pairs do not show the same cases. Check the names, or say that they are no pairs: --paired no."
    return Finding("correspondence", "fail", reason, {"pairs": alike, "others": apart})


def _duplicates(look: Look) -> Finding:
    groups = [(side, names) for side, found in look.digests.items() for names in found.values() if len(names) > 1]
    if not groups:
        return Finding("duplicates", "pass", "No image comes twice.")
    side, names = groups[0]
    reason = (
        f"{len(groups)} images come more than once, for example the {side} of {', '.join(names[:SHOWN])}: the same voxels. "
        "Copies count one case several times. Remove them."
    )
    return Finding("duplicates", "fail", reason, {"groups": [names for _, names in groups[:20]]})


def _identical(look: Look, total: int) -> Finding:
    """Say whether candidates are the references themselves."""
    real = look.digests.get("reference", {})
    copies = [(name, real[key][0]) for key, names in look.digests.get("candidate", {}).items() if key in real for name in names]
    if not copies:
        return Finding("copies", "pass", "No candidate is a reference image.")
    reason = (
        f"{len(copies)} candidates are reference images, voxel for voxel, for example {copies[0][0]}: they were "
        "not generated. Check that the right folder was given."
    )
    return Finding("copies", "fail", reason, {"cases": [name for name, _ in copies]})


def _leakage(cases: Cases, look: Look, progress: Progress) -> Iterator[Finding]:
    """Say whether training images or patients are among the candidates or the references."""
    if not cases.training:
        yield Finding("leakage", "not_run", "No training set was given, so that leakage cannot be seen. Give --training.")
        return
    ours = {key: name for side in look.digests.values() for key, names in side.items() for name in names}
    same: list[tuple[str, str]] = []
    for done, (name, source) in enumerate(sorted(cases.training.items()), 1):
        key = _digest(source)
        if key in ours:
            same.append((name, ours[key]))
        progress("checking leakage", done, len(cases.training))
    patients = {base_of(patient_of(name)) for name in cases.training}
    whose = [case.name for case in cases.cases if case.reference is not None and case.patient in patients]
    if same:
        reason = f"{len(same)} training images are among the images judged, voxel for voxel: {same[0][0]} is {same[0][1]}."
        yield Finding("leakage", "fail", f"{reason} Remove them from one side.", {"cases": [name for _, name in same]})
    elif whose:
        reason = f"{len(whose)} test cases are of patients in the training set, for example {whose[0]}. Split by patient."
        yield Finding("leakage", "fail", reason, {"cases": whose})
    else:
        yield Finding("leakage", "pass", f"None of {len(cases.training)} training images or their patients is among the cases.")


def _digest(source: Source) -> str:
    try:
        return digest(source.load().data)
    except VeridicalError:
        return ""
