"""Operators from plain values: what a file says is what is built; whatever it says wrongly is
named.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from veridical import registry
from veridical.errors import SettingError
from veridical.physics.geometry_table import GeometryTable
from veridical.physics.parallel_beam import half_turn
from veridical.physics.pet import PET, attenuation_factors
from veridical.physics.projection import PlanarBeam
from veridical.physics.ultrasound import Ultrasound

GRID = {"shape": [12, 15], "spacing": [1.5, 1.0]}
ARRAY = {
    "elements": 9,
    "pitch": 0.5,
    "frequency": 2.0,
    "bandwidth": 0.7,
    "rate": 8.0,
    "speed": 1540.0,
}
GOOD: dict[str, dict[str, Any]] = {
    "parallel-beam": {**GRID, "views": 10, "detectors": 21, "pitch": 1.2},
    "fan-beam": {**GRID, "views": 10, "source": 40, "detectors": 31},
    "pet": {**GRID, "views": 10, "detectors": 21, "background": 0.5, "resolution": 4.5, "scale": 2},
    "photoacoustic": {
        **GRID,
        "detectors": 9,
        "radius": 16,
        "samples": 40,
        "rate": 2,
        "speed": 1500,
        "delay": 2.5,
    },
    "ultrasound": {**GRID, "depth": 3, **ARRAY, "samples": 60, "angles": [-5, 0, 5]},
}
REQUIRED = {
    "parallel-beam": ("shape", "spacing"),
    "fan-beam": ("shape", "spacing", "source"),
    "pet": ("shape", "spacing"),
    "photoacoustic": ("shape", "spacing", "radius", "samples", "rate", "speed"),
    "ultrasound": ("shape", "spacing", "depth", *ARRAY, "samples"),
}


def build(name: str, values: dict[str, Any]) -> Any:
    return registry.get("operator", name).from_geometry(values)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_values_build_the_operator_of_that_name_and_grid(name: str) -> None:
    operator = build(name, GOOD[name])
    assert operator.name == name
    assert operator.domain == (12, 15)
    assert operator.spacing == (1.5, 1.0)
    assert operator.describe() == build(name, dict(GOOD[name])).describe()


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, keys in REQUIRED.items() for key in keys]
)
def test_a_missing_key_is_named(name: str, key: str) -> None:
    values = {k: v for k, v in GOOD[name].items() if k != key}
    with pytest.raises(SettingError, match=f"{name}: .*does not give {key}; expected shape"):
        build(name, values)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_unknown_key_is_refused_with_the_nearest_known_one(name: str) -> None:
    with pytest.raises(SettingError, match=r"no key 'spacin'. Did you mean 'spacing'"):
        build(name, {**GOOD[name], "spacin": 1})


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize(
    "value", [[12], [12, 0], [12, -3], [12, 15.5], "12 x 15", [True, 15], [math.nan, 15], None, 12]
)
def test_a_wrong_grid_is_refused_with_what_was_expected(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=r"shape = .*expected two (whole )?numbers"):
        build(name, {**GOOD[name], "shape": value})


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("fan-beam", "source", "far", "a number above 0"),
        ("fan-beam", "source", -40, "a number above 0"),
        ("parallel-beam", "pitch", 0, "a number above 0"),
        ("parallel-beam", "detectors", 20.5, "a whole number"),
        ("pet", "scale", True, "a number above 0"),
        ("pet", "resolution", -1, "a number of at least 0"),
        ("pet", "background", "noise", r"one number or an array \(10, 21\)"),
        ("pet", "background", [[1, 2], [3]], r"one number or an array \(10, 21\)"),
        (
            "pet",
            "attenuation",
            np.ones((3, 3)),
            r"an array \(3, 3\); expected one number or an array \(10, 21\)",
        ),
        ("photoacoustic", "speed", math.inf, "a number above 0"),
        ("photoacoustic", "samples", 0, "a whole number"),
        ("ultrasound", "elements", -1, "a whole number"),
        ("ultrasound", "angles", "steep", "a list of degrees"),
        ("ultrasound", "angles", [], "a list of degrees"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(
    name: str, key: str, value: Any, expected: str
) -> None:
    with pytest.raises(SettingError, match=f"{name}: {key} = .*{expected}"):
        build(name, {**GOOD[name], key: value})


def test_views_are_spread_over_the_arc_of_each_beam() -> None:
    torch.testing.assert_close(build("parallel-beam", {**GRID, "views": 4}).angles, half_turn(4))
    torch.testing.assert_close(
        build("fan-beam", {**GRID, "views": 4, "source": 40}).angles, 2 * half_turn(4)
    )


def test_a_limited_angle_is_start_and_arc_in_degrees() -> None:
    beam = build("parallel-beam", {**GRID, "views": 3, "start": -60, "arc": 120})
    torch.testing.assert_close(torch.rad2deg(beam.angles), torch.tensor([-60.0, -20.0, 20.0]))


def test_listed_angles_are_taken_in_their_order() -> None:
    beam = build("parallel-beam", {**GRID, "angles": [90, 0, 45]})
    torch.testing.assert_close(torch.rad2deg(beam.angles), torch.tensor([90.0, 0.0, 45.0]))


@pytest.mark.parametrize("values", [{}, {"views": 3, "angles": [0, 1, 2]}])
def test_angles_must_be_said_once(values: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"(neither|both) of angles and views"):
        build("parallel-beam", {**GRID, **values})
    with pytest.raises(SettingError, match="start"):
        build("parallel-beam", {**GRID, "angles": [0, 1], "start": 3})


def test_steered_waves_need_their_arc() -> None:
    values = {key: value for key, value in GOOD["ultrasound"].items() if key != "angles"}
    with pytest.raises(SettingError, match="arc = nothing"):
        build("ultrasound", {**values, "views": 3})
    waves = build("ultrasound", {**values, "views": 3, "start": -12, "arc": 36})
    assert isinstance(waves, Ultrasound)
    torch.testing.assert_close(torch.rad2deg(waves.angles), torch.tensor([-12.0, 0.0, 12.0]))


def test_pet_takes_survival_factors_or_a_map_of_coefficients_but_not_both() -> None:
    coefficients = np.full((12, 15), 0.01)
    pet = build("pet", {**GOOD["pet"], "coefficients": coefficients})
    assert isinstance(pet, PET)
    assert isinstance(pet.projector, PlanarBeam)
    torch.testing.assert_close(
        pet.attenuation, attenuation_factors(pet.projector, torch.full((12, 15), 0.01))
    )
    assert float(pet.background.min()) == float(pet.background.max()) == 0.5
    with pytest.raises(SettingError, match="both given"):
        build("pet", {**GOOD["pet"], "coefficients": coefficients, "attenuation": 1})


@pytest.mark.parametrize("name", ["identity", "blur", "cartesian-mri"])
def test_operators_without_a_description_say_what_to_do_instead(name: str) -> None:
    with pytest.raises(
        SettingError, match=rf"{name} cannot be described by a geometry file.*Measurement"
    ):
        build(name, {})


def test_one_number_fills_a_tensor_and_none_is_none() -> None:
    table = GeometryTable("x", {"a": 2.0})
    torch.testing.assert_close(table.tensor("a", (2, 3)), torch.full((2, 3), 2.0))
    assert table.tensor("b", (2, 3)) is None
