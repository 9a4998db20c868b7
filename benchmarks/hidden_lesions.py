"""Is evidence lower where a small lesion hides in detail that was not measured?

python benchmarks/hidden_lesions.py [--weights FILE] [--quick] [--slices 6]

Lesions, bright or dark Gaussians of 2.5 pixels full width at half maximum and 40 % of the peak, are
put at random places of real slices of patients who were not trained on. The slices get a smooth
phase, eight simulated coils and noise, and are undersampled 4 and 6 times. `missed` is the share of
the lesions' contrast that the estimate does not show. AUC: of one minus evidence, lesion pixels
(above half of the lesion's height) against all other pixels of the foreground; then against pixels
where the slice has as much detail of its own (its highest quarter of local gradients). `rank` is
the rank correlation of width and error over the foreground. Mean and standard deviation over
slices.
"""

from __future__ import annotations

import numpy as np
import torch
from new_modalities import coils, grid
from patients import (
    FOREGROUND,
    Volume,
    arguments,
    ixi,
    parsed,
    peak_of,
    sarcoma,
    spread,
    table,
    views,
)
from scipy import ndimage, stats

from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI, CartesianScan
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array, Measurement, Noise

LESIONS, WIDTH, CONTRAST, APART, CENTRE, NOISE = 6, 2.5, 0.4, 9, 24, 0.004
PATTERNS = (("uniform", 4), ("variable density", 4), ("variable density", 6))
COLUMNS = ("sampling", "set", "slices", "missed", "AUC, rest", "AUC, as much detail", "rank")


def with_lesions(image: Array, rng: np.random.Generator) -> Array:
    """Return the lesions alone, on the grid of a slice whose peak is 1."""
    inside = ndimage.binary_erosion(image > 2 * FOREGROUND, iterations=6)
    places = np.argwhere(inside)
    rng.shuffle(places)
    chosen: list[Array] = []
    for place in places:
        if all(np.hypot(*(place - other)) > APART for other in chosen):
            chosen.append(place)
        if len(chosen) == LESIONS:
            break
    added, (rows, columns) = np.zeros_like(image), np.indices(image.shape)
    for number, (y, x) in enumerate(chosen):
        blob = np.exp(-4 * np.log(2) * ((rows - y) ** 2 + (columns - x) ** 2) / WIDTH**2)
        added += (1 if number % 2 else -1) * min(CONTRAST, float(image[y, x])) * blob
    return added


def measured(truth: Array, pattern: tuple[str, int], seed: int) -> Measurement:
    """Return an undersampled scan of a slice."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in truth.shape), indexing="ij")
    phased = torch.from_numpy((truth * np.exp(1j * (0.8 * y + 0.5 * x * y))).astype(np.complex64))[
        None
    ]
    kind, factor = pattern
    draw = masks.uniform if kind == "uniform" else masks.variable_density
    mask = draw(truth.shape, factor, CENTRE, seed)
    operator = CartesianMRI(torch.from_numpy(mask.astype(np.float32)), coils(truth.shape))
    clean = operator.forward(phased)
    noise = torch.view_as_complex(
        torch.randn(*clean.shape, 2, generator=torch.Generator().manual_seed(seed))
    )
    kspace = (clean + NOISE * noise * operator.mask).numpy()
    scan = CartesianScan(mask[None])
    return Measurement(
        kspace[None], scan, Noise("gaussian", NOISE), grid(truth.shape), {"contrast": "T1w"}
    )


def judged(
    image: Array, pattern: tuple[str, int], seed: int, weights: str
) -> tuple[float, float, float, float]:
    """Return the share of the lesions that is missed, both AUC and the rank correlation of one
    slice.
    """
    image = image / peak_of(image)
    added = with_lesions(image, np.random.default_rng(seed))
    truth = np.maximum(image + added, 0).astype(np.float32)
    found = Reconstruct(weights=weights)(measured(truth, pattern, seed), seed=seed)
    made = found.image.data[0, :, :, 0].T
    inside = image > FOREGROUND
    hidden = inside & (np.abs(added) > 0.5 * np.abs(added).max())
    missed = 1 - float((((made - image) * added)[inside]).sum() / np.square(added[inside]).sum())
    if found.evidence is None or found.evidence.map is None or found.interval is None:
        return missed, np.nan, np.nan, np.nan
    doubt = 1 - found.evidence.map[0, :, :, 0].T
    gradient = ndimage.gaussian_gradient_magnitude(image, 1.0)
    detailed = inside & ~hidden & (gradient > np.quantile(gradient[inside], 0.75))
    width = (found.interval.upper - found.interval.lower)[0, :, :, 0].T
    rank = stats.spearmanr(width[inside], np.abs(made - truth)[inside]).statistic
    return (
        missed,
        auc(doubt[hidden], doubt[inside & ~hidden]),
        auc(doubt[hidden], doubt[detailed]),
        float(rank),
    )


def auc(positive: Array, negative: Array) -> float:
    return float(stats.mannwhitneyu(positive, negative).statistic / (positive.size * negative.size))


def line(group: list[Volume], pattern: tuple[str, int], count: int, weights: str) -> list[str]:
    """Return one line of the table."""
    slices = [
        one for volume in group for one in views(volume, count) if min(one.shape) > 3 * CENTRE
    ]
    found = np.array([judged(one, pattern, seed, weights) for seed, one in enumerate(slices)])
    told = found[np.isfinite(found).all(1)]
    cells = [spread(found[:, 0])] + [
        spread(told[:, column]) if len(told) else "withheld" for column in (1, 2, 3)
    ]
    return [f"{pattern[0]} {pattern[1]}x", group[0].group, f"{len(told)} of {len(found)}", *cells]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--slices", type=int, default=6, help="of each view of each patient")
    given = parsed(parser)
    sets = [ixi()[:1]] if given.quick else [ixi(), sarcoma()]
    count = 2 if given.quick else given.slices
    print(
        table(
            COLUMNS,
            [line(group, pattern, count, given.weights) for group in sets for pattern in PATTERNS],
        )
    )


if __name__ == "__main__":
    main()
