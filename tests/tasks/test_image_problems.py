"""Images as measurements: the operator of each job, its noise and grid, and slices that come back
where they were.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import toys
from priors import volume
from veridical.physics.blur import Blur
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.identity import Identity
from veridical.physics.voxel_average import VoxelAverage
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.tissue_level import tissue_level
from veridical.tasks.enhance import Enhance
from veridical.tasks.image_problems import UNSURE, air, as_scan, pose, stacked, stacked_factors
from veridical.types import Geometry, Image

KINDS = {
    "denoise": Identity,
    "super-resolve": CartesianMRI,
    "upsample": VoxelAverage,
    "isotropic": VoxelAverage,
    "deblur": Blur,
    "low-dose-ct": Identity,
    "low-count-pet": Identity,
}
MODALITY = {"low-dose-ct": "CT", "low-count-pet": "PET"}


def thick(job: str) -> Image:
    return volume((MODALITY.get(job, "T1w"),), spacing=(2.0, 2.0, 6.0))


@pytest.mark.parametrize("job", list(KINDS))
def test_each_job_is_its_operator_in_network_units(job: str) -> None:
    image = thick(job)
    channel = image.channels[0]
    posed = pose(Enhance(job=job, noise=1.0), image, channel)  # type: ignore[arg-type]
    every = list(posed.problems)
    assert len(every) == posed.count == (6 if job == "super-resolve" else 1)
    assert {type(problem.operator) for problem in every} == {KINDS[job]}
    assert posed.along == 2
    first = every[0]
    if job == "super-resolve":
        return
    assert first.sigma == pytest.approx(1.0 / first.scale, rel=1e-6)
    measured = stacked(image[channel] - posed.offset, 2)
    torch.testing.assert_close(
        first.data * first.scale, torch.from_numpy(measured.copy()), rtol=1e-5, atol=1e-3
    )
    assert tuple(first.operator.range) == measured.shape
    if channel == "T1w":
        level = tissue_level(first.data.numpy(), (6.0, 2.0, 2.0))
        assert level == pytest.approx(Preprocessing().tissue, rel=1e-3)


def test_ct_has_air_at_zero_and_gets_its_offset_back() -> None:
    posed = pose(Enhance(job="low-dose-ct", noise=20.0), thick("low-dose-ct"), "CT")
    assert posed.offset == -1000
    assert float(next(posed.problems).data.min()) == 0


@pytest.mark.parametrize("along", [0, 1, 2])
def test_solutions_come_back_where_the_image_had_its_slices(along: int) -> None:
    shape, spacing = [6, 7, 8], [1.0, 1.0, 1.0]
    shape[along], spacing[along] = 4, 3.0
    data = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    image = Image(
        data[None],
        Geometry((shape[0], shape[1], shape[2]), np.diag([*spacing, 1.0])),
        "a.u.",
        ("T1w",),
    )
    posed = pose(Enhance(noise=0.1), image, "T1w")
    assert posed.along == along
    problem = next(posed.problems)
    assert len(problem.data) == 4
    many = (problem.data * problem.scale).numpy()[None, None].repeat(3, 0)
    np.testing.assert_allclose(posed.restore(many)[2, 0], data, rtol=1e-5)


def test_voxels_are_averaged_along_the_axis_that_becomes_finer() -> None:
    sagittal = volume(("T1w",), (5, 20, 22), (6.0, 2.0, 2.0))
    air = np.random.default_rng(0).uniform(0, 1, sagittal.data.shape).astype(np.float32)
    sagittal = replace(sagittal, data=sagittal.data + air)
    posed = pose(Enhance(job="isotropic", noise=1.0), sagittal, "T1w")
    operator = next(posed.problems).operator
    assert posed.geometry.shape == (15, 20, 22)
    assert tuple(operator.domain) == (15, 22, 20)
    in_plane = pose(Enhance(job="upsample", noise=1.0), sagittal, "T1w")
    assert in_plane.geometry.shape == (5, 40, 44)
    assert tuple(next(in_plane.problems).operator.domain) == (5, 44, 40)
    assert [stacked_factors((2, 3, 5), along) for along in (0, 1, 2)] == [
        (2, 5, 3),
        (3, 5, 2),
        (5, 3, 2),
    ]


def test_a_blur_has_its_width_in_millimetres_of_the_slice_s_own_pixels() -> None:
    """The same point, 4 mm wide: twice as many pixels where they are half as large."""
    widths = []
    for side in (1.0, 2.0):
        image = replace(
            volume(("T1w",), (32, 32, 1)),
            geometry=Geometry((32, 32, 1), np.diag([side, side, 8.0, 1.0])),
        )
        operator = next(
            pose(Enhance(job="deblur", blur=4.0, noise=1.0), image, "T1w").problems
        ).operator
        point = torch.zeros(1, 32, 32)
        point[0, 16, 16] = 1
        row = operator.forward(point)[0, 16].numpy()
        widths.append(float((row > 0.5 * row.max()).sum()))
    assert widths[0] == pytest.approx(2 * widths[1], abs=1)


def test_a_finer_grid_sees_the_image_as_the_centre_of_kspace_with_its_noise() -> None:
    scan = as_scan(toys.magnitude(), 1e-3, 2.0)
    assert float(scan.operator.mask.mean()) == pytest.approx(0.25)  # type: ignore[attr-defined]
    noisy = 2 + 0.05 * np.random.default_rng(0).normal(size=(96, 80))
    for noise, wanted in ((0.0, 0.005 * 2.1), (0.2, 0.2)):
        scan = as_scan(noisy, noise, 2.0)
        assert scan.sigma * scan.scale / 2 == pytest.approx(wanted, rel=0.15)
        assert scan.level == max(scan.sigma, UNSURE["super-resolve"])


@pytest.mark.parametrize(("job", "solved"), [("super-resolve", [1, 3]), ("denoise", [1, 2, 3])])
def test_slices_that_show_nothing_pose_no_problem_and_a_volume_keeps_those_in_between(
    job: str, solved: list[int]
) -> None:
    image = thick(job)
    data = image.data.copy()
    data[..., [0, 2, 4, 5]] = 0
    posed = pose(Enhance(job=job, noise=1.0), replace(image, data=data), "T1w")  # type: ignore[arg-type]
    assert np.flatnonzero(posed.solved).tolist() == solved
    every = list(posed.problems)
    assert len(every) == posed.count
    assert sum(len(p.data) for p in every) == (2 if job == "super-resolve" else 3)
    assert np.flatnonzero(posed.shown.empty).tolist() == [0, 2, 4, 5]


def test_varying_noise_weighs_what_is_noisier_less() -> None:
    rng = np.random.default_rng(0)
    level = np.where(np.arange(96) < 48, 1.0, 4.0)[:, None, None]
    image = volume(("T1w",), (96, 96, 4), (1.0, 1.0, 4.0))
    noisy = np.abs(image.data + level * rng.standard_normal(image.data.shape)).astype(np.float32)
    problem = next(
        pose(Enhance(varying=True, noise=2.0), replace(image, data=noisy), "T1w").problems
    )
    assert problem.weights is not None
    left, right = (problem.weights[..., part].mean() for part in (slice(20, 40), slice(56, 76)))
    assert float(left) > 4 * float(right)
    assert next(pose(Enhance(noise=2.0), image, "T1w").problems).weights is None


@pytest.mark.parametrize(("channel", "wanted"), [("CT", -1000.0), ("PET", 0.0), ("T1w", 0.0)])
def test_air_is_what_the_modality_shows(channel: str, wanted: float) -> None:
    assert air(volume((channel,)), channel) == wanted
