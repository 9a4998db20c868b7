"""What an entry's images are worth: the evaluation's judgement of the mean at pixel and task level
and of one draw at feature level, and what the page shows of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from veridical.evaluation.results import Evaluation
from veridical.evaluation.signature import canonical
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
from veridical.evaluation.verdicts import FEWEST
from veridical.io.guards import replacing
from veridical.io.nifti import nifti
from veridical.metrics.feature_sets import FEWEST as FEWEST_IN_SETS
from veridical.report.league_page import LeagueExhibit
from veridical.report.words import listed
from veridical.task import Progress
from veridical.workflow.evaluate import Evaluate
from veridical.workflow.league_entries import MADE, TRAINED, Turn, folder_of, image_name, stored
from veridical.workflow.league_images import names_of
from veridical.workflow.league_protocol import Entrant, LeagueProtocol

TRUTH, GIVEN, STRUCTURES, TABLE = "truth", "given", "structures", "cases.csv"
"""Below the folder of a league: real images, what was given, structures of the real images, and
whose case each is.
"""
JUDGED = "judged.json"
SURE = 0.05
"""Level of the tests."""
PAIRED = ("pixel", "task")


def judge(turns: Sequence[Turn], progress: Progress) -> Judged:
    """Judge the images of an entry with one seed, made in all folds; kept until they change.

    Args:
        turns: of all folds.
        progress: called as work goes on.
    """
    first = turns[0]
    key = _key(turns)
    done = stored(first.folder / JUDGED)
    if done.get("key") == key:
        return Judged.of(done)
    judging, paired = first.protocol.judging, first.protocol.job != "synthesize"
    parts: list[Evaluation] = []
    for name, levels in (("estimate", PAIRED), ("draw", ("feature",))):
        wanted = tuple(level for level in levels if level in judging.levels)
        if wanted and (paired or name == "draw"):
            settings = _settings(first, wanted, paired)
            images, out = first.folder / name, first.folder / f"judged-{name}"
            said = _said(first, progress)
            parts.append(settings(images, first.out / TRUTH, out, said))
    refused = " ".join(
        f"{finding.check}: {finding.reason}"
        for part in parts
        for finding in part.integrity
        if finding.verdict == "fail"
    )
    endpoints = tuple(e for part in parts for e in part.endpoints)
    rows = tuple(row for part in parts[:1] for row in part.cases)
    found = Judged(endpoints, rows, "" if endpoints else refused)
    with replacing(first.folder / JUDGED) as temporary:
        temporary.write_bytes(canonical({"key": key, **asdict(found)}))
    return found


def _key(turns: Sequence[Turn]) -> str:
    said = [turn.key for turn in turns] + [json.dumps(asdict(turns[0].protocol.judging))]
    return hashlib.sha256(" ".join(said).encode()).hexdigest()


def _settings(turn: Turn, levels: tuple[str, ...], paired: bool) -> Evaluate:
    labelled = "task" in levels
    names = names_of(turn.protocol.made)
    return Evaluate(
        labels=turn.out / STRUCTURES if labelled else None,
        candidate_labels=turn.folder / STRUCTURES if labelled else None,
        structures=tuple(f"{n}={name}" for n, name in enumerate(names, 1)) if labelled else (),
        table=turn.out / TABLE,
        paired="yes" if paired else "no",
        levels=levels,
        extractors=turn.protocol.judging.extractors,
        workers=1,
    )


def _said(turn: Turn, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"judging: {turn.entry.name}, {what}", done, total)


def standings(
    protocol: LeagueProtocol,
    turns: Mapping[str, Sequence[Sequence[Turn]]],
    judged: Mapping[str, Sequence[Judged]],
    failed: Mapping[str, str],
    held_out: Sequence[Sequence[str]],
) -> Standings:
    """Return the league as far as it is known.

    Args:
        protocol: of the league.
        turns: entry -> for each seed the turns of all folds.
        judged: entry -> one a seed; entries that are complete.
        failed: entry -> why it is not.
        held_out: patients of each fold.
    """
    able = {name: each for name, each in judged.items() if all(one.endpoints for one in each)}
    known = {name: scores(each) for name, each in able.items()}
    keys = headline(protocol.judging.rank_by, known)
    order = ranks(keys, able, known)
    refused = {
        name: " ".join(one.refused for one in each)
        for name, each in judged.items()
        if name not in able
    }
    entries = [
        _standing(entry, turns[entry.name], known, order, failed, refused)
        for entry in protocol.entries
    ]
    place = {"done": 0, "no score": 1, "failed": 2, "not run": 3}
    entries.sort(key=lambda one: (place[one.status], one.rank[0] if one.rank else 0.0))
    made = [stored(turn.training / MADE) for each in turns.values() for turn in each[0]]
    patients = {k: v for one in made for k, v in one.get("patients", {}).items()}
    found = Standings(
        protocol.title,
        _about(protocol, patients, held_out),
        tuple(entries),
        tuple(keys),
        tuple(rankings(keys, able)),
    )
    return replace(found, notes=_notes(protocol, found, len(set(patients.values()))))


def _standing(
    entry: Entrant,
    turns: Sequence[Sequence[Turn]],
    known: Mapping[str, Any],
    order: Mapping[str, tuple[float, float, float]],
    failed: Mapping[str, str],
    refused: Mapping[str, str],
) -> Standing:
    described = (entry.name, entry.family, entry.backbone if entry.family else "", entry.classical)
    start = Standing(*described, dict(entry.net), "not run", cost=_cost(turns))
    if entry.name in failed:
        return replace(start, status="failed", reason=failed[entry.name])
    if entry.name in refused:
        return replace(start, status="no score", reason=refused[entry.name])
    if entry.name not in known:
        return start
    name = entry.name
    return replace(start, status="done", scores=known[name], rank=order.get(name))


def _cost(turns: Sequence[Sequence[Turn]]) -> Cost | None:
    every = [turn for each in turns for turn in each]
    trained = [one for turn in every if (one := stored(turn.training / TRAINED))]
    made = [one for turn in every if (one := stored(turn.training / MADE))]
    if not trained:
        return None
    return Cost(
        int(trained[0]["parameters"]),
        round(_mean(trained, "steps") or 0),
        _mean(trained, "seconds") or 0.0,
        _mean(trained, "processor_seconds") or 0.0,
        _mean(made, "seconds_per_slice"),
        _mean(trained, "memory"),
        _mean(made, "memory"),
    )


def _mean(found: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [one[name] for one in found if one.get(name) is not None]
    return float(np.mean(values)) if values else None


def _about(
    protocol: LeagueProtocol, patients: Mapping[str, str], held_out: Sequence[Sequence[str]]
) -> dict[str, Any]:
    names = {"restore": f"{protocol.made} restored from {protocol.degradation}.",
             "synthesize": f"{protocol.made} made from nothing."}  # fmt: skip
    usual = f"{protocol.made} made from {listed(protocol.given)}."
    return {
        "task": names.get(protocol.job, usual),
        "patients": len(set(patients.values())),
        "cases": len(patients),
        "budget": protocol.budget.said(),
        "job": protocol.job,
        "made": protocol.made,
        "given": list(protocol.given),
        "degradation": protocol.degradation,
        "sources": {Path(name).name: share for name, share in protocol.data.sources.items()},
        "held_out": [list(names) for names in held_out],
        "seeds": list(protocol.seeds),
        "threads": torch.get_num_threads(),
        "structures": list(names_of(protocol.made)),
    }


def _notes(protocol: LeagueProtocol, found: Standings, patients: int) -> tuple[str, ...]:
    """Return what to bear in mind."""
    notes = []
    if protocol.job == "synthesize":
        notes.append(
            "Images that are made from nothing have no real counterpart: pixel and task level are "
            "not run."
        )
    if 0 < patients < FEWEST:
        notes.append(f"{patients} patients: {FEWEST} are needed for any interval.")
    if "feature" in protocol.judging.levels and 0 < patients < FEWEST_IN_SETS:
        notes.append(
            f"{patients} patients: sets of features have no interval, {FEWEST_IN_SETS} are needed."
        )
    pairs = max((len(ranking.differences) for ranking in found.rankings), default=0)
    least = min(1.0, 2 * 0.5**patients * pairs)
    if pairs and least > SURE:
        notes.append(
            f"With {patients} patients and {pairs} pairs of entries, p cannot be below {least:.2g} "
            "after the correction: no difference can be significant. Name fewer entries, or judge "
            "on more patients."
        )
    else:
        notes += [said for r in found.rankings[:1] for name in r.order if (said := r.caveat(name))]
    if len(protocol.seeds) == 1:
        notes.append("One seed: what another initialization would have given is not known.")
    return tuple(notes)


def exhibits(
    protocol: LeagueProtocol, out: Path, entries: Sequence[Standing]
) -> list[LeagueExhibit]:
    """Return the cases that the page shows, evenly spread over all."""
    names = sorted(path.name for path in (out / TRUTH).glob("*.nii.gz"))
    count = min(protocol.judging.pictures, len(names))
    chosen = [names[int(i)] for i in np.linspace(0, len(names) - 1, count).round()] if count else []
    what = "draw" if protocol.job == "synthesize" else "estimate"
    found = []
    for name in chosen:
        own = image_name(protocol, name.removesuffix(".nii.gz"))
        made = {
            one.name: folder_of(out, protocol.entry(one.name), protocol.seeds[0]) / what / own
            for one in entries
            if one.status == "done"
        }
        given = {path.parent.name: path for path in sorted((out / GIVEN).glob(f"*/{name}"))}
        found.append(
            LeagueExhibit(
                name.removesuffix(".nii.gz"),
                nifti(out / TRUTH / name),
                {key: nifti(path) for key, path in given.items()},
                {key: nifti(path) for key, path in made.items() if path.is_file()},
                protocol.job != "synthesize",
            )
        )
    return found
