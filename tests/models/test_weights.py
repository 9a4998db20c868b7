"""Weights and their cards: found by name or path, refused when damaged, never a pickle."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

import toys
from veridical import registry
from veridical.errors import FormatError, InputError
from veridical.models import weights
from veridical.models.denoiser import Denoiser
from veridical.training.checkpoints import write_tensors
from veridical.training.training_data import training_data


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of toy weights and their card that a test may damage."""
    source = toys.weights("denoiser")
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / source.name


def test_weights_are_found_by_path_and_by_shipped_name(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.find(str(copy)) == copy
    monkeypatch.setattr(weights, "FOLDER", copy.parent)
    assert weights.find("denoiser") == copy


def test_missing_weights_are_refused_with_what_is_shipped(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "FOLDER", copy.parent)
    with pytest.raises(
        InputError, match=r"no weights at 'denoser'\. Shipped: denoiser.*veridical train"
    ):
        weights.find("denoser")
    monkeypatch.setattr(weights, "FOLDER", copy.parent / "nothing")
    with pytest.raises(InputError, match="Shipped: none"):
        weights.find("denoiser")


def test_weights_are_float32_whatever_is_stored(copy: Path) -> None:
    write_tensors(copy, {"a": torch.rand(5).half(), "b": torch.rand(5)}, {})
    assert {tensor.dtype for tensor in weights.load(str(copy)).values()} == {torch.float32}


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(copy: Path, share: float) -> None:
    whole = copy.read_bytes()
    copy.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FormatError, match=rf"{copy.name} is not a whole safetensors file.*again"):
        weights.load(str(copy))


def test_a_pickle_is_not_opened(copy: Path) -> None:
    copy.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(FormatError, match="safetensors"):
        weights.load(str(copy))


@pytest.mark.parametrize(
    "text", ["", '{"model": "deno', "[]", "3", "{}", '{"model": "denoiser", "net": 3}']
)
def test_a_damaged_card_is_refused(copy: Path, text: str) -> None:
    copy.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=r"card denoiser\.json.*train again"):
        weights.card(str(copy))


def test_a_missing_card_is_refused(copy: Path) -> None:
    copy.with_suffix(".json").unlink()
    with pytest.raises(FormatError, match=r"card denoiser\.json"):
        weights.card(str(copy))


def test_the_fingerprint_is_the_hash_of_the_file(copy: Path) -> None:
    assert weights.fingerprint(str(copy)) == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert Denoiser(weights=str(copy)).weights_hash == weights.fingerprint(str(copy))


def test_weights_that_do_not_fit_their_card_are_refused(copy: Path) -> None:
    card = json.loads(copy.with_suffix(".json").read_text(encoding="utf-8"))
    card["net"]["widths"] = [8, 12]
    copy.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(FormatError, match="card"):
        Denoiser(weights=str(copy), device="cpu").solve(toys.problem(), 1, 0)


SHIPPED = sorted(weights.FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_fit_their_card_which_allows_to_pass_them_on(path: Path) -> None:
    card = weights.card(path.stem)
    kind = registry.get("model", card["model"])
    assert weights.network(kind.name, kind.build, path.stem)
    assert card["may_ship"]
    assert card["limits"]
    assert set(card.get("calibration", {})) <= set(training_data(kind.learns).jobs_of(card))
