"""Rigid motion during a Cartesian MR scan: each shot's lines see a turned and shifted object, the
coils stand still.

Model: Batchelor et al. 2005 (10.1002/mrm.20656), `y = sum over shots of mask_s F C T_s x`. The
rotation is three shears by Fourier phase ramps (Larkin, Oldfield and Klemm 1997,
10.1016/S0030-4018(97)00097-7), each unitary, so the adjoint of `T` is its inverse; what leaves the
field of view comes back on the other side.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from veridical.errors import GeometryError, SettingError
from veridical.physics.fourier import fft, ifft
from veridical.physics.linear import LinearOperator

STEEPEST = math.radians(45)


class Motion(LinearOperator):
    """`y = sum over shots of shots[s] . F . maps . T_s x`, linear in x for known motion.

    Args: shots: `(shot, ky, kx)` real, 1 where that shot samples; shots do not overlap. motion:
        `(shot, 3)`: rotation in radians from the y axis towards the x axis about the voxel `(y //
        2, x // 2)`, then shifts along y and x in mm. maps: `(set, coil, y, x)` complex coil
        sensitivities. spacing: `(dy, dx)` in mm.

    Domain `(set, y, x)`, complex, in the units of the object; range `(coil, ky, kx)`, complex,
    centred, zero where not sampled.

    Raises:
        GeometryError: shapes do not fit, or shots overlap.
        SettingError: a rotation of more than 45 degrees, which would wrap around.
    """

    name = "motion"
    dtype = torch.complex64

    def __init__(
        self, shots: Tensor, motion: Tensor, maps: Tensor, spacing: tuple[float, float]
    ) -> None:
        if (
            shots.ndim != 3
            or maps.ndim != 4
            or shots.shape[-2:] != maps.shape[-2:]
            or motion.shape != (len(shots), 3)
        ):
            raise GeometryError(
                f"motion: shots {tuple(shots.shape)}, motion {tuple(motion.shape)}, maps "
                f"{tuple(maps.shape)}; expected "
                "(shot, ky, kx), (shot, 3) and (set, coil, y, x) on one matrix."
            )
        if shots.sum(0).max() > 1:
            raise GeometryError(
                "motion: some samples belong to several shots. Give each k-space sample to one "
                "shot."
            )
        if motion[:, 0].abs().max() > STEEPEST:
            raise SettingError(
                f"motion: a rotation of {math.degrees(float(motion[:, 0].abs().max())):.0f} "
                "degrees; at most 45 are "
                "supported. Rotations are in radians."
            )
        self.shots, self.motion, self.maps = shots, motion.float(), maps
        self.spacing = (float(spacing[0]), float(spacing[1]))
        sets, coils, rows, columns = maps.shape
        self.domain, self.range = (sets, rows, columns), (coils, rows, columns)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        total = torch.zeros(*x.shape[:-3], *self.range, dtype=x.dtype, device=x.device)
        for mask, motion in zip(self.shots, self.motion, strict=True):
            moved = move(x, motion, self.spacing)
            total = total + mask * fft((self.maps * moved[..., :, None, :, :]).sum(-4))
        return total

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "k-space")
        total = torch.zeros(*y.shape[:-3], *self.domain, dtype=y.dtype, device=y.device)
        for mask, motion in zip(self.shots, self.motion, strict=True):
            combined = (self.maps.conj() * ifft(mask * y)[..., None, :, :, :]).sum(-3)
            total = total + move_back(combined, motion, self.spacing)
        return total

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the spacing and hashes of shots, motion and maps."""
        return super().describe() | {"spacing": list(self.spacing)}

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn(2, 3, 12, 15, dtype=torch.complex64, generator=generator)
        owner = torch.randint(0, 4, (15,), generator=generator)
        shots = torch.stack([(owner == shot).float().expand(12, 15) for shot in range(3)])
        motion = torch.randn(3, 3, generator=generator) * torch.tensor([0.1, 2.0, 2.0])
        return cls(shots, motion, maps, (1.0, 1.5))


def move(image: Tensor, motion: Tensor, spacing: tuple[float, float]) -> Tensor:
    """Turn, then shift a complex image `(..., y, x)`; unitary. `motion` and `spacing` as in
    `Motion`.
    """
    across, along = _shears(image, motion, spacing)
    turned = _ramp(_ramp(_ramp(image, -1, across), -2, along), -1, across)
    return _ramp(_ramp(turned, -2, motion[1] / spacing[0]), -1, motion[2] / spacing[1])


def move_back(image: Tensor, motion: Tensor, spacing: tuple[float, float]) -> Tensor:
    """Undo `move`: its inverse and its adjoint."""
    across, along = _shears(image, motion, spacing)
    shifted = _ramp(_ramp(image, -1, -motion[2] / spacing[1]), -2, -motion[1] / spacing[0])
    return _ramp(_ramp(_ramp(shifted, -1, -across), -2, -along), -1, -across)


def _shears(image: Tensor, motion: Tensor, spacing: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return by how many pixels each row moves along x, `(y, 1)`, and each column along y, `(1,
    x)`.
    """
    rows, columns = image.shape[-2:]
    y = (torch.arange(rows, device=image.device) - rows // 2) * spacing[0]
    x = (torch.arange(columns, device=image.device) - columns // 2) * spacing[1]
    return (torch.tan(motion[0] / 2) * y / spacing[1])[:, None], (
        -torch.sin(motion[0]) * x / spacing[0]
    )[None]


def _ramp(image: Tensor, axis: int, pixels: Tensor) -> Tensor:
    """Shift along an axis by a number of pixels that may vary along the other axis."""
    frequency = torch.fft.fftfreq(image.shape[axis], device=image.device)
    if axis == -2:
        frequency = frequency[:, None]
    phase = torch.polar(torch.ones_like(frequency * pixels), -2 * math.pi * frequency * pixels)
    shifted: Tensor = torch.fft.ifft(torch.fft.fft(image, dim=axis) * phase, dim=axis)
    return shifted
