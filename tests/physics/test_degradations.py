"""Laws of degradations: those that all of them keep, and those of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from veridical import registry
from veridical.errors import GeometryError, InputError, SettingError
from veridical.physics.bias_shading import BiasShading, random_polynomial, smooth_field
from veridical.physics.degradation import Degradation, log_uniform
from veridical.physics.gibbs_blur import GibbsBlur
from veridical.physics.kspace_spikes import KspaceSpikes
from veridical.physics.low_count_noise import LowCountNoise
from veridical.physics.low_dose import WATER, CTScanner, attenuation
from veridical.physics.low_dose_noise import LowDoseNoise
from veridical.physics.motion_ghosts import MotionGhosts
from veridical.physics.rician_noise import RicianNoise
from veridical.physics.sparse_view_streaks import SparseViewStreaks
from veridical.physics.thick_slice_blur import ThickSliceBlur
from veridical.physics.zipper import Zipper
from veridical.types import Array

SPACING = (1.0, 1.5)
NAMES = sorted(registry.entries("degradation"))


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def head() -> Array:
    """Three slices of a smooth head with detail inside and air around, `(slice, y, x)`."""
    y, x = np.mgrid[-1:1:72j, -1:1:56j]
    image = 1.0 * (y**2 / 0.5 + x**2 / 0.4 < 1) + 0.4 * np.cos(12 * y) * np.cos(9 * x) * (
        y**2 + x**2 < 0.3
    )
    return np.stack([image, 0.9 * image, 1.1 * image]).astype(np.float32)


def limb(size: int = 64) -> Array:
    """Three slices of a disc of muscle with a bone in it, HU."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.where(x**2 + y**2 < 0.6, 50.0, -1000.0)
    return np.stack([np.where((x - 0.2) ** 2 + y**2 < 0.02, 900.0, image)] * 3).astype(np.float32)


def input_of(degradation: Degradation) -> Array:
    return limb() if degradation.modalities == ("CT",) else head()


def energy(image: Array) -> float:
    return float(np.square(image, dtype=np.float64).sum())


def rms(image: Array) -> float:
    return float(np.sqrt(np.square(image, dtype=np.float64).mean()))


@pytest.fixture(params=NAMES)
def degradation(request: pytest.FixtureRequest) -> Degradation:
    made = registry.get("degradation", request.param)()
    assert isinstance(made, Degradation)
    return made


def test_the_name_is_that_of_the_file_and_no_degradation_is_an_operator(
    degradation: Degradation,
) -> None:
    assert registry.get("degradation", degradation.name) is type(degradation)
    assert degradation.name not in registry.entries("operator")
    assert set(degradation.modalities) <= {"MR", "CT", "PET", "US", "PA"}


def test_parameters_are_json_and_the_same_ones_give_the_same_image(
    degradation: Degradation,
) -> None:
    image, generator = input_of(degradation), rng()
    shape = (image.shape[1], image.shape[2])
    for _ in range(5):
        parameters = degradation.draw(
            shape, (np.float32(1.0), np.float32(1.5)), generator
        )  # as headers give it
        again = json.loads(json.dumps(parameters))
        assert again == parameters
        assert np.array_equal(
            degradation.apply(image, SPACING, parameters), degradation.apply(image, SPACING, again)
        )
    assert np.array_equal(degradation(image, SPACING, rng()), degradation(image, SPACING, rng()))


def test_the_image_stays_and_what_comes_out_is_a_finite_image_of_its_shape(
    degradation: Degradation,
) -> None:
    image = input_of(degradation).astype(np.float64)
    image.flags.writeable = False
    for seed in range(5):
        poor = degradation(image, SPACING, rng(seed))
        assert poor.shape == image.shape
        assert poor.dtype == np.float32
        assert np.isfinite(poor).all()
        assert not np.allclose(poor, image, rtol=1e-5, atol=1e-5)


def test_one_slice_of_air_stays_finite(degradation: Degradation) -> None:
    air = np.full((1, 48, 40), -1000.0 if degradation.modalities == ("CT",) else 0.0)
    assert np.isfinite(degradation(air, SPACING, rng())).all()


def test_harmless_settings_change_nothing(degradation: Degradation) -> None:
    if not degradation.harmless:
        pytest.skip("there are none")
    image = input_of(degradation)
    same = replace(degradation, **degradation.harmless)(image, SPACING, rng())
    assert rms(same - image) < 1e-3 * rms(image)


def test_what_is_no_stack_of_finite_slices_is_refused(degradation: Degradation) -> None:
    parameters = degradation.draw((72, 56), SPACING, rng())
    for wrong in (head()[0], np.full((1, 72, 56), np.nan)):
        with pytest.raises(InputError, match="slice, y, x"):
            degradation.apply(wrong, SPACING, parameters)


@pytest.mark.parametrize(
    "of",
    [
        lambda s: MotionGhosts((4 * s, 4 * s), (4 * s, 4 * s), (3, 3), periodic=0),
        lambda s: MotionGhosts((4 * s, 4 * s), (0, 0), periodic=1),
        lambda s: BiasShading((0.8 * s, 0.8 * s)),
        lambda s: KspaceSpikes((0.5 * s, 0.5 * s), (3, 3)),
        lambda s: Zipper((s, s)),
        lambda s: GibbsBlur((1 - 0.7 * s, 1 - 0.7 * s)),
        lambda s: ThickSliceBlur((1 + 5 * s, 1 + 5 * s)),
        lambda s: RicianNoise((0.2 * s, 0.2 * s)),
        lambda s: SparseViewStreaks((1.05 - s, 1.05 - s)),
        lambda s: LowDoseNoise((100 * s, 100 * s)),
        lambda s: LowCountNoise((0.2 * s, 0.2 * s)),
    ],
)
def test_more_of_it_errs_more(of: Callable[[float], Degradation]) -> None:
    image = input_of(of(0.5))
    errors = [rms(of(strength)(image, SPACING, rng()) - image) for strength in (0.25, 0.5, 0.9)]
    assert errors == sorted(errors)
    assert errors[0] < 0.8 * errors[2]


def test_shifts_between_lines_keep_the_energy_exactly_and_turns_nearly() -> None:
    for seed in range(6):
        assert energy(MotionGhosts((6, 6), (0, 0))(head(), SPACING, rng(seed))) == pytest.approx(
            energy(head()), rel=1e-5
        )
        assert energy(MotionGhosts((0, 0), (5, 5))(head(), SPACING, rng(seed))) == pytest.approx(
            energy(head()), rel=0.1
        )


def test_every_line_has_a_pose_and_the_centre_of_k_space_stands_still() -> None:
    for seed in range(6):
        drawn = MotionGhosts((5, 5), (5, 5), (6, 6), periodic=0).draw((64, 48), SPACING, rng(seed))
        rows = (64, 48)[drawn["axis"]]
        assert len(drawn["shots"]) == rows
        assert sorted(set(drawn["shots"])) == list(range(7))
        assert [pose for pose in range(7) if drawn["poses"][pose] == [0, 0, 0]] == [
            drawn["shots"][rows // 2]
        ]


def test_periodic_motion_makes_ghosts_along_phase_encoding_only() -> None:
    """A dot moved sinusoidally along y repeats along y; its column keeps all the energy."""
    image = np.zeros((1, 64, 48), np.float32)
    image[0, 32, 20] = 1
    way = MotionGhosts((3, 3), (0, 0), periodic=1)
    for seed in range(6):
        drawn = way.draw((64, 48), SPACING, rng(seed))
        ghosts = way.apply(image, SPACING, drawn)[0]
        own, place = (ghosts[:, 20], 32) if drawn["axis"] == 0 else (ghosts[32], 20)
        assert energy(ghosts) - energy(own) < 1e-6
        assert energy(np.delete(own, place)) > 0.03


@pytest.mark.parametrize("shape", [(40, 30), (20, 24, 16)])
def test_shading_spans_what_it_says_has_geometric_mean_1_and_is_smooth(
    shape: tuple[int, ...],
) -> None:
    field = smooth_field(shape, random_polynomial(len(shape), rng()), 0.4)
    assert field.max() / field.min() == pytest.approx(1.5, rel=1e-3)
    assert np.log(field).mean() == pytest.approx(0, abs=1e-4)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(field.ndim)) < 0.1


def test_a_spike_is_one_wave_of_constant_magnitude_and_several_add_their_energies() -> None:
    image = np.zeros((1, 60, 50), np.float32)
    image[:, :, :3] = 2
    air = np.s_[:, :, 3:]
    np.testing.assert_allclose(
        KspaceSpikes((0.3, 0.3), (1, 1))(image, SPACING, rng())[air], 0.6, rtol=1e-4
    )
    several = KspaceSpikes((0.3, 0.3), (5, 5))(image, SPACING, rng())[air]
    assert np.square(several).mean() == pytest.approx(5 * 0.36, rel=0.05)


def test_a_zipper_is_one_line_of_the_stated_strength_with_other_dots_in_each_slice() -> None:
    image = np.zeros((4, 60, 50), np.float32)
    image[:, :2, :2] = 2
    image[:, :, 30:] = 2
    way = Zipper((0.5, 0.5))
    for axis, place in ((0, 10), (1, 20)):
        drawn = way.draw((60, 50), SPACING, rng()) | {"axis": axis, "place": place}
        added = np.moveaxis(way.apply(image, SPACING, drawn) - image, 1 + axis, 1)[
            :, : 30 if axis else None
        ]
        assert np.flatnonzero((np.abs(added) > 1e-6).any((0, 1))).tolist() == [place]
    line = way.apply(image, SPACING, way.draw((60, 50), SPACING, rng()) | {"axis": 0, "place": 10})[
        :, :, 10
    ]
    assert np.sqrt(np.square(line).mean(1)) == pytest.approx(np.full(4, 1.0), rel=1e-4)
    assert np.corrcoef(line[0], line[1])[0, 1] < 0.5


@pytest.mark.parametrize("matrix", [[20, 20], [72, 28]])
def test_blur_keeps_the_centre_of_k_space_and_nothing_else(matrix: list[int]) -> None:
    blurred = GibbsBlur().apply(head() + 0.5, SPACING, {"matrix": matrix})
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(blurred)), (1, 2))
    y, x = (
        slice(n // 2 - size // 2 - 1, n // 2 + size // 2 + 2)
        for n, size in zip((72, 56), matrix, strict=True)
    )
    assert energy(spectrum[:, max(0, y.start) : y.stop, x]) > (1 - 1e-4) * energy(spectrum)
    assert blurred.mean() == pytest.approx(float((head() + 0.5).mean()), rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_thick_slices_keep_ramps_along_them_and_average_stripes(axis: int) -> None:
    ramp = np.moveaxis(np.tile(np.arange(40.0), (1, 40, 1)), 2, 1 + axis)
    inner = (slice(None), *(slice(8, -8) if axis == a else slice(None) for a in (0, 1)))
    seen = ThickSliceBlur().apply(ramp, (2.0, 2.0), {"axis": axis, "thickness": 8.0})
    np.testing.assert_allclose(seen[inner], ramp[inner], atol=0.05)
    assert (
        ThickSliceBlur().apply(ramp % 2, (2.0, 2.0), {"axis": axis, "thickness": 8.0})[inner].std()
        < 0.1
    )


def test_noise_of_magnitudes_is_rician_of_the_size_that_is_told() -> None:
    image = np.zeros((8, 64, 64), np.float32)
    image[:, :, 32:] = 3
    for uneven, interpolated in ((0, 0), (1, 0), (0, 1)):
        way = RicianNoise((0.05, 0.05), uneven, interpolated=interpolated)
        found = np.stack([way(image, SPACING, rng(seed)) for seed in range(12)])
        assert rms(found[..., 32:] - 3) == pytest.approx(0.15, rel=0.1)
        assert rms(found[..., :32]) == pytest.approx(0.15 * 2**0.5, rel=0.1)
        assert uneven or found[..., :32].mean() == pytest.approx(
            0.15 * (np.pi / 2) ** 0.5, rel=0.05
        )
        alike = np.corrcoef((found[..., 40:-1] - 3).ravel(), (found[..., 41:] - 3).ravel())[0, 1]
        assert (alike > 0.1) == bool(interpolated)


def test_streaks_keep_the_mean_of_even_tissue() -> None:
    image = limb(96)
    change = SparseViewStreaks((0.3, 0.3))(image, (1.0, 1.0), rng()) - image
    inside = ndimage.binary_erosion(image[0] == 50, iterations=4)
    assert abs(change[0][inside].mean()) < 3
    assert change[0][inside].std() > 5
    np.testing.assert_allclose(change[0], change[2], atol=1e-3)


@pytest.mark.parametrize("every", [3, 9])
def test_streaks_are_about_as_strong_as_those_of_a_fan_beam(every: int) -> None:
    image, scanner = limb(96)[:1], CTScanner(views=360)
    full, few = scanner.beam((96, 96), (1.0, 1.0)), scanner.beam((96, 96), (1.0, 1.0), every)
    lines = full.forward(attenuation(image))
    fan = (
        (scanner.reconstruct(few, lines[:, ::every]) - scanner.reconstruct(full, lines)).numpy()
        * 1000
        / WATER
    )
    ours = (
        SparseViewStreaks().apply(image, (1.0, 1.0), {"views": 180 // every, "start": 0.0}) - image
    )
    assert 1 < ours[image == 50].std() / fan[image == 50].std() < 1.6


def test_noise_of_a_lower_dose_has_the_stated_size_no_mean_and_other_grain_in_each_slice() -> None:
    image = limb()
    for seed in range(4):
        drawn = LowDoseNoise().draw((64, 64), (1.0, 1.0), rng(seed))
        change = LowDoseNoise().apply(image, (1.0, 1.0), drawn) - image
        inside = image > -500
        assert rms(change[inside]) == pytest.approx(drawn["noise"], rel=1e-3)
        assert abs(change[inside].mean()) < 0.1 * drawn["noise"]
        assert abs(np.corrcoef(change[0].ravel(), change[1].ravel())[0, 1]) < 0.1


def test_noise_of_ct_has_less_power_at_low_frequencies_than_white_noise() -> None:
    change = LowDoseNoise()(np.zeros((3, 64, 64)), (1.0, 1.0), rng())
    power = (np.abs(np.fft.fft2(change)) ** 2).mean(0)
    low = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij")) < 0.06
    assert power[low].mean() < 0.6 * power.mean()


def test_noise_of_pet_is_stronger_where_more_is_taken_up_as_coarse_as_told_and_never_negative() -> (
    None
):
    image = np.full((3, 96, 96), 0.3, np.float32)
    image[:, :, 48:] = 10.0
    drawn = {"noise": 0.5, "grain": 8.0, "power": 0.5, "seed": 3}
    poor = LowCountNoise().apply(image, (2.0, 2.0), drawn)
    change = poor - image
    assert poor.min() >= 0
    assert rms(change[:, :, 48:]) == pytest.approx(0.5, rel=0.1)
    assert 3 < change[:, :, -30:].std() / change[:, :, :30].std() < 7
    bright = change[:, :, -36:] / change[:, :, -36:].std()
    for pixels in (1, 2, 3, 5):  # the correlation of noise under a Gaussian
        alike = float((bright[:, pixels:] * bright[:, :-pixels]).mean())
        assert alike == pytest.approx(np.exp(-((2 * pixels * 2.355 / 8) ** 2) / 4), abs=0.1)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: MotionGhosts(turn=(0.0, 50.0)), SettingError),
        (lambda: MotionGhosts(shift=(-1.0, 2.0)), SettingError),
        (lambda: BiasShading((0.1, 2.0)), SettingError),
        (lambda: BiasShading()(np.ones((1, 8, 1)), SPACING, rng()), GeometryError),
        (lambda: KspaceSpikes((0.5, 0.1)), SettingError),
        (lambda: Zipper((0.1, float("nan"))), SettingError),
        (lambda: SparseViewStreaks((0.5, 1.5)), SettingError),
        (lambda: LowDoseNoise(dose=(0.5, 1.2)), SettingError),
    ],
)
def test_ranges_that_make_no_sense_are_refused(
    call: Callable[[], Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        call()


def test_log_uniform_numbers_have_as_many_in_each_octave_and_0_stays_0() -> None:
    generator = rng()
    found = np.log2([log_uniform((1.0, 16.0), generator) for _ in range(4000)])
    np.testing.assert_allclose(np.histogram(found, 4, (0, 4))[0] / 4000, 0.25, atol=0.03)
    assert log_uniform((0.0, 0.0), generator) == 0
