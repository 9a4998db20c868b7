from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from torch import Tensor

from veridical import registry
from veridical.errors import GeometryError, SettingError
from veridical.models.fbp import Fbp
from veridical.models.problems import problems
from veridical.models.sirt import Sirt
from veridical.models.tv_ct import TvCt
from veridical.physics.backprojection import WINDOWS, ramp, window
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.identity import Identity
from veridical.physics.noise import poisson_gaussian
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.projection import PlanarBeam
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Geometry, Measurement, Noise

SIZE = 64


def phantom(size: int = SIZE) -> Tensor:
    """Shepp and Logan's head in 1/mm."""
    return torch.from_numpy(
        0.02 * resize(shepp_logan_phantom(), (size, size), anti_aliasing=True)
    ).float()


def disc(size: int, radius: float) -> Tensor:
    axis = torch.arange(size) - (size - 1) / 2
    return 0.02 * (torch.hypot(axis[:, None], axis) <= radius).float()


def parallel(views: int, size: int = SIZE, pitch: float = 1.0) -> ParallelBeam:
    return ParallelBeam((size, size), (1.0, 1.0), half_turn(views), pitch=pitch)


def fan(views: int, size: int = SIZE, pitch: float = 1.0) -> FanBeam:
    return FanBeam((size, size), (1.0, 1.0), full_turn(views), source=200.0, pitch=pitch)


def measure(operator: PlanarBeam, image: Tensor, photons: float | None = None) -> Measurement:
    """Measure `(slice, y, x)`, with low-dose noise where photons are given."""
    data = operator.forward(image)
    if photons:
        data = poisson_gaussian(data, photons, 10.0, torch.Generator().manual_seed(0))
    rows, columns = operator.domain
    return Measurement(
        data.numpy(), operator, Noise(), Geometry((columns, rows, len(image)), np.eye(4))
    )


def sample(model: Fbp | Sirt | TvCt, measurement: Measurement) -> np.ndarray:
    """Reconstruct, `(1, 1, x, y, slice)`."""
    image = model.reconstruct(measurement.operator, torch.from_numpy(measurement.data.copy()))
    return image.permute(2, 1, 0)[None, None].numpy()


def error(model: Fbp | Sirt | TvCt, measurement: Measurement, truth: Tensor) -> float:
    found = torch.from_numpy(sample(model, measurement))[0, 0].permute(2, 1, 0)
    return float((found - truth).norm() / truth.norm())


@pytest.mark.parametrize("build", [parallel, fan])
def test_full_views_are_inverted_by_filtered_back_projection(build: Any) -> None:
    truth = phantom()[None]
    coarse, fine = (
        error(Fbp(), measure(build(400, pitch=pitch), truth), truth) for pitch in (1.0, 0.5)
    )
    assert coarse < 0.18
    assert fine < 0.1
    assert fine < coarse


@pytest.mark.parametrize("build", [parallel, fan])
@pytest.mark.parametrize("name", WINDOWS)
def test_the_value_inside_a_disc_is_right_whatever_the_window(build: Any, name: str) -> None:
    found = sample(Fbp(window=name), measure(build(300), disc(SIZE, 20)[None]))[0, 0, :, :, 0]
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    distance = np.hypot(axis[:, None], axis)
    assert found[distance < 13].mean() == pytest.approx(0.02, rel=0.005)
    assert found[distance < 13].std() < 0.01 * 0.02
    assert abs(found[distance > 25].mean()) < 0.01 * 0.02


def test_filtered_back_projection_agrees_with_scikit_image() -> None:
    """On an odd grid, where both turn about the same pixel; its rows run down."""
    size = 95
    truth = disc(size, 30)
    truth[20:40, 50:70] = 0.03
    operator = ParallelBeam((size, size), (1.0, 1.0), half_turn(180), detectors=size)
    measurement = measure(operator, truth[None])
    theirs = iradon(
        measurement.data[0].T.astype(np.float64), np.arange(180.0), filter_name="ramp", circle=True
    )[::-1].T
    ours = sample(Fbp(), measurement)[0, 0, :, :, 0]
    axis = np.arange(size) - size // 2
    inside = np.hypot(axis[:, None], axis) < 47
    assert np.abs(ours - theirs)[inside].max() < 1e-3 * 0.03


@pytest.mark.parametrize("build", [parallel, fan])
@pytest.mark.parametrize("photons", [None, 1e5])
def test_few_views_order_the_methods(build: Any, photons: float | None) -> None:
    """Total variation beats iterative least squares, which beats filtered back-projection."""
    truth = phantom()[None]
    measurement = measure(build(31), truth, photons)
    tv, sirt, fbp = (
        error(model, measurement, truth)
        for model in (TvCt(iterations=80), Sirt(iterations=60), Fbp("hann"))
    )
    assert tv < 0.8 * sirt
    assert sirt < 0.8 * fbp


def test_ramp_filter_is_the_modulus_of_frequency_and_keeps_the_mean() -> None:
    frequency = torch.fft.rfftfreq(512, 0.7)
    torch.testing.assert_close(ramp(512, 0.7)[5:], frequency[5:], rtol=0.02, atol=0)
    assert 0 < float(ramp(512, 0.7)[0]) < float(frequency[1])


def test_windows_start_at_one_fall_and_end_at_the_cutoff() -> None:
    for name in WINDOWS:
        values = window(256, name, 0.5)
        assert float(values[0]) == pytest.approx(1.0)
        assert bool((values.diff() <= 1e-6).all())
        assert float(values[65:].abs().max()) == 0
    assert float(window(256, "hann", 1.0)[64]) == pytest.approx(0.5)
    assert float(window(256, "shepp-logan", 1.0)[128]) == pytest.approx(2 / math.pi)


def test_sirt_never_gets_further_from_the_data() -> None:
    truth = phantom()[None]
    measurement = measure(parallel(20), truth)
    operator = parallel(20)
    residuals = []
    for iterations in (1, 5, 25):
        found = torch.from_numpy(sample(Sirt(iterations, nonnegative=False), measurement))[
            0, 0
        ].permute(2, 1, 0)
        residuals.append(
            float((operator.forward(found) - torch.from_numpy(measurement.data.copy())).norm())
        )
    assert residuals == sorted(residuals, reverse=True)


def test_total_variation_lowers_what_it_promises_to() -> None:
    """A heavier weight gives a smaller total variation."""
    truth = phantom()[None]
    measurement = measure(parallel(20), truth, 1e4)
    variation = []
    for weight in (1e-5, 1e-3, 1e-2):
        found = sample(TvCt(iterations=60, weight=weight), measurement)[0, 0, :, :, 0]
        variation.append(
            float(np.hypot(np.diff(found, axis=0)[:, 1:], np.diff(found, axis=1)[1:]).sum())
        )
    assert variation == sorted(variation, reverse=True)


MODELS = [Fbp(), Sirt(iterations=5), TvCt(iterations=5)]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
class TestCall:
    def test_registered_under_its_file_name(self, model: Fbp | Sirt | TvCt) -> None:
        assert registry.get("model", model.name) is type(model)
        assert (model.stochastic, model.weights_hash) == (False, "none")

    def test_axes_units_and_determinism(self, model: Fbp | Sirt | TvCt) -> None:
        image = torch.zeros(2, 30, 40)
        image[0, 5:12, 8:20] = 0.02
        operator = ParallelBeam((30, 40), (1.0, 1.0), half_turn(60))
        measurement = measure(operator, image)
        found = sample(model, measurement)
        assert (found.shape, found.dtype) == ((1, 1, 40, 30, 2), np.float32)
        assert np.unravel_index(np.argmax(found[0, 0, :, :, 0]), (40, 30))[0] in range(7, 21)
        assert np.unravel_index(np.argmax(found[0, 0, :, :, 0]), (40, 30))[1] in range(4, 13)
        assert abs(found[0, 0, :, :, 1]).max() < 1e-6
        assert found.tobytes() == sample(model, measurement).tobytes()

    def test_scale_of_the_data_carries_over(self, model: Fbp | Sirt | TvCt) -> None:
        measurement = measure(parallel(20, 32), phantom(32)[None])
        doubled = Measurement(
            2 * measurement.data, measurement.operator, measurement.noise, measurement.geometry
        )
        np.testing.assert_allclose(
            sample(model, doubled), 2 * sample(model, measurement), rtol=1e-3, atol=1e-6
        )

    def test_a_slice_is_solved_in_its_own_units_and_other_operators_are_not_accepted(
        self, model: Fbp | Sirt | TvCt
    ) -> None:
        good = measure(parallel(20, 32), phantom(32)[None])
        problem = next(problems(good))
        assert model.accepts(problem.operator)
        assert not model.accepts(Identity((8, 8)))
        found = problem.image(model.solve(problem, 3, 0))
        assert found.shape == (1, 1, 32, 32)
        np.testing.assert_allclose(
            found[0, 0].numpy().T, sample(model, good)[0, 0, :, :, 0], rtol=2e-3, atol=2e-5
        )

    def test_data_that_do_not_fit_the_operator_or_the_grid_are_refused(
        self, model: Fbp | Sirt | TvCt
    ) -> None:
        good = measure(parallel(8, 16), phantom(16)[None])
        task = Reconstruct(model=model.name)
        with pytest.raises(GeometryError):
            task(Measurement(good.data[:, :, 1:], good.operator, good.noise, good.geometry))
        with pytest.raises(GeometryError):
            task(Measurement(good.data, good.operator, good.noise, Geometry.index((16, 16, 4))))


def test_unknown_windows_and_a_part_of_a_fan_turn_are_refused() -> None:
    with pytest.raises(SettingError, match="'hann'"):
        Fbp(window="han")
    with pytest.raises(SettingError, match="Nyquist"):
        Fbp(cutoff=1.5)
    part = FanBeam((16, 16), (1.0, 1.0), full_turn(60)[:40], source=50.0)
    with pytest.raises(GeometryError, match="full turn"):
        sample(Fbp(), measure(part, phantom(16)[None]))
