"""The rows of pictures on the page: images, errors, intervals and evidence, each row in one fixed
window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.evaluation.regions import Region, magnitude
from veridical.report import numbers, pictures
from veridical.report.pictures import Picture, View
from veridical.report.words import Lesion, amount, percent
from veridical.types import Array, Image, Result


@dataclass(frozen=True)
class Scale:
    """A colour bar with what its ends mean."""

    bar: Picture
    low: str
    high: str


@dataclass(frozen=True)
class Cell:
    """A picture, or the reason why there is none; `scale` where the row has none for all; `key`,
    colour and name of what is shown in colours of their own.
    """

    name: str
    caption: str
    alt: str
    picture: Picture | None
    absent: str = ""
    scale: Scale | None = None
    key: tuple[tuple[Picture, str], ...] = ()


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side with a title, a sentence on how to read them, and one scale for all."""

    title: str
    said: str
    scale: Scale
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class Panels:
    """Draws the rows for one slice and one channel.

    Args:
        truth: the true image, or None.
        results: name -> result, all on one grid.
        region: what the windows and shares are of.
        view: the slice.
        channel: index of the channel shown.
    """

    truth: Image | None
    results: Mapping[str, Result]
    region: Region
    view: View
    channel: int

    @property
    def basis(self) -> tuple[str, Image]:
        """The image that the grey window is taken from, and its name: the truth, else the first
        result.
        """
        name, first = next(iter(self.results.items()))
        return ("the truth", self.truth) if self.truth is not None else (name, first.image)

    @property
    def window(self) -> tuple[float, float]:
        """The grey window: the 0.5th percentile of the whole volume to the 99.5th inside the
        region.
        """
        data = self.basis[1].data[self.channel]
        return pictures.percentile_window(data, data[self.region.mask])

    def image(self, data: Array) -> Picture:
        """Return an image `(channel, x, y, z)` in the grey window."""
        return pictures.grey(self._plane(data), self.window, self.view)

    def images(self, captions: Mapping[str, str]) -> PictureRow:
        """Return truth and results side by side, with a caption for each result."""
        cells = [
            Cell(n, captions[n], f"{n}: {captions[n]}", self.image(d.image.data))
            for n, d in self.results.items()
        ]
        if self.truth is not None:
            cells.insert(
                0,
                Cell(
                    "truth", "what was to be found", "the true image", self.image(self.truth.data)
                ),
            )
        low, high = (amount(end, self.basis[1].units) for end in self.window)
        said = f"Black is {low}, white is {high} in every picture, after {self.basis[0]}."
        return PictureRow("Images", said, Scale(pictures.bar("grey"), low, high), tuple(cells))

    def close(self, lesion: Lesion, captions: Mapping[str, str]) -> PictureRow:
        """Return the surroundings of a lesion, enlarged."""
        planes = {name: self._plane(derived.image.data) for name, derived in self.results.items()}
        if self.truth is not None:
            planes = {"truth": self._plane(self.truth.data), **planes}
        around = _around(self._mask(lesion.mask))
        cells = []
        for name, plane in planes.items():
            drawn = pictures.grey(plane[around], self.window, self.view)
            cells.append(Cell(name, captions.get(name, ""), f"{lesion.name} in {name}", drawn))
        scale = Scale(
            pictures.bar("grey"), *(amount(end, self.basis[1].units) for end in self.window)
        )
        said = "Same place, same window in every picture; of several, the largest."
        return PictureRow(
            f"The {lesion.name} and its surroundings, enlarged", said, scale, tuple(cells)
        )

    def errors(self) -> PictureRow | None:
        """Return the error maps, or None without a truth. The first, simplest method does not
        stretch the scale.
        """
        if self.truth is None:
            return None
        true = magnitude(self.truth.data)
        maps = {
            name: np.abs(magnitude(result.image.data) - true)
            for name, result in self.results.items()
        }
        top = self._top(dict(list(maps.items())[1:]) or maps)
        cells = []
        for name, error in maps.items():
            mean = float(error[self.channel][self.region.mask].mean())
            caption = f"mean {amount(mean, self.truth.units)} in the {self.region.name}"
            drawn = pictures.coloured(self._plane(error), (0.0, top), pictures.ERROR, self.view)
            cells.append(Cell(name, caption, f"error of {name}: {caption}", drawn))
        said = "The distance from the truth. Bright is wrong."
        return PictureRow("Error", said, self._scale(pictures.ERROR, top), tuple(cells))

    def widths(self) -> PictureRow | None:
        """Return the half-widths of the intervals, or None where no result has one."""
        maps = {
            n: (d.interval.upper - d.interval.lower) / 2
            for n, d in self.results.items()
            if d.interval is not None
        }
        if not maps:
            return None
        top = self._top(maps)
        cells = []
        for name, derived in self.results.items():
            if derived.interval is None:
                cells.append(_absent(name, derived, "interval"))
                continue
            middle = float(np.median(maps[name][self.channel][self.region.mask]))
            caption = (
                f"median ± {amount(middle, derived.image.units)} at {derived.interval.level:.0%}"
            )
            drawn = pictures.coloured(
                self._plane(maps[name]), (0.0, top), pictures.WIDTH, self.view
            )
            cells.append(Cell(name, caption, f"interval of {name}: {caption}", drawn))
        said = "How far the truth may lie from the image. Bright is unsure."
        return PictureRow("Interval", said, self._scale(pictures.WIDTH, top), tuple(cells))

    def filled(self) -> PictureRow | None:
        """Return the part of each image that the measurement cannot see, or None where no result
        knows it.
        """
        maps = {
            name: magnitude(derived.evidence.unmeasured)
            for name, derived in self.results.items()
            if derived.evidence is not None and derived.evidence.unmeasured is not None
        }
        if not maps:
            return None
        top = self._top(maps)
        cells = []
        for name, derived in self.results.items():
            energy = numbers.prior_energy(derived)
            if name not in maps or energy is None:
                cells.append(Cell(name, "", "", None, "no exact split was computed"))
                continue
            caption = f"{percent(energy)} of the energy"
            drawn = pictures.coloured(
                self._plane(maps[name]), (0.0, top), pictures.FILLED, self.view
            )
            cells.append(Cell(name, caption, f"filled in by {name}: {caption}", drawn))
        said = (
            "The part of each image that lies where the scan is blind, by the exact split. Bright "
            "was filled in."
        )
        return PictureRow("Filled in", said, self._scale(pictures.FILLED, top), tuple(cells))

    def evidence(self) -> PictureRow | None:
        """Return the evidence maps, inside the region, or None where no result has one."""
        if all(numbers.evidence(derived) is None for derived in self.results.values()):
            return None
        cells = []
        for name, derived in self.results.items():
            known = numbers.evidence(derived)
            if known is None:
                cells.append(_absent(name, derived, "evidence"))
                continue
            mean = float(known[self.channel][self.region.mask].mean())
            caption = f"mean {mean:.2f} in the {self.region.name}"
            plane = np.where(self._mask(self.region.mask), self._plane(known), 0.0)
            drawn = pictures.coloured(plane, (0.0, 1.0), pictures.EVIDENCE, self.view)
            cells.append(Cell(name, caption, f"evidence of {name}: {caption}", drawn))
        said = (
            f"How much is owed to the scan rather than to the prior, inside the {self.region.name}."
        )
        scale = Scale(pictures.bar(pictures.EVIDENCE), "0 imagined", "1 measured")
        return PictureRow("Evidence", said, scale, tuple(cells))

    def imagined(self, name: str) -> Picture | None:
        """Return a result with orange where it was imagined, or None without evidence."""
        known = numbers.evidence(self.results[name])
        if known is None:
            return None
        planes = (
            self._plane(self.results[name].image.data),
            self._plane(known),
            self._mask(self.region.mask),
        )
        return pictures.overlay(*planes, self.window, self.view)

    def outline(self, mask: Array) -> Picture:
        """Return the outline of a mask `(x, y, z)` on a transparent ground."""
        return pictures.outline(self._mask(mask), self.view)

    def _plane(self, data: Array) -> Array:
        return self.view.plane(magnitude(data[self.channel]))

    def _mask(self, mask: Array) -> Array:
        return self.view.plane(mask)

    def _top(self, maps: Mapping[str, Array]) -> float:
        """Return the end of a common scale: the 99th percentile inside the region over all maps."""
        values = np.concatenate([found[self.channel][self.region.mask] for found in maps.values()])
        return float(np.percentile(values, 99)) or 1.0

    def _scale(self, colours: str, top: float) -> Scale:
        return Scale(pictures.bar(colours), "0", f"{amount(top, self.basis[1].units)} or more")


def _around(mask: Array) -> tuple[slice, slice]:
    """Return the square about the largest part of a mask in a plane, with a margin of half its
    width and at least 8 pixels.
    """
    if not mask.any():
        return slice(None), slice(None)
    parts, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, parts, range(1, count + 1))
    places = np.argwhere(parts == 1 + int(np.argmax(sizes)))
    low, high = places.min(0), places.max(0) + 1
    middle, half = (low + high) / 2, int(max(8 + (high - low).max() / 2, (high - low).max()))
    start = np.maximum(0, np.round(middle).astype(int) - half)
    end = np.minimum(mask.shape, np.round(middle).astype(int) + half)
    return slice(int(start[0]), int(end[0])), slice(int(start[1]), int(end[1]))


def _absent(name: str, derived: Result, companion: str) -> Cell:
    return Cell(name, "", "", None, derived.absent.get(companion, "no reason was given"))
