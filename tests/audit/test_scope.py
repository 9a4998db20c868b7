from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from veridical.audit.describe import describe_scan
from veridical.audit.scope import Scope, shrunk_covariance
from veridical.errors import CalibrationError, InputError, SettingError
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianMRI

SHAPE = (40, 96)
Scan = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def columns(rng: np.random.Generator, low: float = 3.0, high: float = 5.0) -> np.ndarray:
    return masks.variable_density(SHAPE, rng.uniform(low, high), 8, int(rng.integers(2**31)), 1.0)


def head(rng: np.random.Generator, invert: bool = False) -> np.ndarray:
    """An ellipse with a bright rim, grey inside, small structures: brighter or darker than it."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    size = rng.uniform(0.65, 0.85, 2)
    radius = np.hypot(y / size[0], x / size[1])
    inside = radius < 1
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.5)
    levels = 0.5 + 0.15 * np.sign(texture) + rng.uniform(-0.05, 0.05)
    image = np.where(inside, levels, 0.0)
    image[(radius > 0.88) & inside] = rng.uniform(0.8, 1.0)
    image[radius < 0.2] = 0.15
    if invert:
        image = np.where(inside, 1.1 - image, 0.0)
    return ndimage.gaussian_filter(image, 0.5)


def scan(rng: np.random.Generator, mask: np.ndarray | None = None, noise: float = 1.0, invert: bool = False) -> Scan:
    mask = columns(rng) if mask is None else mask
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    a, b, c = rng.normal(0, 0.5, 3)
    picture = head(rng, invert) * np.exp(1j * (a * x + b * y + c * x * y))
    turn = rng.uniform(0, np.pi)
    places = [(np.cos(turn + k * np.pi / 2), np.sin(turn + k * np.pi / 2)) for k in range(4)]
    coils = np.stack([np.exp(-((y - 1.2 * p) ** 2) - (x - 1.2 * q) ** 2 + 1j * (p * x - q * y)) for p, q in places])
    coils /= np.sqrt((np.abs(coils) ** 2).sum(0))
    operator = CartesianMRI(torch.from_numpy(mask.astype(np.float32)), torch.from_numpy(coils[None].astype(np.complex64)))
    sigma = noise * 0.01 * float(np.exp(0.2 * rng.standard_normal()))
    clean = operator.forward(torch.from_numpy(picture[None].astype(np.complex64)))
    kspace = clean.numpy() + sigma * mask * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape))
    estimate = operator.pinv(torch.from_numpy(kspace.astype(np.complex64)), 8)[0]
    return kspace.astype(np.complex64), mask, estimate.numpy(), sigma


def described(count: int, seed: int, **how: object) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [describe_scan(*scan(rng, **how)) for _ in range(count)]  # type: ignore[arg-type]


@cache
def fitted() -> Scope:
    rows = described(260, 0)
    names = tuple(rows[0])
    return Scope.fit(np.array([[row[name] for name in names] for row in rows]), names, "heads, variable density 3x to 5x")


def share(rows: list[dict[str, float]], *verdicts: str) -> float:
    return float(np.mean([fitted()(row).verdict in verdicts for row in rows]))


def test_scans_like_those_of_training_are_rarely_alarmed_at() -> None:
    rows = described(100, 1)
    assert share(rows, "warn", "fail") <= 0.05 + 0.07
    assert share(rows, "fail") <= 0.05


SHIFTS: dict[str, tuple[Callable[[np.random.Generator], dict[str, object]], set[str]]] = {
    "8x instead of 3x to 5x": (lambda rng: {"mask": columns(rng, 8.0, 8.0)}, {"sampled", "gap"}),
    "fully sampled": (lambda rng: {"mask": np.ones(SHAPE, bool)}, {"sampled", "centre_y", "centre_x"}),
    "ten times the noise": (lambda rng: {"noise": 10.0}, {"noise", "high", "excess", "slope", "phase"}),
    "inverted contrast": (lambda rng: {"invert": True}, {f"quantile_{q}" for q in (10, 25, 50, 75, 90)} | {"slope"}),
    "regular columns": (lambda rng: {"mask": masks.uniform(SHAPE, 4, 8)}, {"gap_spread", "gap"}),
    "Poisson disc": (
        lambda rng: {"mask": masks.poisson_disc(SHAPE, 4, 8, int(rng.integers(2**31)))},
        {"along_y", "centre_y", "centre_x"},
    ),
    "encoded along y": (
        lambda rng: {"mask": masks.variable_density(SHAPE[::-1], 4, 8, 1, 1.0).T},
        {"along_y", "centre_y", "centre_x", "gap"},
    ),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_what_training_never_had_is_found_and_named(name: str) -> None:
    how, expected = SHIFTS[name]
    rng = np.random.default_rng(5)
    rows = [describe_scan(*scan(rng, **how(rng))) for _ in range(12)]  # type: ignore[arg-type]
    findings = [fitted()(row) for row in rows]
    assert all(f.verdict in ("warn", "fail") for f in findings)
    assert any(word in findings[0].reason for word in expected)


def test_descriptors_do_not_depend_on_the_units_of_the_data() -> None:
    kspace, mask, estimate, sigma = scan(np.random.default_rng(3))
    one, other = describe_scan(kspace, mask, estimate, sigma), describe_scan(1e4 * kspace, mask, 1e4 * estimate, 1e4 * sigma)
    assert all(other[name] == pytest.approx(value, rel=1e-3, abs=1e-3) for name, value in one.items())


def test_an_estimate_in_other_units_than_the_data_is_seen_in_the_fit() -> None:
    kspace, mask, estimate, sigma = scan(np.random.default_rng(3))
    assert describe_scan(kspace, mask, estimate, sigma)["fit"] < -1
    assert describe_scan(kspace, mask, 3 * estimate, sigma)["fit"] > 0


def test_scans_that_say_nothing_are_refused() -> None:
    kspace, mask, estimate, sigma = scan(np.random.default_rng(3))
    for bad in (
        (kspace, mask, np.full_like(estimate, np.nan), sigma),
        (kspace, np.zeros_like(mask), estimate, sigma),
        (kspace, mask, 0 * estimate, sigma),
        (kspace, mask, estimate, 0.0),
    ):
        with pytest.raises(InputError, match="can be described when"):
            describe_scan(*bad)
    with pytest.raises(InputError, match="of one matrix"):
        describe_scan(kspace, mask.T, estimate, sigma)


def test_p_values_are_uniform_on_scans_of_the_same_kind() -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((6, 6))
    rows = rng.standard_t(3, (2600, 6)) @ mix
    scope = Scope.fit(rows[:600], tuple("abcdef"), "heavy tails")
    p = np.array([scope(dict(zip("abcdef", row, strict=True))).evidence["p"] for row in rows[600:]])
    for level in (0.05, 0.25, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.05)


def test_a_broken_correlation_is_found_though_no_descriptor_stands_out() -> None:
    rng = np.random.default_rng(1)
    first = rng.standard_normal(400)
    rows = np.stack([first, first + 0.1 * rng.standard_normal(400)], 1)
    finding = Scope.fit(rows, ("a", "b"), "twins")({"a": 1.5, "b": -1.5})
    assert finding.verdict == "fail"
    assert "combination" in finding.reason


def test_a_descriptor_that_never_varied_stands_out_when_it_does() -> None:
    rows = np.stack([np.random.default_rng(2).standard_normal(400), np.full(400, 0.25)], 1)
    scope = Scope.fit(rows, ("a", "b"), "constant")
    assert scope({"a": 0.0, "b": 0.25}).verdict == "pass"
    assert "b (" in scope({"a": 0.0, "b": 0.3}).reason


def test_shrinkage_tames_few_rows_and_leaves_many_alone() -> None:
    rng = np.random.default_rng(0)
    truth = np.diag([4.0, 1.0, 0.25])
    many = rng.standard_normal((50_000, 3)) @ np.sqrt(truth)
    assert np.allclose(shrunk_covariance(many), truth, atol=0.1)
    few = rng.standard_normal((10, 30))
    assert np.linalg.eigvalsh(shrunk_covariance(few)).min() > 0.1


def test_a_scope_survives_json() -> None:
    scope = Scope.fit(np.random.default_rng(0).standard_normal((200, 2)), ("a", "b"), "noise")
    assert Scope.from_dict(json.loads(json.dumps(scope.to_dict()))) == scope
    with pytest.raises(SettingError, match="centre"):
        Scope.from_dict({**scope.to_dict(), "centre": []})


def test_too_few_or_wrong_descriptors_are_refused() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 2))
    with pytest.raises(CalibrationError, match="needs 198"):
        Scope.fit(rows[:150], ("a", "b"), "few")
    with pytest.raises(InputError, match="all finite"):
        Scope.fit(np.where(rows > 3, np.nan, rows) * np.nan, ("a", "b"), "broken")
    scope = Scope.fit(rows, ("a", "b"), "noise")
    with pytest.raises(InputError, match="missing or unknown"):
        scope({"a": 0.0})
    with pytest.raises(InputError, match="not finite"):
        scope({"a": 0.0, "b": float("nan")})
