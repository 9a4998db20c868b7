"""Lesions that a report describes, put into a head: in the lobe and on the side that it names, as
large and as many as it says. What it leaves open is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import SettingError
from veridical.language.fact import SIZES, Fact, Side
from veridical.phantoms.head_labels import LABELS, TISSUE
from veridical.phantoms.head_painting import Anatomy
from veridical.phantoms.label_maps import structure
from veridical.phantoms.lesion_measures import diameter
from veridical.phantoms.lesions import MS, TUMOUR, frame, row
from veridical.phantoms.lobes import MIDDLE, NAMES, frame_of_labels
from veridical.physics.tissue import TissueClass
from veridical.types import Array

Floats = NDArray[np.float32]

SMALL, LARGE = 8.0, 42.0
"""mm: smallest and largest diameter that is drawn where none is said."""
FEW, MANY = (2, 5), (7, 16)
"""Lesions where the text says few, or many; their least and greatest number."""
APART = 3.0
"""mm between two lesions."""
BEST = 0.5
"""Share of the fitting places, farthest from other lobes, among which one is drawn."""
OEDEMA, PAINTED = 0.7, 0.6
"""How often a tumour that enhances has oedema, and how often one enhances, where it is not said."""
STEPS = 7
"""Halvings of the range of sizes."""
REACHED = 0.85
"""Share of the described diameter that a lesion must have."""
CORE = tuple(LABELS.index(name) for name in ("necrosis", "enhancing tumour"))
SWOLLEN = LABELS.index("oedema")
CAVITY = structure("fluid around the brain")


@dataclass(frozen=True, eq=False)
class Described:
    """A lesion to be drawn.

    Args:
        fact: that describes it.
        lesion: `(17,)`, see `lesions.row`.
        size: longest axial diameter, mm; None: as the row has it.
        enhances: whether a tumour has a core and a rim that enhances.
    """

    fact: Fact
    lesion: Floats
    size: float | None
    enhances: bool


def planned(anatomy: Anatomy, facts: Sequence[Fact], rng: np.random.Generator) -> list[Described]:
    """Return the lesions of the facts that say that something is there; `atrophy` is none.

    Args:
        anatomy: the head without them.
        facts: of a report.
        rng: draws what is left open.

    Raises:
        SettingError: the head has no place of that description.
    """
    places = _places(anatomy)
    found: list[Described] = []
    tumours = [fact for fact in facts if fact.kind == "tumour" and fact.present]
    for fact in facts:
        if not fact.present or fact.kind == "atrophy" or (fact.kind == "oedema" and tumours):
            continue
        sides = _sides(fact, rng)
        for side in sides:
            one = replace(fact, side=side)
            found.append(_lesion(places, one, facts, found, rng))
    return found


def drawn(anatomy: Anatomy, lesions: Sequence[Described]) -> Anatomy:
    """Return the head with the lesions, each as large as it is described.

    Raises:
        SettingError: one does not fit at its place.
    """
    for one in lesions:
        anatomy = _fitted(anatomy, one) if one.size else _painted(anatomy, one, 1.0)
    return anatomy


@dataclass(frozen=True, eq=False)
class _Places:
    """Where lesions may lie.

    Args:
        at: `(n, 3)` mm from the middle of the brain, in white and deep grey matter.
        depth: `(n,)` mm to the surface of such matter and cortex.
        across: `(n,)` mm from the plane between the hemispheres, right positive.
        values: `(n, lobe)` of the rule of the lobes.
    """

    at: Floats
    depth: Array
    across: Array
    values: Array


def _sides(fact: Fact, rng: np.random.Generator) -> list[Side]:
    """Return the side of each lesion of a fact."""
    count = fact.count or 1
    if fact.kind == "white matter lesions" and fact.count is None:
        low, high = {"one": (1, 1), "few": FEW, "": (4, 12)}.get(fact.count_class, MANY)
        count = int(rng.integers(low, high + 1))
    elif fact.count is None and fact.count_class in ("few", "many"):
        count = int(rng.integers(2, 4))
    if fact.side != "both":
        return [fact.side] * count
    both: tuple[Side, Side] = ("left", "right")
    return [both[k % 2] for k in range(max(count, 2))]


def _lesion(
    places: _Places,
    fact: Fact,
    facts: Sequence[Fact],
    others: Sequence[Described],
    rng: np.random.Generator,
) -> Described:
    enhances = fact.enhances if fact.enhances is not None else bool(rng.random() < PAINTED)
    if fact.kind == "white matter lesions":
        radius = float(np.clip(rng.lognormal(1.15, 0.3), 2.2, 6.0))
        radii, size = radius * np.array([rng.uniform(1.0, 1.5), 1.0, 1.0]), None
        rough, reach = rng.uniform(0.05, 0.12), 1.0
    else:
        size = fact.size or _size(fact, rng)
        radii = size / 2 * np.sort(rng.uniform(0.75, 1.0, 3))[::-1]
        rough = rng.uniform(0.04, 0.1)
        reach = rng.uniform(1.4, 1.9) if _swollen(fact, facts, enhances, rng) else 1.0
    kind = TUMOUR if fact.kind in ("tumour", "oedema") else MS
    centre = _place(places, fact, float(radii.mean()), others, rng)
    lesion = row(kind, centre, frame(rng.normal(size=3), rng), radii, rough, reach)
    return Described(fact, lesion, size, enhances and fact.kind == "tumour")


def _size(fact: Fact, rng: np.random.Generator) -> float:
    low, high = {
        "small": (SMALL, SIZES[0] - 2),
        "medium": (SIZES[0] + 2, SIZES[1] - 2),
        "large": (SIZES[1] + 2, LARGE),
    }.get(fact.size_class, (SMALL, 20.0 if fact.kind == "infarct" else LARGE))
    return float(rng.uniform(low, high))


def _swollen(fact: Fact, facts: Sequence[Fact], enhances: bool, rng: np.random.Generator) -> bool:
    """Say whether there is oedema about a tumour; a tumour that does not enhance looks like it."""
    if fact.kind != "tumour" or not enhances:
        return False
    said = [one.present for one in facts if one.kind == "oedema"]
    return said[0] if said else bool(rng.random() < OEDEMA)


def _place(
    places: _Places,
    fact: Fact,
    radius: float,
    others: Sequence[Described],
    rng: np.random.Generator,
) -> Floats:
    """Draw the middle of a lesion, mm from the middle of the brain: in white or deep grey matter,
    in its lobe, on its side, clear of other lesions.
    """
    at, across, values = places.at, places.across, places.values
    fits = np.ones(len(at), bool)
    if fact.side in ("left", "right"):
        clear = MIDDLE + min(radius, 10.0)
        fits &= (across < -clear) if fact.side == "left" else (across > clear)
    elif fact.side == "midline":
        fits &= np.abs(across) < MIDDLE / 2
    margin = np.zeros(len(at))
    if fact.lobe:
        wanted = NAMES.index(fact.lobe)
        rest = np.delete(values, wanted, 1).max(1)
        margin = values[:, wanted] - rest
        fits &= margin > 0
    for other in others:
        gap = np.linalg.norm(at - other.lesion[1:4], axis=1)
        fits &= gap > 1.5 * (radius + other.lesion[13]) + APART
    if not fits.any():
        raise SettingError(
            f"This head has no place for {described(fact)}. Describe another place, fewer "
            "or smaller lesions, or take another --number or --seed."
        )
    deep = np.minimum(places.depth[fits], radius)
    worth = deep / max(radius, 1.0) + np.clip(margin[fits], 0, 4) / 4
    chosen = np.flatnonzero(fits)[worth >= np.quantile(worth, 1 - BEST)]
    return np.asarray(at[rng.choice(chosen)] + rng.uniform(-0.5, 0.5, 3), np.float32)


def _places(anatomy: Anatomy) -> _Places:
    """Return where lesions may lie in a head."""
    brain = frame_of_labels(anatomy.labels, anatomy.geometry)
    steps = tuple(max(1, round(2.0 / size)) for size in anatomy.geometry.spacing)
    coarse = anatomy.labels[tuple(slice(None, None, step) for step in steps)]
    tissue = TISSUE[coarse]
    white, deep, grey = (
        int(t) for t in (TissueClass.WHITE, TissueClass.DEEP_GREY, TissueClass.GREY)
    )
    matter = np.isin(tissue, (white, deep)) & (coarse != structure("spinal cord"))
    sampling = [size * step for size, step in zip(anatomy.geometry.spacing, steps, strict=True)]
    solid = np.isin(tissue, (white, deep, grey))
    depth = ndimage.distance_transform_edt(solid, sampling=sampling)
    index = np.argwhere(matter) * np.array(steps)
    at = np.asarray(index @ anatomy.placed[:, :3].T + anatomy.placed[:, 3], np.float32)
    points = at + anatomy.centre
    return _Places(at, depth[matter], points[:, 0] - brain.centre[0], brain.margins(points))


def _painted(anatomy: Anatomy, one: Described, factor: float) -> Anatomy:
    """Return the head with a lesion, larger or smaller by a factor."""
    lesion = one.lesion.copy()
    lesion[4:13] /= np.float32(factor)
    lesion[13] *= np.float32(factor)
    after = anatomy.with_lesions(lesion[None], one.enhances)
    if one.fact.kind != "infarct":
        return after
    labels = anatomy.labels.copy()
    labels[after.labels != anatomy.labels] = CAVITY
    return replace(anatomy, labels=labels)


def _fitted(anatomy: Anatomy, one: Described) -> Anatomy:
    """Return the head with a lesion of the diameter that it is to have."""
    wanted, low, high = one.size or 0.0, 0.3, 2.2
    best, error = anatomy, np.inf
    for _ in range(STEPS):
        middle = (low + high) / 2
        after = _painted(anatomy, one, middle)
        reached = measured(anatomy, after, one)
        if abs(reached - wanted) < error:
            best, error = after, abs(reached - wanted)
        low, high = (middle, high) if reached < wanted else (low, middle)
    if error > max((1 - REACHED) * wanted, 1.5 * max(anatomy.geometry.spacing)):
        raise SettingError(
            f"There is no room for {described(one.fact)} at the place that was drawn: it comes out "
            f"{error:.0f} mm off. Describe a smaller one, or take another --number."
        )
    return best


def measured(before: Anatomy, after: Anatomy, one: Described) -> float:
    """Return the longest axial diameter of what was drawn, mm; of a tumour that enhances without
    its oedema.
    """
    changed = after.labels != before.labels
    if one.enhances:
        changed &= np.isin(after.labels, CORE)
    return diameter(changed, before.geometry)


def described(fact: Fact) -> str:
    """Return a fact in a few words: `a left frontal tumour of 20 mm`."""
    place = " ".join(word for word in (fact.side, fact.lobe, fact.kind) if word)
    return place + (f" of {fact.size:g} mm" if fact.size else "")
