"""What every reader and writer needs: does the file exist, does it fit the budget, are its numbers
finite; atomic writes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from veridical.errors import BudgetError, FormatError, InputError
from veridical.types import Array

BUDGET = 4 * 2**30
"""Bytes that one read may hold in memory unless told otherwise."""


def existing(path: str | Path) -> Path:
    """Return `path` as a Path to a non-empty file.

    Raises:
        InputError: there is no such file, or it is a folder.
        FormatError: the file is empty.
    """
    found = Path(path)
    named_target(found)
    if not found.exists():
        raise InputError(f"{found} does not exist; expected a file. Check the path.")
    if not found.is_file():
        raise InputError(
            f"{found} is not a file; expected one. Only a DICOM series is read from a folder."
        )
    if found.stat().st_size == 0:
        raise FormatError(f"{found} is empty (0 bytes). Copy or export it again.")
    return found


def named_target(path: Path) -> None:
    """Raise an InputError when `path` is a symbolic link to something that is not there."""
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"{path} is a symbolic link to {path.readlink()}, which is not there; expected a file. "
            "Fetch it, for instance "
            "with: datalad get. Or mend the link."
        )


def within(need: int, budget: int, path: Path) -> None:
    """Raise a BudgetError when reading `path` needs more than `budget` bytes of memory."""
    if need > budget:
        raise BudgetError(
            f"{path} needs {_size(need)} of memory when read; the budget is {_size(budget)}. "
            f"If the file is what you think it is, raise the budget: --budget {need} (bytes)."
        )


def finite(array: Array, path: Path) -> None:
    """Raise a FormatError when `array` holds NaN or infinities. Integers always pass."""
    if array.dtype.kind not in "fc":
        return
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise FormatError(
            f"{path} holds {bad} values of {array.size} that are NaN or infinite; expected finite "
            "numbers only. "
            "Find out what wrote them; if they mark what is outside the image, say so with a mask "
            "and write a number there."
        )


def start_of(path: Path, count: int = 512) -> bytes:
    """Return the first bytes of a file; none when it is a folder or is not there."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(count)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the name `path` when the block ends well and
    vanishes when not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        permit(temporary, 0o666)
        move(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def move(file: Path, to: Path) -> None:
    """Give a finished file its name, in place of what has it; where a drive refuses to rename, its
    bytes are copied.

    Raises:
        OSError: neither is possible; `to` may then hold a part.
    """
    try:
        file.replace(to)
    except OSError:  # network and cloud drives refuse what POSIX allows; a copy is not atomic, but the work is not lost  # noqa: E501
        shutil.copyfile(file, to)
        with suppress(OSError):
            file.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def permit(path: Path, mode: int) -> None:
    """Give a file or folder that was made private the permissions that the user's umask leaves of
    `mode`.

    Drives without permissions (SMB, S3, FUSE) refuse that; the file is whole all the same, and has
    those of the drive.
    """
    mask = os.umask(0)
    os.umask(mask)
    with suppress(OSError):
        path.chmod(mode & ~mask)


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**28 else f"{count / 2**20:.3g} MiB"
