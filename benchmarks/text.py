"""Text: facts of held-out reports against what is measured in the images made of them, facts of
sentences written apart from the grammar, refusals, and masks of real gliomas.

    python benchmarks/text.py [--heads 4] [--reports 6] [--segmented 6] [--only reading]

Heads are imagined (other seeds than those that thresholds were set on), each is given several
reports from held-out templates. Facts are measured from the label map, from the images with the
structures of the label map, and from the images alone through the segmenter.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from veridical.errors import VeridicalError
from veridical.language.fact import Fact
from veridical.language.grammar import report
from veridical.language.reader import read_report
from veridical.metrics.fact_matching import Case, fact_scores
from veridical.models.head_segmenter import GROUPS, MEMBERS, HeadSegmenter
from veridical.phantoms.head_labels import LABELS
from veridical.phantoms.lesion_measures import pieces
from veridical.phantoms.lobes import BrainFrame, placed
from veridical.tasks.labelling import Labelling, labelled
from veridical.tasks.lesion_masks import masks_of_image, masks_of_labels
from veridical.tasks.measured_facts import measured_facts
from veridical.tasks.synthesize import Synthesize
from veridical.types import Array, Geometry, Image

SPACING, SEED = 2.0, 7000
CONTRASTS = "T1w,T1c,FLAIR"
LOBES = ("frontal", "parietal", "temporal", "occipital", "deep", "cerebellum")
SENTENCES = Path(__file__).parent / "text_sentences.tsv"
"""Sentences written by hand, apart from the grammar, each with its facts."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--heads", type=int, default=4)
    words.add_argument("--reports", type=int, default=6)
    words.add_argument("--segmented", type=int, default=6)
    words.add_argument("--only", choices=("reading", "images", "gliomas", "lobes"), default="")
    words.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = words.parse_args()
    if given.only in ("", "reading"):
        reading()
    if given.only in ("", "lobes"):
        lobes(given.data)
    if given.only in ("", "gliomas"):
        gliomas(given.data)
    if given.only in ("", "images"):
        images(given.heads, given.reports, given.segmented)


def table(title: str, cases: list[Case]) -> None:
    print(f"\n{title}, n = {len(cases)}\n\n| field | F1 | 95 % | right | false | missed |")
    print("|---|---|---|---|---|---|")
    for name, one in fact_scores(cases).items():
        low, high = one.interval
        print(f"| {name} | {one.f1:.2f} | {low:.2f} to {high:.2f} | {one.hits} | {one.false} | "
              f"{one.missed} |", flush=True)  # fmt: skip


def reading() -> None:
    """Score the reader on held-out templates and on sentences written by hand."""
    for split in ("train", "held-out"):
        cases = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            facts = drawn(rng, True)
            cases.append((read_report(report(facts, rng, split)).facts, facts))
        table(f"reading, {split} templates", cases)
    rows = [line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines() if line]
    cases, unread = [], 0
    for text, *said in rows:
        found, right = read_report(text), [fact_of(one) for one in said if one]
        unread += bool(found.unread or found.unknown)
        cases.append((found.facts, right))
        if {(f.kind, f.present) for f in found.facts} != {(f.kind, f.present) for f in right}:
            print("misread:", text, "->", found.facts)
    table("reading, sentences written by hand", cases)
    print(f"\n{unread} of {len(rows)} name something that was not understood")


def fact_of(text: str) -> Fact:
    """Return the fact of `kind;field=value;...`."""
    kind, *pairs = text.strip().split(";")
    values: dict[str, object] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        plain = {"True": True, "False": False}.get(value, value)
        values[name] = float(value) if name == "size" else int(value) if name == "count" else plain
    return Fact(kind, **values)  # type: ignore[arg-type]


def drawn(rng: np.random.Generator, atrophy: bool = False) -> list[Fact]:
    """Return the facts of one report."""
    side = ("left", "right")[int(rng.integers(2))]
    lobe = LOBES[int(rng.choice(6, p=(0.28, 0.2, 0.2, 0.14, 0.1, 0.08)))]
    kind, place = rng.random(), {"side": side, "lobe": lobe}
    rest = [Fact("atrophy", present=bool(rng.random() < 0.5))] if atrophy else []
    if kind < 0.45:
        size, swollen = float(rng.integers(10, 41)), bool(rng.random() < 0.6)
        tumour = Fact("tumour", size=size, enhances=True, **place)  # type: ignore[arg-type]
        return [tumour, Fact("oedema", present=swollen, **place), *rest]  # type: ignore[arg-type]
    if kind < 0.65:
        size = float(rng.integers(12, 41))
        return [Fact("tumour", size=size, enhances=False, **place), *rest]  # type: ignore[arg-type]
    if kind < 0.85:
        return [Fact("white matter lesions", side="both", count=int(rng.integers(3, 15))), *rest]
    return [Fact("infarct", size=float(rng.integers(9, 24)), **place), *rest]  # type: ignore[arg-type]


def images(heads: int, reports: int, segmented: int) -> None:
    """Make images of held-out reports and measure them."""
    columns: dict[str, list[Case]] = {"label map": [], "known structures": [], "segmenter": []}
    refused, begun = 0, time.perf_counter()
    for number, made in enumerate(cases_of(heads, reports)):
        if made is None:
            refused += 1
            continue
        facts, labels, image = made
        grid = image.geometry
        known = measured_facts(masks_of_labels(labels, grid))
        seen = measured_facts(masks_of_image(image, of_labels(labels, grid)))
        columns["label map"].append(([one.fact for one in known], facts))
        columns["known structures"].append(([one.fact for one in seen], facts))
        if number % max(1, heads * reports // max(segmented, 1)) == 0 and segmented:
            found = labelled(HeadSegmenter(), image, ("T1w",))
            alone = measured_facts(masks_of_image(image, found))
            columns["segmenter"].append(([one.fact for one in alone], facts))
        print(number, [f"{f.side} {f.lobe} {f.kind} {f.size or ''}" for f in facts],
              [f"{o.fact.side} {o.fact.lobe} {o.fact.kind} {o.fact.size or ''}" for o in seen],
              f"{time.perf_counter() - begun:.0f} s", flush=True)  # fmt: skip
        if number % 4 == 3:
            for name, cases in columns.items():
                if cases:
                    table(f"facts of images, {name}", cases)
    for name, cases in columns.items():
        if cases:
            table(f"facts of images, {name}", cases)
    print(f"\n{refused} reports refused: no room for what they describe")


def cases_of(heads: int, reports: int) -> Iterator[tuple[list[Fact], Array, Image] | None]:
    """Yield facts, label map and images of each report."""
    for head in range(heads):
        plain = Synthesize(contrasts="T1w", spacing=SPACING, pathology="none")(seed=SEED + head)
        labels = plain.also["labels"].image
        for one in range(reports):
            rng = np.random.default_rng((SEED, head, one))
            facts = drawn(rng)
            task = Synthesize(
                text=report(facts, rng, "held-out"),
                contrasts=CONTRASTS,
                numbering="veridical",
                number=1 + one,
            )
            try:
                made = task(labels, seed=SEED + head)
            except VeridicalError as error:
                print("refused:", error)
                yield None
                continue
            yield facts, np.asarray(made.also["labels"].image.data[0]), made.image


def of_labels(labels: Array, geometry: Geometry) -> Labelling:
    """Return the structures of a label map as if a segmenter had found them."""
    other = GROUPS.index("lesion")
    place = [
        next((k for k, n in enumerate(MEMBERS.values()) if name in n), other) for name in LABELS
    ]
    sure = np.eye(len(GROUPS), dtype=np.float32)[np.array(place)[labels]]
    return Labelling(np.moveaxis(sure, -1, 0), GROUPS, geometry, np.ones(labels.shape, bool))


def lobes(data: Path) -> None:
    """Say how often the rule of the lobes is right on five heads that it was not fitted to."""
    import nibabel as nib

    parts = {
        "frontal": (81, 82), "occipital": (83, 84), "parietal": (85, 86), "temporal": (87, 88),
        "deep": (23, 30, 36, 37, 55, 56, 57, 58, 59, 60, 75, 76, 89, 90, 91, 92, 93, 94),
        "cerebellum": (38, 39, 40, 41, 71, 72, 73), "brain stem": (35, 61, 62),
    }  # fmt: skip
    files = sorted((data / "ixi_t1_2mm" / "dlmuse").glob("*.nii.gz"))
    print("\n| head | " + " | ".join(parts) + " | all |\n" + "|---" * (len(parts) + 2) + "|")
    for file in files[5:]:
        image = nib.as_closest_canonical(nib.load(file))
        values = np.asarray(image.dataobj).astype(int)
        grid = Geometry(values.shape, image.affine)
        tissue = (values > 0) & ~np.isin(values, (4, 11, 46, 49, 50, 51, 52))
        frame, right = BrainFrame.of(tissue, grid), []
        for name, numbers in parts.items():
            points = placed(np.isin(values, numbers), grid)
            margins = frame.margins(points)
            right.append((margins.argmax(1) == list(parts).index(name)) if name in parts else 0)
        every = float(np.concatenate(right).mean())
        cells = " | ".join(f"{float(one.mean()):.2f}" for one in right)
        print(f"| {file.name[:6]} | {cells} | {every:.2f} |", flush=True)


CODES = {"1": "cerebellum", "2": "frontal", "4": "occipital", "5": "parietal", "6": "temporal"}
"""tumor_location of the table, which has no key: read in the order of the names that TCGA uses."""
STACK = (-0.94, -0.94, 6.0)
"""mm along the axes of the slices, LPS+: the set states neither, so this is assumed."""


def gliomas(data: Path) -> None:
    """Compare side and lobe of the masks of real gliomas with the clinical table."""
    from csv import DictReader

    folder, sides, places = data / "lgg_tcga", [0, 0], Counter[tuple[str, str]]()
    with (folder / "data.csv").open(encoding="utf-8") as file:
        rows = {row["Patient"]: row for row in DictReader(file, delimiter=";")}
    for path in sorted(folder.glob("TCGA*.npz")):
        with np.load(path) as arrays:
            side, lobe = glioma(arrays["mask"] > 0, arrays["image"][:, 1] > 20)
        row = rows["_".join(path.stem.split("_")[:3])]
        if row["laterality"] in ("1", "3"):
            sides[0] += side == {"1": "left", "3": "right"}[row["laterality"]]
            sides[1] += 1
        if row["tumor_location"] in CODES:
            places[(CODES[row["tumor_location"]], lobe)] += 1
    right = sum(number for (said, found), number in places.items() if said == found)
    print(f"\nside as in the table: {sides[0]} of {sides[1]}")
    print(f"lobe as in the table: {right} of {places.total()}")
    print("table, measured, patients:", sorted((*pair, n) for pair, n in places.items()))


def glioma(mask: Array, brain: Array) -> tuple[str, str]:
    """Return side and lobe of a mask `(slice, y, x)`."""
    grid = Geometry((mask.shape[2], mask.shape[1], mask.shape[0]), np.diag([*STACK, 1.0]))
    lesion, tissue = (one.transpose(2, 1, 0) for one in (mask, brain))
    frame = BrainFrame.of(tissue, grid)
    points = placed(next(pieces(lesion)), grid)
    return frame.side(points), frame.lobe(points)


if __name__ == "__main__":
    main()
