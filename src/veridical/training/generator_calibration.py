"""Calibration cases of a generator: slices of patients it never saw, made from the rest of the
visit, against the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from veridical import registry
from veridical.audit.evidence import local_variance
from veridical.audit.interval import CalibrationCase
from veridical.conditioning.request import Request
from veridical.layouts.pool import SETS
from veridical.models import intensity_map, weights
from veridical.models.generator import Generator, parts
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.scanners import CONTRASTS
from veridical.preprocessing.preprocessing import UNITS, Preprocessing
from veridical.task import Progress
from veridical.tasks.generated import SMOOTHING, job_of
from veridical.training.digital_patients import phantom_slab
from veridical.training.input_variation import shown_of
from veridical.training.prepared_visits import PreparedVisit, Slab, held_out_of, visits_of
from veridical.training.restyling import restyling
from veridical.types import Array, Study

SEED = 901
DRAWS = 8
SLICES = 3
"""Of each visit."""
BONE = 0.15
"""Network units of CT, 1000 HU, above which a voxel is bone."""
TASKS = {"motion-ghosts": "enhance", "sparse-view-streaks": "enhance"}
"""Degradation -> the task whose calibration it is."""


def jobs_of(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the jobs of a generator as its card names them; none where it has no draws."""
    net = card["net"]
    if not parts(net).family.stochastic:
        return ()
    made = [job_of(name) for name in net["contrasts"]]
    if card.get("data", {}).get("jobs", {}).get("restyle"):
        made += [job_of(name, restyled=True) for name in net["contrasts"] if name not in UNITS]
    return (*made, *(f"{TASKS.get(way, 'enhance')}-{way}" for way in net.get("degradations", ())))


def cases(
    name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
) -> tuple[list[CalibrationCase], str]:
    """Return one case a patient, and in words who they are.

    Args:
        name: of the weights.
        job: one of `jobs_of`.
        studies: patients; None: digital ones of the second simulator, for MR contrasts.
        patients: at most so many digital ones.
        progress: called as work goes on.
    """
    card, model = weights.card(name), Generator(weights=name)
    preprocessing, (kind, asked) = Preprocessing.from_card(card), job.split("-", 1)
    restyled = asked if kind == "harmonize" else ""
    if restyled and studies is not None:
        return [], "nobody: patients imaged by two scanners are digital"
    found: dict[str, list[Piece]] = {}
    sources = (
        _phantoms(card, preprocessing, patients, restyled)
        if studies is None
        else _slabs(card, studies, preprocessing)
    )
    for patient, slab in sources:
        for index, (request, truth) in enumerate(
            [restyling(slab, slab.elsewhere, slab.elsewhere.images[0], preprocessing)]
            if restyled and slab.elsewhere is not None
            else _requests(card, slab, asked, preprocessing, len(found))
        ):
            draws = model.make([request], DRAWS, _noise(request, index))[0]
            spread = np.sqrt(local_variance(draws[:, None], SMOOTHING)[0])
            found.setdefault(patient, []).append(
                Piece(truth - draws.mean(0), spread, request.support > 0.5).with_regions(
                    request, truth, slab
                )
            )
        progress(f"calibrating {job}", len(found), max(patients, len(found)))
    where = (
        "digital patients of a second simulator"
        if studies is None
        else f"{asked} made from the rest of the visit"
    )
    return [_merged(parts, patient) for patient, parts in found.items()], where


@dataclass(frozen=True, eq=False)
class Piece:
    """One slice of a calibration patient, arrays `(y, x)`: truth less estimate, and as of
    `CalibrationCase`.
    """

    error: Array
    spread: Array
    inside: Array
    regions: Mapping[str, Array] = field(default_factory=dict)

    def with_regions(self, request: Request, truth: Array, slab: Slab) -> Piece:
        """Return the same with its regions: bone in CT, lesions where they are marked."""
        regions = {}
        if request.contrast == "CT":
            regions["bone"] = (truth > BONE) & self.inside
        elif "lesions" in slab.masks:
            regions["lesions"] = (np.asarray(slab.masks["lesions"]) > 0) & self.inside
        return replace(self, regions=regions)


def _merged(pieces: list[Piece], patient: str) -> CalibrationCase:
    error, spread, inside = (
        np.concatenate([getattr(piece, part).ravel() for piece in pieces])
        for part in ("error", "spread", "inside")
    )
    names = {name for piece in pieces for name in piece.regions}
    regions = {
        name: np.concatenate(
            [
                piece.regions.get(name, np.zeros(piece.inside.shape, bool)).ravel()
                for piece in pieces
            ]
        )
        for name in sorted(names)
    }
    return CalibrationCase(np.abs(error), spread, inside, patient, regions, error > 0)


def _noise(request: Request, index: int) -> Array:
    shape = (1, DRAWS, *request.initial.shape)
    return np.random.default_rng([SEED, index]).standard_normal(shape, np.float32)


def _phantoms(
    card: Mapping[str, Any], preprocessing: Preprocessing, patients: int, restyled: str
) -> Iterator[tuple[str, Slab]]:
    names = tuple(card["net"]["contrasts"])
    heads = {"phantoms", "painted"} & set(card.get("data", {}).get("sources", {}))
    if len(names) < 2 or not (heads or set(names) <= set(CONTRASTS)):
        return
    cohort = CohortB(SEED)
    for index in range(patients):
        yield (
            f"cohort-b-{index}",
            phantom_slab(cohort, index, names, 2.0, preprocessing, restyled=restyled),
        )


def _slabs(
    card: Mapping[str, Any], studies: Iterable[Study], preprocessing: Preprocessing
) -> Iterator[tuple[str, Slab]]:
    """Yield a few slices of every visit of patients that the weights were not trained on, as far as
    the card tells.
    """
    for study in studies:
        if not trained_on(card, study):
            for visit in visits_of(study, tuple(card["net"]["contrasts"]), preprocessing, ""):
                for index in chosen(visit, preprocessing):
                    yield study.id, visit.slab(index)


def trained_on(card: Mapping[str, Any], study: Study) -> bool:
    """Say whether a patient was among those that trained some weights, as far as their card
    tells.
    """
    data, place = card.get("data", {}), Path(str(study.source.get("path", "")))
    for name in data.get("sources", {}):
        folders = [
            folder
            for folder in (SETS[name].places if name in SETS else (name,))
            if folder in place.parts
        ]
        if folders:
            kept = tuple(data.get("held_out", ()))
            if name not in SETS:
                whole = Path(*place.parts[: place.parts.index(folders[0]) + 1])
                kept = held_out_of(whole, kept, int(data.get("validate_on", 0)))
            return not study.id.startswith(kept or ("\0",))
    return False


def chosen(visit: PreparedVisit, preprocessing: Preprocessing) -> list[int]:
    """Return the slices that are made: evenly spread over those in which every contrast shows
    something.
    """
    places = visit.usable(preprocessing)
    at = np.linspace(0, len(places) - 1, min(SLICES, len(places))).round().astype(int)
    return [places[int(i)] for i in at]


def _requests(
    card: Mapping[str, Any], slab: Slab, asked: str, preprocessing: Preprocessing, seed: int
) -> Iterator[tuple[Request, Array]]:
    """Yield what is asked of a slab for one contrast, or for one way in which every contrast may be
    degraded.
    """
    images = dict(zip(slab.names, slab.images, strict=True))
    support = np.max([preprocessing.foreground(n, i[0]) for n, i in images.items()], 0).astype(
        np.float32
    )
    if asked in images and len(images) > 1:
        rng = np.random.default_rng([SEED, seed])
        names = shown_of([name for name in images if name != asked], rng)
        shown = {name: images[name].astype(np.float32) for name in names}
        middle = {name: image[0] for name, image in shown.items()}
        maps, air = card.get("intensity_maps", {}), preprocessing.air(asked)
        initial, level = intensity_map.estimate(maps, middle, asked, support, air)
        styles = {name: slab.styles[name] for name in names if name in slab.styles}
        yield (
            Request(asked, initial, level, support, shown, "", {}, slab.attributes, styles),
            images[asked][0].astype(np.float32),
        )
        return
    if asked not in card["net"].get("degradations", ()):
        return
    way = registry.get("degradation", asked)()
    fitting = (
        name for name in images if (name if name in ("CT", "PET") else "MR") in way.modalities
    )
    for name in islice(fitting, 1):
        image, unit = (
            images[name],
            {"CT": preprocessing.hounsfield, "PET": preprocessing.uptake}.get(name, 1.0),
        )
        poor = way(unit * image[:1], slab.spacing, np.random.default_rng([SEED, seed]))[0] / unit
        level = float(np.sqrt(np.average((poor - image[0]) ** 2, weights=support + 1e-6)))
        styles = {name: slab.styles[name]} if name in slab.styles else {}
        known = (slab.masks, slab.attributes, styles)
        yield Request(name, poor, level, support, {}, asked, *known), image[0]
