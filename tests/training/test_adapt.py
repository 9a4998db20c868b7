"""Adapting weights to a handful of patients: what is held out decides when it ends and whether
anything is written.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import folders
import toys
from veridical.errors import InputError, SettingError
from veridical.models import weights
from veridical.models.generator import Generator
from veridical.training import adapt as adapting
from veridical.training import stopping
from veridical.training.adapt import Adaptation, adapt, gain, toml

FAST = {
    "generation": {"data": {"sources": {"data": 1.0}, "batch": 2, "patch": 32}},
    "denoising": {"data": {"sources": {"data": 1.0}, "batch": 2, "patch": 16}},
}
TRAINING = {"workers": 0, "validate": 1, "checkpoint": 1, "warmup": 1, "steps": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def shipped() -> Iterator[Path]:
    with toys.shipped() as folder:
        yield folder


@pytest.fixture
def fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the shipped recipes be small."""
    for name, tables in FAST.items():
        found = tomllib.loads(adapting.find(f"adapt-{name}").read_text(encoding="utf-8"))
        found["data"] |= tables["data"]
        found["training"] |= TRAINING
        (tmp_path / f"adapt-{name}.toml").write_text(toml(found), encoding="utf-8")
    monkeypatch.setattr(adapting, "find", lambda name: tmp_path / f"{name}.toml")
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))


def good(monkeypatch: pytest.MonkeyPatch, after: float) -> None:
    """Let weights that moved score `after`, and those as they were 30 dB."""
    before: dict[str, dict[str, torch.Tensor]] = {}

    def validate(self: Any, net: Any, *rest: Any, **more: Any) -> dict[str, float]:
        state = {key: value.clone() for key, value in net.state_dict().items()}
        first = before.setdefault("first", state)
        moved = any(not torch.equal(first[key], value) for key, value in state.items())
        return {"start_db": 20.0, "net_db": after if moved else 30.0}

    for name in ("generation_data.GenerationCourse", "denoising_data.DenoisingCourse"):
        monkeypatch.setattr(f"veridical.training.{name}.validate", validate)


@pytest.mark.parametrize("name", ["brain", "denoiser"])
def test_adapted_weights_are_plain_fit_their_tasks_and_say_what_they_gained(
    name: str, shipped: Path, fast: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good(monkeypatch, 31.0)
    ward = folders.bids(tmp_path / "ward", 3)
    path = adapt(ward, name, tmp_path / "run", Adaptation(rank=2))
    assert path.name == f"{name}-adapted.safetensors"
    before, after = load_file(shipped / f"{name}.safetensors"), load_file(path)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[key].half(), after[key].half()) for key in before)
    card = weights.card(str(path))
    assert card["from"]["sha256"] == weights.fingerprint(name)
    assert card["adaptation"]["way"] == "lora"
    assert card["adaptation"]["gain"] == pytest.approx(1.0)
    assert card["adaptation"]["patients"] == 1
    assert 0 < card["adaptation"]["learned"] < 1
    assert card["training"]["rank"] == 2
    assert not card["may_ship"]
    assert "calibration" not in card
    assert "30.00 dB -> 31.00 dB on 1 held-out patient (+1.00 dB" in gain(path)


def test_weights_that_are_not_better_on_who_is_held_out_are_not_written(
    shipped: Path, fast: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good(monkeypatch, 29.0)
    ward = folders.bids(tmp_path / "ward", 2)
    with pytest.raises(InputError, match=r"not better on the held-out patients than 'brain'"):
        adapt(ward, "brain", tmp_path / "run")
    assert not list((tmp_path / "run").glob("*adapted.safetensors"))


def test_training_ends_when_validation_is_no_longer_better_and_the_best_is_kept(
    shipped: Path, fast: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([30.0, 31.0, 30.5, 30.4, 30.3, 30.2, 30.1])
    monkeypatch.setattr(
        "veridical.training.generation_data.GenerationCourse.validate",
        lambda *given, **more: {"missing_start_db": 20.0, "missing_net_db": next(scores, 30.6)},
    )
    monkeypatch.setattr("veridical.training.train.gained", lambda run: {})
    ward = folders.bids(tmp_path / "ward", 2)
    path = adapt(ward, "brain", tmp_path / "run", Adaptation(steps=20))
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert steps == [0, 1, 2, 3, 4], "three checkpoints without a better one"
    assert weights.card(str(path))["validation"]["step"] == 1


def test_the_recipe_beside_the_run_says_what_was_asked_for(
    shipped: Path, fast: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good(monkeypatch, 31.0)
    ward = folders.bids(tmp_path / "ward", 4)
    adapt(ward, "brain", tmp_path / "run", Adaptation(how="head", steps=1, held_out=2))
    found = tomllib.loads((tmp_path / "run" / "brain-adapted.toml").read_text(encoding="utf-8"))
    assert found["model"] == {"from": "brain"}
    assert found["data"]["validate_on"] == 2
    assert (found["training"]["adapt"], found["training"]["steps"]) == ("head", 1)
    assert Generator(str(tmp_path / "run" / "brain-adapted.safetensors")).contrasts


def test_what_cannot_be_adapted_is_refused_before_anything_is_written(
    shipped: Path, tmp_path: Path
) -> None:
    alone = folders.bids(tmp_path / "alone", 1)
    with pytest.raises(InputError, match="1 patient; expected two or more"):
        adapt(alone, "brain", tmp_path / "run")
    ward = folders.bids(tmp_path / "ward", 2)
    with pytest.raises(SettingError, match="leaves nobody to learn from"):
        adapt(ward, "brain", tmp_path / "run", Adaptation(held_out=2))
    with pytest.raises(SettingError, match="Did you mean 'head'"):
        Adaptation(how="heads")
    with pytest.raises(SettingError, match="rank = -1"):
        Adaptation(rank=-1)
    with pytest.raises(SettingError, match=r"from named sets.*Weights that are adapted learn"):
        adapt(ward, "segmenter", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_best_line_of_a_log_is_the_first_of_equal_ones() -> None:
    lines = [{"missing_net_db": one, "degraded_net_db": one} for one in (1.0, 3.0, 3.0, 2.0)]
    assert (stopping.best(lines), stopping.stale(lines)) == (1, 2)
    with pytest.raises(SettingError, match="patience"):
        stopping.quality({"step": 0, "dice": 0.5})
