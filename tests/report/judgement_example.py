"""A made-up but complete evaluation for the tests of its report: 40 patients of two sites, two
cases that failed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from page_example import phantom
from scipy import ndimage

from veridical.evaluation.protocol import Protocol
from veridical.evaluation.results import (
    CaseRow,
    Conflict,
    Curve,
    Endpoint,
    Evaluation,
    LevelVerdict,
)
from veridical.report.judgement import Exhibit, Role
from veridical.types import Array, Finding, Geometry

HEAD = "5e" * 32
FLAT = "one number everywhere, the mean of the reference in the foreground"
BLUR = "the reference smoothed by a Gaussian of 2 voxels"
RETEST = "a second scan of the same patients"
SCALE = "on the scale from the simple baseline (0) to real against real (1), 95 % interval"
HALVES = "one half of the real set against the other"
FAILED = {
    "sub-17": "The candidate holds 212 NaN voxels. Write the images again without NaN.",
    "sub-31": "The candidate is 240 x 240 x 60 voxels, the reference 240 x 240 x 155. Resample one of them.",  # noqa: E501
}


def endpoint(key: str, label: str, value: float | None, half: float = 0.0, **more: Any) -> Endpoint:
    """One endpoint with its normalised score worked out from baseline and floor."""
    level, metric, region = key.split("/", 2)
    given = {"units": "1", "better": "higher", "n": 38, "analysed": 38, "total": 40} | more
    interval = None if value is None or not half else (value - half, value + half)
    made = Endpoint(
        key, level, metric, label, region=region, value=value, interval=interval, **given
    )  # type: ignore[arg-type]
    if value is None or made.bad is None or made.floor is None:
        return made
    ends = (
        [value, *(interval or ())]
        if made.ideal is None
        else [abs(v - made.ideal) for v in (value, *(interval or ()))]
    )
    score, *bounds = ((made.bad - v) / (made.bad - made.floor) for v in ends)
    return replace(made, score=score, score_interval=(min(bounds), max(bounds)) if bounds else None)


def endpoints() -> tuple[Endpoint, ...]:
    """Primary endpoints with each verdict, exploratory ones of all levels, one that could not be
    computed.
    """
    pixel = {"floor": 0.985, "floor_is": RETEST, "bad": 0.41, "bad_is": FLAT}
    kid = {
        "better": "lower",
        "floor": 0.0012,
        "floor_is": HALVES,
        "bad": 0.096,
        "bad_is": BLUR,
        "analysed": 38,
        "n": 38,
    }
    dice = {
        "floor": 1.0,
        "floor_is": "the reference against itself",
        "bad": 0.0,
        "bad_is": "nothing found",
    }
    must = {"primary": True, "limit": 0.8}
    return (
        endpoint(
            "pixel/ssim/foreground",
            "SSIM",
            0.934,
            0.011,
            **pixel,
            **must,
            p=0.0004,
            p_adjusted=0.0016,
            verdict="pass",
        ),
        endpoint(
            "pixel/mae/foreground",
            "MAE",
            21.4,
            2.1,
            better="lower",
            units="HU",
            floor=9.8,
            floor_is=RETEST,
            bad=148.0,
            bad_is=FLAT,
            **must,
            p=0.0002,
            p_adjusted=0.001,
            verdict="pass",
        ),
        endpoint(
            "feature/kid/efficientnet",
            "KID",
            0.0216,
            0.0072,
            **kid,
            **must,
            p=0.21,
            p_adjusted=0.42,
            verdict="inconclusive",
            note="Half of the interval comes from the small number of patients.",
        ),
        endpoint(
            "task/dice/lesion",
            "Dice",
            0.58,
            0.055,
            **dice,
            **must,
            p=1.0,
            p_adjusted=1.0,
            verdict="fail",
            n=31,
            analysed=31,
            total=33,
        ),
        endpoint(
            "trust/coverage/foreground",
            "coverage",
            0.893,
            0.012,
            ideal=0.9,
            primary=True,
            limit=0.03,
            limit_of="value",
            p=0.001,
            p_adjusted=0.003,
            verdict="pass",
        ),
        endpoint(
            "pixel/bias/foreground",
            "bias",
            -3.2,
            1.1,
            units="HU",
            ideal=0.0,
            bad=0.0,
            better="lower",
        ),
        endpoint(
            "pixel/psnr/foreground",
            "PSNR",
            31.2,
            0.6,
            units="dB",
            floor=38.4,
            floor_is=RETEST,
            bad=17.3,
            bad_is=FLAT,
        ),
        endpoint(
            "pixel/ssim/lesion",
            "SSIM",
            0.71,
            0.05,
            floor=0.97,
            floor_is=RETEST,
            bad=0.22,
            bad_is=FLAT,
            n=31,
            analysed=31,
            total=33,
        ),
        endpoint(
            "feature/frechet/radiomics",
            "Fréchet distance",
            4.8,
            1.9,
            better="lower",
            floor=1.1,
            floor_is=HALVES,
            bad=61.0,
            bad_is=BLUR,
            p=0.002,
            p_adjusted=0.006,
        ),
        endpoint("feature/kid/radiomics", "KID", 0.12, 0.02, **kid),
        endpoint(
            "task/hausdorff95/lesion",
            "HD95",
            11.4,
            3.2,
            units="mm",
            better="lower",
            n=31,
            analysed=31,
            total=33,
        ),
        endpoint("task/lesion-f1/lesion", "lesion F1", 0.64, 0.08, n=31, analysed=31, total=33),
        endpoint(
            "task/auc/class",
            "AUC",
            None,
            verdict="not_run",
            note="No column class in the table, so no classifier was trained.",
            n=0,
            analysed=0,
            total=40,
        ),
        endpoint("trust/rank-correlation/foreground", "rank correlation", 0.44, 0.06),
    )


def cases() -> tuple[CaseRow, ...]:
    """Forty cases, two failed."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(1, 41):
        name = f"sub-{number:02d}"
        groups = {"site": "CS" if number <= 22 else "DU", "sex": "F" if number % 2 else "M"}
        if name in FAILED:
            rows.append(CaseRow(name, name, failed=FAILED[name], groups=groups))
            continue
        values = {
            "pixel/ssim/foreground": float(rng.normal(0.934, 0.03)),
            "pixel/mae/foreground": float(rng.normal(21.4, 5)),
            "trust/coverage/foreground": float(rng.normal(0.893, 0.03)),
            "pixel/psnr/foreground": float(rng.normal(31.2, 2)),
        }
        if number % 6:
            values["task/dice/lesion"] = float(np.clip(rng.normal(0.58, 0.17), 0, 1))
        notes = {} if number % 6 else {"task/dice/lesion": "There is no lesion in the reference."}
        rows.append(CaseRow(name, name, values, groups=groups, notes=notes))
    return tuple(rows)


def curves() -> tuple[Curve, ...]:
    """One plot of every kind."""
    rng = np.random.default_rng(4)
    f = np.linspace(0.01, 0.5, 64)
    mean = rng.uniform(2, 40, 31)
    ranks = np.array([0.17, 0.12, 0.1, 0.09, 0.09, 0.09, 0.1, 0.11, 0.13])
    fp = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    levels = np.linspace(0.1, 0.95, 12)

    def plain(values: Array) -> tuple[float, ...]:
        return tuple(float(v) for v in values)

    return (
        Curve(
            "pixel/noise-power",
            "pixel",
            "line",
            "Power spectrum",
            "spatial frequency, cycles/mm",
            "power, log scale",
            plain(f),
            {"reference": plain(2e4 * np.exp(-9 * f)), "candidate": plain(2e4 * np.exp(-12.5 * f))},
            said=(
                "Above the reference at the right end: noise or invented texture. Below it: "
                "smoothing."
            ),
        ),
        Curve(
            "pixel/fourier-correlation",
            "pixel",
            "line",
            "Correlation by detail size",
            "spatial frequency, cycles/mm",
            "Fourier correlation",
            plain(f),
            {"candidate": plain(1 / (1 + np.exp(14 * (f - 0.3))))},
            {"one half": 0.5},
            "Where the curve falls below one half, the detail of the candidate is no longer that "
            "of the reference.",
        ),
        Curve(
            "task/volume/lesion",
            "task",
            "points",
            "Volume of lesion",
            "mean of both, ml",
            "candidate - reference, ml",
            plain(mean),
            {"cases": plain(rng.normal(-1.4, 2.0, 31))},
            {"bias": -1.4, "lower limit": -5.3, "upper limit": 2.5},
            "Each point is a case. Between the limits lie 95 % of the differences (Bland and "
            "Altman).",
        ),
        Curve(
            "task/froc",
            "task",
            "line",
            "Lesions found against false alarms",
            "false positives an image",
            "sensitivity",
            fp,
            {
                "candidate": (0.31, 0.39, 0.5, 0.58, 0.66, 0.7, 0.73),
                "real images": (0.52, 0.6, 0.71, 0.79, 0.85, 0.88, 0.9),
            },
            said="The higher and the further to the left, the better.",
        ),
        Curve(
            "trust/ranks",
            "trust",
            "bars",
            "Rank of the truth among the draws",
            "rank",
            "share of voxels",
            plain(np.arange(9.0)),
            {"truth": plain(ranks)},
            {"calibrated": 1 / 9},
            "Flat: calibrated. High at both ends: the draws vary too little. High in the middle: "
            "too much.",
        ),
        Curve(
            "trust/coverage",
            "trust",
            "line",
            "Coverage by level",
            "nominal level",
            "share inside",
            plain(levels),
            {
                "ideal": plain(levels),
                "all": plain(levels - 0.03 * np.sin(3 * levels)),
                "lesion": (*plain(levels[:-1] - 0.1), math.nan),
            },
            said="Below the diagonal: intervals too narrow.",
        ),
    )


def subgroups() -> tuple[Endpoint, ...]:
    """Two endpoints in two columns."""
    shown = (
        ("pixel/ssim/foreground", "SSIM", 0.934, 0.012, 1),
        ("task/dice/lesion", "Dice", 0.58, 0.07, 7),
    )
    found = []
    for group, shift, n in (
        ("site=CS", 0.014, 21),
        ("site=DU", -0.017, 17),
        ("sex=F", 0.002, 19),
        ("sex=M", -0.002, 19),
    ):
        for key, label, value, half, wide in shown:
            counts = {"n": n, "analysed": n, "total": n + 1}
            found.append(
                endpoint(
                    f"{key}, {group}",
                    label,
                    value + wide * shift,
                    half * math.sqrt(38 / n),
                    **counts,
                )
            )
    return tuple(found)


def evaluation() -> Evaluation:
    """All of it."""
    protocol = replace(Protocol(name="trial-7"), data_range=2400.0, window=(-1000.0, 1400.0))
    about: dict[str, Any] = {
        "cases": 40,
        "patients": 40,
        "paired": True,
        "candidates": 40,
        "references": 40,
        "roles": ["draws", "labels", "candidate_labels", "mask", "retest"],
        "groups": ["sex", "site"],
        "training": 96,
        "second": 0,
        "notes": ["the suffix _sct of the candidates was left out to match names"],
        "dropped": {"sub-41": "no reference"},
        "data_range": 2400.0,
        "window": [-1000.0, 1400.0],
        "levels": ["pixel", "feature", "task", "trust"],
        "strata": "site",
    }
    return Evaluation(
        "synthetic-ct against planning-ct",
        {
            "candidate": "../synthetic-ct",
            "reference": "../planning-ct",
            "labels": "../lesions",
            "table": "../patients.csv",
            "strata": "site",
        },
        protocol.to_dict(),
        {
            f"../{side}/sub-{n:02d}.nii.gz": f"{n:02x}" * 32
            for side in ("planning-ct", "synthetic-ct")
            for n in range(1, 41)
        },
        (
            Finding("geometry", "pass", "39 of 40 pairs lie on one grid.", {"pairs": 39}),
            Finding(
                "finite values", "warn", "1 image holds NaN; its case failed.", {"sub-17": 212}
            ),
            Finding("duplicates", "pass", "No two cases are the same bytes."),
            Finding(
                "leakage", "pass", "None of the 96 training images is among the reference images."
            ),
        ),
        (
            LevelVerdict(
                "pixel",
                "pass",
                f"SSIM in foreground is 0.911 {SCALE} 0.892 to 0.93; limit 0.8. It is the worst of "
                "2 primary endpoints.",
            ),
            LevelVerdict(
                "feature",
                "inconclusive",
                f"KID in efficientnet is 0.785 {SCALE} 0.709 to 0.861; limit 0.8. It is the only "
                "primary endpoint.",
            ),
            LevelVerdict(
                "task",
                "fail",
                f"Dice in lesion is 0.58 {SCALE} 0.525 to 0.635; limit 0.8. It is the only primary "
                "endpoint.",
            ),
            LevelVerdict(
                "trust",
                "pass",
                "coverage in foreground is 0.893, 95 % interval 0.881 to 0.905; at most 0.03 away "
                "from 0.9.",
            ),
        ),
        endpoints(),
        cases(),
        curves(),
        (
            Conflict(
                "over-smoothing",
                "Pixels are close to the reference while the task fails: over-smoothed, or a "
                "finding is lost.",
                ("pixel/ssim/foreground", "task/dice/lesion"),
            ),
        ),
        (
            Finding(
                "consistency",
                "pass",
                "Of 38 results: 38 pass. For example: the residual is what the noise explains.",
                {"pass": 38},
            ),
            Finding(
                "out-of-distribution",
                "warn",
                "Of 38 results: 4 warn, 34 pass. For example: 3 of 99 scans are as unusual.",
                {"warn": 4, "pass": 34},
            ),
            Finding("memorization", "not_run", "No training images were given.", {}),
        ),
        subgroups(),
        about,
        {"veridical": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0", "machine": "x86_64"},
    )


def refused() -> Evaluation:
    """An evaluation that the integrity gate stopped."""
    whole = evaluation()
    reason = (
        "38 of 40 pairs lie on different grids, e.g. sub-01: 1 x 1 x 1 mm against 2 x 2 x 2 mm. "
        "Resample the candidates to the grid of their references."
    )
    levels = tuple(
        LevelVerdict(level.level, "not_run", f"The integrity gate failed. geometry: {reason}")
        for level in whole.levels
    )
    integrity = (Finding("geometry", "fail", reason, {"pairs": 38}), *whole.integrity[1:])
    return Evaluation(
        whole.title,
        whole.settings,
        whole.protocol,
        whole.inputs,
        integrity,
        levels,
        about=whole.about,
        versions=whole.versions,
    )


def exhibits() -> tuple[Exhibit, ...]:
    """Best, median and worst case: a sharp, a blurred and a shifted head; the lesion is gone in the
    worst.
    """
    truth, _, lesion = phantom(112)
    rng = np.random.default_rng(5)
    grid = Geometry((112, 112, 1), np.diag([1.2, 1.2, 3.0, 1.0]))
    made = [ndimage.gaussian_filter(truth, sigma) for sigma in (0.4, 1.2, 2.0)]
    made[2] = np.roll(np.where(lesion, 0.6, made[2]), 2, axis=0)
    words = (
        "MAE 14.2 HU, SSIM 0.972",
        "MAE 21.0 HU, SSIM 0.938",
        "MAE 39.8 HU, SSIM 0.861, lesion lost",
    )
    chosen: tuple[tuple[Role, str], ...] = (
        ("best", "sub-05"),
        ("median", "sub-22"),
        ("worst 5 %", "sub-38"),
    )
    found = []
    for (role, case), candidate, said in zip(chosen, made, words, strict=True):
        shown = candidate + 0.01 * rng.normal(size=truth.shape)
        error, flat = np.abs(shown - truth), np.full_like(truth, truth.mean())
        ssim = np.clip(1 - 3 * ndimage.gaussian_filter(error, 1.5), 0, 1)
        found.append(Exhibit(role, case, said, truth, shown, flat, error, ssim, (0.0, 1.0), grid))
    return tuple(found)
