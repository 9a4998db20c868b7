"""DICOM slices as one volume: which of them belong together, in which order, and the affine; gaps
and copies are named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.io.dicom_slice import APART, Slice
from veridical.types import Array

NEAR = 1e-3
"""Millimetres along the normal within which two slices lie at one place."""
LISTED = 12
"""Stacks that a message lists."""
PLACES: dict[str, tuple[Callable[[Slice], Any], float]] = {
    "series": (lambda one: one.series, 0.0),
    "size": (lambda one: one.size, 0.0),
    "frame of reference": (lambda one: one.frame, 0.0),
    "orientation": (lambda one: one.orientation, 1e-3),
    "pixel spacing": (lambda one: one.spacing, 1e-4),
}
"""What slices of one volume have in common, and by how much numbers may differ."""


def stack_of(images: Sequence[Slice], stack: int | None, path: Path) -> tuple[list[Slice], str]:
    """Return the slices of one volume along the normal of their plane, and a sentence where there
    were others.

    Args:
        images: all of a folder or file.
        stack: number of the volume, counted from 1 as messages list them; None: there is only one.
        path: for messages.

    Raises:
        InputError: there are several and none is chosen, or not so many.
        GeometryError: row and column are not perpendicular, or there is no positive spacing.
    """
    images, copies = _without_copies(images)
    stacks, differs = _split(images, list(PLACES), [])
    if len(stacks) == 1 and stack in (None, 1):
        return _ordered(stacks[0], path), _left_out(copies, path)
    listed = "; ".join(
        f"{number}: {_described(one, differs)}" for number, one in enumerate(stacks[:LISTED], 1)
    )
    listed += f"; and {len(stacks) - LISTED} more" if len(stacks) > LISTED else ""
    held = f"{path} holds {len(stacks)} {'series' if differs == ['series'] else 'stacks of slices'}"
    said = f"{held}, which differ in {' and '.join(differs)}: {listed}" if differs else held
    if stack is None:
        raise InputError(f"{said}. Choose one: --stack 1. Or put each into a folder of its own.")
    if not 1 <= stack <= len(stacks):
        raise InputError(f"{said}. Stack {stack} was asked for; expected 1 to {len(stacks)}.")
    dropped = f" {left_out}" if (left_out := _left_out(copies, path)) else ""
    return _ordered(stacks[stack - 1], path), f"{said}. Stack {stack} was read.{dropped}"


def stacks_of(images: Sequence[Slice], path: Path) -> tuple[list[list[Slice]], str]:
    """Return the slices of every volume in order, and a sentence where copies were left out.

    Raises:
        GeometryError: as `stack_of`.
    """
    kept, copies = _without_copies(images)
    stacks, _ = _split(kept, list(PLACES), [])
    return [_ordered(stack, path) for stack in stacks], _left_out(copies, path)


def _without_copies(images: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Return the images, without those that are another one again: the same series, place, headers
    that tell images apart, and values; and what was left out.
    """
    kept, copies = dict[Any, list[Slice]](), list[Slice]()
    for one in images:
        place = (one.series, one.size, tuple(one.apart.values()), *one.orientation, *one.position)
        same = kept.setdefault(place, [])
        if any(np.array_equal(one.pixels(), other.pixels()) for other in same):
            copies.append(one)
        else:
            same.append(one)
    return [one for same in kept.values() for one in same], copies


def _left_out(copies: list[Slice], path: Path) -> str:
    if not copies:
        return ""
    files = sorted({one.path.name for one in copies})
    listed = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    return f"{path.name}: {len(copies)} copies of slices were left out: {listed}."


def _split(
    images: list[Slice], places: list[str], differs: list[str]
) -> tuple[list[list[Slice]], list[str]]:
    """Return the stacks and the names of what tells them apart; by what a volume has in common,
    then by what is left.
    """
    for index, name in enumerate(places):
        groups = _alike(images, *PLACES[name])
        if len(groups) > 1:
            return _each(groups, places[index + 1 :], [*differs, name])
    if not _twice(images):
        return [images], differs
    for name in APART:
        groups = _alike(images, lambda one, name=name: one.apart[name], 0.0)  # type: ignore[misc]
        if len(groups) > 1:
            groups.sort(key=lambda group, name=name: _as_number(group[0].apart[name]))  # type: ignore[misc]
            return _each(groups, [], [*differs, name])
    return [images], differs


def _each(
    groups: list[list[Slice]], places: list[str], differs: list[str]
) -> tuple[list[list[Slice]], list[str]]:
    """Split every group further."""
    found, names = list[list[Slice]](), list(differs)
    for group in groups:
        stacks, more = _split(group, places, differs)
        found += stacks
        names += [name for name in more if name not in names]
    return found, names


def _alike(images: list[Slice], key: Callable[[Slice], Any], tolerance: float) -> list[list[Slice]]:
    """Return the images grouped by a value, in the order in which the values occur."""
    groups: list[tuple[Any, list[Slice]]] = []
    for one in images:
        value = key(one)
        same = (
            group
            for first, group in groups
            if (np.abs(value - first).max() <= tolerance if tolerance else value == first)
        )
        group = next(same, None)
        if group is None:
            groups.append((value, group := []))
        group.append(one)
    return [group for _, group in groups]


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _twice(images: list[Slice]) -> bool:
    row, column = images[0].orientation.reshape(2, 3)
    along = np.sort([float(one.position @ np.cross(row, column)) for one in images])
    return len(along) > 1 and bool(np.diff(along).min() < NEAR)


def _described(stack: list[Slice], differs: list[str]) -> str:
    """Return `12 x echo time 90.0`: how many slices, and what tells them from the others."""
    first = stack[0]
    values = {
        "series": first.label,
        "size": f"size {first.size[0]} x {first.size[1]}",
        "frame of reference": f"frame of reference {first.frame[-8:]}",
        "orientation": f"orientation {' '.join(f'{value + 0.0:.2f}' for value in first.orientation)}",  # noqa: E501
        "pixel spacing": f"pixel spacing {' x '.join(f'{value:.4g}' for value in first.spacing)}",
    } | {name: f"{name} {value or 'none'}" for name, value in first.apart.items()}
    return f"{len(stack)} x {', '.join(values[name] for name in differs) or first.label}"


def _ordered(images: list[Slice], path: Path) -> list[Slice]:
    axes, gaps = images[0].orientation.reshape(2, 3), images[0].spacing
    if not np.allclose(axes @ axes.T, np.eye(2), atol=2e-3) or gaps.min() <= 0:
        raise GeometryError(
            f"{path}: orientation {axes.ravel().tolist()} with pixel spacing {gaps.tolist()}; "
            "expected two perpendicular unit "
            "vectors and positive spacing."
        )
    normal = np.cross(*axes)
    return sorted(images, key=lambda one: float(one.position @ normal))


def part_of(images: list[Slice], slices: tuple[int, int] | None, path: Path) -> list[Slice]:
    """Return the slices from the first to the last of `slices`, counted from 1.

    Raises:
        InputError: there are not so many.
    """
    if slices is None:
        return images
    first, last = slices
    if not 1 <= first <= last <= len(images):
        raise InputError(f"{path} has slices 1 to {len(images)}; {first} to {last} were asked for.")
    return images[first - 1 : last]


def affine_of(images: list[Slice], path: Path) -> Array:
    """Return the affine (LPS) from the positions of the first and the last slice.

    Raises:
        GeometryError: a slice is missing or there twice, or the only one has no thickness.
    """
    row, column = images[0].orientation.reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * images[0].spacing[1], column * images[0].spacing[0]
    affine[:3, 2] = _step(images, np.cross(row, column), path)
    affine[:3, 3] = images[0].position
    return affine


def _step(images: list[Slice], normal: Array, path: Path) -> Array:
    """Return the vector from slice to slice, or say where it changes."""
    if len(images) == 1:
        if images[0].thickness <= 0:
            raise GeometryError(
                f"{path} is one slice without a thickness; its voxels have no size. Add "
                "SliceThickness."
            )
        return np.asarray(normal * images[0].thickness)
    steps = np.diff([one.position for one in images], axis=0)
    along = steps @ normal
    if along.min() < NEAR:
        twice = int(np.argmin(along))
        files = sorted({images[twice].path.name, images[twice + 1].path.name})
        raise GeometryError(
            f"{path}: {int((along < NEAR).sum())} slices lie at the place of another, the first is "
            f"number {twice + 1} "
            f"({', '.join(files)}). Nothing in their headers tells them apart, and their values "
            "differ. Remove those that do not belong there."
        )
    if uneven(images):
        usual = float(np.median(along))
        raise GeometryError(
            f"{path}: slices are not evenly spaced: {_slabs(along)}. "
            f"{_missing(images, along, usual)}"
            "Complete it, read one slab: --slices FIRST LAST, or have what is missing "
            "interpolated: --allow-gaps."
        )
    return np.asarray((images[-1].position - images[0].position) / (len(images) - 1))


def uneven(images: Sequence[Slice]) -> bool:
    """Say whether the steps from slice to slice differ by over 1 %, and 0.01 mm."""
    steps = np.diff([one.position for one in images], axis=0)
    usual = float(np.median(np.linalg.norm(steps, axis=1)))
    return bool(np.abs(steps - steps.mean(0)).max() > max(0.01 * usual, 0.01))


def _missing(images: list[Slice], along: Array, usual: float) -> str:
    """Return which slices are missing, where gaps are multiples of the usual distance; else what it
    may be.
    """
    times = along / usual
    wide = np.flatnonzero(times > 1.5)
    if not len(wide) or np.abs(times - times.round()).max() > 0.02:
        return "A slice is missing, or the series is made of several slabs. "
    said = []
    for k in wide[:4].tolist():
        count = round(times[k]) - 1
        steps = [(n + 1) / (count + 1) for n in range(min(count, 3))]
        ends = images[k].position, images[k + 1].position
        places = [ends[0] + share * (ends[1] - ends[0]) for share in steps]
        listed = "; ".join(" ".join(f"{value + 0.0:.4g}" for value in place) for place in places)
        said.append(
            f"{count} between {images[k].path.name} and {images[k + 1].path.name} (numbers {k + 1} "
            f"and {k + 2}; at {listed}{'; ...' if count > 3 else ''} mm)"
        )
    more = f", and {len(wide) - 4} more gaps" if len(wide) > 4 else ""
    return f"Slices are missing: {', '.join(said)}{more}. "


def _slabs(along: Array) -> str:
    """Return runs of equal distance in words, `slices 1-14 every 4.00 mm`."""
    runs: list[tuple[int, int, float]] = []
    for number, step in enumerate(along.tolist(), 1):
        if runs and abs(runs[-1][2] - step) < max(0.01 * step, 0.01):
            runs[-1] = (runs[-1][0], number + 1, runs[-1][2])
        else:
            runs.append((number, number + 1, step))
    said = [f"slices {first}-{last} every {step:.2f} mm" for first, last, step in runs[:6]]
    return ", ".join(said) + (f" and {len(runs) - 6} more runs" if len(runs) > 6 else "")
