"""The dose engine: depth dose in water, gamma, and what errors of synthetic CT do to the dose.

python benchmarks/dose_engine.py [--only water|gamma|sarcoma|heads] [--draws 4] [--voxel 4]

water: fields of 5, 10 and 20 cm on water, beside published values of 6 MV beams. gamma: pass rates
of a dose with itself and moved, and peer agreement with `--peer FILE` (an archive with `reference`,
`candidate`, `gamma` and `spacing` that another program wrote). sarcoma: STS_025, STS_032 and
STS_042, whom the weights `body` were not trained on; the target is the tumour. heads: painted heads
of three label maps that train nothing, 2 mm, --visits of six; the target is a ball of 40 mm in the
middle. The plan is made on the synthetic CT and computed again, with the same monitor units, on the
true one: five fields, 60 Gy. "True outline": air outside of the body of the true CT, and water in
holes inside. Mean ± SD over patients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from patients import arguments, painted_visits, parsed, sarcoma_visits, say, spread, table

from veridical.errors import VeridicalError
from veridical.metrics.gamma import gamma, gamma_map
from veridical.models.dose_anatomy import BODY, body_of
from veridical.models.dose_input import DoseInput
from veridical.models.treatment_scan import TreatmentScan
from veridical.physics.photon_dose import SOURCE, PhotonField, photon_dose, rectangle
from veridical.tasks.dose import Dose
from veridical.tasks.dose_findings import compared
from veridical.tasks.translate import Translate
from veridical.types import Array, Geometry, Image

BALL = 20.0
"""Radius of the target in a head, mm."""
AIR = np.float32(-1000)
COLUMNS = ("set", "CT", "patients", "HU error", "target mean %", "target D95 Gy", "dose MAE Gy",
           "gamma 2 %/2 mm")  # fmt: skip


def column(side: float, surface: float, voxel: float, wide: float = 300.0) -> tuple[Array, Array]:
    """Return depths in mm and the dose along the axis of a field on water."""
    n, deep = int(wide / voxel) | 1, int(330 / voxel)
    water = np.ones((n, deep, n), np.float32)
    top, middle = (deep - 0.5) * voxel, (n // 2) * voxel
    isocentre = middle, top - (SOURCE - surface), middle
    dose = photon_dose(water, (voxel,) * 3, [PhotonField(0.0, isocentre, rectangle(side, side))])
    return (np.arange(deep) + 0.5) * voxel, dose[n // 2, ::-1, n // 2]


def water() -> None:
    """Print depth doses, and the quality of the beam."""
    rows = []
    for side in (50.0, 100.0, 200.0):
        depths, dose = column(side, SOURCE, 2.5)
        at = [100 * float(np.interp(d, depths, dose)) / float(dose.max()) for d in (50, 100, 200)]
        rows.append([f"{side:g}", f"{depths[dose.argmax()]:g}", *(f"{v:.1f}" for v in at)])
        rows[-1].append(f"{float(np.interp(15, depths, dose)):.4f}")
    print(table(("field mm", "deepest mm", "50 mm %", "100 mm %", "200 mm %", "Gy at 15 mm"), rows))
    ratio = [float(np.interp(deep, *column(100.0, SOURCE - deep, 2.5))) for deep in (200.0, 100.0)]
    print(f"TPR20,10 = {ratio[0] / ratio[1]:.4f}")


def gammas(peer: Path | None) -> None:
    """Print pass rates of a dose with itself and moved by 1, 2 and 3 mm."""
    n = 61
    water_box = np.ones((n, n, n), np.float32)
    middle = n * 1.5
    fields = [PhotonField(g, (middle,) * 3, rectangle(60, 60)) for g in (0.0, 120.0, 240.0)]
    dose = photon_dose(water_box, (3.0, 3.0, 3.0), fields)
    for shift in (0.0, 1.0, 2.0, 3.0):
        part = shift / 3
        moved = (1 - part) * dose + part * np.roll(dose, 1, 0)
        inner = np.zeros(dose.shape, bool)
        inner[3:-3, 3:-3, 3:-3] = True
        found = gamma(moved, dose, (3.0, 3.0, 3.0), mask=inner)
        print(f"moved by {shift:g} mm: {found:.2f} % pass 2 %/2 mm")
    if peer is not None:
        kept = np.load(peer)
        ours = gamma_map(kept["candidate"], kept["reference"], kept["spacing"])
        theirs, both = kept["gamma"], np.isfinite(ours) & np.isfinite(kept["gamma"])
        passed = [100 * float((g[both] <= 1).mean()) for g in (ours, theirs)]
        low = both & (theirs <= 1)
        print(
            f"peer: {both.sum()} voxels, pass {passed[0]:.2f} % here, {passed[1]:.2f} % there; "
            f"difference where the peer passes {np.abs(ours - theirs)[low].mean():.4f} on average"
        )


def sarcoma(slices: int, draws: int) -> Iterator[tuple[str, Image, Array, dict[str, Array]]]:
    """Yield patient, true CT, target and synthetic CTs by name."""
    for visit in sarcoma_visits(slices):
        if visit.lesion is None or not visit.lesion.any():
            continue
        shown = visit.image.channel("T1w")
        made = {
            "generator": Translate(to="CT", draws=draws)(shown).image,
            "intensity map": Translate(to="CT", model="intensity-map")(shown).image,
        }
        yield visit.patient, visit.image.channel("CT"), visit.lesion, _hu(made)


def heads() -> Iterator[tuple[str, Image, Array, dict[str, Array]]]:
    """The same of painted heads."""
    for visit in painted_visits(0):
        shown, ct = visit.image.channel("T1w"), visit.image.channel("CT")
        made = {
            "structures": Translate(to="CT", model="structures")(shown).image,
            "intensity map": Translate(to="CT", weights="brain", model="intensity-map")(
                shown
            ).image,
        }
        yield visit.patient, ct, ball(np.asarray(ct.data[0]), ct.geometry), _hu(made)


def _hu(made: dict[str, Image]) -> dict[str, Array]:
    return {name: np.asarray(image["CT"], np.float32) for name, image in made.items()}


def ball(ct: Array, grid: Geometry) -> Array:
    """Return a ball in the middle of the body."""
    body = body_of(ct)
    middle = np.argwhere(body).mean(0)
    steps = [(np.arange(n) - m) * s for n, m, s in zip(ct.shape, middle, grid.spacing, strict=True)]
    far = steps[0][:, None, None] ** 2 + steps[1][:, None] ** 2 + steps[2] ** 2
    return far <= BALL**2


def errors(true: Image, target: Array, made: Array, voxel: float) -> dict[str, float]:
    """Return what one synthetic CT does to the dose."""
    real = np.asarray(true.data[0], np.float32)
    task = Dose(voxel=voxel)
    scan = TreatmentScan.of([made, real], target, true.geometry, voxel)
    _, doses = task.planned(scan, [made, real], target, lambda *_: None)
    given = DoseInput(made, target, "target", {}, real, (), true.geometry)
    (finding,) = compared(given, doses[0], doses[1])
    said, body = finding.evidence, body_of(real)
    return {
        "HU error": float(np.abs(made - real)[body].mean()),
        "target mean %": said["target_mean_change"],
        "target D95 Gy": said["change_gy"]["D95"],
        "dose MAE Gy": said["mean_absolute_gy"],
        "gamma 2 %/2 mm": said["gamma_2_2"],
    }


def synthetic(group: str, given: argparse.Namespace) -> None:
    """Print the table of a set; each patient as JSON on the way."""
    found: dict[str, list[dict[str, float]]] = {}
    cases = sarcoma(given.slices, given.draws) if group == "sarcoma" else heads()
    for patient, true, target, made in islice(cases, given.visits or None):
        body = body_of(np.asarray(true.data[0], np.float32))
        drawn = body_of(made["intensity map"])
        made["water, outline of MR"] = np.where(drawn, 0, AIR)
        made |= {
            f"{name}, true outline": np.where(body, np.where(ct < BODY, 0, ct), AIR)
            for name, ct in list(made.items())
            if name != "water, outline of MR"
        }
        made["water, true outline"] = np.where(body, 0, AIR)
        for name, ct in made.items():
            try:
                scores = errors(true, target, ct.astype(np.float32), given.voxel)
            except VeridicalError as error:
                say(f"{group}, {patient}, {name}: {error}")
                continue
            say(json.dumps({"set": group, "patient": patient, "ct": name} | scores))
            found.setdefault(name, []).append(scores)
    rows = []
    for name, each in found.items():
        cells = [spread([one[c] for one in each], 2) for c in COLUMNS[3:]]
        rows.append([group, name, str(len(each)), *cells])
    print(table(COLUMNS, rows))


def main() -> None:
    """Run what was asked for."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", choices=["", "water", "gamma", "sarcoma", "heads"])
    parser.add_argument("--draws", type=int, default=4, help="of the generator")
    parser.add_argument("--voxel", type=float, default=4.0, help="mm of the dose")
    parser.add_argument("--visits", type=int, default=0, help="patients of each set; 0: all")
    parser.add_argument("--slices", type=int, default=0, help="middle slices; 0: all")
    parser.add_argument("--peer", type=Path, help="gamma of another program")
    given = parsed(parser)
    wanted = [given.only] if given.only else ["water", "gamma", "sarcoma", "heads"]
    if "water" in wanted:
        water()
    if "gamma" in wanted:
        gammas(given.peer)
    for group in ("sarcoma", "heads"):
        if group in wanted:
            synthetic(group, given)


if __name__ == "__main__":
    main()
