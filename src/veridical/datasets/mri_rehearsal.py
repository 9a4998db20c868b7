"""Rehearsed scans: any magnitude slice becomes a raw multi-coil MR scan with known truth, to train on.

A slice is warped, given another contrast, a smooth phase and coils, placed in a field of view that may be too small for
it (then it wraps around), sampled, and disturbed by noise. Coil maps are estimated from the rehearsed data as they would
be on a real scan, so that training sees their errors too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.coils import espirit
from veridical.physics.fourier import centre, fft, ifft
from veridical.types import Array


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """One scan and its truth.

    Args:
        kspace: `(coil, ky, kx)`, noisy, zero where not sampled.
        mask: `(ky, kx)` float.
        maps: `(set, coil, y, x)`.
        truth: `(set, y, x)` complex: the noise-free coil images fitted by the maps.
        sigma: noise standard deviation per real component, as a scanner would estimate it.
        contrast: name of the contrast.
    """

    kspace: Tensor
    mask: Tensor
    maps: Tensor
    truth: Tensor
    sigma: float
    contrast: str

    @property
    def linewise(self) -> bool:
        """Whether whole lines along the readout (ky of the array) are sampled or not, so that `strip` is exact."""
        return bool((self.mask == self.mask[:1]).all())

    def strip(self, start: int, rows: int) -> Rehearsal:
        """Cut rows along the fully sampled readout (axis y): the same problem on a smaller grid, exactly if `linewise`."""
        cut = slice(start, start + rows)
        hybrid = torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(self.kspace, -2), dim=-2, norm="ortho"), -2)
        piece = torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(hybrid[:, cut], -2), dim=-2, norm="ortho"), -2)
        return replace(self, kspace=piece, mask=self.mask[:rows], maps=self.maps[..., cut, :], truth=self.truth[..., cut, :])


def rehearse(image: Array, contrast: str, rng: np.random.Generator) -> Rehearsal:
    """Turn a magnitude slice into one rehearsed multi-coil scan; one in five becomes an image to enhance instead.

    Args:
        image: `(y, x)` float32, about [0, 1], head or body on air.
        contrast: its name, kept for the condition.
        rng: everything random comes from it.
    """
    if rng.random() < 0.2:
        return _rehearse_image(image, contrast, rng)
    planar = rng.random() < 0.35
    shape = _even(rng, (144, 184), (120, 160)) if planar else _even(rng, (176, 256), (160, 256))
    wide = shape[1] if rng.random() < 0.5 else 2 * int(shape[1] * rng.uniform(0.5, 0.62))
    picture, contrast = recolour(image, contrast, rng)
    picture = place(picture, (shape[0], wide), shape, rng)
    sensitivities = coil_field((shape[0], wide), int(rng.integers(6, 9)), rng)
    full = fft(fold(sensitivities * (picture * smooth_phase((shape[0], wide), rng)), shape[1]))
    acquired = _acquired(shape, rng)
    window = torch.zeros(shape)
    window[:, acquired] = 1.0
    clean = ifft(full * window)
    clean = clean / float(torch.quantile(clean.abs().square().sum(0).sqrt().flatten(), 0.99))
    sigma = float(np.exp(rng.uniform(np.log(0.002), np.log(0.06)))) * (0.5 if planar else 1.0)
    mask = torch.from_numpy(draw_mask(shape, acquired, planar, rng)).float()
    kspace = (fft(clean) + sigma * white(clean.shape, rng)) * mask
    maps = espirit(kspace, mask, sets=2)
    truth = CartesianMRI(mask, maps).combine(clean)
    return Rehearsal(kspace, mask, maps, truth, sigma * float(np.exp(0.15 * rng.standard_normal())), contrast)


def _rehearse_image(image: Array, contrast: str, rng: np.random.Generator) -> Rehearsal:
    """One image, no coils: noisy, of low resolution (k-space cut to a centred block), or undersampled."""
    shape = _even(rng, (144, 184), (128, 176))
    picture, contrast = recolour(image, contrast, rng)
    picture = place(picture, shape, shape, rng)
    smooth = smooth_phase(shape, rng) if rng.random() < 0.5 else torch.ones(shape, dtype=torch.complex64)
    truth = torch.stack([picture * smooth, torch.zeros(shape, dtype=torch.complex64)])
    truth = truth / float(torch.quantile(truth[0].abs().flatten(), 0.99).clamp_min(1e-6))
    mask = np.ones(shape, dtype=bool)
    kind = rng.random()
    if kind < 0.4:
        share = rng.uniform(0.3, 0.7, 2) if rng.random() < 0.5 else [float(rng.uniform(0.4, 0.7))] * 2
        mask = np.zeros(shape, dtype=bool)
        block = [masks.centre_block(n, int(n * f)) for n, f in zip(shape, share, strict=True)]
        mask[block[0], block[1]] = True
    elif kind < 0.6:
        mask = draw_mask(shape, slice(0, shape[1]), bool(rng.random() < 0.5), rng)
    sigma = float(np.exp(rng.uniform(np.log(0.003), np.log(0.2))))
    sampled = torch.from_numpy(mask).float()
    kspace = (fft(truth[:1]) + sigma * white((1, *shape), rng)) * sampled
    maps = torch.zeros(2, 1, *shape, dtype=torch.complex64)
    maps[0] = 1.0
    return Rehearsal(kspace, sampled, maps, truth, sigma * float(np.exp(0.15 * rng.standard_normal())), contrast)


def white(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Complex white noise of unit variance per real component."""
    parts = rng.standard_normal((2, *shape), dtype=np.float32)
    return torch.complex(torch.from_numpy(parts[0]), torch.from_numpy(parts[1]))


def _even(rng: np.random.Generator, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[int, int]:
    return 2 * int(rng.integers(rows[0] // 2, rows[1] // 2 + 1)), 2 * int(rng.integers(columns[0] // 2, columns[1] // 2 + 1))


def draw_mask(shape: tuple[int, int], acquired: slice, planar: bool, rng: np.random.Generator) -> Array:
    """Draw a sampling pattern of a random kind, acceleration and centre: `(ky, kx)` bool."""
    seed = int(rng.integers(2**31))
    acs = int(rng.integers(8, 17)) * 2
    if planar:
        acceleration = float(rng.uniform(3, 12))
        if rng.random() < 0.8:
            return masks.poisson_disc(shape, acceleration, acs, seed, slope=float(rng.uniform(0.5, 6.0)))
        return masks.uniform(shape, int(rng.integers(1, 4)), acs, seed, acquired)
    kind = rng.random()
    if kind < 0.45:
        mask = masks.uniform(shape, int(rng.integers(2, 7)), acs, seed, acquired)
    else:
        span = acquired.stop - acquired.start
        acceleration = min(float(rng.uniform(2, 7)), span / (acs + 4))
        mask = masks.variable_density(shape, max(1.0, acceleration), acs, seed, float(rng.uniform(0, 4)), acquired)
    if rng.random() < 0.1:
        mask &= masks.partial_fourier(shape, float(rng.uniform(0.6, 0.9)))
    return mask


def recolour(image: Array, contrast: str, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Change a slice's contrast: a mild gamma, or (then it is called `other`) a random piecewise linear intensity curve."""
    picture = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).clamp(0, 1.5)
    kind = rng.random()
    if kind < 0.4:
        return picture ** float(rng.uniform(0.8, 1.3)), contrast
    knots = (
        np.concatenate([[0.0], rng.uniform(0.05, 1.0, 5)])
        if kind < 0.75
        else np.cumsum(np.concatenate([[0.0], rng.uniform(0, 0.4, 5)]))
    )
    grid = np.linspace(0, 1.5, len(knots))
    fine = np.linspace(0, 1.5, 256)
    curve = torch.from_numpy(np.interp(fine, grid, knots).astype(np.float32))
    at = picture * (255 / 1.5)
    low = at.floor().long().clamp(0, 254)
    part = at - low
    return curve[low] * (1 - part) + curve[low + 1] * part, "other"


def place(picture: Tensor, grid: tuple[int, int], field: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Warp a slice by a random affine and smooth elastic map onto `grid`.

    The object fills 75 to 98 % of the field of view; where the grid is wider than that, it reaches up to 15 % beyond.
    """
    if rng.random() < 0.3:
        picture = torch.rot90(picture, int(rng.integers(4)))
    if rng.random() < 0.5:
        picture = picture.flip(-1)
    inside = [torch.where((picture > 0.08).float().mean(axis) > 0.02)[0] for axis in (1, 0)]
    low, high = [int(i.min()) for i in inside], [int(i.max()) + 1 for i in inside]
    extent = [b - a for a, b in zip(low, high, strict=True)]
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    fill = [rng.uniform(0.75, 0.98), rng.uniform(0.75, 1.0) if grid[1] == field[1] else rng.uniform(0.95, 1.15)]
    zoom = [extent[i] / (fill[i] * field[i]) for i in (0, 1)]
    mean = float(np.sqrt(zoom[0] * zoom[1]))
    zoom = [float(np.clip(z, 0.85 * mean, 1.18 * mean)) for z in zoom]
    angle = rng.normal(0, 0.1)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    shift = rng.normal(0, 3.0, 2)
    y = (torch.arange(grid[0]) - (grid[0] - 1) / 2)[:, None]
    x = (torch.arange(grid[1]) - (grid[1] - 1) / 2)[None]
    coarse = torch.from_numpy(rng.standard_normal((1, 2, 7, 7), dtype=np.float32)) * rng.uniform(0, 0.03)
    bend = torch.nn.functional.interpolate(coarse, grid, mode="bicubic", align_corners=True)[0]
    rows, columns = picture.shape
    source_y = ((cos * y - sin * x) * zoom[0] + middle[0] + shift[0]) * 2 / rows - 1 + bend[0]
    source_x = ((sin * y + cos * x) * zoom[1] + middle[1] + shift[1]) * 2 / columns - 1 + bend[1]
    where = torch.stack([source_x, source_y], -1)[None].float()
    warped = torch.nn.functional.grid_sample(picture[None, None], where, mode="bicubic", align_corners=False)
    return warped[0, 0].clamp_min(0)


def smooth_phase(grid: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Return a unit-modulus field `(y, x)`: linear, quadratic and low-frequency random phase."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 5, 5), dtype=np.float32)) * rng.uniform(0, 1.2)
    finer = torch.from_numpy(rng.standard_normal((1, 1, 12, 12), dtype=np.float32)) * rng.uniform(0, 0.25)
    phase = sum(torch.nn.functional.interpolate(c, grid, mode="bicubic", align_corners=True)[0, 0] for c in (coarse, finer))
    y = torch.linspace(-1, 1, grid[0])[:, None]
    x = torch.linspace(-1, 1, grid[1])[None]
    a, b, c = rng.normal(0, 1.0, 3)
    return torch.polar(torch.ones(grid), phase + a * y + b * x + c * np.pi)


def coil_field(grid: tuple[int, int], coils: int, rng: np.random.Generator) -> Tensor:
    """Return sensitivities `(coil, y, x)` of loops around the object: the 2D Biot-Savart field of wire pairs.

    In two dimensions a wire at `z0` makes the field `1 / (z - z0)`; a loop is two wires of opposite current.
    """
    y = torch.linspace(-1, 1, grid[0])[:, None] * (grid[0] / max(grid))
    x = torch.linspace(-1, 1, grid[1])[None] * (grid[1] / max(grid))
    z = torch.complex(x.expand(grid).contiguous(), y.expand(grid).contiguous())
    start = rng.uniform(0, 2 * np.pi)
    maps = []
    for coil in range(coils):
        angle = start + 2 * np.pi * (coil + rng.normal(0, 0.1)) / coils
        half = rng.uniform(0.6, 1.3) * np.pi / coils
        reach = rng.uniform(1.1, 1.45)
        wires = [reach * np.exp(1j * (angle + s * half)) for s in (-1, 1)]
        maps.append(
            (1 / (z - complex(wires[0])) - 1 / (z - complex(wires[1]))) * complex(np.exp(1j * rng.uniform(0, 2 * np.pi)))
        )
    stack = torch.stack(maps)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.2, (coils, 1, 1))).astype(np.float32))
    return stack * gain / stack.abs().square().sum(0).sqrt().mean()


def fold(coil_images: Tensor, columns: int) -> Tensor:
    """Wrap the last axis into a field of view of `columns`, as undersampling k-space by the field of view does."""
    wide = coil_images.shape[-1]
    if wide <= columns:
        return centre(coil_images, (coil_images.shape[-2], columns))
    copies = -(-wide // columns) + (1 - (-(-wide // columns)) % 2)
    padded = centre(coil_images, (coil_images.shape[-2], copies * columns))
    return padded.reshape(*coil_images.shape[:-1], copies, columns).sum(-2)


def _acquired(shape: tuple[int, int], rng: np.random.Generator) -> slice:
    """Return the columns a scan covers: all of them, or the central 60 to 95 %."""
    if rng.random() < 0.5:
        return slice(0, shape[1])
    return masks.centre_block(shape[1], 2 * int(shape[1] * rng.uniform(0.3, 0.48)))
