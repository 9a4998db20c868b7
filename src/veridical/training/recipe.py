"""A training's recipe: a TOML file with the tables `[model]`, `[data]` and `[training]`, read
strictly.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical import registry
from veridical.errors import FormatError, SettingError, nearest
from veridical.models import weights
from veridical.settings import from_table
from veridical.training.training_data import TrainingData, training_data

PRECISIONS = ("auto", "32", "16-mixed", "bf16-mixed")
FOLDERS = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
"""Where recipes lie that are called by name: in the installed package, and in a checkout."""
TABLES = ("model", "data", "training", "intended_use", "limits", "known_failures", "scope")


@dataclass(frozen=True)
class Training:
    """The `[training]` table."""

    steps: int = 1000
    """Optimizer steps."""
    learning_rate: float = 1e-3
    """Peak learning rate of Adam."""
    warmup: int = 200
    """Steps of linear warm-up."""
    decay_from: float = 0.6
    """Share of the steps after which the rate falls to zero along a cosine."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what is kept."""
    clip: float = 1.0
    """Gradient norm limit."""
    accumulate: int = 1
    """Items (batches of patches) a step on each device; their gradients are averaged."""
    precision: str = "auto"
    """`32`, `16-mixed`, `bf16-mixed`, or `auto`: 32 on the CPU, on a GPU the mixed one that it is
    fast in.
    """
    checkpoint: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of initialization and data."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""
    validate: int = 16
    """Held-out items scored at every checkpoint."""
    workers: int = 1
    """Processes that prepare items; 0 prepares them in the loop. Does not change the result."""
    adapt: str = "all"
    """What is learned: `all` weights; `lora`, low-rank changes of all layers, and biases; `head`,
    the last layer, and biases.
    """
    rank: int = 8
    """Of the changes with `lora`."""
    patience: int = 0
    """Checkpoints without a better validation after which training ends; the best weights are kept.
    0: all steps are made, and the last weights are kept.
    """

    def __post_init__(self) -> None:
        counts = (self.steps, self.checkpoint, self.validate, self.accumulate)
        if min(counts) < 1 or min(self.workers, self.patience) < 0:
            raise SettingError(
                f"steps = {self.steps}, checkpoint = {self.checkpoint}, validate = "
                f"{self.validate}, accumulate = "
                f"{self.accumulate}, workers = {self.workers}, patience = {self.patience}; "
                "expected at least 1 of the first four, and 0 or more of the others."
            )
        if self.precision not in PRECISIONS:
            raise SettingError(
                f"precision = {self.precision!r} is not one. {nearest(self.precision, PRECISIONS)}"
            )


@dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Args:
        name: of the file.
        model: name of the model.
        net: settings of its net.
        data, training: the tables.
        start: weights to start from, by name or path; empty: from scratch.
        limits, intended_use: what the weights are for and what not, in words, for their card.
        known_failures: what is known to go wrong, for the card.
        scope: what the training images look like, in words, where none can be described.
    """

    name: str
    model: str
    net: Mapping[str, Any]
    data: TrainingData
    training: Training
    start: str = ""
    limits: str = ""
    intended_use: str = ""
    known_failures: tuple[str, ...] = ()
    scope: str = ""

    @classmethod
    def read(cls, path: str | Path, folder: str | Path | None = None, start: str = "") -> Recipe:
        """Read a recipe; unknown tables and keys, and values of another type, are refused.

        Args: path: of the file, or the name of a shipped recipe. folder: the folder of images that
            the source `data` of the recipe stands for. start: weights to start from, whatever the
            recipe says; model and net are then those of their card.

        Raises:
            FormatError: the file cannot be read.
            SettingError: a table, key or value is wrong.
            InputError: the weights to start from, or the folder of images, are not there.
        """
        file = find(path)
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise FormatError(f"The recipe {path} cannot be read: {error}.") from error
        for key in tables:
            if key not in TABLES:
                raise SettingError(f"The recipe has no table {key!r}. {nearest(key, TABLES)}")
        net = dict(tables.get("model", {}))
        start = start or net.get("from", "")
        net.pop("from", None)
        model, net = _of_card(start, net) if start else _given(net)
        data = from_table(
            "The recipe's [data] table",
            training_data(registry.get("model", model).learns),
            tables.get("data", {}),
        )
        training = from_table("The recipe's [training] table", Training, tables.get("training", {}))
        return cls(
            file.stem,
            model,
            net,
            data.located(file.parent, folder),
            training,
            start,
            str(tables.get("limits", "")),
            str(tables.get("intended_use", "")),
            _texts("known_failures", tables.get("known_failures", [])),
            str(tables.get("scope", "")),
        )


def _texts(name: str, said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise SettingError(f"The recipe's {name} is {said!r}; expected a list of texts.")
    return tuple(said)


def find(name_or_path: str | Path) -> Path:
    """Return the file of a recipe given by path, or by name when it is a shipped one."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    shipped = {file.stem: file for folder in FOLDERS for file in sorted(folder.glob("*.toml"))}
    if str(name_or_path) not in shipped:
        raise SettingError(
            f"No recipe is called {str(name_or_path)!r}. {nearest(str(name_or_path), shipped)}"
        )
    return shipped[str(name_or_path)]


def _given(net: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if "name" not in net:
        raise SettingError(
            'The recipe\'s [model] table needs a name, for instance name = "denoiser".'
        )
    return net.pop("name"), net


def _of_card(start: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return model and net of the weights to start from; what the recipe says of them must be the
    same.

    What the card does not say may be said by the recipe; whether the weights fit shows when they
    are loaded.
    """
    card = weights.card(start)
    known = {"name": card["model"], **card["net"]}
    for key, value in given.items():
        if known.get(key, value) != value:
            raise SettingError(
                f"The recipe's [model] says {key} = {value!r}, the weights {start!r} have "
                f"{known[key]!r}. "
                "Leave it out: weights to start from bring their own net."
            )
    return card["model"], {key: value for key, value in {**known, **given}.items() if key != "name"}
