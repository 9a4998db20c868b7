"""Few-shot curves: shipped weights adapted to 1, 5 and 20 real patients of a set that they never
saw, against fine-tuning every weight and training from scratch with the same number of steps.

Patients of TCGA-LGG (two hospitals, 8 bits, no skull; benchmarks only) in an order drawn once: the
first learn, two validate, the last are tested on. Every way makes the same steps with the same
batches and keeps the weights of its best checkpoint. What is not better on the two that validate is
refused, as `veridical adapt` refuses it, and counts as the weights that it came from.

`maps` is what the generator gains without any training: its weights as shipped, with the intensity
maps that it starts from fitted on the patients that learn.

Usage: python benchmarks/adapt.py [WORK] [--weights brain] [--steps 150] [--patients 1 5 20]
       [--ways lora head all scratch maps] [--tested 10] [--table]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from veridical import registry
from veridical.errors import InputError
from veridical.models import weights as stored
from veridical.training.adapt import PREFIX, toml
from veridical.training.card_scores import t_interval
from veridical.training.recipe import Recipe, find
from veridical.training.stopping import quality
from veridical.training.train import train

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data")) / "lgg_tcga"
SEED, VALIDATE, ITEMS = 3, 2, 4
SCRATCH_RATE = 1e-3
"""Learning rate from scratch; those of the recipe are for weights that are good already."""


def patients() -> list[str]:
    """Cases with all three contrasts whose images are there, in an order drawn once."""
    with (DATA / "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (DATA / f"{row['case']}.npz").is_file()]
    cases = sorted(
        row["case"]
        for row in rows
        if {row["has_t1pre"], row["has_flair"], row["has_t1post"]} == {"1"}
    )
    return [cases[int(n)] for n in np.random.default_rng(SEED).permutation(len(cases))]


def ward(folder: Path, cases: list[str]) -> Path:
    """A folder of some patients."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("index.csv", *(f"{case}.npz" for case in cases)):
        if not (folder / name).exists():
            (folder / name).symlink_to((DATA / name).resolve())
    return folder


def tables(start: str, way: str, steps: int, held_out: list[str]) -> dict[str, Any]:
    """The recipe of one way."""
    card = stored.card(start)
    found = tomllib.loads(
        find(PREFIX + registry.get("model", card["model"]).learns).read_text(encoding="utf-8")
    )
    found["model"] = {"from": start}
    found["data"] |= {"held_out": [case.rsplit("_", 1)[0] for case in held_out]}
    found["training"] |= {
        "adapt": way, "steps": steps, "patience": steps, "checkpoint": max(steps // 4, 1),
        "warmup": min(30, steps // 4), "workers": 0, "precision": "32",
    }  # fmt: skip
    if way == "scratch":
        found["model"] = {"name": card["model"], **card["net"]}
        found["training"] |= {"adapt": "all", "learning_rate": SCRATCH_RATE}
    elif way == "all":
        found["training"] |= {"learning_rate": 3e-4}
    return found


def scores_of(
    name: str, plan: Recipe, cases: list[str], work: Path, facts: dict[str, Any] | None = None
) -> list[float]:
    """What weights score on each patient, dB; with the facts of their own card, or of another."""
    card = stored.card(name)
    model = registry.get("model", card["model"])
    net = model.build(card["net"])
    net.load_state_dict(stored.load(name))
    found = []
    for case in cases:
        folder = str(ward(work / "tested" / case, [case]).resolve())
        data = type(plan.data)(**{
            **plan.data.__dict__, "sources": {folder: 1.0}, "held_out": (case.rsplit("_", 1)[0],),
        })  # fmt: skip
        course = data.course(model, card["net"], 1, True)
        course.learned(facts or card)
        scores = course.validate(net.eval(), ITEMS, torch.device("cpu"))
        found.append(quality({key: one for key, one in scores.items() if "degraded" not in key}))
    return found


def run(start: str, way: str, count: int, given: argparse.Namespace) -> dict[str, Any]:
    """Adapt in one way to so many patients, and test."""
    cases = patients()
    last = cases[-given.tested :]
    learn, validate = cases[:count], cases[-given.tested - VALIDATE : -given.tested]
    work = given.work / start
    folder = ward(work / f"learn-{count}", [*learn, *validate])
    if way == "maps":
        plan = Recipe.read(work / f"lora-{count}" / f"{start}-lora.toml", folder, start)
        adapted = stored.card(str(work / f"lora-{count}" / f"{start}-lora.safetensors"))
        after = scores_of(start, plan, last, work, adapted)
        return line_of(start, way, count, 0, False, after)
    out = work / f"{way}-{count}"
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / f"{start}-{way}.toml"
    recipe.write_text(toml(tables(start, way, given.steps, validate)), encoding="utf-8")
    base = "" if way == "scratch" else start
    since, refused, name = time.perf_counter(), False, start
    try:
        name = str(train(recipe, out, data=folder, start=base))
    except InputError as error:
        print(f"  refused: {error}", flush=True)
        refused = True
    seconds = time.perf_counter() - since
    plan = Recipe.read(recipe, folder, base)
    return line_of(start, way, count, seconds, refused, scores_of(name, plan, last, work))


def line_of(
    start: str, way: str, count: int, seconds: float, refused: bool, after: list[float]
) -> dict[str, Any]:
    return {
        "weights": start, "way": way, "patients": count, "seconds": round(seconds),
        "refused": refused, "tested": after,
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> str:
    """The curves as a table: mean over tested patients, and the gain over the shipped weights."""
    rows = ["| weights | learned from | way | PSNR, dB | gain over as shipped (95 %) | seconds |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for line in lines:
        shipped = next(
            one for one in lines if one["way"] == "shipped" and one["weights"] == line["weights"]
        )
        gain = np.subtract(line["tested"], shipped["tested"])
        low, high = t_interval([float(one) for one in gain])
        said = f"{gain.mean():+.2f} ({low:+.2f} to {high:+.2f})"
        if line["way"] == "shipped":
            said = ""
        elif line["refused"]:
            said = "refused"
        rows.append(
            f"| {line['weights']} | {line['patients'] or ''} | {line['way']} | "
            f"{np.mean(line['tested']):.2f} | {said} | {line['seconds'] or ''} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", nargs="?", type=Path, default=Path("runs/adapt"))
    parser.add_argument("--weights", nargs="+", default=["brain"])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--ways", nargs="+", default=["lora", "head", "all", "scratch"])
    parser.add_argument("--tested", type=int, default=10)
    parser.add_argument("--table", action="store_true", help="print what was measured, and end")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    log = given.work / "curves.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    done = {(one["weights"], one["way"], one["patients"]) for one in lines}
    jobs = [] if given.table else [
        (start, way, count)
        for start in given.weights
        for count, way in [(0, "shipped"), *((n, w) for n in given.patients for w in given.ways)]
    ]  # fmt: skip
    for start, way, count in jobs:
        if (start, way, count) in done:
            continue
        if way == "shipped":
            lines.append(shipped(start, given))
        else:
            lines.append(run(start, way, count, given))
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(json.dumps(lines[-1]), flush=True)
    print(table(lines))


def shipped(start: str, given: argparse.Namespace) -> dict[str, Any]:
    """What the weights score as they are."""
    cases = patients()
    learn = ward(given.work / start / "learn-1", cases[:1])
    recipe = given.work / start / "shipped.toml"
    recipe.write_text(toml(tables(start, "lora", 1, [])), encoding="utf-8")
    plan = Recipe.read(recipe, learn, start)
    scores = scores_of(start, plan, cases[-given.tested :], given.work / start)
    return line_of(start, "shipped", 0, 0, False, scores)


if __name__ == "__main__":
    main()
