from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from veridical.errors import GeometryError, MissingExtra
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.noncartesian_mri import NoncartesianMRI, radial

ONE_COIL = torch.ones(1, 1, 24, 20, dtype=torch.complex64)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingExtra, match=r"veridical\[mri\]"):
        NoncartesianMRI(torch.zeros(4, 2), ONE_COIL)


class TestWithFinufft:
    @pytest.fixture(autouse=True)
    def _finufft(self) -> None:
        pytest.importorskip("finufft", reason="the extra [mri] is not installed")

    def test_equals_the_explicit_transform(self) -> None:
        operator = NoncartesianMRI.example(1)
        assert isinstance(operator, NoncartesianMRI)
        x = torch.randn(operator.domain, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        y, x_axis = (torch.arange(n) - n // 2 for n in (12, 15))
        ky, kx = operator.trajectory.double().T
        phase = ky[:, None, None] * y[:, None] / 12 + kx[:, None, None] * x_axis / 15
        kernel = torch.exp(-2j * torch.pi * phase) / np.sqrt(12 * 15)
        explicit = torch.einsum("nyx,scyx,syx->cn", kernel, operator.maps.to(kernel.dtype), x.to(kernel.dtype))
        measured = operator.forward(x).to(kernel.dtype)
        assert float((measured - explicit).norm() / explicit.norm()) < 1e-5

    def test_on_grid_points_it_is_cartesian_mri(self) -> None:
        grid = torch.cartesian_prod(torch.arange(24.0) - 12, torch.arange(20.0) - 10)
        x = torch.randn(1, 24, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        cartesian = CartesianMRI(torch.ones(24, 20), ONE_COIL).forward(x)
        measured = NoncartesianMRI(grid, ONE_COIL).forward(x).reshape(1, 24, 20)
        torch.testing.assert_close(measured, cartesian, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(NoncartesianMRI(grid, ONE_COIL).density(), torch.ones(480), atol=1e-3, rtol=0)

    def test_density_makes_the_adjoint_of_a_radial_scan_a_rough_inverse(self) -> None:
        y, x = (torch.arange(48.0) - 24, torch.arange(48.0) - 24)
        truth = torch.exp(-(y[:, None] ** 2 + x**2) / 60.0).to(torch.complex64)[None]
        operator = NoncartesianMRI(radial(80, 96, 48), torch.ones(1, 1, 48, 48, dtype=torch.complex64))
        kspace = operator.forward(truth)
        weighted = operator.adjoint(kspace * operator.density())
        assert float((weighted - truth).norm() / truth.norm()) < 0.05
        assert float((operator.adjoint(kspace) - truth).norm() / truth.norm()) > 0.5

    def test_a_trajectory_in_other_units_is_refused(self) -> None:
        with pytest.raises(GeometryError, match="cycles per field of view"):
            NoncartesianMRI(torch.full((5, 2), 100.0), ONE_COIL)
        with pytest.raises(GeometryError, match="reshape"):
            NoncartesianMRI(torch.zeros(3, 5, 2), ONE_COIL)

    @pytest.mark.real
    def test_a_real_radial_trajectory_resolves_a_disc(self, real_data: Path) -> None:
        path = real_data / "kspace_sigpy_tutorial" / "data" / "projection_coord.npy"
        trajectory = torch.from_numpy(np.load(path)).reshape(-1, 2).float()
        operator = NoncartesianMRI(trajectory, torch.ones(1, 1, 256, 256, dtype=torch.complex64))
        axis = torch.arange(256.0) - 128
        truth = (torch.hypot(axis[:, None] - 10, axis) < 20).to(torch.complex64)[None]
        image = operator.adjoint(operator.forward(truth) * operator.density())
        inside = torch.hypot(axis[:, None] - 10, axis) < 15
        assert float(image[0][inside].abs().mean()) == pytest.approx(1.0, abs=0.1)
        assert float((image - truth).norm() / truth.norm()) < 0.25
