from __future__ import annotations

import math

import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.motion import Motion, move, move_back


def blob(y0: float, x0: float, shape: tuple[int, int] = (64, 72)) -> torch.Tensor:
    """A Gaussian of width 4 mm on 1 mm pixels, centred y0, x0 mm from the voxel n // 2."""
    y, x = (torch.arange(n) - n // 2 for n in shape)
    return torch.exp(-((y[:, None] - y0) ** 2 + (x - x0) ** 2) / 32.0).to(torch.complex64)


def parts(owner: torch.Tensor, count: int, rows: int) -> torch.Tensor:
    return torch.stack([(owner == shot).float().expand(rows, len(owner)) for shot in range(count)])


def test_a_shift_moves_by_millimetres() -> None:
    moved = move(blob(0.0, 0.0), torch.tensor([0.0, 3.5, -4.25]), (1.0, 1.0))
    torch.testing.assert_close(moved, blob(3.5, -4.25), atol=1e-4, rtol=0)


def test_a_rotation_turns_y_towards_x() -> None:
    angle = math.radians(25)
    moved = move(blob(15.0, 0.0), torch.tensor([angle, 0.0, 0.0]), (1.0, 1.0))
    torch.testing.assert_close(
        moved, blob(15 * math.cos(angle), 15 * math.sin(angle)), atol=1e-3, rtol=0
    )


def test_rotation_respects_the_pixel_size() -> None:
    """On pixels of 2 x 1 mm a round object stays round when it turns."""
    y, x = (torch.arange(32) - 16) * 2.0, torch.arange(72.0) - 36
    angle = math.radians(30)

    def at(y0: float, x0: float) -> torch.Tensor:
        return torch.exp(-((y[:, None] - y0) ** 2 + (x - x0) ** 2) / 18.0).to(torch.complex64)

    moved = move(at(10.0, 0.0), torch.tensor([angle, 0.0, 0.0]), (2.0, 1.0))
    torch.testing.assert_close(
        moved, at(10 * math.cos(angle), 10 * math.sin(angle)), atol=2e-3, rtol=0
    )


def test_movement_is_unitary_and_undone() -> None:
    image = torch.randn(
        2, 16, 15, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    motion = torch.tensor([0.2, 1.3, -0.7])
    moved = move(image, motion, (1.0, 1.2))
    assert float(moved.norm()) == pytest.approx(float(image.norm()), rel=1e-5)
    torch.testing.assert_close(move_back(moved, motion, (1.0, 1.2)), image, atol=1e-5, rtol=0)


def test_without_motion_it_is_cartesian_mri() -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(1, 4, 16, 18, dtype=torch.complex64, generator=generator)
    x = torch.randn(1, 16, 18, dtype=torch.complex64, generator=generator)
    shots = parts(torch.arange(18) % 3, 3, 16)
    still = Motion(shots, torch.zeros(3, 3), maps, (1.0, 1.0))
    torch.testing.assert_close(
        still.forward(x), CartesianMRI(torch.ones(16, 18), maps).forward(x), atol=1e-5, rtol=1e-4
    )


def test_known_motion_can_be_undone_where_neglected_motion_leaves_ghosts() -> None:
    truth = (blob(0.0, 0.0) + 0.5 * blob(10.0, -12.0))[None]
    maps = torch.ones(1, 1, 64, 72, dtype=torch.complex64)
    shots = parts(torch.arange(72) % 2, 2, 64)
    moving = Motion(shots, torch.tensor([[0.0, 0.0, 0.0], [0.05, 1.5, 0.0]]), maps, (1.0, 1.0))
    kspace = moving.forward(truth)
    neglected = CartesianMRI(torch.ones(64, 72), maps).adjoint(kspace)
    corrected = moving.pinv(kspace, 60)
    assert float((corrected - truth).norm()) < 0.05 * float((neglected - truth).norm())


def test_overlapping_shots_and_large_rotations_are_refused() -> None:
    maps = torch.ones(1, 1, 8, 8, dtype=torch.complex64)
    with pytest.raises(GeometryError, match="one shot"):
        Motion(torch.ones(2, 8, 8), torch.zeros(2, 3), maps, (1.0, 1.0))
    with pytest.raises(SettingError, match="radians"):
        Motion(torch.ones(1, 8, 8), torch.tensor([[10.0, 0.0, 0.0]]), maps, (1.0, 1.0))
    with pytest.raises(GeometryError, match="shot, 3"):
        Motion(torch.ones(1, 8, 8), torch.zeros(2, 3), maps, (1.0, 1.0))
