"""A task that derives from another keeps its settings on the command line, though their types are words of another module."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from veridical import registry
from veridical.apps import run


@pytest.mark.parametrize("name", list(registry.entries("task")))
def test_the_type_of_every_setting_is_found(name: str) -> None:
    task = registry.get("task", name)
    run.command(task)
    assert get_type_hints(task.__init__)
