"""Several draws of each case: a folder a case, numbered files, one file with a fourth axis,
results, or one array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.evaluation.names import case_names
from veridical.evaluation.sources import NIFTI, Source, as_array, as_image, images_of, results
from veridical.io.contrast import stem
from veridical.layouts.tree import Listing
from veridical.types import Array

NUMBERED = re.compile(r"(.+?)_draw-?(\d+)(.*)")

Draws = dict[str, tuple[Source, ...]]


def find_draws(where: Any, options: Mapping[str, Any], channels: int = 1) -> Draws:
    """Return the draws at `where` by case, each a source of one image.

    Args: where: a folder with files `<case>_draw-<n>`, with a folder of files a case, with one 4D
        NIfTI file a case (the fourth axis runs over draws, channels fastest) or with results of
        Veridical; or an array or tensor `(case, draw, channel, x, y[, z])`, with one channel also
        `(case, draw, x, y)`. options: as for `veridical.evaluation.sources.find`. channels: of one
        draw.

    Raises:
        InputError: nothing of that kind is there, or a file does not hold whole draws.
    """
    if not isinstance(where, str | Path):
        return _in_memory(where, options)
    root = Path(where)
    if root.is_file():
        return {stem(root): _fourth_axis(root, stem(root), options, channels)}
    files = images_of(Listing.of(root)) if root.is_dir() else []
    saved = results(root, "draws", options)
    if saved:
        return {
            name: _fourth_axis(_path(source), name, options, channels)
            for name, source in saved.items()
        }
    if not files:
        raise InputError(
            f"{root} holds no draws. Expected <case>_draw-<n>.nii.gz, a folder of files a case, or "
            "4D files."
        )
    numbered = [NUMBERED.fullmatch(stem(file)) for file in files]
    if all(numbered):
        return _grouped(files, root, options)
    if all(file.parent != root for file in files) and len({file.parent for file in files}) < len(
        files
    ):
        return _foldered(files, root, options)
    names = case_names([(_folder(file, root), stem(file)) for file in files])
    return {
        name: _fourth_axis(file, name, options, channels)
        for name, file in zip(names, files, strict=True)
    }


def load_draws(sources: Sequence[Source]) -> Array:
    """Return `(draw, channel, x, y, z)`; a file that holds several draws is read once.

    Raises:
        GeometryError: the draws differ in shape.
        InputError, FormatError: as `Source.load` says.
    """
    parts: list[Array] = []
    for path, group in groupby(sources, lambda source: source.path):
        several = list(group)
        if path is None or not several[0].channels:
            parts += [source.load().data for source in several]
            continue
        width = several[0].channels
        whole = (
            replace(
                several[0],
                index=0,
                channels=width * (1 + max(source.index or 0 for source in several)),
            )
            .load()
            .data
        )
        parts += [whole[(s.index or 0) * width : ((s.index or 0) + 1) * width] for s in several]
    if len({part.shape for part in parts}) > 1:
        raise GeometryError(
            f"The draws of {sources[0].name} differ in shape: "
            f"{sorted({part.shape for part in parts})}."
        )
    return np.stack(parts)


def _path(source: Source) -> Path:
    assert source.path is not None, "results lie on disk"
    return source.path


def _folder(file: Path, root: Path) -> str:
    folder = file.relative_to(root).parent.as_posix()
    return "" if folder == "." else folder


def _grouped(files: Sequence[Path], root: Path, options: Mapping[str, Any]) -> Draws:
    """Group `<case>_draw-<n>` by case, in the order of n."""
    numbers: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for file in files:
        found = NUMBERED.fullmatch(stem(file))
        assert found is not None, "only numbered files come here"
        numbers.setdefault((_folder(file, root), found[1] + found[3]), []).append(
            (int(found[2]), file)
        )
    named = zip(case_names(list(numbers)), numbers.values(), strict=True)
    return {
        name: tuple(Source(name, file, options) for _, file in sorted(several))
        for name, several in named
    }


def _foldered(files: Sequence[Path], root: Path, options: Mapping[str, Any]) -> Draws:
    """Take each folder as a case and its files as draws, `2` before `10`."""
    folders: dict[str, list[Path]] = {}
    for file in files:
        folders.setdefault(_folder(file, root), []).append(file)
    named = zip(case_names([(folder, "") for folder in folders]), folders.values(), strict=True)
    return {
        name: tuple(Source(name, file, options) for file in sorted(several, key=_natural))
        for name, several in named
    }


def _natural(file: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)
    ]


def _fourth_axis(
    file: Path, name: str, options: Mapping[str, Any], channels: int
) -> tuple[Source, ...]:
    """Return one source a draw of a 4D file; only its header is read."""
    import nibabel

    if not file.name.endswith(NIFTI):
        raise InputError(
            f"{file} is one file for the draws of {name}; expected a 4D NIfTI. Give one file a "
            "draw otherwise."
        )
    try:
        shape = nibabel.load(file).shape
    except Exception as error:  # nibabel raises errors of many kinds on a damaged header
        raise InputError(
            f"The draws in {file} cannot be read ({error}). Copy the file again."
        ) from error
    count = int(shape[3]) if len(shape) > 3 else 1
    if count % channels:
        raise InputError(
            f"{file} has {count} volumes, no multiple of the {channels} channels of the candidate. "
            "Check the draws."
        )
    rest = {key: value for key, value in options.items() if key != "contrast"}
    return tuple(
        Source(name, file, rest, number, channels=channels) for number in range(count // channels)
    )


def _in_memory(where: Any, options: Mapping[str, Any]) -> Draws:
    array = as_array(where)
    axes = {4: ("x", "y"), 5: ("channel", "x", "y"), 6: ("channel", "x", "y", "z")}.get(array.ndim)
    if axes is None or 0 in array.shape:
        raise InputError(
            f"Draws of shape {array.shape} were given; expected (case, draw, x, y), (case, draw, "
            "channel, x, y) or "
            "(case, draw, channel, x, y, z)."
        )
    return {
        f"{n:04d}": tuple(
            Source(f"{n:04d}", None, {}, number, as_image(one, axes, options, Path("draws")))
            for number, one in enumerate(draws)
        )
        for n, draws in enumerate(array)
    }
