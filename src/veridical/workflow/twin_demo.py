"""The twin on a simulated patient whose truth is known: scans, belief, forecast, decision and
outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.models.twin import HORIZON, STEP, Choice, Twin, progression
from veridical.models.world import Brain, Observed, WorldModel
from veridical.phantoms.glioma import BOX, Glioma, Mismatch, medium_of
from veridical.physics.treatment import Treatment, equal_doses
from veridical.report import paper
from veridical.report.twin_page import TwinStory, render
from veridical.task import Progress, silent

PATIENT, SEED = 4, 424_243
"""Of the demo."""
COARSE = 4.0
"""mm of the grid that the twin computes on; that of the patient is 2 mm."""
BEFORE = (0.0, 20.0)
"""Days of the scans before treatment."""
START = 21.0
"""Day on which radiotherapy begins."""
AFTER = (80.0, 150.0, 220.0)
"""Days of the scans after it."""
END = 540.0
"""Last day that is forecast."""


@dataclass(frozen=True, eq=False)
class Played:
    """What came of a patient and the twin.

    Args:
        patient: under the treatment that was chosen.
        twins: day of the last scan -> the twin then.
        choice: of the schedule.
        came: option -> days to progression of the hidden patient.
        scan: choice of the day of the next scan.
    """

    patient: Glioma
    twins: Mapping[float, Twin]
    choice: Choice
    came: Mapping[str, float]
    scan: Choice


def brain_of(patient: Glioma, spacing: float = COARSE) -> Brain:
    """Return the brain of a patient as the twin knows it: white and grey matter on a coarser
    grid.
    """
    place, side = patient.place(), round(BOX / spacing * 2)
    corner = place.origin - patient.spacing / 2
    labels = patient.newborn().structures(
        np.asarray(corner + spacing / 4, np.float32), spacing / 2, (side, side, side)
    )
    return Brain(medium_of(labels, spacing), np.asarray(corner + spacing / 2, np.float64))


def true_progression(patient: Glioma, horizon: float = HORIZON) -> float:
    """Return the day from which on more of the hidden tumour is visible than on day 0; the horizon
    where that does not come.
    """
    days = np.arange(0.0, horizon + STEP / 2, STEP)
    visible = np.array([one.visible for one in patient.extents(list(days))])
    return progression(days[2:], visible[2:], float(visible[0]))


def played(
    patient: Glioma,
    options: Sequence[Treatment],
    model: WorldModel,
    after: Sequence[float] = AFTER,
    progress: Progress = silent,
) -> Played:
    """Let a twin meet a hidden patient: it is told scans, chooses a schedule, and is told what
    became of it.

    Args:
        patient: whose treatment is replaced by the one that is chosen.
        options: schedules to choose among, from `START` on.
        model: of the twin.
        after: days of the scans after the decision.
        progress: told after every step.
    """
    steps = len(BEFORE) + len(after) + 2
    patient = replace(patient, treatment=Treatment())
    before = patient.extents(list(BEFORE), noisy=True)
    twin = Twin.begun(model, Observed(BEFORE[0], before[0]), brain_of(patient), dict(patient.genes))
    twins = {BEFORE[0]: twin}
    progress("twin: first scan", 1, steps)
    for day, seen in zip(BEFORE[1:], before[1:], strict=True):
        twin = twins[day] = twin.told(Observed(day, seen), Treatment())
        progress(f"twin: scan of day {day:g}", len(twins), steps)
    choice = twin.choose(options)
    came = {one.name: true_progression(replace(patient, treatment=one)) for one in options}
    progress("twin: schedule chosen", len(twins) + 1, steps)
    chosen = next(one for one in options if one.name == choice.name)
    patient = replace(patient, treatment=chosen)
    scan = twin.next_scan(chosen, [60.0, 100.0, 140.0, 180.0, 240.0], 360.0)
    for day, seen in zip(after, patient.extents(list(after), noisy=True), strict=True):
        twin = twins[day] = twin.told(Observed(day, seen), chosen)
        progress(f"twin: scan of day {day:g}", len(twins) + 1, steps)
    return Played(patient, twins, choice, came, scan)


def twin_demo(
    out: str | Path = "twin",
    mismatch: Mismatch = "none",
    members: int = 64,
    seed: int = 0,
    progress: Progress = silent,
) -> Path:
    """Play one patient and write the page.

    Args:
        out: folder; made when missing, an earlier page in it is replaced.
        mismatch: what the patient has that the model does not know.
        members: of the ensemble.
        seed: of the ensemble.
        progress: called as work goes on.

    Returns:
        The path of the page.
    """
    hidden = Glioma(SEED, PATIENT, mismatch=mismatch)
    game = played(hidden, equal_doses(START), WorldModel(members, seed=seed), progress=progress)
    story = _story(game, members, seed)
    steps = len(game.twins) + 2
    progress("twin: page", steps, steps)
    return paper.write(Path(out) / "report.html", render(story))


def _story(game: Played, members: int, seed: int) -> TwinStory:
    patient, last = game.patient, max(game.twins)
    twin, standard = game.twins[last], next(iter(game.came))
    days = list(np.arange(0.0, END + 1, 20.0))
    truth = {"the hidden patient": patient}
    if game.choice.name != standard:
        usual = next(one for one in equal_doses(START) if one.name == standard)
        truth["the same patient under the standard"] = replace(patient, treatment=usual)
    lines = {
        name: [(day, one.visible) for day, one in zip(days, who.extents(days), strict=True)]
        for name, who in truth.items()
    }
    gain, best = game.came[game.choice.name] - game.came[standard], max(game.came.values())
    alarm = twin.alarm
    held = _held(twin, patient)
    tiles = [
        (f"{game.came[game.choice.name]:.0f} days", f"to progression under {game.choice.name}"),
        (f"{gain:+.0f} days", "against the standard, 60 Gy in both"),
        (f"{best - game.came[game.choice.name]:.0f} days", "lost against who knows the truth"),
        (f"{held[0]} of {held[1]}", "later days whose true volume lies in the 90 % interval"),
    ]
    said = (
        f"Scans of days {', '.join(f'{day:g}' for day in game.twins)} were told to the twin. After "
        f"that of day {BEFORE[-1]:g} it chose {game.choice.name}; so the hidden patient was "
        "treated."
    )
    return TwinStory(
        "A twin of a patient with a glioma",
        "A simulated patient with hidden biology; a twin that sees its scans only.",
        "Model and patient have parted" if alarm else "Model and patient agree",
        f"{said} {alarm}".strip(),
        "warn" if alarm else "pass",
        tiles,
        _images(patient),
        dict(_forecasts(game, days)),
        lines,
        {"radiotherapy": START},
        twin.model.prior(twin.scans[0], twin.belief.brain, dict(patient.genes)),
        twin.belief,
        _biology(patient),
        _choices(game),
        {
            "members": str(members),
            "seed": str(seed),
            "grid of patient and twin": f"{patient.spacing:g} mm and {COARSE:g} mm",
            "beyond the model": patient.mismatch,
            **{f"gene {name}": str(state) for name, state in patient.genes.items()},
        },
    )


def _held(twin: Twin, patient: Glioma) -> tuple[int, int]:
    """Return on how many of the days to come the truth lies in the interval, and of how many."""
    days = list(np.arange(twin.belief.day + 30, END + 1, 60.0))
    low, high = twin.forecast(patient.treatment, days).interval(0.9)
    true = np.array([one.visible for one in patient.extents(days)])
    return int(((true >= low - 1e-6) & (true <= high + 1e-6)).sum()), len(days)


def _forecasts(game: Played, days: Sequence[float]) -> Any:
    for day, twin in game.twins.items():
        future = [one for one in days if one > day]
        scans = [(scan.day, scan.extent.visible) for scan in twin.scans]
        yield (
            f"After the scan of day {day:g}",
            (twin.forecast(game.patient.treatment, future), scans),
        )


def _choices(game: Played) -> dict[str, tuple[Choice, str, Mapping[str, float]]]:
    equal = (
        "All options have 60 Gy, no more late effect on the normal brain than the standard (100 Gy "
        "at alpha/beta 3), and the same temozolomide. Differences of a few days are within what "
        "the model can be wrong by."
    )
    told = "No scan was imagined: the expectation is that of a linear Gaussian update."
    return {
        "Which schedule": (game.choice, equal, game.came),
        "When to scan next": (game.scan, told, {}),
    }


def _biology(patient: Glioma) -> dict[str, float]:
    truth, (enhancing, visible) = patient.biology, patient.levels
    return {
        "diffusion": truth.diffusion,
        "proliferation": truth.proliferation,
        "alpha": truth.alpha,
        "kill": truth.kill,
        "volume": patient.extents([0.0])[0].enhancing,
        "enhancing level": enhancing,
        "visible level": visible,
    }


def _images(patient: Glioma) -> dict[str, Any]:
    index = round(float((patient.place().seed[2] - patient.place().origin[2]) / patient.spacing))
    index += patient.place().spans[2][0]
    return {
        f"{contrast}, day {day:g}": (patient.image(day, contrast), index)
        for day in (0.0, AFTER[0], AFTER[-1])
        for contrast in ("T1c", "FLAIR")
    }
