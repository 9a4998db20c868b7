"""Scenes and lesions: which part of a lesion an operator sees, and where lesions lie."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.errors import InputError, SettingError
from veridical.evaluation.scenes import (
    KINDS,
    Sampling,
    Scene,
    lesions,
    of_image,
    of_raw,
    places,
    profile,
    with_lesions,
)
from veridical.types import Array, Geometry, Image


def head(slices: int = 1, size: int = 80) -> Image:
    """Ellipses with texture, `size` by `size`."""
    y, x, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (size, size, slices + 2)], indexing="ij")
    rng = np.random.default_rng(0)
    data = (x**2 + y**2 < 0.75) * (1 + 0.1 * np.sin(9 * x + z) * np.cos(7 * y))
    data = data + 0.02 * rng.standard_normal(data.shape) * (data > 0)
    kept: Array = data[..., 1 : slices + 1]
    return Image(kept[None].astype(np.float32), Geometry.index(kept.shape), "a.u.", ("T2w",))


@cache
def scene() -> Scene:
    return next(iter(of_image(head(), Sampling(), 1)))


def test_the_parts_of_a_lesion_are_what_the_operator_sees_and_what_it_does_not() -> None:
    one = scene()
    where = places(one, 4, 18, 0)
    parts = lesions(one, "blob", 4.0, where)
    operator, sigma = one.problem.operator, one.problem.sigma
    seen = {name: float(operator.forward(8 * sigma * part).norm()) for name, part in parts.items()}
    assert seen["unmeasured"] < 0.2 * sigma
    assert seen["measured"] > 10 * sigma
    projected = operator.project(parts["measured"], 100)
    assert float((projected - parts["measured"]).norm() / parts["measured"].norm()) < 0.02


def test_lesions_have_height_one_at_their_places_and_the_phase_of_the_tissue() -> None:
    one = scene()
    where = places(one, 4, 18, 0)
    assert one.truth is not None
    for part in lesions(one, "blob", 4.0, where).values():
        heights = [float(part[0].abs()[r - 2 : r + 3, c - 2 : c + 3].max()) for r, c in where]
        assert np.mean(heights) == pytest.approx(1, abs=1e-5)
    whole = lesions(one, "blob", 4.0, where)["whole"][0]
    for row, column in where:
        turned = whole[row, column] * one.truth[0, row, column].conj()
        assert abs(float(turned.angle())) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_have_their_size(kind: str) -> None:
    shape = profile((41, 41), kind, 10.0, (20, 20))
    assert shape.max() == pytest.approx(1, abs=0.01)
    half = np.flatnonzero(shape[20] >= 0.5)
    assert half[-1] - half[0] + 1 == pytest.approx(10, abs=1.5)
    assert (shape[20, 20] < 0) == (kind == "ring")


def test_lesions_of_a_patient_are_in_data_truth_and_start() -> None:
    one = scene()
    added = 0.2 * lesions(one, "disc", 5.0, places(one, 3, 18, 0))["measured"]
    patient = with_lesions(one, added)
    assert patient.truth is not None
    assert one.truth is not None
    change = patient.problem.data - one.problem.data
    torch.testing.assert_close(change, one.problem.operator.forward(added))
    torch.testing.assert_close(patient.truth - one.truth, added)
    moved = patient.problem.start - one.problem.start
    assert float((moved.conj() * added).real.sum() / added.abs().square().sum()) > 0.7


def test_places_lie_apart_in_the_tissue_and_refuse_too_little_room() -> None:
    one = scene()
    where = np.array(places(one, 6, 15, 3))
    gaps = np.hypot(*(where[:, None] - where[None]).transpose(2, 0, 1))
    assert gaps[~np.eye(len(where), dtype=bool)].min() >= 15
    assert all(one.tissue[r, c] for r, c in where)
    with pytest.raises(InputError, match="no room"):
        places(one, 1, 400, 0)


def test_raw_data_are_a_scene_without_truth() -> None:
    (one,) = of_raw(toys.measurement())
    assert one.truth is None
    assert lesions(one, "ring", 4.0, places(one, 1, 8, 0))["whole"].shape == (1, *toys.SIZE)


def test_unknown_patterns_and_kinds_are_refused() -> None:
    with pytest.raises(SettingError, match="poisson"):
        Sampling("poison")
    with pytest.raises(SettingError, match="blob"):
        lesions(scene(), "blub", 4.0, [(40, 40)])
