"""Laws of the examined digital patient: without noise and undersampling the scan is the truth; same
patient, same bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from veridical.errors import SettingError
from veridical.models.problem import root_sum_of_squares
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.simulated_scan import MATRIX, Examination, examine, sampling
from veridical.physics.fourier import ifft
from veridical.provenance import inputs
from veridical.types import Study


@cache
def exam(second: bool = False, index: int = 3, **settings: Any) -> Examination:
    return examine(CohortB(4) if second else Cohort(4), index, plane="axial", **settings)


@pytest.mark.parametrize("second", [False, True], ids=["cohort", "cohort-b"])
def test_a_full_scan_without_noise_is_the_truth(second: bool) -> None:
    found = exam(second, acceleration=1, noise=0.0)
    image = root_sum_of_squares(ifft(torch.from_numpy(found.measurement.data[0].copy()))).numpy()
    np.testing.assert_allclose(
        image.T, found.truth.data[0, :, :, 0], atol=2e-4 * found.truth.data.max()
    )


def test_noise_is_white_of_the_stated_level_in_every_coil_and_alike_in_none() -> None:
    clean, noisy = exam(acceleration=1, noise=0.0), exam(acceleration=1, noise=0.05)
    assert noisy.truth.data.tobytes() == clean.truth.data.tobytes()
    noise = (noisy.measurement.data - clean.measurement.data)[0][
        :, noisy.measurement.operator.mask[0]
    ]
    level = noisy.measurement.noise.level
    np.testing.assert_allclose(
        noise @ noise.conj().T / noise.shape[1] / (2 * level**2), np.eye(len(noise)), atol=0.03
    )


def test_what_was_not_sampled_is_exactly_zero_and_the_centre_was_sampled() -> None:
    found = exam(acceleration=4)
    mask = found.measurement.operator.mask[0]
    assert mask.shape == MATRIX
    assert np.abs(found.measurement.data[0][:, ~mask]).max() == 0
    assert (np.abs(found.measurement.data[0][:, mask]).max(0) > 0).all()
    assert mask[:, MATRIX[1] // 2 - 12 : MATRIX[1] // 2 + 12].all()


def test_grid_truth_and_regions_fit_each_other() -> None:
    found = exam(contrast="FLAIR", pathology="ms")
    shape = (MATRIX[1], MATRIX[0], 1)
    assert (
        found.truth.geometry.shape
        == found.measurement.geometry.shape
        == found.brain.shape
        == found.lesions.shape
        == shape
    )
    assert found.truth.geometry.spacing == (1.0, 1.0, 5.0)
    assert found.truth.channels == (found.measurement.header["contrast"],) == ("FLAIR",)
    assert 0.1 < found.brain.mean() < 0.6
    assert found.lesions.any()
    assert (found.lesions & found.brain).sum() > 0.9 * found.lesions.sum()
    bright = (
        found.truth.data[0][found.lesions].mean()
        / found.truth.data[0][found.brain & ~found.lesions].mean()
    )
    assert bright > 1.1, "lesions shine on FLAIR"


def test_the_same_patient_gives_the_same_bytes_and_another_does_not() -> None:
    first, again, other = exam(), examine(Cohort(4), 3, plane="axial"), exam(index=4)
    seen = [inputs(Study.of(one.measurement)) for one in (first, again, other)]
    assert seen[0] == seen[1]
    assert first.patient == again.patient == "Cohort-4-3"
    assert not set(seen[0].values()) >= set(seen[2].values())
    assert other.patient == "Cohort-4-4"


def test_fewer_samples_for_a_higher_acceleration() -> None:
    for pattern in ("uniform", "variable", "poisson"):
        shares = [sampling(pattern, factor, seed=0).mean() for factor in (2, 4, 6)]
        assert shares == sorted(shares, reverse=True)
        assert 1 / 6 - 0.02 < shares[-1] < 0.35


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(SettingError, match="uniform, variable or poisson"):
        sampling("spiral", 4, 0)
