"""Calibrate trained weights: the multipliers of their intervals, on patients that they never saw,
written into their card.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from veridical import registry
from veridical.audit.interval import Calibration, calibrate
from veridical.errors import CalibrationError, SettingError, nearest
from veridical.io.guards import write_text
from veridical.layouts.discovery import studies
from veridical.models import weights
from veridical.task import Progress, silent
from veridical.training.training_data import training_data

LEVEL = 0.9
FLOOR = 0.003
"""Least spread in network units; without it a voxel on which all samples agree could never be
covered.
"""


def calibrate_weights(
    name: str,
    data: str | Path | None = None,
    jobs: Sequence[str] = (),
    level: float = LEVEL,
    patients: int = 32,
    progress: Progress = silent,
) -> dict[str, Calibration]:
    """Calibrate jobs of some weights and add that to their card; the calibration of other jobs
    stays as it is.

    Args: name: shipped weights, or the path of a .safetensors file with its card beside it. data:
        folder of your patients; those that the weights were trained on are left out. None: what the
        kind of model is calibrated on as a rule, digital patients of the second simulator and
        held-out real ones. jobs: as the card names them, `reconstruct-mri`, `complete-FLAIR`; all
        that can be when empty. level: share of voxels that are to lie inside; 0.9 needs 9 patients,
        0.8 four. patients: at most so many a job where they are digital. progress: called as work
        goes on.

    Returns:
        Job -> its calibration.

    Raises:
        CalibrationError: fewer patients than the level needs.
        SettingError: a job is asked for that these weights do not do, or they have no draws.
    """
    card, path = weights.card(name), weights.find(name).with_suffix(".json")
    kind = training_data(registry.get("model", card["model"]).learns)
    possible = kind.jobs_of(card)
    if not possible:
        raise SettingError(
            f"The weights {name!r} give one estimate and no draws, so there is no interval to "
            "calibrate."
        )
    for job in jobs:
        if job not in possible:
            raise SettingError(f"These weights do not do {job!r}. {nearest(job, possible)}")
    found: dict[str, Calibration] = {}
    short: list[str] = []
    for job in jobs or possible:
        source = None if data is None else studies(data)
        cases, where = kind.cases(name, job, source, patients, progress)
        try:
            found[job] = calibrate(
                cases,
                level,
                FLOOR,
                where if data is None else f"patients of {Path(data).name}, {where}",
                hold=kind.hold,
            )
        except CalibrationError as error:
            short.append(f"{job}: {error}")
    if short and (jobs or not found):
        raise CalibrationError(" ".join(short))
    card["calibration"] = card.get("calibration", {}) | {
        job: one.to_dict() for job, one in found.items()
    }
    card |= kind.calibrated(card)
    card.pop("uncalibrated", None)
    write_text(path, json.dumps(card, indent=2) + "\n")
    return found
