"""Shipped weights: safetensors beside a card in JSON, loaded once; never a pickle, never a
download.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from veridical.errors import FormatError, InputError
from veridical.models.model_card import lacking

FOLDER = SHIPPED = Path(__file__).parent / "files"
Net = TypeVar("Net", bound=nn.Module)


def find(name_or_path: str) -> Path:
    """Return the weights file of a shipped name (`denoiser`) or of a path to a `.safetensors`
    file.
    """
    path = Path(name_or_path)
    if path.suffix != ".safetensors":
        path = FOLDER / f"{name_or_path}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.safetensors"))) or "none"
        raise InputError(
            f"There are no weights at {name_or_path!r}. Shipped: {shipped}. `veridical train "
            "RECIPE.toml` makes new ones."
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
        raise FormatError(
            f"{path.name} is not a whole safetensors file ({error}). Copy or train it again."
        ) from error
    return {key: value.to(torch.float32) for key, value in tensors.items()}


def card(name_or_path: str) -> dict[str, Any]:
    """Read the card: model, net settings, what it was trained on, calibration, scope and scores.

    Raises: FormatError: there is none, it is no JSON, it does not say which model and net the
        weights belong to, or it is of shipped weights and not complete.
    """
    found, path = stored_card(name_or_path), find(name_or_path)
    lacks = lacking(found) if path.parent == SHIPPED else ()
    if lacks:
        raise FormatError(
            f"The shipped weights {path.stem!r} have no complete card; it lacks: "
            f"{'; '.join(lacks)}. Nothing ships without: veridical card {path.stem} --check"
        )
    return found


def stored_card(name_or_path: str) -> dict[str, Any]:
    """Read a card as it is, complete or not; otherwise as `card`."""
    path = find(name_or_path).with_suffix(".json")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"The card {path.name} beside the weights cannot be read ({error}). Restore it or "
            "train again."
        ) from error
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("model"), str)
        or not isinstance(found.get("net"), dict)
    ):
        raise FormatError(
            f"The card {path.name} does not say which 'model' and 'net' the weights belong to. "
            "Restore it or train again."
        )
    return found


def network(model: str, build: Callable[[Mapping[str, Any]], Net], name_or_path: str) -> Net:
    """Build the net that the card describes and fill it with the weights.

    Args:
        model: the name that the card must have.
        build: makes the untrained net from the settings of the card.
        name_or_path: as `find` takes it.

    Raises:
        FormatError: the weights belong to another model, or do not fit their card.
    """
    described = card(name_or_path)
    if described["model"] != model:
        raise FormatError(
            f"{name_or_path!r} holds weights of {described['model']}; expected weights of {model}."
        )
    net = build(described["net"])
    try:
        net.load_state_dict(load(name_or_path))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise FormatError(
            f"The weights {name_or_path!r} do not fit the net of their card ({first}). Restore "
            "both, or train again."
        ) from error
    return net


@cache
def fingerprint(name_or_path: str) -> str:
    """Return the SHA-256 of the weights file, for provenance."""
    return hashlib.sha256(find(name_or_path).read_bytes()).hexdigest()
