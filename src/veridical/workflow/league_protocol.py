"""The protocol of a league: one job, the same patients and the same budget for every entry; a TOML
file, read strictly.

`[every]` stands for one entry a family and backbone that the registry knows, so that a new file in
`generative` or `nets` takes part without an edit here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from veridical import registry
from veridical.errors import SettingError, nearest
from veridical.training.league_course import JOBS, PHANTOMS, LeagueData

CLASSICAL = ("constant", "copy", "input", "intensity-map", "non-local-means")
"""Methods without a network: one number, the channel that is most alike, the degraded image as it
is, a polynomial, and patches averaged with others like them.
"""
RESTORING = ("input", "non-local-means")
LEVELS = ("pixel", "feature", "task")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
STEPS = re.compile(r"(\d+) ?steps?")


@dataclass(frozen=True)
class LeaguePatients:
    """The `[data]` table: who is learned from, who is judged on, and in what pieces."""

    sources: Mapping[str, float] = field(default_factory=lambda: {PHANTOMS: 1.0})
    """Source -> weight: `phantoms` (digital patients), public sets by name, folders of any known
    layout by their path, relative to the protocol.
    """
    held_out: tuple[str, ...] = ()
    """Patients on disk, or beginnings of their names, that are judged on."""
    folds: int = 0
    """Instead: parts that the patients are split into, each held out once; every entry is trained
    as often. As many as there are patients leaves each out in turn.
    """
    patch: int = 64
    """Side of a training patch in pixels."""
    batch: int = 8
    """Patches a step."""
    scene: str = "head"
    """What digital patients show: head, cine, follow-up, dose, anatomy or clinical."""
    digital: int = 64
    """Digital patients to train on."""
    digital_held_out: int = 12
    """Digital patients to judge on; they are judged on only where no patient is on disk."""
    size: int = 160
    """Side of a digital slice in pixels."""

    def __post_init__(self) -> None:
        least = (self.patch - 16, self.batch - 1, self.digital - 1, self.digital_held_out - 1)
        if min(*least, self.folds, self.size - 32) < 0 or self.folds == 1:
            raise SettingError(
                f"patch = {self.patch}, batch = {self.batch}, digital = {self.digital}, "
                f"digital_held_out = {self.digital_held_out}, folds = {self.folds}, size = "
                f"{self.size}; expected a patch of at least 16, at least 1 of the next three, no "
                "folds or two and more, and a size of at least 32."
            )
        if not self.sources or not all(weight > 0 for weight in self.sources.values()):
            raise SettingError(
                f"sources = {dict(self.sources)}; expected at least one, each with a weight above "
                "0: sources = { openms = 1.0 }."
            )
        real = [name for name in self.sources if name != PHANTOMS]
        if bool(real) != bool(self.held_out or self.folds) or (self.held_out and self.folds):
            raise SettingError(
                f"held_out = {list(self.held_out)}, folds = {self.folds} with the patients of "
                f"{', '.join(real) or PHANTOMS}; expected one of the two for patients on disk, and "
                "neither for digital ones alone."
            )


@dataclass(frozen=True)
class LeagueBudget:
    """The `[budget]` table: what every network may spend on training; equal for all."""

    seconds: float = 180.0
    """Processor seconds on a CPU, seconds on a GPU. How many steps that is, is measured first."""
    steps: int = 0
    """Optimizer steps instead of seconds."""
    learning_rate: float = 1e-3
    """Peak learning rate of Adam."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, mps, or auto."""

    def __post_init__(self) -> None:
        if self.steps < 0 or (not self.steps and self.seconds <= 0):
            raise SettingError(
                f"seconds = {self.seconds}, steps = {self.steps}; expected seconds above 0, or "
                "steps."
            )

    def said(self) -> str:
        """Return the budget in words."""
        if self.steps:
            return f"{self.steps} steps"
        return f"{self.seconds:g} {'processor ' if self.device == 'cpu' else ''}seconds"


@dataclass(frozen=True)
class LeagueJudging:
    """The `[judging]` table: how images are made and judged."""

    levels: tuple[str, ...] = LEVELS
    """pixel and task, judged on the mean of the draws; feature, judged on one draw."""
    draws: int = 4
    """Draws of families that sample."""
    slices: int = 12
    """Slices of each visit, evenly spread over those that show enough."""
    extractors: tuple[str, ...] = ("efficientnet",)
    """Feature extractors."""
    rank_by: tuple[str, ...] = (
        "pixel/psnr/foreground",
        "pixel/mae/foreground",
        "pixel/ssim/foreground",
        "feature/kid/*",
        "task/dice/*",
    )
    """Endpoints that rank, the most important first; `*` stands for any structure or extractor."""
    pictures: int = 2
    """Cases that the page shows."""

    def __post_init__(self) -> None:
        for level in self.levels:
            if level not in LEVELS:
                raise SettingError(f"There is no level {level!r}. {nearest(level, LEVELS)}")
        known = registry.entries("extractor")
        for name in self.extractors:
            if name not in known:
                raise SettingError(
                    f"No feature extractor is called {name!r}. {nearest(name, known)}"
                )
        if not self.levels or min(self.draws, self.slices) < 1 or self.pictures < 0:
            raise SettingError(
                f"levels = {list(self.levels)}, draws = {self.draws}, slices = {self.slices}, "
                f"pictures = {self.pictures}; expected at least one level, 1 draw and 1 slice."
            )


@dataclass(frozen=True)
class Entrant:
    """One entry: a family around a backbone, or a classical method."""

    name: str = ""
    family: str = ""
    """How it learns and draws: an entry of `veridical list family`."""
    backbone: str = "unet"
    """Its network: an entry of `veridical list backbone`."""
    classical: str = ""
    """Instead: constant, copy, intensity-map, or for restoring input, non-local-means."""
    net: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the backbone, for instance widths."""
    learning_rate: float = 0.0
    """Peak learning rate; that of the budget where it is 0."""
    steps: int = 4
    """Sampler steps of a draw, where the family has a choice."""

    def __post_init__(self) -> None:
        if bool(self.family) == bool(self.classical):
            raise SettingError(
                f"The entry {self.name} names {'both' if self.family else 'neither'} a family "
                f"{'and' if self.family else 'nor'} a classical method; expected one of the two."
            )
        wanted = {"family": self.family, "backbone": self.backbone} if self.family else {}
        for kind, name in wanted.items():
            known = registry.entries(kind)
            if name not in known:
                raise SettingError(
                    f"The entry {self.name}: no {kind} is called {name!r}. {nearest(name, known)}"
                )
        if self.classical and self.classical not in CLASSICAL:
            raise SettingError(
                f"The entry {self.name}: no classical method is called {self.classical!r}. "
                f"{nearest(self.classical, CLASSICAL)}"
            )
        if self.steps < 1 or self.learning_rate < 0:
            raise SettingError(
                f"The entry {self.name}: steps = {self.steps}, learning_rate = "
                f"{self.learning_rate}; expected at least 1 step and a rate of 0 or more."
            )


@dataclass(frozen=True)
class Every:
    """The `[every]` table: an entry for each installed family, and for each further backbone."""

    backbone: str = "unet"
    """Of all families."""
    family: str = "regression"
    """Of the further backbones."""
    nets: Mapping[str, Any] = field(default_factory=dict)
    """Backbone -> its settings."""
    without: tuple[str, ...] = ()
    """Families and backbones that do not take part."""

    def entrants(self) -> list[Entrant]:
        """Return the entries, families first."""
        families, backbones = registry.entries("family"), registry.entries("backbone")
        for name in (*self.without, *self.nets):
            if name not in (*families, *backbones):
                raise SettingError(
                    f"[every] names {name!r}. {nearest(name, (*families, *backbones))}"
                )
        nets = {name: self.nets.get(name, {}) for name in backbones}
        found = [
            Entrant(name, name, self.backbone, net=nets.get(self.backbone, {}))
            for name in families
            if name not in self.without
        ]
        return found + [
            Entrant(f"{self.family}-{name}", self.family, name, net=nets[name])
            for name in backbones
            if name not in (*self.without, self.backbone)
        ]


@dataclass(frozen=True)
class LeagueProtocol:
    """All that is decided before anything is trained."""

    title: str = "League"
    """As the page is called."""
    job: str = "complete"
    """complete, translate, synthesize, restore or several."""
    made: str = "FLAIR"
    """What is made: a contrast, a modality, or a channel of a scene."""
    given: tuple[str, ...] = ()
    """What it is made from; nothing for synthesize."""
    degradation: str = ""
    """What is wrong with the image that is to be restored: an entry of `veridical list
    degradation`.
    """
    seeds: tuple[int, ...] = (0,)
    """Of initialization and samples; every entry is trained with each."""
    data: LeaguePatients = field(default_factory=LeaguePatients)
    budget: LeagueBudget = field(default_factory=LeagueBudget)
    judging: LeagueJudging = field(default_factory=LeagueJudging)
    entries: tuple[Entrant, ...] = ()

    def __post_init__(self) -> None:
        if self.job not in JOBS:
            raise SettingError(f"There is no job {self.job!r}. {nearest(self.job, JOBS)}")
        restores = self.job == "restore"
        if restores or self.degradation:
            known = registry.entries("degradation")
            if self.degradation not in known:
                raise SettingError(
                    f"No degradation is called {self.degradation!r}. "
                    f"{nearest(self.degradation, known)}"
                )
        needs = self.job in ("complete", "translate", "several")
        if self.made in self.given or needs != bool(self.given and not restores):
            raise SettingError(
                f"job = {self.job!r}, made = {self.made!r}, given = {list(self.given)}; expected "
                "given channels, other than the one that is made, for complete, translate and "
                "several, and none for synthesize and restore."
            )
        if not self.entries or not self.seeds:
            raise SettingError(
                'A league needs at least one entry and one seed: [entries.flow] family = "'
                'rectified-flow", or [every].'
            )
        for entry in self.entries:
            fits = not entry.classical or restores == (entry.classical in RESTORING)
            if not fits and entry.classical != "constant":
                raise SettingError(
                    f"The entry {entry.name}: {entry.classical} is no method for the job "
                    f"{self.job}. Leave it out."
                )
            if entry.classical == "copy" and not self.given:
                raise SettingError(f"The entry {entry.name} has nothing to copy. Leave it out.")

    def training_data(self, held_out: Sequence[str]) -> LeagueData:
        """Return what all entries learn from when some patients are held out."""
        shared = {f.name: getattr(self.data, f.name) for f in fields(self.data)}
        del shared["folds"]
        shared |= {"held_out": tuple(held_out), "job": self.job, "made": self.made}
        return LeagueData(**shared, given=self.given, degradation=self.degradation)

    def entry(self, name: str) -> Entrant:
        """Return the entry of a name.

        Raises:
            SettingError: there is none.
        """
        known = {entry.name: entry for entry in self.entries}
        if name not in known:
            raise SettingError(f"The protocol has no entry {name!r}. {nearest(name, known)}")
        return known[name]

    def with_budget(self, text: str) -> LeagueProtocol:
        """Return the protocol with another budget: `90` seconds, or `500 steps`.

        Raises:
            SettingError: it is neither.
        """
        steps = STEPS.fullmatch(text.strip())
        try:
            given: dict[str, Any] = (
                {"steps": int(steps[1])} if steps else {"seconds": float(text), "steps": 0}
            )
        except ValueError as error:
            raise SettingError(
                f"--budget {text!r}; expected seconds, for instance 90, or '500 steps'."
            ) from error
        return replace(self, budget=replace(self.budget, **given))

    def net(self, entry: Entrant) -> dict[str, Any]:
        """Return the `[model]` table of an entry, without the model's name."""
        channels = list(dict.fromkeys((*self.given, self.made)))
        ways = {"degradations": [self.degradation]} if self.degradation else {}
        start = {"family": entry.family, "backbone": entry.backbone, "contrasts": channels}
        return {**start, **ways, **entry.net}

    def digest(self, *parts: Any) -> str:
        """Return a hash of what images depend on beside the entry: job, data and how they are
        made; and of further parts.
        """
        said = (self.job, self.made, self.given, self.degradation, asdict(self.data))
        made = (self.judging.draws, self.judging.slices)
        text = json.dumps([said, made, parts], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()
