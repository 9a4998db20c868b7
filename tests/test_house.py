"""The rules of the house, read from the syntax tree: layers, sizes, what may not be imported, and
how fast the door opens.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from veridical import registry

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "veridical"
FILES = sorted(SOURCE.rglob("*.py"))

LAYERS = {
    "": 0,
    "io": 1,
    "nets": 1,
    "physics": 1,
    "conditioning": 1,
    "language": 1,
    "preprocessing": 1,
    "generative": 2,
    "governance": 2,
    "layouts": 3,
    "phantoms": 3,
    "metrics": 3,
    "features": 3,
    "models": 4,
    "audit": 4,
    "tasks": 5,
    "training": 6,
    "evaluation": 6,
    "report": 7,
    "workflow": 8,
    "testing": 8,
    "apps": 9,
    "doors": 10,
}
SIDEWAYS = {
    ("io", "physics"): "a raw-data file is read into a CartesianScan",
    ("io", "preprocessing"): "images that are not aligned are registered as they are read",
    ("audit", "models"): "self-calibration solves the scan again without some of its samples",
}
"""Imports between two folders of one layer that are allowed, and why."""
NETWORK = {
    "socket",
    "http",
    "urllib.request",
    "requests",
    "httpx",
    "aiohttp",
    "ftplib",
    "smtplib",
    "xmlrpc",
    "huggingface_hub",
}
UNSAFE = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
LONGEST_FILE, LONGEST_FUNCTION, MOST_ARGUMENTS = 520, 90, 9


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All that is in a file; every law looks at it, so it is walked once."""
    return tuple(ast.walk(tree(path)))


@cache
def names(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in it."""
    return tuple(imported(*nodes(path)))


def spelled(node: ast.AST) -> str:
    """A name as it is written, `torch.load`; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return f"{spelled(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def folder(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(*found: ast.AST) -> Iterator[str]:
    """Every absolute module name that these nodes import, names of `from` imports included."""
    for child in found:
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


def at_module_level(module: ast.Module) -> Iterator[str]:
    """What runs at import: outside functions and outside `if TYPE_CHECKING`."""
    for node in module.body:
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from imported(*ast.walk(node))


def within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def home(name: str) -> str | None:
    """The folder of ours that an imported name lives in; None for other packages, '' for layer
    0.
    """
    first, *rest = name.split(".")
    if first != "veridical":
        return None
    return rest[0] if rest and (SOURCE / rest[0]).is_dir() else ""


def test_every_folder_has_a_layer() -> None:
    found = {folder(path) for path in FILES}
    assert found <= set(LAYERS), f"give these folders a layer: {found - set(LAYERS)}"
    deepest = {"apps": 3}  # an app of many files, such as the node, has a folder of its own
    for parts in (path.relative_to(SOURCE).parts for path in FILES):
        assert len(parts) <= deepest.get(parts[0], 2), f"at most two levels: {parts}"


def test_imports_go_down_only() -> None:
    wrong = []
    for path in FILES:
        here = folder(path)
        for name in names(path):
            there = home(name)
            if there is None or there == here or (here, there) in SIDEWAYS:
                continue
            if not LAYERS[there] < LAYERS[here]:
                layers = f"layer {LAYERS[here]} -> {LAYERS[there]}"
                wrong.append(f"{path.relative_to(ROOT)} imports {name}: {layers}")
    assert not wrong


def classes(path: Path) -> Iterator[str]:
    """The public classes of a file."""
    yield from (
        node.name
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )


def test_no_two_public_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for name in classes(path):
            homes.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    assert not {name: found for name, found in homes.items() if len(found) > 1}


def test_nobody_outside_of_nets_asks_which_backbone_a_network_has() -> None:
    backbones = {registry.get("backbone", name).__name__ for name in registry.entries("backbone")}
    assert backbones
    for path in (path for path in FILES if folder(path) != "nets"):
        for call in (node for node in nodes(path) if isinstance(node, ast.Call)):
            if spelled(call.func) in {"isinstance", "issubclass"}:
                asked = {part.id for part in ast.walk(call.args[1]) if isinstance(part, ast.Name)}
                assert not asked & backbones, (
                    f"{path.relative_to(SOURCE)}, line {call.lineno}: {asked & backbones}"
                )


def test_nets_and_samplers_never_see_files_and_tasks_never_import_io() -> None:
    for path in FILES:
        if folder(path) in {"nets", "generative", "tasks"}:
            assert not [name for name in names(path) if home(name) == "io"], path


def test_nothing_is_unpickled_and_nothing_goes_online() -> None:
    wrong = []
    for path in FILES:
        banned = UNSAFE if folder(path) == "apps" else UNSAFE | NETWORK
        wrong += [f"{path.relative_to(SOURCE)}: {n}" for n in names(path) if within(n, banned)]
        for call in (node for node in nodes(path) if isinstance(node, ast.Call)):
            where = f"{path.relative_to(SOURCE)}, line {call.lineno}"
            if (called := spelled(call.func)) in {"torch.load", "torch.save", "eval", "exec"}:
                wrong.append(f"{where}: {called}")
            for keyword in call.keywords:
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    wrong.append(f"{where}: allow_pickle")
    assert not wrong


def test_files_and_functions_fit_in_a_head() -> None:
    wrong = []
    for path in FILES:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGEST_FILE:
            wrong.append(f"{path.relative_to(SOURCE)}: {lines} lines")
        wrong += [
            f"{path.relative_to(SOURCE)}, {fault}"
            for node in nodes(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for fault in too_much(node)
        ]
    assert not wrong


def too_much(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """What of a function is too long; one that is compiled takes arrays, not settings."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > LONGEST_FUNCTION:
        yield f"{node.name}: {length} lines"
    parts = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    given = [part for part in parts if part.arg not in ("self", "cls")]
    compiled = any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)
    if len(given) > MOST_ARGUMENTS and not compiled:
        yield f"{node.name}: {len(given)} arguments"


def test_doors_import_nothing_slow() -> None:
    slow = {
        "torch",
        "numpy",
        "scipy",
        "numba",
        "monai",
        "nibabel",
        "pydicom",
        "matplotlib",
        "skimage",
        "nilearn",
        "h5py",
        "rich",
    }
    heavy = {f"veridical.{name}" for name, layer in LAYERS.items() if name not in ("", "apps")}
    doors = [path for path in FILES if folder(path) == "apps"]
    assert doors
    wrong = [
        f"{path.relative_to(SOURCE)}: {name}"
        for path in doors
        for name in at_module_level(tree(path))
        if within(name, slow | heavy)
    ]
    assert not wrong


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_importing_the_package_its_doors_and_its_tasks_loads_no_torch() -> None:
    code = (
        "import sys, veridical, veridical.apps.cli, veridical.apps.run; from veridical import "
        "registry;"
        "[entry.load() for entry in registry.entries('task').values()];"
        "print([m for m in ('torch', 'scipy', 'nibabel', 'matplotlib', 'monai') if m in "
        "sys.modules])"
    )
    assert python(code).strip() == "[]"


@pytest.mark.parametrize(
    ("words", "limit"),
    [(["-c", "import veridical"], 0.1), (["-m", "veridical.apps.cli", "--help"], 0.25)],
    ids=["import", "help"],
)
def test_the_package_and_its_help_are_there_at_once(words: list[str], limit: float) -> None:
    """In processor time, which does not depend on what else the machine is doing."""
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, *words], check=True, capture_output=True, timeout=60)
        after = os.times()
        seconds.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(seconds) < limit, f"best of three: {min(seconds):.2f} s"


def test_nothing_in_the_sources_names_a_place_on_somebodys_machine() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not [
            mark for mark in ("/home/", "/Users/", "/work/", "/tmp/", "C:\\") if mark in text
        ], path
