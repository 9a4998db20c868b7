"""Lessons: what of a slab is shown to the joint prior, how it was degraded, and what is asked for.

A lesson is drawn at random, so that one network learns every job: completion of missing contrasts, removal of noise, blur,
thick slices, bias fields and ghosts, another site's look, and, one time in ten, nothing known at all: the prior. CT and PET
have absolute units, so they keep their look, and are degraded as `training/tomography.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical.models.known import (
    AIR,
    DEGRADATIONS,
    DEGRADED,
    LEAST_LEVEL,
    MEASURED,
    RELOOK,
    Known,
    ask,
    blur_level,
    detail,
    foreground,
    look_of,
    nothing,
    support_of,
)
from veridical.nets.joint import JointNet
from veridical.physics.fourier import fft, ifft
from veridical.training import tomography
from veridical.training.cubes import cut
from veridical.training.slabs import Slab, normalized

JOBS = {"complete": 0.42, "enhance": 0.42, "harmonize": 0.06, "nothing": 0.1}
"""How often each job is rehearsed; `nothing`, where nothing is known, makes the network the prior."""
DEGRADED_BY = {"noise": 0.34, "blur": 0.22, "thick": 0.2, "bias": 0.12, "ghosts": 0.12}
"""How often an MR channel that is enhanced is degraded in each way."""
STRIPPED = 0.35
NEIGHBOURS = 0.6
BESIDE = 0.3
"""How often another channel is shown whole beside the one that is enhanced."""
POOR = 0.12
"""How often a channel that others are completed from is degraded itself."""
AS_IT_IS = 0.4
"""How often a patch keeps pixels and noise as they were reconstructed: neither turned, scaled nor bent, all of which smooth."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One slice of a lesson: what is known, and the truth `(1, channel, y, x)`, zero where there is none; or one cube."""

    known: Known
    truth: Tensor


def lesson(
    slab: Slab,
    net: JointNet,
    size: int,
    rng: np.random.Generator,
    jobs: Mapping[str, float] = JOBS,
    degraded_by: Mapping[str, float] = DEGRADED_BY,
) -> Lesson:
    """Draw a lesson from a slab.

    Args:
        slab: of one patient.
        net: whose channels, and whose means and deviations of what is not known, the lesson is for.
        size: of the patch `(size, size)`, or for nets of volumes the cube, that is cut.
        rng: everything random comes from it.
        jobs: job -> how often; a slab of one channel has nothing to complete and is enhanced instead.
        degraded_by: way -> how often MR channels are degraded in it.
    """
    images = patch(slab, size, rng)[:, [1, 0, 2]] if net.dims == 2 else cube(slab, size, rng)
    own = images[:, 0] if net.dims == 2 else images
    known = nothing(len(net.channels), torch.stack([foreground(i, n) for i, n in zip(own, slab.names, strict=True)]).amax(0))
    truth = torch.zeros_like(known.anchor)
    measured, asked, degraded, relooked = _roles(len(images), jobs, rng)
    absolute = {place for place, name in enumerate(slab.names) if name in tomography.ODDS}
    degraded, relooked = degraded | (relooked & absolute), relooked - absolute
    places = [net.channels.index(name) for name in slab.names]
    for place, k in enumerate(places):
        truth[0, k] = own[place]
        if place in measured:
            known.status[0, k] = MEASURED
            _show(known, k, images[place])
        elif place in degraded:
            here = images[place], slab.names[place], slab.pixel or 1.0
            _degrade(known, k, here, degraded_by, rng)
        elif place in relooked:
            _relook(known, k, images[place], rng)
    if measured or degraded or relooked:
        known = replace(known, support=support_of(known, net.channels))
    for place, k in enumerate(places):
        if place in asked:
            ask(known, k, net.prior_mean[k], net.prior_std[k], AIR.get(slab.names[place], 0.0))
        if place in relooked or (place in asked - absolute and rng.random() < 0.4):
            known.look[0, k], known.look_known[0, k] = look_of(truth[0, k], known.support[0, 0]), 1.0
    if rng.random() > NEIGHBOURS:
        known.neighbours.zero_()
    if slab.height is not None and rng.random() < 0.7:
        known.height[0] = torch.tensor([slab.height, 1.0])
    if slab.field is not None and rng.random() < 0.7:
        known.field[0] = torch.tensor([slab.field / 3.0, 1.0])
    return Lesson(known, truth)


def _roles(count: int, jobs: Mapping[str, float], rng: np.random.Generator) -> tuple[set[int], set[int], set[int], set[int]]:
    """Return which channels of a slab are measured, missing, degraded and relooked; the rest is left out of the state."""
    order = [int(i) for i in rng.permutation(count)]
    job = one_of(dict(sorted(jobs.items())), rng)
    if job == "nothing":
        return set(), set(order[: int(rng.integers(1, count + 1))]), set(), set()
    if job == "harmonize":
        return {i for i in order[1:] if rng.random() < BESIDE}, set(), set(), {order[0]}
    if job == "complete" and count > 1:
        shown = int(rng.integers(1, count))
        rest = order[shown:]
        asked = set(rest if rng.random() < 0.5 else rest[: int(rng.integers(1, len(rest) + 1))])
        poor = {i for i in order[:shown] if rng.random() < POOR}
        return set(order[:shown]) - poor, asked, poor, set()
    poor = {order[0]} if rng.random() < 0.75 else {i for i in order if rng.random() < 0.6} | {order[0]}
    return {i for i in order if i not in poor and rng.random() < BESIDE}, set(), poor, set()


def one_of(odds: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draw a name by how often it is to come."""
    weights = np.array(list(odds.values()), dtype=float)
    return list(odds)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def patch(slab: Slab, size: int, rng: np.random.Generator) -> Tensor:
    """Cut a patch `(channel, 3, size, size)` out of a slab, turned, scaled, bent and recoloured at random."""
    images = _stripped(slab, rng)
    count, _, rows, columns = images.shape
    body = (
        torch.stack([foreground(i, n) for i, n in zip(images[:, 1], slab.names, strict=True)]).amax(0) > 0.5
        if "CT" in slab.names
        else (images[:, 1] > 0.1).any(0)
    )
    inside = torch.nonzero(body)
    centre = inside[int(rng.integers(len(inside)))].float() if len(inside) else torch.tensor([rows / 2, columns / 2])
    zoom = float(np.exp(rng.normal(0, 0.18)))
    if slab.pixel is not None and slab.pixel > 1.5:
        zoom *= 0.75
    stretch = float(np.exp(rng.normal(0, 0.05)))
    angle = rng.normal(0, 0.12)
    if rng.random() < AS_IT_IS:
        grid = _grid((rows, columns), size, centre.floor() + (size - 1) % 2 / 2, (1.0, 1.0), 0.0, None)
    else:
        grid = _grid((rows, columns), size, centre, (zoom * stretch, zoom / stretch), angle, rng)
    air = _air(slab.names)
    flat = (images - air).reshape(1, count * 3, rows, columns)
    moved = functional.grid_sample(flat, grid[None], mode="bilinear", align_corners=True)[0].reshape(count, 3, size, size) + air
    if rng.random() < 0.5:
        moved = moved.flip(-1)
    return torch.stack([_tint(image, name, rng) for image, name in zip(moved, slab.names, strict=True)])


def cube(slab: Slab, size: int, rng: np.random.Generator) -> Tensor:
    """Cut a cube `(channel, size, size, size)` out of a piece of a volume, turned, scaled, bent and recoloured at random."""
    moved = cut(_stripped(slab, rng), _air(slab.names), size, rng)
    return torch.stack([_tint(image, name, rng) for image, name in zip(moved, slab.names, strict=True)])


def _air(names: tuple[str, ...]) -> Tensor:
    """Return what channels show where nothing is, `(channel, 1, 1, 1)`."""
    return torch.tensor([AIR.get(name, 0.0) for name in names])[:, None, None, None]


def _stripped(slab: Slab, rng: np.random.Generator) -> Tensor:
    """Return the images of a slab, now and then without what lies outside of its body, scaled anew then."""
    images = torch.from_numpy(np.ascontiguousarray(slab.images, dtype=np.float32))
    if slab.body is not None and rng.random() < STRIPPED:
        images = images * torch.from_numpy(np.ascontiguousarray(slab.body)).float()
        images = torch.stack([torch.from_numpy(normalized(i.numpy(), n)) for i, n in zip(images, slab.names, strict=True)])
    return images


def _grid(
    shape: tuple[int, int], size: int, centre: Tensor, zoom: tuple[float, float], angle: float, rng: np.random.Generator | None
) -> Tensor:
    """Return where a patch is sampled, `(size, size, 2)`, for `grid_sample`; bent at random where there is a generator."""
    steps = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(steps * zoom[0], steps * zoom[1], indexing="ij")
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    bend = torch.zeros(2, size, size)
    if rng is not None:
        coarse = torch.from_numpy(rng.standard_normal((1, 2, 5, 5), dtype=np.float32)) * float(rng.uniform(0, 2.5))
        bend = functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)[0]
    where_y = cos * y - sin * x + centre[0] + bend[0]
    where_x = sin * y + cos * x + centre[1] + bend[1]
    return torch.stack([2 * where_x / (shape[1] - 1) - 1, 2 * where_y / (shape[0] - 1) - 1], -1)


def _tint(images: Tensor, name: str, rng: np.random.Generator) -> Tensor:
    """Change contrast and brightness mildly, as scanners do; CT and PET have absolute units and stay."""
    if name in tomography.ODDS:
        return images
    gamma = float(np.exp(rng.normal(0, 0.18)))
    return images.clamp_min(0) ** gamma * float(np.exp(rng.normal(0, 0.03)))


def _show(known: Known, k: int, images: Tensor) -> None:
    """Put what is seen of channel k into its place: a slice and its neighbours `(3, y, x)`, or a cube `(z, y, x)`."""
    if known.anchor.ndim == 5:
        known.anchor[0, k] = images
    else:
        known.anchor[0, k], known.neighbours[0, k], known.neighbours[0, known.anchor.shape[1] + k] = images


def _degrade(
    known: Known, k: int, here: tuple[Tensor, str, float], degraded_by: Mapping[str, float], rng: np.random.Generator
) -> None:
    """Degrade the channel k, its images as `_show` takes them, its name and pixel size, in a random way, noise added, and say
    how; a cube along any of its axes.
    """
    (images, name, pixel), support = here, known.support[0, 0]
    turn = rng.permutation(3) if support.ndim == 3 else np.arange(3)
    images, support = images.permute(*turn), support.permute(*turn) if support.ndim == 3 else support
    kind, noisy, level = (
        _absolute(images, name, pixel, support, rng)
        if name in tomography.ODDS
        else _magnetic(images, support, degraded_by, rng)
    )
    known.kind[0, DEGRADATIONS.index(kind)] = 1.0
    known.status[0, k] = DEGRADED
    known.level[0, k] = max(LEAST_LEVEL, level)
    _show(known, k, noisy.permute(*np.argsort(turn)))
    known.hint[0, k] = detail(known.anchor[0, k], float(known.level[0, k]))


def _magnetic(
    images: Tensor, support: Tensor, degraded_by: Mapping[str, float], rng: np.random.Generator
) -> tuple[str, Tensor, float]:
    """Degrade MR images: returns how, the images and the expected error."""
    kind = one_of(degraded_by, rng)
    noise = float(np.exp(rng.uniform(np.log(0.01), np.log(0.25)))) if kind == "noise" else float(rng.uniform(0, 0.02))
    images, level = degrade(images, kind, support, rng)
    noisy = magnitude_noise(images, noise, rng) if noise > 0.002 else images
    guessed = noise * float(np.exp(0.1 * rng.standard_normal()))
    return kind, noisy, float(np.hypot(guessed, level))


def _absolute(images: Tensor, name: str, pixel: float, support: Tensor, rng: np.random.Generator) -> tuple[str, Tensor, float]:
    """Degrade CT or PET images as `training/tomography.py` does: returns how, the images and the expected error."""
    odds = tomography.ODDS[name]
    kind = one_of(odds, rng)
    guess = float(np.exp(0.1 * rng.standard_normal()))
    if kind == "blur":
        air = AIR.get(name, 0.0)
        blurred, level = degrade(images - air, kind, support, rng)
        return kind, blurred + air, level
    given, inside = images.numpy(), support.numpy()
    if kind == "ghosts":
        poor, size = tomography.sparse_views(given, inside, rng)
    elif name == "CT":
        poor, size = tomography.low_dose(given, inside, rng)
    else:
        poor, size = tomography.low_counts(given, inside, pixel, rng)
    return kind, torch.from_numpy(np.ascontiguousarray(poor, dtype=np.float32)), size * guess


def degrade(images: Tensor, kind: str, support: Tensor, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Degrade images `(n, y, x)` in one of the ways of `DEGRADATIONS`; returns them and the expected error of the first.

    With the support `(n, y, x)` of a cube, the error is that of all of them.
    """

    def lost(blurred: Tensor, factor: float) -> float:
        return blur_level(blurred if support.ndim == 3 else blurred[0], factor, support)

    if kind == "blur":
        share = (float(rng.uniform(0.22, 0.7)),) * 2 if rng.random() < 0.6 else tuple(rng.uniform(0.22, 1.0, 2))
        blurred = cut_kspace(images, share)
        return blurred, lost(blurred, 1 / float(np.mean(share)))
    if kind == "thick":
        factor, axis = float(rng.uniform(1.5, 6.0)), -1 - int(rng.integers(2))
        thick = thicken(images, factor, axis, float(rng.random()))
        return thick, 1.5 * lost(thick, factor)
    if kind == "bias":
        strength = float(rng.uniform(0.05, 0.5))
        field = smooth_field(images.shape[-2:], rng) * strength
        return images * torch.exp(field), strength * 0.6
    if kind == "ghosts":
        return ghosted(images, rng)
    return images, 0.0


def cut_kspace(images: Tensor, share: tuple[float, ...]) -> Tensor:
    """Keep the centre of k-space, a share of each axis of `(n, y, x)`: what a scan of lower resolution in plane sees."""
    spectrum = fft(images.to(torch.complex64))
    mask = torch.ones(images.shape[-2:])
    for axis, part in enumerate(share):
        n = images.shape[-2 + axis]
        far = (torch.arange(n) - n // 2).abs() > part * n / 2
        mask[(far, slice(None)) if axis == 0 else (slice(None), far)] = 0
    return ifft(spectrum * mask).abs()


def thicken(images: Tensor, factor: float, axis: int, offset: float) -> Tensor:
    """Average over slices `factor` voxels thick along an axis, one after the other, and interpolate between their centres."""
    n = images.shape[axis]
    moved = images.movedim(axis, -1)
    count = max(2, int(np.ceil(n / factor)) + 1)
    centres = (np.arange(count) + offset - 0.5) * factor + factor / 2 - 0.5
    profile = np.clip(factor / 2 + 0.5 - np.abs(np.arange(n)[:, None] - centres[None]), 0, 1)
    profile = profile / np.maximum(profile.sum(0, keepdims=True), 1e-6)
    edge = profile.sum(0) < 0.5
    slices = moved @ torch.from_numpy(profile.astype(np.float32))
    slices[..., edge] = 0
    weights = np.maximum(0, 1 - np.abs(np.arange(n)[None] - centres[:, None]) / factor)
    weights = weights / np.maximum(weights.sum(0, keepdims=True), 1e-6)
    return (slices @ torch.from_numpy(weights.astype(np.float32))).movedim(-1, axis)


def smooth_field(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Return a smooth random field `(y, x)` of about unit size and zero mean."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 4, 4), dtype=np.float32))
    field = functional.interpolate(coarse, tuple(shape), mode="bicubic", align_corners=True)[0, 0]
    return (field - field.mean()) / field.std().clamp_min(0.2)


def ghosted(images: Tensor, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Move the object during the scan: lines of k-space along a random axis see it shifted, a few times or periodically."""
    axis = -1 - int(rng.integers(2))
    n = images.shape[axis]
    lines = torch.arange(n) - n // 2
    if rng.random() < 0.5:
        period, phase = float(rng.uniform(2.5, 14)), float(rng.uniform(0, 6))
        shift = float(rng.uniform(0.3, 2.5)) * torch.sin(2 * np.pi * lines / period + phase)
    else:
        steps = torch.zeros(n)
        for _ in range(int(rng.integers(1, 4))):
            where = int(rng.integers(n))
            steps[where:] += float(rng.normal(0, 2.0))
        shift = steps - steps[n // 2]
    spectrum = fft(images.to(torch.complex64))
    ramp = torch.exp(-2j * np.pi * lines * shift / n)
    spectrum = spectrum * (ramp if axis == -1 else ramp[:, None])
    moved = ifft(spectrum).abs()
    return moved, 0.03 + 0.02 * float(shift.std())


def magnitude_noise(images: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Add Rician noise, half of the time spatially varying as parallel imaging makes it, one time in four correlated."""
    noise = white(tuple(images.shape), rng)
    if rng.random() < 0.25:
        share = float(rng.uniform(0.5, 0.9))
        noise = ifft(fft(noise) * _window(images.shape[-2:], share))
        noise = noise / noise.real.std()
    if rng.random() < 0.5:
        gain = torch.exp(0.3 * smooth_field(images.shape[-2:], rng))
        noise = noise * gain / gain.square().mean().sqrt()
    return (images + sigma * noise).abs()


def white(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Complex white noise of unit variance per real component."""
    parts = rng.standard_normal((2, *shape), dtype=np.float32)
    return torch.complex(torch.from_numpy(parts[0]), torch.from_numpy(parts[1]))


def _window(shape: torch.Size, share: float) -> Tensor:
    mask = torch.zeros(tuple(shape))
    y, x = (int(n * (1 - share) / 2) for n in shape)
    mask[y : shape[0] - y, x : shape[1] - x] = 1
    return mask


def _relook(known: Known, k: int, images: Tensor, rng: np.random.Generator) -> None:
    """Show the channel as another site would: a monotone intensity curve, another resolution and a little noise."""
    knots = np.concatenate([[0.0], np.cumsum(rng.uniform(0.3, 1.7, 6))])
    grid = np.linspace(0, 2.0, len(knots))
    values = np.interp(images.numpy(), grid, knots)
    seen = torch.from_numpy((values / max(1e-6, np.interp(1.0, grid, knots))).astype(np.float32))
    if rng.random() < 0.5:
        seen = cut_kspace(seen, (float(rng.uniform(0.5, 1.0)),) * 2)
    seen = magnitude_noise(seen, float(rng.uniform(0.002, 0.03)), rng)
    known.status[0, k], known.level[0, k] = RELOOK, 0.08
    _show(known, k, seen)
