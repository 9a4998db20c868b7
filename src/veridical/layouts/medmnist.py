"""MedMNIST: small images in one `.npz`, already split: `train_images`, `train_labels`, `val_...`,
`test_...`.

2D `(n, 28, 28)`, `(n, 28, 28, 3)`, also 64, 128 and 224; 3D `(n, 28, 28, 28)` (Yang et al. 2023,
10.1038/s41597-022-01721-8). Every image is a case of its own: who it is of is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.layouts.archives import Shape, array_of, names_of, rows_of, shapes_of
from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing, stem_of, suffix_of
from veridical.types import Array, Geometry, Image, Study

SPLITS = ("train", "val", "test")
MODALITY = {
    **dict.fromkeys(("chest", "pneumonia"), "XR"),
    **dict.fromkeys(("organa", "organc", "organs", "organ", "nodule", "fracture", "adrenal"), "CT"),
    **{"breast": "US", "oct": "OCT", "vessel": "MRA", "synapse": "EM"},
}
"""Start of the file name -> modality; the others are photographs and microscopy."""


class Medmnist(Layout):
    """Stacks of images with a label each, in three splits."""

    title = "MedMNIST"

    def recognise(self, listing: Listing) -> Match:
        """Say so by the arrays in the files."""
        files = self._files(listing)
        share = len(files) / max(len(listing.data), 1)
        names = ", ".join(stem_of(file) for file in files[:3])
        return Match(
            self.name,
            round(0.97 * share, 2),
            f"{names or 'no file'} holds images and labels of three splits",
        )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return a stack for each split of each file."""
        found = []
        for file in self._files(listing):
            shapes = shapes_of(listing.root / file)
            for split in SPLITS:
                count = shapes[f"{split}_images"][0][0]
                name = f"{stem_of(file)}_{split}"
                found.append(
                    Entry(
                        name,
                        _modality(file),
                        file,
                        (file,),
                        kind="object",
                        split=split,
                        count=count,
                    )
                )
        return found

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the set of MedMNIST."""
        names = sorted({stem_of(entry.path) for entry in entries})
        return f"MedMNIST: {', '.join(names)}" if names else self.title

    def head(self, root: Path, entry: Entry) -> Head:
        """Return the size of the images, on a grid of unknown spacing."""
        shape = shapes_of(root / entry.path)[f"{entry.split}_images"][0]
        x, y, z = (*_grid(shape[1:]), 1)[:3]
        return Head(Geometry.index((x, y, z)), slices=shape[0])

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield images without labels, empty images, and images that stand in two splits or twice
        in one.
        """
        for file in sorted({entry.path for entry in entries}):
            shapes = shapes_of(listing.root / file)
            yield from _counts(file, shapes)
            seen: dict[bytes, tuple[str, int]] = {}
            for split in SPLITS:
                yield from _split(listing.root / file, file, split, seen)
        yield Issue(
            "unknown_patients", "note", "", "Who the images are of is not known",
            next=(
                "Two images of one person may stand in two splits; no check of the files can tell."
            ),
        )  # fmt: skip

    def studies(self, listing: Listing) -> Iterator[Study]:
        """Yield a patient an image, its label in the covariates; one image in memory at a time.

        Raises:
            FormatError: an archive is damaged.
        """
        for file in self._files(listing):
            for split in SPLITS:
                labels = array_of(listing.root / file, f"{split}_labels")
                for number, row in enumerate(rows_of(listing.root / file, f"{split}_images")):
                    label = [int(value) for value in np.ravel(labels[number])]
                    said: Mapping[str, Any] = {
                        "split": split,
                        "label": label[0] if len(label) == 1 else label,
                    }
                    name = _modality(file)
                    yield Study(
                        f"{stem_of(file)}_{split}_{number:06d}",
                        {0.0: {name: _image(row, name)}},
                        said,
                    )

    def _files(self, listing: Listing) -> list[str]:
        wanted = {f"{split}_{what}" for split in SPLITS for what in ("images", "labels")}
        found = []
        for file in listing.data:
            if suffix_of(file) == ".npz":
                try:
                    if wanted <= set(names_of(listing.root / file)):
                        found.append(file)
                except InputError:
                    continue
        return found


def _modality(file: str) -> str:
    return next(
        (
            MODALITY[start]
            for start in sorted(MODALITY, reverse=True)
            if stem_of(file).startswith(start)
        ),
        "photo",
    )


def _grid(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if len(shape) == 3 and shape[-1] == 3 else shape


def _image(row: Array, name: str) -> Image:
    """Return one image: `(y, x)`, `(y, x, colour)` or `(z, y, x)` as stored."""
    channels: tuple[str, ...]
    if row.ndim == 3 and row.shape[-1] == 3:
        data, channels = (
            np.moveaxis(row, -1, 0).transpose(0, 2, 1)[..., None],
            (f"{name}.R", f"{name}.G", f"{name}.B"),
        )
    elif row.ndim in (2, 3):
        data, channels = row.T[None, ..., None] if row.ndim == 2 else row.T[None], (name,)
    else:
        raise FormatError(
            f"An image of shape {row.shape}; expected (y, x), (y, x, 3) or (z, y, x)."
        )
    header = {"contrast_source": "file name", "units_source": "grey values as given out"}
    x, y, z = data.shape[1:]
    return Image(data.astype(np.float32), Geometry.index((x, y, z)), "a.u.", channels, header)


def _counts(file: str, shapes: Mapping[str, Shape]) -> Iterator[Issue]:
    for split in SPLITS:
        images, labels = shapes[f"{split}_images"][0][0], shapes[f"{split}_labels"][0][0]
        if images != labels:
            yield Issue(
                "missing",
                "error",
                file,
                f"Images and labels of {split} do not pair",
                f"{images} and {labels}",
                "as many",
                "Download the file again.",
            )


def _split(
    path: Path, file: str, split: str, seen: dict[bytes, tuple[str, int]]
) -> Iterator[Issue]:
    """Compare every image of a split with those before it."""
    empty: list[int] = []
    twice: list[tuple[int, tuple[str, int]]] = []
    leaks: list[tuple[int, tuple[str, int]]] = []
    for number, row in enumerate(rows_of(path, f"{split}_images")):
        if not row.any():
            empty.append(number)
            continue
        other = seen.setdefault(blake2b(row.tobytes(), digest_size=16).digest(), (split, number))
        if other != (split, number):
            (twice if other[0] == split else leaks).append((number, other))
    if empty:
        yield Issue(
            "empty",
            "error",
            file,
            f"{len(empty)} images of {split} are zero",
            f"the first is {empty[0]}",
            "",
            "Leave them out.",
        )
    if leaks:
        number, (first, place) = leaks[0]
        yield Issue(
            "split_leak",
            "error",
            file,
            f"{len(leaks)} images of {split} stand in {first} too",
            f"{split} {number} is {first} {place}",
            "no image in two splits",
            "Remove them from the training split.",
        )
    if twice:
        number, (_, place) = twice[0]
        yield Issue(
            "duplicate",
            "warn",
            file,
            f"{len(twice)} images of {split} stand in it twice",
            f"{number} is {place}",
            "every image once",
            "Remove the copies, or count them once.",
        )
