"""Bare arrays, `.npy` and `.npz`: images without a header, or k-space.

Real arrays of 2 to 4 axes are `(x, y)`, `(x, y, z)`, `(channel, x, y, z)`; complex ones `(y, x)`,
`(coil, y, x)`, `(slice, coil, y, x)`. That is the order in use, not something that a file says: the
header of what is read says so, and `veridical.read(axes=...)` takes any other. A real array called
`coord` or `traj`, whose last axis is 2 or 3, is a trajectory and belongs to the k-space beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.files import read
from veridical.io.guards import finite
from veridical.io.sequence import contrast_in, label_in, words_of
from veridical.layouts.archives import Shape, array_of, shapes_of
from veridical.layouts.base import GENERIC, Entry, Layout, Match
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing, split_of, stem_of, suffix_of
from veridical.types import Geometry, Image, Measurement

RAW = {2: "y,x", 3: "coil,y,x", 4: "slice,coil,y,x"}
POINTS = frozenset({"coord", "coords", "traj", "trajectory", "points"})


class Arrays(Layout):
    """One case a file; an image by the contrast in its name, k-space as `kspace`."""

    title = "bare arrays"
    specific = False
    alike = False

    def recognise(self, listing: Listing) -> Match:
        """Say so by the suffixes alone."""
        count = sum(suffix_of(file) in (".npy", ".npz") for file in listing.data)
        share = count / max(len(listing.data), 1)
        return Match(
            self.name,
            round(GENERIC * share, 2),
            f"{count} of {len(listing.data)} data files are arrays",
        )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return every array; trajectories and what is no image are counted only."""
        found = []
        for file in listing.data:
            if suffix_of(file) not in (".npy", ".npz"):
                continue
            try:
                shapes = shapes_of(listing.root / file)
            except InputError:
                shapes = {"": ((), np.dtype(np.float32))}
            found += [_entry(file, name, shape) for name, shape in shapes.items()]
        return found

    def head(self, root: Path, entry: Entry) -> Head:
        """Return the shape; the axes are told apart by their order alone, which is noted."""
        shapes = shapes_of(root / entry.path)
        shape, dtype = shapes[entry.options["array"]]
        if entry.kind == "object":
            return Head(None)
        issue = Issue(
            "axes",
            "note",
            entry.path,
            f"A bare array of shape {shape} does not say what its axes are; taken as "
            f"{RAW[len(shape)] if dtype.kind == 'c' else ','.join(_axes(len(shape)))}",
            next="If they are others, say so: --axes coil,y,x.",
        )
        if entry.kind == "raw":
            return Head(None, slices=shape[0] if len(shape) == 4 else 1, issues=(issue,))
        x, y, z = (*shape[-3:], 1)[:3] if len(shape) != 2 else (*shape, 1)
        return Head(Geometry.index((x, y, z)), shape[0] if len(shape) == 4 else 1, issues=(issue,))

    def load(self, root: Path, entry: Entry) -> Image | Measurement:
        """Return an array as an image on a grid of unknown spacing, or k-space as a measurement."""
        path = root / entry.path
        if entry.kind == "raw":
            return read(path, axes=entry.options["axes"])
        array = array_of(path, entry.options["array"])
        if entry.kind == "object" or array.ndim not in (2, 3, 4) or array.dtype.kind not in "biuf":
            raise FormatError(
                f"{path} holds {array.shape} of {array.dtype}; expected an image of 2 to 4 axes."
            )
        finite(array, path)
        data = (
            array[None, ..., None] if array.ndim == 2 else array[None] if array.ndim == 3 else array
        )
        names = (
            (entry.contrast,)
            if len(data) == 1
            else tuple(f"{entry.contrast}.{k}" for k in range(len(data)))
        )
        x, y, z = data.shape[1:]
        header = {"axes_source": "order in use", "contrast_source": "file name"}
        label = entry.kind == "label"
        values = data if label else data.astype(np.float32)
        return Image(values, Geometry.index((x, y, z)), "label" if label else "a.u.", names, header)


def _entry(file: str, name: str, stored: Shape) -> Entry:
    shape, dtype = stored
    split = split_of(file)
    title = f"{stem_of(file)}_{name}" if name else stem_of(file)
    options: dict[str, Any] = {"array": name}
    points = POINTS & set(words_of(title)) and shape and shape[-1] in (2, 3)
    if points or not 2 <= len(shape) <= 4 or dtype.kind not in "biufc":
        return Entry(
            stem_of(file),
            "trajectory" if points else "array",
            file,
            (file,),
            kind="object",
            options=options,
        )
    if dtype.kind == "c":
        return Entry(
            stem_of(file),
            "kspace",
            file,
            (file,),
            kind="raw",
            split=split,
            options={**options, "axes": RAW[len(shape)]},
        )
    label = label_in(title)
    image = label or contrast_in(title) or "image"
    return Entry(
        stem_of(file),
        image,
        file,
        (file,),
        kind="label" if label else "image",
        split=split,
        options=options,
    )


def _axes(count: int) -> tuple[str, ...]:
    return ("channel", "x", "y", "z")[4 - count :] if count != 2 else ("x", "y")
