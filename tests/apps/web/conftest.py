"""Applications over a folder of the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from veridical.terms import Terms
from web_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Site]:
    """Make an application over a folder of this test, on some terms."""

    def made(**terms: Path) -> Site:
        return Site(tmp_path / "bench", Terms(**terms))

    return made
