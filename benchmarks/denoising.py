"""Denoising of patients who were not trained on: slices, volumes, and whether small lesions are
still seen.

python benchmarks/denoising.py [--weights FILE] [--quick] [--only slices] [--peers FOLDER]

White noise of 0.03, 0.07 and 0.15 of the 99th percentile of the foreground is added to real
magnitude images; all methods are told it. The reference has noise of its own, and a method that
takes that away is punished, alike for all.

1. slices: six a patient and view; rival: non-local means of scikit-image, h (0.4 to 1.2 of the
   noise) and patch (3, 5, 7) chosen for every slice by the truth.
2. volumes: rival: BM4D of `bmnd` with its default profile and the true noise, on the same threads.
   It is no dependency: pip install --target FOLDER --no-deps bmnd PyWavelets, then --peers FOLDER.
   OpenKBP CT is in steps of 16 HU.
3. lesions: discs of 3 pixels radius in even tissue, present or absent, many noise realizations; d'
   of a channelized Hotelling observer (five dense difference-of-Gaussian channels) on noisy and
   denoised regions, with 95 % intervals. The contrast is the one for which d' of the noisy regions
   is 1.5.

PSNR over the foreground (above a tenth of the peak), and over the whole image; mean and SD over
patients.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import patients as data
from patients import FOREGROUND, Volume, scores, spread, table
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from veridical.metrics.observer import Detectability, dense_gaussians, detectability
from veridical.tasks.enhance import Enhance
from veridical.types import Array, Image

NOISE = (0.03, 0.07, 0.15)
STRENGTHS, PATCHES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.05, 1.2), (3, 5, 7)
RADIUS, REGION, WANTED = 3.0, 21, 1.5
SLICES = (
    "noise",
    "set",
    "patients",
    "method",
    "PSNR foreground",
    "PSNR whole",
    "gain dB",
    "s a slice",
)
VOLUMES = (
    "noise",
    "set",
    "patients",
    "method",
    "PSNR foreground",
    "PSNR whole",
    "gain dB",
    "s a volume",
    "times faster",
)
Peer = Callable[[Array, float], Array]
Seen = dict[str, dict[bool, list[Array]]]
"""Image -> whether there is a disc -> regions."""
LESIONS = ("noise", "set", "contrast / noise", "image", "d' (95 %)", "regions")


def ours(image: Image, noise: float, weights: str) -> Array:
    """Return the denoised first channel `(x, y, z)`."""
    job = "low-dose-ct" if image.units == "HU" else "denoise"
    made = Enhance(job=job, draws=1, noise=noise, weights=weights)(image, seed=0)  # type: ignore[arg-type]
    return np.asarray(made.image.data[0])


def our_slice(noisy: Array, sigma: float, weights: str) -> Array:
    return ours(data.single(noisy.T[:, :, None], (1.0, 1.0, 5.0)), sigma, weights)[:, :, 0].T


def our_volume(noisy: Array, sigma: float, like: Volume, weights: str) -> Array:
    """Denoise a volume whose air is 0 and peak 1 on the grid of another; CT as HU, of which the
    task takes any scale.
    """
    spacing = like.image.geometry.spacing
    if like.image.units != "HU":
        return ours(data.single(noisy, spacing), sigma, weights)
    return (
        ours(data.single(1000 * noisy - 1000, spacing, "CT", "HU"), 1000 * sigma, weights) / 1000
        + 1
    )


def tuned_nlm(noisy: Array, truth: Array, sigma: float) -> Array:
    """Return non-local means of least error in the foreground, over strength and patch."""
    best, least = noisy, -np.inf
    for patch in PATCHES:
        for strength in STRENGTHS:
            settings = {
                "patch_size": patch,
                "patch_distance": 6,
                "h": strength * sigma,
                "sigma": sigma,
            }
            made = denoise_nl_means(noisy, fast_mode=True, **settings)
            if (score := scores(made, truth)[0]) > least:
                best, least = made, score
    return best


def slices(volumes: Sequence[Volume], count: int, weights: str) -> list[list[str]]:
    """Return the lines of slices of one set."""
    made = []
    for sigma in NOISE:
        found: dict[str, list[list[float]]] = {
            "noisy": [],
            "non-local means, tuned": [],
            "ours": [],
        }
        for volume in volumes:
            part: dict[str, list[tuple[float, float, float]]] = {name: [] for name in found}
            for seed, truth in enumerate(data.views(volume, count)):
                noisy = truth + sigma * np.random.default_rng(seed).standard_normal(
                    truth.shape, np.float32
                )
                part["noisy"].append((*scores(noisy, truth), 0.0))
                for name, method in (
                    ("non-local means, tuned", lambda a, t=truth, s=sigma: tuned_nlm(a, t, s)),
                    ("ours", lambda a, s=sigma: our_slice(a, s, weights)),
                ):
                    begun = time.perf_counter()
                    image = method(noisy)
                    part[name].append((*scores(image, truth), time.perf_counter() - begun))
            for name, values in part.items():
                found[name].append(list(np.mean(values, 0)))
        by_name = {name: np.array(values) for name, values in found.items()}
        made += lines(f"{sigma:g}", volumes, by_name, "non-local means, tuned")
        data.say(f"slices, {volumes[0].group}, {sigma:g}")
    return made


def lines(
    label: str, volumes: Sequence[Volume], found: dict[str, Array], rival: str
) -> list[list[str]]:
    """Return one line a method: `(patient, (foreground, whole, seconds))` each."""
    made = []
    for name, values in found.items():
        gain = (
            f"{(values[:, 0] - found[rival][:, 0]).mean():+.2f}"
            if name == "ours" and rival in found
            else ""
        )
        cells = [
            label,
            volumes[0].group,
            str(len(volumes)),
            name,
            spread(values[:, 0]),
            spread(values[:, 1]),
            gain,
        ]
        made.append([*cells, f"{values[:, 2].mean():.2f}"])
    return made


def bm4d(peers: str) -> Peer | None:
    """Return BM4D of `bmnd`, None where it is not there."""
    if peers:
        sys.path.insert(0, peers)
    try:
        bmnd: Any = importlib.import_module("bmnd")
    except ImportError:
        data.say(
            "BM4D is left out: pip install --target FOLDER --no-deps bmnd PyWavelets, then --peers "
            "FOLDER."
        )
        return None
    profile = bmnd.BM4DProfile(noise_model=bmnd.NoiseModel.GAUSSIAN)
    bmnd.bmnd(
        np.random.default_rng(0).random((16, 16, 16)).astype(np.float32), profile, sigma=0.1
    )  # compile before the clock
    return lambda noisy, sigma: np.asarray(bmnd.bmnd(noisy, profile, sigma=sigma))


def truth_of(volume: Volume, quick: bool) -> Array:
    """Return a volume whose air is 0 and whose peak is 1; a central part where `quick`."""
    shown = np.maximum(volume.data + 1000 if volume.image.units == "HU" else volume.data, 0)
    if quick:
        shown = shown[
            tuple(slice(n // 2 - min(n, 48) // 2, n // 2 + min(n, 48) // 2) for n in shown.shape)
        ]
    return np.ascontiguousarray(shown / data.peak_of(shown))


def volumes(
    group: Sequence[Volume], peer: Peer | None, quick: bool, weights: str
) -> list[list[str]]:
    """Return the lines of whole volumes of one set."""
    made = []
    for sigma in NOISE[1:2] if quick else NOISE:
        found: dict[str, list[tuple[float, float, float]]] = {"noisy": [], "ours": []} | (
            {"BM4D": []} if peer else {}
        )
        for number, volume in enumerate(group):
            truth = truth_of(volume, quick)
            noisy = truth + sigma * np.random.default_rng(number).standard_normal(
                truth.shape, np.float32
            )
            found["noisy"].append((*scores(noisy, truth), 0.0))
            begun = time.perf_counter()
            clean = our_volume(noisy, sigma, volume, weights)
            found["ours"].append((*scores(clean, truth), time.perf_counter() - begun))
            if peer:
                begun = time.perf_counter()
                clean = peer(noisy, sigma)
                found["BM4D"].append((*scores(clean, truth), time.perf_counter() - begun))
        values = {name: np.array(one) for name, one in found.items()}
        faster = f"{values['BM4D'][:, 2].mean() / values['ours'][:, 2].mean():.1f}" if peer else ""
        made += [
            [*line, faster if line[3] == "ours" else ""]
            for line in lines(f"{sigma:g}", group, values, "BM4D")
        ]
        data.say(f"volumes, {group[0].group}, {sigma:g}")
    return made


def even_places(image: Array, count: int) -> list[tuple[int, int]]:
    """Return the evenest places of a slice, apart from each other."""
    half = REGION // 2
    smooth = ndimage.gaussian_filter(image, 1.5)
    uneven = ndimage.maximum_filter(ndimage.gaussian_gradient_magnitude(image, 1.5), REGION)
    uneven[ndimage.minimum_filter(smooth, REGION) < FOREGROUND] = np.inf
    uneven[[*range(half), *range(-half, 0)]] = uneven[:, [*range(half), *range(-half, 0)]] = np.inf
    found: list[tuple[int, int]] = []
    while len(found) < count and np.isfinite(uneven).any():
        row, column = np.unravel_index(int(uneven.argmin()), uneven.shape)
        found.append((int(row), int(column)))
        uneven[max(row - REGION, 0) : row + REGION, max(column - REGION, 0) : column + REGION] = (
            np.inf
        )
    return found


def regions(
    sets: Sequence[Array], contrast: float, sigma: float, repeats: int, weights: str
) -> Seen:
    """Return regions with and without a disc, noisy and denoised, over slices, places and noise
    realizations.
    """
    half = REGION // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = contrast * np.clip(RADIUS - np.hypot(y, x) + 0.5, 0, 1).astype(np.float32)
    seen: Seen = {name: {True: [], False: []} for name in ("noisy", "ours")}
    for number, image in enumerate(sets):
        places = even_places(image, 3)
        for seed in range(2 * repeats):
            truth, present = image.copy(), seed % 2 == 0
            for row, column in places:
                truth[row - half : row + half + 1, column - half : column + half + 1] += (
                    disc * present
                )
            noise = np.random.default_rng((number, seed)).standard_normal(truth.shape, np.float32)
            noisy = truth + sigma * noise
            for name, shown in (("noisy", noisy), ("ours", our_slice(noisy, sigma, weights))):
                for row, column in places:
                    seen[name][present].append(
                        (shown - image)[
                            row - half : row + half + 1, column - half : column + half + 1
                        ]
                    )
    return seen


def judged(found: dict[bool, list[Array]]) -> Detectability:
    channels = dense_gaussians((REGION, REGION), count=5, first=0.02, growth=1.5)
    return detectability(np.stack(found[True]), np.stack(found[False]), channels=channels)


def lesions(group: Sequence[Volume], repeats: int, weights: str) -> list[list[str]]:
    """Return the lines of detectability of one set, noise 0.07."""
    sigma, images = (
        NOISE[1],
        [one for volume in group for one in data.views(volume, 2, every=False)],
    )
    images = [one for one in images if even_places(one, 1)]
    if not images:
        data.say(
            f"lesions: no slice of {group[0].group} has even tissue of {REGION} x {REGION} pixels"
        )
        return []
    ideal = np.sqrt(
        np.square(np.clip(RADIUS - np.hypot(*np.mgrid[-10:11, -10:11]) + 0.5, 0, 1)).sum()
    )
    contrast = WANTED / ideal * sigma
    made = []
    for name, found in regions(images, contrast, sigma, repeats, weights).items():
        one = judged(found)
        text = f"{one.index:.2f} ({one.interval[0]:.2f} to {one.interval[1]:.2f})"
        made.append(
            [
                f"{sigma:g}",
                group[0].group,
                f"{contrast / sigma:.2f}",
                name,
                text,
                "{} + {}".format(*one.images),
            ]
        )
    return made


def main() -> None:
    parser = data.arguments(__doc__)
    parser.add_argument("--only", choices=("slices", "volumes", "lesions"))
    parser.add_argument("--peers", default="", help="folder with bmnd, for BM4D")
    given = data.parsed(parser)
    quick, weights = given.quick, given.weights
    magnetic = [data.ixi()[:1]] if quick else [data.ixi(), data.sarcoma(), data.tcga(), data.lgg()]
    if given.only in (None, "slices"):
        rows = [row for group in magnetic for row in slices(group, 1 if quick else 6, weights)]
        print(f"### Slices\n\n{table(SLICES, rows)}\n", flush=True)
    if given.only in (None, "volumes"):
        peer = bm4d(given.peers)
        groups = (
            [data.ixi()[:1], data.openkbp(1)]
            if quick
            else [data.ixi(), data.sarcoma(), data.tcga(), data.openkbp()]
        )
        rows = [row for group in groups for row in volumes(group, peer, quick, weights)]
        print(f"### Volumes\n\n{table(VOLUMES, rows)}\n", flush=True)
    if given.only in (None, "lesions"):
        rows = [row for group in magnetic for row in lesions(group, 12 if quick else 40, weights)]
        print(f"### Small lesions\n\n{table(LESIONS, rows)}", flush=True)


if __name__ == "__main__":
    main()
