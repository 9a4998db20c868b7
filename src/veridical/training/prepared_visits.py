"""Visits as a generator learns from them: the images of a visit on one grid, in network units, cut
into slices.

The grid is that with the thickest slices, so that no slice learned from was made up by
interpolation. Real sets are read through `layouts`, as tasks and evaluation read them; digital
patients are drawn slab by slab.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import BudgetError, InputError
from veridical.io.assemble import stacked
from veridical.layouts.discovery import studies
from veridical.layouts.pool import folders
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.style import style_of
from veridical.types import Array, Image, Study

BUDGET = 8 * 2**30
"""Bytes of images that a training may hold in memory."""
LEAST_SHOWN = 0.08
"""Share of a slice that must show something for it to be used."""
LESIONS = ("lesion", "lesions", "tumour", "GTV")
"""Names of label maps that are masks of lesions, in the layouts of public sets."""


@dataclass(frozen=True, eq=False)
class Slab:
    """One slice between its neighbours in all contrasts of a visit.

    Args:
        images: `(contrast, 3, y, x)` in network units: the slice, the one below, the one above.
        names: of the contrasts.
        spacing: `(y, x)`, mm.
        masks: name -> `(y, x)`.
        attributes: `height` in [-1, 1], `field` in tesla; as far as known.
        styles: contrast -> style of the whole image; see `preprocessing.style`.
        elsewhere: one of the contrasts as another scanner shows it, where that is known.
    """

    images: Array
    names: tuple[str, ...]
    spacing: tuple[float, float] = (1.0, 1.0)
    masks: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    styles: Mapping[str, Array] = field(default_factory=dict)
    elsewhere: Slab | None = None


@dataclass(frozen=True, eq=False)
class PreparedVisit:
    """A visit's aligned contrasts `(contrast, slice, y, x)` float16 in network units, and what is
    known beside them.
    """

    images: Array
    names: tuple[str, ...]
    patient: str
    source: str
    spacing: tuple[float, float, float]
    masks: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def styles(self) -> dict[str, Array]:
        """The style of each contrast."""
        return {
            name: style_of(image.astype(np.float32), name)
            for name, image in zip(self.names, self.images, strict=True)
        }

    def usable(self, preprocessing: Preprocessing) -> list[int]:
        """Return the slices that show enough to learn from, in every contrast."""
        shown = [
            preprocessing.foreground(n, i.astype(np.float32))
            for n, i in zip(self.names, self.images, strict=True)
        ]
        return [
            int(i) for i in np.flatnonzero(np.min([s.mean((1, 2)) for s in shown], 0) > LEAST_SHOWN)
        ]

    def slab(self, index: int) -> Slab:
        """Return a slice with its neighbours; the slice itself stands where there is none."""
        last = self.images.shape[1] - 1
        chosen = self.images[:, [index, max(index - 1, 0), min(index + 1, last)]].astype(np.float32)
        masks = {name: mask[index] for name, mask in self.masks.items()}
        known = {**self.attributes, "height": 2 * index / max(1, last) - 1}
        return Slab(chosen, self.names, self.spacing[1:], masks, known, self.styles)


def prepared_visits(
    source: str,
    contrasts: Sequence[str],
    preprocessing: Preprocessing,
    held_out: tuple[str, ...],
    validation: bool,
) -> list[PreparedVisit]:
    """Load the visits of a set, or of any folder whose layout is known.

    Args:
        source: name of a set of `layouts.pool`, or path of a folder.
        contrasts: that a net knows; other images are left out.
        preprocessing: of the net.
        held_out: patients, or beginnings of their names, that are kept from training.
        validation: return those instead; may be none.

    Raises:
        InputError: nothing in it fits, or it cannot be read.
        BudgetError: it does not fit into memory.
    """
    found: list[PreparedVisit] = []
    for folder in folders(source):
        for study in studies(folder):
            if study.id.startswith(held_out or ("\0",)) == validation:
                found += visits_of(study, contrasts, preprocessing, Path(source).name)
        if sum(visit.images.nbytes for visit in found) > BUDGET:
            raise BudgetError(
                f"The images of {source} need more than {BUDGET >> 30} GiB of memory. Train on a "
                "part of them."
            )
    if not found and not validation:
        raise InputError(
            f"Nothing in {source} can be trained on; expected images of {', '.join(contrasts)}. "
            "Name files by their contrast "
            "(sub-01_T1w.nii.gz), leave a patient to train on, or train a net that knows these "
            "contrasts."
        )
    return found


def visits_of(
    study: Study, contrasts: Sequence[str], preprocessing: Preprocessing, source: str
) -> Iterator[PreparedVisit]:
    """Yield every visit of a study in which one of the contrasts was imaged."""
    for visit in study.visits.values():
        images = {name: visit[name] for name in visit if name in contrasts}
        shown = sorted((i for i in images.values() if isinstance(i, Image)), key=_first)
        if not shown:
            continue
        labels = [
            image for name in visit if name in LESIONS and isinstance(image := visit[name], Image)
        ]
        whole = stacked(shown, labels[0] if labels else None)
        prepared = preprocessing(whole)
        names = tuple(name for name in prepared.images if name in contrasts)
        data = np.stack([preprocessing.clipped(prepared.images[name]) for name in names]).astype(
            np.float16
        )
        masks = {
            name: image > 0 for name, image in prepared.images.items() if name not in contrasts
        }
        tesla = whole.header.get("field")
        yield PreparedVisit(
            data,
            names,
            study.id,
            source,
            prepared.spacing,
            masks,
            {"field": float(tesla)} if tesla else {},
        )


def _first(image: Image) -> tuple[float, float]:
    """Sort images: the smallest field of view first, and among about equal ones that of the
    thickest slices.
    """
    size = float(np.prod(image.geometry.shape) * np.prod(image.geometry.spacing))
    return round(np.log(size) / np.log(2)), -max(image.geometry.spacing)


def held_out_of(folder: str | Path, named: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return the patients of a folder that are kept for validation.

    Args:
        folder: of a known layout.
        named: names, or beginnings of names; where any of them is there, these are taken.
        count: else so many, chosen by the hash of their name; one is always left to train on.
    """
    if not named and not count:
        return ()
    every = [study.id for study in studies(folder)]
    if said := [name for name in every if name.startswith(named or ("\0",))]:
        return tuple(said)
    drawn = sorted(every, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return tuple(drawn[: min(count, len(every) - 1)])
