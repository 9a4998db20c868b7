"""What images of gliomas say about genes: lower-grade gliomas of TCGA, and synthetic heads with
planted effects.

    python benchmarks/genes_in_images.py [--only real] [--data ../shared/data] [--heads 60]

The clinical table holds 110 patients, the images are of 36 of them. It has codes without a key: CoC
cluster 2 is read as IDH wild type and 3 as 1p/19q codeleted (1 is IDH-mutant without), which agrees
with age, copy-number cluster and histological type, and with the published status of the patients
CS_4941 to CS_4944; grade 1 and 2 as WHO 2 and 3. Neither spacing nor orientation is stated: 0.94 x
0.94 x 6 mm and LPS are assumed. The set may be measured, not trained on: nothing of it ships.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from csv import DictReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats
from skimage.measure import perimeter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from veridical.evaluation.associations import associations, p_value_of
from veridical.metrics.auc import auc, auc_covariance
from veridical.phantoms.head_labels import LABELS, TUMOUR
from veridical.phantoms.lesion_measures import pieces
from veridical.phantoms.lobes import TISSUE, BrainFrame, placed
from veridical.tasks.synthesize import Synthesize
from veridical.types import Array, Geometry

Reals = NDArray[np.float64]
STACK = (-0.94, -0.94, 6.0)
"""mm along the axes of the slices, LPS+: the set states neither, so this is assumed."""
SCALP = 15
"""mm from the surface of the head to tissue that brightness is compared with."""
GENOMIC = ("IDH wild type", "1p/19q codeleted", "grade 3", "age", "male")
SEED = 16


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, default=Path("../shared/data"))
    words.add_argument("--only", choices=("", "real", "heads"), default="")
    words.add_argument("--heads", type=int, default=60)
    given = words.parse_args()
    if given.only in ("", "real"):
        real(given.data / "lgg_tcga")
    if given.only in ("", "heads"):
        heads(given.heads)


def real(folder: Path) -> None:
    with (folder / "data.csv").open(encoding="utf-8") as file:
        rows = {row["Patient"]: row for row in DictReader(file, delimiter=";")}
    clinical = {name: said(row) for name, row in rows.items()}
    columns = arrays(list(clinical.values()))
    print(f"\nclinical table, {len(rows)} patients")
    shown(columns, itertools.product(GENOMIC, ("frontal", "temporal", "left")))
    shown(columns, [("IDH wild type", "age"), ("1p/19q codeleted", "age"), ("grade 3", "age"),
                    ("grade 3", "IDH wild type"), ("grade 3", "1p/19q codeleted")])  # fmt: skip
    seen = []
    for path in sorted(folder.glob("TCGA*.npz")):
        name = "_".join(path.stem.split("_")[:3])
        known = {key: clinical[name][key] for key in GENOMIC}
        seen.append(known | pictured(path, folder))
    columns = arrays(seen)
    features = [name for name in columns if name not in GENOMIC]
    print(f"\nimages, {len(seen)} patients, " + ", ".join(
        f"{name} {columns[name].sum():.0f}" for name in GENOMIC if name != "age"))  # fmt: skip
    shown(columns, itertools.product(GENOMIC, features))
    null(columns, features)
    for target in ("IDH wild type", "1p/19q codeleted", "grade 3"):
        for inputs in ("age", "images", "both"):
            chosen = ["age"] * (inputs != "images") + features * (inputs != "age")
            told(columns, target, inputs, chosen)


def said(row: dict[str, str]) -> dict[str, float]:
    """Return what the clinical table says; NaN where it says nothing."""

    def is_(column: str, code: str) -> float:
        return float(row[column] == code) if row[column] else np.nan

    return {
        "IDH wild type": is_("COCCluster", "2"), "1p/19q codeleted": is_("COCCluster", "3"),
        "grade 3": is_("neoplasm_histologic_grade", "2"), "male": is_("gender", "2"),
        "age": float(row["age_at_initial_pathologic"] or np.nan),
        "frontal": is_("tumor_location", "2"), "temporal": is_("tumor_location", "6"),
        "left": is_("laterality", "1"),
    }  # fmt: skip


def pictured(path: Path, folder: Path) -> dict[str, float]:
    """Return the features of a patient of the set."""
    with (folder / "index.csv").open(encoding="utf-8") as file:
        index = {row["case"]: row for row in DictReader(file)}[path.stem]
    with np.load(path) as packed:
        image, mask = packed["image"].astype(np.float32), packed["mask"] > 0
    grid = Geometry((mask.shape[2], mask.shape[1], mask.shape[0]), np.diag([*STACK, 1.0]))
    t1, flair, post = (image[:, n].transpose(2, 1, 0) for n in range(3))
    head = flair > 20
    enhanced = post if index["has_t1pre"] == index["has_t1post"] == "1" else None
    return appearance(mask.transpose(2, 1, 0), head, grid, (flair, t1, enhanced))


def appearance(
    lesion: Array, tissue: Array, grid: Geometry, images: tuple[Array, Array, Array | None]
) -> dict[str, float]:
    """Return what a tumour looks like.

    Args:
        lesion: `(x, y, z)` bool.
        tissue: `(x, y, z)` bool, brain or head.
        grid: of both, x and y in the plane of the slices.
        images: FLAIR, T1w, and T1w with contrast agent or None.
    """
    flair, t1, enhanced = images
    frame, points = BrainFrame.of(tissue, grid), placed(next(pieces(lesion)), grid)
    plane = round(SCALP / grid.spacing[0])
    head = np.stack([ndimage.binary_fill_holes(one) for one in np.moveaxis(tissue, 2, 0)], 2)
    slices = lesion.any((0, 1))
    inner = np.zeros_like(lesion)
    for n in np.flatnonzero(slices):
        inner[:, :, n] = ndimage.binary_erosion(head[:, :, n], iterations=plane) & ~lesion[:, :, n]
    depth = np.stack([ndimage.distance_transform_edt(one) for one in np.moveaxis(lesion, 2, 0)], 2)
    core = lesion & (depth >= np.median(depth[lesion]))
    rim = lesion & ~core
    largest = lesion[:, :, int(lesion.sum((0, 1)).argmax())]
    bright, dark = (scaled(image, inner) for image in (flair, t1))
    found = {
        "size": float(np.log(lesion.sum() / head.sum())),
        "right side": float(points[:, 0].mean() > frame.centre[0]),
        "from the middle": float(np.abs(points[:, 0].mean() - frame.centre[0]) / frame.size[0]),
        "frontal": float(frame.lobe(points) == "frontal"),
        "forward": float((points[:, 1].mean() - frame.centre[1]) / frame.size[1]),
        "roundness": float(4 * np.pi * largest.sum() / max(perimeter(largest), 1) ** 2),
        "FLAIR contrast": float(np.median(bright[lesion])),
        "FLAIR core over rim": np.nan,
        "FLAIR spread": float(np.subtract(*np.percentile(bright[lesion], [75, 25]))),
        "T1 darkness": float(-np.median(dark[lesion])),
        "enhancement": np.nan,
    }
    if rim.any():
        found["FLAIR core over rim"] = float(np.median(bright[core]) - np.median(bright[rim]))
    if enhanced is not None:
        taken = scaled(enhanced, inner) - dark
        found["enhancement"] = float(np.percentile(taken[lesion], 98))
    return found


def scaled(image: Array, rest: Array) -> Array:
    """Return an image in quartile ranges of the rest from its median."""
    low, middle, high = np.percentile(image[rest], [25, 50, 75])
    return np.asarray((image - middle) / max(float(high - low), 1e-6), np.float32)


def arrays(rows: list[dict[str, float]]) -> dict[str, Reals]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def shown(columns: dict[str, Reals], pairs: Iterable[tuple[str, str]]) -> None:
    """Print the associations of pairs, the least p first."""
    found = sorted(associations(columns, pairs), key=lambda one: one.p)
    print(f"\n{len(found)} pairs, {sum(one.holds for one in found)} hold after Holm, "
          f"{sum(one.discovery <= 0.05 for one in found)} after Benjamini-Hochberg")  # fmt: skip
    print("| pair | n | correlation (95 %) | p | Holm | Benjamini-Hochberg |")
    print("|---|---|---|---|---|---|")
    for one in found[:10]:
        ends = "no interval" if one.low is None else f"{one.low:+.2f} to {one.high:+.2f}"
        print(f"| {one.first}, {one.second} | {one.n} | {one.effect:+.2f} ({ends}) | {one.p:.2g} | "
              f"{one.holm:.2g} | {one.discovery:.2g} |")  # fmt: skip


def null(columns: dict[str, Reals], features: list[str], genes: int = 100) -> None:
    """Print whether shuffled subtypes go along with features."""
    rng, ps = np.random.default_rng(SEED), []
    for number in range(genes):
        gene = rng.permutation(columns["IDH wild type" if number % 2 else "1p/19q codeleted"])
        for name in features:
            known = ~np.isnan(columns[name])
            ps.append(p_value_of(gene[known], columns[name][known], float(rng.random())))
    ks = stats.kstest(ps, "uniform")
    few = np.mean(np.array(ps) <= 0.05)
    print(f"\n{genes} null genes over {len(features)} features: Kolmogorov-Smirnov D = "
          f"{ks.statistic:.3f}, p = {ks.pvalue:.2f}; p <= 0.05 in {few:.3f}")  # fmt: skip


def told(columns: dict[str, Reals], target: str, inputs: str, chosen: list[str]) -> None:
    """Print the AUC of patients left out, and how often shuffled truths reach it."""
    known = ~np.isnan(columns[target])
    truth = columns[target][known] == 1
    data = np.column_stack([columns[name][known] for name in chosen])
    data = np.where(np.isnan(data), np.nanmedian(data, 0), data)
    score = left_out(data, truth)
    value, spread = auc(score, truth), float(np.sqrt(auc_covariance(score[None], truth)[0, 0]))
    rng = np.random.default_rng(SEED)
    shuffled = []
    for _ in range(100):
        other = rng.permutation(truth)
        shuffled.append(auc(left_out(data, other, 2), other))
    p = (1 + sum(one >= value for one in shuffled)) / 101
    low, high = max(value - 1.96 * spread, 0), min(value + 1.96 * spread, 1)
    print(f"| {target} | {truth.sum()} of {len(truth)} | {inputs} | {value:.2f} "
          f"({low:.2f} to {high:.2f}) | {p:.2f} |", flush=True)  # fmt: skip


def left_out(data: Reals, truth: NDArray[np.bool_], repeats: int = 10) -> Reals:
    """Return the mean score of each patient over repeated fivefold cross-validation."""
    total = np.zeros(len(truth))
    for train, test in RepeatedStratifiedKFold(
        n_splits=5, n_repeats=repeats, random_state=SEED
    ).split(data, truth):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced")
        ).fit(data[train], truth[train])
        total[test] += model.decision_function(data[test])
    return total / repeats


def heads(number: int) -> None:
    """Print whether effects that are put into synthetic heads come out of their images."""
    rows, null = [], np.random.default_rng(SEED)
    for one in range(number):
        mutated, high = bool(one % 2), bool(one // 2 % 2)
        task = Synthesize(
            contrasts="T1w,T1c,FLAIR", spacing=4.0, number=one + 1, grade=4 if high else 2,
            genes=f"IDH={'mutated' if mutated else 'wild-type'}",
        )  # fmt: skip
        result = task(None, SEED)
        labels = result.also["labels"].image.data[0]
        lesion = np.isin(labels, [LABELS.index(name) for name in TUMOUR])
        image = result.image
        about = image.header["synthetic"]
        planted = {"IDH mutated": float(mutated), "grade 4": float(high)}
        planted["male"] = float(about["sex"] == "male")
        planted["age"] = float(about["age"])
        planted["null gene"] = float(null.random() < 0.3)
        rows.append(planted | appearance(
            lesion, TISSUE[labels], image.geometry, (image["FLAIR"], image["T1w"], image["T1c"])
        ))  # fmt: skip
    columns = arrays(rows)
    genes = list(columns)[:5]
    seen = ("forward", "frontal", "enhancement", "size", "right side", "roundness")
    print(f"\n{number} synthetic heads at 4 mm")
    shown(columns, itertools.product(genes, seen))


if __name__ == "__main__":
    main()
