"""Calibrate trained weights: interval multipliers on digital patients of the second simulator, scope on training images.

The calibration patients differ from the test patients (another seed of the cohort), and both come from a simulator that
never trained anything. The results are written into the card beside the weights.
"""

from __future__ import annotations

import json
from pathlib import Path

from veridical.audit.interval import Calibration, calibrate
from veridical.io.guards import write_text
from veridical.models import weights
from veridical.task import Progress, silent
from veridical.tasks.complete import Complete
from veridical.tasks.translate import Translate
from veridical.training.calibrate_body import body_calibrations
from veridical.training.calibrate_images import fit_image_scopes, image_jobs, site_looks
from veridical.training.denoiser_calibration import calibrate_denoiser

LEVEL = 0.9
FLOOR = 0.003
"""Least spread as a share of the image's 99th percentile."""
CALIBRATION_SEED = 901


def calibrate_weights(name: str, patients: int = 60, scans: int = 400, progress: Progress = silent) -> Path:
    """Write the calibration of all jobs into the card of `denoiser` weights, that of all jobs on images and the scope into that
    of `brain-prior`, and a calibration on real patients into that of `body-prior`.

    Args:
        name: shipped weights or a path.
        patients: digital ones per job; a 90 % interval needs at least 9.
        scans: images of each contrast for the scope of `brain-prior`; at least 198.
        progress: called as work goes on.

    Returns:
        The path of the card.
    """
    card = weights.card(name)
    where = f"cohort-b, seed {CALIBRATION_SEED}, one axial slice a patient"
    found: dict[str, Calibration] = {}
    if card["model"] == "denoiser":
        return calibrate_denoiser(name, patients, progress=progress)
    if card["model"] == "brain-prior":
        for job, cases in image_jobs(name, patients, progress).items():
            found[job] = calibrate(cases, LEVEL, FLOOR, where)
        card["calibration_steps"] = Complete().steps
        card["scope_images"] = fit_image_scopes(card, scans, progress)
        card["looks"] = site_looks(card)
    elif card["model"] == "body-prior":
        found = body_calibrations(name, progress)
        card["calibration_steps"] = Translate().steps
    card["calibration"] = {job: calibration.to_dict() for job, calibration in found.items()}
    path = weights.find(name).with_suffix(".json")
    write_text(path, json.dumps(card, indent=2) + "\n")
    return path
