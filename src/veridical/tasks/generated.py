"""What completion, translation and the removal of artefacts share: volumes made by a conditional
generator, slice by slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from veridical.audit.evidence import evidence, local_variance
from veridical.conditioning.request import LEAST_LEVEL, RESTYLED, Request
from veridical.errors import InputError, nearest
from veridical.models import intensity_map
from veridical.models.base import ImageModel
from veridical.preprocessing.preprocessing import UNITS, Prepared, Preprocessing
from veridical.preprocessing.style import style_of
from veridical.task import Progress
from veridical.tasks.assemble import Solution, spread_factors
from veridical.types import Array, Image

SMOOTHING = 2.0
"""Gaussian width in voxels over which variances of few draws are averaged."""
REACH = 3.0
"""Millimetres along the slice axis over which the noise of a draw is alike, so that slices fit each
other.
"""
TOGETHER = 8
"""Slices times draws that go through a network at once."""
MADE = 100.0
"""What the inner tissue becomes in an image in arbitrary units that was not measured."""
ABOUT = (
    "the voxel as it is: 0 where it could be anything that such images show, 1 where it is known"
)


@dataclass(frozen=True)
class Wanted:
    """One contrast to be made.

    Args:
        contrast: which.
        degradation: what is wrong with its measured image; empty: it was not measured.
        error: expected root mean square error of that image, in its units.
        curved: `(slice, y, x)` in network units, what another scanner shows, under the intensity
            curve that takes it to the style asked for; None where nothing is to be restyled.
    """

    contrast: str
    degradation: str = ""
    error: float = 0.0
    curved: Array | None = None


@dataclass(frozen=True, eq=False)
class Volume:
    """A prepared volume with what is known beside it.

    Args:
        prepared: all images of the visit.
        measured: contrasts that are taken as they are.
        masks: name -> `(slice, y, x)`.
        attributes: of the whole volume.
        style: contrast -> style that it is to have; see `preprocessing.style`.
    """

    prepared: Prepared
    measured: tuple[str, ...]
    masks: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    style: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def styles(self) -> dict[str, Array]:
        """The styles of all images of the visit, degraded ones too, and those that are asked
        for.
        """
        shown = {name: style_of(image, name) for name, image in self.prepared.images.items()}
        return {**shown, **self.style}


def job_of(contrast: str, restyled: bool = False) -> str:
    """Return the name of the calibration of a contrast or modality that was not measured, or not by
    the scanner whose style is asked for.
    """
    kind = "harmonize" if restyled else "translate" if contrast in UNITS else "complete"
    return f"{kind}-{contrast}"


def check_contrasts(names: Sequence[str], model: ImageModel) -> None:
    """Refuse contrasts that a model does not know."""
    for name in names:
        if name not in model.contrasts:
            raise InputError(
                f"{model.name} knows {', '.join(model.contrasts)}; the image has {name!r}. "
                f"{nearest(name, model.contrasts)} "
                "Name it: --contrast T1w, or give other weights: --weights PATH."
            )


def generate(
    model: ImageModel, volume: Volume, wanted: Sequence[Wanted], image: Image, task: str, draws: int, seed: int,  # noqa: E501
    which: str, progress: Progress,
) -> Solution:  # fmt: skip
    """Make contrasts of a whole volume, a few slices at a time.

    Args:
        model: any image model.
        volume: prepared with the preprocessing of its card.
        wanted: what is to be made.
        image: the measured images, for units.
        task: names the calibrations of what is restored: `enhance-motion-ghosts`.
        draws: how many; a model without randomness gives one.
        seed: same seed, same bytes.
        which: estimate: `mean` of the draws, or `draw`, the first one, which has the texture of one
            image.
        progress: told after every few slices.
    """
    preprocessing, count = Preprocessing.from_card(model.card), draws if model.stochastic else 1
    slices, rows, columns = volume.prepared.shape
    support = body(volume, preprocessing)
    out = np.zeros((count, len(wanted), slices, rows, columns), np.float32)
    start = np.zeros(out.shape[1:], np.float32)
    levels = np.zeros((len(wanted), slices), np.float32)
    noise = noise_walk((len(wanted), count, rows, columns), volume.prepared.spacing[0], seed)
    size = max(1, TOGETHER // count)
    for first in range(0, slices, size):
        chosen = range(first, min(first + size, slices))
        asked = [
            [request(model, volume, one, i, support, preprocessing) for i in chosen]
            for one in wanted
        ]
        given = np.stack([next(noise) for _ in chosen], 1)
        for k, requests in enumerate(asked):
            out[:, k, first : chosen[-1] + 1] = model.make(requests, count, given[k]).swapaxes(0, 1)
            start[k, first : chosen[-1] + 1] = [one.initial for one in requests]
            levels[k, first : chosen[-1] + 1] = [one.level for one in requests]
        progress(f"{task}: {', '.join(one.contrast for one in wanted)}", chosen[-1] + 1, slices)
    jobs = tuple(
        f"{task}-{one.degradation}"
        if one.degradation
        else job_of(one.contrast, one.curved is not None)
        for one in wanted
    )
    scales = tuple(_scale(one.contrast, volume.prepared, preprocessing) for one in wanted)
    units = tuple(
        image.units_of(o.contrast)
        if o.contrast in image.channels
        else UNITS.get(o.contrast, "a.u.")
        for o in wanted
    )
    sized = np.array(scales, np.float32)[:, None, None, None]
    offset = np.array(
        [volume.prepared.offsets.get(one.contrast, 0.0) for one in wanted], np.float32
    )[:, None, None, None]
    facts = {
        "measured": volume.measured, "body": np.asarray(volume.prepared.restore(support > 0.5)),
        "changed": _changed(out.mean(0), start, levels, support, wanted),
    }  # fmt: skip
    estimate = out.mean(0) if which == "mean" else out[0]
    kind = (
        "point estimate"
        if not model.stochastic
        else "one draw"
        if which == "draw" or count == 1
        else "posterior mean"
    )
    names = tuple(one.contrast for one in wanted)
    if count < 2:
        return Solution(estimate * sized + offset, names, units, scales, jobs, kind, facts=facts)
    prior = [intensity_map.spread_of(model.card.get("intensity_maps", {}), name) for name in names]
    spread, known = companions(out, prior, spread_factors(model, jobs))
    return Solution(
        estimate * sized + offset,
        names,
        units,
        scales,
        jobs,
        kind,
        out * sized + offset,
        spread * sized,
        known,
        about=ABOUT,
        facts=facts,
    )


def request(
    model: ImageModel,
    volume: Volume,
    wanted: Wanted,
    index: int,
    support: Array,
    preprocessing: Preprocessing,
) -> Request:
    """Return what is asked of one slice: as in training, without the truth."""
    images, last = volume.prepared.images, volume.prepared.shape[0] - 1
    around = [index, max(index - 1, 0), min(index + 1, last)]
    shown = {name: images[name][around] for name in volume.measured}
    here = support[index]
    if wanted.degradation:
        initial, level = (
            images[wanted.contrast][index],
            wanted.error / volume.prepared.scales[wanted.contrast],
        )
    elif wanted.curved is not None:
        initial, level = wanted.curved[index], RESTYLED
    else:
        middle = {name: image[0] for name, image in shown.items()}
        maps = model.card.get("intensity_maps", {})
        initial, level = intensity_map.estimate(
            maps, middle, wanted.contrast, here, preprocessing.air(wanted.contrast)
        )
    attributes = (
        {**volume.attributes, "height": 2 * index / max(1, last) - 1} if last else volume.attributes
    )
    masks = {name: mask[index] for name, mask in volume.masks.items()}
    return Request(
        wanted.contrast,
        initial,
        max(LEAST_LEVEL, level),
        here,
        shown,
        wanted.degradation,
        masks,
        attributes,
        volume.styles,
    )


def body(volume: Volume, preprocessing: Preprocessing) -> Array:
    """Return where the object is, `(slice, y, x)` float32; everywhere where nothing was
    measured.
    """
    shown = [
        preprocessing.foreground(name, image) for name, image in volume.prepared.images.items()
    ]
    return (
        np.max(shown, 0).astype(np.float32) if shown else np.ones(volume.prepared.shape, np.float32)
    )


def companions(
    draws: Array, prior: Sequence[float], factors: Sequence[float]
) -> tuple[Array, Array]:
    """Return spread and evidence `(channel, slice, y, x)`, slice by slice to bound memory.

    Args:
        draws: `(draw, channel, slice, y, x)`, network units.
        prior: standard deviation of each channel over such images.
        factors: by which the spread of each channel must grow to be calibrated.
    """
    spread = np.zeros(draws.shape[1:], np.float32)
    found = np.zeros(draws.shape[1:], np.float32)
    for k, (before, factor) in enumerate(zip(prior, factors, strict=True)):
        for index in range(draws.shape[2]):
            one = draws[:, k, index][:, None]
            spread[k, index] = np.sqrt(local_variance(one, SMOOTHING)[0])
            found[k, index] = evidence(one, (before / factor) ** 2, SMOOTHING)[0]
    return spread, found


def noise_walk(shape: tuple[int, ...], spacing: float, seed: int) -> Iterator[Array]:
    """Yield the noise of one slice after the other: unit variance, correlated along the slice axis
    over `REACH` mm.
    """
    rng = np.random.default_rng(seed)
    keep = float(np.exp(-spacing / REACH)) if spacing < REACH else 0.0
    noise = rng.standard_normal(shape, np.float32)
    while True:
        yield noise
        noise = np.float32(keep) * noise + np.float32((1 - keep**2) ** 0.5) * rng.standard_normal(
            shape, np.float32
        )


def _scale(contrast: str, prepared: Prepared, preprocessing: Preprocessing) -> float:
    """Return what one network unit is in the units of the result."""
    if contrast in prepared.scales:
        return prepared.scales[contrast]
    return {"CT": preprocessing.hounsfield, "PET": preprocessing.uptake}.get(
        contrast, MADE / preprocessing.tissue
    )


def _changed(
    mean: Array, start: Array, levels: Array, support: Array, wanted: Sequence[Wanted]
) -> dict[str, float]:
    """Return, of degraded images, the root mean square of what was changed over what was expected
    to be wrong.
    """
    found = {}
    for k, one in enumerate(wanted):
        if one.degradation:
            moved = np.average((mean[k] - start[k]) ** 2, weights=support + 1e-9)
            found[one.contrast] = float(np.sqrt(moved / max(float(np.mean(levels[k] ** 2)), 1e-12)))
    return found
