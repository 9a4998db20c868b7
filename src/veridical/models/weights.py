"""Shipped weights: safetensors beside a card in JSON, loaded once; never a pickle, never a download."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from veridical.errors import FormatError, InputError

FOLDER = Path(__file__).parent / "files"


def find(name_or_path: str) -> Path:
    """Return the weights file of a shipped name (`unrolled`) or of a path to a `.safetensors` file."""
    path = Path(name_or_path)
    if path.suffix != ".safetensors":
        path = FOLDER / f"{name_or_path}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.safetensors"))) or "none"
        raise InputError(
            f"There are no weights at {name_or_path!r}. Shipped: {shipped}. `veridical train RECIPE.toml` makes new ones."
        )
    return path


def load(name_or_path: str) -> dict[str, Tensor]:
    """Read the weights as float32 tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = find(name_or_path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise FormatError(f"{path.name} is not a whole safetensors file ({error}). Copy or train it again.") from error
    return {key: value.to(torch.float32) for key, value in tensors.items()}


def card(name_or_path: str) -> dict[str, Any]:
    """Read the card: net settings, what it was trained on, calibration, scope, scores and limits."""
    path = find(name_or_path).with_suffix(".json")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"The card {path.name} beside the weights cannot be read ({error}). Restore it or train again."
        ) from error
    return found


@cache
def fingerprint(name_or_path: str) -> str:
    """Return the SHA-256 of the weights file, for provenance."""
    return hashlib.sha256(find(name_or_path).read_bytes()).hexdigest()
