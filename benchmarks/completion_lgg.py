"""Completion on real patients: one of T1w, FLAIR and T1c made from the other two, by the joint prior and by its baselines.

Low-grade glioma set: the models are trained on site CS (`recipes/lgg-*.toml`) and tested on the patients of site DU with all
three contrasts; the band of each is calibrated on all the others of DU, never on itself. Train first:

    for name in prior regressor bridge gan; do veridical train recipes/lgg-$name.toml --out runs/lgg-$name; done

Prints one markdown report. Images are relative to their volume's 99th percentile, range 1; scores are inside the brain (the
head less a rim), by patient, on slices around the largest cross-section of the lesion.

Usage: python benchmarks/completion_lgg.py [RUNS] [--slices N] [--draws N]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import completion as shared
import numpy as np
import torch

import veridical
from veridical.audit.evidence import evidence
from veridical.audit.interval import Calibration, Case, calibrate
from veridical.layouts.pool import data_root
from veridical.training.slabs import Volume, volumes
from veridical.metrics.auc import auc
from veridical.metrics.dice import dice
from veridical.models import weights
from veridical.models.base import ImageModel
from veridical.models.brain_prior import BrainPrior
from veridical.models.bridge import Bridge
from veridical.models.regressor import Regressor
from veridical.models.translation_gan import TranslationGAN
from veridical.types import Geometry, Image
from veridical.workflow.evaluate import TRAINED

DIRECTIONS = {"FLAIR": ("T1w", "T1c"), "T1c": ("T1w", "FLAIR"), "T1w": ("FLAIR", "T1c")}
COPIED = {"FLAIR": "T1w", "T1c": "T1w", "T1w": "T1c"}
MODELS: dict[str, type[ImageModel]] = {
    "prior": BrainPrior, "regressor": Regressor, "bridge": Bridge, "gan": TranslationGAN,
}  # fmt: skip
RIM = 12
"""Pixels from the skin to the brain, about 11 mm."""
FLOOR, LEVEL = 0.01, 0.9
NORMAL = 1.645
"""Deviations to each side that hold 90 % of a normal distribution."""
WORST = 0.9
"""Errors above this quantile of a patient's are what low evidence is to find."""
Made = dict[tuple[str, str, str], np.ndarray]
"""(method, target, patient) -> draws `(draw, slice, y, x)`."""


def split(held_out: tuple[str, ...]) -> tuple[list[Volume], list[Volume]]:
    """Return the patients trained on and those to test on; the models were trained without the held-out ones."""
    return volumes("lgg", held_out), [v for v in volumes("lgg", ("TCGA_DU",), validation=True) if len(v.names) == 3]


def lesion(volume: Volume) -> np.ndarray:
    """Return the manual lesion `(slice, y, x)`."""
    with np.load(data_root() / "lgg_tcga" / f"{volume.patient}.npz") as file:
        return file["mask"] > 0


def parts(cases: Sequence[Volume], prior: shared.Prior, slices: int) -> list[shared.Part]:
    """Cut slices around the largest cross-section of each patient's lesion."""
    found = []
    for volume in cases:
        mask = lesion(volume)
        middle = int(mask.sum((1, 2)).argmax())
        first = min(max(0, middle - slices // 2), len(mask) - slices)
        found.append(shared.part(volume, mask, range(first, first + slices), DIRECTIONS, prior, RIM))
    return found


def model(kind: str, runs: Path) -> ImageModel | None:
    """Return a trained model, or None where there is none."""
    path = runs / f"lgg-{kind}" / f"lgg-{kind}.safetensors"
    return MODELS[kind](weights=str(path)) if path.is_file() else None  # type: ignore[call-arg]


def make(models: dict[str, ImageModel], testing: list[shared.Part], draws: int) -> Made:
    """Draw every target of every patient by every model."""
    made: Made = {}
    for kind, one in models.items():
        begin = time.perf_counter()
        for target in DIRECTIONS:
            for case in testing:
                made[kind, target, case.patient] = shared.draws(one, case, target, draws, seed=0)
        count = sum(len(case.head) for case in testing) * len(DIRECTIONS)
        print(f"- {kind}: {count} slices in {time.perf_counter() - begin:.0f} s", flush=True)
    return made


def candidates(made: Made, testing: list[shared.Part], training: list[Volume]) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Return method -> (target, patient) -> image `(slice, y, x)`."""
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for (kind, target, patient), draws in made.items():
        if len(draws) > 1:
            found.setdefault(f"{kind}, mean of {len(draws)}", {})[target, patient] = draws.mean(0)
            found.setdefault(f"{kind}, one draw", {})[target, patient] = draws[0]
        else:
            found.setdefault(kind, {})[target, patient] = draws[0]
    curves = shared.quantiles(training)
    for case in testing:
        for target in DIRECTIONS:
            source = COPIED[target]
            k = ("T1w", "FLAIR", "T1c").index(target)
            copy = shared.matched(case.images[source], curves[source], curves[target])
            found.setdefault("copy, histogram matched", {})[target, case.patient] = copy
            found.setdefault("mean intensity", {})[target, case.patient] = case.known[target].anchor[:, k].numpy()
    return found


def fidelity(methods: dict[str, dict[tuple[str, str], np.ndarray]], testing: list[shared.Part], target: str) -> str:
    """Return pixel and feature level of all methods for one target."""
    names = [case.patient for case in testing]
    real = [shared.features(case.images[target], case.head) for case in testing]
    rows, pairs = [], {}
    for method, images in methods.items():
        made = [images[target, name] for name in names]
        scores = [shared.pixel(x, case.images[target], case.brain) for x, case in zip(made, testing, strict=True)]
        power = [shared.spectrum(x * case.head, case.images[target] * case.head) for x, case in zip(made, testing, strict=True)]
        seen = [shared.features(x, case.head) for x, case in zip(made, testing, strict=True)]
        pairs[method] = [score[0] for score in scores]
        means = *np.mean(scores, 0), shared.distance(seen, real), *np.mean(power, 0)
        rows.append([method, *(f"{value:.{digits}f}" for value, digits in zip(means, (2, 3, 1, 1, 1), strict=True))])
    halves = shared.distance(real[::2], real[1::2])
    rows.append(["real, half against half", "", "", f"{halves:.1f}", "", ""])
    text = shared.table(["method", "PSNR dB", "SSIM", "KID x 1000", "fine power dB", "spectrum off by dB"], rows)
    mean = next((m for m in pairs if m.startswith("prior, mean")), None)
    if mean and "regressor" in pairs:
        gain = np.subtract(pairs[mean], pairs["regressor"])
        text += f"\nPSNR of the prior's mean less the regressor's: {shared.over_patients(gain, names)} dB\n"
    return text


def band(made: Made, kind: str, target: str, cases: list[shared.Part]) -> list[Case]:
    """Return calibration cases: error and spread inside the brain."""
    found = []
    for case in cases:
        draws = made[kind, target, case.patient]
        spread = draws.std(0, ddof=1) if len(draws) > 1 else np.zeros(draws.shape[1:])
        found.append(Case(np.abs(draws.mean(0) - case.images[target]), spread, case.brain, case.patient))
    return found


def coverage(made: Made, testing: list[shared.Part]) -> str:
    """Return how often 90 % intervals, calibrated on the other patients, hold the truth, and how wide they are.

    `promised`: conformal risk control, which with n patients keeps back 1 / (n + 1) of what may be missed. `plug-in`: 10 % of
    the calibration patients' voxels missed, as pooled distribution functions do (Dunn, Wasserman and Ramdas 2022, JASA), which
    promises 90 % with many patients only; it is the same rule at the level that allows that. `draws`: no calibration, 1.645
    spreads of the draws to each side.
    """
    rows = []
    for kind in (one for one in MODELS if any(key[0] == one for key in made)):
        for target in DIRECTIONS:
            cases = band(made, kind, target, testing)
            for rule, level in {"promised": LEVEL, "plug-in": plug_in(len(cases) - 1)}.items():
                rows.append([kind, target, rule, *_covered(cases, testing, others(cases, level))])
            if any(case.spread.any() for case in cases):
                bare = Calibration(LEVEL, 0, NORMAL, 0.0, "none", (0.0, 0.0, 0.0))
                rows.append([kind, target, "draws", *_covered(cases, testing, [bare] * len(cases))])
    head = ["method", "target", "band", "coverage %", "in the lesion %", "mean width", "half-width in spreads"]
    return shared.table(head, rows)


def others(cases: list[Case], level: float) -> list[Calibration]:
    """Return for each patient what calibration on all the others gives."""
    return [calibrate(cases[:i] + cases[i + 1 :], level, FLOOR, "other patients of site DU") for i in range(len(cases))]


def plug_in(patients: int) -> float:
    """Return the level at which conformal risk control misses a tenth of the calibration voxels."""
    return 1 - (patients * (1 - LEVEL) + 1) / (patients + 1)


def _covered(cases: list[Case], testing: list[shared.Part], found: list[Calibration]) -> tuple[str, str, str, str]:
    inside = [100 * _share(case, one) for case, one in zip(cases, found, strict=True)]
    lesions = [100 * _share(case, one, part.lesion) for case, one, part in zip(cases, found, testing, strict=True)]
    width = 2 * float(np.mean([_half(case, one)[case.foreground].mean() for case, one in zip(cases, found, strict=True)]))
    names = [case.patient for case in cases]
    wide = f"{np.mean([one.multiplier for one in found]):.2f}"
    return shared.over_patients(inside, names), shared.over_patients(lesions, names), f"{width:.3f}", wide


def _half(case: Case, found: Calibration) -> np.ndarray:
    return found.multiplier * np.maximum(case.spread, found.floor)


def _share(case: Case, found: Calibration, where: np.ndarray | None = None) -> float:
    region = case.foreground if where is None else case.foreground & where
    return float((case.error <= _half(case, found))[region].mean()) if region.any() else float("nan")


def imagined(made: Made, testing: list[shared.Part], prior: shared.Prior) -> str:
    """Return whether evidence is low where the lesion is imagined, and where the error is large.

    As in a task, the spread of the draws is first widened by what calibration, on the other patients, says of it.
    """
    rows = []
    for target in DIRECTIONS:
        found = others(band(made, "prior", target, testing), plug_in(len(testing) - 1))
        widening = float(np.mean([one.multiplier for one in found])) / NORMAL
        lower, wrong, inside, outside = [], [], [], []
        for case, one in zip(testing, found, strict=True):
            variance = (prior.std[prior.channels.index(target)] * NORMAL / one.multiplier) ** 2
            draws = made["prior", target, case.patient]
            maps = np.stack([evidence(draws[:, None, z], variance)[0] for z in range(draws.shape[1])])
            error = np.abs(draws.mean(0) - case.images[target])
            large = error > np.quantile(error[case.brain], WORST)
            wrong.append(auc(1 - maps[case.brain], large[case.brain]))
            lesions, rest = case.lesion & case.brain, case.brain & ~case.lesion
            inside.append(float(maps[lesions].mean()))
            outside.append(float(maps[rest].mean()))
            lower.append(auc(1 - maps[case.brain], lesions[case.brain]))
        names = [case.patient for case in testing]
        fewer = sum(a < b for a, b in zip(inside, outside, strict=True))
        rows.append(
            [target, f"{widening:.2f}", shared.over_patients(inside, names), shared.over_patients(outside, names),
             f"{fewer} of {len(names)}", shared.over_patients(lower, names), shared.over_patients(wrong, names)]
        )  # fmt: skip
    head = ["target", "widened by", "evidence in the lesion", "elsewhere in the brain", "lower in the lesion", "AUC for lesion"]
    return shared.table([*head, "AUC for the largest tenth of errors"], rows)


def image(stack: np.ndarray, contrast: str) -> Image:
    """Return slices `(slice, y, x)` as an image."""
    data = np.ascontiguousarray(stack.transpose(2, 1, 0)[None], np.float32)
    return Image(data, Geometry.index(data.shape[1:]), "a.u.", (contrast,))


def label(stack: np.ndarray) -> Image:
    """Return a mask `(slice, y, x)` as a label map."""
    data = np.ascontiguousarray(stack.transpose(2, 1, 0)[None].astype(np.uint8))
    return Image(data, Geometry.index(data.shape[1:]), "label", ("label",))


def judged(
    methods: dict[str, dict[tuple[str, str], np.ndarray]], testing: list[shared.Part], training: list[shared.Part]
) -> str:
    """Judge FLAIRs at three levels with `veridical.evaluate`; its segmenter then reads all of them."""
    target, rows = "FLAIR", []
    settings: dict[str, Any] = {
        "masks": {case.patient: label(case.brain) for case in testing},
        "labels": {case.patient: label(case.lesion) for case in testing},
        "training": {case.patient: image(case.images[target], target) for case in training},
        "training_labels": {case.patient: label(case.lesion) for case in training},
        "structures": ("1=lesion",),
        "paired": "yes",
        "extractors": ("efficientnet",),
        "levels": ("pixel", "feature", "task"),
    }
    reference = {case.patient: image(case.images[target], target) for case in testing}
    for method in methods:
        candidate = {case.patient: image(methods[method][target, case.patient], target) for case in testing}
        found = veridical.evaluate(candidate, reference, **settings)
        rows += [[method, level.level, level.verdict, level.reason] for level in found.levels if level.verdict != "not_run"]
    text = shared.table(["method", "level", "verdict", "reason"], rows)
    return text + "\n### Lesion found by one segmenter trained on real FLAIRs of site CS\n\n" + _read(methods, testing, target)


def _read(methods: dict[str, dict[tuple[str, str], np.ndarray]], testing: list[shared.Part], target: str) -> str:
    segmenter = next(iter(TRAINED.values()))
    made = {"real": {(target, case.patient): case.images[target] for case in testing}, **methods}
    names, rows = [case.patient for case in testing], []
    for method, images in made.items():
        scores = []
        for case in testing:
            seen = segmenter(image(images[target, case.patient], target)) > 0
            scores.append(dice(seen, case.lesion.transpose(2, 1, 0), (1.0, 1.0, 1.0)))
        rows.append([method, shared.over_patients(scores, names)])
    return shared.table(["FLAIR", "Dice of the lesion"], rows)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", nargs="?", type=Path, default=Path("runs"))
    words.add_argument("--slices", type=int, default=6)
    words.add_argument("--draws", type=int, default=8)
    given = words.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    models = {kind: found for kind in MODELS if (found := model(kind, given.runs)) is not None}
    card = weights.card(str(given.runs / "lgg-prior" / "lgg-prior.safetensors"))
    net = card["net"]
    prior = shared.Prior(tuple(net["channels"]), tuple(net["prior_mean"]), tuple(net["prior_std"]))
    train, test_on = split(tuple(card["data"]["held_out"]))
    testing = parts(test_on, prior, given.slices)
    print("# Completion of glioma patients\n")
    print(f"Trained on {len(train)}, tested on {len(testing)}, each calibrated on the other {len(testing) - 1}.\n")
    made = make(models, testing, given.draws)
    methods = candidates(made, testing, train)
    for target, measured in DIRECTIONS.items():
        print(f"\n## {target} from {' and '.join(measured)}\n\n{fidelity(methods, testing, target)}", flush=True)
    print(f"\n## Intervals of 90 %, calibrated on other patients\n\n{coverage(made, testing)}")
    print(f"\n## Evidence\n\n{imagined(made, testing, prior)}", flush=True)
    print(f"\n## Verdicts on FLAIR\n\n{judged(methods, testing, parts(train, prior, min(12, 2 * given.slices)))}")


if __name__ == "__main__":
    main()
