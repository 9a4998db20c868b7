"""Learning shapes: registration brings heads onto one another, their mean has no shift, and the
file gives back what was learned.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.phantoms.label_maps import LabelMap, structure
from veridical.training import head_registration
from veridical.training.head_registration import (
    GROUPS,
    Mapped,
    RegistrationSchedule,
    register,
    warped,
)
from veridical.training.learned_heads import described, learn, write

SHORT = RegistrationSchedule((20,), ((1e-5, 15),))
LAYERS = (("fat", 80.0), ("cortex", 70.0), ("white matter", 60.0), ("lateral ventricle", 18.0))


def head(seed: int) -> LabelMap:
    """Ellipsoids of random size about a point that is not the middle of the map."""
    rng = np.random.default_rng(seed)
    size, middle = rng.uniform(0.85, 1.1, 3), np.array([90, 95, 88]) + rng.integers(-4, 4, 3)
    axes = [np.arange(n) - m for n, m in zip((180, 190, 176), middle, strict=True)]
    radius = np.sqrt(
        (axes[0][:, None, None] / size[0]) ** 2
        + (axes[1][None, :, None] / size[1]) ** 2
        + (axes[2][None, None, :] / size[2]) ** 2
    )
    labels = np.zeros(radius.shape, np.uint8)
    for name, limit in LAYERS:
        part = rng.uniform(0.8, 1.2) if name == "lateral ventricle" else 1.0
        labels[radius < limit * part] = structure(name)
    none = np.zeros((0, 3), np.float32)
    return LabelMap(labels, middle.astype(np.float32), none, none, f"head{seed:02}")


@cache
def learned() -> tuple[tuple[LabelMap, ...], tuple[Mapped, ...]]:
    heads = tuple(head(seed) for seed in range(4))
    return heads, tuple(register(heads, SHORT))


def overlap(mapped: list[Mapped]) -> float:
    cut = [warped(one)[..., :-1] for one in mapped]
    pairs = [(a, b) for n, a in enumerate(cut) for b in cut[:n]]
    names = [place for place, names in enumerate(GROUPS) if names[0] in dict(LAYERS)]
    found = [
        2 * np.minimum(a[..., n], b[..., n]).sum() / (a[..., n] + b[..., n]).sum()
        for a, b in pairs
        for n in names
    ]
    return float(np.mean(found))


def test_registration_brings_heads_onto_one_another() -> None:
    heads, mapped = learned()
    before = overlap([head_registration.shares(one) for one in heads])
    assert overlap(list(mapped)) > before + 0.3 * (1 - before)


def test_the_mean_head_has_no_velocity_and_no_shift() -> None:
    mapped = learned()[1]
    np.testing.assert_allclose(np.mean([one.velocity for one in mapped], 0), 0, atol=1e-4)
    np.testing.assert_allclose(np.mean([one.affine for one in mapped], 0), np.eye(3, 4), atol=0.3)


def test_shares_of_a_voxel_sum_to_at_most_one_and_cover_what_the_map_covers() -> None:
    one = head_registration.shares(learned()[0][0])
    assert one.shares[..., :-1].sum(-1).max() <= 1 + 1e-5
    assert one.shares[:, :, -1, -1].min() == 1
    assert one.shares[:, :, 0, -1].max() == 0


def test_the_file_gives_back_what_was_learned_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    every = described(*learned())
    arrays = {name: every[name] for name in ("names", "atrophy", "fields", "between")}
    arrays["map_head02"] = every["map_head02"][:, :, 80:84]
    first, second = (write(arrays, tmp_path / name) for name in ("a.npz", "b.npz"))
    assert first.read_bytes() == second.read_bytes()
    with np.load(first) as file:
        assert set(file.files) == set(arrays)
        np.testing.assert_array_equal(file["map_head02"], arrays["map_head02"])
        assert list(file["names"]) == ["head00", "head01", "head02", "head03"]
        assert np.abs(file["atrophy"].mean()) < 1e-5


def test_the_stretch_of_a_larger_head_is_larger() -> None:
    heads, mapped = learned()
    found = described(heads, mapped)["stretches"]
    sizes = [float((one.structures > 0).sum()) for one in heads]
    traces = [float(np.trace(stretch)) for stretch in found]
    assert np.corrcoef(np.log(sizes), traces)[0, 1] > 0.9


def test_too_few_maps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 or more"):
        learn(tmp_path, tmp_path / "out.npz")
