from __future__ import annotations

import json

import numpy as np
import pytest

from veridical.audit.scope import Scope, shrunk_covariance
from veridical.errors import CalibrationError, InputError, SettingError


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
