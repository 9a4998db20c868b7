"""Files that a browser sends: names that stay inside their folder, sizes with a limit, archives
that do not unfold into more than was agreed.
"""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

from veridical.errors import BudgetError, FormatError, InputError

MOST_BYTES = 8 * 2**30
"""Of all files of one case, unpacked."""
MOST_FILES = 20_000
"""In one case."""
LONGEST = 200
"""Characters of a name."""
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f<>:\"|?*\\]")
BLOCK = 2**20


def inside(folder: Path, name: str) -> Path:
    """Return where a file that calls itself `name` lies below a folder.

    Raises:
        InputError: the name leads out of it, or cannot be a file name.
    """
    parts = PurePosixPath(name).parts
    bad = (
        not parts
        or name.startswith("/")
        or len(name) > 4 * LONGEST
        or any(part in ("..", ".") or len(part.encode()) > LONGEST for part in parts)
        or FORBIDDEN.search(name) is not None
        or any(part != part.strip() or part.endswith(".") for part in parts)
    )
    if bad:
        shown = "".join(c if c.isalnum() or c in "._-/ " else "?" for c in name[:60])
        raise InputError(
            f"A file calls itself {shown!r}; expected a name with letters, digits, '.', '_' and "
            "'-' that stays inside its folder. Rename it."
        )
    return folder.joinpath(*parts)


def unpacked(path: Path, folder: Path) -> Path:
    """Return the folder of what a zip archive holds; other files and folders as they are.

    Raises:
        FormatError: the archive is damaged or locked.
        InputError: a name in it leads out.
        BudgetError: it holds more than is agreed.
    """
    if not path.is_file() or path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir() and not _noise(one)]
            _count(path, entries)
            for entry in entries:
                _unpack(archive, entry, inside(folder, entry.filename.lstrip("/")), path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise FormatError(
            f"{path.name} cannot be unpacked ({type(error).__name__}); expected a zip archive "
            "without a password. Pack it again."
        ) from error
    held = list(folder.iterdir()) if folder.is_dir() else []
    if not held:
        raise FormatError(f"{path.name} holds no file. Pack it again.")
    return held[0] if len(held) == 1 else folder


def _noise(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1] == ".DS_Store"


def _count(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    size = sum(entry.file_size for entry in entries)
    if size > MOST_BYTES or len(entries) > MOST_FILES:
        raise BudgetError(
            f"{path.name} holds {len(entries)} files of {size / 2**30:.1f} GiB; expected at most "
            f"{MOST_FILES} and {MOST_BYTES / 2**30:.0f} GiB. Pack fewer series."
        )
    if any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise FormatError(f"{path.name} holds symbolic links; expected files. Pack it again.")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, to: Path, path: Path) -> None:
    """Write one file, no more than the archive said it holds."""
    to.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, to.open("wb") as target:
        while block := source.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise FormatError(f"{path.name} holds more than it says. Pack it again.")
            target.write(block)
