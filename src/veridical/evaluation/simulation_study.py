"""A trial on digital patients of the second simulator: accuracy, coverage, evidence, and what
breaks under shift.

The test patients are others than the calibration patients; neither simulator settings nor patients
have trained anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats

from veridical.metrics.coverage import coverage
from veridical.metrics.psnr import psnr
from veridical.metrics.rank_correlation import rank_correlation
from veridical.metrics.ssim import ssim
from veridical.models.problem import Problem
from veridical.models.problems import problems
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.simulated_scan import Examination, draw_exam, examine
from veridical.physics.cartesian_mri import CartesianScan
from veridical.task import Progress, silent
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import SEVERITY, Array, Result

TEST_SEED = 17
METHODS = ("zero-filled", "cg-sense", "wavelet", "total-variation", "denoiser")
PROBES = 40


@dataclass(frozen=True)
class SimulatedOutcome:
    """One method on one patient: numbers by name and the verdicts of its findings."""

    patient: str
    method: str
    values: Mapping[str, float]
    verdicts: Mapping[str, str]


def trial(
    patients: int = 100, methods: Sequence[str] = METHODS, progress: Progress = silent
) -> list[SimulatedOutcome]:
    """Reconstruct one slice of each test patient by each method.

    Returns: Outcomes with `psnr` (dB; peak: the truth's largest value in the brain), `ssim`, and
        where there is an interval `coverage` (share of brain voxels inside) and `rank` (correlation
        of error and interval width).
    """
    outcomes = []
    cohort = CohortB(TEST_SEED)
    for index in range(patients):
        exam = draw_exam(cohort, index)
        for method in methods:
            derived = Reconstruct(model=method)(exam.measurement, seed=index)
            outcomes.append(
                SimulatedOutcome(exam.patient, method, judge(derived, exam), _verdicts(derived))
            )
        progress("trial", index + 1, patients)
    return outcomes


def judge(derived: Result, exam: Examination) -> dict[str, float]:
    """Score a result in the brain."""
    image, truth, brain = derived.image.data, exam.truth.data, exam.brain
    peak = float(truth[0][brain].max())
    values = {
        "psnr": psnr(image, truth, data_range=peak, mask=brain),
        "ssim": ssim(image, truth, data_range=peak, mask=brain),
    }
    if derived.interval is not None:
        values["coverage"] = coverage(derived.interval, truth, mask=brain)
        values["rank"] = rank_correlation(image, truth, interval=derived.interval, mask=brain)
    return values


SHIFTS: dict[str, Callable[[int], Examination]] = {
    "none": lambda i: draw_exam(CohortB(TEST_SEED), i),
    "uniform 10x": lambda i: examine(CohortB(TEST_SEED), i, "T2w", 10, "uniform", plane="axial"),
    "noise 0.3": lambda i: examine(
        CohortB(TEST_SEED), i, "T2w", 4, "uniform", noise=0.3, plane="axial"
    ),
    "tracer contrast": lambda i: examine(CohortB(TEST_SEED), i, "FDG", 4, "uniform", plane="axial"),
    "mask along the other axis": lambda i: turned(
        examine(CohortB(TEST_SEED), i, "T2w", 4, "uniform", plane="axial")
    ),
}


def turned(exam: Examination) -> Examination:
    """Return the same examination with ky and kx exchanged: a phase-encoding direction never
    trained on.
    """
    scan = exam.measurement.operator
    if not isinstance(scan, CartesianScan):
        raise AssertionError("examinations are Cartesian")
    data = np.ascontiguousarray(np.swapaxes(exam.measurement.data, -1, -2))
    x, y, z = exam.truth.geometry.shape
    grid = replace(exam.truth.geometry, shape=(y, x, z))
    swapped = replace(
        exam.measurement,
        data=data,
        operator=CartesianScan(np.swapaxes(scan.mask, -1, -2)),
        geometry=grid,
    )
    truth = replace(exam.truth, data=np.swapaxes(exam.truth.data, 1, 2), geometry=grid)
    brain, lesions = np.swapaxes(exam.brain, 0, 1), np.swapaxes(exam.lesions, 0, 1)
    return replace(exam, measurement=swapped, truth=truth, brain=brain, lesions=lesions)


def shifts(patients: int = 20, progress: Progress = silent) -> dict[str, list[SimulatedOutcome]]:
    """Reconstruct under each shift with the denoiser; its findings should tell what breaks."""
    task = Reconstruct(model="denoiser")
    found: dict[str, list[SimulatedOutcome]] = {}
    for name, make in SHIFTS.items():
        for index in range(patients):
            exam = make(index)
            derived = task(exam.measurement, seed=index)
            found.setdefault(name, []).append(
                SimulatedOutcome(exam.patient, name, judge(derived, exam), _verdicts(derived))
            )
        progress("shifts", len(found), len(SHIFTS))
    return found


def hidden_detail(patients: int = 20, progress: Progress = silent) -> dict[str, float]:
    """Ask whether evidence is low where a small lesion would hide in the null space of A, and high
    where it is sampled.

    Small Gaussian lesions are put at random places of the brain; the share of each that lies in the
    null space, `||(I - A^+ A) d||^2 / ||d||^2`, is compared with the evidence at its place.

    Returns: `correlation` (Spearman, evidence against the measured share), `auc` (evidence telling
        the most hidden quarter of the places from the least hidden quarter), `hidden` and `sampled`
        (mean evidence of the two quarters), `places`.
    """
    task = Reconstruct(model="denoiser")
    shares, values = [], []
    for index in range(patients):
        exam = draw_exam(CohortB(TEST_SEED), index)
        derived = task(exam.measurement, seed=index)
        if derived.evidence is None or derived.evidence.map is None:
            raise AssertionError("the denoiser gives evidence")
        problem = next(problems(exam.measurement, task.sets))
        places = _places(exam.brain[..., 0].T, index)
        shares.append(_measured_share(problem, places))
        values.append(derived.evidence.map[0, places[:, 1], places[:, 0], 0])
        progress("hidden detail", index + 1, patients)
    share, value = np.concatenate(shares), np.concatenate(values)
    low, high = np.quantile(share, (0.25, 0.75))
    hidden, sampled = value[share <= low], value[share >= high]
    auc = float(stats.mannwhitneyu(sampled, hidden).statistic) / (len(hidden) * len(sampled))
    return {
        "correlation": float(stats.spearmanr(share, value).statistic),
        "auc": auc,
        "hidden": float(hidden.mean()),
        "sampled": float(sampled.mean()),
        "places": float(len(value)),
    }


def _places(brain: Array, seed: int) -> Array:
    """Return `(PROBES, 2)` random (y, x) places inside the brain."""
    inside = np.argwhere(brain)
    return np.asarray(
        inside[np.random.default_rng([seed, 8]).choice(len(inside), PROBES, replace=False)]
    )


def _measured_share(problem: Problem, places: Array, width: float = 0.8) -> Array:
    """Return the share of the energy of a small Gaussian lesion at each place that A measures."""
    sets, rows, columns = problem.operator.domain
    y, x = torch.arange(rows)[:, None], torch.arange(columns)[None]
    shares = []
    for row, column in places:
        blob = torch.exp(-((y - int(row)) ** 2 + (x - int(column)) ** 2) / (2 * width**2)).to(
            torch.complex64
        )
        lesion = torch.cat([blob[None], blob.new_zeros(sets - 1, rows, columns)])
        measured = problem.operator.project(lesion, 8)
        shares.append(
            1 - float((lesion - measured).abs().square().sum() / lesion.abs().square().sum())
        )
    return np.array(shares)


def summary(outcomes: Sequence[SimulatedOutcome]) -> str:
    """Return a Markdown table: mean and standard deviation over patients per method, and the
    verdicts.
    """
    names = list(dict.fromkeys(key for outcome in outcomes for key in outcome.values))
    lines = [
        "| method | n | " + " | ".join(names) + " | sampling pass/warn/fail |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for method in dict.fromkeys(o.method for o in outcomes):
        group = [o for o in outcomes if o.method == method]
        cells = []
        for name in names:
            values = [o.values[name] for o in group if name in o.values]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "not given")
        verdicts = [o.verdicts.get("sampling") for o in group]
        counts = "/".join(str(verdicts.count(v)) for v in SEVERITY[1:])
        lines.append(f"| {method} | {len(group)} | {' | '.join(cells)} | {counts} |")
    return "\n".join(lines)


def _verdicts(derived: Result) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in derived.findings}
