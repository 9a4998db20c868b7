"""One entry of a league: trained within the budget, resumed where it stopped, then asked for the
images of the held-out patients.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from veridical.conditioning.request import Request
from veridical.errors import InputError
from veridical.generative.family import Given
from veridical.io.guards import write_text
from veridical.models import intensity_map, weights
from veridical.models.base import pick_device
from veridical.models.generator import Generator, parts
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import Progress
from veridical.tasks.generated import TOGETHER, noise_walk
from veridical.training.checkpoints import claimed
from veridical.training.distributed import together
from veridical.training.league_course import LeagueData, fitted, seed_of
from veridical.training.loop import Run
from veridical.training.recipe import Recipe, Training
from veridical.training.train import finish
from veridical.types import Array
from veridical.workflow.league_images import LeagueCase, cases, write_structures, write_volume
from veridical.workflow.league_meter import Meter, clock, metered
from veridical.workflow.league_protocol import Entrant, LeagueProtocol

BEGUN, TRAINED, MADE = "begun.json", "trained.json", "made.json"
WARM, SHARE, FEWEST = 2, 0.03, 3
"""Steps before the pace is measured, the share of the budget that measuring may take, and the
fewest steps that are measured.
"""
CHECKPOINTS = 6
"""Of a training, evenly spread."""
FOLDERS = ("estimate", "draw", "structures")
Draw = Callable[[Sequence[Request], Array], Array]
"""Requests and noise `(slice, draw, y, x)` to draws of that shape, network units."""


@dataclass(frozen=True)
class Turn:
    """An entry in one fold with one seed.

    Args:
        protocol: of the league.
        entry: which one.
        fold: number of the fold.
        seed: of initialization and samples.
        data: what it learns from; says who is held out.
        out: folder of the league.
    """

    protocol: LeagueProtocol
    entry: Entrant
    fold: int
    seed: int
    data: LeagueData
    out: Path

    @property
    def folder(self) -> Path:
        """Folder of the entry with this seed; holds the images of all folds."""
        return folder_of(self.out, self.entry, self.seed)

    @property
    def training(self) -> Path:
        """Folder of this training."""
        return self.folder / f"training-{self.fold}"

    @property
    def key(self) -> str:
        """Hash of all that its images depend on."""
        given = asdict(self.entry)
        budget = asdict(self.protocol.budget) if self.entry.family else {}
        return self.protocol.digest(given, budget, self.fold, self.seed, self.data.held_out)

    @property
    def said(self) -> str:
        """Name of the turn, for people."""
        folds, seeds = self.protocol.data.folds, len(self.protocol.seeds)
        fold = f", fold {self.fold + 1} of {folds}" if folds else ""
        return f"{self.entry.name}{fold}{f', seed {self.seed}' if seeds > 1 else ''}"


def folder_of(out: Path, entry: Entrant, seed: int) -> Path:
    """Return the folder of an entry with one seed."""
    return out / "entries" / entry.name / f"seed-{seed}"


def image_name(protocol: LeagueProtocol, case: str) -> str:
    """Return the file of a case's image; one made from nothing is of no patient, and is called
    otherwise.
    """
    return f"{'made-' if protocol.job == 'synthesize' else ''}{case}.nii.gz"


def stored(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a league holds; empty where there is none, or a broken one."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def train(turn: Turn, progress: Progress) -> dict[str, Any]:
    """Train an entry within the budget, or go on with it; returns what it cost.

    Classical methods are not trained. Returns at once where it is done.
    """
    turn.training.mkdir(parents=True, exist_ok=True)
    done = stored(turn.training / TRAINED)
    if done.get("key") == turn.key:
        return done
    if not turn.entry.family:
        nothing = dict.fromkeys(("parameters", "steps", "seconds", "processor_seconds"), 0)
        return _kept(turn, TRAINED, {**nothing, "memory": None})
    device, steps = pick_device(turn.protocol.budget.device), _steps(turn, progress)
    begun = stored(turn.training / BEGUN)
    with together(turn.protocol.budget.device) as ranks, claimed(turn.training, ranks.first):
        run = Run(_recipe(turn, steps), Generator, turn.training, ranks)
        run.restore()
        meter = Meter()
        try:
            with metered(device) as meter:
                run.loop(_named(turn, progress))
        finally:  # what an interrupted training took is not forgotten
            begun["processor_seconds"] += round(meter.processor_seconds, 2)
            _kept(turn, BEGUN, begun)
        finish(run)
    found = {
        "parameters": sum(p.numel() for p in run.net.parameters()),
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "processor_seconds": begun["processor_seconds"],
        "memory": meter.memory,
        "pace": begun["pace"],
    }
    return _kept(turn, TRAINED, found)


def make(turn: Turn, progress: Progress) -> dict[str, Any]:
    """Make the images of the held-out patients that are not there yet; returns what it cost."""
    done = stored(turn.training / MADE)
    if done.get("key") == turn.key:
        return done
    device = pick_device(turn.protocol.budget.device)
    draw, stochastic = _drawer(turn, device)
    listed = list(cases(turn.data, turn.protocol.judging.slices))
    count = turn.protocol.judging.draws if stochastic else 1
    cost: list[tuple[float, int]] = []
    with metered(device) as meter:
        for number, case in enumerate(listed):
            progress(f"making images: {turn.said}", number, len(listed))
            name = image_name(turn.protocol, case.name)
            if not all((turn.folder / folder / name).is_file() for folder in FOLDERS):
                cost += _made(turn, case, draw, count)
        progress(f"making images: {turn.said}", len(listed), len(listed))
    timed = cost[1:] or cost  # the first pass also loads and compiles
    found = {
        "cases": [case.name for case in listed],
        "patients": {case.name: case.patient for case in listed},
        "stochastic": stochastic,
        "draws": count,
        "seconds_per_slice": sum(s for s, _ in timed) / max(1, sum(n for _, n in timed)),
        "memory": meter.memory,
    }
    return _kept(turn, MADE, found)


def _made(turn: Turn, case: LeagueCase, draw: Draw, count: int) -> list[tuple[float, int]]:
    """Write the images of a case; return seconds and slices times draws of each pass."""
    shape = case.requests[0].initial.shape
    walk = noise_walk((count, *shape), case.spacing[0], seed_of(f"{case.name}/{turn.seed}"))
    together = max(1, TOGETHER // count)
    parts: list[Array] = []
    cost = []
    for first in range(0, len(case.requests), together):
        asked = case.requests[first : first + together]
        noise = np.stack([next(walk) for _ in asked])
        since = time.perf_counter()
        parts.append(draw(asked, noise))
        cost.append((time.perf_counter() - since, len(asked) * count))
    draws = np.concatenate(parts).swapaxes(0, 1)
    if not np.isfinite(draws).all():
        raise InputError(
            f"{turn.entry.name} made images with NaN or infinite values. Lower its learning_rate, "
            "or leave it out."
        )
    mean, made = draws.mean(0), turn.data.made
    name = image_name(turn.protocol, case.name)
    write_volume(draws[0], made, case.spacing, turn.folder / "draw" / name)
    write_structures(mean, turn.data, case.spacing, turn.folder / "structures" / name)
    write_volume(mean, made, case.spacing, turn.folder / "estimate" / name)
    return cost


def _drawer(turn: Turn, device: torch.device) -> tuple[Draw, bool]:
    """Return how an entry makes images, and whether it has draws."""
    if turn.entry.classical:
        maps = fitted(turn.data)

        def simple(requests: Sequence[Request], noise: Array) -> Array:
            return np.stack([classical(turn, maps, one) for one in requests])[:, None]

        return simple, False
    path = str(turn.training / f"{turn.entry.name}.safetensors")
    known = parts(weights.card(path)["net"])
    net = weights.network(Generator.name, Generator.build, path).to(device).eval()

    def learned(requests: Sequence[Request], noise: Array) -> Array:
        given = Given.of(known.conditions, requests).to(device)
        start = torch.from_numpy(np.asarray(noise, np.float32))[:, :, None].to(device)
        found = known.family.draw(net, given, start, turn.entry.steps)
        return np.asarray(found[:, :, 0].cpu().numpy())

    return learned, known.family.stochastic


def classical(turn: Turn, maps: Mapping[str, Any], asked: Request) -> Array:
    """Return a slice as a classical method makes it, `(y, x)` in network units."""
    name, made = turn.entry.classical, turn.data.made
    air = Preprocessing().air(made)
    if name == "constant":
        return intensity_map.estimate(maps, {}, made, asked.support, air)[0]
    if name == "copy":
        known = maps[made]
        like = min(turn.data.given, key=lambda other: float(known[other]["error"]))
        return np.asarray(asked.images[like][0], np.float32)
    if name == "non-local-means":
        from skimage.restoration import denoise_nl_means

        found = denoise_nl_means(
            asked.initial, patch_size=5, patch_distance=6, h=0.8 * asked.level, sigma=asked.level
        )
        return np.asarray(found, np.float32)
    return np.asarray(asked.initial, np.float32)


def _recipe(turn: Turn, steps: int) -> Recipe:
    budget, entry = turn.protocol.budget, turn.entry
    training = Training(
        steps=steps,
        learning_rate=entry.learning_rate or budget.learning_rate,
        warmup=max(1, min(100, steps // 10)),
        decay_from=0.4,
        ema=0.996,
        checkpoint=max(1, math.ceil(steps / CHECKPOINTS)),
        seed=turn.seed,
        device=budget.device,
        validate=2,
        workers=0,
    )
    net = turn.protocol.net(entry)
    return Recipe(entry.name, Generator.name, net, turn.data, training)


def _steps(turn: Turn, progress: Progress) -> int:
    """Return how many steps the budget allows; measured once, so that a training that is resumed
    keeps to it.
    """
    begun = stored(turn.training / BEGUN)
    if begun.get("key") == turn.key:
        return int(begun["steps"])
    budget, spent, pace = turn.protocol.budget, 0.0, 0.0
    steps = budget.steps
    if not steps:
        progress(f"measuring the pace: {turn.said}", 0, 1)
        pace, spent = _pace(turn)
        steps = max(1, int((budget.seconds - spent) * pace))
    _kept(turn, BEGUN, {"steps": steps, "pace": pace, "processor_seconds": round(spent, 2)})
    return steps


def _pace(turn: Turn) -> tuple[float, float]:
    """Return steps a second of the budget's clock, and what measuring them took of it."""
    with together(turn.protocol.budget.device) as ranks:
        run = Run(_recipe(turn, 1000), Generator, turn.training, ranks)
        begun = since = clock(ranks.device)
        allowed = SHARE * turn.protocol.budget.seconds
        for number in range(10_000):
            if number == WARM:
                since = clock(ranks.device)
            run.update([(number, run.source[number])])
            run.step += 1
            now = clock(ranks.device)
            if number + 1 >= WARM + FEWEST and now - begun > allowed:
                break
    return (number + 1 - WARM) / max(now - since, 1e-6), now - begun


def _kept(turn: Turn, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Write what is known of a turn beside its training, and return it."""
    said = {**found, "key": turn.key}
    write_text(turn.training / name, json.dumps(said, indent=2) + "\n")
    return said


def _named(turn: Turn, progress: Progress) -> Progress:
    """Tell the progress of a training under the name of its turn."""

    def told(what: str, done: int, total: int) -> None:
        progress(f"training: {turn.said}, {what.partition(': ')[2]}", done, total)

    return told


def has_other_settings(turn: Turn) -> bool:
    """Say whether what is there of a turn was made by other settings."""
    found = [stored(turn.training / name) for name in (BEGUN, TRAINED, MADE)]
    return any(one and one.get("key") != turn.key for one in found)
