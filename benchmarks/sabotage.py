"""The sabotage ladder: real images are spoilt in known ways, and the evaluation must say so, at the
level where it shows.

Real FLAIR images of the low-grade glioma set (site DU), spoilt, are judged against themselves with
the lesion masks and a segmenter trained on site CS. The first row, real images with a trace of
noise, is what a near-perfect generator would get. In brackets: the score of primary endpoints, 0 a
simple baseline, 1 real against real.

Usage: python benchmarks/sabotage.py [WORK]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from patients import DATA
from scipy import ndimage

from veridical.evaluation.results import Evaluation
from veridical.layouts.discovery import studies
from veridical.workflow.evaluate import evaluate

Spoil = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
TRACE = 0.5
"""Standard deviation of the trace of noise, in grey values of 0 to 255, that makes a copy no copy.
"""
SHOWN = (
    "pixel/ssim/foreground",
    "pixel/mae/foreground",
    "pixel/bias/foreground",
    "pixel/sharpness/foreground",
    "pixel/noise-power/foreground",
    "pixel/fourier-correlation/foreground",
    "pixel/mae/lesion",
    "feature/slice-continuity/foreground",
    "feature/mmd/radiomics",
    "feature/mmd/wavelet-pyramid",
    "feature/mmd/efficientnet",
    "feature/concordance/radiomics",
    "task/dice/segmenter:lesion",
    "task/lesion-f1/segmenter:lesion",
)


def prepare(work: Path) -> None:
    """Write FLAIR and lesion `(x, y, z)` of every patient with T1w and FLAIR: site CS to train a
    segmenter, DU to be spoilt.
    """
    for study in studies(DATA / "lgg_tcga"):
        visit, site = study.visit(), study.id.split("_")[1]
        folders = {"CS": ("train", "train-lesions"), "DU": ("real", "lesions")}.get(site)
        if folders and {"T1w", "FLAIR"} <= set(visit):
            for folder, name in zip(folders, ("FLAIR", "lesion"), strict=True):
                (work / folder).mkdir(parents=True, exist_ok=True)
                np.save(
                    work / folder / f"{Path(visit.entries[name].path).stem}.npy",
                    np.asarray(visit[name].data[0]),
                )


def blur(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(image, (1.5, 1.5, 0))


def noise(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.abs(image + rng.normal(0, 15, image.shape))


def shift(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(image, (3, 0, 0), (0, 1, 2))


def gamma(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 255 * (np.clip(image, 0, 255) / 255) ** 0.7


def lesion_removed(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The lesion takes the mirror side's values, or the foreground's median where that is lesion or
    air.
    """
    wide = ndimage.binary_dilation(lesion, iterations=3)
    inside = image > 0.1 * np.percentile(image, 99)
    healthy = np.median(image[inside & ~wide])
    mirrored = image[::-1]
    fill = np.where(wide[::-1] | ~inside[::-1], healthy, mirrored)
    soft = ndimage.gaussian_filter(wide.astype(np.float32), (1.5, 1.5, 0))
    return (1 - soft) * image + soft * fill


def lesion_added(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bright, soft ball of 12 voxels radius in healthy tissue, away from the lesion."""
    inside = image > 0.3 * np.percentile(image, 99)
    free = ndimage.binary_erosion(
        inside & ~ndimage.binary_dilation(lesion, iterations=15), iterations=4
    )
    places = np.argwhere(free)
    x, y, z = places[rng.integers(len(places))]
    grid = np.indices(image.shape)
    distance = np.sqrt((grid[0] - x) ** 2 + (grid[1] - y) ** 2 + (6 * (grid[2] - z)) ** 2)
    return image + (np.percentile(image, 99.5) - image) * np.clip(1.5 - distance / 12, 0, 1) * (
        distance < 18
    )


def slices_shuffled(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image[:, :, rng.permutation(image.shape[2])]


def untouched(image: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image


LADDER: dict[str, Spoil] = {
    "a trace of noise": untouched,
    "blur, 1.5 voxels": blur,
    "noise, 15 of 255": noise,
    "shift, 3 voxels": shift,
    "gamma 0.7": gamma,
    "lesion removed": lesion_removed,
    "lesion added": lesion_added,
    "slices shuffled": slices_shuffled,
}


def spoilt(work: Path, name: str, spoil: Spoil) -> Path:
    folder = work / "sabotage" / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted((work / "real").glob("*.npy"))):
        rng = np.random.default_rng(number)
        image, lesion = np.load(path).astype(np.float32), np.load(work / "lesions" / path.name) > 0
        made = spoil(image, lesion, rng) + rng.normal(0, TRACE, image.shape)
        np.save(folder / path.name, np.clip(made, 0, None).astype(np.float32))
    return folder


def copies(work: Path) -> Path:
    """Copies of training images under the names of test cases."""
    folder = work / "sabotage" / "copies"
    folder.mkdir(parents=True, exist_ok=True)
    training = sorted((work / "train").glob("*.npy"))
    for number, path in enumerate(sorted((work / "real").glob("*.npy"))[: len(training)]):
        np.save(folder / path.name, np.load(training[number]))
    return folder


def judged(work: Path, folder: Path, name: str) -> Evaluation:
    return evaluate(
        folder,
        work / "real",
        work / "sabotage" / f"report-{folder.name}",
        labels=work / "lesions",
        structures=("1=lesion",),
        training=work / "train",
        training_labels=work / "train-lesions",
        axes="x,y,z",
        paired="no" if name == "copies" else "auto",
    )


def main() -> None:
    work = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/sabotage")
    prepare(work)
    print(
        "| sabotage | gate | pixel | feature | task | "
        f"{' | '.join(key.split('/', 1)[1] for key in SHOWN)} |"
    )
    print("|" + "---|" * (5 + len(SHOWN)))
    rungs = [(name, spoilt(work, name, spoil)) for name, spoil in LADDER.items()]
    for name, folder in [*rungs, ("copies of training images", copies(work))]:
        found = judged(work, folder, "copies" if name.startswith("copies") else name)
        gate = ", ".join(f.check for f in found.integrity if f.verdict == "fail") or "pass"
        levels = {one.level: one.verdict for one in found.levels}
        values = {
            e.key: f"{e.value:.3g}"
            + (f" ({e.score:.2f})" if e.primary and e.score is not None else "")
            for e in found.endpoints
            if e.value is not None
        }
        row = [
            name,
            gate,
            *(levels[level].replace("_", " ") for level in ("pixel", "feature", "task")),
        ]
        print(
            "| " + " | ".join([*row, *(values.get(key, "-") for key in SHOWN)]) + " |", flush=True
        )


if __name__ == "__main__":
    main()
