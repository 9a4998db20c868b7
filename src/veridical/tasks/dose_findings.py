"""What is said of a computed dose: its dose-volume points, whether fields and patient fit into the
scan, and what another CT changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from veridical.metrics.dose_volume import dvh_point
from veridical.metrics.gamma import gamma
from veridical.models.dose_anatomy import body_of, turned
from veridical.models.dose_input import DoseInput
from veridical.models.treatment_scan import TreatmentScan
from veridical.physics.photon_dose import PhotonField
from veridical.physics.relative_density import METAL
from veridical.types import Array, Finding

TARGET_POINTS, OTHER_POINTS = ("D95", "D50", "D2", "Dmean"), ("D2", "Dmean")
COVERED, HOT = 0.95, 1.07
"""Shares of the prescription between which a target should lie (ICRU Report 50)."""
AGREES, TOLERANCE = 95.0, 2.0
"""% of voxels that should pass gamma (AAPM TG-218: Miften et al. 2018, 10.1002/mp.12810), and % by
which the target's dose may change (Edmund and Nyholm 2017, 10.1186/s13014-016-0747-y).
"""


def table(given: DoseInput, dose: Array, samples: Sequence[Array]) -> dict[str, dict[str, Any]]:
    """Return structure -> point -> Gy: `value`, and `lower` and `upper` of two or more samples."""
    from veridical.tasks.dose import spread_of

    spacing, found = given.geometry.spacing, dict[str, dict[str, Any]]()
    for name, mask in given.structures.items():
        if not mask.any():
            continue
        for point in TARGET_POINTS if name == given.name else OTHER_POINTS:
            said = {"value": dvh_point(dose, spacing, mask=mask, point=point)}
            if len(samples) > 1:
                each = [dvh_point(one, spacing, mask=mask, point=point) for one in samples]
                deviation, factor = spread_of(np.array(each))
                said["lower"] = max(0.0, said["value"] - factor * float(deviation))
                said["upper"] = said["value"] + factor * float(deviation)
            found.setdefault(name, {})[point] = {end: round(v, 2) for end, v in said.items()}
    return found


def field_rows(fields: Sequence[PhotonField]) -> list[dict[str, float]]:
    """Return gantry angle, monitor units and area in cm2 of each field."""
    return [
        {
            "gantry": field.gantry,
            "units": round(field.units, 1),
            "area_cm2": round(float(field.opening.sum()) / 100, 1),
        }
        for field in fields
    ]


def findings(
    given: DoseInput,
    scan: TreatmentScan,
    fields: Sequence[PhotonField],
    dose: Array,
    prescription: float,
) -> Iterator[Finding]:
    """Say all of it that one CT tells."""
    yield _covered(given, dose, prescription)
    yield _along(given, scan, fields)
    yield _cut_off(given, fields)
    yield _metal(given, dose)


def _covered(given: DoseInput, dose: Array, prescription: float) -> Finding:
    inside = dose[given.target]
    least, most = (float(np.percentile(inside, p)) / prescription for p in (5, 98))
    evidence = {"d95": round(least, 3), "d2": round(most, 3), "prescription_gy": prescription}
    said = (
        f"95 % of {given.name} get at least {least:.0%} of the prescription, 2 % over {most:.0%}."
    )
    if least < COVERED or most > HOT:
        return Finding("target coverage", "warn", f"{said} Expected 95 % to 107 %.", evidence)
    return Finding("target coverage", "pass", said, evidence)


def _along(given: DoseInput, scan: TreatmentScan, fields: Sequence[PhotonField]) -> Finding:
    """Whether the fields end inside of the scan, along the body."""
    length = scan.target.shape[2] * scan.spacing[2]
    low = min(f.isocentre[2] + _reach(f)[0] for f in fields)
    high = max(f.isocentre[2] + _reach(f)[1] for f in fields)
    first = scan.box[2].start == 0 and low < 0
    whole = turned(given.target, given.geometry).shape[2]
    last = scan.box[2].stop >= whole and high > length
    evidence = {"fields_mm": [round(low, 1), round(high, 1)], "scan_mm": [0.0, round(length, 1)]}
    if first or last:
        reason = (
            "A field leaves the scan along the body: it passes tissue that nobody scanned, whose "
            "scatter is missing. Expected a longer scan, or a smaller target."
        )
        return Finding("fields in the scan", "warn", reason, evidence)
    return Finding("fields in the scan", "pass", "All fields end inside of the scan.", evidence)


def _reach(field: PhotonField) -> tuple[float, float]:
    """Return from where to where a field is open along the body, mm at the isocentre."""
    open_ = np.flatnonzero(field.opening.max(0) > 0) - (field.opening.shape[1] - 1) / 2
    return float(open_[0]), float(open_[-1])


def _cut_off(given: DoseInput, fields: Sequence[PhotonField]) -> Finding:
    """Whether the body reaches a side of the scan that a field enters through."""
    body = body_of(turned(given.ct, given.geometry))
    near = turned(given.target, given.geometry).any((0, 1))
    touched = {
        (0, 1): bool(body[-1][..., near].any()),
        (0, -1): bool(body[0][..., near].any()),
        (1, 1): bool(body[:, -1][..., near].any()),
        (1, -1): bool(body[:, 0][..., near].any()),
    }
    through = sorted(
        {
            field.gantry
            for field in fields
            for (axis, side), hit in touched.items()
            if hit and -side * field.axes[2][axis] > 0.3
        }
    )
    if through:
        said = ", ".join(f"{angle:g}" for angle in through)
        reason = (
            "The body is cut off by the side of the scan where fields enter, so that depths are "
            f"too small: gantry angles {said}. Expected air around the body."
        )
        return Finding("whole body", "fail", reason, {"angles": through})
    return Finding("whole body", "pass", "There is air around the body where fields enter.", {})


def _metal(given: DoseInput, dose: Array) -> Finding:
    reached = (given.ct >= METAL) & (dose > 0.1 * dose.max())
    volume = float(reached.sum() * np.prod(given.geometry.spacing)) / 1000
    if volume > 0:
        reason = f"{volume:.2f} ml in the fields are metal, whose density CT does not tell."
        return Finding("metal in the fields", "warn", reason, {"ml": round(volume, 3)})
    return Finding("metal in the fields", "pass", "No metal lies in the fields.", {"ml": 0.0})


def compared(given: DoseInput, dose: Array, other: Array) -> Iterator[Finding]:
    """Say what the second CT changes: the dose on it is the reference."""
    assert given.other is not None
    spacing, target = given.geometry.spacing, given.target
    passed = gamma(dose, other, spacing, mask=dose + other > 0)
    change = {
        point: dvh_point(dose, spacing, mask=target, point=point)
        - dvh_point(other, spacing, mask=target, point=point)
        for point in TARGET_POINTS
    }
    mean = float(other[target].mean())
    share = 100 * change["Dmean"] / mean
    strong = other > 0.1 * other.max()
    evidence = {
        "gamma_2_2": round(passed, 2),
        "target_mean_change": round(share, 3),
        "change_gy": {point: round(value, 3) for point, value in change.items()},
        "mean_absolute_gy": round(float(np.abs(dose - other)[strong].mean()), 3),
    }
    wrong = passed < AGREES or abs(share) > TOLERANCE
    reason = (
        f"Against the second CT the mean dose of {given.name} is off by {share:+.2f} %, and "
        f"{passed:.1f} % of voxels pass gamma 2 %/2 mm."
    )
    if wrong:
        reason += f" Expected within {TOLERANCE:g} %, and {AGREES:g} %."
    yield Finding("dose against", "warn" if wrong else "pass", reason, evidence)
    if len(given.draws) > 1:
        yield _inside(given)


def _inside(given: DoseInput) -> Finding:
    """Whether the draws of the CT hold the second one."""
    from veridical.tasks.dose import LEVEL, spread_of

    assert given.other is not None
    body = turned(given.ct, given.geometry), turned(given.other, given.geometry)
    both = body_of(body[0]) & body_of(body[1])
    deviation, factor = spread_of(np.stack([turned(d, given.geometry) for d in given.draws]))
    held = float((np.abs(body[0] - body[1]) <= factor * deviation)[both].mean())
    evidence = {"inside": round(held, 4), "level": LEVEL}
    said = f"The draws' {LEVEL:.0%} band holds {held:.0%} of the second CT's voxels in the body."
    if held < LEVEL - 0.1:
        reason = f"{said} The synthetic CT is surer than it may be, and so is the dose's interval."
        return Finding("CT in its interval", "warn", reason, evidence)
    return Finding("CT in its interval", "pass", said, evidence)
