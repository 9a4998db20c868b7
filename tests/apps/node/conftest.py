"""A node's folder, queue and settings for tests within one process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pacs import needs_postgres, postgres, write_toml
from veridical.apps.node.job_store import JobStore, open_store
from veridical.apps.node.landing import Land
from veridical.apps.node.settings import NodeSettings


@pytest.fixture(autouse=True)
def same_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo that a node in this process has its temporary files beside its objects."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)


@pytest.fixture
def land(tmp_path: Path) -> Land:
    """A prepared folder."""
    one = Land(tmp_path / "node")
    one.prepare()
    return one


@pytest.fixture
def store(land: Land) -> Iterator[JobStore]:
    """A queue of SQLite in it."""
    one = open_store("", land.queue)
    yield one
    one.close()


@pytest.fixture
def said(tmp_path: Path) -> Callable[..., NodeSettings]:
    """Read a node.toml with these tables and these values under [node]."""

    def read(text: str = "", **node: object) -> NodeSettings:
        return NodeSettings.read(write_toml(tmp_path, text, **node).file)

    return read


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The address of a running PostgreSQL."""
    with postgres() as address:
        yield address


STORES = [
    "sqlite",
    pytest.param("postgres", marks=[pytest.mark.peers, needs_postgres]),
]


@pytest.fixture(params=STORES)
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], JobStore]]:
    """Open connections to one empty queue, of each kind."""
    opened: list[JobStore] = []
    address = ""
    if request.param == "postgres":
        import psycopg

        address = request.getfixturevalue("database")
        with psycopg.connect(address, autocommit=True) as one:
            one.execute("DROP SCHEMA public CASCADE")
            one.execute("CREATE SCHEMA public")

    def more() -> JobStore:
        opened.append(open_store(address, tmp_path / "queue.sqlite"))
        return opened[-1]

    yield more
    for one in opened:
        one.close()
