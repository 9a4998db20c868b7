"""The intensity curve and the generator of `veridical harmonize`, and histogram matching, on
patients for whom the target site's image is known.

python benchmarks/harmonize.py [--patients 16] [--references 12] [--weights brain]

Digital patients of the second simulator with multiple sclerosis, T1w of the whole head, as three
sites show them: a saturating curve with blur, and two scanners of other field and sequence; all
with bias field and noise. The truth is the same patient at the target site. The style is taken of
other patients there. Histogram matching maps the 101 quantiles of the foreground to those of the
target site's patients together.

PSNR counts the foreground, range 1 network unit. Volumes: mean difference of the shares of fluid,
grey and white matter in the brain, by the target site's thresholds, in % of the brain. Lesion
contrast: lesion over the rim of white matter around it, made over true. Mean ± SD over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from patients import arguments, parsed, say, spread, table
from scipy import ndimage

from veridical.metrics.psnr import psnr
from veridical.metrics.ssim import ssim
from veridical.phantoms.cohort_b import SITES_B, CohortB
from veridical.phantoms.rendering import PhantomVolume, render
from veridical.phantoms.scanners import Site
from veridical.physics.bias_shading import BiasShading
from veridical.physics.rician_noise import RicianNoise
from veridical.physics.tissue import TissueClass
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.tasks.harmonize import Harmonize, style
from veridical.types import Array, Image

CHANNEL, TARGET, SEED = "T1w", SITES_B[0], 911
SOURCES: dict[str, Site | None] = {
    "curve and blur": None,
    "south, 1.5 T SPGR": SITES_B[1],
    "west, 1 T SE": SITES_B[2],
}
SPACING, SHAPE = 3.0, (64, 76, 40)
TISSUES = (TissueClass.CSF, TissueClass.GREY, TissueClass.WHITE)
QUANTILES, FAINT = np.linspace(0, 1, 101), 0.05
COLUMNS = ("from", "method", "PSNR dB", "SSIM", "volumes off by %", "lesion contrast")


@dataclass(frozen=True, eq=False)
class Target:
    """The target site: its style, the quantiles of its foreground and the intensities that part its
    tissues.
    """

    style: tuple[float, ...]
    quantiles: Array
    edges: Array


def network(image: Image) -> Array:
    """Return an image `(slice, y, x)` in network units."""
    return Preprocessing()(image).images[CHANNEL]


def inside(slices: Array) -> Array:
    return Preprocessing().foreground(CHANNEL, slices)


def shown(head: PhantomVolume, site: Site) -> Array:
    """Return a patient `(x, y, z)` as a site shows it, always by one protocol."""
    return render(
        head, CHANNEL, site, sequence=site.sequence(CHANNEL, np.random.default_rng(0), 0.0)
    )


def image_of(data: Array, head: PhantomVolume) -> Image:
    return Image(data[None], head.geometry, "a.u.", (CHANNEL,))


def disturbed(data: Array, curve: bool, rng: np.random.Generator) -> Array:
    """Return a volume with bias and noise, and under a saturating curve with blur when asked
    for.
    """
    slices = np.moveaxis(data, -1, 0) / np.percentile(data, 99)
    if curve:
        steep, centre = rng.uniform(1.6, 2.8), rng.uniform(0.35, 0.55)
        slices = ndimage.gaussian_filter(
            np.tanh(steep * (slices - centre)) + np.tanh(steep * centre), (0, 0.5, 0.5)
        )
    size = (SPACING, SPACING)
    return np.moveaxis(
        RicianNoise((0.02, 0.02))(BiasShading((0.5, 0.5))(slices, size, rng), size, rng), 0, -1
    )


def heads(seed: int, count: int) -> list[PhantomVolume]:
    return [CohortB(seed).volume(index, SPACING, SHAPE, "ms") for index in range(count)]


def target(count: int) -> Target:
    """Return the target site from other patients than those who are tested."""
    found = heads(SEED + 1, count)
    images = [image_of(shown(head, TARGET), head) for head in found]
    slices = [network(image) for image in images]
    levels = [
        [s[tissue(head, t)].mean() for t in TISSUES] for s, head in zip(slices, found, strict=True)
    ]
    means = np.sort(np.mean(levels, 0))
    return Target(
        style(images),
        np.quantile(np.concatenate([s[inside(s)] for s in slices]), QUANTILES),
        (means[1:] + means[:-1]) / 2,
    )


def tissue(head: PhantomVolume, kind: TissueClass) -> Array:
    """Return where a tissue of the brain is, in the order of network slices."""
    mask = image_of((head.brain & (head.labels == kind)).astype(np.uint8), head)
    return np.asarray(
        Preprocessing()(Image(mask.data, mask.geometry, "label", ("mask",))).images["mask"] > 0
    )


def methods(seen: Image, wanted: Target, weights: str) -> dict[str, Array]:
    """Return the slices in the target's style by every method, network units."""
    own = network(seen)
    at = np.quantile(own[inside(own)], QUANTILES)
    matched = np.interp(own, [0.0, *at], [0.0, *wanted.quantiles]).astype(np.float32)
    found = {"as it is": own, "histogram matching": matched}
    tasks = {
        "intensity curve": Harmonize(style=wanted.style),
        "generator": Harmonize(
            style=wanted.style, model="generator", draws=1, steps=1, weights=weights
        ),
    }
    scale = np.float32(Preprocessing()(seen).scales[CHANNEL])
    for name, task in tasks.items():
        made = task(seen, seed=0).image.data[0]
        found[name] = Preprocessing()(seen).cut(np.asarray(made)) / scale
    return found


def scores(made: Array, truth: Array, head: PhantomVolume, wanted: Target) -> list[float]:
    pair = (np.moveaxis(made, 0, -1)[None], np.moveaxis(truth, 0, -1)[None])
    where = np.moveaxis(inside(truth), 0, -1)[None]
    brain = np.any([tissue(head, kind) for kind in TISSUES], 0)
    shares = [
        np.bincount(np.digitize(i[brain], wanted.edges), minlength=3) / brain.sum()
        for i in (made, truth)
    ]
    volumes = 100 * float(np.abs(shares[0] - shares[1]).mean())
    lesion = (
        Preprocessing()(
            Image(head.lesions[None].astype(np.uint8), head.geometry, "label", ("mask",))
        ).images["mask"]
        > 0
    )
    rim = (
        ndimage.binary_dilation(lesion, np.ones((1, 3, 3), bool), 3)
        & tissue(head, TissueClass.WHITE)
        & ~lesion
    )
    real = contrast(truth, lesion, rim)
    kept = contrast(made, lesion, rim) / real if abs(real) > FAINT else float("nan")
    return [
        psnr(*pair, data_range=1.0, mask=where),
        ssim(*pair, data_range=1.0, mask=where),
        volumes,
        kept,
    ]


def contrast(image: Array, lesion: Array, rim: Array) -> float:
    return (
        float(image[lesion].mean() / image[rim].mean() - 1) if lesion.any() and rim.any() else 0.0
    )


def cells(rows: Sequence[Sequence[float]]) -> list[str]:
    columns = [
        [value for value in column if np.isfinite(value)] for column in zip(*rows, strict=True)
    ]
    return [
        spread(column, digits) if column else ""
        for column, digits in zip(columns, (2, 3, 2, 2), strict=True)
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--references", type=int, default=12)
    given = parsed(parser)
    count, references = (2, 2) if given.quick else (given.patients, given.references)
    wanted, tested, rows = target(references), heads(SEED, count), []
    for name, site in SOURCES.items():
        found: dict[str, list[list[float]]] = {}
        for number, head in enumerate(tested):
            say(f"{name}: patient {number + 1} of {count}")
            rng, true = np.random.default_rng([SEED, number]), shown(head, TARGET)
            seen = disturbed(true if site is None else shown(head, site), site is None, rng)
            weights = given.weights or "brain"
            for method, made in methods(image_of(seen, head), wanted, weights).items():
                found.setdefault(method, []).append(
                    scores(made, network(image_of(true, head)), head, wanted)
                )
        rows += [[name, method, *cells(each)] for method, each in found.items()]
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
