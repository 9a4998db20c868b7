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
from veridical.errors import FormatError, InputError
from veridical.models import weights
from veridical.models.unrolled import Unrolled


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of toy weights and their card that a test may damage."""
    source = toys.weights("unrolled")
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / source.name


def test_weights_are_found_by_path_and_by_shipped_name(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.find(str(copy)) == copy
    monkeypatch.setattr(weights, "FOLDER", copy.parent)
    assert weights.find("unrolled") == copy


def test_missing_weights_are_refused_with_what_is_shipped(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FOLDER", copy.parent)
    with pytest.raises(InputError, match=r"no weights at 'unroled'\. Shipped: unrolled.*veridical train"):
        weights.find("unroled")
    monkeypatch.setattr(weights, "FOLDER", copy.parent / "nothing")
    with pytest.raises(InputError, match="Shipped: none"):
        weights.find("unrolled")


def test_weights_are_float32_whatever_is_stored(copy: Path) -> None:
    tensors = weights.load(str(copy))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    stored = torch.float16
    assert all(torch.equal(tensor, tensor.to(stored).float()) for tensor in tensors.values())


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


@pytest.mark.parametrize("text", ["", '{"model": "unro', "[]", "3", "{}", '{"model": "unrolled", "net": 3}'])
def test_a_damaged_card_is_refused(copy: Path, text: str) -> None:
    copy.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=r"card unrolled\.json.*train again"):
        weights.card(str(copy))


def test_a_missing_card_is_refused(copy: Path) -> None:
    copy.with_suffix(".json").unlink()
    with pytest.raises(FormatError, match=r"card unrolled\.json"):
        weights.card(str(copy))


def test_the_fingerprint_is_the_hash_of_the_file(copy: Path) -> None:
    assert weights.fingerprint(str(copy)) == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert Unrolled(weights=str(copy)).weights_hash == weights.fingerprint(str(copy))


def test_weights_that_do_not_fit_their_card_are_refused(copy: Path) -> None:
    card = json.loads(copy.with_suffix(".json").read_text(encoding="utf-8"))
    card["net"]["widths"] = [8, 12]
    copy.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    scan = next(toys.scans())
    with pytest.raises(FormatError, match="card"):
        Unrolled(weights=str(copy), device="cpu").solve(scan, 1, 0, "T1w")


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    prior = toys.weights("brain-prior")
    with pytest.raises(FormatError, match=r"brain-prior.*unrolled"):
        Unrolled(weights=str(prior), device="cpu").solve(next(toys.scans()), 1, 0, "T1w")
