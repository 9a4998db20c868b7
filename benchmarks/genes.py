"""Genes: how clinical variables and mutations of gliomas go together, and what is probable of those
that are missing; null genes; planted effects in simulated tables and in phantoms.

    python benchmarks/genes.py [--only table] [--data ../shared/data] [--write]

`--write` learns the file that ships from the 839 patients (Glioma Grading Clinical and Mutation
Features, UCI, 10.24432/C5R62J, CC BY 4.0). What images of gliomas show is in
benchmarks/genes_in_images.py.
"""

from __future__ import annotations

import argparse
import itertools
import time
from csv import DictReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression

from veridical.evaluation.associations import associations, p_value_of
from veridical.evaluation.statistics import holm
from veridical.metrics.auc import auc, auc_covariance
from veridical.models.glioma_patients import CLASSES, FILE, NAMES, STATES, GliomaPatients, stored
from veridical.models.latent_classes import SHRINKAGE, LatentClasses, fitted
from veridical.phantoms.glioma import Glioma
from veridical.phantoms.glioma_biology import GENES as PLANTED
from veridical.phantoms.glioma_biology import drawn_genes
from veridical.physics.treatment import standard

Reals = NDArray[np.float64]
SHOWN = ("grade", "IDH1", "TP53", "ATRX", "CIC", "FUBP1", "PTEN", "EGFR", "NF1", "MUC16", "sex")
FOLDS, SEED = 10, 16


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, default=Path("../shared/data"))
    parts = ("", "table", "planted", "coverage", "gliomas")
    words.add_argument("--only", choices=parts, default="")
    words.add_argument("--write", action="store_true")
    words.add_argument("--gliomas", type=int, default=90)
    words.add_argument("--tables", type=int, default=40)
    given = words.parse_args()
    values, ages = table(given.data)
    begun = time.time()
    if given.write:
        write(values, ages)
    if given.only in ("", "table"):
        together(values, ages)
        null_genes(values, ages)
        predicted(values, ages)
    if given.only in ("", "planted"):
        planted()
    if given.only in ("", "coverage"):
        coverage(values, ages, given.tables)
    if given.only in ("", "gliomas"):
        gliomas(given.gliomas)
    print(f"\n{time.time() - begun:.0f} s")


def table(data: Path) -> tuple[Reals, Reals]:
    """Return the table, in the order of `NAMES`, and the ages."""
    with (data / "text_tcga_glioma" / "TCGA_InfoWithGrade.csv").open(encoding="utf-8") as file:
        rows = list(DictReader(file))
    said = {"grade": lambda row: row["Grade"] == "1", "sex": lambda row: row["Gender"] == "0"}
    values = [
        [float(said[name](row)) if name in said else float(row[name]) for name in NAMES]
        for row in rows
    ]
    return np.array(values), np.array([float(row["Age_at_diagnosis"]) for row in rows])


def write(values: Reals, ages: Reals) -> None:
    """Learn the file that ships."""
    about = {
        "about": "Latent classes of grade, sex, age and mutations of gliomas, fitted to all "
        "patients and to bootstrap samples of them; by benchmarks/genes.py --write.",
        "source": "Tasci, Camphausen, Krauze, Zhuge: Glioma Grading Clinical and Mutation "
        "Features, UCI Machine Learning Repository 2022, 10.24432/C5R62J (from TCGA-LGG and "
        "TCGA-GBM)",
        "licence": "CC BY 4.0",
        "variables": list(NAMES),
        "true": {name: STATES[name][1] for name in NAMES},
        "counts": {name: int(column.sum()) for name, column in zip(NAMES, values.T, strict=True)},
        "shrinkage": SHRINKAGE,
    }
    FILE.write_text(stored(GliomaPatients.learned(values, ages), about), encoding="utf-8")
    print(f"wrote {FILE}, {FILE.stat().st_size / 1000:.0f} kB")


def together(values: Reals, ages: Reals) -> None:
    """Print how many pairs are associated, and the strongest."""
    columns = {**dict(zip(NAMES, values.T, strict=True)), "age": ages}
    found = associations(columns, itertools.combinations(columns, 2), 0)
    holds, mild = sum(one.holds for one in found), sum(one.discovery <= 0.05 for one in found)
    print(f"\n{len(found)} pairs of {len(columns)} variables, n = {len(ages)}: {holds} hold at 5 % "
          f"after Holm, {mild} after Benjamini-Hochberg")  # fmt: skip
    first = sorted(found, key=lambda one: -abs(one.effect))[:12]
    told = {one.first + one.second: one.holm for one in found}
    print("\n| pair | correlation (95 %) | p, Holm over all pairs |\n|---|---|---|")
    for one in associations(columns, [(one.first, one.second) for one in first], 2000):
        print(f"| {one.first}, {one.second} | {one.effect:+.2f} ({one.low:+.2f} to "
              f"{one.high:+.2f}) | {told[one.first + one.second]:.1g} |")  # fmt: skip


def null_genes(values: Reals, ages: Reals, genes: int = 60) -> None:
    """Print whether genes whose patients were shuffled are associated with anything."""
    rng = np.random.default_rng(SEED)
    columns = [*values.T, ages]
    exact, uniform, families = [], [], 0
    for number in range(genes):
        null = rng.permutation(values[:, 2 + number % 20])
        ps = [p_value_of(null, column) for column in columns]
        exact += ps
        uniform += [p_value_of(null, column, float(rng.random())) for column in columns]
        families += min(holm(ps)) <= 0.05
    ks = stats.kstest(uniform, "uniform")
    print(f"\n{genes} null genes, {len(exact)} tests: Kolmogorov-Smirnov D = {ks.statistic:.3f}, "
          f"p = {ks.pvalue:.2f} (ties broken at random); p <= 0.05 in "
          f"{np.mean(np.array(exact) <= 0.05):.3f} of the tests (exact); after Holm "
          f"{families} of {genes} genes seem to do something")  # fmt: skip


def predicted(values: Reals, ages: Reals) -> None:
    """Print how well what is missing is told, by patients left out."""
    rng = np.random.default_rng(SEED)
    fold = rng.permutation(len(values)) % FOLDS
    fits = [fitted(values[fold != f], ages[fold != f], CLASSES, SEED) for f in range(FOLDS)]
    half = np.where(rng.random(values.shape) < 0.5, values, np.nan)
    print("\n| variable | AUC, all else known | logistic regression | half of it missing "
          "| age, sex, grade known | log loss | logistic |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    shares, truths = [], []
    for name in SHOWN:
        place = NAMES.index(name)
        truth = values[:, place] == 1
        few = np.full(values.shape, np.nan)
        few[:, :2] = values[:, :2]
        scores = [left_out(fits, fold, seen, ages, place) for seen in (values, half, few)]
        plain = logistic(fold, values, ages, place)
        shares.append(scores[0])
        truths.append(truth)
        cells = [with_interval(one, truth) for one in (scores[0], plain, scores[1], scores[2])]
        losses = [log_loss(one, truth) for one in (scores[0], plain)]
        print(f"| {name} | {' | '.join(cells)} | {losses[0]:.3f} | {losses[1]:.3f} |", flush=True)
    told, truth = np.concatenate(shares), np.concatenate(truths)
    cuts = [0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1]
    print("\n| said | patients and variables | mean said | came true |\n|---|---|---|---|")
    for low, high in itertools.pairwise(cuts):
        inside = (told > low) & (told <= high)
        print(f"| {low:.0%} to {high:.0%} | {inside.sum()} | {told[inside].mean():.1%} | "
              f"{truth[inside].mean():.1%} |")  # fmt: skip


def left_out(fits: list[LatentClasses], fold: Reals, seen: Reals, ages: Reals, place: int) -> Reals:
    """Return the probability of a variable of patients that a fit has not seen."""
    known = seen.copy()
    known[:, place] = np.nan
    told = np.empty(len(seen))
    for number, fit in enumerate(fits):
        mine = fold == number
        told[mine] = fit.responsibilities(known[mine], ages[mine]) @ fit.rates[:, place]
    return told


def logistic(fold: Reals, values: Reals, ages: Reals, place: int) -> Reals:
    """Return the same by logistic regression on all other variables."""
    inputs = np.column_stack([np.delete(values, place, 1), (ages - 50) / 15])
    told = np.empty(len(values))
    for number in range(FOLDS):
        mine = fold == number
        model = LogisticRegression(C=1.0, max_iter=500).fit(inputs[~mine], values[~mine, place])
        told[mine] = model.predict_proba(inputs[mine])[:, 1]
    return told


def with_interval(score: Reals, truth: NDArray[np.bool_]) -> str:
    """Return an AUC with the interval of DeLong."""
    value = auc(score, truth)
    spread = 1.96 * float(np.sqrt(auc_covariance(score[None], truth)[0, 0]))
    return f"{value:.2f} ({max(value - spread, 0):.2f} to {min(value + spread, 1):.2f})"


def log_loss(score: Reals, truth: NDArray[np.bool_]) -> float:
    return float(-np.log(np.where(truth, score, 1 - score)).mean())


def planted(tables: int = 200) -> None:
    """Print power and coverage for an effect of known size, and p-values without one."""
    print("\n| patients | carriers | planted, SD | power at 5 % | power after Holm over 50 "
          "| interval holds | KS p of p-values |\n|---|---|---|---|---|---|---|")  # fmt: skip
    rng = np.random.default_rng(SEED)
    for patients, share in ((36, 0.25), (109, 0.25), (839, 0.05)):
        for size in (0.0, 0.5, 1.0):
            truth = correlation_of(size, share)
            ps, held = [], []
            for number in range(tables):
                gene = np.zeros(patients)
                gene[: round(share * patients)] = 1
                feature = rng.standard_normal(patients) + size * gene
                one = associations({"gene": gene, "x": feature}, [("gene", "x")], 300, number)[0]
                ps.append(one.p)
                held.append(one.low is not None and one.low <= truth <= (one.high or 0))
            power = np.array(ps)
            ks = stats.kstest(power, "uniform").pvalue if size == 0 else float("nan")
            cells = [np.mean(power <= level) for level in (0.05, 0.001)]
            print(f"| {patients} | {share:.0%} | {size:g} | {cells[0]:.2f} | {cells[1]:.2f} | "
                  f"{np.mean(held):.3f} | {ks:.2f} |", flush=True)  # fmt: skip


def correlation_of(size: float, share: float, n: int = 400_000) -> float:
    """Return Spearman's correlation of a gene and a feature that it shifts, in the limit."""
    rng = np.random.default_rng(0)
    gene = np.arange(n) < share * n
    feature = rng.standard_normal(n) + size * gene
    return float(stats.spearmanr(gene, feature).statistic) if size else 0.0


def coverage(values: Reals, ages: Reals, tables: int) -> None:
    """Print how often intervals hold the truth, on tables drawn from a known distribution."""
    truth = fitted(values, ages, CLASSES, SEED)
    known = GliomaPatients((truth, truth), len(values), (14.0, 90.0))
    asked = (
        ("IDH", "mutated", {}), ("IDH", "mutated", {"grade": "4"}),
        ("IDH1", "mutated", {"grade": "2", "age": 30}), ("ATRX", "mutated", {"TP53": "mutated"}),
        ("CIC", "mutated", {"IDH": "mutated"}), ("EGFR", "mutated", {"grade": "4"}),
        ("grade", "4", {"age": 65}), ("sex", "male", {"PTEN": "mutated"}),
        ("NF1", "mutated", {"EGFR": "mutated"}),
    )  # fmt: skip
    right = [known.chance(*one).value for one in asked]
    found = np.zeros((tables, len(asked), 2))
    for number in range(tables):
        rng = np.random.default_rng((SEED, number))
        kind = rng.choice(CLASSES, len(values), p=truth.shares)
        drawn = (rng.random(values.shape) < truth.rates[kind]).astype(float)
        drawn[rng.random(values.shape) < 0.1] = np.nan
        old = np.clip(rng.normal(truth.age[kind], truth.spread[kind]), 14, 90)
        learned = GliomaPatients.learned(drawn, old, number, resamples=60)
        for place, one in enumerate(asked):
            said = learned.chance(*one)
            found[number, place] = said.value, said.low <= right[place] <= said.high
    print(f"\n{tables} tables of {len(values)} patients, 10 % of the cells missing\n")
    print("| asked | truth | mean estimate | interval holds |\n|---|---|---|---|")
    for (name, state, given), chance, one in zip(asked, right, found.mean(0), strict=True):
        said = ", ".join(f"{key} {value}" for key, value in given.items()) or "nothing known"
        print(f"| {name} {state}; {said} | {chance:.1%} | {one[0]:.1%} | {one[1]:.2f} |")
    print(f"all: {found[..., 1].mean():.3f}")


def gliomas(patients: int) -> None:
    """Print which genes of the growing phantom are seen in volumes, and which are not."""
    chosen = balanced(patients)
    columns: dict[str, list[float]] = {name: [] for name in PLANTED}
    shown: dict[str, list[float]] = {
        "growth in 60 days": [], "visible over enhancing": [], "volume left after treatment": [],
        "forward place": [],
    }  # fmt: skip
    for index in chosen:
        patient = Glioma(SEED, index, 4.0)
        treated = Glioma(SEED, index, 4.0, treatment=standard(1.0))
        first, later = patient.extents([0.0, 60.0])
        (left,) = treated.extents([200.0])
        for name, gene in PLANTED.items():
            columns[name].append(float(patient.genes[name] == gene.altered))
        numbers = (
            np.log(later.visible / first.visible), np.log(first.visible / first.enhancing),
            np.log((left.visible + 0.1) / first.visible), float(patient.place().seed[1]),
        )  # fmt: skip
        for kept, number in zip(shown.values(), numbers, strict=True):
            kept.append(float(number))
    whole = {name: np.array(kept) for name, kept in (columns | shown).items()}
    print(f"\n{len(chosen)} growing phantoms, of them {whole['IDH'].sum():.0f} IDH mutant\n")
    print("| gene | what it shows | correlation (95 %) | p | p, Holm over all |")
    print("|---|---|---|---|---|")
    for one in associations(whole, itertools.product(PLANTED, shown), 1000):
        print(f"| {one.first} | {one.second} | {one.effect:+.2f} ({one.low:+.2f} to "
              f"{one.high:+.2f}) | {one.p:.2g} | {one.holm:.2g} |")  # fmt: skip


def balanced(patients: int) -> list[int]:
    """Return numbers of patients of whom a third has the rare IDH mutation."""

    def having(state: str, count: int) -> list[int]:
        fitting = (
            index
            for index in itertools.count()
            if drawn_genes(Glioma(SEED, index, 4.0).generator(10))["IDH"] == state
        )
        return list(itertools.islice(fitting, count))

    third = patients // 3
    return sorted(having("mutant", third) + having("wild type", patients - third))


if __name__ == "__main__":
    main()
