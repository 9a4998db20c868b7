"""A file is an entry of its folder; listing imports nothing; names that are not there are refused
with the nearest.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

import pytest

from veridical import registry
from veridical.errors import SettingError

Install = Callable[[str, str], None]


@pytest.mark.parametrize("kind", list(registry.FOLDERS))
def test_every_entry_can_be_loaded_and_says_in_a_line_what_it_is(kind: str) -> None:
    for name, entry in registry.entries(kind).items():
        assert callable(entry.load()), name
        assert len(entry.summary) > 10, name
        assert "\n" not in entry.summary, name


def test_the_name_is_that_of_the_file_and_the_class_that_of_the_name() -> None:
    assert (
        registry.entries("operator")["cartesian-mri"].target
        == "veridical.physics.cartesian_mri:CartesianMRI"
    )
    assert "linear" not in registry.entries("operator")


@pytest.mark.parametrize("kind", list(registry.BASES))
def test_entries_of_a_kind_with_a_base_derive_from_it_and_the_base_itself_is_none(
    kind: str,
) -> None:
    names = registry.entries(kind)
    assert names
    for name in names:
        bases = [base.__name__ for base in registry.get(kind, name).__mro__]
        assert registry.BASES[kind] in bases[1:]


def test_what_lies_in_a_folder_and_is_of_another_kind_is_not_listed() -> None:
    assert {"rectified-flow", "regression", "bridge", "adversarial"} <= set(
        registry.entries("family")
    )
    assert not {"flow", "gaussian", "posterior", "family", "conditioned"} & set(
        registry.entries("family")
    )
    assert not {"efficientnet-lite", "patch-discriminator", "backbone"} & set(
        registry.entries("backbone")
    )
    assert not {"request", "condition"} & set(registry.entries("condition"))
    assert not set(registry.entries("degradation")) & set(registry.entries("operator"))
    assert {"generator", "intensity-map", "denoiser"} <= set(registry.entries("model"))
    assert not {"base", "image-prior", "problem", "runtime", "weights"} & set(
        registry.entries("model")
    )


def test_listing_everything_imports_none_of_it() -> None:
    code = (
        "import sys; from veridical import registry; [registry.entries(k) for k in "
        "registry.FOLDERS];"
        "print('torch' in sys.modules, 'veridical.physics' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False False\n"
    )


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(SettingError, match="'cartesian-mri'"):
        registry.get("operator", "cartesian-mir")
    with pytest.raises(SettingError, match="'operator'"):
        registry.entries("operators")


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install an entry point for the length of a test."""

    def install(name: str, value: str) -> None:
        point = metadata.EntryPoint(name, value, "veridical.metric")
        monkeypatch.setattr(
            metadata, "entry_points", lambda group: [point] if group == point.group else []
        )
        registry.entries.cache_clear()

    yield install
    monkeypatch.undo()
    registry.entries.cache_clear()


def test_third_parties_add_entries_through_entry_points(third_party: Install) -> None:
    third_party("absolute-value", "builtins:abs")
    assert registry.get("metric", "absolute-value") is abs


def test_a_third_party_cannot_take_a_name_of_ours(
    third_party: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.FOLDERS, "metric", "physics")
    third_party("selection", "builtins:abs")
    with pytest.raises(SettingError, match="Two metric entries are called 'selection'"):
        registry.entries("metric")
