"""Draft sentences of a report from measured findings, each with its interval and its evidence, and
which of them are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.language.fact import Fact
from veridical.phantoms.lesion_measures import diameter, pieces, volume
from veridical.tasks.measured_facts import MeasuredFinding, measured_facts, ventricle_fact
from veridical.types import Array, Finding, Geometry, Image

if TYPE_CHECKING:
    from veridical.tasks.labelling import Labelling
    from veridical.tasks.lesion_masks import LesionMasks

VENTRICLES = "lateral ventricle"
SEEN_ON = {
    "tumour": ("T1c", "T1w", "FLAIR"),
    "oedema": ("FLAIR",),
    "white matter lesions": ("FLAIR",),
    "infarct": ("T1w", "FLAIR"),
    "atrophy": ("T1w", "FLAIR", "T1c"),
}
"""Kind -> channels that it is seen on."""
ERROR = 0.10
"""Relative error of a volume of ventricles that is taken for its interval (an assumption: the
segmenter's own on real heads, docs/measurements/segmentation.md).
"""


@dataclass(frozen=True, eq=False)
class Sentence:
    """A sentence about a finding.

    Args:
        text: the sentence.
        fact: that it says.
        region: `(x, y, z)` bool, what it is about.
        evidence: mean over the region; None where none is known.
        numbers: millimetres and millilitres, each with `lower` and `upper`.
    """

    text: str
    fact: Fact
    region: Array
    evidence: float | None
    numbers: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The name of its region in the label map."""
        return " ".join(w for w in (self.fact.side, self.fact.lobe, self.fact.kind) if w)


def sentences(
    masks: Mapping[float, LesionMasks],
    found: Labelling,
    image: Image,
    shares: Mapping[str, Array] | None,
    age: float,
) -> list[Sentence]:
    """Return all sentences that can be said.

    Args:
        masks: where lesions lie, by the standard deviations by which they must be brighter: 0, and
            above and below for the intervals.
        found: structures of the head.
        image: that was looked at.
        shares: evidence by channel; None: the images are taken as measured.
        age: years; 0: not known, and nothing is said of ventricles.
    """
    usual, geometry = masks[0.0], image.geometry
    measured = measured_facts(usual) if usual.tissue.any() else []
    said = []
    for one in measured:
        numbers = _numbers(one, [masks[shift] for shift in masks if shift], geometry)
        said.append(_sentence(one, numbers, image, shares))
    said += [_none(kind, usual, image, shares) for kind in _missing(usual, measured)]
    if age:
        groups, _ = found.placed(geometry)
        region = groups == found.names.index(VENTRICLES)
        if region.any():
            one = ventricle_fact(region, geometry, age)
            numbers = {
                "volume_ml": _band(one.volume, (1 - ERROR) * one.volume, (1 + ERROR) * one.volume)
            }
            said.append(_sentence(one, numbers | one.about, image, shares))
    return said


def judged(said: Sequence[Sentence], least: float) -> tuple[list[Sentence], list[Sentence]]:
    """Return the sentences that stand on evidence, and those that are refused."""
    kept = [one for one in said if one.evidence is None or one.evidence >= least]
    return kept, [one for one in said if one not in kept]


def findings(
    kept: Sequence[Sentence], refused: Sequence[Sentence], channels: Sequence[str]
) -> Iterator[Finding]:
    """Yield a finding for each sentence, and one that counts them."""
    for one in kept:
        yield Finding("described", "pass", one.text, {**one.numbers, "evidence": one.evidence})
    for one in refused:
        reason = (
            f"Refused: a sentence about {one.fact.kind} would rest on an imagined region (mean "
            f"evidence {one.evidence or 0:.2f})."
        )
        yield Finding("described", "warn", reason, {"evidence": one.evidence})
    open_ = [
        f"{what} (no {name})"
        for name, what in (
            ("T1c", "enhancement"),
            ("FLAIR", "oedema, white matter lesions"),
            ("T1w", "cavities"),
        )
        if name not in channels
    ]
    reason = f"{len(kept)} sentences from measured findings, {len(refused)} refused."
    reason += f" Not assessed: {'; '.join(open_)}." if open_ else ""
    numbers = {"said": len(kept), "refused": len(refused), "not_assessed": open_}
    yield Finding("description", "warn" if refused else "pass", reason, numbers)


def _sentence(
    one: MeasuredFinding,
    numbers: Mapping[str, Any],
    image: Image,
    shares: Mapping[str, Array] | None,
) -> Sentence:
    evidence = _evidence(one.fact.kind, one.region, image, shares)
    said = [f"{_named(one.fact)}."]
    said[0] = said[0][:1].upper() + said[0][1:]
    about = [
        f"{label} {band['value']:.{digits}f} {unit} ({band['lower']:.{digits}f} to "
        f"{band['upper']:.{digits}f})"
        for key, label, unit, digits in (
            ("diameter_mm", "longest axial diameter", "mm", 0),
            ("volume_ml", "volume", "ml", 1),
        )
        if (band := numbers.get(key)) is not None
    ]
    if one.fact.kind == "atrophy":
        about[0] = "lateral ventricles" + about[0].removeprefix("volume")
        about.append(f"usual at that age {one.about['usual_ml']:.1f} ml")
    about.append(f"evidence {1.0 if evidence is None else evidence:.2f}")
    return Sentence(
        f"{said[0][:-1]} ({'; '.join(about)}).", one.fact, one.region, evidence, dict(numbers)
    )


def _none(
    kind: str, masks: LesionMasks, image: Image, shares: Mapping[str, Array] | None
) -> Sentence:
    """Return the sentence that something was looked for and not found."""
    fact = Fact(kind, present=False)  # type: ignore[arg-type]
    evidence = _evidence(kind, masks.tissue, image, shares)
    shown = 1.0 if evidence is None else evidence
    text = f"{_named(fact)} (evidence {shown:.2f} over the brain)."
    return Sentence(text[:1].upper() + text[1:], fact, masks.tissue, evidence, {})


def _missing(masks: LesionMasks, measured: Sequence[MeasuredFinding]) -> list[str]:
    """Return the kinds that these images would show and do not."""
    there = {one.fact.kind for one in measured}
    looked = {
        "tumour": masks.core is not None and masks.bright is not None,
        "white matter lesions": masks.bright is not None,
        "infarct": masks.cavity is not None,
    }
    return [kind for kind, seen in looked.items() if seen and kind not in there]


def _named(fact: Fact) -> str:
    """Return a fact as a report would say it, in words that `language.reader` understands."""
    if not fact.present:
        return f"no {fact.kind}"
    lobes = {"deep": "deep", "cerebellum": "cerebellar", "brain stem": "brain stem"}
    side = {"both": "bilateral"}.get(fact.side, fact.side)
    words = [side, lobes.get(fact.lobe, fact.lobe)]
    if fact.kind == "tumour":
        words.append({True: "enhancing", False: "non-enhancing", None: ""}[fact.enhances])
    if fact.kind == "white matter lesions":
        words.insert(0, str(fact.count))
    noun = fact.kind.replace("lesions", "lesion") if fact.count == 1 else fact.kind
    size = f", {fact.size:.0f} mm" if fact.size else ""
    return " ".join(word for word in [*words, noun] if word) + size


def _evidence(
    kind: str, region: Array, image: Image, shares: Mapping[str, Array] | None
) -> float | None:
    """Return the least mean evidence, over a region, of the channels that a kind is seen on; None
    where no evidence is known.
    """
    if shares is None:
        return None
    used = [name for name in SEEN_ON[kind] if name in image.channels and name in shares]
    used = used or [name for name in image.channels if name in shares]
    return min((float(shares[name][region].mean()) for name in used if region.any()), default=0.0)


def _numbers(
    one: MeasuredFinding, others: Sequence[LesionMasks], geometry: Geometry
) -> dict[str, dict[str, float]]:
    """Return diameter and volume with intervals: the least and the most over stricter and looser
    outlines, and half a voxel at either end.
    """
    if not one.fact.present:
        return {}
    half = float(np.mean(geometry.spacing)) / 2
    regions = [one.region] + [_same(one, masks) for masks in others]
    kept = [region for region in regions if region is not None]
    found = {"volume_ml": [volume(region, geometry) for region in kept]}
    if one.fact.size:
        found["diameter_mm"] = [diameter(region, geometry) for region in kept]
    bands = {name: _band(v[0], min(v), max(v)) for name, v in found.items()}
    if "diameter_mm" in bands:
        band = bands["diameter_mm"]
        bands["diameter_mm"] = _band(
            band["value"], max(0.0, band["lower"] - 2 * half), band["upper"] + 2 * half
        )
    return bands


def _same(one: MeasuredFinding, masks: LesionMasks) -> Array | None:
    """Return the finding under another outline: the pieces that meet its region."""
    kind = one.fact.kind
    mask = masks.cavity if kind == "infarct" else masks.bright
    if kind == "tumour" and one.fact.enhances:
        mask = masks.core
    if mask is None:
        return None
    found = np.zeros(mask.shape, bool)
    for piece in pieces(mask):
        if (piece & one.region).any():
            found |= piece
    return found


def _band(value: float, lower: float, upper: float) -> dict[str, float]:
    return {"value": round(value, 2), "lower": round(lower, 2), "upper": round(upper, 2)}
