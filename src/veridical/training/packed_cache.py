"""A packed cache: all clean volumes of a recipe in one file that is mapped into memory, made once.

`volumes.f16` holds the voxels one volume after the other, `index.json` where each begins, and
`centres.npy` foreground voxels from which patches are cut. Cutting a patch then reads a few pages
and computes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from veridical.errors import FormatError
from veridical.io.guards import replacing
from veridical.task import Progress, silent
from veridical.training.clean_volumes import clean_volumes
from veridical.types import Array

CENTRES = 4096
"""Foreground voxels kept of each volume."""
FOREGROUND = 0.1
VERSION = 2


@dataclass(frozen=True)
class PackedVolume:
    """Where a volume lies, and what it is."""

    offset: int
    shape: tuple[int, int, int]
    source: str
    patient: str
    isotropic: bool
    deep: bool


class PackedCache:
    """Volumes in one memory-mapped file.

    Args:
        folder: made by `pack`.

    Raises:
        FormatError: the folder holds no whole cache.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            self.entries = [
                PackedVolume(**{**e, "shape": tuple(e["shape"])}) for e in index["entries"]
            ]
            self.voxels = np.memmap(self.folder / "volumes.f16", np.float16, "r")
            self.centres = np.load(self.folder / "centres.npy")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{self.folder} is not a whole packed cache ({error}). Remove it; it will be made "
                "anew."
            ) from error
        last = self.entries[-1]
        if len(self.voxels) != last.offset + int(np.prod(last.shape)) or len(self.centres) != len(
            self.entries
        ):
            raise FormatError(
                f"The packed cache {self.folder} was cut short. Remove it; it will be made anew."
            )

    def volume(self, number: int) -> Array:
        """Return a volume `(slice, y, x)` float16, mapped."""
        entry = self.entries[number]
        return np.asarray(
            self.voxels[entry.offset : entry.offset + int(np.prod(entry.shape))].reshape(
                entry.shape
            )
        )

    def stack(self, number: int, centre: Sequence[int], axis: int, depth: int, side: int) -> Array:
        """Cut a stack of neighbouring patches.

        Args: number: of the volume. centre: voxel `(slice, y, x)` that the middle patch shows
            somewhere; the patch stays inside of the volume. axis: along which slices are stacked.
            depth: slices, odd. side: of a patch.

        Returns:
            `(depth, side, side)` float32, zero beyond the volume.
        """
        volume, place = self.volume(number), list(centre)
        volume = np.moveaxis(volume, axis, 0)
        first = place.pop(axis)
        out = np.zeros((depth, side, side), np.float32)
        corner = [
            min(max(0, p - side // 2), max(0, n - side))
            for p, n in zip(place, volume.shape[1:], strict=True)
        ]
        rows, columns = (
            slice(c, min(c + side, n)) for c, n in zip(corner, volume.shape[1:], strict=True)
        )
        for layer in range(depth):
            index = first + layer - depth // 2
            if 0 <= index < len(volume):
                part = volume[index, rows, columns]
                out[layer, : part.shape[0], : part.shape[1]] = part
        return out


def pack(sources: Sequence[str], folder: str | Path, progress: Progress = silent) -> PackedCache:
    """Return the packed cache of these sets, made when it is not there yet.

    Args:
        sources: names as in `clean_volumes.SOURCES`, or absolute paths of folders.
        folder: of all caches; each mix of sets has one of its own in it.
        progress: called as work goes on.
    """
    place = Path(folder) / ("-".join(map(_called, sorted(sources))) + f"-v{VERSION}")
    if (place / "index.json").is_file():
        return PackedCache(place)
    place.mkdir(parents=True, exist_ok=True)
    entries: list[PackedVolume] = []
    centres: list[Array] = []
    offset = 0
    with replacing(place / "volumes.f16") as temporary, temporary.open("wb") as file:
        for number, source in enumerate(sorted(sources)):
            for volume in clean_volumes(source):
                shape = (
                    int(volume.image.shape[0]),
                    int(volume.image.shape[1]),
                    int(volume.image.shape[2]),
                )
                entries.append(
                    PackedVolume(
                        offset, shape, source, volume.patient, volume.isotropic, volume.deep
                    )
                )
                centres.append(foreground_voxels(volume.image, len(entries)))
                file.write(np.ascontiguousarray(volume.image, dtype=np.float16).tobytes())
                offset += volume.image.size
            progress("packing clean volumes", number + 1, len(sources))
    with replacing(place / "centres.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.stack(centres))
    with replacing(place / "index.json") as temporary:
        temporary.write_text(
            json.dumps({"entries": [asdict(entry) for entry in entries]}), encoding="utf-8"
        )
    return PackedCache(place)


def _called(source: str) -> str:
    """Return what a cache calls a source: a folder by its last name and what lies in it, so that a
    changed folder is packed anew.
    """
    folder = Path(source)
    if not folder.is_absolute():
        return source
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [
        (str(path), state.st_size, state.st_mtime_ns)
        for path, state in ((path, path.stat()) for path in files)
    ]
    return f"{folder.name}-{hashlib.sha256(json.dumps(states).encode()).hexdigest()[:12]}"


def foreground_voxels(image: Array, seed: int) -> Array:
    """Return `(CENTRES, 3)` int16 random voxels above a tenth of the scale, drawn with
    replacement.
    """
    found = np.flatnonzero(image > FOREGROUND)
    drawn = np.random.default_rng(seed).choice(found, CENTRES)
    return np.stack(np.unravel_index(drawn, image.shape), 1).astype(np.int16)
