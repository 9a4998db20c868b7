"""How many steps a completion needs, how long a whole head takes, and whether evidence is where the
measurement narrowed what could be.

python benchmarks/generator_steps.py [--weights brain] [--heads 3] [--slices 8]

Heads painted from the label maps that trained nothing, 2 mm, FLAIR from T1w and T2w. PSNR (object,
peak: the 99th percentile of the truth) of one sample and of the mean of eight; texture: power of
the finest quarter of frequencies over that of the truth, in dB, 0 is right; spread: SD of samples
over the error of their mean, 1 is calibrated; processor seconds a slice and sample. Evidence: rank
correlation over the object with the true narrowing: one minus the variance over the 24 images that
as many scanners would show of the very same tissues, over the variance of the contrast in training
images, smoothed as evidence is. A whole head:
wall and processor seconds of `veridical complete` at the default settings.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from patients import Visit, painted_visits, peak_of, possible, say, spread, table
from scipy import ndimage, stats

from veridical.metrics.psnr import psnr
from veridical.models import intensity_map, weights
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.tasks.complete import Complete
from veridical.tasks.generated import SMOOTHING
from veridical.types import Array, Image, Result

STEPS, DRAWS, MADE, GIVEN = (1, 2, 4, 8), 8, "FLAIR", ("T1w", "T2w")
SCANNERS = 24


def fine_power(images: Array, where: Array) -> float:
    """Return the power of the finest quarter of frequencies of slices along the last axis."""
    power = np.abs(np.fft.fft2(images * where, axes=(0, 1))) ** 2
    fy, fx = (np.abs(np.fft.fftfreq(n)) for n in images.shape[:2])
    return float(power[np.hypot(fy[:, None], fx[None]) > 0.375].mean())


def scored(result: Result, truth: Array, body: Array, seconds: float) -> dict[str, float]:
    """Return the scores of a result against the truth `(x, y, z)` in its own units."""
    assert result.draws is not None
    mean, samples = np.asarray(result.image.data[0]), np.asarray(result.draws[:, 0])
    peak = peak_of(truth[body])
    pair = [
        psnr(one[None], truth[None], data_range=peak, mask=body[None]) for one in (samples[0], mean)
    ]
    error = float(np.sqrt(np.square(mean - truth)[body].mean()))
    sd = float(np.sqrt(samples.var(0, ddof=1)[body].mean()))
    texture = 10 * np.log10(fine_power(samples[0], body) / fine_power(truth, body))
    return {
        "one sample, dB": pair[0],
        "mean of 8, dB": pair[1],
        "texture, dB": float(texture),
        "spread": sd / max(error, 1e-9),
        "s a slice and sample": seconds / (DRAWS * truth.shape[2]),
    }


def narrowing(result: Result, shown: Array, body: Array, name: str) -> float:
    """Return the rank correlation of evidence with the true narrowing.

    Args:
        result: of the generator.
        shown: `(scanner, x, y, z)`, what the contrast could be, in network units.
        body: where.
        name: of the weights.
    """
    assert result.evidence is not None
    prior = intensity_map.spread_of(weights.card(name)["intensity_maps"], MADE) ** 2
    smooth = [
        ndimage.gaussian_filter(one * body, (SMOOTHING, SMOOTHING, 0))
        for one in (shown.var(0, ddof=1), 1.0 * body)
    ]
    true = np.clip(1 - smooth[0] / np.maximum(smooth[1], 1e-6) / prior, 0, 1)
    return float(stats.spearmanr(np.asarray(result.evidence.map[0])[body], true[body]).statistic)


def made(visit: Visit, steps: int, name: str) -> tuple[Result, float]:
    given = Image.stack([visit.image.channel(one) for one in GIVEN])
    since = time.process_time()
    result = Complete(to=MADE, draws=DRAWS, steps=steps, weights=name)(given, seed=0)
    return result, time.process_time() - since


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="brain")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--slices", type=int, default=8)
    asked = parser.parse_args()
    rows: dict[int, dict[str, list[float]]] = {steps: {} for steps in STEPS}
    ranks = []
    preprocessing = Preprocessing.from_card(weights.card(asked.weights))
    for number, visit in enumerate(painted_visits(asked.slices)):
        if number == asked.heads:
            break
        own = preprocessing(visit.image.channel(MADE)).scales[MADE]
        for steps in STEPS:
            say(f"{visit.patient}: {steps} steps")
            result, seconds = made(visit, steps, asked.weights)
            body = np.asarray(result.facts["body"], bool)
            truth = np.asarray(visit.image[MADE], np.float32) / own
            truth = truth * np.float32(result.image.header["scale"][MADE])
            for key, value in scored(result, truth, body, seconds).items():
                rows[steps].setdefault(key, []).append(value)
            if steps == 4:
                shown = possible(number, MADE, asked.slices, SCANNERS)
                ranks.append(narrowing(result, shown, body, asked.weights))
    columns = ["steps", *rows[1]]
    print(
        table(columns, [[str(n), *(spread(v, 2) for v in row.values())] for n, row in rows.items()])
    )
    print(f"\nevidence, rank correlation with the true narrowing: {spread(ranks, 2)}")
    whole = next(iter(painted_visits(0)))
    since = time.time()
    _, seconds = made(whole, 4, asked.weights)
    shape = " x ".join(str(n) for n in whole.image.geometry.shape)
    print(f"whole head, {shape}: {time.time() - since:.0f} s, {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
