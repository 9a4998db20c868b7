"""Empty slices: left as they are by every job of enhance, and without a say in what the others
become.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import priors
import toys
from veridical.audit.interval import Calibration
from veridical.errors import InputError
from veridical.tasks.empty_slices import shown
from veridical.tasks.enhance import RESTORED, Enhance
from veridical.types import Geometry, Image, Result

CHANNEL = {"low-dose-ct": "CT", "sparse-view-ct": "CT", "low-count-pet": "PET"}
NOISE = {"CT": 20.0, "PET": 0.1, "T1w": 2.0}
SOLVED = (
    "denoise", "super-resolve", "upsample", "isotropic", "deblur", "low-dose-ct", "low-count-pet"
)  # fmt: skip
EMPTY = (0, 1, 3, 7)
"""Two below, one in between and one above."""


def given(job: str, axis: int = 2) -> Image:
    """Eight thick slices along an axis; one in between is empty."""
    shape, spacing = [20, 22, 24], [2.0, 2.0, 2.0]
    shape[axis], spacing[axis] = 8, 6.0
    image = priors.volume((CHANNEL.get(job, "T1w"),), tuple(shape), tuple(spacing))  # type: ignore[arg-type]
    return emptied(image, EMPTY, axis)


def emptied(image: Image, slices: tuple[int, ...], axis: int = 2) -> Image:
    data = np.moveaxis(image.data.copy(), 1 + axis, 0)
    data[list(slices)] = -1000 if image.channels == ("CT",) else 0
    return replace(image, data=np.moveaxis(data, 0, 1 + axis))


def cropped(image: Image, first: int, last: int) -> Image:
    affine = image.geometry.affine.copy()
    affine[:3, 3] += first * affine[:3, 2]
    shape = (*image.geometry.shape[:2], last - first)
    return replace(image, data=image.data[..., first:last], geometry=Geometry(shape, affine))


def task(job: str, folder: Path, **settings: Any) -> Enhance:
    if job == "bias-field":
        return Enhance(job=job)
    channel = CHANNEL.get(job, "T1w")
    path = str(toys.weights("denoiser"))
    if job in RESTORED:
        known = priors.BODY if channel == "CT" else priors.HEAD
        path = priors.weights(folder, known, degradations=[RESTORED[job][0]])
    known = {"draws": 2, "steps": 2, "noise": NOISE[channel]}
    return Enhance(job=job, weights=path, device="cpu", **{**known, **settings})  # type: ignore[arg-type]


def arrays(result: Result) -> dict[str, np.ndarray]:
    """Every array of a result that was computed, `(..., x, y, z)`."""
    known = {"estimate": result.image.data, "draws": result.draws}
    if result.evidence is not None:
        known |= {
            name: getattr(result.evidence, name) for name in ("map", "measured", "unmeasured")
        }
    if result.interval is not None:
        known |= {"lower": result.interval.lower, "upper": result.interval.upper}
    return {name: array for name, array in known.items() if array is not None}


@pytest.mark.parametrize("job", [*SOLVED, *RESTORED, "bias-field"])
def test_every_job_leaves_empty_slices_as_they_are_and_is_sure_of_them(
    job: str, tmp_path: Path
) -> None:
    image = given(job)
    found = arrays(task(job, tmp_path)(image, seed=1))
    every = found["estimate"].shape[-1] // 8
    empty = np.repeat(np.isin(np.arange(8), EMPTY), every)
    air = -1000 if image.channels == ("CT",) else 0
    wanted = {"map": 1, "unmeasured": 0}
    for name, array in found.items():
        np.testing.assert_array_equal(array[..., empty], wanted.get(name, air), name)
        assert np.isfinite(array).all()
    assert (np.ptp(found["estimate"][0, ..., ~empty], (1, 2)) > 0).all()


@pytest.mark.parametrize("job", SOLVED)
def test_empty_slices_around_have_no_say_in_what_the_others_become(
    job: str, tmp_path: Path
) -> None:
    image = given(job)
    whole, inner = (
        arrays(task(job, tmp_path)(one, seed=1)) for one in (image, cropped(image, 2, 7))
    )
    every = whole["estimate"].shape[-1] // 8
    for name, array in inner.items():
        np.testing.assert_array_equal(whole[name][..., 2 * every : 7 * every], array, name)


@pytest.mark.parametrize("job", ["denoise", "super-resolve", "isotropic", "motion"])
@pytest.mark.parametrize("axis", [0, 1])
def test_empty_slices_are_found_along_the_axis_of_the_slices(
    job: str, axis: int, tmp_path: Path
) -> None:
    found = task(job, tmp_path)(given(job, axis), seed=1).image
    seen = np.moveaxis(found.data[0], axis, 0)
    every = len(seen) // 8
    dark = [int(k) for k in np.flatnonzero(np.ptp(seen, (1, 2)) == 0)]
    assert dark == [k for k in range(8 * every) if k // every in EMPTY]


@pytest.mark.parametrize("job", ["denoise", "super-resolve"])
def test_the_interval_of_an_empty_slice_is_the_least_that_the_calibration_gives(job: str) -> None:
    found = Enhance(job=job, weights=str(toys.calibrated()), device="cpu", draws=2, noise=2.0)(
        given(job)
    )
    assert found.interval is not None
    band = Calibration.from_dict(priors.band())
    least = band.multiplier * band.floor * found.image.header["scale"]["T1w"]
    half = 0.5 * (found.interval.upper - found.interval.lower)[..., list(EMPTY)]
    np.testing.assert_allclose(half, least, rtol=1e-5)


@pytest.mark.parametrize("job", ["denoise", "super-resolve", "isotropic", "deblur"])
def test_what_was_shifted_below_zero_keeps_the_air_of_its_empty_slices(
    job: str, tmp_path: Path
) -> None:
    plain = given(job)
    noisy = plain.data + (plain.data > 0) * np.random.default_rng(0).normal(0, 3, plain.data.shape)
    moved = replace(plain, data=((noisy - 30) / 50).astype(np.float32))
    found = task(job, tmp_path, noise=0.06)(moved).image.data
    every = found.shape[-1] // 8
    empty = np.repeat(np.isin(np.arange(8), EMPTY), every)
    np.testing.assert_array_equal(found[..., empty], np.float32(-0.6))


def test_slices_filled_with_less_than_air_stay_so(tmp_path: Path) -> None:
    image = given("low-dose-ct")
    data = image.data.copy()
    data[..., 0] = -1024
    found = task("low-dose-ct", tmp_path)(replace(image, data=data)).image.data
    assert [float(np.ptp(found[..., k])) for k in EMPTY] == [0] * 4
    assert [float(found[0, 0, 0, k]) for k in EMPTY] == [-1024, -1000, -1000, -1000]


def test_three_slices_among_three_hundred_are_enhanced_as_three(tmp_path: Path) -> None:
    three = priors.volume(("T1w",), (20, 22, 3), (2.0, 2.0, 4.0))
    noisy = np.abs(three.data + np.random.default_rng(0).normal(0, 3, three.data.shape))
    data = np.zeros((1, 20, 22, 300), np.float32)
    data[..., 101:104] = noisy
    many = Image(data, Geometry(data.shape[1:], three.geometry.affine), "a.u.", ("T1w",))  # type: ignore[arg-type]
    for job in ("denoise", "super-resolve", "deblur"):
        run = task(job, tmp_path, noise=0.0, draws=1)
        alone = run(replace(three, data=noisy.astype(np.float32)))
        np.testing.assert_array_equal(run(many).image.data[..., 101:104], alone.image.data)


@pytest.mark.parametrize("job", [*SOLVED, *RESTORED])
def test_a_volume_that_is_empty_everywhere_is_refused(job: str, tmp_path: Path) -> None:
    image = emptied(given(job), tuple(range(8)))
    with pytest.raises(InputError, match=r"the same everywhere|shows nothing above zero"):
        task(job, tmp_path)(image)


def test_a_slice_is_empty_where_it_is_the_same_everywhere_and_as_dark_as_air() -> None:
    stack = np.zeros((5, 4, 4), np.float32)
    stack[1, 2, 2] = 1e-3  # one voxel
    stack[2] = 5  # a slab that fills the field of view
    stack[3] = 0.4
    stack[4] = -7
    found = shown(stack, "T1w")
    assert found.empty.tolist() == [True, False, False, True, True]
    assert found.between.tolist() == [False, True, True, False, False]
    np.testing.assert_array_equal(found.level[found.empty], np.float32([0, 0.4, -7]))
    with pytest.raises(InputError, match="T1w is the same everywhere"):
        shown(stack[:1], "T1w")
