"""Calibrate what completes contrasts on the patients of a folder, who are like those that the weights will be used on.

Each contrast is made, as `complete` would, from the others that a patient has, and compared with the image that was acquired.
None of the patients may have been trained on. The bands are written into the card beside the weights.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.audit.interval import Calibration, calibrate, patients_needed
from veridical.audit.interval import Case as Solved
from veridical.errors import CalibrationError, InputError, SettingError, nearest
from veridical.io.guards import write_text
from veridical.layouts.folder_cases import Case, cases
from veridical.models import weights
from veridical.models.base import ImageModel
from veridical.task import Progress, silent
from veridical.tasks.complete import Complete
from veridical.tasks.imagewise import Plan, image_model
from veridical.tasks.translate import Translate
from veridical.tasks.view import view
from veridical.training.calibrate_images import solved_case
from veridical.training.patient_volumes import held_out_of
from veridical.types import Array, Image

LEVEL = 0.9
FLOOR = 0.003
"""Least spread in network units."""
FEW = 4
"""Patients from whom a lower level is worth proposing."""
SLICES = 6
"""Slices of a visit that are made, evenly spread over those that show something."""
SHOWN = {"CT": -0.5, "PET": 0.02}
"""Voxels above this, in network units, show something; of MR contrasts those above 0.1."""
LEAST_SHOWN = 0.05
"""Share of a slice that must show something for it to count."""


def calibrate_folder(
    name: str, folder: str | Path, to: str = "", level: float = LEVEL, progress: Progress = silent
) -> dict[str, Calibration]:
    """Calibrate every contrast that enough patients of a folder have, and write that into the card of the weights.

    Args:
        name: path of the weights; shipped ones are refused, since their card belongs to the package.
        folder: of any known layout. Where the weights were trained on a folder of this name, those of its patients count who
            were held out.
        to: contrasts, separated by commas; empty: all that the folder has and enough patients show.
        level: share of voxels that are to lie inside the band.
        progress: told after every visit.

    Returns:
        `complete-FLAIR` (`translate-CT` by weights that know CT or PET) -> its calibration.

    Raises:
        CalibrationError: fewer patients than the level needs.
        InputError: shipped weights, a model without draws, or an image that cannot be read.
        SettingError: a contrast that the weights or the folder do not have, or a level outside (0, 1).
    """
    path = weights.find(name)
    if path.parent == weights.FOLDER:
        raise InputError(
            f"{name} are shipped weights, whose card is not yours to change. Copy {path.name} and {path.stem}.json from "
            f"{path.parent} and give the path of the copy."
        )
    card = weights.card(name)
    job = Translate.name if {"CT", "PET"} & set(card["net"]["channels"]) else Complete.name
    model = image_model(card["model"], name, steps=Complete().steps)
    if not model.stochastic:
        raise InputError(f"{card['model']} gives one estimate without a spread; there is no band to calibrate.")
    unseen = _unseen(card, Path(folder))
    able = {made: _able(made, unseen, model.channels) for made in _asked(to, unseen, model.channels)}
    needed = patients_needed(level)
    enough = {made: visits for made, visits in able.items() if _count(visits) >= needed}
    if len(enough) < len(able) and (to or not enough):
        raise CalibrationError(_too_few(able, folder, needed, level))
    found = {}
    for made, visits in enough.items():
        words = f"{_count(visits)} patients of {Path(folder).name}, {made} made from {_sources(made, visits, model.channels)}"
        found[f"{job}-{made}"] = calibrate(_solved(model, job, made, visits, progress), level, FLOOR, words)
    card["calibration"] = card.get("calibration", {}) | {key: one.to_dict() for key, one in found.items()}
    card["calibration_steps"] = Complete().steps
    write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    return found


def _unseen(card: Mapping[str, Any], folder: Path) -> list[Case]:
    """Return the visits of a folder, without those of patients that the weights were trained on as far as the card tells."""
    every, data = cases(folder), card.get("data", {})
    if folder.resolve().name not in data.get("sources", {}):
        return every
    kept = held_out_of(folder, tuple(data.get("held_out", ())), data.get("validate_on", 0))
    return [case for case in every if case.patient in kept]


def _asked(to: str, visits: Sequence[Case], known: Sequence[str]) -> list[str]:
    """Return the contrasts to calibrate."""
    held = {name for case in visits for name in case.names("image")}
    there = [name for name in known if name in held and name != "other"]
    asked = [name.strip() for name in to.split(",") if name.strip()]
    for name in asked:
        if name not in there:
            raise SettingError(f"to = {to!r}: no patient has {name!r}, or the weights do not make it. {nearest(name, there)}")
    return asked or there


def _given(case: Case, made: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return what a contrast of a visit is made from."""
    return tuple(name for name in case.names("image") if name in known and name not in (made, "other"))


def _able(made: str, visits: Sequence[Case], known: Sequence[str]) -> list[Case]:
    """Return the visits that have the contrast and another one."""
    return [case for case in visits if made in case.names("image") and _given(case, made, known)]


def _count(visits: Sequence[Case]) -> int:
    return len({case.patient for case in visits})


def _sources(made: str, visits: Sequence[Case], known: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys("+".join(_given(case, made, known)) for case in visits))


def _too_few(able: Mapping[str, Sequence[Case]], folder: str | Path, needed: int, level: float) -> str:
    said = ", ".join(f"{made}: {_count(visits)}" for made, visits in able.items()) or "none"
    most = max(map(_count, able.values()), default=0)
    lower = f", or ask for --level {np.floor(100 * most / (most + 1)) / 100:g}, which {most} can give" if most >= FEW else ""
    return (
        f"Patients of {folder} who were not trained on and have a contrast and another one to make it from: {said}. A band of "
        f"{level:.0%} needs at least {needed}. Add patients{lower}."
    )


def _solved(model: ImageModel, job: str, made: str, visits: Sequence[Case], progress: Progress) -> Iterator[Solved]:
    """Yield one case a patient: some slices of all visits, in network units."""
    done = 0
    for patient, own in itertools.groupby(visits, key=lambda case: case.patient):
        parts: list[Solved] = []
        for case in own:
            parts += _slices(model, job, made, case)
            done += 1
            progress(f"calibrating {job} {made}", done, len(visits))
        error, spread, inside = (
            np.concatenate([getattr(part, what).ravel() for part in parts]) for what in ("error", "spread", "foreground")
        )
        yield Solved(error, spread, inside, patient)


def _slices(model: ImageModel, job: str, made: str, case: Case) -> Iterator[Solved]:
    given = _given(case, made, model.channels)
    image = case.read((*given, made))
    if not isinstance(image, Image):
        raise InputError(f"{case.name} holds raw data; reconstruct it first: veridical reconstruct.")
    seen, field = view(image), image.header.get("field")
    plan = Plan(job, measured=given, asked=(made,), field=float(field) if isinstance(field, int | float) else None)
    for index in chosen(seen.images):
        yield solved_case(model, seen, plan, seen.images[made][index], case.patient, index, index)


def chosen(images: Mapping[str, Array]) -> list[int]:
    """Return the slices that are made: evenly spread over those in which every image `(slice, y, x)` shows something.

    Raises:
        InputError: there is none.
    """
    shown = np.all([(image > SHOWN.get(name, 0.1)).mean((1, 2)) > LEAST_SHOWN for name, image in images.items()], 0)
    places = np.flatnonzero(shown)
    if not len(places):
        raise InputError(f"No slice shows something in each of {', '.join(images)}. Do they cover the same part of the body?")
    return [int(i) for i in places[np.linspace(0, len(places) - 1, min(SLICES, len(places))).round().astype(int)]]
