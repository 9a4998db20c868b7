"""What lies in a folder, once: names and sizes of all files, which of them hold images or raw data,
and which are no inputs.

Never inputs, and named with the reason in `Listing.left_out`: what results of Veridical wrote,
whatever their folder is called; `sourcedata` and `code` of a BIDS data set; images in `derivatives`
or with a derivative's entity (`desc-`) beside the images that they were made from (their masks and
segmentations stay); linked folders. Where a folder holds nothing else, the estimates of the
results, or the derivatives, are its images.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from veridical.errors import BudgetError, InputError
from veridical.io.bids import DESCRIPTION, LABELS, PROVENANCE, result_files
from veridical.io.guards import start_of

DATA = frozenset(
    {
        ".nii",
        ".mha",
        ".mhd",
        ".img",
        ".npy",
        ".npz",
        ".h5",
        ".hdf5",
        ".mrd",
        ".mat",
        ".dcm",
        ".ima",
        ".dicom",
        ".cfl",
    }
)
"""Suffixes of files that hold images or raw data."""
SPLIT = re.compile(
    r"(?:^|[_\-. ])(?:(?P<word>train|val|test)(?:ing|idation|id)?(?:[_-]?(?:data|set|batch))?(?=$|[_\-. \d])"  # noqa: E501
    r"|(?:images|labels)(?P<short>Tr|Ts)$)",
    re.I,
)
"""A folder of one split: `training`, `multicoil_val`, `ValidationData`, `imagesTs`."""
MOST = 5_000_000
BESIDE = ("sourcedata", "code")
"""Folders of a BIDS data set that hold what is not of the data set itself."""
DERIVED = re.compile(r"(?:^|_)desc-[A-Za-z0-9]+_")
"""The entity that BIDS allows in names of derivatives only."""
ESTIMATES = ("estimate", "estimate_magnitude")
"""Roles of a result of which one is its image."""
POINTER = 2**15
"""Bytes; a file that stands for one that was not fetched (git-annex, git LFS) is no larger."""


@dataclass(frozen=True, eq=False)
class Listing:
    """The files below a folder that can be inputs.

    Args: root: the folder. files: path below it, with `/` -> bytes, in the order of names; -1 for a
        link that leads nowhere. left_out: path below it -> why it is no input. results: folder of a
        result of Veridical below it -> role -> file name; None where its record is damaged.
    """

    root: Path
    files: Mapping[str, int]
    left_out: dict[str, str] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)

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
            raise InputError(
                f"{root} does not exist; expected a folder or a file of a data set. Check the path."
            )
        files, left_out = _walked(root)
        if not files and not left_out:
            raise InputError(f"{root} is empty; expected the files of a data set. Check the path.")
        return _inputs(cls(root, dict(sorted(files.items())), left_out))

    @cached_property
    def data(self) -> tuple[str, ...]:
        """Paths of images and raw data, by suffix, or for names without one by the mark of
        DICOM.
        """
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

        def inside(these: Mapping[str, Any]) -> dict[str, Any]:
            return {
                path.removeprefix(start): value
                for path, value in these.items()
                if path.startswith(start)
            }

        return Listing(
            self.root / child, inside(self.files), inside(self.left_out), inside(self.results)
        )

    def named(self, pattern: str) -> tuple[str, ...]:
        """Return the paths of files, whatever their kind, that a regular expression finds, capitals
        ignored.
        """
        wanted = re.compile(pattern, re.I)
        return tuple(name for name in self.files if wanted.search(name))

    def absent(self, name: str) -> str:
        """Return why a file has no content, in words; nothing where it has."""
        size = self.files.get(name, 0)
        if size < 0:
            return "a link to a file that is not there (fetch it, e.g. datalad get)"
        if size == 0:
            return "empty (0 bytes)"
        start = start_of(self.root / name, 256) if size <= POINTER else b""
        if b"annex/objects/" in start:
            return "a git-annex pointer without the content (datalad get)"
        return (
            "a git LFS pointer without the content (git lfs pull)"
            if start.startswith(b"version https://git-lfs")
            else ""
        )

    @property
    def held(self) -> str:
        """What kinds of files there are, in words."""
        kinds = Counter(suffix_of(name) or "files without a suffix" for name in self.files)
        return (
            ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
            or "no file that can be an input"
        )

    def _holds_data(self, name: str) -> bool:
        suffix = suffix_of(name)
        if suffix in DATA:
            return True
        return (
            (not suffix or suffix[1:].isdigit())
            and self.files[name] > 132
            and start_of(self.root / name, 132)[128:] == b"DICM"
        )


def suffix_of(name: str) -> str:
    """Return the suffix in small letters, without `.gz`."""
    base = _unpacked(name)
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def stem_of(name: str) -> str:
    """Return the file name without folder and suffix, `.nii.gz` counted as one."""
    base = _unpacked(name)
    dot = base.rfind(".")
    return base[:dot] if dot > 0 else base


def _unpacked(name: str) -> str:
    base = name.rpartition("/")[2]
    return base[:-3] if base.lower().endswith(".gz") else base


def split_of(name: str) -> str:
    """Return `train`, `val` or `test` when a folder on the way to a file is called so, else
    nothing.
    """
    return _split_of(name.rpartition("/")[0])


@lru_cache(maxsize=4096)
def _split_of(folder: str) -> str:
    for part in folder.split("/"):
        found = SPLIT.search(part)
        if found:
            return {"tr": "train", "va": "val"}.get(
                (found["word"] or found["short"])[:2].lower(), "test"
            )
    return ""


def _walked(root: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Return the files below a folder with their sizes, and the folders that were not gone into
    with the reason.
    """
    files: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for folder, folders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        known = {name for name in folders if not name.startswith(".") and name != "__MACOSX"}
        set_of_bids = DESCRIPTION in names or any(name.startswith("sub-") for name in known)
        for name in sorted(known):
            if Path(folder, name).is_symlink():
                left_out[(here / name).as_posix()] = "a linked folder, which is not followed"
            elif set_of_bids and name in BESIDE:
                left_out[(here / name).as_posix()] = f"{name} of a BIDS data set"
        folders[:] = sorted(name for name in known if (here / name).as_posix() not in left_out)
        for name in names:
            if not name.startswith("."):
                files[(here / name).as_posix()] = _size(Path(folder, name))
        if len(files) > MOST:
            raise BudgetError(
                f"{root} holds more than {MOST} files. Give a part of it, e.g. one split."
            )
    return files, left_out


def _inputs(whole: Listing) -> Listing:
    """Return a listing without derivatives and results of Veridical, unless there is nothing
    else.
    """
    records = {
        str(PurePosixPath(name).parent): name
        for name in whole.files
        if name.rpartition("/")[2] == PROVENANCE
    }
    said = {folder: result_files(whole.root / name) for folder, name in records.items()}
    results = {folder: roles for folder, roles in said.items() if roles != {}}
    made = {
        place: role
        for folder, roles in results.items()
        for role, place in _places(folder, roles or {})
    }
    images = [name for name in whole.data if not _label(name)]
    derived = {
        name: "a result of Veridical" if name in made else "a derivative"
        for name in images
        if _derived(name)
    }
    derived |= dict.fromkeys(made, "a result of Veridical")
    if all(name in derived for name in images):
        others = {name: why for name, why in derived.items() if name in made}
        estimates = (
            {name for name, role in made.items() if role in ESTIMATES}
            if len(others) == len(derived)
            else set()
        )
        derived = {name: why for name, why in others.items() if name not in estimates}
    files = {name: size for name, size in whole.files.items() if name not in derived}
    return Listing(whole.root, files, whole.left_out | derived, results)


def _places(folder: str, roles: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return role and path of each map of a result."""
    return [(role, name if folder == "." else f"{folder}/{name}") for role, name in roles.items()]


def _label(name: str) -> bool:
    return stem_of(name).rpartition("_")[2].lower() in LABELS


def _derived(name: str) -> bool:
    """Say whether an image was derived from another, by its folder or its name."""
    named = stem_of(name).startswith("sub-") and DERIVED.search(stem_of(name)) is not None
    return named or "derivatives" in name.split("/")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
