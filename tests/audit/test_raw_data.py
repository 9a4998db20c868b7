"""Images of other generators against raw data: the truth passes, and whatever was put together with
a wrong shift, mask, trajectory or coil map fails, for every kind of operator.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.audit.consistency import consistency
from veridical.audit.raw_data import held_against, inconsistent_mask
from veridical.physics.cartesian_mri import CartesianScan
from veridical.physics.coils import Coils
from veridical.physics.linear import LinearOperator
from veridical.physics.noise import poisson
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan, radial
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Array, Finding, Geometry, Image, Measurement, Noise, Result, Study

SIZE = toys.SIZE
EXAM = toys.examination()
SCAN, TRUTH = EXAM.measurement, EXAM.truth
MAPS = toys.sensitivities().numpy()[None, None]


def judged(image: Image, scan: Measurement) -> Finding:
    """What `veridical audit IMAGE --against SCAN` finds, with facts that another generator has
    none of.
    """
    found = consistency(Study.of(scan), Result(image, "image"))
    assert found is not None
    return found


def shown(y_x: Array, units: str = "a.u.", name: str = "T2w") -> Image:
    grid = Geometry.index((y_x.shape[1], y_x.shape[0], 1))
    return Image(np.asarray(y_x.T[None, :, :, None], np.float32), grid, units, (name,))


def with_maps(maps: Array) -> Measurement:
    return replace(SCAN, operator=CartesianScan(SCAN.operator.mask, Coils(maps=maps)))


def reconstructed(scan: Measurement) -> Image:
    model = "cg-sense" if isinstance(scan.operator, CartesianScan) else "classical"
    return Reconstruct(model=model)(scan).image


@cache
def radial_scan() -> tuple[Measurement, torch.Tensor]:
    """A radial scan of the picture with its coil maps, and the trajectory."""
    trajectory = radial(72, 48, 40.0)
    operator = NoncartesianMRI(trajectory, torch.from_numpy(MAPS[0]))
    clean = operator.forward(toys.picture()[None])
    noise = torch.view_as_complex(
        torch.randn(*clean.shape, 2, generator=torch.Generator().manual_seed(0))
    )
    return Measurement(
        (clean + toys.SIGMA * noise).numpy()[None],
        NoncartesianScan(trajectory.numpy()[None], SIZE, Coils(maps=MAPS)),
        Noise("gaussian", toys.SIGMA),
        Geometry.index((SIZE[1], SIZE[0], 1)),
    ), trajectory


def linear(kind: str, angles: int = 60) -> tuple[Measurement, Image]:
    """A CT or PET scan of a disc with a hole, and its truth."""
    y, x = torch.meshgrid(torch.arange(40) - 18.0, torch.arange(48) - 26.0, indexing="ij")
    disc = (torch.hypot(y, x) < 12).float() - 0.5 * (torch.hypot(y - 4, x) < 3).float()
    beam = ParallelBeam((40, 48), (2.0, 2.0), half_turn(angles))
    grid, generator = Geometry.index((48, 40, 1)), torch.Generator().manual_seed(1)
    if kind == "pet":
        pet = PET(beam, background=torch.full(beam.range, 2.0))
        counts = poisson(pet.expected(2 * disc), generator)
        return Measurement(counts.numpy()[None], pet, Noise("poisson"), grid), shown(
            2 * disc.numpy()
        )
    clean = beam.forward(0.02 * disc)
    data = clean + 0.01 * torch.randn(clean.shape, generator=generator)
    scan = Measurement(data.numpy()[None], beam, Noise("gaussian", 0.01), grid)
    return scan, shown(0.02 * disc.numpy(), "1/mm", "CT")


def test_the_truth_passes_and_its_scale_does_not_matter() -> None:
    for factor in (1.0, 40.0):
        found = judged(replace(TRUTH, data=factor * TRUTH.data), SCAN)
        assert found.verdict == "pass"
        assert found.evidence["scale"] == pytest.approx(1 / factor, rel=0.02)
        assert "least-squares scale" in found.reason
        assert "null space" in found.reason


def test_a_residual_of_noise_has_a_chi_square_of_one_although_a_phase_was_fitted() -> None:
    found = []
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(0, toys.SIGMA, (2, *SCAN.data.shape))
        clean = np.asarray(toys.kspace(sigma=0.0)) * SCAN.operator.mask[:, None]
        data = clean + (noise[0] + 1j * noise[1]) * SCAN.operator.mask[:, None]
        scan = replace(with_maps(MAPS), data=data.astype(np.complex64))
        found.append(next(iter(held_against(TRUTH, scan))))
    outer = np.mean([one.misfit.bands[-1] for one in found])
    assert 0.9 < outer < 1.02  # coil maps may be wrong by 5 % of the signal, which is granted
    assert all(one.null < 0.97 for one in found)


@pytest.mark.parametrize("axis", [1, 2])
def test_an_image_shifted_by_a_pixel_fails(axis: int) -> None:
    assert judged(replace(TRUTH, data=np.roll(TRUTH.data, 1, axis)), SCAN).verdict == "fail"


def test_a_wrong_mask_fails_in_the_image_and_in_the_raw_data() -> None:
    mask = np.roll(SCAN.operator.mask, 1, -1)
    wrong = replace(SCAN, operator=CartesianScan(mask))
    assert judged(reconstructed(SCAN), SCAN).verdict == "pass"
    assert judged(reconstructed(wrong), SCAN).verdict == "fail"
    assert inconsistent_mask(SCAN) == ""
    found = judged(reconstructed(wrong), wrong)
    assert found.verdict == "fail"
    assert "mask is not that of the raw data" in found.reason


def test_wrong_coil_maps_fail() -> None:
    good, exchanged = with_maps(MAPS), with_maps(np.roll(MAPS, 1, 2))
    assert judged(TRUTH, good).verdict == "pass"
    assert judged(TRUTH, exchanged).verdict == "fail"
    assert judged(reconstructed(exchanged), exchanged).verdict == "fail"
    assert judged(reconstructed(exchanged), good).verdict == "fail"


def test_a_wrong_trajectory_fails() -> None:
    scan, trajectory = radial_scan()
    assert judged(shown(toys.magnitude()), scan).verdict == "pass"
    turned = trajectory @ torch.tensor([[0.995, -0.0998], [0.0998, 0.995]])
    operator = replace(scan.operator, trajectory=0.99 * turned.numpy()[None])
    wrong = replace(scan, operator=operator)
    assert judged(shown(toys.magnitude()), wrong).verdict == "fail"
    assert judged(reconstructed(wrong), scan).verdict == "fail"


@pytest.mark.parametrize("kind", ["ct", "pet"])
def test_real_operators_pass_the_truth_and_fail_a_shift_and_a_wrong_angle(kind: str) -> None:
    scan, truth = linear(kind)
    good = judged(truth, scan)
    assert good.verdict == "pass"
    assert good.evidence["chi_square"] == pytest.approx(1, abs=0.15)
    assert ("least-squares scale" in good.reason) == (kind == "pet")
    assert judged(replace(truth, data=np.roll(truth.data, 2, 1)), scan).verdict == "fail"
    beam = ParallelBeam((40, 48), (2.0, 2.0), torch.flip(half_turn(60), (0,)))
    operator: LinearOperator = (
        beam if kind == "ct" else PET(beam, background=torch.full(beam.range, 2.0))
    )
    assert judged(truth, replace(scan, operator=operator)).verdict == "fail"


def test_hounsfield_units_are_attenuation_up_to_a_scale() -> None:
    scan, truth = linear("ct")
    hu = replace(truth, data=1000 * truth.data / 0.02 - 1000, units="HU")
    found = judged(hu, scan)
    assert found.verdict == "pass"
    assert found.evidence["scale"] == pytest.approx(2e-5, rel=0.02)
    wrong = replace(truth, data=1.1 * truth.data)
    assert judged(wrong, scan).verdict != "pass"


def test_a_lesion_that_the_data_do_not_have_fails() -> None:
    y, x = np.indices(SIZE)
    lesion = 0.3 * np.exp(-((y - 30) ** 2 + (x - 20) ** 2) / 8)
    added = replace(TRUTH, data=TRUTH.data + lesion.T[None, :, :, None].astype(np.float32))
    assert judged(added, SCAN).verdict == "fail"


def test_an_image_on_another_grid_is_not_held_against_the_scan_and_one_turned_is() -> None:
    flipped = Geometry(
        TRUTH.geometry.shape,
        TRUTH.geometry.affine
        @ np.array([[-1, 0, 0, SIZE[1] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    )
    turned = replace(TRUTH, data=TRUTH.data[:, ::-1], geometry=flipped)
    assert judged(turned, SCAN).verdict == "pass"
    moved = TRUTH.geometry.affine.copy()
    moved[0, 3] += 0.5
    beside = replace(TRUTH, geometry=replace(TRUTH.geometry, affine=moved))
    found = judged(beside, SCAN)
    assert found.verdict == "not_run"
    assert "voxels of the scan" in found.reason
