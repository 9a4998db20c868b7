"""Copies: does a set of generated images hold images that its generator learned from, as they are
or flipped, shifted, noisy, cropped or partly changed?

Each generated image has a gap: the logarithm of its distance to the third most similar training
patient over that to the most similar one, each by that patient's most similar image. A copy lies
far nearer to one patient than to all others; an image that is merely typical, blurred or of little
variety does not. Where points lie
evenly, gaps have an exponential tail (Renyi; Facco et al. 2017, 10.1038/s41598-017-11873-y). What
gaps are without copies is known from the training images, each held out in turn with all of its
patient, and from images that were kept from training. Images of one patient are those whose names
share a `sub-LABEL` (BIDS); any other image counts as a patient.

Three tests share the level. The largest gap is held against the tail of the known ones, its scale
being estimated. The sum of all gaps beyond a limit is held against permutations of which gaps are
of generated images. Where images were kept from training, the sum of the gaps that point to
training images is held against permutations of which real images trained, which holds whatever the
generator is like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.audit.audited_study import AuditedStudy
from veridical.audit.picture_pairs import Numbers
from veridical.audit.resemblance import (
    Neighbours,
    Pictures,
    extent_of,
    joined,
    nearest,
    numbered,
    of_arrays,
    patients_of,
    pictures,
    reduced,
)
from veridical.provenance import digest
from veridical.types import Array, Finding, Image, Result, Study

NAME = "copies"
SUBJECT = "set"
LEVEL = 0.05
THIRD = 2
"""Position of the training patient that the nearest is compared with: a patient who comes twice
under two names hides no copy.
"""
LEAST, LEAST_PATIENTS = 10, 5
"""Training images and patients without whom nothing can be said."""
TAIL = 0.2
"""Share of the known gaps, the largest, that give the scale of the tail; at least FEWEST."""
FEWEST = 5
BEYOND = 0.9
"""Quantile of all gaps beyond which they count in the sums."""
PERMUTATIONS = 1999
PLANTED = 0.01
"""Share of the generated images that are replaced by copies to learn the power of the tests."""
POWER = 0.8
"""Power below which a set without a finding is called inconclusive."""
TRIALS, TRIED = 200, 60
"""Sets with planted copies, and training images that are copied for them."""
SHOWN = 5
Gaps = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ComparedSets:
    """A generated set, what its generator learned from, and what it did not.

    Args:
        generated, training: on the small grid.
        held_out: real images that did not train; None where none are known.
        near: of the generated images among the training images.
        known: gaps without copies: of training images among the others, and of those kept from
            training.
    """

    generated: Pictures
    training: Pictures
    held_out: Pictures | None
    near: Neighbours
    known: Gaps

    @property
    def patients(self) -> Numbers:
        """Of the generated images, then of the known gaps."""
        sets = (self.generated, self.training, self.held_out)
        return numbered(*(one for one in sets if one is not None))


def copies(study: Study, result: Result) -> Finding | None:
    """Look for copies of training images in a set; None without a set or training images."""
    if not isinstance(study, AuditedStudy) or not study.generated or not study.training:
        return None
    patients = int(patients_of([*study.training]).max()) + 1
    if len(study.training) < LEAST or patients < LEAST_PATIENTS:
        reason = (
            f"{len(study.training)} training images of {patients} patients were given; {LEAST} "
            f"images of {LEAST_PATIENTS} patients are needed to say how alike real images are. "
            "Copies were not looked for."
        )
        return Finding(NAME, "not_run", reason)
    same = identical(study.generated, study.training)
    sets = compared(study)
    p, parts = judged(sets)
    evidence = {"p": p, "tests": parts, "generated": len(sets.generated)} | {
        "training": len(sets.training),
        "held_out": len(sets.held_out) if sets.held_out else 0,
    }
    if same or p <= LEVEL:
        return _found(len(sets.generated), same, named(sets), evidence)
    found, plain = power(sets), power(sets, changed=False)
    evidence |= {"power": found, "power_unchanged": plain}
    said = (
        f"p = {p:.2g} for no copies among {len(sets.generated)} images; with {PLANTED:.0%} of "
        f"them replaced by changed copies of training images, {found:.0%} of such sets are found "
        f"({plain:.0%} where copies are only flipped and shifted)"
    )
    if found < POWER:
        advice = f"fewer than {POWER:.0%}. Give more generated images, or more training images"
        return Finding(NAME, "warn", f"Inconclusive: {said}, {advice}.", evidence)
    limit = "Copies of less than half of an image are missed"
    return Finding(NAME, "pass", f"No copy was found: {said}. {limit}.", evidence)


def _found(
    count: int, same: Mapping[str, str], alike: Mapping[str, str], evidence: Mapping[str, Any]
) -> Finding:
    """Return the finding of a set with copies."""
    pairs = {**alike, **same}
    shown = [f"{ours} is like {theirs}" for ours, theirs in [*pairs.items()][:SHOWN]]
    reason = (
        f"Training images were copied: {len(same)} of {count} generated images are the same voxel "
        f"for voxel; gaps as large as these have p = {evidence['p']:.2g} without copies. "
        f"{'; '.join(shown) or 'No single image stands out'}. Do not share these images. Look at "
        "the pairs, then train again on more images, each once."
    )
    return Finding(NAME, "fail", reason, {**evidence, "identical": dict(same), "alike": pairs})


def identical(generated: Mapping[str, Image], training: Mapping[str, Image]) -> dict[str, str]:
    """Return generated image -> training image with the same voxels."""
    known = {_content(image): name for name, image in training.items()}
    hashes = ((name, _content(image)) for name, image in generated.items())
    return {name: known[one] for name, one in hashes if one in known}


def _content(image: Image) -> str:
    return digest(np.asarray(image.data, np.float32) + np.float32(0))


@lru_cache(maxsize=1)
def compared(study: AuditedStudy) -> ComparedSets:
    """Compare a set with its training images; the last study is kept, since several audits ask."""
    every = (study.generated, study.training, study.held_out)
    extent = extent_of(chain.from_iterable(images.values() for images in every))
    generated = pictures(study.generated, extent)
    training = pictures(study.training, extent)
    held_out = pictures(study.held_out, extent) if study.held_out else None
    return of_pictures(generated, training, held_out)


def of_pictures(
    generated: Pictures, training: Pictures, held_out: Pictures | None = None
) -> ComparedSets:
    """Compare sets that are on the small grid already."""
    known = [gaps(nearest(training, training, same=True))]
    if held_out is not None:
        known.append(gaps(nearest(held_out, training)))
    near = nearest(generated, training)
    return ComparedSets(generated, training, held_out, near, np.concatenate(known))


def gaps(near: Neighbours) -> Gaps:
    """Return `log(distance to the third nearest / distance to the nearest)` of each image."""
    distance = near.distance.astype(np.float64)
    return np.asarray(np.log(distance[:, THIRD] / distance[:, 0]))


def judged(sets: ComparedSets, seed: int = 0) -> tuple[float, dict[str, float]]:
    """Return the p-value of a set without copies, and those of the tests it is made of."""
    parts = {name: float(p[0]) for name, p in unlabelled(sets, gaps(sets.near)[None], seed).items()}
    if sets.held_out is not None:
        parts["gaps to training"] = labels_p(sets.generated, sets.training, sets.held_out, seed)
    return min(1.0, len(parts) * min(parts.values())), parts


def unlabelled(sets: ComparedSets, own: Gaps, seed: int = 0) -> dict[str, Gaps]:
    """Return the p-values of the tests that need no held-out images, of sets `(set, image)`."""
    count = own.shape[1]
    return {
        "largest gap": tail_p(own, sets.known, sets.patients[count:]),
        "sum of gaps": sum_p(own, sets.known, sets.patients, seed),
    }


def single_p(own: Gaps, known: Gaps, patients: Numbers | None = None) -> Gaps:
    """Return the p-value of each gap: exact where the known ones have an exponential tail.

    The predictive distribution of a further exponential excess after `k` known ones of sum `s` is
    `(1 + x / s)^-k`. Of known gaps of few `patients` only one each counts for `k`, at their mean.
    """
    count = min(max(FEWEST, round(TAIL * len(known))), len(known) - 1)
    order = np.argsort(-known, kind="stable")
    limit = known[order[count]]
    many = count if patients is None else len(np.unique(patients[order[:count]]))
    total = max(float((known[order[:count]] - limit).mean()) * many, 1e-9)
    beyond = (1 + np.maximum(own - limit, 0) / total) ** -many
    return np.asarray(np.where(own > limit, (count + 1) / (len(known) + 1) * beyond, 1.0))


def tail_p(own: Gaps, known: Gaps, patients: Numbers | None = None) -> Gaps:
    """Return the p-value `(set,)` of the largest gap of each set `(set, image)`, Bonferroni's."""
    return np.asarray(np.minimum(1.0, own.shape[1] * single_p(own, known, patients).min(1)))


def sum_p(own: Gaps, known: Gaps, patients: Numbers | None = None, seed: int = 0) -> Gaps:
    """Return the p-value `(set,)` of the mean gap beyond a limit, by permutations of which patients
    belong to the set.

    Args:
        own: `(set, image)`.
        known: of real images.
        patients: of the images of a set, then of the known gaps; None where each is another.
        seed: of the permutations.
    """
    pooled = np.concatenate([own, np.broadcast_to(known, (len(own), len(known)))], axis=1)
    limit = np.quantile(pooled, BEYOND, axis=1, keepdims=True)
    if patients is None:
        patients = np.arange(pooled.shape[1])
    order = np.argsort(patients, kind="stable")
    starts = np.flatnonzero(np.diff(patients[order], prepend=-1))
    excess = np.add.reduceat(np.maximum(pooled - limit, 0)[:, order], starts, axis=1)
    images = np.diff(np.append(starts, len(order))).astype(np.float32)
    many = len(np.unique(patients[: own.shape[1]]))
    observed = excess[:, :many].sum(1) / images[:many].sum()
    drawn = np.random.default_rng(seed).random((PERMUTATIONS, len(images)), np.float32)
    among = np.argpartition(drawn, many - 1, axis=1)[:, :many]
    mask = np.zeros(drawn.shape, np.float32)
    np.put_along_axis(mask, among, 1, axis=1)
    permuted = mask @ excess.T.astype(np.float32) / (mask @ images)[:, None]
    return np.asarray((1 + (permuted >= observed * (1 - 1e-6)).sum(0)) / (1 + PERMUTATIONS))


def labels_p(generated: Pictures, training: Pictures, held_out: Pictures, seed: int = 0) -> float:
    """Return the p-value of the gaps that point to training images among all real images, by
    permutations of which patients trained; exact whatever the generator.
    """
    real = joined(training, held_out)
    near = nearest(generated, real)
    found = gaps(near)
    excess = np.maximum(found - np.quantile(found, 0.5), 0)
    weight = np.bincount(real.patients[near.index[:, 0]], excess, real.patients.max() + 1)
    many = len(np.unique(training.patients))
    observed = weight[:many].sum()
    rng = np.random.default_rng(seed)
    permuted = [rng.permutation(weight)[:many].sum() for _ in range(PERMUTATIONS)]
    return float((1 + np.sum(np.array(permuted) >= observed * (1 - 1e-9))) / (1 + PERMUTATIONS))


def named(sets: ComparedSets) -> dict[str, str]:
    """Return generated image -> training image it is like, of gaps that stand out alone (Holm)."""
    p = single_p(gaps(sets.near), sets.known, sets.patients[len(sets.generated) :])
    found = {}
    for rank, row in enumerate(np.argsort(p, kind="stable")):
        if p[row] * (len(p) - rank) > LEVEL:
            break
        nearest_one = int(sets.near.index[row, 0])
        found[sets.generated.names[row]] = sets.training.names[nearest_one]
    return found


def power(sets: ComparedSets, share: float = PLANTED, seed: int = 0, changed: bool = True) -> float:
    """Return how often sets with planted copies are found, by the tests without labels; `changed`
    copies have noise and a foreign part besides.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(sets.training))[:TRIED]
    small = np.stack([planted(sets.training.small, int(n), rng, changed) for n in chosen])
    made = of_arrays([sets.training.names[n] for n in chosen], small)
    gap = gaps(nearest(made, sets.training))
    own = np.broadcast_to(gaps(sets.near), (TRIALS, len(sets.generated))).copy()
    count = max(1, round(share * own.shape[1]))
    for row in own:
        row[rng.permutation(len(row))[:count]] = rng.choice(gap, count)
    p = np.min([*unlabelled(sets, own, seed).values()], axis=0)
    return float(np.mean(np.minimum(1.0, 2 * p) <= LEVEL))


def planted(small: Array, index: int, rng: np.random.Generator, changed: bool = True) -> Array:
    """Return a copy of an image: perhaps flipped, shifted by up to 3 voxels; where it is to be
    `changed`, with noise of 10 % of its standard deviation, and a block of a quarter of each axis
    from another image.
    """
    axes = tuple(axis for axis in range(small.ndim - 1) if rng.random() < 0.5)
    image = np.flip(small[index], axes)
    image = ndimage.shift(image, rng.uniform(-3, 3, image.ndim), order=1, cval=image.min())
    if changed:
        image = image + rng.normal(0, 0.1 * image.std(), image.shape)
        corner = [int(rng.integers(n // 4, n // 2)) for n in image.shape]
        block = tuple(slice(c, c + n // 4) for c, n in zip(corner, image.shape, strict=True))
        image[block] = small[int(rng.integers(len(small)))][block]
    return reduced(np.atleast_3d(image), (1.0, 1.0, 1.0), float(image.shape[0]))
