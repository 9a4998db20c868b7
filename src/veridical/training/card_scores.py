"""Scores of a model card: what trained weights reach on held-out items, with intervals; and cards
of weights that were trained before cards had to say so much.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from veridical import registry
from veridical.errors import SettingError
from veridical.io.guards import write_text
from veridical.models import weights
from veridical.models.model_card import FORMAT, CardScore
from veridical.training.recipe import Recipe
from veridical.training.training_data import Course

LEAST = 5
"""Held-out items below which a mean has no interval worth stating."""
VALIDATION = "validation of the training"
"""Source of these scores."""
UNCALIBRATED = "Not calibrated yet: veridical calibrate has not been run for these weights."


def scores(
    net: nn.Module, unseen: Course[Any], count: int, device: torch.device
) -> list[CardScore]:
    """Return what a network scores on `count` held-out items, with an interval over items; of fewer
    than five items nothing.

    A score called `..net..` has that of the initial estimate, `..start..`, as its baseline.
    """
    items = unseen.scored(net.eval(), count, device)
    patients = [f"{n} of {Path(name).name}" for name, n in unseen.patients().items() if n]
    found = []
    for name, values in items.items():
        if "start" in name or len(values) < LEAST:
            continue
        start = items.get(name.replace("net", "start"), []) if "net" in name else []
        decibel, gray = name.endswith("_db"), name.endswith("_gy")
        found.append(
            CardScore(
                "psnr" if decibel else name,
                "dB" if decibel else "Gy" if gray else "1",
                "lower" if gray else "higher",
                name.removesuffix("net_db").strip("_") or "all",
                f"held-out patients: {', '.join(patients) or 'digital'}",
                len(values),
                "held-out batches",
                round(float(np.mean(values)), 4),
                t_interval(values),
                round(float(np.mean(start)), 4) if start else None,
                VALIDATION,
            )
        )
    return found


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the mean by Student's t, two values or more."""
    from scipy.stats import t

    middle, half = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    half *= float(t.ppf((1 + level) / 2, len(values) - 1))
    return round(middle - half, 4), round(middle + half, 4)


def words(plan: Recipe, parent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe says for the card, or the card of the weights that it starts from."""
    said = {
        "intended_use": plan.intended_use,
        "limits": plan.limits,
        "known_failures": list(plan.known_failures),
        "scope": plan.scope,
    }
    chosen = {key: value or parent.get(key, "") for key, value in said.items()}
    return {key: value for key, value in chosen.items() if value or key == "limits"}


def complete_card(name: str, recipe: str | Path, items: int = 0) -> Path:
    """Add to the card of trained weights what their recipe says, and scores on held-out items.

    Args:
        name: shipped weights, or path of a .safetensors file with its card beside it.
        recipe: by which they were trained, a path or the name of a shipped one.
        items: so many held-out items; those of the recipe when 0.

    Returns:
        The path of the card.

    Raises:
        SettingError: the recipe is that of another model.
        InputError: there are no such weights, or the data of the recipe are not there.
    """
    plan, card = Recipe.read(recipe), weights.stored_card(name)
    if plan.model != card["model"]:
        raise SettingError(
            f"The recipe trains {plan.model}, the weights are of {card['model']}. Give their own."
        )
    model = registry.get("model", plan.model)
    unseen = plan.data.course(model, card["net"], plan.training.seed, True)
    unseen.learned(card)
    net = model.build(card["net"])
    net.load_state_dict(weights.load(name))
    count = items or plan.training.validate
    found = [asdict(score) for score in scores(net, unseen, count, torch.device("cpu"))]
    others = [one for one in card.get("scores", ()) if one.get("source") != VALIDATION]
    new = {"format": FORMAT, "model": card["model"], "net": card["net"], **words(plan, card)}
    new["scores"] = [*others, *found]
    if not card.get("calibration"):
        new["uncalibrated"] = card.get("uncalibrated", UNCALIBRATED)
    path = weights.find(name).with_suffix(".json")
    write_text(
        path, json.dumps(new | {k: v for k, v in card.items() if k not in new}, indent=2) + "\n"
    )
    return path
