"""The server of a federation: rounds in which sites train the shared weights and their updates are
screened and averaged.

It never sees an image. After every round the shared weights, their moving average and what is known
of the sites are written, so that a server that was killed goes on with the next round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from veridical import registry
from veridical.errors import FormatError, InputError
from veridical.io.guards import write_text
from veridical.models import weights
from veridical.task import Progress, silent
from veridical.training.checkpoints import claimed, log_lines, write_tensors
from veridical.training.federation import Federation
from veridical.training.screening import Arrays, garbage, mean, screened
from veridical.training.site import SiteAnswer
from veridical.types import Array

FILE = "federation.safetensors"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Masked:
    """What a server learns of a round under secure aggregation.

    Args:
        update: mean of the updates of those who took part, weighted by patients.
        took_part: sites.
        failed: site -> why it did not.
    """

    update: Arrays
    took_part: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)


class Sites(Protocol):
    """How a server reaches its sites: within the process, or over Flower."""

    def train(
        self, number: int, shared: Arrays, names: Sequence[str]
    ) -> dict[str, SiteAnswer | str]:
        """Let sites train for a round; what did not answer is there with the reason, in words.

        Args:
            number: of the round, from 1.
            shared: weights.
            names: of the sites that are asked.
        """

    def masked(self, number: int, shared: Arrays, names: Sequence[str]) -> Masked:
        """Let sites train for a round and learn the mean of their updates only."""

    def report(self, shared: Arrays, names: Sequence[str]) -> dict[str, dict[str, Any] | str]:
        """Let sites judge weights on their patients."""


@dataclass
class SharedState:
    """What the server goes on from.

    Args:
        shared: weights after the last round.
        average: their moving average, which is what is kept.
        rounds: that are done.
        strikes: site -> rounds in a row without a usable answer.
        patients: site -> how many trained, as it says.
    """

    shared: dict[str, Array]
    average: dict[str, Array]
    rounds: int = 0
    strikes: dict[str, int] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)

    def save(self, path: Path, fingerprint: str) -> None:
        """Write it."""
        tensors = {f"net.{key}": torch.from_numpy(value) for key, value in self.shared.items()}
        tensors |= {f"average.{k}": torch.from_numpy(value) for k, value in self.average.items()}
        known = {"rounds": self.rounds, "strikes": self.strikes, "patients": self.patients}
        write_tensors(path, tensors, {"known": json.dumps(known), "federation": fingerprint})

    @classmethod
    def read(cls, path: Path, fingerprint: str) -> SharedState:
        """Read it.

        Raises:
            FormatError: it is damaged.
            InputError: it is of another federation.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                meta = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            known, of = json.loads(meta["known"]), meta["federation"]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"The checkpoint {path} is damaged ({error}). Train without --resume, or into "
                "another folder."
            ) from error
        if of != fingerprint:
            raise InputError(
                f"{path} is of a federation with other settings. Train without --resume, or into "
                "another folder."
            )
        parts = {
            prefix: {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            for prefix in ("net.", "average.")
        }
        return cls(parts["net."], parts["average."], **known)


class Server:
    """The server.

    Args:
        federation: what is trained. Folders of sites do not matter to it.
        folder: for checkpoint and log; made when missing.
        resume: go on from the checkpoint, where there is one.
    """

    def __init__(self, federation: Federation, folder: str | Path, resume: bool = False) -> None:
        self.federation, self.folder = federation, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path, begin = self.folder / FILE, initial(federation)
        self.standing = SharedState(begin, dict(begin))
        if resume and path.is_file():
            found = SharedState.read(path, federation.fingerprint())
            found.shared = {name: found.shared[name] for name in begin}  # in the order of the net
            self.standing = found
        self._forget()

    def names(self) -> list[str]:
        """Return the sites that are still asked."""
        strikes = self.standing.strikes
        return [
            name
            for name in self.federation.sites
            if strikes.get(name, 0) < self.federation.defence.strikes
        ]

    def run(self, sites: Sites, progress: Progress = silent) -> SharedState:
        """Train until all rounds are done.

        Raises:
            InputError: too few sites gave a usable update, or another process trains here.
        """
        settings = self.federation.settings
        with claimed(self.folder):
            while self.standing.rounds < settings.rounds:
                said = self.round(sites)
                number = self.standing.rounds
                progress(f"round {number}: {said}", number, settings.rounds)
        return self.standing

    def round(self, sites: Sites) -> str:
        """One round; returns what came of it, in a few words."""
        begun, number = time.perf_counter(), self.standing.rounds + 1
        secure = self.federation.settings.secure_aggregation
        update, facts, failed = self._masked(sites, number) if secure else self._open(sites, number)
        line = {
            "round": number,
            "seconds": round(time.perf_counter() - begun, 1),
            "sites": facts,
            "left_out": failed,
        }
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        kept = [name for name in facts if name not in failed]
        self._strike(failed, kept)
        if update is None or len(kept) < self.federation.settings.fewest:
            raise InputError(self._too_few(number, kept, failed))
        self._apply(update)
        self.standing.rounds = number
        self.standing.save(self.folder / FILE, self.federation.fingerprint())
        before = [facts[name]["before_db"] for name in kept if "before_db" in facts[name]]
        score = f", {np.mean(before):.2f} dB before it" if before else ""
        out = f", left out: {', '.join(failed)}" if failed else ""
        return f"{len(kept)} of {len(self.federation.sites)} sites{score}{out}"

    def _open(
        self, sites: Sites, number: int
    ) -> tuple[dict[str, Array] | None, dict[str, dict[str, Any]], dict[str, str]]:
        """Ask, screen and average updates that the server can see."""
        asked = sites.train(number, self.standing.shared, self.names())
        answers = {name: one for name, one in asked.items() if isinstance(one, SiteAnswer)}
        found = screened(
            {name: one.update for name, one in answers.items()},
            self.standing.shared,
            self.federation.defence,
        )
        facts: dict[str, dict[str, Any]] = {}
        for name, one in answers.items():
            facts[name] = {**one.facts, "patients": one.patients}
            if name in found.measured:
                measured = found.measured[name]
                facts[name] |= {
                    "length": float(f"{measured.length:.4g}"),
                    "ratio": float(f"{measured.ratio:.4g}"),
                    "cosine": round(measured.cosine, 4),
                }
        failed = {name: one for name, one in asked.items() if isinstance(one, str)}
        failed |= found.left_out
        counts = {name: max(1, answers[name].patients) for name in found.kept}
        self.standing.patients |= counts
        update = (
            mean({name: answers[name].update for name in found.kept}, counts) if counts else None
        )
        return update, facts, failed

    def _masked(
        self, sites: Sites, number: int
    ) -> tuple[dict[str, Array] | None, dict[str, dict[str, Any]], dict[str, str]]:
        """Ask for the mean of updates that the server cannot see."""
        found = sites.masked(number, self.standing.shared, self.names())
        failed = dict(found.failed)
        if found.took_part and (fault := garbage(found.update, self.standing.shared)):
            failed |= dict.fromkeys(found.took_part, f"{fault}; whose is hidden")
        facts: dict[str, dict[str, Any]] = {name: {} for name in found.took_part}
        return dict(found.update) or None, facts, failed

    def _strike(self, failed: Mapping[str, str], kept: Sequence[str]) -> None:
        for name in failed:
            self.standing.strikes[name] = self.standing.strikes.get(name, 0) + 1
        for name in kept:
            self.standing.strikes.pop(name, None)

    def _apply(self, update: Arrays) -> None:
        """Add the mean update to the shared weights, and move their average."""
        standing, settings = self.standing, self.federation.settings
        number = standing.rounds + 1
        usual = self.federation.recipe.training.ema**settings.local_steps
        decay = np.float32(min(usual, (1 + number) / (10 + number)))
        for key, value in update.items():
            standing.shared[key] = np.asarray(standing.shared[key] + value, np.float32)
            older = standing.average[key]
            standing.average[key] = np.asarray(
                decay * older + (1 - decay) * standing.shared[key], np.float32
            )

    def _too_few(self, number: int, kept: Sequence[str], failed: Mapping[str, str]) -> str:
        why = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or "none answered"
        return (
            f"Round {number}: {len(kept)} of {len(self.federation.sites)} sites gave a usable "
            f"update; expected {self.federation.settings.fewest} or more ({why}). What was "
            "trained is kept; mend the sites and go on with --resume."
        )

    def _forget(self) -> None:
        """Drop the lines of the log beyond the round at which training goes on."""
        lines = log_lines(self.folder)
        kept = [line for line in lines if line["round"] <= self.standing.rounds]
        if len(kept) < len(lines):
            write_text(self.folder / LOG, "".join(f"{json.dumps(line)}\n" for line in kept))


def initial(federation: Federation) -> dict[str, Array]:
    """Return the weights that the first round starts from: those of the recipe, or drawn by its
    seed.
    """
    recipe = federation.recipe
    torch.manual_seed(recipe.training.seed)
    net = registry.get("model", recipe.model).build(recipe.net)
    if recipe.start:
        net.load_state_dict(weights.load(recipe.start))
    return {key: value.numpy().astype(np.float32) for key, value in net.state_dict().items()}
