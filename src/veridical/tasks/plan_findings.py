"""What is said of a predicted dose: whether the patient is like those of the training, what targets
and organs get, and how far it is from a planned dose where one is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from veridical.metrics.plan_points import dose_score, point_differences, points
from veridical.models.dose_grid import LEAST, MOST, DoseGrid, fits
from veridical.physics.prescriptions import ALLOWED, ORGANS, STRUCTURES, TARGETS
from veridical.types import Array, Finding, Image, Interval

COVERED = 0.95
"""Share of the prescribed dose that 95 % of a target should get."""
LIMITS = {"SpinalCord": ("D0.1cc", 50.0), "Brainstem": ("D0.1cc", 54.0)}
"""Organ -> point and Gy above which it is said (QUANTEC: Marks et al. 2010,
10.1016/j.ijrobp.2009.07.1754).
"""
MEANT = 0.25
"""Share beyond the extremes of the training patients that is still called alike."""


def masks_of(image: Image) -> dict[str, Array]:
    """Return name -> bool `(x, y, z)` of the structures of an image."""
    return {name: image[name] > 0 for name in STRUCTURES if name in image.channels}


def table(image: Image, dose: Array, band: Interval | None) -> dict[str, dict[str, Any]]:
    """Return structure -> point -> Gy: `value`, and `lower` and `upper` where there is an interval.

    The ends are the points of a dose that is everywhere at its lower or upper end: they hold the
    point whenever the band holds every voxel, and are wider than needed.

    Args:
        image: with the structures.
        dose: `(x, y, z)` Gy.
        band: its interval.
    """
    spacing, masks = image.geometry.spacing, masks_of(image)
    ends = {"value": dose}
    if band is not None:
        ends |= {"lower": band.lower[0], "upper": band.upper[0]}
    found: dict[str, dict[str, Any]] = {}
    for end, volume in ends.items():
        for (name, point), value in points(volume, masks, spacing).items():
            found.setdefault(name, {}).setdefault(point, {})[end] = round(value, 2)
    return found


def findings(
    image: Image, grid: DoseGrid, dose: Array, band: Interval | None, card: Mapping[str, Any]
) -> Iterator[Finding]:
    """Say all of it.

    Args:
        image: CT, structures, and maybe a planned dose.
        grid: the predictor's.
        dose: `(x, y, z)` Gy.
        band: its interval.
        card: of the weights.
    """
    yield _scope(grid, card)
    yield _grid(grid)
    yield _organs(image)
    known = table(image, dose, None)
    yield _targets(known)
    yield _limits(known)
    if "dose" in image.channels:
        yield _planned(image, dose, band)


def measures(grid: DoseGrid) -> dict[str, float]:
    """Return what tells whether a patient is like those of the training: ml of targets, ml of the
    cross-section of the body a mm at the targets, their length and their depth below the skin, mm.
    """
    anatomy, target = grid.anatomy, grid.anatomy.prescription > 0
    voxel = float(np.prod(anatomy.spacing)) / 1000
    slices = target.any((0, 1))
    body = anatomy.inside[..., slices]
    area = float(body.sum((0, 1)).mean()) * anatomy.spacing[0] * anatomy.spacing[1] / 100
    return {
        "target_ml": float(target.sum()) * voxel,
        "section_cm2": area,
        "length_mm": float(slices.sum()) * anatomy.spacing[2],
    }


def _scope(grid: DoseGrid, card: Mapping[str, Any]) -> Finding:
    name, known = "plan scope", card.get("patient_ranges")
    if not known:
        return Finding(
            name, "not_run", "The card of the weights does not say what it learned from."
        )
    found = measures(grid)
    far = []
    for key, value in found.items():
        low, high = known[key]
        if not low * (1 - MEANT) <= value <= high * (1 + MEANT):
            far.append(f"{key} {value:.0f}, training {low:.0f} to {high:.0f}")
    evidence = {"found": found, "training": dict(known)}
    if far:
        reason = (
            f"This is not a patient like those of the training: {'; '.join(far)}. The dose may be "
            "wrong in any way."
        )
        return Finding(name, "fail", reason, evidence)
    return Finding(
        name, "pass", "Targets and body are about as large as those of the training.", evidence
    )


def _grid(grid: DoseGrid) -> Finding:
    said = " x ".join(f"{size:.2f}" for size in grid.spacing)
    evidence = {"spacing_mm": grid.spacing, "least_mm": LEAST, "most_mm": MOST}
    if fits(grid.spacing):
        reason = f"Voxels of {said} mm are like those of the training."
        return Finding("plan grid", "pass", reason, evidence)
    used = " x ".join(f"{size:g}" for size in grid.anatomy.spacing)
    reason = f"Voxels of {said} mm are unlike those of the training; it was predicted on {used} mm."
    return Finding("plan grid", "warn", reason, evidence)


def _organs(image: Image) -> Finding:
    missing = [name for name in ORGANS if name not in image.channels]
    evidence = {"missing": missing, "possible_dose": ALLOWED in image.channels}
    if len(missing) > len(ORGANS) - 2:
        reason = (
            "Hardly an organ at risk is outlined. Either this is no head and neck, or nothing is "
            "spared that a planner would spare."
        )
        return Finding("organs at risk", "fail", reason, evidence)
    if missing:
        reason = f"Not outlined, so not spared: {', '.join(missing)}."
        return Finding("organs at risk", "warn", reason, evidence)
    return Finding("organs at risk", "pass", "All seven are outlined.", evidence)


def _targets(known: Mapping[str, Mapping[str, Any]]) -> Finding:
    got = {name: known[name]["D95"]["value"] for name in TARGETS if name in known}
    short = [
        f"{name} {dose:.1f} Gy" for name, dose in got.items() if dose < COVERED * TARGETS[name]
    ]
    said = ", ".join(f"{name} {dose:.1f} Gy" for name, dose in got.items())
    evidence = {"d95_gy": got}
    if short:
        reason = (
            f"95 % of these targets get less than {COVERED:.0%} of their dose: {', '.join(short)}."
        )
        return Finding("target coverage", "warn", reason, evidence)
    return Finding(
        "target coverage", "pass", f"95 % of each target get at least: {said}.", evidence
    )


def _limits(known: Mapping[str, Mapping[str, Any]]) -> Finding:
    got = {
        name: known[name][point]["value"] for name, (point, _) in LIMITS.items() if name in known
    }
    if not got:
        return Finding("organ limits", "not_run", "Neither spinal cord nor brain stem is outlined.")
    over = [f"{name} {dose:.1f} Gy" for name, dose in got.items() if dose > LIMITS[name][1]]
    said = ", ".join(f"{name} {dose:.1f} Gy" for name, dose in got.items())
    evidence = {"d0.1cc_gy": got, "limits_gy": {name: LIMITS[name][1] for name in got}}
    if over:
        reason = f"The hottest 0.1 ml lies above the usual limit: {', '.join(over)}."
        return Finding("organ limits", "warn", reason, evidence)
    return Finding("organ limits", "pass", f"The hottest 0.1 ml gets: {said}.", evidence)


def _planned(image: Image, dose: Array, band: Interval | None) -> Finding:
    """Compare with a planned dose; no verdict, since both may be good plans."""
    planned = np.asarray(image["dose"])
    allowed = image[ALLOWED] > 0 if ALLOWED in image.channels else planned > 0
    differences = point_differences(dose, planned, masks_of(image), image.geometry.spacing)
    score, points_score = dose_score(dose, planned, allowed), np.mean(list(differences.values()))
    evidence: dict[str, Any] = {
        "dose_score_gy": round(score, 3),
        "dvh_score_gy": round(float(points_score), 3),
        "points_gy": {f"{n} {p}": round(value, 2) for (n, p), value in differences.items()},
    }
    reason = (
        f"The study holds a planned dose: the prediction is {score:.1f} Gy from it on average, its "
        f"dose-volume points {points_score:.1f} Gy."
    )
    if band is not None:
        inside = (planned >= band.lower[0]) & (planned <= band.upper[0])
        evidence["inside"] = round(float(inside[allowed].mean()), 4)
        reason += f" {inside[allowed].mean():.0%} of its voxels lie inside of the interval."
    return Finding("planned dose", "pass", reason, evidence)
