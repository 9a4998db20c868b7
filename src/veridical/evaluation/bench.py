"""Compare reconstructions of a real scan: retrospective undersampling against the full scan, or
withheld samples.

The reference of a fully sampled scan is its root-sum-of-squares image; scores are taken inside the
head. A scan that was undersampled when it was made has no reference: a fifth of its samples outside
the fully sampled centre is withheld and predicted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from veridical.errors import InputError, SettingError
from veridical.evaluation import peers
from veridical.metrics.nmse import nmse
from veridical.metrics.psnr import psnr
from veridical.metrics.ssim import ssim
from veridical.models.problem import root_sum_of_squares
from veridical.models.problems import problems
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianScan
from veridical.physics.fourier import fft, ifft
from veridical.task import Progress, silent
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array, Geometry, Measurement, Noise

OURS = ("zero-filled", "cg-sense", "wavelet", "total-variation", "denoiser")
PEERS = {"bart wavelet": "W:3:0", "bart total variation": "T:3:0"}
PATTERNS = (("uniform", 3), ("uniform", 4), ("variable", 4), ("variable", 6))
CENTRE = 24
WITHHELD = 0.2

Solve = Callable[[Array, Array], list[Array]]
"""`(k-space, mask)` to coil images, one for each setting of which the best may be chosen."""


@dataclass(frozen=True)
class BenchRow:
    """One method under one pattern and seed. `best_of`: the settings that the best was chosen from,
    by the reference itself.
    """

    pattern: str
    seed: int
    method: str
    values: dict[str, float]
    seconds: float
    best_of: int = 1


def retrospective(
    kspace: Array,
    methods: Sequence[str] = (*OURS, *PEERS),
    seeds: int = 5,
    patterns: Sequence[tuple[str, int]] = PATTERNS,
    progress: Progress = silent,
) -> list[BenchRow]:
    """Undersample a full scan, reconstruct by each method, score against the full scan.

    Args: kspace: `(coil, ky, kx)`, complete over the columns that were acquired at all. methods:
        model names, or peers (`bart wavelet`, `bart total variation`: two sets of maps, best of 5
        weights). seeds: patterns drawn per kind; for uniform ones the seed is the offset. patterns:
        kind (`uniform`, `variable`) and acceleration. progress: called as work goes on.

    Returns:
        Rows with `psnr` (dB, peak: the reference's largest value in the head), `ssim` and `nmse`.
    """
    columns = np.flatnonzero(np.abs(kspace).sum((0, 1)) > 0)
    acquired = slice(int(columns[0]), int(columns[-1]) + 1)
    reference = rss(kspace)
    head = head_mask(reference)
    peak = float(reference[head].max())
    jobs = [(kind, factor, seed) for kind, factor in patterns for seed in range(seeds)]
    rows = []
    for number, (kind, factor, seed) in enumerate(jobs):
        mask = _pattern(kind, kspace.shape[1:], factor, seed, acquired)
        for method in methods:
            start = time.perf_counter()
            images = [np.sqrt((np.abs(c) ** 2).sum(0)) for c in solve(method)(kspace * mask, mask)]
            seconds = (time.perf_counter() - start) / len(images)
            scores = [_scores(image, reference, head, peak) for image in images]
            best = max(scores, key=lambda s: s["psnr"])
            rows.append(BenchRow(f"{kind} {factor}x", seed, method, best, seconds, len(images)))
        progress("bench", number + 1, len(jobs))
    return rows


def withheld(
    kspace: Array,
    methods: Sequence[str] = (*OURS, *PEERS),
    seeds: int = 5,
    progress: Progress = silent,
) -> list[BenchRow]:
    """Withhold a fifth of the samples outside the centre, reconstruct from the rest, predict the
    withheld ones.

    Returns: Rows with `error`: the norm of predicted minus measured over the norm of the measured
        withheld samples, all coils.

    Raises:
        InputError: nothing was sampled outside the fully sampled centre.
    """
    sampled = np.abs(kspace).sum(0) > 0
    centre = masks.fully_sampled_centre(sampled)
    outside = sampled.copy()
    outside[centre] = False
    candidates = np.flatnonzero(outside)
    if len(candidates) == 0:
        raise InputError(
            "Nothing was sampled outside the fully sampled centre of k-space, so nothing can be "
            "withheld."
        )
    rows = []
    for seed in range(seeds):
        chosen = np.random.default_rng(seed).choice(
            candidates, round(WITHHELD * len(candidates)), replace=False
        )
        hidden = np.zeros(sampled.size, dtype=bool)
        hidden[chosen] = True
        hidden = hidden.reshape(sampled.shape)
        kept = sampled & ~hidden
        for method in methods:
            start = time.perf_counter()
            predictions = [
                fft(torch.from_numpy(c)).numpy() for c in solve(method)(kspace * kept, kept)
            ]
            seconds = (time.perf_counter() - start) / len(predictions)
            truth = kspace[:, hidden]
            errors = [
                float(np.linalg.norm(p[:, hidden] - truth) / np.linalg.norm(truth))
                for p in predictions
            ]
            rows.append(
                BenchRow(
                    "withheld samples", seed, method, {"error": min(errors)}, seconds, len(errors)
                )
            )
        progress("bench", seed + 1, seeds)
    return rows


def solve(method: str) -> Solve:
    """Return the solver of a model or a peer, giving coil images `(coil, y, x)` in the units of the
    data.
    """
    if method in PEERS:
        return lambda kspace, mask: [
            images for _, images, _ in peers.bart(kspace, 2, PEERS[method])
        ]
    model = Reconstruct(model=method).build()

    def ours(kspace: Array, mask: Array) -> list[Array]:
        problem = next(problems(measurement(kspace, mask), sets=2))
        estimate = model.solve(problem, 1, 0)[0]
        return [np.asarray(problem.seen(estimate)[:, 0].numpy() * problem.scale)]

    return ours


def measurement(kspace: Array, mask: Array, contrast: str = "other") -> Measurement:
    """Wrap one slice of k-space `(coil, ky, kx)` of unknown spacing as a measurement."""
    rows, columns = mask.shape
    scan = CartesianScan(mask[None])
    return Measurement(
        kspace[None],
        scan,
        Noise("gaussian"),
        Geometry.index((columns, rows, 1)),
        {"contrast": contrast},
    )


def rss(kspace: Array) -> Array:
    """Return the root-sum-of-squares image `(y, x)` of k-space `(coil, ky, kx)`."""
    return np.asarray(root_sum_of_squares(ifft(torch.from_numpy(np.array(kspace)))).numpy())


def head_mask(image: Array) -> Array:
    """Return the largest bright region of an image without holes: `(y, x)` bool."""
    bright = ndimage.binary_closing(image > 0.1 * np.percentile(image, 99), iterations=3)
    labels, count = ndimage.label(bright)
    if count == 0:
        raise InputError("No head was found in the reference image; is the scan empty?")
    sizes = ndimage.sum_labels(bright, labels, range(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes))))


def table(rows: Sequence[BenchRow]) -> str:
    """Return the rows as a Markdown table: mean and standard deviation over seeds."""
    keys = list(rows[0].values)
    lines = [
        "| pattern | method | " + " | ".join(keys) + " | seconds |",
        "|---|---|" + "---|" * (len(keys) + 1),
    ]
    for pattern in dict.fromkeys(r.pattern for r in rows):
        for method in dict.fromkeys(r.method for r in rows):
            group = [r for r in rows if r.pattern == pattern and r.method == method]
            if not group:
                continue
            cells = [
                f"{np.mean(v):.3f} ± {np.std(v):.3f}"
                for v in ([r.values[k] for r in group] for k in keys)
            ]
            name = method if group[0].best_of == 1 else f"{method} (best of {group[0].best_of})"
            lines.append(
                f"| {pattern} | {name} | {' | '.join(cells)} | "
                f"{np.median([r.seconds for r in group]):.2f} |"
            )
    return "\n".join(lines)


def bench(
    kspace: Array, seeds: int = 5, methods: Sequence[str] = (), progress: Progress = silent
) -> list[BenchRow]:
    """Choose the protocol by the scan: retrospective when it is complete over its columns, else
    withheld samples.
    """
    chosen = tuple(methods) or (*OURS, *PEERS)
    sampled = np.abs(kspace).sum(0) > 0
    complete = bool((sampled == sampled.any(0)[None]).all()) and bool(_contiguous(sampled.any(0)))
    if complete:
        return retrospective(kspace, chosen, seeds, progress=progress)
    return withheld(kspace, chosen, seeds, progress)


def _contiguous(columns: Array) -> bool:
    where = np.flatnonzero(columns)
    return len(where) > 0 and bool(columns[where[0] : where[-1] + 1].all())


def _pattern(kind: str, shape: tuple[int, ...], factor: int, seed: int, acquired: slice) -> Array:
    size = (shape[0], shape[1])
    if kind == "uniform":
        return masks.uniform(size, factor, CENTRE, seed, acquired)
    if kind == "variable":
        return masks.variable_density(size, factor, CENTRE, seed, acquired=acquired)
    raise SettingError(f"There is no pattern {kind!r}; expected uniform or variable.")


def _scores(image: Array, reference: Array, head: Array, peak: float) -> dict[str, float]:
    return {
        "psnr": psnr(image, reference, data_range=peak, mask=head),
        "ssim": ssim(image, reference, data_range=peak, mask=head),
        "nmse": nmse(image, reference, mask=head),
    }
