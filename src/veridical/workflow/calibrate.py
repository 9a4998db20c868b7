"""Calibrate trained weights: interval multipliers on digital patients of the second simulator, scope on the training scans.

The calibration patients differ from the test patients (another seed of the cohort), and both come from a simulator that
never trained anything. The results are written into the card beside the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical.audit.describe import describe_scan
from veridical.audit.interval import Calibration, Case, calibrate
from veridical.audit.scope import Scope
from veridical.datasets.cohort_b import CohortB
from veridical.datasets.examination import Examination, examine
from veridical.models import weights
from veridical.models.prepared_scan import prepare
from veridical.models.unrolled import Unrolled
from veridical.task import Progress, silent
from veridical.tasks import slicewise
from veridical.tasks.complete import Complete
from veridical.tasks.reconstruct import Reconstruct
from veridical.tasks.translate import Translate
from veridical.types import Array
from veridical.workflow.calibrate_body import body_calibrations
from veridical.workflow.calibrate_images import fit_image_scopes, image_jobs, site_looks
from veridical.workflow.checkpoints import write_text
from veridical.workflow.course import Data
from veridical.workflow.scan_course import ScanCourse

LEVEL = 0.9
FLOOR = 0.003
"""Least spread as a share of the image's 99th percentile."""
CALIBRATION_SEED = 901
UNSEEN = 50_000_000
"""Step number from which no training draws its scans."""
CONTRASTS = ("T1w", "T2w", "FLAIR", "PD", "T1c")
PATTERNS = ("uniform", "variable", "poisson")


def draw_exam(cohort: CohortB, index: int) -> Examination:
    """Return a patient's slice under a contrast, pattern and acceleration that follow from the index."""
    rng = np.random.default_rng([cohort.seed, index, 5])
    pattern = PATTERNS[index % 3]
    acceleration = float(rng.uniform(4, 10)) if pattern == "poisson" else float(rng.integers(2, 6))
    contrast = CONTRASTS[int(rng.integers(len(CONTRASTS)))]
    return examine(cohort, index, contrast, acceleration, pattern, plane="axial")


def reconstruct_cases(name: str, patients: int, progress: Progress) -> Iterator[Case]:
    """Yield the calibration cases of `reconstruct`, in units of each scan's scale."""
    task, cohort = Reconstruct(model="brain-prior", weights=name), CohortB(CALIBRATION_SEED)
    for index in range(patients):
        exam = draw_exam(cohort, index)
        scan = next(task.scans(exam.measurement))
        solved = slicewise.solve(task.build(), scan, task.draws, index, exam.truth.channels[0])
        yield _case(solved, exam.truth.data[0, :, :, 0].T, exam)
        progress("calibrating reconstruct", index + 1, patients)


def jobs(name: str, patients: int, progress: Progress) -> dict[str, Iterable[Case]]:
    """Return the calibration cases of every job of `brain-prior` weights, made when asked for."""
    found: dict[str, Iterable[Case]] = {}
    if weights.card(name)["net"].get("anchor"):
        found["reconstruct"] = reconstruct_cases(name, patients, progress)
    return found | image_jobs(name, patients, progress)


def fit_scope(source: ScanCourse, count: int, progress: Progress = silent) -> Scope:
    """Fit the scope of `reconstruct` on the descriptors of scans drawn as in training, but not trained on."""
    rows: list[list[float]] = []
    names: tuple[str, ...] = ()
    step = UNSEEN
    while len(rows) < count:
        rehearsal, _ = source.draw(step)
        step += 1
        if rehearsal.kspace.shape[0] == 1:
            continue
        scan = prepare(rehearsal.kspace, rehearsal.mask, rehearsal.maps, rehearsal.sigma)
        found = describe_scan(scan.kspace.numpy(), scan.operator.mask.numpy(), scan.start[0].numpy(), scan.sigma)
        names = tuple(found)
        rows.append([found[name] for name in names])
        progress("fitting scope", len(rows), count)
    return Scope.fit(np.array(rows), names, f"{count} rehearsed multi-coil scans drawn as in training")


def calibrate_weights(name: str, patients: int = 60, scans: int = 400, progress: Progress = silent) -> Path:
    """Write calibration and scope into the card of `brain-prior` weights, scope into that of `unrolled`, calibration on real
    patients into that of `body-prior`.

    A model anchored in another one that was trained on the same data shares its scope.

    Args:
        name: shipped weights or a path.
        patients: digital ones per job; a 90 % interval needs at least 9.
        scans: for the scope; at least 198.
        progress: called as work goes on.

    Returns:
        The path of the card.
    """
    card = weights.card(name)
    where = f"cohort-b, seed {CALIBRATION_SEED}, one axial slice a patient"
    found: dict[str, Calibration] = {}
    if card["model"] == "brain-prior":
        for job, cases in jobs(name, patients, progress).items():
            found[job] = calibrate(cases, LEVEL, FLOOR, where)
        card["calibration_steps"] = Complete().steps
        card["scope_images"] = fit_image_scopes(card, scans, progress)
        card["looks"] = site_looks(card)
    elif card["model"] == "body-prior":
        found = body_calibrations(name, progress)
        card["calibration_steps"] = Translate().steps
    card["calibration"] = {job: calibration.to_dict() for job, calibration in found.items()}
    if card["net"].get("anchor", "") or card["model"] == "unrolled":
        card["scope"] = _known_scope(card) or fit_scope(_source(card), scans, progress).to_dict()
    path = weights.find(name).with_suffix(".json")
    write_text(path, json.dumps(card, indent=2) + "\n")
    return path


def _known_scope(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the scope of the model that this one is anchored in: raw data reach this one through it."""
    if not card["net"].get("anchor"):
        return None
    found: dict[str, Any] | None = weights.card(card["net"]["anchor"]).get("scope")
    return found


def _source(card: Mapping[str, Any]) -> ScanCourse:
    """Return the course of raw scans that a model, or the one it is anchored in, was trained on."""
    if card["model"] != "unrolled":
        card = weights.card(card["net"]["anchor"])
    return ScanCourse(Unrolled, Data(card["data"]["sources"], tuple(card["data"]["held_out"])), seed=0)


def _case(solved: slicewise.Solved, truth: Array, exam: Examination) -> Case:
    if solved.spread is None:
        raise AssertionError("brain-prior gives draws")
    error = np.abs(solved.estimate - truth) / solved.scale
    return Case(error, solved.spread / solved.scale, exam.brain[..., 0].T, exam.patient)
