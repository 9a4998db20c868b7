"""Time metrics against their peers in one run: same arrays, same threads, values beside times.

python benchmarks/metric_speed.py [group ...] [--threads 1 2] [--runs 3]

Peers that are not installed are left out with a line that says so: pip install monai torchmetrics.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from veridical.metrics.ms_ssim import ms_ssim
from veridical.metrics.ssim import RADIUS, ssim
from veridical.types import Array

Call = Callable[[], float]
SHAPE = (182, 218, 182)


@dataclass(frozen=True)
class Comparison:
    """One metric on one input: ours, and peers by name as `package: how`. What differs in meaning
    is said in `note`.
    """

    name: str
    ours: Call
    peers: Mapping[str, Call]
    note: str = ""


def brain() -> tuple[Array, Array, Array]:
    """Return a noisy and a clean volume in [0, 1], float32, and a mask of a brain's size."""
    rng = np.random.default_rng(0)
    clean = sum(
        ndimage.gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), s) * s**1.5
        for s in (1, 3, 8)
    )
    clean = (clean - clean.min()) / np.ptp(clean)
    noisy = clean + 0.03 * rng.normal(size=SHAPE)
    grid = np.indices(SHAPE, sparse=True)
    mask = (
        sum(((i - n / 2) / half) ** 2 for i, n, half in zip(grid, SHAPE, (70, 88, 70), strict=True))
        < 1
    )
    return noisy.astype(np.float32), clean.astype(np.float32), mask


def batch(image: Array) -> torch.Tensor:
    """Return an image as `(1, 1, ...)` without a copy."""
    return torch.from_numpy(image)[None, None]


def scikit_image(x: Array, y: Array, mask: Array, window: str) -> float:
    """Return the mean of the map over the voxels of the mask whose window lies inside, as ours."""
    from skimage.metrics import structural_similarity

    gaussian = (
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        if window == "gaussian"
        else {}
    )
    found = structural_similarity(x, y, data_range=1.0, full=True, **gaussian)[1]
    inside = inner(x, window)
    return float(found[inside][mask[inside]].mean(dtype=np.float64))


def monai_ssim(x: Array, y: Array, mask: Array, window: str) -> float:
    """Return the same from MONAI's map, which has valid windows only."""
    from monai.metrics.regression import compute_ssim_and_cs

    sizes, sigmas = [2 * RADIUS[window] + 1] * 3, [1.5] * 3
    found = compute_ssim_and_cs(
        batch(x), batch(y), 3, sizes, sigmas, data_range=1.0, kernel_type=window
    )[0]
    return float(found[0, 0].numpy()[mask[inner(x, window)]].mean(dtype=np.float64))


def torchmetrics_ssim(x: Array, y: Array, mask: Array, window: str) -> float:
    """Return the same from torchmetrics' map, which has the image's size."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    size = 2 * RADIUS[window] + 1
    found = structural_similarity_index_measure(
        batch(x),
        batch(y),
        window == "gaussian",
        kernel_size=size,
        data_range=1.0,
        return_full_image=True,
    )[1]
    inside = inner(x, window)
    return float(found[0, 0].numpy()[inside][mask[inside]].mean(dtype=np.float64))


def inner(image: Array, window: str) -> tuple[slice, ...]:
    """Return where the window lies inside the image."""
    return (slice(RADIUS[window], -RADIUS[window]),) * image.ndim


def monai_ms_ssim(x: Array, y: Array, peak: float) -> float:
    from monai.metrics import MultiScaleSSIMMetric

    return float(MultiScaleSSIMMetric(x.ndim, data_range=peak)(batch(x), batch(y)))


def torchmetrics_ms_ssim(x: Array, y: Array, peak: float) -> float:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    return float(
        multiscale_structural_similarity_index_measure(batch(x), batch(y), data_range=peak)
    )


def pixel() -> list[Comparison]:
    """SSIM and MS-SSIM."""
    from skimage.data import camera

    x, y, mask = brain()
    everywhere = np.ones(SHAPE, dtype=bool)
    notes = {
        "uniform": "MONAI and torchmetrics take population variances, which differ from scikit-image's and ours by 343/342.",  # noqa: E501
        "gaussian": "Ours sums in float64, the others in the images' float32.",
    }

    def three(window: str, region: Array, name: str) -> Comparison:
        return Comparison(
            f"SSIM, 3D, {window}, {name}",
            lambda: ssim(x, y, data_range=1.0, mask=region, window=window, dimensions=3),
            {
                "scikit-image": lambda: scikit_image(x, y, region, window),
                "monai": lambda: monai_ssim(x, y, region, window),
                "torchmetrics": lambda: torchmetrics_ssim(x, y, region, window),
            },
            notes[window],
        )

    clean = camera().astype(np.float32)
    noisy = (
        np.clip(clean + 20 * np.random.RandomState(5).randn(*clean.shape), 0, 255)
        .astype(np.uint8)
        .astype(np.float32)
    )
    return [
        *(three(window, mask, "masked") for window in RADIUS),
        *(three(window, everywhere, "whole image") for window in RADIUS),
        Comparison(
            "MS-SSIM, 2D, camera",
            lambda: ms_ssim(noisy, clean, data_range=255.0),
            {
                "monai": lambda: monai_ms_ssim(noisy, clean, 255.0),
                "torchmetrics": lambda: torchmetrics_ms_ssim(noisy, clean, 255.0),
            },
            "Ours sums in float64, MONAI in float32; torchmetrics keeps windows over the border at "
            "the coarsest scale.",
        ),
        Comparison(
            "MS-SSIM, 3D",
            lambda: ms_ssim(x, y, data_range=1.0, dimensions=3),
            {
                "monai": lambda: monai_ms_ssim(x, y, 1.0),
                "torchmetrics": lambda: torchmetrics_ms_ssim(x, y, 1.0),
            },
            "As in 2D.",
        ),
    ]


GROUPS: dict[str, Callable[[], list[Comparison]]] = {"pixel": pixel}
"""What can be asked for by name; each makes its input when it is called."""


def timed(call: Call, runs: int) -> tuple[list[float], float]:
    """Return seconds of each run, after one that is not counted unless it took long, and the
    value.
    """
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        value = call()
        seconds.append(time.perf_counter() - start)
        if seconds[0] > 20:
            return seconds[:1], value
    return seconds[1:], value


def compare(comparisons: Sequence[Comparison], threads: int, runs: int) -> None:
    """Print one table a comparison."""
    torch.set_num_threads(threads)
    for comparison in comparisons:
        print(f"\n### {comparison.name} ({threads} thread{'s' * (threads > 1)})\n")
        print("| who | value | seconds, median (min to max) | times ours |\n|---|---|---|---|")
        ours = 0.0
        missing = []
        for who, call in {"veridical": comparison.ours, **comparison.peers}.items():
            if (
                importlib.util.find_spec(who.split(":")[0].replace("scikit-image", "skimage"))
                is None
            ):
                missing.append(who)
                continue
            seconds, value = timed(call, max(runs, 5) if not ours else runs)
            median = float(np.median(seconds))
            ours = ours or median
            spread = f"{median:.4f} ({min(seconds):.4f} to {max(seconds):.4f})"
            print(f"| {who} | {value:.9g} | {spread} | {median / ours:.1f} |", flush=True)
        if missing:
            print(f"\nNot installed, so not timed: {', '.join(missing)}.")
        if comparison.note:
            print(f"\n{comparison.note}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "groups", nargs="*", default=list(GROUPS), metavar="group", help=", ".join(GROUPS)
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    for name in given.groups:
        comparisons = GROUPS[name]()
        for threads in given.threads:
            compare(comparisons, threads, given.runs)


if __name__ == "__main__":
    main()
