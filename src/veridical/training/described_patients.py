"""Digital patients with the facts of their report and their clinical variables, on a coarse grid:
what a joint embedding of images, texts and genes learns from.

Heads are imagined (`head_shapes`), several patients share one; lesions are put where facts say.
Grade, IDH, age and sex of patients with tumours are drawn as in 839 real ones, and move the image
as `phantoms/glioma_biology` assumes: a tumour of grade 4 mostly enhances, half of IDH-mutant ones
are frontal for that reason. Age widens the ventricles. Nothing else is known from genes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import SettingError
from veridical.io.guards import replacing
from veridical.language.fact import Fact
from veridical.models.glioma_patients import glioma_patients
from veridical.phantoms import described_lesions, head_painting, head_scan, head_shapes
from veridical.phantoms.glioma_biology import ENHANCING, FORWARD
from veridical.preprocessing.coarse_head import SHAPE, SPACING, coarse_head, middle_of
from veridical.task import Progress, silent
from veridical.tasks.from_text import deviation_of, pathology_of
from veridical.types import Array, Geometry, Image

CONTRASTS = ("T1w", "T2w", "FLAIR", "T1c")
EACH = 4
"""Patients that share a head."""
MARGIN = 2
"""Voxels about the coarse grid, so that heads can be moved."""
LEVELS = 80.0
"""Stored numbers for the brightness of inner tissue."""
LOBES = ("frontal", "parietal", "temporal", "occipital", "deep", "cerebellum")
ODDS = (0.28, 0.2, 0.2, 0.14, 0.1, 0.08)
KINDS, SHARES = ("tumour", "white matter lesions", "infarct", "none"), (0.6, 0.18, 0.14, 0.08)
AGES = (20.0, 85.0)
VERSION = 1


@dataclass(frozen=True, eq=False)
class DescribedPatient:
    """A patient.

    Args:
        images: `(contrast, x, y, z)` uint8, see `CONTRASTS` and `LEVELS`, with the margin.
        facts: of the report.
        variables: age in years, sex, and of patients with a tumour grade and IDH.
        head: number of the head, which other patients have too.
    """

    images: Array
    facts: tuple[Fact, ...]
    variables: Mapping[str, str | float]
    head: int


def patients_of_head(seed: int, head: int) -> Iterator[DescribedPatient]:
    """Yield the patients of one imagined head; what has no room in it is drawn again."""
    rng = np.random.default_rng((seed, head, 0))
    age, sex = float(rng.uniform(*AGES)), ("female", "male")[int(rng.integers(2))]
    rest = [Fact("atrophy", present=bool(rng.random() < 0.5))] if rng.random() < 0.5 else []
    wide = deviation_of(rest, rng)
    shape = tuple(int(n) for n in np.round((head_shapes.HIGH - head_shapes.LOW) / SPACING))
    affine = np.diag([SPACING] * 3 + [1.0])
    affine[:3, 3] = head_shapes.LOW + SPACING / 2
    new = head_shapes.new_head(rng, age, sex, wide)  # type: ignore[arg-type]
    labels = new.structures(affine[:3, 3], SPACING, (shape[0], shape[1], shape[2]))
    plain = head_painting.anatomy(labels, Geometry((shape[0], shape[1], shape[2]), affine), rng)
    made = 0
    for attempt in range(4 * EACH):
        rng = np.random.default_rng((seed, head, 1 + attempt))
        facts, variables = drawn_facts(rng, age, sex)
        try:
            plan = described_lesions.planned(plain, facts, rng)
            diseased = described_lesions.drawn(plain, plan)
        except SettingError:
            continue
        images = _imaged(diseased, facts, rng, (seed, head, attempt))
        yield DescribedPatient(images, (*facts, *rest), variables, head)
        made += 1
        if made == EACH:
            return


def drawn_facts(
    rng: np.random.Generator, age: float, sex: str
) -> tuple[list[Fact], dict[str, str | float]]:
    """Return what a report says of a patient, atrophy aside, and clinical variables."""
    side = ("left", "right")[int(rng.integers(2))]
    lobe = LOBES[int(rng.choice(len(LOBES), p=ODDS))]
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    known: dict[str, str | float] = {"age": round(age, 1), "sex": sex}
    place: dict[str, Any] = {"side": side, "lobe": lobe}
    if kind == "tumour":
        drawn = glioma_patients().drawn(known, rng)
        known |= {name: drawn[name] for name in ("grade", "IDH")}
        if known["IDH"] == "mutated" and rng.random() < FORWARD:
            place["lobe"] = "frontal"
        enhances = bool(rng.random() < ENHANCING[str(known["grade"])])
        tumour = Fact("tumour", size=float(rng.integers(12, 43)), enhances=enhances, **place)
        if not enhances:
            return [tumour], known
        return [tumour, Fact("oedema", present=bool(rng.random() < 0.6), **place)], known
    if kind == "white matter lesions":
        return [Fact("white matter lesions", side="both", count=int(rng.integers(3, 17)))], known
    if kind == "infarct":
        return [Fact("infarct", size=float(rng.integers(10, 26)), **place)], known
    return [Fact("tumour", present=False), Fact("white matter lesions", present=False)], known


def _imaged(
    diseased: head_painting.Anatomy,
    facts: list[Fact],
    rng: np.random.Generator,
    key: tuple[int, ...],
) -> Array:
    """Return every contrast on the coarse grid, `(contrast, x, y, z)` uint8."""
    site = head_scan.site_of("", 0.0, rng)
    volume, labels = diseased.painted(1, pathology_of(facts), site, rng, key)
    found: list[Array] = []
    middle = None
    for name in CONTRASTS:
        data = head_scan.scan(volume, labels, name, rng, True).data
        image = Image(data[None], volume.geometry, "a.u.", (name,))
        middle = middle_of(image) if middle is None else middle
        found.append(coarse_head(image, middle, MARGIN))
    return np.clip(np.round(np.stack(found) * LEVELS), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class PatientCache:
    """Patients on disk, mapped into memory.

    Args:
        images: `(patient, contrast, x, y, z)` uint8.
        facts, variables, heads: of each patient.
    """

    images: Array
    facts: tuple[tuple[Fact, ...], ...]
    variables: tuple[Mapping[str, str | float], ...]
    heads: Array


def cached(folder: str | Path, heads: int, seed: int, progress: Progress = silent) -> PatientCache:
    """Return the patients of so many heads, made when they are not there yet.

    Args:
        folder: of all caches.
        heads: how many; each has `EACH` patients at most.
        seed: of all.
        progress: called as work goes on.
    """
    place = Path(folder) / f"described-{heads}-{seed}-v{VERSION}"
    shape = (len(CONTRASTS), *(count + 2 * MARGIN for count in SHAPE))
    if not (place / "patients.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        about = []
        with replacing(place / "images.u8") as temporary, temporary.open("wb") as file:
            for head in range(heads):
                for one in patients_of_head(seed, head):
                    file.write(one.images.tobytes())
                    facts = [asdict(fact) for fact in one.facts]
                    about.append(
                        {"facts": facts, "variables": dict(one.variables), "head": one.head}
                    )
                progress("painting described patients", head + 1, heads)
        with replacing(place / "patients.json") as temporary:
            temporary.write_text(json.dumps(about), encoding="utf-8")
    known = json.loads((place / "patients.json").read_text(encoding="utf-8"))
    return PatientCache(
        np.memmap(place / "images.u8", np.uint8, "r", shape=(len(known), *shape)),
        tuple(tuple(Fact(**fact) for fact in one["facts"]) for one in known),
        tuple(one["variables"] for one in known),
        np.array([one["head"] for one in known]),
    )
