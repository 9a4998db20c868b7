"""What the images that trained some weights look like, for the out-of-distribution check of their
card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from veridical.audit.out_of_distribution import training_data
from veridical.layouts.discovery import studies
from veridical.layouts.pool import SETS, folders
from veridical.types import Image


def described(
    sources: Sequence[str], held_out: tuple[str, ...], contrasts: Sequence[str] = ()
) -> dict[str, Any]:
    """Describe the training patients of real sets, as a card holds it under `training_data`.

    Args: sources: as recipes name them; `openms-raw` and `sarcoma-ct` are parts of sets. Others,
        such as phantoms, are left out. held_out: patients, or beginnings of their names, that did
        not train. contrasts: that count; all when empty.
    """
    chosen = dict.fromkeys(
        name if name in SETS or Path(name).is_absolute() else name.split("-")[0] for name in sources
    )
    known = [name for name in chosen if name in SETS or Path(name).is_absolute()]
    if not known:
        return {}
    found = training_data(
        _images(known, held_out, contrasts), ", ".join(Path(name).name for name in known)
    )
    return {"training_data": found}


def _images(
    sources: Sequence[str], held_out: tuple[str, ...], contrasts: Sequence[str]
) -> Iterator[tuple[str, Image]]:
    """Yield the first image of each contrast of every patient, one in memory at a time."""
    for source in sources:
        for folder in folders(source):
            for study in studies(folder):
                if study.id.startswith(held_out or ("\0",)):
                    continue
                for name, image in study.visit(study.days[0]).items():
                    wanted = not contrasts or name in contrasts
                    if (
                        wanted
                        and isinstance(image, Image)
                        and image.units_of(image.channels[0]) != "label"
                    ):
                        yield study.id, image
