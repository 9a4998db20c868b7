"""Calibration of `translate` by the body prior, on the real patients that its card says were kept from training.

There are two of them, and conformal risk control can promise at most n / (n + 1) from n patients, by a band that misses almost
nothing: the level is one half. It also widens the draws, so that evidence is not overstated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from veridical.audit.interval import Calibration, Case, calibrate
from veridical.models import weights
from veridical.models.known import foreground
from veridical.task import Progress
from veridical.tasks.imagewise import Plan, image_model, solve
from veridical.tasks.translate import Translate
from veridical.tasks.view import View
from veridical.training.slabs import Volume, volumes
from veridical.types import Array

SOURCE, MEASURED, MADE = "sarcoma", "T1w", ("CT", "PET")
LEVEL = 0.5
FLOOR = 0.01
"""Least spread in network units: 10 HU, 0.05 SUV."""
SHOWN = 0.3
"""Share of a slice that the MR must show: at the ends of a coil it shows nothing."""


def body_calibrations(name: str, progress: Progress) -> dict[str, Calibration]:
    """Return the calibration of each modality made from MR by the key that tasks look for.

    Raises:
        InputError: the real data are not there.
        CalibrationError: fewer patients than the level needs.
    """
    held_out = tuple(weights.card(name)["data"]["held_out"])
    unseen = volumes(SOURCE, held_out, validation=True)
    where = f"{', '.join(v.patient for v in unseen)} of the soft-tissue-sarcoma set, made from {MEASURED}"
    return {f"{Translate.name}-{made}": calibrate(cases(name, unseen, made, progress), LEVEL, FLOOR, where) for made in MADE}


def cases(name: str, patients: list[Volume], made: str, progress: Progress) -> Iterator[Case]:
    """Yield one case a patient: all slices that the MR shows, solved as `translate` does, in network units."""
    task = Translate(to=made, weights=name)
    model = image_model(task.model, name, steps=task.steps)
    for seed, volume in enumerate(patients):
        seen, truth = (volume.images[volume.names.index(channel)].astype(np.float32) for channel in (MEASURED, made))
        pixel = volume.pixel or 1.0
        view = View({MEASURED: seen}, {MEASURED: 1.0}, (volume.gap or 3 * pixel, pixel, pixel), lambda a: a, lambda a: a)
        plan = Plan(task.name, measured=(MEASURED,), asked=(made,))
        drawn = solve(model, view, plan, task.draws, seed, progress, {})
        if drawn.spread is None:
            raise AssertionError("body-prior gives draws")
        inside = drawn.support & np.array([shown(one) for one in seen])[:, None, None]
        yield Case(np.abs(drawn.mean[0] - truth), drawn.spread[0], inside, volume.patient)


def shown(image: Array) -> bool:
    """Say whether an MR slice `(y, x)` shows enough of the body."""
    return float(foreground(torch.from_numpy(image), MEASURED).mean()) > SHOWN
