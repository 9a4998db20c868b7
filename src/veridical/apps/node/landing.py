"""Files that survive: temporary name, flush, rename, flush of the folder; and a sweep at the start.

A file has its final name only when all of its bytes are on disk. A file that no row of the queue
names was never acknowledged, so the sweep may remove it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from veridical.errors import InputError, SettingError

GIB = 2**30
UID = re.compile(r"\d+(\.\d+)*")
"""PS3.5, 9.1, except that leading zeros are let pass: scanners send them."""
STALE = 600.0
"""Seconds without a byte after which nobody goes on receiving; associations end after 60."""
FANNED = [f"{number:02x}" for number in range(256)]
"""Names of the folders that objects are spread over."""


class Land:
    """The folder of a node.

    `arriving` holds what is being received, `objects` what was, `work` what workers are at,
    `results` what they made.

    Args:
        folder: where; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arriving, self.objects = folder / "arriving", folder / "objects"
        self.work, self.results = folder / "work", folder / "results"
        self.queue = folder / "queue.sqlite"

    def prepare(self) -> None:
        """Make the folders that are missing, for nobody but this user."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for one in (self.arriving, self.objects, self.work, self.results):
                one.mkdir(exist_ok=True, mode=0o700)
            for name in FANNED:
                (self.objects / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise SettingError(
                f"The folder {self.folder} cannot be made ({error.strerror}). Name another one "
                "under [node]."
            ) from error
        for one in (self.objects, self.folder):
            flush(one)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other node out of the folder; the lock goes with the process that holds it.

        Raises:
            InputError: a node serves from it already.
        """
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"A node is serving from {self.folder} already. Stop it, or give this one a "
                    "folder of its own."
                ) from error
            yield

    def free(self) -> float:
        """Return the free disk space in GiB."""
        return shutil.disk_usage(self.folder).free / GIB

    def arriving_file(self) -> Arriving:
        """Return a file for an object that begins to come in."""
        return Arriving(self.arriving)

    def place(self, sop: str, sha256: str) -> Path:
        """Return where an object lies. Nothing that a caller sent becomes part of a name."""
        name = hashlib.sha256(f"{sop}/{sha256}".encode()).hexdigest()
        return self.objects / name[:2] / f"{name[2:42]}.dcm"

    def relative(self, path: Path) -> str:
        """Return a path as rows hold it."""
        return path.relative_to(self.folder).as_posix()

    def tidy(self) -> None:
        """Remove what nobody goes on receiving: associations that broke off leave such files."""
        for file in self.arriving.iterdir():
            with suppress(OSError):  # it may have arrived just now
                if time.time() - file.stat().st_mtime > STALE:
                    file.unlink()

    def sweep(self, named: Iterable[str]) -> int:
        """Remove what an earlier process left unfinished, before anything is received.

        Args:
            named: the paths in the rows of the queue.

        Returns:
            How many files were removed.
        """
        kept, removed = set(named), 0
        for folder in (self.arriving, self.work):
            for one in folder.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
                removed += 1
        for file in self.objects.glob("*/*"):
            if self.relative(file) not in kept:
                file.unlink()
                removed += 1
        return removed


class Arriving:
    """A file that comes in piece by piece, hashed on its way. A write that fails is remembered: the
    rest of the object is let pass, so that its sender can be answered.

    Args:
        folder: for files that are not whole.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{secrets.token_hex(16)}.dcm"
        self.failed, self._hash = False, hashlib.sha256()
        self._file: Any = None

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes."""
        if self.failed:
            return
        try:
            if self._file is None:
                self._file = self.path.open("xb")
            self._file.write(piece)
            self._hash.update(piece)
        except (OSError, ValueError):  # the disk is full, or it was dropped meanwhile
            self.failed = True

    def whole(self) -> str:
        """Close the file, and return its SHA-256.

        Raises:
            OSError: not all of it could be written.
        """
        if self._file is not None:
            self._file.close()
        if self.failed:
            raise OSError(f"{self.path.name} could not be written")
        return self._hash.hexdigest()

    def drop(self) -> None:
        """Close and remove the file where it still is."""
        self.failed = True
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        drop(self.path)


def settle(temporary: Path, final: Path) -> None:
    """Give a finished file or folder its name so that it has it after a power cut too.

    Raises:
        OSError: the disk is full or broken; nothing has the name then.
    """
    flush(temporary)
    temporary.rename(final)
    flush(final.parent)


def settle_folder(temporary: Path, final: Path) -> bool:
    """Do so with a folder of files; False, and it is removed, where another one has the name."""
    for file in temporary.rglob("*"):
        flush(file)
    try:
        settle(temporary, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(temporary)
        return False
    return True


def flush(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def valid_uid(uid: Any) -> bool:
    """Say whether this may be a UID: numbers between dots, at most 64 characters."""
    return len(text := str(uid)) <= 64 and UID.fullmatch(text) is not None


def drop(path: Path) -> None:
    """Remove a file that may be gone already."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
