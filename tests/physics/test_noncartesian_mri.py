from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from veridical.errors import GeometryError, MissingExtra
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan, radial

ONE_COIL = torch.ones(1, 1, 24, 20, dtype=torch.complex64)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingExtra, match=r"veridical\[mri\]"):
        NoncartesianMRI(torch.zeros(4, 2), ONE_COIL)


class TestScan:
    def test_it_needs_no_extra_and_cannot_be_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "finufft", None)
        scan = NoncartesianScan(np.array([[[-12.0, 10.0], [3.0, 4.0]]]), (24, 20))
        assert scan.trajectory.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            scan.trajectory[0, 0, 0] = 1

    def test_its_description_is_json_and_identifies_it(self) -> None:
        points = np.array([[[-12.0, 10.0], [3.0, 4.0]]])
        said = NoncartesianScan(points, (24, 20)).describe()
        assert json.loads(json.dumps(said)) == said
        assert (said["operator"], said["matrix"], said["slices"], said["samples"]) == (
            "noncartesian-mri",
            [24, 20],
            1,
            2,
        )
        assert said == NoncartesianScan(points.copy(), (24, 20)).describe()
        assert (
            said["trajectory"]
            != NoncartesianScan(points[..., ::-1], (24, 24)).describe()["trajectory"]
        )

    @pytest.mark.parametrize(
        ("trajectory", "matrix", "message"),
        [
            (np.zeros((5, 2)), (24, 20), "reshape"),
            (np.zeros((1, 5, 3)), (24, 20), "reshape"),
            (np.zeros((1, 5, 2), complex), (24, 20), "real"),
            (np.full((1, 5, 2), np.nan), (24, 20), "finite"),
            (np.full((1, 5, 2), 11.0), (24, 20), "1.10 times the edge"),
            (np.zeros((1, 5, 2)), (24, 0), "rows, columns"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, trajectory: np.ndarray, matrix: tuple[int, int], message: str
    ) -> None:
        with pytest.raises(GeometryError, match=message):
            NoncartesianScan(trajectory, matrix)


class TestWithFinufft:
    @pytest.fixture(autouse=True)
    def _finufft(self) -> None:
        pytest.importorskip("finufft", reason="the extra [mri] is not installed")

    def test_equals_the_explicit_transform(self) -> None:
        operator = NoncartesianMRI.example(1)
        assert isinstance(operator, NoncartesianMRI)
        x = torch.randn(
            operator.domain, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
        )
        y, x_axis = (torch.arange(n) - n // 2 for n in (12, 15))
        ky, kx = operator.trajectory.double().T
        phase = ky[:, None, None] * y[:, None] / 12 + kx[:, None, None] * x_axis / 15
        kernel = torch.exp(-2j * torch.pi * phase) / np.sqrt(12 * 15)
        explicit = torch.einsum(
            "nyx,scyx,syx->cn", kernel, operator.maps.to(kernel.dtype), x.to(kernel.dtype)
        )
        measured = operator.forward(x).to(kernel.dtype)
        assert float((measured - explicit).norm() / explicit.norm()) < 1e-5

    def test_on_grid_points_it_is_cartesian_mri(self) -> None:
        grid = torch.cartesian_prod(torch.arange(24.0) - 12, torch.arange(20.0) - 10)
        x = torch.randn(
            1, 24, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
        )
        cartesian = CartesianMRI(torch.ones(24, 20), ONE_COIL).forward(x)
        measured = NoncartesianMRI(grid, ONE_COIL).forward(x).reshape(1, 24, 20)
        torch.testing.assert_close(measured, cartesian, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            NoncartesianMRI(grid, ONE_COIL).density(), torch.ones(480), atol=1e-3, rtol=0
        )

    def test_density_makes_the_adjoint_of_a_radial_scan_a_rough_inverse(self) -> None:
        y, x = (torch.arange(48.0) - 24, torch.arange(48.0) - 24)
        truth = torch.exp(-(y[:, None] ** 2 + x**2) / 60.0).to(torch.complex64)[None]
        operator = NoncartesianMRI(
            radial(80, 96, 48), torch.ones(1, 1, 48, 48, dtype=torch.complex64)
        )
        kspace = operator.forward(truth)
        weighted = operator.adjoint(kspace * operator.density())
        assert float((weighted - truth).norm() / truth.norm()) < 0.05
        assert float((operator.adjoint(kspace) - truth).norm() / truth.norm()) > 0.5

    @pytest.mark.parametrize("size", [(46, 31), (37, 24)])
    def test_the_normal_operator_without_a_nufft_is_adjoint_after_forward(
        self, size: tuple[int, int]
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(2, 4, *size, dtype=torch.complex64, generator=generator)
        operator = NoncartesianMRI(radial(11, 80, 1.0) * torch.tensor(size), maps)
        x = torch.randn(3, *operator.domain, dtype=torch.complex64, generator=generator)
        explicit = operator.adjoint(operator.forward(x))
        assert float((operator.normal(x) - explicit).norm() / explicit.norm()) < 1e-4
        u, v = x[0], x[1]
        assert abs(
            complex(torch.vdot(u.flatten(), operator.normal(v).flatten()))
            - complex(torch.vdot(operator.normal(u).flatten(), v.flatten()))
        ) < 1e-5 * float(explicit.norm() * u.norm())

    def test_gradients_flow_through_the_normal_operator(self) -> None:
        operator = NoncartesianMRI.example(1)
        x = torch.randn(
            operator.domain, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        mapped = operator.normal(x)
        (0.5 * (x.conj() * mapped).real.sum()).backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad, mapped.detach(), atol=1e-4, rtol=1e-4)

    def test_a_plan_used_again_gives_the_same_numbers_and_is_no_part_of_the_description(
        self,
    ) -> None:
        operator = NoncartesianMRI.example(1)
        assert isinstance(operator, NoncartesianMRI)
        before = operator.describe()
        x = torch.randn(
            2, *operator.domain, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
        )
        y, z = operator.forward(x), operator.normal(x)
        for _ in range(2):
            assert torch.equal(operator.forward(x), y)
            assert torch.equal(operator.normal(x), z)
            assert torch.equal(operator.adjoint(y), operator.adjoint(y))
        assert torch.equal(NoncartesianMRI(operator.trajectory, operator.maps).forward(x), y)
        assert operator.describe() == before
        assert torch.equal(copy.deepcopy(operator).forward(x), y)

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
