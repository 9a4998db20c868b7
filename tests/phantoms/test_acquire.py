"""Laws of the simulated scan: what is measured is maps times images, folded, windowed, with the
noise asked for.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.phantoms.acquire import Receive, coil_maps, scan
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.fourier import fft

MODELS = pytest.mark.parametrize("receive", ["loops", "gaussian"])


def an_object(shape: tuple[int, int] = (72, 60)) -> np.ndarray:
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return ((y**2 / 0.8 + x**2 / 0.6 < 1) * (1 + 0.3 * np.sin(9 * y) * np.cos(7 * x))).astype(
        np.float32
    )


@MODELS
@pytest.mark.parametrize("matrix", [(72, 60), (48, 60), (48, 40)])
def test_coil_images_are_the_sum_over_sets_of_maps_times_images(
    receive: Receive, matrix: tuple[int, int]
) -> None:
    found = scan(
        an_object(), np.random.default_rng(0), coils=5, noise=0.0, matrix=matrix, receive=receive
    )
    assert len(found.maps) == {(72, 60): 1, (48, 60): 2, (48, 40): 4}[matrix]
    together = (found.maps * found.images[:, None]).sum(0)
    np.testing.assert_allclose(together, found.coil_images, atol=1e-5)


def test_noise_free_kspace_is_what_the_operator_measures() -> None:
    found = scan(an_object(), np.random.default_rng(1), coils=4, noise=0.0, matrix=(48, 60))
    operator = CartesianMRI(torch.ones(48, 60), torch.from_numpy(found.maps))
    expected = operator.forward(torch.from_numpy(found.images))
    np.testing.assert_allclose(found.kspace, expected.numpy(), atol=1e-4)


def test_the_truth_has_the_resolution_of_the_acquired_window() -> None:
    found = scan(an_object(), np.random.default_rng(2), coils=4, noise=0.0, acquired=(1.0, 0.6))
    assert found.window.mean() == pytest.approx(0.6, abs=0.03)
    assert np.abs(found.kspace[:, ~found.window]).max() == 0.0
    transformed = fft(torch.from_numpy(found.coil_images)).numpy()
    np.testing.assert_allclose(transformed, found.kspace, atol=1e-4)


def test_noise_has_the_level_and_the_correlation_that_are_reported() -> None:
    found = scan(an_object(), np.random.default_rng(3), coils=6, noise=0.05)
    noise = (found.kspace - fft(torch.from_numpy(found.coil_images)).numpy()).reshape(6, -1)
    assert found.noise == pytest.approx(0.05 * np.percentile(an_object(), 99))
    measured = noise @ noise.conj().T / noise.shape[1] / (2 * found.noise**2)
    np.testing.assert_allclose(measured, found.covariance, atol=0.08)


@MODELS
def test_maps_are_smooth_and_of_unit_norm(receive: Receive) -> None:
    found = scan(an_object(), np.random.default_rng(4), receive=receive)
    np.testing.assert_allclose((np.abs(found.maps) ** 2).sum(1), 1.0, atol=1e-5)
    inner = found.maps[0][:, 20:-20, 20:-20]
    assert np.abs(np.diff(inner, axis=-1)).max() < 0.2


@MODELS
def test_coils_see_what_is_near_them(receive: Receive) -> None:
    maps = np.abs(coil_maps(np.random.default_rng(5), (64, 64), 8, receive))
    maps /= np.sqrt((maps**2).sum(0))
    centre = maps[:, 28:36, 28:36].mean((1, 2))
    rim = np.stack([maps[:, 4, :], maps[:, -5, :], maps[:, :, 4], maps[:, :, -5]]).max((0, 2))
    assert (rim > 1.5 * centre).all()


def test_the_same_generator_gives_the_same_scan() -> None:
    first, again = (scan(an_object(), np.random.default_rng(6)).kspace for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(GeometryError, match="half"):
        scan(an_object(), np.random.default_rng(0), matrix=(20, 60))
    with pytest.raises(SettingError, match="loops"):
        scan(an_object(), np.random.default_rng(0), receive="loop")  # type: ignore[arg-type]
