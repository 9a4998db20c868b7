"""Small leagues: a protocol on a ward of toys, and standings that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import folders
from veridical.evaluation.results import CaseRow, Endpoint
from veridical.evaluation.standings import (
    Cost,
    Judged,
    Standing,
    Standings,
    headline,
    rankings,
    ranks,
    scores,
)

PATIENTS = 6
WARD = """
title = "Toys"
job = "complete"
made = "FLAIR"
given = ["T1w"]

[data]
sources = { ward = 1.0 }
held_out = ["sub-01", "sub-02"]
patch = 32
batch = 2

[budget]
steps = 4

[judging]
levels = ["pixel"]
draws = 2
slices = 2
pictures = 1

[entries.flow]
family = "rectified-flow"
net = { widths = [8, 8], blocks = 1 }

[entries.constant]
classical = "constant"
"""


def ward(folder: Path, text: str = WARD) -> Path:
    """Write a ward of toys and a protocol beside it, and return the protocol's path."""
    if not (folder / "ward").is_dir():
        folders.bids(folder / "ward", PATIENTS)
    path = folder / "toys.toml"
    path.write_text(text, encoding="utf-8")
    return path


def judged(errors: Mapping[str, float], seed: int = 0, patients: int = PATIENTS) -> Judged:
    """What an evaluation says of images with these mean errors and as much SSIM and KID."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(1).uniform(0.8, 1.2, patients)
    keys = {"pixel/mae/foreground": "lower", "pixel/ssim/foreground": "higher"}
    rows, endpoints = [], []
    values = {key: errors[key] * hard * (1 + 0.01 * rng.standard_normal(patients)) for key in keys}
    for number in range(patients):
        mine = {key: float(each[number]) for key, each in values.items()}
        rows.append(CaseRow(f"case-{number}", f"patient-{number}", mine))
    for key, better in keys.items():
        label = key.split("/")[1].upper()
        value = float(values[key].mean())
        ends = (0.95 * value, 1.05 * value)
        endpoints.append(
            Endpoint(
                key,
                "pixel",
                key.split("/")[1],
                label,
                "a.u.",
                better,
                "foreground",
                value,
                ends,
                n=patients,
            )  # type: ignore[arg-type]
        )
    kid = Endpoint(
        "feature/kid/efficientnet",
        "feature",
        "kid",
        "KID",
        "1",
        "lower",
        "efficientnet",
        errors["kid"],
        n=patients,
    )
    return Judged((*endpoints, kid), tuple(rows))


def entry(mae: float, ssim: float, kid: float, seeds: int = 1) -> list[Judged]:
    """One entry with its mean error, SSIM and KID."""
    errors = {"pixel/mae/foreground": mae, "pixel/ssim/foreground": ssim, "kid": kid}
    return [judged(errors, seed) for seed in range(seeds)]


def standings(entries: Mapping[str, list[Judged]], **more: Any) -> Standings:
    """Standings of made-up entries, and of one that failed."""
    known = {name: scores(each) for name, each in entries.items()}
    keys = headline(("pixel/mae/*", "pixel/ssim/*", "feature/kid/*"), known)
    order = ranks(keys, entries, known)
    cost = Cost(1_380_000, 400, 61.0, 59.5, 0.02, 120.0, 40.0)
    rows = [
        Standing(name, name, "unet", "", {}, "done", "", cost, known[name], order.get(name))
        for name in entries
    ]
    rows.sort(key=lambda one: one.rank or (0, 0, 0))
    rows.append(Standing("broken", "broken", "unet", "", {}, "failed", "It made NaN <values>."))
    about = {"task": "FLAIR made from T1w.", "patients": 6, "cases": 6, "budget": "60 seconds"}
    found = Standings(
        "Toys", about, tuple(rows), tuple(keys), tuple(rankings(keys, entries)), ("A note.",)
    )
    return found
