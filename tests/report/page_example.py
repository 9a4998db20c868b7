"""A made-up case for the tests of the page: a phantom scanned with gaps, and three results with
known companions.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.evaluation.regions import Region
from veridical.metrics.scores import score
from veridical.report.page import Story
from veridical.report.words import Lesion
from veridical.types import Array, Evidence, Finding, Geometry, Image, Interval, Result, Score, Step

NO_DRAWS = {
    "interval": "a method without draws has no spread",
    "evidence": "a method without draws has no spread",
}
VERSIONS = {"veridical": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0", "machine": "x86_64"}


def phantom(size: int = 96) -> tuple[Array, Array, Array]:
    """A head with ventricles and a lesion `(x, y)`; the brain mask and the lesion mask."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> Array:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    head, brain, lesion = (
        ellipse(0, 0, 0.78, 0.92),
        ellipse(0, 0, 0.66, 0.8),
        ellipse(0.3, 0.25, 0.1, 0.12),
    )
    folds = ndimage.gaussian_filter(rng.normal(size=x.shape), size / 40)
    image = np.where(head, 0.9, 0.0)
    image[ellipse(0, 0, 0.72, 0.86)] = 0.15
    image[brain] = 0.55 + 0.15 * np.sign(folds[brain])
    image[ellipse(-0.13, 0, 0.07, 0.3) | ellipse(0.13, 0, 0.07, 0.3)] = 0.1
    image[lesion] = 0.95
    return ndimage.gaussian_filter(image, 0.6), brain, lesion


def case(
    truth: Array, brain: Array, lesion: Array, geometry: Geometry | None = None
) -> tuple[Image, dict[str, Result], dict[str, list[Score]], Story]:
    """What `page.write` takes, for a truth `(x, y)`."""
    grid = geometry or Geometry.index((*truth.shape, 1))
    rng = np.random.default_rng(1)
    columns = np.arange(truth.shape[1]) - truth.shape[1] // 2
    kept = (np.abs(columns) < 10) | (columns % 4 == 0)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(truth)))
    zero_filled = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum * kept))))
    spread = 0.012 * truth.max() + 0.3 * np.abs(ndimage.gaussian_filter(truth - zero_filled, 1.0))
    draws = (
        truth
        + 0.4 * spread * rng.normal(size=truth.shape)
        + spread * rng.normal(size=(8, *truth.shape))
    )[:, None, ..., None]
    mean = draws.mean(0)
    band = 2.2 * np.maximum(draws.std(0), 0.002 * truth.max())
    variance = (
        ndimage.gaussian_filter(draws.var(0, ddof=1), (0, 2, 2, 0)) / (0.08 * truth.max()) ** 2
    )
    evidence = np.clip(1 - variance, 0, 1)

    def image(data: Array) -> Image:
        return Image(np.asarray(data, np.float32).reshape(1, *grid.shape), grid, "a.u.", ("FLAIR",))

    def step(model: str, weights: str, settings: dict[str, object]) -> tuple[Step, ...]:
        inputs, outputs = {"data": "a1" * 32, "operator.mask": "b2" * 32}, {"estimate": "c3" * 32}
        settings = {"model": model, **settings}
        return (
            Step(
                "reconstruct",
                settings,
                inputs,
                model,
                weights,
                VERSIONS,
                7,
                outputs,
                {"path": "scan.h5"},
            ),
        )

    consistent = Finding(
        "consistency",
        "pass",
        "In variance the residual is 1.02 times what the noise explains.",
        {"chi_square": 1.02},
    )
    blurred = image(ndimage.gaussian_filter(0.7 * truth + 0.3 * zero_filled, 0.8))
    aliased = Finding(
        "consistency", "fail", "In variance the residual is 9.1 times what the noise explains."
    )
    promises = (
        "On average over patients, 90% of brain voxels lie inside; not for each voxel, nor for "
        "other scanners."
    )
    results = {
        "zero-filled": Result(
            image(zero_filled),
            "point estimate",
            findings=(aliased,),
            steps=step("zero-filled", "none", {}),
            absent=NO_DRAWS,
        ),
        "wavelet": Result(
            blurred,
            "point estimate",
            evidence=Evidence(None, 0.9 * blurred.data, 0.1 * blurred.data),
            findings=(consistent,),
            steps=step("wavelet", "none", {"weight": 0.002}),
            absent=NO_DRAWS,
        ),
        "generator": Result(
            image(mean),
            "posterior mean",
            draws,
            Interval(
                mean - band, mean + band, 0.9, 40, "conformal risk control over patients", promises
            ),
            Evidence(evidence, mean * 0.95, mean * 0.05),
            (
                consistent,
                Finding(
                    "out-of-distribution",
                    "warn",
                    "3 of 99 training patients are as far away, p = 0.04.",
                    {"p": 0.04},
                ),
                Finding("memorization", "not_run", "The training images are not at hand."),
            ),
            step("generator", "d4" * 32, {"draws": 8, "steps": 8}),
            {"explain": "no part of this version computes it"},
        ),
    }
    brain3, lesion3 = brain[..., None], lesion[..., None]
    true = image(truth)
    scores = {
        name: [
            score(
                metric,
                derived,
                true,
                mask=brain3,
                region="brain",
                data_range=float(truth[brain].max()),
            )
            for metric in ("psnr", "ssim", "nmse")
        ]
        for name, derived in results.items()
    }
    for metric in ("coverage", "rank-correlation"):
        scores["generator"].append(
            score(metric, results["generator"], true, mask=brain3, region="brain")
        )
    for name, seconds in zip(results, (0.02, 0.33, 1.9), strict=True):
        scores[name].append(Score("time", "task", seconds, "s", "lower", region="2 cores"))
    story = Story(
        "A digital patient was scanned four times faster than usual, with 8 coils, and "
        "reconstructed in three ways. "
        "Since the patient is digital, the truth is known.",
        {
            "acceleration": "4x, uniform, 20 central lines",
            "coils": "8",
            "field": "3 T",
            "noise": "known, 0.01",
        },
        Region("brain", brain3),
        Lesion(lesion3),
        rerun="make demo",
    )
    return true, results, scores, story
