"""ISMRMRD acquisitions: what each is for, and which of several scans in one file are read.

Flags say what an acquisition is for; counters and the encoding space say to which scan it belongs.
One scan is read at a time. Which one follows a stated rule, and what was chosen and left out is
said in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.io.hdf5 import Encoding
from veridical.io.kspace import MOST_COILS
from veridical.types import Array

# Bits of `flags`, counted from 1 as in ismrmrd.h.
NOISE, CALIBRATION, CALIBRATION_AND_IMAGING = 19, 20, 21
NOT_IMAGING = {
    "navigator": (23,),
    "phase correction": (24,),
    "feedback": (26, 28),
    "dummy": (27,),
    "surface coil correction": (29,),
    "phase stabilization": (30, 31),
}
ALONE = ("contrast", "phase", "repetition", "set")
SELECTABLE = ("encoding", "slice", *ALONE)
PLACE = ("slice", "kspace_encode_step_1", "kspace_encode_step_2")


@dataclass(frozen=True)
class Sorted:
    """The acquisitions of one scan and what belongs to it.

    Args:
        imaging: acquisitions that the image is made of, all with one number of channels.
        encoding: their encoding space; of a 2D scan with one sample along z.
        calibration: those of a separate calibration scan, and their encoding space.
        calibration_encoding: None where there is none.
        noise: noise-only acquisitions.
        header: entries of the header: `left_out`, kind -> how many.
        notes: what was chosen and left out, in sentences.
    """

    imaging: Array
    encoding: Encoding
    calibration: Array
    calibration_encoding: Encoding | None
    noise: Array
    header: Mapping[str, Any]
    notes: tuple[str, ...]


def sort(rows: Array, encodings: tuple[Encoding, ...], select: str | None, path: Path) -> Sorted:
    """Sort acquisitions by what they are for, and choose one scan.

    The encoding space with the largest matrix is read, of equal ones that with more readouts; of it
    the contrast, phase, repetition and set with most readouts; of equal ones the first.

    Args: rows: all acquisitions. encodings: of the header. select: to choose otherwise, for
        instance `encoding=1,repetition=2` or `slice=0`; counted from 0 as in the file. path: for
        messages.

    Raises: InputError: no imaging acquisition is left. SettingError: `select` names something else,
        or what is not there. FormatError: acquisitions of an encoding space that the header lacks,
        a changing number of channels, missing samples.
    """
    wanted, notes = parse_selection(select), list[str]()
    flags, refs = (
        rows["head"]["flags"].astype(np.uint64),
        rows["head"]["encoding_space_ref"].astype(int),
    )
    noise = bit(flags, NOISE)
    if (~noise).any() and refs[~noise].max() >= len(encodings):
        raise FormatError(
            f"{path}: acquisitions belong to encoding space {refs[~noise].max()}; the header "
            f"describes {len(encodings)}, "
            "counted from 0. Write the header again."
        )
    kinds = {
        name: np.any([bit(flags, one) for one in bits], axis=0) & ~noise
        for name, bits in NOT_IMAGING.items()
    }
    useful = ~(noise | np.any(list(kinds.values()), axis=0))
    apart = _apart(rows["head"], useful, encodings, notes)
    imaging = useful & ~apart
    left_out = {
        name: int(found.sum())
        for name, found in {**kinds, "separate calibration": apart}.items()
        if found.any()
    }
    if not imaging.any():
        held = ", ".join(
            f"{count} {name}"
            for name, count in {"noise": int(noise.sum()), **left_out}.items()
            if count
        )
        raise InputError(
            f"{path} holds no imaging acquisition among its {len(rows)} ({held}). Check which scan "
            "it is."
        )
    shown = [
        f"{count} {name}" for name, count in left_out.items() if name != "separate calibration"
    ]
    notes += [f"Readouts that make no image were left out: {', '.join(shown)}."] if shown else []
    space = _space(refs[imaging], encodings, wanted.get("encoding"), path, notes)
    chosen = rows[imaging & (refs == space)]
    chosen = chosen[_series(chosen["head"]["idx"], wanted, path, notes)]
    coils = _channels(chosen, path)
    calibration, of = _calibration(
        rows[apart], coils, np.unique(chosen["head"]["idx"]["slice"]), notes
    )
    planes = len(np.unique(chosen["head"]["idx"]["slice"]))
    encoding = planar(encodings[space], chosen["head"], planes, path, notes)
    other = None if of is None else planar(encodings[of], calibration["head"], planes, path, [])
    header = {"left_out": left_out} if left_out else {}
    return Sorted(chosen, encoding, calibration, other, rows[noise], header, tuple(notes))


def parse_selection(text: str | None) -> dict[str, int]:
    """Return name -> number from `encoding=1,repetition=2`.

    Raises:
        SettingError: another name, or no whole number.
    """
    found: dict[str, int] = {}
    for part in (text or "").split(",") if text else ():
        name, _, number = (word.strip() for word in part.partition("="))
        if name not in SELECTABLE:
            raise SettingError(
                f"--select {text}: nothing is chosen by {name!r}. {nearest(name, SELECTABLE)}"
            )
        if not number.isdecimal():
            raise SettingError(
                f"--select {text}: {name} is {number!r}; expected a number from 0, as in --select "
                f"{name}=0."
            )
        found[name] = int(number)
    return found


def bit(flags: Array, position: int) -> Array:
    """Say in which flags a bit is set, counted from 1."""
    return np.asarray((flags >> np.uint64(position - 1)) & np.uint64(1), dtype=bool)


def planar(encoding: Encoding, heads: Array, planes: int, path: Path, notes: list[str]) -> Encoding:
    """Return the encoding space of a scan with one encode step 2, which is 2D whatever its matrix
    says, with one z.

    Raises:
        FormatError: it is a single partition of a 3D scan, off the centre of k-space.
    """
    steps, depth = np.unique(heads["idx"]["kspace_encode_step_2"]), encoding.matrix[2]
    if depth == 1 or len(steps) > 1:
        return encoding
    flat = (
        encoding.partitions == 1
        or encoding.recon_matrix[2] == 1
        or int(steps[0]) == encoding.centres[1]
    )
    if not flat:
        raise FormatError(
            f"{path} holds encode step 2 = {steps[0]} alone of an encoded matrix of {depth} along "
            "z; expected all partitions "
            "of a 3D scan, or a 2D scan with a matrix of 1 along z. Write all partitions, or "
            "correct the header."
        )
    notes.append(
        f"The header says an encoded matrix of {depth} along z; one encode step 2 was acquired, so "
        "the scan is 2D."
    )
    thickness = (
        encoding.recon_field_of_view[2]
        if encoding.recon_matrix[2] == 1
        else encoding.field_of_view[2]
    )
    thickness = thickness / planes if depth == planes else thickness
    size, millimetres = encoding.matrix, encoding.field_of_view
    return replace(
        encoding,
        matrix=(*size[:2], 1),
        field_of_view=(*millimetres[:2], thickness),
        centres=(encoding.centres[0], None),
    )


def _apart(heads: Array, useful: Array, encodings: tuple[Encoding, ...], notes: list[str]) -> Array:
    """Say which acquisitions are a separate calibration scan; embedded calibration lines are part
    of the image.
    """
    flags, refs = heads["flags"].astype(np.uint64), heads["encoding_space_ref"].astype(int)
    marked = useful & bit(flags, CALIBRATION) & ~bit(flags, CALIBRATION_AND_IMAGING)
    apart = np.zeros(len(heads), bool)
    for ref in np.unique(refs[marked]):
        here, mode = marked & (refs == ref), encodings[ref].calibration_mode
        others = heads[useful & ~marked & (refs == ref)]
        if mode in ("separate", "external"):
            apart |= here
            continue
        if mode not in ("embedded", "interleaved") and (
            not len(others) or _repeats(heads[here], others)
        ):
            apart |= here
            notes.append(
                f"{here.sum()} calibration lines were taken for a separate scan: the calibration "
                "mode is "
                f"{mode or 'not stated'}, and they repeat imaging lines or differ from them in "
                "length."
            )
            continue
        notes.append(
            f"{here.sum()} calibration lines are part of the image (calibration mode: "
            f"{mode or 'not stated'})."
        )
    return apart


def _repeats(calibration: Array, imaging: Array) -> bool:
    """Say whether calibration lines lie where imaging lines do, or are of another length."""
    names = [*PLACE, *ALONE, "average"]
    taken = {tuple(int(head["idx"][name]) for name in names) for head in imaging}
    again = any(tuple(int(head["idx"][name]) for name in names) in taken for head in calibration)
    return again or set(calibration["number_of_samples"]) != set(imaging["number_of_samples"])


def _space(
    refs: Array, encodings: tuple[Encoding, ...], wanted: int | None, path: Path, notes: list[str]
) -> int:
    """Return the encoding space to read."""
    spaces, counts = np.unique(refs, return_counts=True)
    if wanted is not None:
        if wanted not in spaces:
            held = ", ".join(str(space) for space in spaces)
            raise SettingError(
                f"--select encoding={wanted}: {path} has images of encoding space {held}. Choose "
                "one of these."
            )
        return wanted
    sizes = [int(np.prod(encodings[space].matrix, dtype=object)) for space in spaces]
    best = max(range(len(spaces)), key=lambda index: (sizes[index], counts[index], -index))
    if len(spaces) > 1:
        rest = "; ".join(
            f"{spaces[k]} ({encodings[spaces[k]]})" for k in range(len(spaces)) if k != best
        )
        notes.append(
            f"Encoding space {spaces[best]} was read, the largest ({encodings[spaces[best]]}); "
            f"left out: {rest}. "
            "Another is chosen by --select encoding=NUMBER."
        )
    return int(spaces[best])


def _series(index: Array, wanted: Mapping[str, int], path: Path, notes: list[str]) -> Array:
    """Say which acquisitions are of the one contrast, phase, repetition and set, and of the slices,
    that are read.
    """
    kept = np.ones(len(index), bool)
    for name in ("slice", *ALONE):
        if name in wanted:
            held = np.unique(index[name])
            kept &= index[name] == wanted[name]
            if not kept.any():
                raise SettingError(
                    f"--select {name}={wanted[name]}: {path} has no such acquisition; it has "
                    f"{name} {held.min()} to "
                    f"{held.max()}."
                )
    counters = np.stack([index[name] for name in ALONE], -1).astype(int)
    series, counts = np.unique(counters[kept], axis=0, return_counts=True)
    best = series[int(counts.argmax())]
    for place, name in enumerate(ALONE):
        several = np.unique(series[:, place])
        if len(several) > 1:
            notes.append(
                f"Of {len(several)} {name}s, {name} {best[place]} was read: the first of those "
                "with most readouts. Another is "
                f"chosen by --select {name}=NUMBER, from {several[0]} to {several[-1]}."
            )
    return np.asarray(kept & (counters == best).all(1))


def _channels(imaging: Array, path: Path) -> int:
    """Return the number of channels, and refuse acquisitions with another, or whose samples are
    missing.
    """
    coils = np.unique(imaging["head"]["active_channels"])
    if len(coils) != 1 or not 0 < int(coils[0]) <= MOST_COILS:
        raise FormatError(
            f"{path}: acquisitions have {coils.tolist()} channels; expected one number up to "
            f"{MOST_COILS}."
        )
    for row in imaging:
        expected = 2 * int(row["head"]["number_of_samples"]) * int(coils[0])
        if len(row["data"]) != expected or not expected:
            raise FormatError(
                f"{path}: an acquisition has {len(row['data'])} numbers, its head says {expected}."
            )
    return int(coils[0])


def _calibration(
    rows: Array, coils: int, slices: Array, notes: list[str]
) -> tuple[Array, int | None]:
    """Return the acquisitions of one separate calibration scan of these slices and coils, and its
    encoding space.
    """
    heads = rows["head"]
    fits = (heads["active_channels"] == coils) & np.isin(heads["idx"]["slice"], slices)
    fits &= np.array(
        [len(row["data"]) == 2 * int(row["head"]["number_of_samples"]) * coils > 0 for row in rows],
        bool,
    )
    if not fits.any():
        if len(rows):
            notes.append(
                f"{len(rows)} calibration lines were left out: they have other coils or slices "
                "than the image."
            )
        return rows[:0], None
    keys = np.stack(
        [heads["encoding_space_ref"], *[heads["idx"][name] for name in ALONE]], -1
    ).astype(int)
    series, counts = np.unique(keys[fits], axis=0, return_counts=True)
    best = series[int(counts.argmax())]
    return rows[fits & (keys == best).all(1)], int(best[0])
