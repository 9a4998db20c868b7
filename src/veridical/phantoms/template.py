"""The template head: maps of the brain from MNI152 and signed distances of what surrounds it,
computed once per process.

The brain comes from the MNI152 2009a template and its grey and white matter maps (Fonov et al.,
NeuroImage 2011, 10.1016/j.neuroimage.2010.07.033) inside the nilearn wheel. They hold the brain
alone; skull, scalp and face are simple shapes about it, in MNI millimetres (RAS+), given as signed
distances so that any resolution finds sharp borders in them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import MissingExtra

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

BRAIN_ORIGIN = np.array([-80.0, -115.0, -100.0], np.float32)
BRAIN_SHAPE = (161, 197, 191)
HEAD_ORIGIN = np.array([-104.0, -136.0, -108.0], np.float32)
HEAD_SHAPE = (105, 134, 108)
HEAD_SPACING = 2.0
DISTANCE_STEP = 0.25
DISTANCE_ZERO = 100.0
"""A distance in mm is stored as `byte = clip(mm / DISTANCE_STEP + DISTANCE_ZERO)`: -25 to 38.75 mm.
"""

BRAIN_CHANNELS = ("grey", "white", "deep", "ventricle", "sulcus")
HEAD_CHANNELS = ("hull", "face", "air", "orbit", "globe", "muscle", "vessel", "jaw")


@dataclass(frozen=True, eq=False)
class Template:
    """The template.

    Args: brain: `(x, y, z, 5)` uint8 at 1 mm from `BRAIN_ORIGIN`, `BRAIN_CHANNELS`: probabilities
        (255 is 1) of grey, white and deep grey matter; signed distance to the ventricles; how far a
        point lies on a sulcus (0 to 255). head: `(x, y, z, 8)` uint8 at 2 mm from `HEAD_ORIGIN`,
        `HEAD_CHANNELS`: signed distances, negative inside. noise: `(128, 128, 128)` int8, periodic,
        band-limited to wavelengths of about 4 to 9 voxels, of standard deviation 36.
        periventricular: `(n, 3)` MNI positions where white matter lies within 18 mm of a ventricle.
        white: `(n, 3)` MNI positions in white matter.
    """

    brain: Bytes
    head: Bytes
    noise: NDArray[np.int8]
    periventricular: Floats
    white: Floats


@cache
def template() -> Template:
    """Return the template; about two seconds the first time in a process."""
    t1, grey, white = (_load(name) for name in ("t1", "gm", "wm"))
    inside = _inside(t1)
    brain, ventricle = _brain(t1, grey, white, inside)
    axes = [BRAIN_ORIGIN[i] + np.arange(BRAIN_SHAPE[i]) for i in range(3)]
    candidates = (brain[..., 1] > 180) & (axes[2] > -30)
    near = candidates & (ventricle < 18.0) & (ventricle > 1.0) & (axes[2] > -15)
    places = [
        (np.argwhere(where)[::37] + BRAIN_ORIGIN).astype(np.float32) for where in (near, candidates)
    ]
    return Template(brain, _head(inside), periodic_noise(7, 0.11, 0.26), places[0], places[1])


def periodic_noise(seed: int, low: float, high: float, size: int = 128) -> NDArray[np.int8]:
    """Return periodic Gaussian noise `(size, size, size)` between two frequencies (cycles a voxel),
    standard deviation 36.
    """
    white = np.random.default_rng(seed).standard_normal((size, size, size), dtype=np.float32)
    axis = np.fft.fftfreq(size).astype(np.float32)
    radius = np.sqrt(
        axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + np.abs(axis[: size // 2 + 1]) ** 2
    )
    spectrum = (
        np.fft.rfftn(white) * np.exp(-((radius / high) ** 4)) * (1 - np.exp(-((radius / low) ** 4)))
    )
    noise = np.fft.irfftn(spectrum, s=white.shape, axes=(0, 1, 2))
    return np.asarray(np.clip(np.round(noise / noise.std() * 36), -127, 127), np.int8)


def _load(name: str) -> Floats:
    """Return one MNI152 map on the brain grid, 0 to 255."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            "The digital cohort needs the MNI152 maps in the nilearn wheel: pip install nilearn."
        )
    path = (
        Path(spec.submodule_search_locations[0])
        / "datasets"
        / "data"
        / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    )
    image: Any = nib.load(path)
    start = np.round(BRAIN_ORIGIN - image.affine[:3, 3]).astype(int)
    values = np.asarray(image.dataobj)
    low, high = np.maximum(start, 0), np.minimum(start + np.array(BRAIN_SHAPE), values.shape)
    out = np.zeros(BRAIN_SHAPE, np.float32)
    target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    out[target] = values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    bottom = int(low[2] - start[2])
    out[..., :bottom] = out[..., bottom : bottom + 1]  # the cord goes on below the map
    return out


def _inside(t1: Floats) -> NDArray[np.bool_]:
    """Return the mask of the brain on the brain grid, without the strays beside the cord."""
    mask: NDArray[np.bool_] = t1 > 0
    x, y, z = _mesh(BRAIN_ORIGIN, BRAIN_SHAPE, 1.0)
    mask &= (z > -58) | (np.hypot(x, y + 52) < 60) & ((np.abs(x) > 30) | (y < -30) | (z > -62)) & (
        y < -28
    )
    return mask


def _distance(mask: NDArray[np.bool_], spacing: float = 1.0) -> Floats:
    """Return the signed distance to the border of a mask in mm, negative inside."""
    distance = _to_nearest(mask)
    lines = [np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(max(line[0] - 1, 0), line[-1] + 2) for line in lines)
    distance[box] -= _to_nearest(~mask[box])  # 0 outside of the mask, whose border lies in the box
    return np.asarray(distance * spacing, np.float32)


def _to_nearest(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance to the nearest voxel of a mask, in voxels: as `distance_transform_edt`
    does of what is outside, in half its time and a quarter of its memory.
    """
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    square = np.zeros(mask.shape, np.int32)
    for axis, place in enumerate(nearest):
        place -= np.arange(mask.shape[axis], dtype=np.int32).reshape(
            [-1 if axis == other else 1 for other in range(3)]
        )
        place *= place
        square += place
    return np.sqrt(square, dtype=np.float64)


def _encode(distance: Floats) -> Bytes:
    return np.clip(np.round(distance / DISTANCE_STEP + DISTANCE_ZERO), 0, 255).astype(np.uint8)


def _brain(
    t1: Floats, grey: Floats, white: Floats, inside: NDArray[np.bool_]
) -> tuple[Bytes, Floats]:
    """Return the channels of the brain atlas and the distance to the ventricles."""
    x, y, z = _mesh(BRAIN_ORIGIN, BRAIN_SHAPE, 1.0)
    fluid = np.where(inside, 255 - grey - white, 0.0)
    coarse = _to_nearest(~ndimage.zoom(inside, 0.5, order=0))
    depth = _fit(ndimage.zoom(coarse, 2, order=1) * 2.0, BRAIN_SHAPE)
    box = (np.abs(x) < 42) & (y > -62) & (y < 36) & (z > -48) & (z < 34)
    ventricle = _distance((fluid > 115) & box & (depth > 13.0))
    ventricle = ndimage.gaussian_filter(ventricle, 0.7)
    nuclei = _nuclei(t1, (x, y, z))
    nuclei *= np.clip(1.5 - fluid / 128, 0, 1)
    blurred = ndimage.gaussian_filter(t1, 3.0) / np.maximum(
        ndimage.gaussian_filter(inside.astype(np.float32), 3.0), 0.2
    )
    sulcus = np.clip((blurred - ndimage.gaussian_filter(t1, 0.6)) * 4.0, 0, 255) * inside
    rest = 1.0 - nuclei
    channels = np.empty((*BRAIN_SHAPE, 5), np.uint8)
    for place, channel in ((0, grey * rest), (1, white * rest), (2, nuclei * 255), (4, sulcus)):
        channels[..., place] = channel.round()
    channels[..., 3] = _encode(ventricle)
    return channels, ventricle


def _nuclei(t1: Floats, mesh: tuple[Floats, Floats, Floats]) -> Floats:
    """Return how much of a voxel is deep grey matter, by its place and its darkness."""
    nuclei = np.zeros(BRAIN_SHAPE, np.float32)
    for centre, radii, gain in (
        ((13, 10, 10), (8, 18, 16), 1.0),  # caudate
        ((25, 3, 2), (8, 19, 12), 1.0),  # putamen
        ((19, -4, -1), (6, 9, 7), 1.4),  # pallidum
        ((11, -18, 7), (11, 15, 10), 1.4),  # thalamus
        ((10, -12, -8), (5, 6, 5), 1.2),  # substantia nigra, subthalamic and red nuclei
    ):
        axes = [
            (line.ravel() - m) / r
            for line, m, r in zip((np.abs(mesh[0]), *mesh[1:]), centre, radii, strict=True)
        ]
        box = np.ix_(*(np.abs(line) < 1.25 for line in axes))  # beyond it there is nothing
        a, b, c = (line[index.ravel()] for line, index in zip(axes, box, strict=True))
        radius = np.sqrt(a[:, None, None] ** 2 + b[:, None] ** 2 + c**2)
        darkness = np.clip(gain * np.clip((215.0 - t1[box]) / 35.0, 0.0, 1.0), 0, 1)
        nuclei[box] = np.maximum(nuclei[box], darkness * np.clip((1.25 - radius) / 0.4, 0, 1))
    return nuclei


def _head(inside: NDArray[np.bool_]) -> Bytes:
    """Return the signed distances of hull, face, cavities, orbits, globes, muscles, vessels and
    jaw.
    """
    x, y, z = _mesh(HEAD_ORIGIN, HEAD_SHAPE, HEAD_SPACING)
    side = np.abs(x)
    offset = np.round(BRAIN_ORIGIN - HEAD_ORIGIN).astype(int)
    padded = np.zeros([int(n * HEAD_SPACING) for n in HEAD_SHAPE], bool)
    padded[tuple(slice(o, o + n) for o, n in zip(offset, inside.shape, strict=True))] = inside
    padded[:, :, : offset[2]] = padded[:, :, offset[2] : offset[2] + 1]
    coarse = padded[::2, ::2, ::2]
    near = _to_nearest(coarse) <= 4.0
    closed = _to_nearest(~near) > 4.0
    canal = np.hypot(side, y + 46) - 9.0
    hull = np.minimum(
        ndimage.gaussian_filter(_distance(closed | coarse, HEAD_SPACING), 1.5),
        np.where(z < -60, canal, 99.0),
    )
    e = _Shapes(side, y, z)
    face = e.union(
        e.ball((0, 30, -52), (69, 62, 46)),
        e.ball((0, 38, -85), (60, 58, 50)),
        e.ball((0, -38, -100), (64, 66, 60)),
        e.ball((0, 95, -48), (13, 17, 20)),
        e.ball((82, -28, -36), (6, 15, 26)),
        e.ball((36, 66, -34), (22, 18, 20)),
    )
    air = e.union(
        e.ball((7, 70, -52), (4, 26, 14)),
        e.ball((7, 48, -34), (5, 18, 9)),
        e.ball((28, 55, -58), (12, 14, 15)),
        e.ball((8, 20, -36), (9, 10, 9)),
        e.ball((10, 72, -6), (12, 5, 11)),
        e.ball((0, 18, -75), (12, 12, 28)),
        e.ball((52, -38, -38), (7, 10, 14)),
        e.ball((62, -22, -38), (18, 2.5, 2.5)),
    )
    orbit = e.union(e.ball((33, 58, -34), (17, 18, 17)), e.ball((26, 40, -33), (9, 20, 9)))
    globe = e.ball((34, 63, -34), (12, 12, 12))
    muscle = e.union(
        e.ball((68, 18, -2), (10, 34, 34)),
        e.ball((56, 30, -62), (9, 17, 28)),
        e.ball((40, 20, -68), (12, 16, 20)),
        e.ball((26, -70, -75), (24, 22, 36)),
        e.ball((52, -45, -84), (16, 20, 34)),
        e.ball((8, 44, -84), (16, 28, 12)),
        e.tube((22, 32, -33), (30, 54, -24), 2.6),
        e.tube((22, 32, -33), (30, 54, -44), 2.6),
        e.tube((21, 32, -33), (24, 56, -34), 2.6),
        e.tube((23, 32, -33), (44, 54, -34), 2.6),
        e.tube((18, 30, -33), (33, 52, -34), 2.4),
    )
    vessel = e.union(
        e.tube((24, -20, -90), (24, -18, -52), 3.0),
        e.tube((24, -18, -50), (10, 4, -40), 2.6),  # internal carotid
        e.tube((10, 4, -40), (12, 2, -22), 2.4),
        e.tube((12, 2, -20), (38, 0, -16), 1.6),  # siphon, middle cerebral
        e.tube((38, 0, -16), (42, -14, 4), 1.3),
        e.tube((10, 6, -20), (2, 36, 2), 1.4),  # its branch, anterior cerebral
        e.tube((0, -22, -42), (0, -18, -18), 1.9),
        e.tube((0, -18, -18), (22, -34, -12), 1.4),  # basilar, posterior cerebral
        e.tube((14, -30, -84), (0, -26, -48), 1.9),
        e.tube((6, -92, -22), (46, -74, -28), 3.4),  # vertebral, transverse sinus
        e.tube((46, -74, -28), (54, -44, -34), 3.2),
        e.tube((54, -44, -34), (34, -26, -72), 3.4),  # sigmoid sinus
        e.tube((0, -52, 6), (0, -92, -14), 2.4),
        e.tube((0, -48, 4), (0, -20, 18), 1.3),  # straight sinus, internal veins
        e.tube((58, 6, -60), (60, -10, -30), 1.8),
        e.tube((60, -10, -30), (74, -8, 12), 1.2),  # superficial temporal
    )
    jaw = e.union(
        e.tube((52, 0, -50), (50, 10, -86), 4.5),
        e.tube((50, 10, -86), (22, 62, -98), 5.5),
        e.tube((62, 8, -42), (46, 54, -44), 3.5),
        e.tube((14, -24, -40), (52, -30, -36), 6.5),  # petrous bone
        e.tube((6, 74, -74), (36, 44, -74), 5.0),
        e.ball((0, -32, -88), (24, 10, 7)),
        e.tube((0, -14, -96), (0, -14, -72), 6.0),
    )
    return np.stack(
        [
            _encode(np.asarray(d, np.float32))
            for d in (hull, face, air, orbit, globe, muscle, vessel, jaw)
        ],
        -1,
    )


@dataclass(frozen=True)
class _Shapes:
    """Approximate signed distances of simple bodies, mirrored at the midplane (`x` is the distance
    from it).
    """

    x: Floats
    y: Floats
    z: Floats

    def ball(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Floats:
        scaled = [
            (c - m) / r for c, m, r in zip((self.x, self.y, self.z), centre, radii, strict=True)
        ]
        length = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
        slope = np.sqrt(sum((s / r) ** 2 for s, r in zip(scaled, radii, strict=True)))
        return np.asarray(length * (length - 1) / np.maximum(slope, 1e-3), np.float32)

    def tube(
        self, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
    ) -> Floats:
        direction = np.subtract(end, start, dtype=np.float32)
        offsets = [c - s for c, s in zip((self.x, self.y, self.z), start, strict=True)]
        along = sum(o * d for o, d in zip(offsets, direction, strict=True)) / float(
            direction @ direction
        )
        share = np.clip(along, 0, 1)
        square = sum((o - share * d) ** 2 for o, d in zip(offsets, direction, strict=True))
        return np.asarray(np.sqrt(square) - radius, np.float32)

    def union(self, *bodies: Floats) -> Floats:
        merge: Callable[[Floats, Floats], Floats] = np.minimum
        total = bodies[0]
        for body in bodies[1:]:
            total = merge(total, body)
        return total


def _mesh(
    origin: Floats, shape: tuple[int, int, int], spacing: float
) -> tuple[Floats, Floats, Floats]:
    x, y, z = (np.asarray(origin[i] + spacing * np.arange(shape[i]), np.float32) for i in range(3))
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _fit(array: Floats, shape: tuple[int, int, int]) -> Floats:
    """Crop or edge-pad an array to a shape that differs by a voxel or two."""
    pad = [(0, max(0, n - have)) for n, have in zip(shape, array.shape, strict=True)]
    return np.pad(array, pad, mode="edge")[tuple(slice(n) for n in shape)]
