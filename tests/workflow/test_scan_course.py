"""Laws of the course of MR solvers: the number decides the scan, sources are drawn by weight, strips are the same problem."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.datasets import pool
from veridical.datasets.cohort import Cohort
from veridical.datasets.cohort_b import CohortB
from veridical.datasets.mri_rehearsal import Rehearsal
from veridical.errors import SettingError
from veridical.models.unrolled import Unrolled
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.workflow.course import Data, refuse_testing_only
from veridical.workflow.scan_course import STRIP, ScanCourse, cut


def course(data: Data, seed: int = 0, validation: bool = False) -> ScanCourse:
    return ScanCourse(Unrolled, data, seed, validation)


def test_the_second_simulator_never_trains() -> None:
    assert refuse_testing_only(Cohort(1)) == Cohort(1)
    with pytest.raises(SettingError, match="CohortB is for testing only"):
        refuse_testing_only(CohortB(1))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="cohort-b"):
        course(Data({"cohort-b": 1.0}))


@pytest.mark.parametrize(
    ("sources", "word"), [({"cohrt": 1.0}, "'cohort'"), ({"cohort": 0.0}, "above 0"), ({"ixi": -1.0}, "0")]
)
def test_unknown_sources_and_weights_that_are_none_are_refused(sources: dict[str, float], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        course(Data(sources))


@cache
def drawn(seed: int, step: int, validation: bool = False) -> Rehearsal:
    return course(Data(), seed, validation).draw(step)[0]


def test_step_and_seed_decide_the_scan() -> None:
    again = course(Data(), 3).draw(7)[0]
    assert torch.equal(drawn(3, 7).kspace, again.kspace)
    others = [drawn(3, 8), drawn(4, 7), drawn(3, 7, True)]
    assert all(other.kspace.shape != again.kspace.shape or not torch.equal(other.kspace, again.kspace) for other in others)


def test_real_sets_are_drawn_from_by_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = toys.magnitude((180, 150)).astype(np.float16)
    asked: list[tuple[str, tuple[str, ...], bool]] = []

    def load(name: str, held_out: tuple[str, ...], validation: bool) -> list[pool.PoolSlice]:
        asked.append((name, held_out, validation))
        return [] if validation else [pool.PoolSlice(picture, "FLAIR", "one")]

    monkeypatch.setattr(pool, "load", load)
    data = Data({"cohort": 1.0, "ixi": 3.0}, ("IXI049",))
    source, unseen = course(data), course(data, validation=True)
    assert asked == [("ixi", ("IXI049",), False), ("ixi", ("IXI049",), True)]
    assert source.names == ["cohort", "ixi"]
    np.testing.assert_allclose(source.weights, [0.25, 0.75])
    assert unseen.names == ["cohort"], "a set without held-out patients is not validated on"


def test_line_wise_scans_are_cut_into_strips_that_are_the_same_problem() -> None:
    found = next(scan for scan in (drawn(0, step) for step in range(20)) if scan.linewise and scan.kspace.shape[0] > 1)
    pieces = cut(found, np.random.default_rng(0))
    assert len(pieces) == 2
    full = CartesianMRI(found.mask, found.maps)
    for scan, truth, contrast in pieces:
        assert truth.shape[-2:] == scan.kspace.shape[-2:] == (STRIP, found.mask.shape[1])
        assert contrast == found.contrast
        row = next(
            r
            for r in range(found.mask.shape[0] - STRIP + 1)
            if torch.equal(found.maps[..., r : r + STRIP, :], scan.operator.maps)
        )
        torch.testing.assert_close(truth * scan.scale, found.truth[..., row : row + STRIP, :])
        misfit = scan.operator.forward(truth) - scan.kspace
        whole = Rehearsal(
            full.forward(found.truth) - found.kspace, found.mask, found.maps, found.truth, found.sigma, contrast
        ).strip(row, STRIP)
        torch.testing.assert_close(misfit * scan.scale, whole.kspace, atol=1e-4, rtol=0)


def test_scans_that_are_not_line_wise_stay_whole() -> None:
    found = next(scan for scan in (drawn(0, step) for step in range(40)) if not scan.linewise)
    (piece,) = cut(found, np.random.default_rng(0))
    assert piece[0].kspace.shape == found.kspace.shape
