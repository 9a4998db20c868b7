"""Measured cases on disk while an evaluation runs, so that one that was interrupted goes on where
it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from veridical import __version__
from veridical.evaluation.cases import Case
from veridical.evaluation.measure import Measured, Rules
from veridical.evaluation.results import CaseRow
from veridical.evaluation.sources import Source
from veridical.io.guards import replacing

KINDS = ("features", "curves", "detections", "patches")
"""Fields of `Measured` that hold arrays by two names."""


def key(case: Case, rules: Rules, extra: str = "") -> str:
    """Return what a stored case depends on: every file's bytes, the rules, and the version.

    Args:
        case: the case.
        rules: of the evaluation.
        extra: what else the numbers depend on, e.g. the hash of a trained segmenter.
    """
    sources: list[tuple[str, str]] = []
    for role, found in {
        "candidate": case.candidate,
        "reference": case.reference,
        **case.roles,
    }.items():
        for source in found if isinstance(found, tuple) else (found,):
            if isinstance(source, Source):
                sources.append((role, source.sha256()))
    said = [
        __version__,
        case.name,
        case.patient,
        sources,
        rules.protocol.to_dict(),
        rules.extractors,
        dict(rules.names),
        extra,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def save(measured: Measured, folder: Path, name: str) -> None:
    """Write one measured case as `name.npz`; it appears whole or not at all."""
    arrays: dict[str, Any] = {
        "row": np.frombuffer(json.dumps(dataclasses.asdict(measured.row)).encode(), dtype=np.uint8)
    }
    for kind in KINDS:
        for outer, inner in getattr(measured, kind).items():
            arrays |= {f"{kind}|{outer}|{side}": values for side, values in inner.items()}
    if measured.ranks is not None:
        arrays["ranks"] = measured.ranks
    with replacing(folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load(folder: Path, name: str) -> Measured | None:
    """Read a measured case back, or return None when it is not there or damaged."""
    path = folder / f"{name}.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        said = json.loads(arrays.pop("row").tobytes())
    except (OSError, ValueError, KeyError):
        return None
    said["labelled"] = {name: tuple(pair) for name, pair in said["labelled"].items()}
    nested: dict[str, dict[str, dict[str, np.ndarray]]] = {kind: {} for kind in KINDS}
    for label, values in arrays.items():
        if "|" in label:
            kind, outer, side = label.split("|")
            nested[kind].setdefault(outer, {})[side] = values
    return Measured(CaseRow(**said), ranks=arrays.get("ranks"), **nested)
