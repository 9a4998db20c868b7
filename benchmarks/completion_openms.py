"""FLAIR from T1w and T2w of two multiple-sclerosis patients in 3D, by the shipped prior and after fine-tuning on one of them.

Skull-stripped, 1 mm, MNI space; neither patient is in the shipped training. Zero-shot first; then the prior is fine-tuned
on one patient and tried on the other, both ways. Prints one markdown report. Two patients carry no interval over patients and
no conformal promise: the 90 % band is taken from the draws as they are, and with the width that the other patient needed.

Usage: python benchmarks/completion_openms.py [WEIGHTS] [--every N] [--steps N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import completion as shared
import nibabel
import numpy as np
import torch
from scipy import ndimage

from veridical.training.patient_volumes import patient_volumes
from veridical.layouts.pool import data_root
from veridical.training.slabs import Volume, canonical
from veridical.metrics.auc import auc
from veridical.models import weights
from veridical.models.brain_prior import BrainPrior
from veridical.training.train import train

TARGET, MEASURED = "FLAIR", ("T1w", "T2w")
NORMAL = 1.645
"""Deviations to each side that hold 90 % of a normal distribution."""
FLOOR = 0.01
RECIPE = """[data]
sources = {{ data = 1.0 }}
held_out = ["{held_out}"]
jobs = {{ complete = 1.0 }}
[training]
steps = {steps}
learning_rate = 3e-4
warmup = 20
checkpoint = {steps}
decay_from = 0.3
ema = 0.99
"""


def folder() -> Path:
    """Return the folder of the two patients."""
    return data_root() / "openms" / "cross_sectional_MNI"


def lesion(volume: Volume) -> np.ndarray:
    """Return the consensus lesion mask `(slice, y, x)`."""
    path = next((folder() / volume.patient.removeprefix("cross_sectional_")).glob("GOLD*"))
    return canonical(nibabel.as_closest_canonical(nibabel.load(path))) > 0.5


def fine_tuned(start: str, held_out: str, steps: int, out: Path) -> tuple[str, float]:
    """Train on the other patient from given weights; returns the path of the new ones and the seconds it took."""
    there, begin = out / f"without-{held_out}", time.perf_counter()
    there.mkdir(parents=True, exist_ok=True)
    recipe = there / "openms-tuned.toml"
    recipe.write_text(RECIPE.format(held_out=held_out, steps=steps), encoding="utf-8")
    return str(train(recipe, there, data=folder(), start=start)), time.perf_counter() - begin


def contrast(image: np.ndarray, mask: np.ndarray, brain: np.ndarray) -> float:
    """Return how much brighter a lesion is than the brain within 4 mm around it in the slice, relative to the brain's mean."""
    near = ndimage.generate_binary_structure(2, 1)[None]
    rim = ndimage.binary_dilation(mask, near, 4) & ~ndimage.binary_dilation(mask, near) & brain
    return float((image[mask].mean() - image[rim].mean()) / image[brain].mean())


def share(error: np.ndarray, spread: np.ndarray, multiplier: float) -> float:
    """Return the share of errors inside so many spreads, in per cent."""
    return float(100 * (error <= multiplier * np.maximum(spread, FLOOR)).mean())


def row(name: str, made: np.ndarray, case: shared.Part) -> list[str]:
    """Return a row of the table; brightness is asked how well it tells lesions from the rest of the brain."""
    real = case.images[TARGET]
    peak, similarity = shared.pixel(made, real, case.brain)
    power, off = shared.spectrum(made * case.brain, real * case.brain)
    distance = shared.distance([shared.features(made, case.brain)], [shared.features(real, case.brain)])
    numbers = f"{peak:.2f}", f"{similarity:.3f}", f"{distance:.1f}", f"{power:.1f}", f"{off:.1f}"
    return [case.patient, name, *numbers, *lesions(made, case)]


def real_row(case: shared.Part) -> list[str]:
    """Return what the real FLAIR scores: the floor of KID is that of even against odd slices."""
    seen = shared.features(case.images[TARGET], case.brain)
    floor = shared.distance([seen[::2]], [seen[1::2]])
    return [case.patient, "real", "", "", f"{floor:.1f}", "", "", *lesions(case.images[TARGET], case)]


def lesions(image: np.ndarray, case: shared.Part) -> tuple[str, str]:
    """Return contrast of the lesions, and the area under the ROC curve of brightness for them, inside the brain."""
    found = auc(image[case.brain], case.lesion[case.brain])
    return f"{contrast(image, case.lesion, case.brain):.3f}", f"{found:.3f}"


def bands(name: str, drawn: dict[str, np.ndarray], cases: list[shared.Part]) -> Iterator[list[str]]:
    """Yield coverage of 90 % bands: from the draws as they are, and as wide as the other patient needed."""
    found = {}
    for case in cases:
        error = np.abs(drawn[case.patient].mean(0) - case.images[TARGET])[case.brain]
        found[case.patient] = error, drawn[case.patient].std(0, ddof=1)[case.brain]
    for patient, (error, spread) in found.items():
        other = next(pair for key, pair in found.items() if key != patient)
        needed = float(np.quantile(other[0] / np.maximum(other[1], FLOOR), 0.9))
        shares = share(error, spread, NORMAL), share(error, spread, needed)
        yield [patient, name, *(f"{value:.1f}" for value in shares), f"{needed:.2f}"]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("weights", nargs="?", default="brain-prior")
    words.add_argument("--every", type=int, default=3)
    words.add_argument("--steps", type=int, default=300)
    words.add_argument("--draws", type=int, default=8)
    words.add_argument("--out", type=Path, default=Path("runs/completion-openms"))
    given = words.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    net = weights.card(given.weights)["net"]
    prior = shared.Prior(tuple(net["channels"]), tuple(net["prior_mean"]), tuple(net["prior_std"]))
    cases = []
    for volume in patient_volumes(folder(), prior.channels, (), validation=False):
        usable = volume.usable()[:: given.every]
        cases.append(shared.part(volume, lesion(volume), usable, {TARGET: MEASURED}, prior, rim=0))
    k, covered = prior.channels.index(TARGET), []
    rows = [real_row(case) for case in cases]
    rows += [row("mean intensity", case.known[TARGET].anchor[:, k].numpy(), case) for case in cases]
    print("# FLAIR from T1w and T2w, multiple sclerosis\n")
    for name in ("zero-shot", "fine-tuned on the other"):
        drawn = {}
        for case in cases:
            chosen, seconds = given.weights, 0.0
            if name != "zero-shot":
                chosen, seconds = fine_tuned(given.weights, case.patient, given.steps, given.out)
            begin = time.perf_counter()
            drawn[case.patient] = shared.draws(BrainPrior(weights=chosen), case, TARGET, given.draws, seed=0)
            drawing = time.perf_counter() - begin
            print(
                f"- {case.patient}, {name}: {seconds:.0f} s of training, {len(case.head)} slices in {drawing:.0f} s", flush=True
            )
            rows.append(row(f"{name}, mean of {given.draws}", drawn[case.patient].mean(0), case))
            rows.append(row(f"{name}, one draw", drawn[case.patient][0], case))
        covered += bands(name, drawn, cases)
    head = ["patient", "FLAIR", "PSNR dB", "SSIM", "KID x 1000", "fine power dB", "spectrum off by dB", "lesion contrast"]
    print("\n" + shared.table([*head, "AUC of lesions"], sorted(rows, key=lambda one: one[0])))
    print(shared.table(["patient", "FLAIR", "+-1.645 spreads hold %", "the other's width holds %", "in spreads"], covered))


if __name__ == "__main__":
    main()
