"""Shared by all tests: one thread, no display, the real data where they are, and a small registered
task.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).parent))

import pytest

from veridical import registry

# A hundred processes import the package: what they compile is kept.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
gc.disable()  # until all tests are imported: what comes in stays

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("VERIDICAL_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DATA.is_dir():
        return
    skip = pytest.mark.skip(
        reason=f"no real data in {DATA}; set VERIDICAL_DATA to the folder that holds them"
    )
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and the tests, which are millions of objects."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; ask for it in tests marked `real`."""
    return DATA


@pytest.fixture
def jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the small tasks of `fakes.py` for the length of a test, as a third party would."""
    known = registry.entries
    names = {"jitter": "Jitter", "compose": "Compose", "change": "Change"}
    small = {
        name: registry.Registered("task", name, "A small task.", f"fakes:{made}")
        for name, made in names.items()
    }
    monkeypatch.setattr(
        registry, "entries", lambda kind: known(kind) | (small if kind == "task" else {})
    )
