"""Do intervals hold what they promise, patient by patient, on average over many calibrations?

python benchmarks/interval_coverage.py [--patients 64] [--splits 200]

Axial slices of digital patients of the second simulator, which trains nothing, in five contrasts,
with Rician noise of 2 to 15 %, denoised with eight posterior samples. Half of the patients
calibrate, the other half tests, in random splits: mean share inside over splits, and the standard
error of what `patients` patients can say. `shifted`: calibrated as before, tested on the same
patients by a scanner whose images were interpolated to twice the matrix (noise with a grain) and
have a strong shading. `flagged`: share of images that the out-of-distribution check warns of or
fails.
"""

from __future__ import annotations

import argparse

import numpy as np
from patients import table
from scipy import ndimage

from veridical.audit.interval import CalibrationCase, calibrate, calibrate_regions
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.rendering import render
from veridical.phantoms.scanners import CONTRASTS
from veridical.physics.bias_shading import random_polynomial, smooth_field
from veridical.physics.tissue import TissueClass
from veridical.tasks.enhance import Enhance
from veridical.types import Array, Geometry, Image

SEED, SIZE, SPACING, FLOOR = 20261130, (192, 160), 1.2, 0.002
LEVELS = (0.8, 0.9, 0.95)
TISSUES = (TissueClass.CSF, TissueClass.GREY, TissueClass.WHITE)


def noisy(truth: Array, rng: np.random.Generator, shifted: bool) -> tuple[Array, Array]:
    """Return the image that a scanner gives, and its truth, which has the shading."""
    sigma = rng.uniform(0.02, 0.15)
    noise = rng.standard_normal((2, *truth.shape)).astype(np.float32)
    if shifted:
        truth = truth * smooth_field(truth.shape, random_polynomial(2, rng), 1.0)
        noise = ndimage.gaussian_filter(noise, (0, 1.0, 1.0))
        noise /= noise.std()
    return np.hypot(truth + sigma * noise[0], sigma * noise[1]), truth


def measured(index: int, shifted: bool) -> tuple[CalibrationCase, bool]:
    """Return errors and spreads of a patient, and whether the check for the scope objects."""
    rng = np.random.default_rng([SEED, index])
    contrast = CONTRASTS[index % len(CONTRASTS)]
    head = CohortB(SEED).slice(index, size=SIZE, spacing=SPACING, plane="axial")
    clean = np.asarray(render(head, contrast), np.float32)
    image, truth = noisy(clean / np.percentile(clean, 99), rng, shifted)
    grid = Geometry((SIZE[1], SIZE[0], 1), np.diag([SPACING, SPACING, 5.0, 1.0]))
    given = Image(np.ascontiguousarray(image.T[None, ..., None]), grid, "a.u.", (contrast,))
    made = Enhance(draws=8)(given, seed=index)
    assert made.draws is not None
    spread = made.draws.std(0, ddof=1)[0, ..., 0].T
    error = np.abs(made.image.data[0, ..., 0].T - truth)
    regions = {one.name.lower(): (head.labels == one) & head.brain for one in TISSUES}
    regions["lesions"] = head.lesions & head.brain
    case = CalibrationCase(error, spread, head.brain, f"p{index}", regions)
    scope = next(one for one in made.findings if one.check == "out-of-distribution")
    return case, scope.verdict in ("warn", "fail")


def print_table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    print(f"\n## {title}\n\n{table(columns, rows)}", flush=True)


def inside(case: CalibrationCase, multiplier: float, where: Array) -> float:
    return float((case.error <= multiplier * np.maximum(case.spread, FLOOR))[where].mean())


def foreground(cases: list[CalibrationCase], shifted: list[CalibrationCase], splits: int) -> None:
    """Print the coverage of the foreground at each level, and of single patients."""
    rng, rows = np.random.default_rng(SEED), []
    half = len(cases) // 2
    for level in LEVELS:
        found = []
        for _ in range(splits):
            order = rng.permutation(len(cases))
            known = [cases[n] for n in order[:half]]
            mean = calibrate(known, level, FLOOR, "phantoms").multiplier
            each = calibrate(known, level, FLOOR, "phantoms", share=0.9).multiplier
            new = order[half:]
            held = [inside(cases[n], mean, cases[n].foreground) for n in new]
            own = [inside(cases[n], each, cases[n].foreground) >= 0.9 for n in new]
            away = [inside(shifted[n], mean, shifted[n].foreground) for n in new]
            found.append((np.mean(held), np.mean(own), np.mean(away)))
        means, errors = np.mean(found, 0), np.std(found, 0)
        rows.append(
            (
                f"{level:.0%}",
                *(f"{100 * m:.1f} ± {100 * e:.1f}" for m, e in zip(means, errors, strict=True)),
            )
        )
    columns = ("level", "inside, mean over patients, %", "patients with 90 % inside, %")
    print_table("Foreground", (*columns, "inside, shifted scanner, %"), rows)


def regions(cases: list[CalibrationCase], splits: int) -> None:
    """Print the coverage of each tissue by the band of all and by one of its own, at each level."""
    half = len(cases) // 2
    found: dict[tuple[float, str], list[tuple[float, float]]] = {}
    for level in LEVELS:
        rng = np.random.default_rng(SEED)
        for _ in range(splits):
            order = rng.permutation(len(cases))
            known, new = ([cases[n] for n in part] for part in (order[:half], order[half:]))
            whole = calibrate(known, level, FLOOR, "phantoms").multiplier
            for name, own in calibrate_regions(known, level, FLOOR, "phantoms").items():
                having = [c for c in new if c.regions[name].any()]
                both = [
                    [inside(c, m, c.regions[name]) for c in having] for m in (whole, own.multiplier)
                ]
                pair = (float(np.mean(both[0])), float(np.mean(both[1])))
                found.setdefault((level, name), []).append(pair)
    rows = [
        (
            f"{level:.0%}",
            name.replace("_", " "),
            str(len(each)),
            *(
                f"{100 * m:.1f} ± {100 * e:.1f}"
                for m, e in zip(np.mean(each, 0), np.std(each, 0), strict=True)
            ),
        )
        for (level, name), each in found.items()
    ]
    columns = ("level", "region", "splits with enough patients", "band of the foreground, %")
    print_table("Regions", (*columns, "band of its own, %"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=64)
    parser.add_argument("--splits", type=int, default=200)
    asked = parser.parse_args()
    cases, flags = zip(*(measured(n, False) for n in range(asked.patients)), strict=True)
    shifted, others = zip(*(measured(n, True) for n in range(asked.patients)), strict=True)
    foreground(list(cases), list(shifted), asked.splits)
    regions(list(cases), asked.splits)
    flagged = [("as calibrated", np.mean(flags)), ("shifted scanner", np.mean(others))]
    rows = [(name, f"{100 * share:.0f} %") for name, share in flagged]
    print_table("Out-of-distribution check", ("scanner", "flagged"), rows)


if __name__ == "__main__":
    main()
