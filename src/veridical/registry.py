"""What Veridical knows: tasks, models, metrics, extractors, audits, operators, readers, data sets,
layouts; one file each.

A file is an entry of its folder when it defines a public class or function that has the file's
name: `tasks/enhance.py` defines `Enhance`, `metrics/psnr.py` defines `psnr`,
`physics/parallel_beam.py` defines `ParallelBeam`; a task or a model is a class that derives from
one. Listing reads the syntax tree only, so that it is fast and imports nothing. Third parties add
entries through the entry-point groups `veridical.task`, `veridical.model` and so on, with the
object as value.
"""

from __future__ import annotations

import ast
import importlib
import threading
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from veridical.errors import SettingError, nearest

FOLDERS = {
    "task": "tasks",
    "model": "models",
    "family": "generative",
    "backbone": "nets",
    "condition": "conditioning",
    "metric": "metrics",
    "extractor": "features",
    "audit": "audit",
    "operator": "physics",
    "degradation": "physics",
    "training-data": "training",
    "reader": "io",
    "phantom": "phantoms",
    "layout": "layouts",
}
BASES = {
    "family": "Family",
    "backbone": "Backbone",
    "condition": "Condition",
    "degradation": "Degradation",
    "training-data": "TrainingData",
}
"""Kinds whose entries derive from a base of this name."""


_PARSING = threading.Lock()


@dataclass(frozen=True)
class Registered:
    """One thing the registry knows. `target` is `module:attribute`."""

    kind: str
    name: str
    summary: str
    target: str

    def load(self) -> Any:
        """Import the module and return the class or function."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def syntax_tree(text: str) -> ast.Module:
    """Parse source text, one at a time: threads that parse together make CPython 3.11 raise a
    SystemError (https://github.com/python/cpython/issues/106905).
    """
    with _PARSING:
        return ast.parse(text)


def _attribute(kind: str, stem: str, tree: ast.Module) -> str | None:
    """Return what in a file has its name: of audits a function of `(study, result)`, of readers a
    function, of tasks, models, layouts and operators a class that derives from one and is not
    abstract, and of models only one that has a `name`.
    """
    wanted = stem.replace("_", "")
    for node in tree.body:
        if (
            isinstance(node, ast.ClassDef | ast.FunctionDef)
            and node.name.replace("_", "").lower() == wanted
        ):
            if kind == "audit":
                takes = (
                    [argument.arg for argument in node.args.args]
                    if isinstance(node, ast.FunctionDef)
                    else []
                )
                return node.name if takes == ["study", "result"] else None
            if kind == "reader":
                recognises = any(getattr(other, "name", "") == "recognises" for other in tree.body)
                return node.name if isinstance(node, ast.FunctionDef) and recognises else None
            if kind not in ("task", "model", "layout", "operator", *BASES):
                return node.name
            bases = (
                [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
            )
            if kind in BASES:
                return node.name if BASES[kind] in bases and "ABC" not in bases else None
            stated = {
                ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)
            }
            concrete = (
                bool(bases)
                and "ABC" not in bases
                and (kind != "operator" or BASES["degradation"] not in bases)
            )
            return node.name if concrete and (kind != "model" or "name" in stated) else None
    return None


@cache
def entries(kind: str) -> dict[str, Registered]:
    """Return all entries of a kind by name (`intensity-map` for `intensity_map.py`)."""
    if kind not in FOLDERS:
        raise SettingError(f"Nothing of kind {kind!r} is registered. {nearest(kind, FOLDERS)}")
    found: dict[str, Registered] = {}
    folder = Path(__file__).parent / FOLDERS[kind]
    for path in sorted(folder.glob("[a-z]*.py")):
        tree = syntax_tree(path.read_text(encoding="utf-8"))
        attribute = _attribute(kind, path.stem, tree)
        if attribute is None:
            continue
        name = path.stem.replace("_", "-")
        summary = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
        found[name] = Registered(
            kind, name, summary, f"veridical.{FOLDERS[kind]}.{path.stem}:{attribute}"
        )
    for point in metadata.entry_points(group=f"veridical.{kind}"):
        if point.name in found:
            raise SettingError(
                f"Two {kind} entries are called {point.name!r}: one of ours and {point.value}. "
                "Rename that one."
            )
        found[point.name] = Registered(kind, point.name, f"from {point.value}", point.value)
    return found


def get(kind: str, name: str) -> Any:
    """Return the registered class or function called `name`, or refuse with the nearest known
    name.
    """
    known = entries(kind)
    if name not in known:
        raise SettingError(f"No {kind} is called {name!r}. {nearest(name, known)}")
    return known[name].load()
