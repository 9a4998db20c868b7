"""Motion ghosts: the patient moves between the phase-encoding lines of an MR scan, and nothing is
done about it.

What counts is how far the head is on average from where it was at the centre of k-space: of 17
children's scans with more than 0.5 mm, 11 were of no diagnostic use (Afacan et al. 2016,
10.1007/s00247-016-3677-9). 1 to 5 mm and degrees make mild to severe ghosts; breathing moves the
abdomen by 5 to 20 mm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from veridical.errors import SettingError
from veridical.physics.degradation import Degradation, checked
from veridical.physics.fourier import ifft
from veridical.physics.motion import STEEPEST, Motion
from veridical.types import Array

PHASES = 8
"""Positions that a period of motion is divided into."""


@dataclass(frozen=True)
class MotionGhosts(Degradation):
    """Sudden jumps, or a periodic motion, of a rigid object seen by one even coil; the slices move
    together.

    The truth is where the patient was at the centre of k-space, or for periodic motion the middle
    position. Shifts keep the energy of the image; turns do nearly.
    """

    name: ClassVar[str] = "motion-ghosts"
    harmless: ClassVar[Mapping[str, Any]] = {"shift": (0.0, 0.0), "turn": (0.0, 0.0)}
    shift: tuple[float, float] = (0.5, 4.0)
    """Most mm, along both axes; of periodic motion the amplitude, along the phase-encoding axis."""
    turn: tuple[float, float] = (0.0, 3.0)
    """Most degrees, up to 45; of periodic motion the amplitude."""
    moves: tuple[int, int] = (1, 3)
    """Number of sudden jumps."""
    period: tuple[float, float] = (3.0, 32.0)
    """Lines that a period takes."""
    periodic: float = 0.5
    """Share of scans in which the motion is periodic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turn[1] > math.degrees(STEEPEST):
            raise SettingError(
                f"motion-ghosts: turn = {self.turn} degrees; expected at most "
                f"{math.degrees(STEEPEST):.0f}."
            )

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the phase-encoding `axis`, the `poses` (degrees, mm along it, mm across) and the
        `shots`: of each line, in order, the number of its pose.
        """
        axis, shift = int(rng.integers(2)), rng.uniform(*self.shift)
        size, lines = np.array([rng.uniform(*self.turn), shift, shift]), np.arange(shape[axis])
        if rng.random() < self.periodic:
            cycle = lines / rng.uniform(*self.period) + rng.random()
            shots = (cycle * PHASES).astype(int) % PHASES
            poses = (
                np.sin(2 * np.pi * (np.arange(PHASES)[:, None] + 0.5) / PHASES) * size * [1, 1, 0]
            )
        else:
            count = min(int(rng.integers(self.moves[0], self.moves[1] + 1)), len(lines) - 1)
            shots = np.searchsorted(
                np.sort(rng.choice(lines[1:], count, replace=False)), lines, side="right"
            )
            poses = rng.uniform(-size, size, (count + 1, 3))
            poses[shots[len(lines) // 2]] = 0
        return {"axis": axis, "poses": poses.tolist(), "shots": shots.tolist()}

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        axis, poses = parameters["axis"], torch.tensor(parameters["poses"])
        slices = np.moveaxis(checked(image), 1 + axis, 1)
        poses[:, 0] = torch.deg2rad(poses[:, 0])
        shape = (slices.shape[1], slices.shape[2])
        shots = torch.tensor(parameters["shots"]) == torch.arange(len(poses))[:, None]
        maps = torch.ones(1, 1, *shape, dtype=torch.complex64)
        scan = Motion(
            shots.float()[:, :, None].expand(-1, -1, shape[1]),
            poses,
            maps,
            (spacing[axis], spacing[1 - axis]),
        )
        moved = (
            ifft(scan.forward(torch.from_numpy(slices.astype(np.complex64))[:, None])[:, 0])
            .abs()
            .numpy()
        )
        return np.ascontiguousarray(np.moveaxis(moved, 1, 1 + axis))
