"""One scanner's look for all: T1w slices brought to another site's look by the prior, by its histogram and by landmarks.

With the truth known: digital patients of the second simulator with multiple sclerosis, at the height of the ventricles, as
three sites show them (a curve, blur, bias and noise of a kind that no training saw; two scanners of other field and sequence)
and as the target site does. Without: IXI brought to the look of openms. Neither images of the patients nor of the look come
from training patients, but for those of IXI and openms that are marked as trained on.

Histogram matching takes the 101 quantiles of the target's patients; landmarks are those of Nyul and Udupa (1999,
10.1002/(SICI)1522-2594(199912)42:6<1072::AID-MRM11>3.0.CO;2-M): 1, 10, 20, ..., 90 and 99 %. Volumes are counted with the
thresholds of the target site, as a tool made there would. The prior begins at the curve through the five quantiles that it is
told, as the task does; without it, for comparison, at the image as it is. An AUC of 0.5 says that sites are not told apart;
with few patients it falls below. Prints markdown: means over patients, and their range.

python benchmarks/harmonize.py [WEIGHTS] [--patients 30] [--references 12] [--draws 8]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import completion as shared
import nibabel
import numpy as np
import torch
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from veridical.audit.age_effect import effect
from veridical.audit.biology import CLASSES, tissue_volumes
from veridical.phantoms.anatomy import evaluate
from veridical.phantoms.cohort_b import SITES_B, CohortB
from veridical.layouts.pool import data_root
from veridical.phantoms.rendering import Slice, render
from veridical.phantoms.scanners import Site
from veridical.training.slabs import normalized, volumes
from veridical.metrics.auc import auc
from veridical.models import weights
from veridical.models.base import ImageModel
from veridical.models.brain_prior import BrainPrior
from veridical.models.known import foreground, look_of
from veridical.physics.bias_shading import BiasShading
from veridical.physics.rician_noise import RicianNoise
from veridical.physics.tissue import TissueClass
from veridical.tasks.harmonize import curved
from veridical.tasks.imagewise import Plan, facts, known_slice
from veridical.tasks.view import View, view
from veridical.types import Array, Geometry, Image
from veridical.evaluation.simulation_study import TEST_SEED

CHANNEL, TARGET = "T1w", SITES_B[0]
SOURCES: Mapping[str, Site | None] = {"curve": None, "south, 1.5 T SPGR": SITES_B[1], "west, 1 T SE": SITES_B[2]}
SIZE, SPACING, GAP = (176, 144), 1.25, 3.0
PLACE = (0.0, -20.0, 14.0)
"""Where the slices pass, mm of the template: through the bodies of the lateral ventricles."""
TISSUES = (TissueClass.CSF, TissueClass.GREY, TissueClass.WHITE)
LANDMARKS = np.array([0.01, *np.arange(0.1, 0.95, 0.1), 0.99])
FLUID, GREY, WHITE = (4, 11, 49, 50, 51, 52), range(100, 208), range(81, 89)
"""Labels of IXI: ventricles, cortex, white matter of the lobes."""
FOLDS = 5
FAINT = 0.05
"""Contrast of lesions under the true look up to which nothing is said of what is left of it."""


@dataclass(frozen=True, eq=False)
class Look:
    """The target site: what each method needs to know of it.

    Args:
        five: quantiles that the prior is told.
        quantiles: of the foreground of all its patients together; landmarks: the mean over patients.
        edges: intensities that part fluid, grey and white matter.
    """

    five: Array
    quantiles: Array
    landmarks: Array
    edges: Array


@dataclass(frozen=True, eq=False)
class Patient:
    """One digital patient: the slab `(3, y, x)` as the source and as the target site see it, and its middle slice's tissue."""

    age: float
    seen: Array
    truth: Array
    head: Slice


def inside(image: Array) -> Array:
    """Return where a slice `(y, x)` shows something."""
    return foreground(torch.from_numpy(np.ascontiguousarray(image, np.float32)), CHANNEL).numpy() > 0.5


def heads(cohort: CohortB, index: int) -> tuple[float, tuple[Slice, ...]]:
    """Return a patient's age, and its slice through the ventricles between its neighbours."""
    subject = cohort.draw(index, "ms")
    steps = np.diag([GAP, -SPACING, -SPACING])[:, ::-1]
    origin = subject.locate(np.array(PLACE)) - steps[0] - steps[1] * (SIZE[0] - 1) / 2 - steps[2] * (SIZE[1] - 1) / 2
    found = evaluate(subject, cohort.template(), origin.astype(np.float32), np.ascontiguousarray(steps, np.float32), (3, *SIZE))
    return subject.age, tuple(
        Slice(
            found.fractions[:, n], found.texture[:, n], found.labels[n], found.brain[n] > 0.5, pathology="ms",
            factors=cohort.factors(index), site=TARGET, law=cohort.law, key=(cohort.seed, index), spacing=SPACING,
            plane="axial",
        ) for n in range(3)
    )  # fmt: skip


def shown(slab: Sequence[Slice], site: Site) -> Array:
    """Return a slab as a site shows it, always by one protocol, `(3, y, x)` in network units."""
    protocol = site.sequence(CHANNEL, np.random.default_rng(0), 0.0)
    return normalized(np.stack([render(head, CHANNEL, site, sequence=protocol) for head in slab]), CHANNEL)


def disturbed(truth: Array, curve: bool, rng: np.random.Generator) -> Array:
    """Return a slab with bias and noise, and under a saturating curve with blur when asked for."""
    image = truth
    if curve:
        steep, centre = rng.uniform(1.6, 2.8), rng.uniform(0.35, 0.55)
        image = ndimage.gaussian_filter(np.tanh(steep * (truth - centre)) + np.tanh(steep * centre), (0, 0.7, 0.7))
    shaded = normalized(BiasShading((0.5, 0.5))(image, (SPACING, SPACING), rng), CHANNEL)
    return normalized(RicianNoise((0.02, 0.02))(shaded, (SPACING, SPACING), rng), CHANNEL)


def patients(count: int, site: Site | None) -> list[Patient]:
    """Return the test patients as a source site sees them; None is the curve."""
    cohort, found = CohortB(TEST_SEED), []
    for index in range(count):
        age, slab = heads(cohort, index)
        truth, rng = shown(slab, TARGET), np.random.default_rng([TEST_SEED, index])
        seen = disturbed(truth if site is None else shown(slab, site), site is None, rng)
        found.append(Patient(age, seen, truth, slab[1]))
    return found


def look_of_site(images: Sequence[Array], edges: Array) -> Look:
    """Return the look of a site from slices `(y, x)` of its patients."""
    values = [image[inside(image)] for image in images]
    five = [look_of(torch.from_numpy(i), torch.from_numpy(inside(i)).float()).numpy() for i in images]
    landmarks = np.mean([np.quantile(v, LANDMARKS) for v in values], 0)
    return Look(np.mean(five, 0), np.quantile(np.concatenate(values), shared.QUANTILES), landmarks, edges)


def target_look(count: int) -> Look:
    """Return the look of the target site from other patients than those that are tested."""
    cohort, images, means = CohortB(TEST_SEED + 1), [], []
    for index in range(count):
        _, slab = heads(cohort, index)
        images.append(shown(slab, TARGET)[1])
        means.append([images[-1][slab[1].brain & (slab[1].labels == t)].mean() for t in TISSUES])
    levels = np.mean(means, 0)
    return look_of_site(images, (levels[1:] + levels[:-1]) / 2)


def through(image: Array, own: Array, wanted: Array) -> Array:
    """Return an image under the curve through these points, straight to zero below and as steep as there above."""
    last = wanted[-1] / max(own[-1], 1e-6)
    at, to = np.array([0.0, *own, 2 * own[-1] + 1]), np.array([0.0, *wanted, (2 * own[-1] + 1) * last])
    return np.interp(image, at, np.maximum.accumulate(to)).astype(np.float32)


def methods(model: ImageModel, seen: View, z: int, look: Look, draws: int, seed: int) -> dict[str, Array]:
    """Return a slice `(y, x)` under the wanted look by every method."""
    image = seen.images[CHANNEL][z]
    values, net = image[inside(image)], facts(model)
    plan = Plan("harmonize", relook=(CHANNEL,), looks={CHANNEL: look.five})
    k = net.channels.index(CHANNEL)
    near = replace(seen, images={CHANNEL: curved(seen.images[CHANNEL], CHANNEL, look.five)})
    plain, found = (model.complete(known_slice(v, z, plan, net), draws, seed)[0, :, k].numpy() for v in (seen, near))
    return {
        "as it is": image,
        "histogram": through(image, np.quantile(values, shared.QUANTILES), look.quantiles),
        "landmarks": through(image, np.quantile(values, LANDMARKS), look.landmarks),
        "curve": near.images[CHANNEL][z],
        "prior, no curve": plain.mean(0),
        f"prior, mean of {draws}": found.mean(0),
        "prior, one draw": found[0],
    }


def shares(image: Array, brain: Array, edges: Array) -> Array:
    """Return the shares `(3,)` of fluid, grey and white matter by fixed thresholds."""
    return np.bincount(np.digitize(image[brain], edges), minlength=3) / brain.sum()


def contrast(image: Array, head: Slice) -> float:
    """Return how much darker lesions are than white matter within 4 pixels of them, relative to it; NaN where there are few."""
    rim = ndimage.binary_dilation(head.lesions, iterations=4) & (head.labels == TissueClass.WHITE)
    if head.lesions.sum() < 12 or rim.sum() < 12:
        return float("nan")
    return float(1 - image[head.lesions].mean() / image[rim].mean())


def scores(made: Array, one: Patient, look: Look) -> dict[str, float]:
    """Return what one result of one patient scores against the true look."""
    truth, brain = one.truth[1], one.head.brain
    peak, similarity = shared.pixel(made[None], truth[None], inside(truth)[None])
    amounts, wanted = shares(made, brain, look.edges), shares(truth, brain, look.edges)
    masks = [brain & (one.head.labels == t) for t in TISSUES]
    lesion = contrast(truth, one.head)
    levels = [abs(float(made[m].mean() / truth[m].mean()) - 1) for m in masks]
    return {
        "PSNR dB": peak, "SSIM": similarity, "volumes off by % of brain": float(100 * np.abs(amounts - wanted).mean()),
        "tissue intensity off by %": 100 * float(np.mean(levels)),
        "lesion contrast over the true one": contrast(made, one.head) / lesion if lesion > FAINT else float("nan"),
    }  # fmt: skip


def histogram(image: Array) -> Array:
    """Return the histogram `(24,)` of a slice's foreground."""
    return np.histogram(image[inside(image)], 24, (0.0, 1.5), density=True)[0]


def texture(image: Array) -> Array:
    """Return histogram, sharpness and noise of a slice."""
    body = inside(image)
    gradient = float(np.hypot(*np.gradient(image))[body].mean())
    fine, coarse = (float(np.square(image - ndimage.uniform_filter(image, n))[body].mean()) for n in (3, 9))
    edges = np.log10(max(gradient, 1e-6) / max(float(np.median(image[body])), 1e-3))
    return np.array([*histogram(image), edges, np.log10(max(fine, 1e-12) / max(coarse, 1e-12))])


def site_auc(features: Callable[[Array], Array], rows: Sequence[tuple[Array, int, bool]]) -> float:
    """Return how well logistic regression tells the sites of patients it has not seen.

    Args:
        features: of one slice.
        rows: slice, fold of its patient, whether it is of the target site.
    """
    x, folds, y = np.stack([features(r[0]) for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    each = []
    for fold in np.unique(folds):
        fit = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[folds != fold], y[folds != fold])
        each.append(auc(fit.decision_function(x[folds == fold]), y[folds == fold]))
    return float(np.mean(each))


def spread(values: Sequence[float], places: int = 2) -> str:
    """Return mean and range over patients, those without the measure left out."""
    there = [v for v in values if np.isfinite(v)]
    if not there:
        return "none"
    return f"{np.mean(there):.{places}f} ({min(there):.{places}f} to {max(there):.{places}f})"


def verdicts(before: Sequence[Array], after: Sequence[Array]) -> str:
    """Return how often the biology check passes, warns and fails, slice by slice."""
    found = [tissue_volumes(b, a, inside(b)).verdict for b, a in zip(before, after, strict=True)]
    return " / ".join(str(found.count(verdict)) for verdict in ("pass", "warn", "fail"))


def digital(name: str, cases: Sequence[Patient], model: ImageModel, look: Look, draws: int) -> None:
    """Print the table of one source site."""
    ages, made = np.array([one.age for one in cases]), []
    for index, one in enumerate(cases):
        seen = View({CHANNEL: one.seen}, {CHANNEL: 1.0}, (GAP, SPACING, SPACING), lambda a: a, lambda a: a)
        made.append(methods(model, seen, 1, look, draws, index))
    rng = np.random.default_rng(0)
    real = [RicianNoise((0.01, 0.01))(one.truth, (SPACING, SPACING), rng)[1] for one in cases]
    fluid = np.array([shares(one.truth[1], one.head.brain, look.edges)[0] for one in cases])
    rows = []
    for method in made[0]:
        images = [by[method] for by in made]
        each = [scores(image, one, look) for image, one in zip(images, cases, strict=True)]
        seen_fluid = np.array([shares(i, one.head.brain, look.edges)[0] for i, one in zip(images, cases, strict=True)])
        aged = effect(ages, fluid, seen_fluid)
        ends = sorted(1 + end / aged.before for end in aged.change_interval)
        labelled = [(i, n % FOLDS, False) for n, i in enumerate(images)] + [(i, n % FOLDS, True) for n, i in enumerate(real)]
        rows.append([
            method, *(spread([one[key] for one in each], 3 if key == "SSIM" else 2) for key in each[0]),
            f"{aged.kept:.2f} ({ends[0]:.2f} to {ends[1]:.2f})", f"{site_auc(histogram, labelled):.2f}",
            f"{site_auc(texture, labelled):.2f}", verdicts([one.seen[1] for one in cases], images),
        ])  # fmt: skip
    whole = effect(ages, fluid, fluid)
    low, high = (100 * end for end in whole.before_interval)
    print(f"\n## From the site {name}, {len(cases)} digital patients of {ages.min():.0f} to {ages.max():.0f} years\n")
    print(f"Fluid under the true look grows by {100 * whole.before:.2f} ({low:.2f} to {high:.2f}) % of the brain a decade.\n")
    last = ["age slope over the true one (95 %)", "AUC of site, histogram", "with texture", "biology pass / warn / fail"]
    print(shared.table(["image", *each[0], *last], rows), flush=True)


def real_slices(count: int) -> tuple[list[Array], list[int], Look]:
    """Return slices of openms T1w with the number of their patient, and the look of them all."""
    images, owners, names = [], [], []
    for volume in volumes("openms"):
        if CHANNEL in volume.names:
            names += [volume.patient] * (volume.patient not in names)
            usable = volume.usable()
            chosen = np.linspace(0.4, 0.7, count) * (len(usable) - 1)
            stack = volume.images[volume.names.index(CHANNEL)]
            images += [stack[usable[round(c)]].astype(np.float32) for c in chosen]
            owners += [names.index(volume.patient)] * count
    return images, owners, look_of_site(images, np.zeros(2))


def real(model: ImageModel, card: Mapping[str, object], draws: int, each: int = 3) -> None:
    """Print the tables of IXI brought to the look of openms: three slices of each patient around its largest ventricles."""
    folder, held_out = data_root() / "ixi_t1_2mm", tuple(card["data"]["held_out"])  # type: ignore[index]
    ages = {r["MRID"][:6]: float(r["Age"]) for r in csv.DictReader((folder / "lists/IXI_demog_n10.csv").open())}
    images, owners, look = real_slices(2 * each)
    if stated := card.get("looks", {}).get("openms", {}).get(CHANNEL):  # type: ignore[attr-defined]
        look = replace(look, five=np.array(stated, np.float32))
    labelled: dict[str, list[tuple[Array, int, bool]]] = {}
    amounts: dict[str, list[list[Array]]] = {}
    rows = []
    paths = sorted((folder / "nifti").glob("*.nii.gz"))
    for number, path in enumerate(paths):
        scan = nibabel.load(path)
        seen = view(Image(scan.get_fdata(dtype=np.float32)[None], Geometry(scan.shape, scan.affine), "a.u.", (CHANNEL,)), 2)
        labels = nibabel.load(folder / "dlmuse" / path.name.replace(".nii", "_DLMUSE.nii")).get_fdata(dtype=np.float32)
        tissue = [np.isin(seen.cut(labels), list(codes)) for codes in (FLUID, GREY, WHITE)]
        middle = int(tissue[0].sum((1, 2)).argmax())
        chosen = [middle + 4 * (n - each // 2) for n in range(each)]
        made = [methods(model, seen, z, look, draws, 100 * number + z) for z in chosen]
        masks = [mask[chosen] for mask in tissue]
        name = path.name[:6]
        for method in made[0]:
            stack = np.stack([by[method] for by in made])
            labelled.setdefault(method, []).extend((image, number % 2, False) for image in stack)
            before = np.stack([by["as it is"] for by in made])
            found = tissue_volumes(before, stack, np.stack([inside(image) for image in before]))
            amounts.setdefault(method, []).append([np.array(found.evidence[when]) for when in ("before", "after")])
            levels = [float(stack[mask].mean()) for mask in masks]
            both = masks[1] | masks[2]
            rows.append([
                name, "held out" if name.startswith(held_out) else "trained on", f"{ages[name]:.0f}", method,
                " < ".join(f"{v:.2f}" for v in levels) if levels == sorted(levels) else " / ".join(f"{v:.2f}" for v in levels),
                f"{auc(stack[both], masks[2][both]):.3f}", *(f"{100 * v:+.1f}" for v in found.evidence["change"]),
                found.verdict,
            ])  # fmt: skip
    print(f"\n## IXI to the look of openms, {each} slices a patient\n")
    head = ["patient", "weights", "age", "image", "ventricle < cortex < white", "AUC of white against cortex"]
    print(shared.table([*head, *(f"{c} volume changed by %" for c in CLASSES), "biology"], sorted(rows, key=lambda r: r[1])))
    together = []
    for method, mine in labelled.items():
        both_sites = mine + [(image, owner, True) for image, owner in zip(images, owners, strict=True)]
        mean = np.mean([np.quantile(i[inside(i)], shared.QUANTILES) for i, *_ in mine], 0)
        pair = np.array(amounts[method])[:, :, 0]
        aged = effect(np.array([ages[path.name[:6]] for path in paths]), pair[:, 0], pair[:, 1])
        together.append([
            method, f"{site_auc(histogram, both_sites):.2f}", f"{site_auc(texture, both_sites):.2f}",
            f"{np.abs(mean - look.quantiles).mean():.3f}",
            f"{100 * aged.before:+.2f} ({100 * aged.before_interval[0]:+.2f} to {100 * aged.before_interval[1]:+.2f})",
            f"{100 * aged.after:+.2f}",
        ])  # fmt: skip
    last = ["quantiles off by", "dark share, % a decade, before (95 %)", "after"]
    print(shared.table(["image", "AUC of site, histogram", "with texture", *last], together), flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("weights", nargs="?", default="brain-prior")
    words.add_argument("--patients", type=int, default=30, help="digital ones; at least 5, or 0 for the real ones alone")
    words.add_argument("--references", type=int, default=12)
    words.add_argument("--draws", type=int, default=8)
    given = words.parse_args()
    torch.set_num_threads(1)
    model = BrainPrior(weights=given.weights, device="cpu", steps=4)
    print(f"# Harmonization of {CHANNEL} by {given.weights}")
    look = target_look(given.references)
    for name, site in SOURCES.items() if given.patients else ():
        digital(name, patients(given.patients, site), model, look, given.draws)
    if (data_root() / "ixi_t1_2mm").is_dir():
        real(model, weights.card(given.weights), given.draws)


if __name__ == "__main__":
    main()
