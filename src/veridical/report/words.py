"""Sentences from numbers, shared by the command line's summary and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from veridical.evaluation.regions import Region, foreground, magnitude
from veridical.metrics.coverage import coverage
from veridical.report import numbers
from veridical.report.numbers import IMAGINED, LEAST, MEASURED
from veridical.types import SEVERITY, Array, Finding, Image, Interval, Result, Verdict, worst

KEPT = (0.8, 1.2)
"""Contrast recovery between which a lesion counts as kept."""
LOST = 0.5
"""Contrast recovery below which a lesion counts as lost."""
TITLES: Mapping[Verdict, str] = {
    "fail": "Do not rely on this image as it stands.",
    "warn": "Read this image with care.",
    "pass": "No check objects to this image.",
    "not_run": "No check was run on this image.",
}
ACTIONS: Mapping[Verdict, str] = {
    "fail": "fails",
    "warn": "warns",
    "pass": "passes",
    "not_run": "was not run",
}


@dataclass(frozen=True)
class Headline:
    """The verdict over all findings: the worst one that was run, a title, who said what, and why
    unless all pass.
    """

    verdict: Verdict
    title: str
    text: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Lesion:
    """A known lesion, `mask` bool `(x, y, z)`."""

    mask: Array
    name: str = "lesion"


def percent(share: float) -> str:
    """Return a share as a percentage that never rounds to all or nothing: `82%`, `3.4%`, `more than
    99.9%`.
    """
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}%"
    if value < 0.1:
        return "less than 0.1%"
    if 99.9 < value < 100:
        return "more than 99.9%"
    return (
        f"{value:.0f}%"
        if 9.95 <= value < 98.95 or value > 100
        else f"{value:.1f}".removesuffix(".0") + "%"
    )


def capital(text: str) -> str:
    """Return the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def brief(names: Sequence[str], most: int = 8) -> list[str]:
    """Return names, or of too many the first and the last and how many lie between."""
    if len(names) <= most:
        return list(names)
    return [names[0], names[1], f"{len(names) - 3} more", names[-1]]


def listed(items: Iterable[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    words = list(items)
    return (
        words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
    )


def amount(value: float, units: str) -> str:
    """Return a number to four digits with its unit; a plain number has none."""
    return f"{value:.4g}" if units == "1" else f"{value:.4g} {units}"


def headline(findings: Sequence[Finding]) -> Headline:
    """Return the verdict over all findings: fail before warn before pass; nothing run is no
    pass.
    """
    named = {
        verdict: [f.check for f in findings if f.verdict == verdict]
        for verdict in reversed(SEVERITY)
    }
    verdict = worst(findings)
    said = [_act(one, checks) for one, checks in named.items() if checks]
    text = f"{'; '.join(said)}." if said else "It has no findings."
    reasons = tuple(
        f"{capital(f.check)}: {f.reason}"
        for f in findings
        if f.verdict == verdict in ("fail", "warn")
    )
    return Headline(verdict, TITLES[verdict], capital(text), reasons)


def measured(derived: Result, region: Region) -> list[str]:
    """Return how much of the region was measured, where the rest lies, and what the exact split
    says.
    """
    said = []
    known = numbers.evidence(derived)
    if known is None:
        why = derived.absent.get("evidence", "no reason was given")
        said.append(
            "How much of each voxel was measured and how much imagined is not known: "
            f"{why.rstrip('.')}."
        )
    else:
        split = numbers.shares(known, region.mask)
        said.append(
            f"{capital(percent(split.measured))} of the {region.name} is measured (evidence "
            f"{MEASURED:g} or more), "
            f"{percent(split.mixed)} is owed to scan and prior together, "
            f"{percent(split.imagined)} is imagined (evidence below {IMAGINED:g})."
        )
        if derived.evidence is not None and derived.evidence.about:
            said.append(f"This is about {derived.evidence.about}.")
        place = numbers.place(known, derived.image, region.mask)
        if place is not None:
            said.append(
                f"The {percent(LEAST)} of voxels with the least evidence ({place.bound:.2f} or "
                f"less) lie {_edges(place.edges)} "
                f"and {_rim(place.rim, region.name)}."
            )
    energy = numbers.prior_energy(derived)
    if energy is not None:
        said.append(
            f"By the exact split, {percent(1 - energy)} of the image's energy is fixed by the "
            "measurement; "
            f"{percent(energy)} lies where the scan is blind and was filled in."
        )
    return said


def interval(derived: Result, region: Region, truth: Image | None = None) -> list[str]:
    """Return how wide the interval is and, where the truth is known, how often it holds it."""
    width = numbers.half_width(derived, region.mask)
    if derived.interval is None or width is None:
        return [
            "There is no interval: "
            f"{derived.absent.get('interval', 'no reason was given').rstrip('.')}."
        ]
    half, middle = width
    units = derived.image.units
    relative = (
        f", {percent(half / middle)} of the median signal" if units == "a.u." and middle > 0 else ""
    )
    said = [
        f"The {percent(derived.interval.level)} interval is ± {amount(half, units)} in the median "
        f"voxel{relative}."
    ]
    if truth is not None:
        said.append(
            f"It holds the truth in {percent(held(derived.interval, truth, region.mask))} of the "
            f"{region.name}."
        )
    return said


def held(band: Interval, truth: Image, mask: Array) -> float:
    """Return the share of a mask `(x, y, z)` in which the interval holds the truth."""
    return coverage(band, magnitude(truth.data), mask=mask)


def against_truth(derived: Result, region: Region, truth: Image) -> list[str]:
    """Return how much larger the error is where the image was imagined."""
    ratio = numbers.error_ratio(derived, truth, region.mask)
    if ratio is None:
        return []
    return [
        f"Where it was imagined its mean error is {ratio:.1f} times that where it was measured."
    ]


def lesion(
    results: Mapping[str, Result],
    main: str,
    region: Region,
    found: Lesion,
    truth: Image | None = None,
) -> list[str]:
    """Return what became of a known lesion: its contrast by method, the draws that show it, the
    evidence inside it.
    """
    said = []
    inside = found.mask
    ring = numbers.surroundings(inside, region.mask, results[main].image.geometry)
    if truth is not None and ring.any():
        kept = contrasts(results, region, found, truth)
        if not kept:
            said.append(
                f"In the truth the {found.name} does not stand out from its surroundings in this "
                "contrast."
            )
        else:
            said.append(
                f"Contrast of the {found.name}: "
                f"{listed(f'{name} {what}' for name, what in kept.items())}."
            )
            draws = results[main].draws
            if draws is not None:
                each = numbers.recovery(truth, draws, inside, ring) or []
                shown = sum(value >= LOST for value in each)
                said.append(
                    f"{shown} of {len(each)} draws of {main} show it with at least half of its "
                    "true contrast."
                )
    known = numbers.evidence(results[main])
    if known is not None:
        values = known[:, inside]
        mean = float(values.mean())
        kind = (
            "measured"
            if mean >= MEASURED
            else "imagined"
            if mean < IMAGINED
            else "owed to scan and prior together"
        )
        said.append(
            f"Inside it the evidence is {mean:.2f} on average and {float(values.min()):.2f} at the "
            f"least: it is {kind}."
        )
    band = results[main].interval
    if truth is not None and band is not None:
        said.append(f"The interval holds the truth in {percent(held(band, truth, inside))} of it.")
    return said


def recoveries(
    results: Mapping[str, Result], region: Region, found: Lesion, truth: Image
) -> dict[str, float] | None:
    """Return the lesion contrast of every result over the true one; None where the truth shows
    none.
    """
    first = next(iter(results.values()))
    ring = numbers.surroundings(found.mask, region.mask, first.image.geometry)
    images = np.stack([magnitude(result.image.data) for result in results.values()])
    kept = numbers.recovery(truth, images, found.mask, ring) if ring.any() else None
    return None if kept is None else dict(zip(results, kept, strict=True))


def contrasts(
    results: Mapping[str, Result], region: Region, found: Lesion, truth: Image | None
) -> dict[str, str]:
    """Return for each result what became of the lesion, e.g. `keeps it (97%)`; empty where that is
    not known.
    """
    kept = recoveries(results, region, found, truth) if truth is not None else None
    return {} if kept is None else {name: _kept(value) for name, value in kept.items()}


def summary(derived: Result, region: Region | None = None) -> str:
    """Return a result in a few lines, for a terminal.

    Args: derived: the result. region: what the shares are of, e.g. `Region("brain", mask)`; None
        takes the foreground by a stated rule.

    Returns:
        One line each for the verdict, what was measured, the interval, and what else is absent.
    """
    counted = (
        foreground(derived.image) if region is None else region.checked(derived.image.geometry)
    )
    found = headline(derived.findings)
    parts = [
        f"{found.title} {found.text}",
        " ".join(measured(derived, counted)),
        " ".join(interval(derived, counted)),
    ]
    others = {
        name: reason
        for name, reason in derived.absent.items()
        if name not in ("evidence", "interval")
    }
    parts += [f"No {name}: {reason.rstrip('.')}." for name, reason in others.items()]
    if counted.said and (numbers.evidence(derived) is not None or derived.interval is not None):
        parts.append(f"{capital(counted.name)}: {counted.said}.")
    return "\n".join(parts)


def _act(verdict: Verdict, checks: list[str]) -> str:
    plural = {"fail": "fail", "warn": "warn", "pass": "pass", "not_run": "were not run"}
    return f"{listed(checks)} {ACTIONS[verdict] if len(checks) == 1 else plural[verdict]}"


def _edges(share: float) -> str:
    said = f"({percent(share)} of them on the sharpest fifth of the image)"
    return (
        f"on edges {said}"
        if share > 0.35
        else f"away from edges {said}"
        if share < 0.1
        else f"on edges and off them {said}"
    )


def _rim(share: float, name: str) -> str:
    said = f"({percent(share)} in the outer half of the {name})"
    return (
        f"near the rim {said}"
        if share > 0.6
        else f"in the depth {said}"
        if share < 0.4
        else f"at all depths {said}"
    )


def _kept(value: float) -> str:
    word = (
        "loses it"
        if value < LOST
        else "weakens it"
        if value < KEPT[0]
        else "exaggerates it"
        if value > KEPT[1]
        else "keeps it"
    )
    return f"{word} ({value:.0%})"
