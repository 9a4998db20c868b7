"""Families side by side on equal terms: every entry of a protocol is trained within one budget,
makes images of the same held-out patients, and is judged by the same evaluation.

A league that was interrupted goes on where it was when it is called again, also in the middle of a
training; what is finished is kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from veridical.errors import InputError, VeridicalError
from veridical.evaluation.signature import canonical
from veridical.evaluation.standings import Judged, Standings
from veridical.io.guards import replacing, write_text
from veridical.layouts.discovery import studies
from veridical.layouts.pool import folders
from veridical.models.generator import Generator
from veridical.provenance import versions
from veridical.report import league_page, league_tables, paper
from veridical.task import Progress, silent
from veridical.training.checkpoints import claimed
from veridical.training.league_course import LeagueData
from veridical.workflow.league_entries import (
    MADE,
    Turn,
    has_other_settings,
    image_name,
    make,
    stored,
    train,
)
from veridical.workflow.league_images import cases, write_structures, write_volume
from veridical.workflow.league_judging import (
    GIVEN,
    STRUCTURES,
    TABLE,
    TRUTH,
    exhibits,
    judge,
    standings,
)
from veridical.workflow.league_protocol import LeagueProtocol

FILES = ("league.json", "league.csv", "league.md", "league.html")
REAL = "real.json"
"""What the real images of a folder were cut from."""


def league(
    protocol: LeagueProtocol,
    out: str | Path,
    only: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> Standings:
    """Run a league, or go on with it, and write its tables and its page.

    Args:
        protocol: from `league_reading.read`.
        out: folder; made when missing.
        only: entries to run now; all when empty. The tables hold every entry that is finished.
        overwrite: make anew what was made with other settings.
        progress: called as work goes on.

    Returns:
        The standings. An entry that fails does not stop the others; its reason stands in them.

    Raises:
        SettingError: a setting of a network is wrong, or no entry has a name of `only`.
        InputError: nobody to learn from or to judge on, or the folder holds what was made with
            other settings.
    """
    chosen = [protocol.entry(name).name for name in only] or [e.name for e in protocol.entries]
    for entry in protocol.entries:
        if entry.family and entry.name in chosen:
            Generator.build(protocol.net(entry))  # a wrong setting is said before anything is run
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder):
        held_out = folds(protocol)
        turns = _turns(protocol, held_out, folder)
        _check(
            protocol, held_out, [t for name in chosen for s in turns[name] for t in s], overwrite
        )
        failed = _run(protocol, turns, chosen, progress)
        judged, refused = _judged(protocol, turns, failed, progress)
        found = standings(protocol, turns, judged, {**failed, **refused}, held_out)
        _write(protocol, found, folder)
    return found


def folds(protocol: LeagueProtocol) -> list[tuple[str, ...]]:
    """Return who is held out in each fold: one fold where patients are named or digital.

    Raises:
        InputError: a name fits nobody, or there are fewer patients than folds.
    """
    data = protocol.training_data(())
    if not data.real:
        return [()]
    known = _able(data)
    if not protocol.data.folds:
        for name in protocol.data.held_out:
            if not any(one.startswith(name) for one in known):
                raise InputError(
                    f"held_out names {name!r}; no patient with {', '.join(data.channels)} is "
                    f"called so. There are: {', '.join(known) or 'none'}."
                )
        return [tuple(one for one in known if one.startswith(protocol.data.held_out))]
    count = protocol.data.folds
    if count > len(known):
        raise InputError(
            f"{count} folds were asked for of {len(known)} patients with "
            f"{', '.join(data.channels)}: {', '.join(known) or 'none'}. Ask for fewer."
        )
    drawn = sorted(known, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return [tuple(sorted(drawn[fold::count])) for fold in range(count)]


def _able(data: LeagueData) -> list[str]:
    """Return the patients on disk with a visit that has all channels."""
    found = dict[str, None]()
    for source in data.real:
        for place in folders(source):
            for study in studies(place):
                if any(set(data.channels) <= set(visit) for visit in study.visits.values()):
                    found[study.id] = None
    return sorted(found)


def _turns(
    protocol: LeagueProtocol, held_out: Sequence[tuple[str, ...]], out: Path
) -> dict[str, list[list[Turn]]]:
    """Return entry -> for each seed the turns of all folds."""
    data = [protocol.training_data(names) for names in held_out]
    return {
        entry.name: [
            [Turn(protocol, entry, fold, seed, each, out) for fold, each in enumerate(data)]
            for seed in protocol.seeds
        ]
        for entry in protocol.entries
    }


def _check(
    protocol: LeagueProtocol,
    held_out: Sequence[tuple[str, ...]],
    turns: Iterable[Turn],
    overwrite: bool,
) -> None:
    """Refuse, or remove, what was made with other settings; write the real images.

    Raises:
        InputError: there is such, and it is not to be overwritten.
    """
    listed = list(turns)
    out, real = listed[0].out, protocol.digest(list(held_out))
    other = [turn.folder for turn in listed if turn.folder.is_dir() and has_other_settings(turn)]
    before = stored(out / REAL)
    if before and before.get("key") != real:
        other += [out / name for name in (TRUTH, GIVEN, STRUCTURES)]
    if other and not overwrite:
        raise InputError(
            f"{other[0]} was made with other settings. Give another folder with --out, or "
            "--overwrite to make it anew."
        )
    for folder in dict.fromkeys(other):
        shutil.rmtree(folder, ignore_errors=True)
    if other or before.get("key") != real:
        _write_real(listed, out)
        write_text(out / REAL, json.dumps({"key": real}) + "\n")


def _write_real(turns: Sequence[Turn], out: Path) -> None:
    """Write truth, what is given, structures and the table of cases; the same for all entries."""
    rows = ["case,patient"]
    for turn in {turn.fold: turn for turn in turns}.values():
        made = turn.data.made
        for case in cases(turn.data, turn.protocol.judging.slices):
            name = f"{case.name}.nii.gz"
            rows.append(f"{case.name},{case.patient}")
            if (own := image_name(turn.protocol, case.name)) != name:
                called = own.removesuffix(".nii.gz")
                rows.append(f"{called},{called}")
            write_volume(case.truth, made, case.spacing, out / TRUTH / name)
            write_structures(case.truth, turn.data, case.spacing, out / STRUCTURES / name)
            first = case.requests[0]
            shown = {what: [one.images[what][0] for one in case.requests] for what in first.images}
            if first.degradation:
                shown[f"{made}, degraded"] = [one.initial for one in case.requests]
            for what, slices in shown.items():
                place = out / GIVEN / what / name
                write_volume(np.stack(slices), what.partition(",")[0], case.spacing, place)
    write_text(out / TABLE, "\n".join(rows) + "\n")


def _run(
    protocol: LeagueProtocol,
    turns: Mapping[str, Sequence[Sequence[Turn]]],
    chosen: Sequence[str],
    progress: Progress,
) -> dict[str, str]:
    """Train and make images, fold by fold so that patients are read once; returns why entries
    failed.
    """
    failed: dict[str, str] = {}
    folds = len(turns[chosen[0]][0])
    todo = [
        turns[name][seed][fold]
        for fold in range(folds)
        for seed in range(len(protocol.seeds))
        for name in chosen
    ]
    for number, turn in enumerate(todo):
        progress(f"league: {turn.said}", number, len(todo))
        if turn.entry.name in failed:
            continue
        if why := _attempt(turn, progress):
            failed[turn.entry.name] = why
    progress("league: all trained", len(todo), len(todo))
    return failed


def _attempt(turn: Turn, progress: Progress) -> str:
    """Train one turn and make its images; returns why it failed, or nothing."""
    try:
        train(turn, progress)
        make(turn, progress)
    except (VeridicalError, OSError) as error:
        return str(error)
    except Exception as error:  # an error of ours in one entry must not lose the others
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"Unexpected {type(error).__name__} in {Path(frame.filename).name}, line "
            f"{frame.lineno}: {error}"
        )
    return ""


def _judged(
    protocol: LeagueProtocol,
    turns: Mapping[str, Sequence[Sequence[Turn]]],
    failed: Mapping[str, str],
    progress: Progress,
) -> tuple[dict[str, list[Judged]], dict[str, str]]:
    """Judge every entry that is complete, also those of earlier calls; returns what was said, and
    why others could not be judged.
    """
    found: dict[str, list[Judged]] = {}
    refused: dict[str, str] = {}
    for number, (name, seeds) in enumerate(turns.items()):
        progress(f"league: judging {name}", number, len(turns))
        made = all(
            stored(turn.training / MADE).get("key") == turn.key for each in seeds for turn in each
        )
        if name in failed or not made:
            continue
        try:
            found[name] = [judge(each, progress) for each in seeds]
        except VeridicalError as error:
            refused[name] = str(error)
    progress("league: judged", len(turns), len(turns))
    return found, refused


def _write(protocol: LeagueProtocol, found: Standings, out: Path) -> None:
    """Write the tables and the page."""
    said = {**found.to_dict(), "protocol": asdict(protocol), "versions": versions()}
    with replacing(out / FILES[0]) as temporary:
        temporary.write_bytes(canonical(said))
    write_text(out / FILES[1], league_tables.long_csv(found))
    write_text(out / FILES[2], league_tables.markdown(found))
    shown = exhibits(protocol, out, found.entries)
    text = canonical(asdict(protocol)).decode()
    paper.write(out / FILES[3], league_page.render(found, shown, text))
