"""From measurements to problems: noise in the units of the data, a start that explains them,
whatever measured it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from veridical.errors import InputError, SettingError
from veridical.models.problem import Problem
from veridical.models.problems import MOST_COILS, problems, white_level
from veridical.physics.cartesian_mri import CartesianMRI, CartesianScan
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.linear import LinearOperator
from veridical.physics.noise import poisson, poisson_gaussian
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan, radial
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET
from veridical.physics.photoacoustic import Photoacoustic
from veridical.types import Geometry, Measurement, Noise

SIZE = (40, 48)
GRID = Geometry.index((SIZE[1], SIZE[0], 1))


def disc(value: float = 1.0) -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE[0]) - 18.0, torch.arange(SIZE[1]) - 26.0, indexing="ij")
    return value * (torch.hypot(y, x) < 11).float()


def measured(operator: LinearOperator, data: Tensor, noise: Noise) -> Measurement:
    return Measurement(data.numpy()[None], operator, noise, GRID)


def normal(shape: torch.Size, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative(problem: Problem, truth: Tensor) -> float:
    return float((problem.image(problem.start)[0] - truth).norm() / truth.norm())


def test_a_cartesian_scan_has_maps_noise_and_a_start_in_units_of_its_scale() -> None:
    problem = toys.problem()
    assert isinstance(problem.operator, CartesianMRI)
    assert problem.sigma * problem.scale == pytest.approx(toys.SIGMA)
    torch.testing.assert_close(
        problem.data * problem.scale, torch.from_numpy(toys.measurement().data[0].copy())
    )
    assert relative(problem, torch.from_numpy(toys.magnitude())) < 0.1


def test_a_second_set_of_maps_is_left_out_where_the_object_fits_the_field_of_view() -> None:
    assert toys.problem().operator.domain == (1, *toys.SIZE)


def test_a_single_coil_needs_no_maps() -> None:
    problem = next(problems(toys.measurement(coils=1)))
    assert isinstance(problem.operator, CartesianMRI)
    assert problem.operator.maps.shape == (1, 1, *toys.SIZE)
    assert (problem.operator.maps == 1).all()


def test_many_coils_are_compressed() -> None:
    assert len(next(problems(toys.measurement(coils=20))).data) == MOST_COILS


def test_an_unknown_noise_level_of_a_scan_is_estimated() -> None:
    mask, data = np.ones((1, 96, 80), bool), toys.kspace((96, 80), sigma=0.1).numpy()[None]
    problem = next(
        problems(
            Measurement(data, CartesianScan(mask), Noise("unknown"), Geometry.index((80, 96, 1)))
        )
    )
    assert problem.sigma * problem.scale == pytest.approx(0.1, rel=0.15)


def test_the_prepared_scan_explains_the_data() -> None:
    problem = toys.problem()
    assert isinstance(problem.operator, CartesianMRI)
    image = problem.operator.combine(toys.sensitivities() * toys.picture()) / problem.scale
    torch.testing.assert_close(problem.image(image)[0], toys.picture().abs(), atol=0.05, rtol=0.05)


def test_slices_come_in_order_and_an_empty_one_is_refused() -> None:
    three = toys.measurement(3)
    data = three.data * np.array([1, 2, 3], np.float32)[:, None, None, None]
    scales = [problem.scale for problem in problems(replace(three, data=data))]
    assert scales[1] / scales[0] == pytest.approx(2, rel=0.05)
    data[1] = 0
    with pytest.raises(InputError, match="Slice 2"):
        list(problems(replace(three, data=data)))


def test_a_noncartesian_scan_is_prepared_from_its_trajectory() -> None:
    pytest.importorskip("finufft", reason="the extra [mri] is not installed")
    trajectory = radial(96, 192, 1.0) * torch.tensor([96.0, 80.0])
    maps, picture = toys.sensitivities((96, 80), 4), toys.picture((96, 80))
    data = NoncartesianMRI(trajectory, maps[None]).forward(picture[None])
    scan = NoncartesianScan(trajectory.numpy()[None], (96, 80))
    problem = next(
        problems(
            Measurement(
                data.numpy()[None], scan, Noise("gaussian", 1e-3), Geometry.index((80, 96, 1))
            ),
            1,
        )
    )
    assert isinstance(problem.operator, NoncartesianMRI)
    assert problem.sigma * problem.scale == pytest.approx(1e-3, rel=1e-3)
    assert relative(problem, picture.abs()) < 0.15


CT = (
    ParallelBeam(SIZE, (2.0, 2.0), half_turn(60)),
    FanBeam(SIZE, (2.0, 2.0), full_turn(90), 200.0),
)


@pytest.mark.parametrize("beam", CT, ids=lambda b: b.name)
def test_a_sinogram_is_in_units_of_the_foreground_and_its_noise_is_found(
    beam: LinearOperator,
) -> None:
    truth = disc(0.02)
    clean = beam.forward(truth)
    loud = next(problems(measured(beam, clean + 0.04 * normal(clean.shape), Noise("unknown"))))
    assert loud.sigma * loud.scale == pytest.approx(0.04, rel=0.15)
    problem = next(
        problems(measured(beam, clean + 0.01 * normal(clean.shape), Noise("gaussian", 0.01)))
    )
    assert problem.sigma * problem.scale == pytest.approx(0.01)
    assert problem.weights is None
    assert problem.scale == pytest.approx(0.02, rel=0.2)
    assert relative(problem, truth) < 0.3
    assert problem.support is not None
    assert problem.support.shape == (1, *SIZE)


def test_photons_give_every_ray_its_weight() -> None:
    beam, photons = CT[0], 2e3
    clean = beam.forward(disc(0.02))
    data = poisson_gaussian(clean, photons, 0.0, torch.Generator().manual_seed(0))
    problem = next(problems(measured(beam, data, Noise("poisson_gaussian", photons))))
    assert problem.weights is not None
    expected = (clean.exp() / photons).sqrt()
    found = problem.scale * problem.sigma / problem.weights.sqrt()
    assert float((found / expected).median()) == pytest.approx(1, abs=0.1)
    assert float(problem.weights[clean > 0.6].mean()) < float(problem.weights[clean < 0.01].mean())
    with pytest.raises(SettingError, match="photons"):
        list(problems(measured(beam, data, Noise("poisson_gaussian"))))


def test_the_noise_in_the_image_is_that_which_noise_in_the_data_makes() -> None:
    beam, truth = CT[0], disc(0.02)
    clean = beam.forward(truth)
    problem = next(
        problems(measured(beam, clean + 0.01 * normal(clean.shape, 1), Noise("gaussian", 0.01)))
    )
    many = torch.stack(
        [beam.classical(clean + 0.01 * normal(clean.shape, seed)) for seed in range(8)]
    )
    assert problem.level is not None
    assert problem.level * problem.scale == pytest.approx(float(many.var(0).mean().sqrt()), rel=0.1)


@pytest.mark.parametrize("background", [0.0, 2.0])
def test_counts_have_the_variance_of_their_mean_and_lose_their_background(
    background: float,
) -> None:
    beam = ParallelBeam(SIZE, (2.0, 2.0), half_turn(60))
    pet, truth = PET(beam, background=torch.full(beam.range, background), scale=1.0), disc(2.0)
    counts = poisson(pet.expected(truth), torch.Generator().manual_seed(0))
    problem = next(problems(measured(pet, counts, Noise("poisson"))))
    torch.testing.assert_close(
        problem.data * problem.scale, counts - background, atol=1e-3, rtol=1e-4
    )
    assert problem.weights is not None
    found = (problem.scale * problem.sigma) ** 2 / problem.weights
    bright = pet.expected(truth) > 10
    assert float((found / pet.expected(truth))[bright].mean()) == pytest.approx(1, abs=0.15)
    assert float(problem.weights[~bright].mean()) > float(problem.weights[bright].mean())


def test_the_noise_of_counts_is_known_in_every_pixel_and_grows_with_the_activity() -> None:
    beam, truth = ParallelBeam(SIZE, (2.0, 2.0), half_turn(60)), disc(2.0)
    pet = PET(beam, background=torch.zeros(beam.range), scale=1.0)
    counts = [
        poisson(pet.expected(truth), torch.Generator().manual_seed(seed)) for seed in range(12)
    ]
    problem = next(problems(measured(pet, counts[0], Noise("poisson"))))
    assert isinstance(problem.level, Tensor)
    seen = torch.stack([pet.osem(one) for one in counts]).std(0)
    inside = truth > 1
    assert float(
        problem.scale * problem.level[inside].mean() / seen[inside].mean()
    ) == pytest.approx(1, abs=0.25)
    assert float(problem.level[inside].mean()) > 3 * float(problem.level[truth == 0].mean())


def test_photoacoustic_traces_are_a_problem_like_any_other() -> None:
    operator = Photoacoustic.example(0)
    truth = torch.rand(operator.domain, generator=torch.Generator().manual_seed(0))
    data = operator.forward(truth)
    grid = Geometry.index((operator.domain[-1], operator.domain[-2], 1))
    problem = next(
        problems(Measurement(data.numpy()[None], operator, Noise("gaussian", 0.01), grid))
    )
    assert problem.operator is operator
    assert problem.start.shape == operator.domain
    torch.testing.assert_close(problem.data * problem.scale, data, rtol=1e-4, atol=1e-5)


def test_what_is_not_finite_is_refused() -> None:
    beam = CT[0]
    data = beam.forward(disc(0.02))
    data[3, 4] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        list(problems(measured(beam, data, Noise("gaussian", 0.01))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_white_noise_is_found_beneath_a_smooth_signal(dtype: torch.dtype) -> None:
    smooth = torch.sin(torch.linspace(0, 6, 400)).expand(50, 400).to(dtype)
    noise = torch.randn(50, 400, 2, generator=torch.Generator().manual_seed(0))
    drawn = torch.view_as_complex(noise) if dtype.is_complex else noise[..., 0]
    assert white_level(smooth + 0.05 * drawn) == pytest.approx(0.05, rel=0.05)
