"""Digital patients for the jobs of a league, also for those of which no real data lie ready:
motion, follow-up, dose, anatomy, clinical numbers.

A scene shows named channels of one slice between its neighbours. What it simulates is simple, and
is known exactly; it shows whether a method can learn a job, not how good it is on patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from scipy import ndimage

from veridical.errors import SettingError, nearest
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.population import Pathology
from veridical.phantoms.rendering import PhantomSlice, render
from veridical.physics.tissue import LESIONS, TissueClass
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.training.digital_patients import phantom_slab
from veridical.training.prepared_visits import Slab
from veridical.types import Array

GAP, FIELD_OF_VIEW = 2.0, 220.0
"""mm between neighbouring slices, and that a slice is wide."""
SWING, REACH, APART = 0.05, 0.22, 0.12
"""Largest displacement of a moving slice and width of what moves, shares of its side; share of a
cycle between two frames.
"""
NAVIGATOR = 0.06
"""Share of the spatial frequencies that a navigator image shows, along each axis."""
GROWTH = (1.5, 4.0)
"""mm by which lesions have grown at the later visit."""
BEAMS, ABSORBED = 9, 0.005
"""Directions of the beams, and the share that a millimetre of water absorbs: 6 MV photons."""
YEARS, LOAD = 100.0, 0.1
"""Age, and share of the brain with lesions, that are 1 in their channels."""


@dataclass(frozen=True)
class ScenePlace:
    """Which digital patient, and on what grid.

    Args:
        heads: the patients.
        index: number of the patient.
        size: rows and columns of the slice.
    """

    heads: Cohort
    index: int
    size: int

    @property
    def spacing(self) -> float:
        """Pixel size, mm."""
        return FIELD_OF_VIEW / self.size

    def imaged(self, names: Sequence[str]) -> Slab:
        """Return the slice in some contrasts or modalities, in network units."""
        size = (self.size, self.size)
        found = phantom_slab(
            self.heads, self.index, tuple(names), GAP, Preprocessing(), size, self.spacing
        )
        return replace(found, images=found.images.astype(np.float32))

    def heads_of(self) -> tuple[PhantomSlice, PhantomSlice, PhantomSlice]:
        """Return the slice with all that is known of it, then the one below and the one above."""
        size = (self.size, self.size)
        below, middle, above = self.heads.slab(self.index, GAP, size, self.spacing)
        return middle, below, above

    def generator(self) -> np.random.Generator:
        """Return random numbers of this patient."""
        return np.random.default_rng((self.heads.seed, self.index, 23))


Channels = Mapping[str, Array]
"""Channel -> `(3, y, x)` in network units: the slice, the one below, the one above."""


def head(place: ScenePlace, names: Sequence[str]) -> Channels:
    """Any contrasts or modalities of a head."""
    slab = place.imaged(names)
    return dict(zip(slab.names, slab.images, strict=True))


def cine(place: ScenePlace, names: Sequence[str]) -> Channels:
    """Moving tissue: frames `before`, `now` and `after`, the slice at rest (`reference`), and a
    blurred image of now (`navigator`).
    """
    rng, (rest,) = place.generator(), place.imaged(("T2w",)).images
    phase, side = rng.uniform(0, 2 * np.pi), place.size
    middle = rng.uniform(0.35, 0.65, 2) * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bump = np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (2 * (REACH * side) ** 2))

    def at(turn: float) -> Array:
        shift = SWING * side * np.sin(phase + 2 * np.pi * turn) * bump
        moved = [ndimage.map_coordinates(one, (y + shift, x), order=1) for one in rest]
        return np.stack(moved).astype(np.float32)

    now = at(0.0)
    return {
        "before": at(-APART),
        "now": now,
        "after": at(APART),
        "reference": rest,
        "navigator": np.stack([_coarse(one) for one in now]),
    }


def follow_up(place: ScenePlace, names: Sequence[str]) -> Channels:
    """A FLAIR (`earlier`), and one of the same patient when lesions have grown (`later`); every
    patient has some.
    """
    kind: Pathology = "ms" if place.index % 2 else "tumour"
    now = place.heads.slice(place.index, (place.size, place.size), place.spacing, pathology=kind)
    later = _grown(now, max(1.0, float(place.generator().uniform(*GROWTH)) / place.spacing))
    images = {name: render(head, "FLAIR") for name, head in (("earlier", now), ("later", later))}
    unit = Preprocessing().unit(images["earlier"][None])
    return {
        name: np.repeat((image / unit).astype(np.float32)[None], 3, 0)
        for name, image in images.items()
    }


def dose(place: ScenePlace, names: Sequence[str]) -> Channels:
    """CT, a `target`, and the `dose` of nine even beams on it, 1 in its middle."""
    slab, rng = place.imaged(("CT",)), place.generator()
    ct = slab.images[0]
    side = place.size
    y, x = np.mgrid[:side, :side] / side - rng.uniform(0.4, 0.6, 2)[:, None, None]
    angle, axes = rng.uniform(0, np.pi), rng.uniform(0.06, 0.13, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = ((along / axes[0]) ** 2 + (across / axes[1]) ** 2 < 1) & (ct[0] > -0.5)
    planned = np.stack([_beams(one, inside, place.spacing) * (one > -0.5) for one in ct])
    target = np.repeat(inside[None].astype(np.float32), 3, 0)
    return {"CT": ct, "target": target, "dose": planned}


def anatomy(place: ScenePlace, names: Sequence[str]) -> Channels:
    """The label map of the tissues as one channel (`anatomy`), and contrasts of the same slice."""
    wanted = [name for name in names if name != "anatomy"]
    labels = np.stack([one.labels for one in place.heads_of()]) / len(TissueClass)
    return {"anatomy": labels.astype(np.float32), **head(place, wanted)}


def clinical(place: ScenePlace, names: Sequence[str]) -> Channels:
    """The patient's `age` and `load` of lesions as even channels, and contrasts."""
    wanted = [name for name in names if name not in ("age", "load")]
    middle, *_ = place.heads_of()
    kind = cast(Pathology, middle.pathology)
    age = place.heads.draw(place.index, kind).age / YEARS
    load = float(middle.lesions.sum()) / max(1, int(middle.brain.sum())) / LOAD
    shape = (3, place.size, place.size)
    even = {
        name: np.full(shape, value, np.float32) for name, value in (("age", age), ("load", load))
    }
    return {**even, **head(place, wanted)}


SCENES: Mapping[str, Callable[[ScenePlace, Sequence[str]], Channels]] = {
    "head": head,
    "cine": cine,
    "follow-up": follow_up,
    "dose": dose,
    "anatomy": anatomy,
    "clinical": clinical,
}
"""Name -> what it shows."""


def scene(name: str, place: ScenePlace, channels: Sequence[str]) -> Slab:
    """Return a slice of a digital patient with the channels that are asked for.

    Args:
        name: of the scene.
        place: which patient.
        channels: names, in their order.

    Raises:
        SettingError: there is no such scene, or it has no such channel.
    """
    if name not in SCENES:
        raise SettingError(f"No scene is called {name!r}. {nearest(name, SCENES)}")
    found = SCENES[name](place, channels)
    for channel in channels:
        if channel not in found:
            raise SettingError(f"The scene {name} shows no {channel!r}. {nearest(channel, found)}")
    preprocessing = Preprocessing()
    images = np.stack([preprocessing.clipped(found[channel]) for channel in channels])
    return Slab(images.astype(np.float16), tuple(channels), (place.spacing, place.spacing))


def _coarse(plane: Array) -> Array:
    """Return the lowest spatial frequencies of a slice."""
    spectrum = np.fft.fft2(plane)
    ky, kx = (np.abs(np.fft.fftfreq(n)) <= NAVIGATOR for n in plane.shape)
    return np.asarray(np.abs(np.fft.ifft2(spectrum * np.outer(ky, kx))), np.float32)


def _grown(head: PhantomSlice, width: float) -> PhantomSlice:
    """Return a slice in which every lesion is larger by `width` pixels."""
    lesion = head.tissues[list(LESIONS)]
    if not lesion.sum() > 0:
        return head
    reach = 2 * int(np.ceil(width)) + 1
    y, x = np.mgrid[:reach, :reach] - reach // 2
    disc = y**2 + x**2 <= width**2
    wider = np.stack([ndimage.grey_dilation(one, footprint=disc) for one in lesion])
    wider = wider * head.brain
    wider = wider / np.maximum(wider.sum(0), 1.0)
    tissues = head.tissues.copy()
    tissues[list(LESIONS)] = 0
    rest = np.maximum(tissues.sum(0), 1e-6)
    tissues *= (1 - wider.sum(0)) / rest
    tissues[list(LESIONS)] = wider
    return replace(head, tissues=tissues.astype(np.float32))


def _beams(ct: Array, target: Array, spacing: float) -> Array:
    """Return the dose of beams from all around, each as wide as the target that it sees, relative
    to the mean in the target.
    """
    water = np.clip(ct + 1, 0, 2) * ABSORBED * spacing
    total = np.zeros_like(ct, dtype=np.float64)
    for angle in np.arange(BEAMS) * 360 / BEAMS:
        seen, body = (
            ndimage.rotate(one, angle, reshape=False, order=1)
            for one in (target.astype(np.float32), water)
        )
        opened = ndimage.gaussian_filter1d((seen.max(0) > 0.5).astype(np.float64), 2.0 / spacing)
        beam = opened[None] * np.exp(-np.cumsum(body, 0))
        total += ndimage.rotate(beam, -angle, reshape=False, order=1)
    inside = total[target]
    return np.asarray(total / (inside.mean() if inside.size else 1.0), np.float32)
