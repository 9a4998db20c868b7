"""What the completion benchmarks share: what is known of a slice, simple floors, and scores by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from veridical.training.slabs import Volume
from veridical.evaluation.statistics import bca, bootstrap
from veridical.features.efficientnet import efficientnet
from veridical.metrics.kid import kid
from veridical.metrics.psnr import psnr
from veridical.metrics.spectra import band_spectra
from veridical.metrics.ssim import ssim
from veridical.models.base import ImageModel
from veridical.models.known import AIR, MEASURED, Known, ask, collate, nothing, support_of

MULTIPLE = 8
QUANTILES = np.linspace(0, 1, 101)
WINDOW = (0.0, 1.5)
"""Black and white of the pictures that features are taken of."""
FINE = 0.25
"""Cycles a pixel above which power counts as fine."""


@dataclass(frozen=True)
class Prior:
    """Names of the channels, and mean and deviation of each where it was not measured: of the net that is asked."""

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """Slices of a patient, cropped to the head.

    Args:
        images: channel -> `(slice, y, x)`, each volume relative to its own 99th percentile.
        lesion: `(slice, y, x)` bool.
        head, brain: same shape, bool.
        known: what is known of each slice when `target` is missing, by target.
    """

    patient: str
    images: Mapping[str, np.ndarray]
    lesion: np.ndarray
    head: np.ndarray
    brain: np.ndarray
    known: Mapping[str, Known]


def known_of(volume: Volume, index: int, measured: Sequence[str], target: str, prior: Prior) -> Known:
    """Say what is known of a slice of which some channels were measured, with their neighbours, and another is asked for."""
    slab, channels = volume.slab(index), prior.channels
    known = nothing(len(channels), torch.ones(slab.images.shape[-2:]))
    for name in measured:
        k = channels.index(name)
        below, here, above = torch.from_numpy(slab.images[slab.names.index(name)])
        known.status[0, k], known.anchor[0, k] = MEASURED, here
        known.neighbours[0, k], known.neighbours[0, len(channels) + k] = below, above
    known = replace(known, support=support_of(known, channels))
    k = channels.index(target)
    ask(known, k, prior.mean[k], prior.std[k], AIR.get(target, 0.0))
    known.height[0] = torch.tensor([slab.height or 0.0, 1.0])
    if slab.field is not None:
        known.field[0] = torch.tensor([slab.field / 3.0, 1.0])
    return known


def part(
    volume: Volume, lesion: np.ndarray, slices: Sequence[int], directions: Mapping[str, Sequence[str]], prior: Prior, rim: int
) -> Part:
    """Cut the slices and what is known of them out of a patient.

    Args:
        volume: of the patient.
        lesion: `(slice, y, x)` of all slices.
        slices: that are taken.
        directions: target -> measured channels.
        prior: of the net.
        rim: pixels from the edge of the head to the brain; 0 where the images are stripped.
    """
    whole = {name: volume.images[k][list(slices)].astype(np.float32) for k, name in enumerate(volume.names)}
    head = np.stack([_filled(np.max([image[z] for image in whole.values()], 0) > 0.1) for z in range(len(slices))])
    brain = np.stack([ndimage.binary_erosion(one, iterations=rim) for one in head]) if rim else head
    box = _box(head.any(0))
    known = {
        target: _cropped(collate([known_of(volume, z, measured, target, prior) for z in slices]), box)
        for target, measured in directions.items()
    }
    images = {name: image[(slice(None), *box)] for name, image in whole.items()}
    cut = (slice(None), *box)
    return Part(volume.patient, images, lesion[list(slices)][cut] > 0, head[cut], brain[cut], known)


def draws(model: ImageModel, one: Part, target: str, count: int, seed: int) -> np.ndarray:
    """Return `(draw, slice, y, x)` of the target."""
    k = model.channels.index(target)
    found = [model.complete(_rows(one.known[target], z), count, seed + z)[0, :, k] for z in range(len(one.head))]
    return torch.stack(found, 1).numpy()


def quantiles(volumes: Sequence[Volume]) -> dict[str, np.ndarray]:
    """Return the intensity quantiles of each channel's foreground over training patients."""
    names = volumes[0].names
    return {
        name: np.quantile(np.concatenate([_inside(v.images[k])[::37] for v in volumes]), QUANTILES)
        for k, name in enumerate(names)
    }


def matched(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Copy a channel with the histogram of another, both histograms those of the training patients."""
    return np.where(image > 0.02, np.interp(image, source, target), 0.0)


def pixel(made: np.ndarray, truth: np.ndarray, region: np.ndarray) -> tuple[float, float]:
    """Return PSNR in dB and SSIM of stacks `(slice, y, x)`, range 1."""
    a, b, where = (np.moveaxis(x, 0, -1) for x in (made, truth, region))
    return psnr(a, b, data_range=1.0, mask=where), ssim(a, b, data_range=1.0, mask=where)


def spectrum(made: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return how much fine power an image has beside the truth, dB, and the mean distance of their spectra, dB."""
    pairs = [np.moveaxis(x, 0, -1) for x in (made, truth)]
    frequency, found = band_spectra(pairs, spacing=(1, 1, 1), mask=None, dimensions=2)
    power, wanted = found[0, 0, 0], found[0, 1, 1]
    fine = frequency > FINE
    ratio = 10 * np.log10(np.maximum(power, 1e-12) / np.maximum(wanted, 1e-12))
    total = (power * frequency)[fine].sum() / (wanted * frequency)[fine].sum()
    return float(10 * np.log10(total)), float(np.abs(ratio).mean())


def features(image: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Return a row for each slice `(slice, y, x)`, seen alone: made slices have no made neighbours."""
    rows = [
        efficientnet(plane.T[..., None], mask=where.T[..., None], spacing=(1.0, 1.0, 1.0), window=WINDOW)
        for plane, where in zip(image, head, strict=True)
    ]
    return np.concatenate(rows)


def distance(made: Sequence[np.ndarray], real: Sequence[np.ndarray]) -> float:
    """Return the KID between the rows of all patients, times a thousand."""
    return 1000 * kid(np.concatenate(made), np.concatenate(real))


def over_patients(values: Sequence[float], names: Sequence[str]) -> str:
    """Return the mean with its 95 % bootstrap interval over patients."""
    found = bootstrap(np.asarray(values, dtype=float), list(names))
    ends = bca(found)
    return f"{found.observed:.3g}" + (f" ({ends[0]:.3g} to {ends[1]:.3g})" if ends else "")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def _filled(mask: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.binary_fill_holes(ndimage.binary_opening(mask, iterations=2)))


def _inside(image: np.ndarray) -> np.ndarray:
    return image[image > 0.05].astype(np.float32)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the bounding box, padded and a multiple of 8 wide where the image is."""
    ends = []
    for axis in (1, 0):
        at = np.flatnonzero(mask.any(axis))
        size = mask.shape[1 - axis]
        low = max(0, int(at[0]) - 4)
        wide = min(size - low, -(-(int(at[-1]) + 5 - low) // MULTIPLE) * MULTIPLE)
        ends.append(slice(low, low + wide))
    return ends[0], ends[1]


def _cropped(known: Known, box: tuple[slice, slice]) -> Known:
    maps = ("anchor", "hint", "neighbours", "support")
    return replace(known, **{name: getattr(known, name)[(..., *box)].contiguous() for name in maps})


def _rows(known: Known, z: int) -> Known:
    names = list(known.__dataclass_fields__)
    return replace(known, **{name: getattr(known, name)[z : z + 1] for name in names})
