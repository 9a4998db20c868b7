"""Facts of a radiology report: one record a finding, with what is said of it and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from veridical.errors import InputError, nearest

Kind = Literal["tumour", "oedema", "white matter lesions", "infarct", "atrophy"]
Side = Literal["", "left", "right", "both", "midline"]
Lobe = Literal[
    "", "frontal", "parietal", "temporal", "occipital", "deep", "cerebellum", "brain stem"
]
SizeClass = Literal["", "small", "medium", "large"]
CountClass = Literal["", "one", "few", "many"]

SIZES = (15.0, 30.0)
"""mm from which on a tumour or an infarct is medium, and large (our convention; reports use the
words freely).
"""
FEW = 5
"""Lesions up to which they are few; one alone is one."""
CHOICES = {"kind": get_args(Kind), "side": get_args(Side), "lobe": get_args(Lobe)} | {
    "size_class": get_args(SizeClass),
    "count_class": get_args(CountClass),
}
"""Field -> its values."""


@dataclass(frozen=True)
class Fact:
    """One finding.

    Args:
        kind: `tumour` (a mass), `oedema`, `white matter lesions` (multiple-sclerosis-like),
            `infarct` (an old one: a cavity with the signal of fluid) or `atrophy`.
        present: False where the report says that there is none.
        certain: False where it says `possible`, `may`, `cannot be excluded`.
        side: `both` where it is on both, `midline` where it is in the middle; empty: not said.
        lobe: `deep`: basal ganglia, thalamus, capsules, corpus callosum; empty: not said.
        size: longest diameter in an axial plane, mm; of a tumour without its oedema. None: not
            said.
        size_class: `small`, `medium`, `large`; follows from the size where there is one.
        enhances: takes up contrast agent; None: not said.
        count: of lesions; None: not said.
        count_class: `one`, `few`, `many`; follows from the count where there is one.
    """

    kind: Kind
    present: bool = True
    certain: bool = True
    side: Side = ""
    lobe: Lobe = ""
    size: float | None = None
    size_class: SizeClass = ""
    enhances: bool | None = None
    count: int | None = None
    count_class: CountClass = ""

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise InputError(f"{name} = {value!r} of a finding. {nearest(str(value), known)}")
        if (self.size is not None and not self.size > 0) or (
            self.count is not None and self.count < 1
        ):
            raise InputError(
                f"size = {self.size} mm and count = {self.count}; expected more than 0, or None."
            )
        if self.size is not None:
            object.__setattr__(self, "size_class", size_class(self.size))
        if self.count is not None:
            object.__setattr__(self, "count_class", count_class(self.count))

    def mirrored(self) -> Fact:
        """Return the fact of the mirror image: left is right."""
        other: dict[Side, Side] = {"left": "right", "right": "left"}
        return replace(self, side=other.get(self.side, self.side))


@dataclass(frozen=True)
class ReadReport:
    """What was understood of a report, and what was not.

    Args:
        facts: in the order of the text.
        contrasts: images that it names, `T1w`, `FLAIR`, ...
        unread: words and phrases that were not understood, as they stand in the text.
        unknown: findings that are understood and not among the kinds, `haemorrhage`; those that the
            report says are absent are not here.
    """

    facts: tuple[Fact, ...]
    contrasts: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def size_class(size: float) -> SizeClass:
    """Return the class of a diameter in mm."""
    return "small" if size < SIZES[0] else "medium" if size < SIZES[1] else "large"


def count_class(count: int) -> CountClass:
    """Return the class of a number of lesions."""
    return "one" if count == 1 else "few" if count <= FEW else "many"


def present(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Return the facts that say that something is there."""
    return tuple(fact for fact in facts if fact.present)
