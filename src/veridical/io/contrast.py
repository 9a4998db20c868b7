"""What a file name says of contrast and units: the BIDS suffixes, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from veridical.errors import InputError

# BIDS 1.10, MRI and PET data types; `CT` is the suffix in common use for computed tomography, in Hounsfield units.
SUFFIXES = {"t1w": "T1w", "t2w": "T2w", "flair": "FLAIR", "pdw": "PD", "ct": "CT", "pet": "PET"}
UNITS = {"T1w": "a.u.", "T2w": "a.u.", "FLAIR": "a.u.", "PD": "a.u.", "T1c": "a.u.", "CT": "HU"}


def stem(path: Path) -> str:
    """Return the file name without its suffix, `.nii.gz` counted as one."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0] if path.name.endswith(".gz") else path.stem


def contrast_of(path: Path) -> str | None:
    """Return the contrast that the BIDS suffix names, or None: `sub-1_ce-gd_T1w.nii.gz` is `T1c`."""
    *entities, suffix = stem(path).split("_")
    known = SUFFIXES.get(suffix.lower()) if entities else None
    return "T1c" if known == "T1w" and any(entity.startswith("ce-") for entity in entities) else known


def channel_names(
    path: Path, count: int, given: str | Sequence[str] | None, stored: Sequence[str] = ()
) -> tuple[tuple[str, ...], str]:
    """Return one name a channel and where the names come from.

    Args:
        path: the file.
        count: number of channels in it.
        given: what the caller says; counts most. Commas separate several in one string.
        stored: names that the file itself holds.

    Raises:
        InputError: another number of names is given than there are channels.
    """
    if given is not None:
        names = tuple(given.split(",")) if isinstance(given, str) else tuple(given)
        if len(names) != count:
            raise InputError(
                f"{path} holds {count} channels; {len(names)} contrasts were given: {', '.join(names)}. "
                "Give one a channel: contrast='T1w,T2w'."
            )
        return names, "given"
    if len(stored) == count:
        return tuple(stored), "file header"
    suffix = contrast_of(path)
    base, source = (suffix, "file name suffix") if suffix else (stem(path), "file name; contrast not stated")
    return ((base,) if count == 1 else tuple(f"{base}.{index}" for index in range(count))), source


def units_for(contrast: str, given: str | None, stored: str | None) -> tuple[str, str]:
    """Return the units and where they come from: given, stored in the file, owed to the contrast, or not stated."""
    if given:
        return given, "given"
    if stored:
        return stored, "file header"
    known = UNITS.get(contrast.split(".")[0])
    return (known, f"contrast {contrast}") if known else ("a.u.", "not stated")
