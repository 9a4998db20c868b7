"""What lies in a folder, once: names and sizes of all files, and which of them hold images or raw data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from veridical.errors import BudgetError, InputError
from veridical.io.guards import start_of

DATA = frozenset(
    {".nii", ".mha", ".mhd", ".img", ".npy", ".npz", ".h5", ".hdf5", ".mrd", ".mat", ".dcm", ".ima", ".dicom", ".cfl"}
)
"""Suffixes of files that hold images or raw data."""
SPLIT = re.compile(
    r"(?:^|[_\-. ])(?:(?P<word>train|val|test)(?:ing|idation|id)?(?:[_-]?(?:data|set|batch))?(?=$|[_\-. \d])"
    r"|(?:images|labels)(?P<short>Tr|Ts)$)",
    re.I,
)
"""A folder of one split: `training`, `multicoil_val`, `ValidationData`, `imagesTs`."""
MOST = 5_000_000


@dataclass(frozen=True, eq=False)
class Listing:
    """The files below a folder.

    Args:
        root: the folder.
        files: path below it, with `/` -> bytes, in the order of names; -1 for a link that leads nowhere.
    """

    root: Path
    files: Mapping[str, int]

    @classmethod
    def of(cls, path: str | Path) -> Listing:
        """List a folder, hidden files left out and linked folders not followed; or one file alone.

        Raises:
            InputError: there is no such path, or it holds no file.
            BudgetError: more files than can be listed.
        """
        root = Path(path)
        if root.is_file():
            return cls(root.parent, {root.name: root.stat().st_size})
        if not root.is_dir():
            raise InputError(f"{root} does not exist; expected a folder or a file of a data set. Check the path.")
        files: dict[str, int] = {}
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
            here = Path(folder).relative_to(root)
            for name in names:
                if not name.startswith("."):
                    files[(here / name).as_posix()] = _size(Path(folder, name))
            if len(files) > MOST:
                raise BudgetError(f"{root} holds more than {MOST} files. Give a part of it, e.g. one split.")
        if not files:
            raise InputError(f"{root} is empty; expected the files of a data set. Check the path.")
        return cls(root, dict(sorted(files.items())))

    @cached_property
    def data(self) -> tuple[str, ...]:
        """Paths of images and raw data, by suffix, or for names without one by the mark of DICOM."""
        return tuple(name for name in self.files if self._holds_data(name))

    @cached_property
    def folders(self) -> Mapping[str, tuple[str, ...]]:
        """Folder (`.` for the top) -> its own data files."""
        found: dict[str, list[str]] = {}
        for name in self.data:
            found.setdefault(name.rpartition("/")[0] or ".", []).append(name)
        return {folder: tuple(names) for folder, names in found.items()}

    @cached_property
    def children(self) -> tuple[str, ...]:
        """Folders at the top that hold data somewhere, or tables where nothing else is."""
        return tuple(dict.fromkeys(name.split("/")[0] for name in self.files if "/" in name))

    def below(self, child: str) -> Listing:
        """Return the listing of one folder at the top."""
        start = f"{child}/"
        return Listing(self.root / child, {k.removeprefix(start): v for k, v in self.files.items() if k.startswith(start)})

    def named(self, pattern: str) -> tuple[str, ...]:
        """Return the paths of files, whatever their kind, that a regular expression finds, capitals ignored."""
        wanted = re.compile(pattern, re.I)
        return tuple(name for name in self.files if wanted.search(name))

    def _holds_data(self, name: str) -> bool:
        suffix = suffix_of(name)
        if suffix in DATA:
            return True
        return (
            (not suffix or suffix[1:].isdigit()) and self.files[name] > 132 and start_of(self.root / name, 132)[128:] == b"DICM"
        )


def suffix_of(name: str) -> str:
    """Return the suffix in small letters, without `.gz`."""
    base = name.rpartition("/")[2].removesuffix(".gz")
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def stem_of(name: str) -> str:
    """Return the file name without folder and suffix, `.nii.gz` counted as one."""
    base = name.rpartition("/")[2].removesuffix(".gz")
    dot = base.rfind(".")
    return base[:dot] if dot > 0 else base


def split_of(name: str) -> str:
    """Return `train`, `val` or `test` when a folder on the way to a file is called so, else nothing."""
    return _split_of(name.rpartition("/")[0])


@lru_cache(maxsize=4096)
def _split_of(folder: str) -> str:
    for part in folder.split("/"):
        found = SPLIT.search(part)
        if found:
            return {"tr": "train", "va": "val"}.get((found["word"] or found["short"])[:2].lower(), "test")
    return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
