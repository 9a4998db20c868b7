"""Train the model of a recipe over sites: within this process, or as the server of a deployment.

What is written: the weights with their card, the log of rounds, and a report of every site
(`report.md`, `report.json`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from veridical.errors import InputError, VeridicalError
from veridical.io.guards import write_text
from veridical.report import federation_report
from veridical.task import Progress, silent
from veridical.training.checkpoints import log_lines, write_tensors
from veridical.training.federated import Masked, Server, Sites
from veridical.training.federated_card import federated_card
from veridical.training.federation import Federation
from veridical.training.screening import Arrays
from veridical.training.site import SiteAnswer, SiteTrainer
from veridical.training.site_report import alone, site_report

SITES = "sites"
"""Folder of the sites of a federation within one process, below that of the run."""


@dataclass
class LocalSites:
    """All sites of a federation within this process, one after the other.

    Args:
        federation: with the images of all sites.
        folder: of the run; each site has one of its own in it.
    """

    federation: Federation
    folder: Path

    def __post_init__(self) -> None:
        self._sites: dict[str, SiteTrainer] = {}

    def site(self, name: str) -> SiteTrainer:
        """Return a site, made when it is first asked for."""
        if name not in self._sites:
            self._sites[name] = SiteTrainer(self.federation, name, self.folder / SITES / name)
        return self._sites[name]

    def train(
        self, number: int, shared: Arrays, names: Sequence[str]
    ) -> dict[str, SiteAnswer | str]:
        """Let sites train, one after the other."""
        return {name: answered(partial(self._train, name, number, shared)) for name in names}

    def masked(self, number: int, shared: Arrays, names: Sequence[str]) -> Masked:
        """Refuse: masks hide nothing within one process."""
        raise InputError(
            "Within one process there is nothing to hide updates from. Secure aggregation needs "
            "sites in processes of their own: --processes."
        )

    def report(self, shared: Arrays, names: Sequence[str]) -> dict[str, dict[str, Any] | str]:
        """Let sites judge weights."""
        return {name: answered(partial(self._report, name, shared)) for name in names}

    def _train(self, name: str, number: int, shared: Arrays) -> SiteAnswer:
        return self.site(name).train(number, shared, self.federation.fingerprint())

    def _report(self, name: str, shared: Arrays) -> dict[str, Any]:
        return site_report(self.site(name), shared)

    def alone(self, name: str) -> Arrays:
        """Train at one site alone, at equal steps, to compare with."""
        return alone(self.site(name), self.folder / SITES / name / "alone")


def answered(call: Callable[[], Any]) -> Any:
    """Return what a site says, or in words why it says nothing; errors of ours are none of its."""
    try:
        return call()
    except VeridicalError as error:
        return f"no answer: {error}"


def federate(
    federation: Federation,
    out: str | Path,
    resume: bool = False,
    progress: Progress = silent,
    sites: Sites | None = None,
) -> Path:
    """Train over sites and return the path of the weights; their card lies beside them.

    Args:
        federation: read from its file.
        out: folder, made when missing.
        resume: go on after the last whole round.
        progress: called after each round.
        sites: how they are reached; None: all within this process.

    Raises:
        InputError: too few sites gave a usable update.
    """
    folder = Path(out)
    server = Server(federation, folder, resume)
    reached = sites or LocalSites(federation, folder)
    standing = server.run(reached, progress)
    reports = reached.report(standing.average, server.names())
    lines = log_lines(folder)
    path = folder / f"{federation.recipe.name}.safetensors"
    tensors = {key: torch.from_numpy(value).half() for key, value in standing.average.items()}
    write_tensors(path, tensors, {})
    card = federated_card(federation, standing, lines, reports)
    write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    write_reports(folder, federation, lines, reports)
    return path


def write_reports(
    folder: Path,
    federation: Federation,
    lines: Sequence[Mapping[str, Any]],
    reports: Mapping[str, dict[str, Any] | str],
) -> None:
    """Write `report.json` and `report.md`."""
    whole = federation_report.collected(federation, lines, reports)
    write_text(folder / "report.json", json.dumps(whole, indent=2) + "\n")
    write_text(folder / "report.md", federation_report.markdown(whole))
