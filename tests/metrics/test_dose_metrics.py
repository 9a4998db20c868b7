"""Doses: closed forms, and the values of pymedphys for gamma."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from veridical.errors import GeometryError, InputError, SettingError, UnitsError
from veridical.metrics.dose_volume import dose_volume, dvh_point
from veridical.metrics.gamma import gamma, gamma_map

SPACING = (2.0, 2.5, 3.0)


def beam(
    shift: tuple[float, float, float] = (0, 0, 0), scale: float = 1.0, ripple: float = 0.0
) -> np.ndarray:
    """A block of 60 Gy with penumbras, `(40, 32, 24)`."""
    axes = [np.arange(n) * s for n, s in zip((40, 32, 24), SPACING, strict=True)]
    x, y, z = np.meshgrid(
        *(a - a.mean() - d for a, d in zip(axes, shift, strict=True)), indexing="ij"
    )

    def edge(t: np.ndarray, half: float, width: float) -> np.ndarray:
        return np.asarray(0.5 * (np.tanh((t + half) / width) - np.tanh((t - half) / width)))

    dose = 60 * edge(x, 22, 5) * edge(y, 20, 6) * edge(z, 18, 7)
    return np.asarray(scale * dose * (1 + ripple * np.sin(x / 4) * np.cos(y / 5)))


REFERENCE = beam()
MOVED, SCALED, RIPPLED = beam((2.2, 1.5, 1.0)), beam(scale=1.025), beam(ripple=0.06)
RAMP = np.broadcast_to(np.arange(101.0)[:, None, None], (101, 6, 5))


@pytest.mark.parametrize(
    ("candidate", "criterion", "normalization", "pymedphys"),
    [
        (MOVED, 2, "global", 79.251),
        (MOVED, 2, "local", 78.095),
        (MOVED, 3, "global", 99.904),
        (MOVED, 3, "local", 99.530),
        (SCALED, 2, "global", 98.555),
        (SCALED, 2, "local", 98.555),
        (RIPPLED, 2, "global", 98.121),
        (RIPPLED, 3, "global", 99.229),
        (RIPPLED, 3, "local", 99.229),
    ],
)
def test_gamma_is_within_half_a_percent_of_pymedphys(
    candidate: np.ndarray, criterion: float, normalization: Any, pymedphys: float
) -> None:
    """Its version 0.41, steps of a tenth of the distance criterion, of a fortieth for the moved
    dose at 2 %/2 mm.
    """
    found = gamma(
        candidate,
        REFERENCE,
        SPACING,
        difference=criterion,
        distance=criterion,
        normalization=normalization,
    )
    assert found == pytest.approx(pymedphys, abs=0.5)


def test_gamma_of_the_same_dose_is_0_and_all_pass() -> None:
    found = gamma_map(REFERENCE, REFERENCE, SPACING)
    assert np.nanmax(found) == 0
    assert gamma(REFERENCE, REFERENCE, SPACING) == 100
    low = 0.1 * REFERENCE.max()
    np.testing.assert_array_equal(np.isnan(found), np.less(REFERENCE, low))


@pytest.mark.parametrize(("scale", "expected"), [(1.01, 0.5), (1.02, 1.0), (0.97, 1.5)])
def test_gamma_of_a_flat_dose_is_its_difference_over_the_criterion(
    scale: float, expected: float
) -> None:
    flat = np.full((9, 9, 9), 50.0)
    np.testing.assert_allclose(gamma_map(scale * flat, flat, SPACING), expected)


def test_gamma_of_a_ramp_is_the_distance_of_a_point_to_a_line() -> None:
    """Along a slope of g Gy/mm, moved by d mm, gamma is `g d / dose / sqrt(1 + (g mm / dose)^2)`:
    Low 1998, figure 2.
    """
    spacing, shift = (1.5, 2.0, 2.0), 1.2
    x = np.arange(60) * 1.5
    reference, candidate = (
        np.broadcast_to(np.asarray(10 + 0.8 * t)[:, None, None], (60, 7, 7)) for t in (x, x - shift)
    )
    slope = 0.8 * 2.0 / (0.02 * reference.max())
    inner = gamma_map(candidate, reference, spacing)[10:-10, 3, 3]
    np.testing.assert_allclose(inner, slope * shift / 2.0 / np.hypot(1, slope), rtol=1e-9)


def test_gamma_of_a_steep_local_edge_is_its_distance() -> None:
    """Steps of 0.2 mm would step over the dose of 1 Gy at 12 Gy/mm and 2 % of it."""
    x = np.arange(40) * 1.0
    reference, candidate = (
        np.broadcast_to(np.asarray(12.0 * t)[:, None, None], (40, 3, 3)) for t in (x, x - 1.5)
    )
    found = gamma_map(candidate, reference, (1.0, 1.0, 1.0), normalization="local")[10:30, 1, 1]
    assert found == pytest.approx(0.75, abs=0.03)


def test_gamma_of_a_dose_on_one_slice_is_found_in_its_plane() -> None:
    one = gamma(MOVED[:, :, 12:13], REFERENCE[:, :, 12:13], SPACING)
    assert (
        50
        < one
        <= gamma(
            MOVED, REFERENCE, SPACING, mask=np.broadcast_to(np.arange(24) == 12, REFERENCE.shape)
        )
        + 1
    )


def test_a_missing_dose_passes_nowhere_and_looser_criteria_pass_more() -> None:
    assert gamma(np.zeros_like(REFERENCE), REFERENCE, SPACING) == 0
    rates = [gamma(MOVED, REFERENCE, SPACING, difference=c, distance=c) for c in (1, 1.5, 2, 3)]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]


def test_gamma_refuses_a_reference_without_dose_a_dark_mask_and_impossible_criteria() -> None:
    with pytest.raises(InputError):
        gamma(REFERENCE, np.zeros_like(REFERENCE), SPACING)
    with pytest.raises(InputError):
        gamma(REFERENCE, REFERENCE, SPACING, mask=REFERENCE < 1)
    with pytest.raises(SettingError):
        gamma(REFERENCE, REFERENCE, SPACING, distance=0)
    with pytest.raises(SettingError):
        gamma(REFERENCE, REFERENCE, SPACING, normalization="maximum")  # type: ignore[arg-type]
    with pytest.raises(UnitsError):
        gamma(REFERENCE, REFERENCE, (1, 1))
    with pytest.raises(GeometryError):
        gamma(REFERENCE, REFERENCE[:-1], SPACING)


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ("D95", 5), ("D95%", 5), ("D50", 50), ("D2", 98), ("D98", 2), ("D0", 100), ("D100", 0),
        ("Dmin", 0), ("Dmean", 50), ("Dmax", 100), ("V20Gy", 100 * 81 / 101), ("V101Gy", 0), ("V0Gy", 100),  # noqa: E501
    ],
)  # fmt: skip
def test_dvh_points_of_a_ramp_from_0_to_100_gy(point: str, value: float) -> None:
    assert dvh_point(RAMP, SPACING, mask=np.ones(RAMP.shape, bool), point=point) == pytest.approx(
        value
    )


def test_a_point_in_cc_is_the_same_share_of_the_volume() -> None:
    mask = np.ones(RAMP.shape, bool)
    volume = RAMP.size * 15 / 1000
    assert dvh_point(RAMP, SPACING, mask=mask, point=f"D{0.1 * volume:.6f}cc") == pytest.approx(90)
    with pytest.raises(InputError, match="cm3"):
        dvh_point(RAMP, SPACING, mask=mask, point="D500cc")


def test_dose_volume_is_the_same_for_too_much_and_too_little_and_looks_inside_the_structure_only() -> (  # noqa: E501
    None
):
    mask = np.zeros(RAMP.shape, bool)
    mask[40:61] = True
    more, less = RAMP + 3.0 * mask + 50.0 * ~mask, RAMP - 3.0 * mask
    for point in ("D95", "D2", "Dmean"):
        assert dose_volume(more, RAMP, SPACING, mask=mask, point=point) == pytest.approx(3)
        assert dose_volume(less, RAMP, SPACING, mask=mask, point=point) == pytest.approx(3)
    assert dose_volume(more, RAMP, SPACING, mask=mask, point="V50Gy") == pytest.approx(100 * 3 / 21)


@pytest.mark.parametrize("point", ["D", "D120", "D95Gy", "V20", "Dmedian", "d95", "V20%"])
def test_an_unknown_point_is_refused(point: str) -> None:
    with pytest.raises(SettingError, match="D95"):
        dvh_point(RAMP, SPACING, mask=np.ones(RAMP.shape, bool), point=point)
