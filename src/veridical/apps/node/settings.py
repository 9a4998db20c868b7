"""The node's settings: `node.toml`, read strictly.

`[node]` says where it listens and keeps things, `[peer.NAME]` whom it sends to, `[[route]]` what is
done with which series.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veridical.apps.node.routes import Route
from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.settings import from_table
from veridical.task import explained

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
KINDS = ("dicom", "dicomweb", "fhir")
AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
"""PS3.5, table 6.2-1: 16 characters at most, no backslash, no control characters."""


@explained
@dataclass(frozen=True)
class Listening:
    """The `[node]` table."""

    folder: str = "node"
    """Folder for what was received, results, and the queue; relative to node.toml."""
    database: str = ""
    """Address of a PostgreSQL database for the queue, for instance postgresql://user@host/name;
    empty: a file of SQLite in the folder, for one machine.
    """
    ae_title: str = "VERIDICAL"
    """Its application entity title; callers must use it."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: int = 11112
    """Port of DICOM."""
    callers: tuple[str, ...] = ()
    """AE titles that may connect; empty: any."""
    certificate: str = ""
    """PEM file of its TLS certificate; empty: no TLS."""
    key: str = ""
    """PEM file of the key of that certificate."""
    authorities: str = ""
    """PEM file of the authorities that sign the certificates of callers and peers: then every
    caller must show one (mutual TLS).
    """
    monitor: int = 8043
    """Port of /health and /metrics, on 127.0.0.1 only; 0: none."""
    associations: int = 20
    """Callers at a time; more are refused and come again."""
    series_quiet: float = 60.0
    """Seconds without a new image after which a series counts as complete."""
    study_quiet: float = 900.0
    """The same of a study, for routes that take whole studies."""
    longest_wait: float = 5400.0
    """Seconds after which a series or study that never falls quiet is processed all the same."""
    workers: int = 1
    """Processes that run tasks."""
    memory: float = 8.0
    """GiB that a worker may take."""
    largest: float = 2.0
    """GiB that the decoded pixels of one object, or its inflated data set, may take."""
    free: float = 5.0
    """GiB of disk below which objects are refused as out of resources (0xA700)."""
    job_minutes: float = 120.0
    """Minutes after which a worker gives a task up."""
    retry: tuple[str, ...] = ("5x1m", "12x5m", "24x1h", "7x1d")
    """How often and after what time sending is tried again; then it is a dead letter."""

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.callers):
            checked_title(title)
        ladder(self.retry)
        if min(self.workers, self.associations) < 1 or self.memory <= 0 or self.largest <= 0:
            raise SettingError(
                f"workers = {self.workers}, associations = {self.associations}, memory = "
                f"{self.memory}, largest = {self.largest}; expected at least 1 of the first two, "
                "and more than 0 of the others."
            )
        if bool(self.certificate) != bool(self.key) or (self.authorities and not self.certificate):
            raise SettingError(
                "TLS needs both certificate and key; authorities comes on top of them. Give them "
                "under [node]."
            )


@explained
@dataclass(frozen=True)
class Peer:
    """A `[peer.NAME]` table: whom results are sent to, or told."""

    kind: str = "dicom"
    """dicom (C-STORE), dicomweb (STOW-RS) or fhir."""
    ae_title: str = ""
    """Of a DICOM peer."""
    host: str = ""
    """Of a DICOM peer."""
    port: int = 0
    """Of a DICOM peer."""
    tls: bool = False
    """Speak TLS with a DICOM peer, with the certificate of [node]."""
    url: str = ""
    """Address of a DICOMweb service or FHIR server."""
    token: str = ""
    """File whose one line is sent to a DICOMweb service as the Authorization header; empty: none.
    """
    version: str = "R5"
    """Of FHIR: R5 or R4B."""
    timeout: float = 30.0
    """Seconds without an answer after which it counts as dead for this try."""

    def checked(self, name: str) -> Peer:
        """Return the peer itself.

        Args:
            name: by which messages call it.

        Raises:
            SettingError: it cannot be called with what it says.
        """
        if self.kind not in KINDS:
            raise SettingError(f"[peer.{name}] kind = {self.kind!r}. {nearest(self.kind, KINDS)}")
        if self.kind == "dicom":
            if not self.host or not 0 < self.port < 65536:
                raise SettingError(
                    f"[peer.{name}] needs ae_title, host and port; got {self.ae_title!r}, "
                    f"{self.host!r}, {self.port}."
                )
            checked_title(self.ae_title)
        elif not self.url.startswith(("http://", "https://")):
            raise SettingError(f"[peer.{name}] needs a url, http or https; got {self.url!r}.")
        return self


@dataclass(frozen=True)
class NodeSettings:
    """All of a node.toml.

    Args:
        file: where it was read.
        node: the `[node]` table.
        peers: by name.
        routes: in their order.
    """

    file: Path
    node: Listening = field(default_factory=Listening)
    peers: Mapping[str, Peer] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> NodeSettings:
        """Read a node.toml.

        Raises:
            InputError: it is not there.
            FormatError: it is no TOML.
            SettingError: an unknown table, key, peer, task or check, or a value of another type.
        """
        file = Path(path).absolute()
        try:
            said = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}). Check the path."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path} is no TOML: {error}. Mend that line.") from error
        for key in said:
            if key not in ("node", "peer", "route"):
                raise SettingError(
                    f"{file.name} has no table {key!r}. {nearest(key, ('node', 'peer', 'route'))}"
                )
        node = from_table("[node]", Listening, _tables("node", said.get("node", {})))
        peers = {
            name: from_table(f"[peer.{name}]", Peer, _tables(f"peer.{name}", table)).checked(name)
            for name, table in _tables("peer", said.get("peer", {})).items()
        }
        routes = said.get("route", [])
        if not isinstance(routes, list):
            raise SettingError(f"{file.name}: write each route under [[route]], two brackets.")
        found = tuple(Route.of(table, peers) for table in routes)
        names = [route.name for route in found]
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"{file.name} has two routes called {name!r}. Name each once.")
        return cls(file, node, peers, found)

    def folder(self) -> Path:
        """Return the folder of the node."""
        return self.file.parent / self.node.folder

    def beside(self, path: str) -> Path:
        """Return a path that is relative to node.toml."""
        return self.file.parent / path

    def route(self, name: str) -> Route:
        """Return a route by its name.

        Raises:
            SettingError: there is none.
        """
        for route in self.routes:
            if route.name == name:
                return route
        known = [route.name for route in self.routes]
        raise SettingError(f"{self.file.name} has no route {name!r}. {nearest(name, known)}")


def _tables(name: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise SettingError(f"{name} is {values!r}; expected a table: [{name}].")
    return values


def checked_title(title: str) -> str:
    """Return an AE title.

    Raises:
        SettingError: DICOM does not allow it.
    """
    if not AE_TITLE.fullmatch(title) or not title.strip():
        raise SettingError(
            f"{title!r} is no AE title; expected 1 to 16 characters of ASCII without a backslash."
        )
    return title


def ladder(steps: tuple[str, ...]) -> tuple[float, ...]:
    """Return the waits before each new try in seconds: `2x1m` is (60, 60).

    Raises:
        SettingError: a step is not COUNTxTIME with s, m, h or d.
    """
    waits: list[float] = []
    for step in steps:
        found = re.fullmatch(r"(\d{1,3})x(\d{1,4})([smhd])", step)
        if not found:
            raise SettingError(
                f"retry has {step!r}; expected how often x after what time: '5x1m', '24x1h'."
            )
        waits += [float(found[2]) * UNITS[found[3]]] * int(found[1])
    return tuple(waits)
