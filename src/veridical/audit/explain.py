"""Explain: which part of which input made a region of a result what it is.

Occlusion: parts of the inputs are taken away one by one, and the change of the region's mean is
noted (Zeiler and Fergus, ECCV 2014, 10.1007/978-3-319-10590-1_53). An image loses one cell of a
grid, filled in from its surroundings; Cartesian raw data lose one sector of one ring of k-space,
from the mask as well. Where a classical method does the job too, from which the network starts, its
changes are taken away: what is explained is what the weights add. The rest is owed to the data and
the formula, whatever the weights. Two checks say whether the map may be believed:

- With random weights it must change, else it shows what any weights do (Adebayo et al., NeurIPS
  2018, arXiv:1810.03292): correlation below 0.2.
- The part that it names must matter more than others. The part is named by one kind of filling and
  tested by another, against parts of equal size elsewhere, so that being the largest of many proves
  nothing by itself: p = (1 + how many matter as much) / (1 + how many).

It makes the result about two hundred times again, of at most seven slices. So it runs only when it
is asked for by name: `veridical audit RESULT --checks explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from veridical.audit.audited_study import Again, AuditedStudy
from veridical.audit.changed_input import data_of, unrepeatable, with_data, with_scan
from veridical.audit.inputs import images, lesions, scan
from veridical.audit.structures import VISIBLE, bright, contrast, foreground
from veridical.errors import VeridicalError
from veridical.physics.cartesian_mri import CartesianScan
from veridical.types import Array, Finding, Geometry, Image, Measurement, Result, Study, Verdict

NAME = "explain"
CELLS = 5
"""Cells of the grid along each axis of a slice."""
RINGS, SECTORS = 4, 6
"""Parts of k-space; 20 or more are needed for a p-value of 0.05."""
ELSEWHERE = 39
"""Other parts that the named one is tested against; fewer where there are not as many."""
SAME = 0.2
"""Correlation with the map of random weights from which the map is theirs."""
LEVEL = 0.05
NEIGHBOURS = 3
"""Slices kept on both sides of the region."""


@dataclass(frozen=True, eq=False)
class InputPart:
    """A part of an input.

    Args:
        source: name of the image, or of the raw data.
        where: in words.
        mask: bool, of the shape of the image `(x, y, z)`, or of k-space `(ky, kx)`.
    """

    source: str
    where: str
    mask: Array


@dataclass(frozen=True, eq=False)
class Asked:
    """What is explained.

    Args:
        study: the input, cut to a few slices.
        result: that is explained.
        channel: of the result.
        region: bool `(x, y, z)`, on the grid of the input.
    """

    study: Study
    result: Result
    channel: int
    region: Array

    def mean(self, made: Result) -> float:
        """Return the mean of the region in a result."""
        return float(made.image.data[self.channel][self.region].mean())


Fill = Callable[[Array, Array], Array]
"""From an image `(x, y, z)` and the mask of a part to the image without it."""


def explain(study: Study, result: Result) -> Finding | None:
    """Attribute a region of the result to its inputs; None unless it is asked for by name.

    The region are the marked lesions of the study, else the strongest structure of the result.
    """
    if not isinstance(study, AuditedStudy) or NAME not in study.asked or study.generated:
        return None
    lacking = unrepeatable(NAME, study, result)
    if lacking is not None or study.alone is None:
        return lacking
    raw = scan(study)
    if raw is not None and not isinstance(raw.operator, CartesianScan):
        return Finding(NAME, "not_run", "Raw data can be occluded where they are Cartesian MRI.")
    channel, region = region_of(study, result)
    small, region = (study, region) if raw is not None else _slab(study, result, region)
    parts = parts_of(small, result)
    if len(parts) < 3:
        return Finding(NAME, "not_run", "The inputs have too few parts with an object in them.")
    asked = Asked(small, result, channel, region)
    own, random, less = attribution(study.alone, asked, parts, surroundings), None, None
    if study.random is not None:
        random = attribution(study.random, asked, parts, surroundings)
        less, plain = _classical(study.classical, asked, parts)
        own, random = own - plain, random - plain
    named = int(np.argmax(np.abs(own)))
    chance = p_value(study.alone, less, asked, parts, named)
    shown = f"{'what the network adds to ' if less else ''}{result.image.channels[channel]}"
    return _finding(shown, parts, named, own, random, chance)


def _classical(
    make: Again | None, asked: Asked, parts: list[InputPart]
) -> tuple[Again | None, Array]:
    """Return the classical method of the job and its attribution; None and zeros without one."""
    if make is not None:
        with suppress(VeridicalError):  # the classical method is not for this job
            return make, attribution(make, asked, parts, surroundings)
    return None, np.zeros(len(parts))


def attribution(make: Again, asked: Asked, parts: list[InputPart], fill: Fill) -> Array:
    """Return by how much the mean of a region changes without each part, `(part,)`, in units of the
    99th percentile of the result.

    Args:
        make: the method.
        asked: what is explained.
        parts: of the input.
        fill: what stands in for a part of an image.
    """
    level = bright(asked.result.image.data[asked.channel])
    before = asked.mean(make(asked.study, 0))
    changed = (without(asked.study, asked.result, part, fill) for part in parts)
    return np.array([(asked.mean(make(one, 0)) - before) / level for one in changed])


def p_value(
    make: Again, less: Again | None, asked: Asked, parts: list[InputPart], named: int
) -> float:
    """Return the chance that a part elsewhere matters as much as the named one, by another filling
    than the one by which it was named; the changes of `less` are taken away.
    """
    rng = np.random.default_rng(0)
    others = [n for n in range(len(parts)) if n != named]
    picked = rng.permutation(others)[:ELSEWHERE]
    tested = [parts[named], *(parts[n] for n in picked)]
    moved = attribution(make, asked, tested, evened)
    if less is not None:
        moved = moved - attribution(less, asked, tested, evened)
    return float(1 + np.sum(np.abs(moved[1:]) >= np.abs(moved[0]))) / len(moved)


def region_of(study: Study, result: Result) -> tuple[int, Array]:
    """Return a channel and bool `(x, y, z)`: marked lesions, else the strongest structure."""
    marked = lesions(study, result.image.geometry)
    if marked is not None:
        return 0, marked
    spacing = result.image.geometry.spacing
    data = np.asarray(result.image.data[0], np.float32)
    size = min(min(data.shape[:2]) * max(spacing[:2]) / 10, 12.0)
    size = max(size, 2 * max(spacing[:2]))
    strength = np.abs(contrast(np.moveaxis(data, 2, 0), size, spacing[:2]))
    inside = foreground(np.moveaxis(data, 2, 0))
    inside = ndimage.binary_erosion(inside, np.ones((1, 5, 5))) | (inside & ~inside.any())
    z, x, y = np.unravel_index(int(np.argmax(strength * inside)), strength.shape)
    grid = np.indices(data.shape)
    away = np.hypot((grid[0] - x) * spacing[0], (grid[1] - y) * spacing[1])
    return 0, np.asarray((away <= size / 2) & (grid[2] == z))


def parts_of(study: Study, result: Result) -> list[InputPart]:
    """Return the parts of all inputs that hold something."""
    raw = scan(study)
    if raw is not None:
        return _sectors(raw, next(iter(data_of(study, result))))
    found = []
    for name, image in images(study, result).items():
        inside = foreground(image.data[0])
        columns, rows, _ = (
            np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))
        )
        for i, xs in enumerate(np.array_split(np.arange(columns[0], columns[-1] + 1), CELLS)):
            for j, ys in enumerate(np.array_split(np.arange(rows[0], rows[-1] + 1), CELLS)):
                mask = np.zeros(inside.shape, bool)
                mask[np.ix_(xs, ys)] = True
                if inside[mask].mean() > 0.25:
                    found.append(
                        InputPart(name, f"cell {i + 1}, {j + 1} of {CELLS} x {CELLS}", mask)
                    )
    return found


def without(study: Study, result: Result, part: InputPart, fill: Fill) -> Study:
    """Return the study without a part of its input."""
    raw = scan(study)
    if raw is None:
        data = images(study, result)[part.source].data
        changed = np.stack([fill(np.asarray(channel), part.mask) for channel in data])
        return with_data(study, {part.source: changed})
    assert isinstance(raw.operator, CartesianScan)
    mask = raw.operator.mask & ~part.mask
    other = replace(raw, data=raw.data * mask[:, None], operator=replace(raw.operator, mask=mask))
    return with_scan(study, other)


def surroundings(image: Array, mask: Array) -> Array:
    """Fill a part with what is around it: a wide normalized Gaussian of the rest."""
    width = [0.35 * np.ptp(np.flatnonzero(mask.any(axis=a))) for a in ((1, 2), (0, 2))]
    rest, sigma = (~mask).astype(np.float32), [max(1.0, w) for w in width] + [0.0]
    amount = ndimage.gaussian_filter(rest, sigma, mode="nearest")
    smooth = ndimage.gaussian_filter(rest * image, sigma, mode="nearest") / np.maximum(amount, 1e-6)
    return np.where(mask, smooth, image)


def evened(image: Array, mask: Array) -> Array:
    """Fill a part with its own mean in the foreground: its detail is gone, its brightness stays."""
    inside = mask & foreground(image)
    return np.where(inside, float(image[inside].mean()) if inside.any() else 0.0, image)


def _sectors(raw: Measurement, name: str) -> list[InputPart]:
    """Return sectors of rings of k-space, outside of the part that coil maps are found from."""
    assert isinstance(raw.operator, CartesianScan)
    rows, columns = raw.operator.mask.shape[-2:]
    ky, kx = np.meshgrid(
        *[(np.arange(n) - n // 2) / (n / 2) for n in (rows, columns)], indexing="ij"
    )
    centre = (np.abs(ky * rows / 2) <= 12) & (np.abs(kx * columns / 2) <= 12)
    ring = np.minimum((np.hypot(ky, kx) * RINGS).astype(int), RINGS - 1)
    turn = ((np.arctan2(ky, kx) / np.pi % 1) * SECTORS).astype(int) % SECTORS
    found = []
    for r in range(RINGS):
        for s in range(SECTORS):
            mask = (ring == r) & (turn == s) & ~centre
            if (mask & raw.operator.mask.any(0)).any():
                angle = f"{s * 180 // SECTORS} to {(s + 1) * 180 // SECTORS} degrees"
                found.append(InputPart(name, f"ring {r + 1} of {RINGS} of k-space, {angle}", mask))
    return found


def _slab(study: Study, result: Result, region: Array) -> tuple[Study, Array]:
    """Return images and region cut to the slices about the region, where all lie on one grid."""
    given = images(study, result)
    depth = region.shape[2]
    same = all(image.geometry.shape == region.shape for image in given.values())
    if depth <= 2 * NEIGHBOURS + 1 or not same:
        return study, region
    middle = int(region.sum((0, 1)).argmax())
    first = min(max(0, middle - NEIGHBOURS), depth - 2 * NEIGHBOURS - 1)
    kept = slice(first, first + 2 * NEIGHBOURS + 1)
    cut: Mapping[str, Image | Measurement] = {
        name: replace(image, data=image.data[..., kept], geometry=_cut(image.geometry, kept))
        for name, image in given.items()
    }
    day = study.days[-1]
    return Study(study.id, {day: cut}, study.covariates), region[..., kept]


def _cut(geometry: Geometry, kept: slice) -> Geometry:
    affine = geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * kept.start
    return replace(geometry, shape=(*geometry.shape[:2], kept.stop - kept.start), affine=affine)


def _finding(
    channel: str,
    parts: list[InputPart],
    named: int,
    own: Array,
    random: Array | None,
    chance: float,
) -> Finding:
    """Return the attribution in words; it warns where a check does not hold."""
    part, moved = parts[named], float(own[named])
    reason = (
        f"The region of {channel} depends most on {part.source}, {part.where}: without it the mean "
        f"of the region changes by {moved:+.1%} of the 99th percentile. Removed in another way it "
        f"matters more than others with p = {chance:.3f}."
    )
    shares = {
        source: float(
            np.abs(own[[n for n, one in enumerate(parts) if one.source == source]]).sum()
            / max(float(np.abs(own).sum()), 1e-20)
        )
        for source in dict.fromkeys(one.source for one in parts)
    }
    evidence: dict[str, Any] = {
        "named": {"source": part.source, "where": part.where},
        "change": moved,
        "p_value": chance,
        "shares": shares,
        "parts": [[one.source, one.where, float(a)] for one, a in zip(parts, own, strict=True)],
    }
    doubts = [] if chance <= LEVEL else ["the named part does not matter more than others"]
    if abs(moved) < VISIBLE / 10:
        doubts.append("no part changes the region visibly")
    if random is not None:
        alike = correlation(own, random)
        evidence["correlation_random_weights"] = alike
        reason += f" With random weights the map correlates with this one at {alike:.2f}."
        if alike >= SAME:
            doubts.append(
                f"it is what random weights show too (from {SAME:g} on), so it is owed to the "
                "method and the data, not to what was learned"
            )
    verdict: Verdict = "warn" if doubts else "pass"
    if doubts:
        reason += f" Do not read it as an explanation of the model: {'; '.join(doubts)}."
    return Finding(NAME, verdict, reason, evidence)


def correlation(first: Array, second: Array) -> float:
    """Return Pearson's correlation of two attributions; 0 where one does not vary."""
    a, b = first - first.mean(), second - second.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0
