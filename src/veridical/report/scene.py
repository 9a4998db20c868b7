"""A scene: what a viewer shows of an image or a result, as files that need no reader.

Every layer is a small NIfTI to draw and, where a voxel can be asked for, a `.npy` with all its
values. Large volumes are drawn on a coarser grid; what is said of a voxel comes from the full one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import InputError
from veridical.evaluation.regions import Region, foreground, magnitude
from veridical.io.guards import write_text
from veridical.phantoms.head_labels import LABELS
from veridical.report import pictures, words
from veridical.report.result_page import finite
from veridical.types import Array, Geometry, Image, Result

SCENE = "scene.json"
DRAWN = 2**25
"""Voxels of a volume that are drawn at most, samples included: what a laptop's browser holds of
several layers."""
WIDEST = 1024
"""Voxels along an axis that are drawn at most."""
SOFT_TISSUE = (-160.0, 240.0)
"""Hounsfield units of the usual window of a body."""
BRIGHT = 3.0
"""Times the median of what is seen: white at the latest."""


@dataclass(frozen=True, eq=False)
class Pane:
    """One thing to look at.

    Args:
        role: `image`, `labels`, `input`, `half-width`, `lower`, `upper`, `evidence`, `filled-in` or
            `samples`.
        channel: that it is about.
        title: in words.
        units: of its numbers.
        window: ends of its scale.
        data: `(x, y, z)`, of samples `(x, y, z, sample)`.
        names: of the labels, number -> name.
        asked: whether a voxel can be asked for.
        cover: `(x, y, z)` in [0, 1], how strongly an overlay covers each voxel; None where it is
            drawn as it is.
    """

    role: str
    channel: str
    title: str
    units: str
    window: tuple[float, float]
    data: Array
    names: Mapping[int, str]
    asked: bool = True
    cover: Array | None = None


def of_image(image: Image) -> list[Pane]:
    """Return the layers of an image, one a channel."""
    shown = finite(image)
    region = foreground(shown)
    return [_picture(shown, channel, region) for channel in shown.channels]


def of_result(result: Result, inputs: Sequence[Image] = ()) -> list[Pane]:
    """Return the layers of a result: of every channel the estimate, the input, the interval, the
    evidence, what the prior filled in, and the samples.

    Args:
        result: with its companions.
        inputs: what it was made from; brought onto the grid of the result to be compared.
    """
    image = finite(result.image)
    region, found = foreground(image), list[Pane]()
    body = replace(region, mask=_filled(region.mask))
    for channel in image.channels:
        shown = _picture(image, channel, region)
        found += [shown, *_companions(result, channel, body, shown)]
    for before in inputs:
        if before.units != "label":
            found += _before(finite(before), image, found)
    return found


def write(folder: Path, grid: Geometry, layers: Sequence[Pane]) -> dict[str, Any]:
    """Write layers of one grid into a folder and return what `scene.json` says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for number, layer in enumerate(layers):
        name = f"{number:02}-{layer.role}"
        shrunk = _draw(folder / f"{name}.nii", grid, layer)
        if layer.asked:
            np.save(folder / f"{name}.npy", layer.data)
        colours = {str(n): _hex(pictures.label_colour(n)) for n in layer.names}
        said.append(
            {
                "id": name,
                "role": layer.role,
                "channel": layer.channel,
                "title": layer.title,
                "units": layer.units,
                "window": layer.window,
                "frames": layer.data.shape[3] if layer.data.ndim == 4 else 1,
                "labels": {str(n): text for n, text in layer.names.items()},
                "colours": colours,
                "asked": layer.asked,
                "shrunk": shrunk,
            }
        )
    scene = {
        "shape": grid.shape,
        "spacing": grid.spacing,
        "affine": grid.affine.tolist(),
        "frame": grid.frame,
        "grid": str(grid),
        "flat": _flat(grid),
        "layers": said,
    }
    write_text(folder / SCENE, json.dumps(scene, indent=1))
    return scene


def read(folder: Path) -> dict[str, Any]:
    """Return what was written of a scene.

    Raises:
        InputError: there is none.
    """
    if not (folder / SCENE).is_file():
        raise InputError("There is nothing to look at here yet. Open the case again.")
    return dict(json.loads((folder / SCENE).read_text(encoding="utf-8")))


def images(folder: Path) -> list[Image]:
    """Return the images of a scene that `of_image` made."""
    scene = read(folder)
    grid = Geometry(tuple(scene["shape"]), np.array(scene["affine"]), scene["frame"])
    return [
        Image(_values(folder, one)[None], grid, one["units"], (one["channel"],))
        for one in scene["layers"]
    ]


def probe(folder: Path, place: Sequence[float]) -> dict[str, Any]:
    """Return what a scene says of the voxel at a place.

    Args:
        folder: of the scene.
        place: `(x, y, z)` in mm, RAS+; in voxels where the grid has no millimetres.

    Returns:
        `inside`, `voxel`, `values` (layer -> number) and `sentences`, one a channel.
    """
    scene = read(folder)
    inverse = np.linalg.inv(np.array(scene["affine"]))
    voxel = np.rint((inverse @ np.array([*place, 1.0]))[:3]).astype(int)
    inside = bool(((voxel >= 0) & (voxel < scene["shape"])).all())
    if not inside:
        return {"inside": False, "voxel": voxel.tolist(), "values": {}, "sentences": []}
    at = tuple(int(one) for one in voxel)
    asked = [one for one in scene["layers"] if one["asked"]]
    values = {one["id"]: float(_values(folder, one)[at]) for one in asked}
    by_channel: dict[str, dict[str, tuple[dict[str, Any], float]]] = {}
    for one in asked:
        by_channel.setdefault(one["channel"], {})[one["role"]] = (one, values[one["id"]])
    said = [" ".join(_said(channel, found)) for channel, found in by_channel.items()]
    return {"inside": True, "voxel": list(at), "values": values, "sentences": said}


def _said(channel: str, found: Mapping[str, tuple[dict[str, Any], float]]) -> Iterator[str]:
    """Yield what is known of a voxel of one channel, in words."""
    if "labels" in found:
        one, value = found["labels"]
        number = str(round(value))
        yield f"{channel}: {one['labels'].get(number, 'nothing' if number == '0' else number)}."
    if "image" in found:
        one, value = found["image"]
        text = f"{channel} {words.amount(value, one['units'])}"
        if "lower" in found and "upper" in found:
            low, high = found["lower"][1], found["upper"][1]
            text += f", {found['lower'][0]['title']} {low:.4g} to {high:.4g}"
        yield text + ";" if "evidence" in found else _ended(text)
    if "evidence" in found:
        yield f"{words.percent(min(max(found['evidence'][1], 0.0), 1.0))} measured."
    if "input" in found:
        one, value = found["input"]
        yield _ended(f"{words.capital(one['title'])}: {words.amount(value, one['units'])}")


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(".") else f"{sentence}."


def _picture(image: Image, channel: str, region: Region) -> Pane:
    data, units = magnitude(image[channel]).astype(np.float32), image.units_of(channel)
    if units == "label":
        ours = "synthetic" in image.header and channel == "structures"
        names = image.header.get("labels") or (dict(enumerate(LABELS)) if ours else {})
        known = {int(n): str(names.get(int(n), f"label {int(n)}")) for n in np.unique(data) if n}
        top = float(max(known, default=1))
        return Pane("labels", channel, channel, units, (0.0, top), data, known)
    return Pane("image", channel, channel, units, _window(data, region.mask, units), data, {})


def _window(data: Array, seen: Array, units: str) -> tuple[float, float]:
    """Return the ends of the grey scale: of CT soft tissue, else by percentiles of what is seen.

    White is no further up than a few times the median, so that bright fat does not darken all else.
    """
    if units == "HU":
        return SOFT_TISSUE
    inner = data[seen] if seen.any() else data
    low, high = pictures.percentile_window(data, inner)
    bright = BRIGHT * float(np.median(inner))
    return (low, bright) if 0 <= low < bright < high else (low, high)


def _companions(result: Result, channel: str, region: Region, shown: Pane) -> Iterator[Pane]:
    """Yield the interval, the evidence, what was filled in and the samples of a channel."""
    k, units = result.image.channels.index(channel), result.image.units_of(channel)
    band, parts = result.interval, result.evidence
    if band is not None:
        low, high = (magnitude(end[k]).astype(np.float32) for end in (band.lower, band.upper))
        half, said = (high - low) / 2, f"{words.percent(band.level)} interval"
        about = f"half-width of the {said}"
        top = _top(half, region)
        cover = _cover(half / top, region)
        yield Pane("half-width", channel, about, units, (0.0, top), half, {}, cover=cover)
        yield Pane("lower", channel, said, units, shown.window, low, {})
        yield Pane("upper", channel, said, units, shown.window, high, {})
    if parts is not None and parts.map is not None:
        shares = np.asarray(parts.map[k], np.float32)
        cover = _cover(1 - shares, region)
        yield Pane("evidence", channel, "share measured", "1", (0.0, 1.0), shares, {}, cover=cover)
    if parts is not None and parts.unmeasured is not None and parts.unmeasured[k].any():
        filled = np.abs(parts.unmeasured[k]).astype(np.float32)
        top = _top(filled, region)
        cover, said = _cover(filled / top, region), "filled in by the prior"
        yield Pane("filled-in", channel, said, units, (0.0, top), filled, {}, cover=cover)
    if result.draws is not None and len(result.draws) > 1:
        film = np.moveaxis(magnitude(result.draws[:, k]).astype(np.float32), 0, -1)
        yield Pane("samples", channel, "samples", units, shown.window, film, {}, asked=False)


def _before(before: Image, image: Image, found: Sequence[Pane]) -> Iterator[Pane]:
    """Yield the channels of an input on the grid of the result."""
    windows = {one.channel: (one.window, one.units) for one in found if one.role == "image"}
    for channel in before.channels:
        data = on_grid(magnitude(before[channel]), before.geometry, image.geometry)
        units = before.units_of(channel)
        window = _window(data, data > data.mean(), units)
        if windows.get(channel, ((), ""))[1] == units:
            window = windows[channel][0]
        name = f"input {channel}" if len(before.channels) > 1 or channel not in windows else "input"
        yield Pane("input", channel, name, units, window, data, {})


def on_grid(data: Array, grid: Geometry, other: Geometry) -> Array:
    """Return a volume on another grid, linearly; 0 outside of its field of view.

    Where one of the grids has no millimetres, both are taken to show the same field of view.
    """
    from scipy import ndimage

    if grid.matches(other):
        return data.astype(np.float32)
    if "index" in (grid.frame, other.frame):
        scale = np.array(grid.shape) / np.array(other.shape)
        matrix, offset = np.diag(scale), 0.5 * scale - 0.5
    else:
        moved = np.linalg.inv(grid.affine) @ other.affine
        matrix, offset = moved[:3, :3], moved[:3, 3]
    mode = "nearest" if 1 in grid.shape else "constant"
    moved = ndimage.affine_transform(
        data.astype(np.float32), matrix, offset, other.shape, order=1, mode=mode
    )
    return np.asarray(moved, np.float32)


def _draw(path: Path, grid: Geometry, layer: Pane) -> list[int]:
    """Write a layer as it is drawn, 16 bits a voxel; return by how much each axis was shrunk.

    Of an overlay it is the root of its cover: the viewer squares what it makes opacity of.
    """
    import nibabel

    data, steps = layer.data if layer.cover is None else np.sqrt(layer.cover), [1, 1, 1]
    frames = data.shape[3] if data.ndim == 4 else 1
    while True:
        drawn = [-(-size // step) for size, step in zip(grid.shape, steps, strict=True)]
        if max(drawn) <= WIDEST and np.prod(drawn) * frames <= DRAWN:
            break
        finest = max(range(3), key=lambda axis: (drawn[axis], -axis))
        steps[finest] += 1
    affine = grid.affine.copy()
    if max(steps) > 1:
        data = _shrunk(data, steps, layer.role == "labels")
        affine[:3, 3] += affine[:3, :3] @ ((np.array(steps) - 1) / 2)
        affine[:3, :3] = affine[:3, :3] * np.array(steps)
    low, high = float(data.min()), float(data.max())
    slope = 1.0 if layer.role == "labels" else (high - low) / 65_000 or 1.0
    offset = 0.0 if layer.role == "labels" else (high + low) / 2
    stored = np.round((data - offset) / slope).astype(np.int16)
    image = nibabel.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, offset)
    image.to_filename(path)
    return steps


def _shrunk(data: Array, steps: Sequence[int], labels: bool) -> Array:
    """Return block means over `steps` voxels, of labels the voxel in the middle of each block."""
    if labels:
        first, second, third = (step // 2 for step in steps)
        padded = _padded(data, steps)
        return padded[first :: steps[0], second :: steps[1], third :: steps[2]]
    for axis, step in enumerate(steps):
        starts = np.arange(0, data.shape[axis], step)
        counts = np.diff([*starts, data.shape[axis]])
        sums = np.add.reduceat(data, starts, axis)
        shape = [1] * data.ndim
        shape[axis] = len(counts)
        data = sums / counts.reshape(shape).astype(np.float32)
    return data


def _padded(data: Array, steps: Sequence[int]) -> Array:
    widths = [(0, -size % step) for size, step in zip(data.shape[:3], steps, strict=True)]
    return np.pad(data, widths + [(0, 0)] * (data.ndim - 3), mode="edge")


def _flat(grid: Geometry) -> str:
    """Return how a grid of one slice lies: `axial`, `coronal` or `sagittal`; empty for a volume."""
    if min(grid.shape) > 1:
        return ""
    along = next(axis for axis in (2, 1, 0) if grid.shape[axis] == 1)
    world = int(np.abs(grid.affine[:3, along]).argmax())
    return ("sagittal", "coronal", "axial")[world]


def _values(folder: Path, layer: Mapping[str, Any]) -> Array:
    return np.asarray(np.load(folder / f"{layer['id']}.npy", mmap_mode="r", allow_pickle=False))


def _filled(mask: Array) -> Array:
    """Return a foreground without the holes that dark tissue leaves in it, slice by slice."""
    from scipy import ndimage

    along = next((axis for axis in (2, 1, 0) if mask.shape[axis] == 1), 2)
    slices = [
        ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(one, 3), iterations=2))[3:-3, 3:-3]
        for one in np.moveaxis(mask, along, 0)
    ]
    return np.asarray(np.moveaxis(np.stack(slices), 0, along) | mask)


def _cover(share: Array, region: Region) -> Array:
    """Return how strongly an overlay covers the foreground; air is not covered."""
    return np.where(region.mask, np.clip(np.nan_to_num(share), 0, 1), 0).astype(np.float32)


def _top(data: Array, region: Region) -> float:
    return float(np.percentile(np.nan_to_num(data)[region.mask], 99)) or 1.0


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
