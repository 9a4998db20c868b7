"""Hallucination: structures that an image shows and its reference, or its own posterior samples, do
not.

With a reference the image is scanned for structures that only one of the two has (`structures`),
and patch by patch for detail that does not agree (`patch_correlation`). With the raw data as well,
the error is split: what of image minus truth lies in the null space of the operator cannot have
come from the data (the hallucination map of Bhadra, Kelkar, Brooks and Anastasio, IEEE TMI 2021,
10.1109/TMI.2021.3077857). Without a reference, posterior samples say of each structure how probable
it is.

It is asked by `veridical audit` only: within a task nothing is known that an image could be held
against, but its own samples, which are under-dispersed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from veridical.audit.audited_study import AuditedStudy
from veridical.audit.inputs import onto, scan
from veridical.audit.patch_correlation import PATCH, patch_scan
from veridical.audit.raw_data import fitted, on_grid
from veridical.audit.structures import Structure, differences, probabilities
from veridical.errors import VeridicalError
from veridical.models.problem import Problem
from veridical.models.problems import problems
from veridical.types import Array, Finding, Image, Measurement, Result, Study, Verdict

NAME = "hallucination"
LIMITS = (10.0, 20.0)
"""Deviations from the differences elsewhere up to which a structure is one of them, and above which
it is one of its own. Blur, noise and another contrast stay below 9 in real heads.
"""
SURE = 0.9
"""Probability from which a structure counts as there."""
TOLD = 3
"""Structures that a reason names at most."""


def hallucination(study: Study, result: Result) -> Finding | None:
    """Judge an image by its reference, else by its posterior samples; None where there is neither,
    and within a task.
    """
    if not isinstance(study, AuditedStudy) or study.generated:
        return None
    if study.reference is not None:
        return _by_reference(result.image, study.reference, scan(study))
    if result.draws is not None and len(result.draws) > 1:
        return _by_draws(result)
    return None


def null_space_map(problem: Problem, image: Array, truth: Array) -> Array:
    """Return what of image minus truth lies in the null space of the operator, `(y, x)` in units of
    the image.

    Args:
        problem: of the slice.
        image, truth: `(y, x)`, of one scale. Magnitudes get the phase that explains the data.
    """
    mine, theirs = (torch.from_numpy(np.array(a, np.float32)) for a in (image, truth))
    if problem.operator.dtype.is_complex:
        x, scale = fitted(problem, problem.data, mine / problem.scale, problem.start)
        whole = problem.image(x)[0].clamp_min(1e-12)
        error = x * ((mine - theirs) * scale / whole)
        hidden = error - problem.operator.project(error)
        return np.asarray((problem.part(x, hidden)[0] / scale).numpy())
    error = (mine - theirs).reshape(problem.operator.domain)
    hidden = error - problem.operator.project(error)
    return np.asarray(hidden.reshape(mine.shape).numpy())


def _by_reference(image: Image, reference: Image, raw: Measurement | None) -> Finding:
    """Hold an image against the truth, channel by channel; the worst channel decides."""
    shared = [name for name in image.channels if name in reference.channels]
    if not shared and len(image.channels) == len(reference.channels) == 1:
        reference = replace(reference, channels=image.channels)
        shared = list(image.channels)
    if not shared:
        named = ", ".join(reference.channels)
        return Finding(NAME, "not_run", f"The reference has {named}; the image has none of them.")
    if reference.geometry.matches(image.geometry) or (
        reference.geometry.shape == image.geometry.shape
        and "index" in (reference.geometry.frame, image.geometry.frame)
    ):
        pairs = {name: (image[name], reference[name]) for name in shared}
    else:
        pairs = {
            name: (image[name], onto(reference.channel(name), image.geometry)) for name in shared
        }
    found = {
        name: differences(mine, truth, image.geometry.spacing)
        for name, (mine, truth) in pairs.items()
    }
    worst = max(found, key=lambda name: found[name][0].score if found[name] else 0.0)
    mine, truth = pairs[worst]
    marked, patches = _patches(mine, truth)
    highest = found[worst][0].score if found[worst] else 0.0
    verdict: Verdict = (
        "pass" if highest <= LIMITS[0] else "warn" if highest <= LIMITS[1] else "fail"
    )
    certain = [one for one in found[worst] if one.score > LIMITS[0]]
    reason = _differing(worst, certain, image.units_of(worst), highest)
    evidence: dict[str, Any] = {
        "deviations": highest,
        "structures": [_described(one) for one in certain],
        "patches": patches,
        "patches_marked": marked,
    }
    if patches:
        reason += (
            f" In {marked} of {patches} patches detail agrees with the reference to less than half "
            "of the usual frequency."
        )
    if raw is not None:
        said, share = _split(image.channel(worst), truth, raw)
        reason += said
        evidence["null_space_share"] = share
    return Finding(NAME, verdict, reason, evidence)


def _differing(name: str, certain: list[Structure], units: str, highest: float) -> str:
    if not certain:
        return (
            f"{name} has no structure that differs from its reference by more than {LIMITS[0]:g} "
            f"deviations of what differs elsewhere (the largest by {highest:.1f})."
        )
    told = "; ".join(
        f"{abs(one.contrast):.3g} {units} too {'bright' if one.contrast > 0 else 'dark'}, "
        f"{one.size:g} mm wide, at voxel {', '.join(map(str, one.place))} "
        f"({one.score:.0f} deviations)"
        for one in certain[:TOLD]
    )
    return (
        f"{name} differs from its reference by {len(certain)} structures that stand out from all "
        f"other differences: {told}."
    )


def _patches(mine: Array, truth: Array) -> tuple[int, int]:
    """Return how many patches are marked, and how many there are."""
    if min(mine.shape[:2]) < PATCH:
        return 0, 0
    scans = [
        patch_scan(mine[:, :, z].T, truth[:, :, z].T)
        for z in range(mine.shape[2])
        if truth[:, :, z].any()
    ]
    return sum(int(one.marked.sum()) for one in scans), sum(len(one.marked) for one in scans)


def _split(image: Image, truth: Array, raw: Measurement) -> tuple[str, float | None]:
    """Return what is said of the null space, and the share of the error's energy in it."""
    try:
        shown = on_grid(image, raw.geometry)
    except VeridicalError as error:
        return f" The error was not split: {error}", None
    factor = float((shown * truth).sum() / max(float((truth * truth).sum()), 1e-20))
    hidden = total = 0.0
    for z, problem in enumerate(problems(raw)):
        mine, theirs = shown[:, :, z].T, factor * truth[:, :, z].T
        hidden += float(np.square(null_space_map(problem, mine, theirs)).sum())
        total += float(np.square(mine - theirs).sum())
    share = hidden / max(total, 1e-20)
    return (
        f" {share:.0%} of the energy of its error lies in the null space of the operator: the data "
        "could not have told it.",
        share,
    )


def _by_draws(result: Result) -> Finding:
    """Judge the structures of an estimate by its own posterior samples."""
    draws = result.draws
    assert draws is not None
    unsure: list[tuple[str, Structure]] = []
    total = 0
    for channel, name in enumerate(result.image.channels):
        every = probabilities(
            result.image.data[channel], draws[:, channel], result.image.geometry.spacing
        )
        total += len(every)
        unsure += [(name, one) for one in every if one.score < SURE]
    if not total:
        return Finding(NAME, "not_run", "The estimate shows no structure that could be judged.")
    unsure.sort(key=lambda pair: pair[1].score)
    reason = (
        f"{total - len(unsure)} of the {total} strongest structures of the estimate are in the "
        f"posterior samples with a probability of {SURE:.0%} or more."
    )
    if unsure:
        reason += " Least sure: " + "; ".join(
            f"{name}, {one.size:g} mm wide at voxel {', '.join(map(str, one.place))}: "
            f"{one.score:.0%}"
            for name, one in unsure[:TOLD]
        )
        reason += "."
    reason += (
        " Samples of the model that made the estimate share its errors: this is no proof that a "
        "structure is real."
    )
    evidence = {"structures": total, "unsure": [_described(one) for _, one in unsure]}
    return Finding(NAME, "warn" if unsure else "pass", reason, evidence)


def _described(one: Structure) -> dict[str, Any]:
    return {
        "place": list(one.place),
        "size": one.size,
        "contrast": one.contrast,
        "score": one.score,
    }
