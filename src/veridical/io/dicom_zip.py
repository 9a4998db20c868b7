"""DICOM files in a zip archive, unpacked into a folder of their own for as long as they are read.

Nothing in the archive names a place on disk: files get numbers. What it holds is counted while it
is unpacked, since the sizes that an archive states need not be true.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veridical.errors import FormatError, InputError
from veridical.io.guards import start_of, within

LOOKED_AT = 16
"""Files of an archive that are opened to find out whether it holds DICOM."""
CHUNK = 2**20
MOST = 100_000
"""Files of one archive that are unpacked at most."""
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError)


def holds_dicom(path: Path) -> bool:
    """Say whether a file is a zip archive with a DICOM file among its first ones."""
    if path.suffix.lower() != ".zip" or start_of(path, 4)[:2] != b"PK":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            for member in members[:LOOKED_AT]:
                with archive.open(member) as file:
                    if file.read(132)[128:] == b"DICM":
                        return True
    except DAMAGE:
        return False
    return False


@contextmanager
def unpacked(path: Path, budget: int) -> Iterator[Path]:
    """Give a folder with the DICOM files of an archive; it vanishes when the block ends.

    Args:
        path: of the archive.
        budget: bytes that all files may take.

    Raises:
        FormatError: it is damaged or encrypted.
        InputError: there are too many files, or none is DICOM.
        BudgetError: they take more than `budget` bytes.
    """
    with tempfile.TemporaryDirectory(prefix="veridical-zip-") as name:
        folder = Path(name) / re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)[:60]
        folder.mkdir()
        try:
            with zipfile.ZipFile(path) as archive:
                members = [one for one in archive.infolist() if not one.is_dir()]
                if len(members) > MOST:
                    raise InputError(
                        f"{path} holds {len(members)} files; expected {MOST} at most. Pack one "
                        "study an archive."
                    )
                _unpack(archive, members, folder, budget, path)
        except DAMAGE as error:
            raise FormatError(
                f"{path} is damaged or encrypted ({error}). Pack it again, without a password."
            ) from error
        if not any(folder.iterdir()):
            raise InputError(f"{path} holds no DICOM file. Pack the files of a series.")
        yield folder


def _unpack(
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    folder: Path,
    budget: int,
    path: Path,
) -> None:
    total = 0
    for number, member in enumerate(members):
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(member.filename).stem)[:40]
        with archive.open(member) as file:
            start = file.read(132)
            if start[128:] != b"DICM" or Path(member.filename).name == "DICOMDIR":
                continue
            with (folder / f"{number:05}_{stem}.dcm").open("wb") as target:
                while start:
                    total += len(start)
                    within(total, budget, path)
                    target.write(start)
                    start = file.read(CHUNK)
