"""Sampling as a finding: the worst slice decides; artefacts are called what they are in the
modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from studies import GRID, image, picture, result, study

from veridical.audit.sampling import sampling
from veridical.audit.self_calibration import ExpectedError
from veridical.types import Measurement, Noise, Study


@dataclass(frozen=True)
class Scanner:
    """An operator of a name, with a mask where it is Cartesian."""

    name: str
    mask: Any = None

    def describe(self) -> dict[str, Any]:
        return {}


def raw(name: str, mask: Any = None) -> Study:
    return Study.of(Measurement(picture(), Scanner(name, mask), Noise(), GRID))


def expected(size: float) -> ExpectedError:
    power = np.full((8, 8), size**2)
    return ExpectedError(power, 3.0, 400, 1.0)


def test_the_worst_slice_decides_and_cartesian_artefacts_are_aliasing() -> None:
    found = sampling(
        raw("cartesian-mri"), result(picture(), sampling=(expected(0.001), expected(0.1)))
    )
    assert found is not None
    assert (found.check, found.verdict) == ("sampling", "fail")
    assert found.reason.startswith("1 of 2 slices")
    assert "aliasing" in found.reason


@pytest.mark.parametrize(
    ("operator", "artefact"),
    [
        ("parallel-beam", "streaks"),
        ("fan-beam", "streaks"),
        ("pet", "counts"),
        ("cartesian-mri", "aliasing"),
    ],
)
def test_what_was_not_withheld_is_not_run_and_names_the_artefact_of_the_modality(
    operator: str, artefact: str
) -> None:
    found = sampling(raw(operator), result(picture()))
    assert found is not None
    assert found.verdict == "not_run"
    assert artefact in found.reason
    assert "ghost" not in found.reason


def test_images_and_whole_scans_miss_nothing() -> None:
    assert sampling(study({"T1w": image(picture())}), result(picture())) is None
    assert sampling(raw("cartesian-mri", np.ones((6, 28, 32), bool)), result(picture())) is None
