"""What the MCP server tells without running a job: what is installed, which files there are, what a
stored result says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from veridical import registry, task
from veridical.apps.fence import Fence
from veridical.errors import InputError

LISTED = 500
"""Entries of a folder that are listed at most."""
JUDGES = {"audit": "audit:Audit", "evaluate": "evaluate:Evaluate"}
MAKING = ("n", "mask")
"""Options of tasks that take nothing: how many, from which label map."""
RESEARCH = "Research only, not for diagnosis."
TAKES = {
    "image": "one image; of several in a file, each by itself",
    "visit": "all images of a visit together",
    "raw": "raw data",
    "study": "all visits of a patient",
    "sequence": "a reference sequence and, in another file, a few measurements of each frame",
    "nothing": "nothing: it makes patients",
}


def settings_class(name: str) -> Any:
    """Return the class whose fields are the settings of a task, of `audit` or of `evaluate`."""
    if name in JUDGES:
        from importlib import import_module

        module, _, attribute = JUDGES[name].partition(":")
        return getattr(import_module(f"veridical.workflow.{module}"), attribute)
    return registry.get("task", name)


def reading_options(name: str) -> dict[str, str]:
    """Return the options that say how to read the input of a task, or how much it makes of none,
    each with what it does.
    """
    from veridical.apps.create import Creating
    from veridical.apps.run import Reading

    if settings_class(name).takes != "nothing":
        return task.setting_docs(Reading)
    return {key: text for key, text in task.setting_docs(Creating).items() if key in MAKING}


def described(name: str) -> dict[str, Any]:
    """Return what a task does and takes, its settings as JSON Schema, and how to read its input."""
    cls = settings_class(name)
    if name in JUDGES:
        docs = {key: " ".join(text.split()) for key, text in task.setting_docs(cls).items()}
        return {"name": name, "settings": docs}
    made = {"settings": task.form(cls), "takes": TAKES[cls.takes], "mark": RESEARCH}
    options = {key: " ".join(text.split()) for key, text in reading_options(name).items()}
    return {"name": name, **made, "reading": options}


def listed(fence: Fence, folder: str) -> dict[str, Any]:
    """Return the entries of a folder with their sizes in bytes; results are named as such."""
    from veridical.io.bids import PROVENANCE

    if not folder:
        return {"folders": list(fence.folders)}
    place = fence.existing(folder)
    if not place.is_dir():
        raise InputError(f"{folder} is a file of {place.stat().st_size} bytes; expected a folder.")
    entries = sorted(place.iterdir())
    kinds = {
        one.name: "result" if (one / PROVENANCE).is_file() else "folder" if one.is_dir() else "file"
        for one in entries[:LISTED]
    }
    return {
        "folder": fence.shown(place),
        "entries": [
            {"name": one.name, "kind": kinds[one.name]}
            | ({"bytes": one.stat().st_size} if kinds[one.name] == "file" else {})
            for one in entries[:LISTED]
        ],
        "more": max(0, len(entries) - LISTED),
    }


def read_findings(fence: Fence, result: str) -> dict[str, Any]:
    """Return what a stored result says of itself."""
    from veridical.apps.show import plain
    from veridical.io.bids import load_provenance
    from veridical.types import worst

    record = load_provenance(fence.existing(result))
    found = {
        "worst": worst(record.findings),
        "findings": [asdict(one) for one in record.findings],
        "kind": record.kind,
        "image": record.image,
        "interval": record.interval,
        "absent": record.absent,
        "steps": [
            {"task": one.task, "model": one.model, "weights": one.weights, "seed": one.seed}
            for one in record.steps
        ],
        "policy": record.policy,
        "mark": RESEARCH,
    }
    return dict(plain(found))


def read_provenance(fence: Fence, result: str) -> str:
    """Return the text of a result's `provenance.json`."""
    from veridical.io.bids import PROVENANCE, load_provenance

    place = fence.existing(result)
    load_provenance(place)
    return (place / PROVENANCE if place.is_dir() else place).read_text(encoding="utf-8")


def inputs_inside(fence: Fence, place: Path) -> None:
    """Refuse a stored result whose provenance names an input outside of the named folders, since an
    audit would read it.

    Raises:
        InputError: it does.
    """
    from veridical.io.bids import PROVENANCE, load_provenance

    if not (place / PROVENANCE).is_file() and place.name != PROVENANCE:
        return
    for step in load_provenance(place).steps:
        for text in _texts(step.source):
            if "/" in text or "\\" in text:
                fence.path(text)


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def drawn(fence: Fence, result: str) -> bytes:
    """Return a PNG of a stored result: estimate, width of the interval, evidence."""
    import numpy as np

    from veridical.io.stored_results import stored_result
    from veridical.types import Image

    found = stored_result(fence.existing(result))
    image, name = found.image, found.image.channels[0]
    rows = [(image.data[:1], image.units_of(name), f"{name}, research only")]
    if found.interval is not None:
        width = np.abs(found.interval.upper[:1] - found.interval.lower[:1])
        rows.append((width, image.units_of(name), "width of the interval"))
    if found.evidence is not None and found.evidence.map is not None:
        rows.append((found.evidence.map[:1], "1", "evidence, 1 measured, 0 imagined"))
    shown = Image.stack([Image(data, image.geometry, u, (said,)) for data, u, said in rows])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.png"
        shown.show(file)
        return file.read_bytes()


def with_names(said: dict[str, Any], fence: Fence) -> dict[str, Any]:
    """Return what a command printed with paths as the agent names them."""

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(one) for key, one in value.items()}
        if isinstance(value, list):
            return [named(one) for one in value]
        if isinstance(value, str) and value.startswith("/") and fence.holds(Path(value)):
            return fence.shown(Path(value))
        return value

    made: dict[str, Any] = named(said)
    return made | {"mark": RESEARCH}


def defaults(name: str) -> dict[str, Any]:
    """Return the settings of a task, of `audit` or of `evaluate` with their defaults."""
    return {field.name: field.default for field in fields(settings_class(name))}


def reading_defaults(name: str) -> dict[str, Any]:
    """Return the options of `reading_options` with their defaults."""
    from veridical.apps.create import Creating
    from veridical.apps.run import Reading

    asked = reading_options(name)
    every = (*fields(Reading), *fields(Creating))
    return {field.name: field.default for field in every if field.name in asked}
