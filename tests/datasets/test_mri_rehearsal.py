"""Laws of rehearsed scans: their truth explains their k-space, strips are the same problem, air stays dark."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from toys import magnitude
from veridical.datasets import mri_rehearsal as rehearsal
from veridical.datasets.mri_rehearsal import Rehearsal, fold, rehearse
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.fourier import fft

HEAD = magnitude((180, 150))


@cache
def scans() -> list[Rehearsal]:
    """A dozen rehearsed scans of one slice."""
    return [rehearse(HEAD, "T1w", np.random.default_rng(seed)) for seed in range(12)]


def fit(scan: Rehearsal) -> float:
    """Relative distance of the k-space from what the truth predicts."""
    predicted = CartesianMRI(scan.mask, scan.maps).forward(scan.truth)
    return float((predicted - scan.kspace).norm() / scan.kspace.norm())


def test_rehearsals_are_of_many_kinds() -> None:
    assert {scan.kspace.shape[0] for scan in scans()} >= {1, 6, 7, 8}
    assert {scan.linewise for scan in scans()} == {True, False}
    assert {scan.contrast for scan in scans()} == {"T1w", "other"}
    assert len({scan.mask.shape for scan in scans()}) > 6


def test_shapes_fit_together_and_nothing_lies_outside_the_mask() -> None:
    for scan in scans():
        coils, rows, columns = scan.kspace.shape
        assert rows % 2 == columns % 2 == 0
        assert scan.mask.shape == (rows, columns)
        assert scan.maps.shape == (2, coils, rows, columns)
        assert scan.truth.shape == (2, rows, columns)
        assert scan.sigma > 0
        assert float(scan.kspace[:, scan.mask == 0].abs().sum()) == 0
        assert all(torch.isfinite(torch.view_as_real(t)).all() for t in (scan.kspace, scan.maps, scan.truth))


def test_the_truth_has_a_99th_percentile_of_about_one() -> None:
    for scan in scans():
        size = float(torch.quantile(scan.truth.abs().square().sum(0).sqrt().flatten(), 0.99))
        assert size == pytest.approx(1, abs=0.1)


def test_without_noise_the_truth_explains_the_kspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is what estimated maps cannot explain; an image without coils leaves nothing."""
    monkeypatch.setattr(rehearsal, "white", lambda shape, rng: torch.zeros(shape, dtype=torch.complex64))
    for seed in (0, 3, 5, 7, 9):
        scan = rehearse(HEAD, "T1w", np.random.default_rng(seed))
        assert fit(scan) < (0.12 if scan.kspace.shape[0] > 1 else 1e-5)


def test_the_residual_of_the_truth_is_noise_of_the_stated_level() -> None:
    """Stated within the error a scanner would make (15 %), where noise outweighs the error of the maps."""
    for scan in scans():
        if scan.sigma > 0.02:
            residual = (CartesianMRI(scan.mask, scan.maps).forward(scan.truth) - scan.kspace)[:, scan.mask > 0]
            assert float(torch.view_as_real(residual).std()) == pytest.approx(scan.sigma, rel=0.6)


def test_a_strip_of_a_line_wise_scan_is_exactly_the_same_problem() -> None:
    """The forward model of the strip of any image is the strip of its k-space."""
    for scan in (s for s in scans() if s.linewise):
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(scan.truth.shape, dtype=torch.complex64, generator=generator)
        kspace = CartesianMRI(scan.mask, scan.maps).forward(image)
        part = Rehearsal(kspace, scan.mask, scan.maps, image, scan.sigma, scan.contrast).strip(31, 64)
        predicted = CartesianMRI(part.mask, part.maps).forward(part.truth)
        assert part.kspace.shape[-2:] == (64, scan.mask.shape[1])
        assert float((predicted - part.kspace).norm() / part.kspace.norm()) < 1e-5


def test_a_strip_of_all_rows_changes_nothing() -> None:
    scan = scans()[0]
    torch.testing.assert_close(scan.strip(0, scan.mask.shape[0]).kspace, scan.kspace, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_generator_gives_the_same_bytes(seed: int) -> None:
    first, again = scans()[seed], rehearse(HEAD, "T1w", np.random.default_rng(seed))
    assert first.kspace.numpy().tobytes() == again.kspace.numpy().tobytes()
    assert first.maps.numpy().tobytes() == again.maps.numpy().tobytes()
    assert (first.sigma, first.contrast) == (again.sigma, again.contrast)


def test_another_contrast_keeps_air_dark_and_loses_its_name_with_its_look() -> None:
    for seed in range(40):
        picture, contrast = rehearsal.recolour(HEAD, "FLAIR", np.random.default_rng(seed))
        assert picture.shape == HEAD.shape
        assert float(picture[HEAD == 0].abs().max()) == 0
        assert float(picture.min()) >= 0
        if contrast == "FLAIR":
            order = np.argsort(HEAD, axis=None)
            assert (np.diff(picture.numpy().ravel()[order]) >= 0).all(), "a contrast that keeps its name keeps its order"
        else:
            assert contrast == "other"


@pytest.mark.parametrize(("wide", "columns"), [(80, 40), (120, 40), (160, 40)])
def test_folding_is_undersampling_by_the_field_of_view(wide: int, columns: int) -> None:
    image = torch.randn(3, 8, wide, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    factor = wide // columns
    sampled = fft(image)[..., wide // 2 % factor :: factor]
    torch.testing.assert_close(fft(fold(image, columns)), factor**0.5 * sampled, atol=1e-4, rtol=1e-4)


def test_what_fits_is_not_folded() -> None:
    image = torch.randn(2, 6, 30, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fold(image, 30), image)
    assert torch.equal(fold(image, 40)[..., 5:35], image)


def test_an_object_inside_the_field_of_view_does_not_wrap() -> None:
    image = torch.zeros(1, 6, 60, dtype=torch.complex64)
    image[..., 20:40] = 1
    torch.testing.assert_close(fold(image, 40), image[..., 10:50])


def test_placing_keeps_the_object_in_the_field_of_view_along_the_readout() -> None:
    picture = torch.from_numpy(HEAD)
    for seed in range(10):
        placed = rehearsal.place(picture, (160, 140), (160, 140), np.random.default_rng(seed))
        rows = torch.where(placed.amax(1) > 0.3)[0]
        assert placed.shape == (160, 140)
        assert 0.5 < (int(rows[-1]) - int(rows[0])) / 160 <= 1
        assert float(placed[0].max()) < 0.3 or float(placed[-1].max()) < 0.3


def test_phase_has_unit_modulus_and_is_smooth() -> None:
    phase = rehearsal.smooth_phase((120, 100), np.random.default_rng(0))
    torch.testing.assert_close(phase.abs(), torch.ones(120, 100))
    assert float((phase[1:] * phase[:-1].conj()).angle().abs().max()) < 0.5


def test_loops_see_most_what_is_near_them() -> None:
    maps = rehearsal.coil_field((120, 100), 8, np.random.default_rng(0)).abs()
    for sensitivity in maps:
        y, x = divmod(int(sensitivity.argmax()), 100)
        assert min(y, 119 - y, x, 99 - x) <= 1, "largest at the rim"
    assert float(maps.square().sum(0).sqrt().mean()) == pytest.approx(1, abs=0.3)


def test_masks_are_drawn_inside_what_was_acquired() -> None:
    for seed in range(20):
        mask = rehearsal.draw_mask((160, 140), slice(20, 120), False, np.random.default_rng(seed))
        assert (mask == mask[:1]).all()
        assert not mask[:, :20].any()
        assert not mask[:, 120:].any()
        assert mask[:, 62:78].all()
