"""Contrast and units of an image: what is given, what the file states, and the BIDS suffix of its
name; nothing beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from veridical.errors import InputError, UnitsError, nearest
from veridical.io.sequence import WORDS, contrast_in

# BIDS 1.10, MRI and PET data types; `CT` is the suffix in common use for computed tomography, in
# Hounsfield units.
SUFFIXES = {"t1w": "T1w", "t2w": "T2w", "flair": "FLAIR", "pdw": "PD", "ct": "CT", "pet": "PET"}
UNITS = {"T1w": "a.u.", "T2w": "a.u.", "FLAIR": "a.u.", "PD": "a.u.", "T1c": "a.u.", "CT": "HU"}
KNOWN = ("T1w", "T2w", "FLAIR", "PD", "T1c", "CT", "PET")
"""Contrasts and modalities that a caller may name as they are."""
OTHER = "other"
"""A contrast that is none of these; `other:SWI` gives it a name."""
UNKNOWN = "unknown"
"""Channel of which neither caller nor file says the contrast."""


def stem(path: Path) -> str:
    """Return the file name without its suffix, `.nii.gz` counted as one."""
    plain = Path(path.name[:-3]) if path.name.lower().endswith(".gz") else path
    return plain.stem


def contrast_of(path: Path) -> str | None:
    """Return the contrast that the BIDS suffix names, or None: `sub-1_ce-gd_T1w.nii.gz` is
    `T1c`.
    """
    *entities, suffix = stem(path).split("_")
    known = SUFFIXES.get(suffix.lower()) if entities else None
    return (
        "T1c" if known == "T1w" and any(entity.startswith("ce-") for entity in entities) else known
    )


def stated(name: str) -> str:
    """Return a contrast as a caller gives it: one that is known as it is, any other as
    `other:NAME`.
    """
    return name if name.split(".")[0] in (*KNOWN, OTHER, UNKNOWN) else f"{OTHER}:{name}"


def given_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the channel names that a caller gives, commas between several in one string.

    Raises: UnitsError: one is neither known nor called another: `other`, `other:SWI`. Numbers may
        follow: `T1w.2`.
    """
    names = given.split(",") if isinstance(given, str) else given
    return tuple(_given(name.strip()) for name in names)


def _given(name: str) -> str:
    kind, _, own = name.partition(":")
    if kind == OTHER and own:
        return own
    if name.split(".")[0] in (*KNOWN, OTHER, UNKNOWN):
        return name
    meant = WORDS.get(name.lower())
    hint = (
        f"Did you mean {meant}? Known: {', '.join(KNOWN)}."
        if meant in KNOWN
        else nearest(name, KNOWN)
    )
    raise UnitsError(
        f"The contrast {name!r} is not known. {hint} For another, say so: --contrast "
        f"{OTHER}:{name or 'NAME'}."
    )


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
                f"{path} holds {count} channels; {len(names)} contrasts were given: "
                f"{', '.join(names)}. "
                "Give one a channel: --contrast T1w,T2w."
            )
        return names, "given"
    if len(stored) == count:
        return tuple(stored), "file header"
    suffix = contrast_of(path)
    base, source = (suffix, "file name suffix") if suffix else (UNKNOWN, "not stated")
    return ((base,) if count == 1 else tuple(f"{base}.{index}" for index in range(count))), source


def not_stated(path: Path, count: int) -> str:
    """Return the sentence about an image whose contrast nothing states."""
    word = contrast_in(stem(path))
    guess = word if word in KNOWN else ""
    flag = ",".join([guess or "T1w"] * count) if count < 5 else f"{guess or 'T1w'},..."
    looks = f"its name suggests {guess}; if so" if guess else "say which it is, for instance"
    return f"{path.name} does not state its contrast: {looks} --contrast {flag}."


def units_for(contrast: str, given: str | None, stored: str | None) -> tuple[str, str]:
    """Return the units and where they come from: given, stored in the file, owed to the contrast,
    or not stated.
    """
    if given:
        return given, "given"
    if stored:
        return stored, "file header"
    known = UNITS.get(contrast.split(".")[0])
    return (known, f"contrast {contrast}") if known else ("a.u.", "not stated")
