from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from veridical.errors import GeometryError, InputError, SettingError
from veridical.physics.artefacts import bias_field, motion_between_lines, motion_ghosts, spikes, zipper

SPACING = (1.0, 1.5)


def head() -> np.ndarray:
    """A smooth head with detail inside and air around, `(y, x)`."""
    y, x = np.mgrid[-1:1:72j, -1:1:56j]
    image = 1.0 * (y**2 / 0.5 + x**2 / 0.4 < 1) + 0.4 * np.cos(12 * y) * np.cos(9 * x) * (y**2 + x**2 < 0.3)
    return image.astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def energy(image: np.ndarray) -> float:
    return float((np.abs(image) ** 2).sum())


ARTEFACTS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "sudden motion": lambda image, s: motion_ghosts(image, SPACING, rng(), 4 * s, 4 * s, moves=3),
    "periodic motion": lambda image, s: motion_ghosts(image, SPACING, rng(), 4 * s, 0.0, "periodic"),
    "bias field": lambda image, s: image * bias_field(image.shape, rng(), 0.8 * s),
    "spikes": lambda image, s: spikes(image, rng(), 0.5 * s, 3),
    "zipper": lambda image, s: zipper(image, rng(), s),
}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_strength_0_changes_nothing_more_errs_more_and_the_image_stays(name: str) -> None:
    image = head()
    image.flags.writeable = False
    errors = [energy(ARTEFACTS[name](image, strength) - image) ** 0.5 for strength in (0.0, 0.25, 0.5, 1.0)]
    assert errors[0] < 1e-4 * energy(image) ** 0.5
    assert errors[0] < errors[1] < errors[2] < errors[3]
    assert np.array_equal(ARTEFACTS[name](image, 0.5), ARTEFACTS[name](image, 0.5))


def test_shifts_between_lines_keep_the_energy_exactly_and_turns_nearly() -> None:
    complex_image = head() * np.exp(1j * np.linspace(0, 2, 56))
    shifted = motion_ghosts(complex_image, SPACING, rng(), 6.0, 0.0, moves=5)
    assert energy(shifted) == pytest.approx(energy(complex_image), rel=1e-5)
    turned = motion_ghosts(complex_image, SPACING, rng(), 0.0, 5.0, moves=5)
    assert energy(turned) == pytest.approx(energy(complex_image), rel=0.1)


def test_the_lines_share_the_scan_and_the_centre_of_k_space_stands_still() -> None:
    operator = motion_between_lines((64, 48), SPACING, rng(), 5.0, 5.0, moves=6)
    assert operator.shots.shape == (7, 64, 48)
    assert (operator.shots.sum(0) == 1).all()
    still = int(operator.shots[:, 32, 0].argmax())
    assert (operator.motion[still] == 0).all()
    assert int((operator.motion.abs().sum(1) > 0).sum()) == 6


def test_periodic_motion_makes_ghosts_along_phase_encoding_only() -> None:
    """A dot moved sinusoidally along y repeats along y; its column keeps all the energy."""
    image = np.zeros((64, 48), np.float32)
    image[32, 20] = 1
    ghosts = motion_ghosts(image, SPACING, rng(), 3.0, 0.0, "periodic")
    assert energy(np.delete(ghosts, 20, axis=1)) < 1e-8
    assert energy(np.delete(ghosts[:, 20], 32)) > 0.05


@pytest.mark.parametrize("shape", [(40, 30), (20, 24, 16)])
def test_bias_field_spans_what_it_says_has_geometric_mean_1_and_is_smooth(shape: tuple[int, ...]) -> None:
    field = bias_field(shape, rng(), 0.4)
    assert field.max() / field.min() == pytest.approx(1.5, rel=1e-3)
    assert np.log(field).mean() == pytest.approx(0, abs=1e-4)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(field.ndim)) < 0.1


def test_a_spike_is_one_wave_of_constant_magnitude() -> None:
    image = head()
    added = spikes(image, rng(), 0.3) - image
    np.testing.assert_allclose(np.abs(added), 0.3 * np.percentile(image, 99), rtol=1e-3)
    several = spikes(image, rng(), 0.3, 5) - image
    assert energy(several) == pytest.approx(5 * energy(added), rel=1e-3)


def test_a_zipper_is_one_column_of_the_stated_strength() -> None:
    image = head()
    added = zipper(image, rng(), 0.5) - image
    columns = np.flatnonzero((np.abs(added) > 1e-6).any(0))
    assert len(columns) == 1
    assert np.sqrt((np.abs(added[:, columns[0]]) ** 2).mean()) == pytest.approx(0.5 * np.percentile(image, 99), rel=1e-4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: motion_ghosts(head(), SPACING, rng(), course="jumpy"), SettingError),  # type: ignore[arg-type]
        (lambda: motion_ghosts(head(), SPACING, rng(), turn=50.0), SettingError),
        (lambda: motion_ghosts(head(), SPACING, rng(), moves=72), SettingError),
        (lambda: motion_ghosts(np.full((8, 8), np.nan), SPACING, rng()), InputError),
        (lambda: bias_field((8, 8), rng(), 2.0), SettingError),
        (lambda: bias_field((8, 1), rng()), GeometryError),
        (lambda: spikes(head(), rng(), -0.1), SettingError),
        (lambda: spikes(head(), rng(), 0.1, 10**6), SettingError),
        (lambda: zipper(head()[None], rng()), InputError),
        (lambda: zipper(head(), rng(), float("nan")), SettingError),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
