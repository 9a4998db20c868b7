"""Burned in: is there text in the pixels, such as a patient's name in the corner of a screenshot?

Without reading it. Letters that were drawn into an image have thin strokes of one constant value,
are of one height, and stand side by side on a line; anatomy hardly ever does. Text that was
blurred, compressed hard, or is larger than a tenth of the image is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.audit.audited_study import AuditedStudy
from veridical.types import Array, Finding, Image, Result, Study

NAME = "burned-in"
SUBJECT = "set"
PLANES = 8
"""Planes of a volume that are looked at, evenly spread."""
STROKE = 7
"""Pixels: what is thinner than this in one direction can be a stroke."""
CONTRAST = 0.25
"""Of the range of a plane, by which a stroke stands out from what is beside it."""
CONSTANT = 0.05
"""Of the range, the most by which the pixels of a letter differ: their interquartile range."""
HEIGHT, SHARE = 5, 0.1
"""Least height of a letter in pixels, and largest as a share of the plane."""
DENSE = (0.12, 0.85)
"""Share of its box that a letter fills."""
LETTERS = 4
"""On a line."""
SHOWN = 5
Box = tuple[int, int, int, int]
"""Top, left, height and width of a letter, pixels."""


def burned_in(study: Study, result: Result) -> Finding | None:
    """Look for text in images that were read from files or given as a set; None in tasks."""
    images = _subjects(study, result)
    if not images:
        return None
    found, looked = {}, 0
    for name, image in images.items():
        looked += 1
        planes = [letters(plane) for plane in _planes(image)]
        if count := sum(map(bool, planes)):
            found[name] = {"planes": count, "letters": max(planes)}
    evidence = {"images": looked, "text": found}
    if found:
        which = ", ".join([*found][:SHOWN])
        reason = (
            f"In {len(found)} of {looked} images rows of letters were drawn into the pixels "
            f"({which}). They may name a patient: look at them, and blank or crop what does."
        )
        return Finding(NAME, "warn", reason, evidence)
    reason = (
        f"No row of letters was found in {looked} images. Blurred or very large text is missed."
    )
    return Finding(NAME, "pass", reason, evidence)


def letters(plane: Array) -> int:
    """Return how many letters stand on lines in a plane `(row, column)`, written along either axis,
    bright or dark.
    """
    low, high = (float(v) for v in np.percentile(plane, (0.5, 99.9)))
    high = max(high, float(plane.max()) if high <= low else high)
    if high <= low:
        return 0
    scaled = np.clip((plane - low) / (high - low), 0, 1).astype(np.float32)
    count = 0
    for one in (scaled, 1 - scaled):
        boxes = _letters(one)
        turned = [(left, top, width, height) for top, left, height, width in boxes]
        count = max(count, _on_lines(boxes), _on_lines(turned))
    return count


def _letters(plane: NDArray[np.float32]) -> list[Box]:
    """Return parts that look like letters."""
    thin = ndimage.white_tophat(plane, STROKE) > CONTRAST
    labels, count = ndimage.label(thin, np.ones((3, 3)))
    largest = max(SHARE * max(plane.shape), 2 * HEIGHT)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        height, width = (part.stop - part.start for part in box)
        if not HEIGHT <= max(height, width) <= largest:
            continue
        own = labels[box] == number
        if not DENSE[0] <= own.mean() <= (1.0 if min(height, width) <= 3 else DENSE[1]):
            continue
        values = np.percentile(plane[box][own], (25, 75))
        if values[1] - values[0] <= CONSTANT:
            found.append((box[0].start, box[1].start, height, width))
    return found


def _on_lines(boxes: list[Box]) -> int:
    """Return how many letters stand on a line with `LETTERS` or more of one height, close to one
    another.
    """
    count = 0
    used = np.zeros(len(boxes), bool)
    for index, (top, _, height, _) in enumerate(boxes):
        if used[index] or height < HEIGHT:
            continue
        line = [
            n for n, (t, _, h, _) in enumerate(boxes)
            if not used[n] and abs(h - height) <= 0.2 * height + 1
            and abs(t + h - top - height) <= 0.2 * height + 1
        ]  # fmt: skip
        line.sort(key=lambda n: boxes[n][1])
        run = [line[0]]
        for n in line[1:]:
            gap = boxes[n][1] - boxes[run[-1]][1] - boxes[run[-1]][3]
            if gap > 2 * height:
                count += len(run) if len(run) >= LETTERS else 0
                run = []
            run.append(n)
        count += len(run) if len(run) >= LETTERS else 0
        used[line] = True
    return count


def _planes(image: Image) -> Iterator[Array]:
    """Yield planes across the shortest axis of every channel."""
    along = int(np.argmin(image.geometry.shape))
    for data in image.data:
        volume = np.moveaxis(np.nan_to_num(np.asarray(data, np.float32)), along, 0)
        chosen = np.linspace(0, len(volume) - 1, min(PLANES, len(volume))).round().astype(int)
        yield from (volume[index] for index in chosen)


def _subjects(study: Study, result: Result) -> Mapping[str, Image]:
    if not isinstance(study, AuditedStudy):
        return {}
    if study.generated:
        return study.generated
    return {"the image": result.image} if result.kind == "image" else {}
