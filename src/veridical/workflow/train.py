"""Training: one readable loop. Step number and seed decide the data, so a killed run resumes to the same weights.

A recipe is a TOML file: `[model]` (name, and settings of the net), `[data]` (weights of the sources, held-out patients) and
`[training]`. Every `checkpoint` steps, the net, its moving average and the optimizer's state are written beside the log.
"""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical import registry
from veridical.datasets import pool
from veridical.errors import FormatError, SettingError, nearest
from veridical.io.guards import replacing
from veridical.models.base import ImageModel, Trainable, pick_device
from veridical.task import Progress, silent
from veridical.workflow.course import Course, Data
from veridical.workflow.image_course import ImageCourse
from veridical.workflow.scan_course import ScanCourse

LIMITS = (
    "Cartesian MR slices of heads, and a few of limbs; not for diagnosis. Other anatomy, contrasts, patterns and noise levels "
    "than those rehearsed are outside of what it knows, and the scope check does not find all of them."
)
T = TypeVar("T")


@dataclass(frozen=True)
class Training:
    """The `[training]` table."""

    steps: int = 1000
    """Scans seen; one optimizer step each."""
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
    checkpoint: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of initialization and data."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    validate: int = 16
    """Held-out scans scored at every checkpoint."""
    workers: int = 1
    """Processes that prepare scans; 0 prepares them in the loop. Does not change the result."""

    def __post_init__(self) -> None:
        if min(self.steps, self.checkpoint, self.validate) < 1 or self.workers < 0:
            raise SettingError(
                f"steps = {self.steps}, checkpoint = {self.checkpoint}, validate = {self.validate}, workers = {self.workers}; "
                "expected at least 1 of the first three, and 0 or more workers."
            )


@dataclass(frozen=True)
class Recipe:
    """A whole recipe."""

    name: str
    model: str
    net: Mapping[str, Any]
    data: Data
    training: Training

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe; unknown tables and keys, and values of another type, are refused."""
        try:
            tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise FormatError(f"The recipe {path} cannot be read: {error}.") from error
        for key in tables:
            if key not in ("model", "data", "training"):
                raise SettingError(f"The recipe has no table {key!r}. {nearest(key, ('model', 'data', 'training'))}")
        net = dict(tables.get("model", {}))
        if "name" not in net:
            raise SettingError('The recipe\'s [model] table needs a name, for instance name = "unrolled".')
        model = net.pop("name")
        return cls(
            Path(path).stem, model, net, _table(Data, tables.get("data", {})), _table(Training, tables.get("training", {}))
        )


def train(recipe: str | Path, out: str | Path, resume: bool = False, progress: Progress = silent) -> Path:
    """Train a model by a recipe.

    Args:
        recipe: path of the TOML file.
        out: folder for checkpoints, log and the final weights; made when missing.
        resume: go on from the last checkpoint in `out`; without one it starts anew.
        progress: called as work goes on.

    Returns:
        The path of the weights (`NAME.safetensors`, half precision, with its card `NAME.json` beside it).
    """
    plan = Recipe.read(Path(recipe))
    model: type[Trainable | ImageModel] = registry.get("model", plan.model)
    if not issubclass(model, Trainable | ImageModel):
        raise SettingError(f"{plan.model} has nothing to train.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(plan, model, folder)
    if resume:
        run.restore()
    run.loop(progress)
    return run.finish()


class Run:
    """The state of one training run."""

    def __init__(self, plan: Recipe, model: type[Trainable | ImageModel], folder: Path) -> None:
        self.plan, self.model, self.folder = plan, model, folder
        self.device = pick_device(plan.training.device)
        torch.manual_seed(plan.training.seed)
        self.net = model.build(plan.net).to(self.device)
        self.average = {key: value.detach().clone() for key, value in self.net.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=plan.training.learning_rate, betas=(0.9, 0.99))
        self.step, self.seconds = 0, 0.0
        self.source, self.unseen = (course(model, self.net, plan, validation) for validation in (False, True))

    def loop(self, progress: Progress) -> None:
        """Train up to the recipe's number of steps."""
        self.forget()
        settings, losses, since = self.plan.training, [], time.perf_counter()
        for item in self.source.loader(range(self.step, settings.steps), settings.workers):
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate(self.step, settings)
            losses.append(self.update(item))
            self.step += 1
            if self.step % settings.checkpoint == 0 or self.step == settings.steps:
                self.seconds += time.perf_counter() - since
                self.log(float(np.mean(losses)))
                self.save()
                losses, since = [], time.perf_counter()
            progress(f"training {self.plan.name}", self.step, settings.steps)

    def update(self, item: Any) -> float:
        """One optimizer step and one step of the moving average; returns the loss."""
        generator = torch.Generator().manual_seed(self.plan.training.seed * 1_000_003 + self.step)
        total = 0.0
        self.optimizer.zero_grad(set_to_none=True)
        for loss in self.source.losses(self.net, item, generator, self.device):
            torch.autograd.backward(loss)
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.plan.training.clip)
        self.optimizer.step()
        decay = min(self.plan.training.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.net.state_dict().items():
                self.average[key].lerp_(value, 1 - decay)
        return total

    def log(self, loss: float) -> None:
        """Validate the moving average on held-out scans and append one line of JSON to the log."""
        net = self.model.build(self.plan.net).to(self.device)
        net.load_state_dict(self.average)
        scores = self.unseen.validate(net.eval(), self.plan.training.validate, self.device)
        line = {"step": self.step, "seconds": round(self.seconds, 1), "loss": round(loss, 5), **scores}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget(self) -> None:
        """Drop the lines of the log that lie beyond the step at which training goes on."""
        path = self.folder / "log.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        if len(kept) < len(lines):
            write_text(path, "".join(f"{line}\n" for line in kept))

    def save(self) -> None:
        """Write a checkpoint: a temporary name first, then renamed."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        meta = {"step": str(self.step), "seconds": str(self.seconds)}
        write_tensors(self.folder / "checkpoint.safetensors", tensors, meta)

    def restore(self) -> None:
        """Go back to the last checkpoint, if there is one.

        Raises:
            FormatError: it is damaged, or of another net.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / "checkpoint.safetensors"
        if not path.is_file():
            return
        try:
            with safe_open(path, "pt") as file:
                meta = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.net.load_state_dict(_under(tensors, "net."))
        except (SafetensorError, RuntimeError) as error:
            last = str(error).splitlines()[-1].strip()
            raise FormatError(
                f"The checkpoint {path} is damaged or of another net than the recipe's ({last}). "
                "Train without --resume, or into another folder."
            ) from error
        self.average = {key: value.to(self.device) for key, value in _under(tensors, "average.").items()}
        state = self.optimizer.state_dict()
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, "adam.").items():
            index, _, name = key.partition(".")
            slots.setdefault(int(index), {})[name] = value
        state["state"] = slots
        self.optimizer.load_state_dict(state)
        self.step, self.seconds = int(meta["step"]), float(meta["seconds"])

    def finish(self) -> Path:
        """Write the averaged weights in half precision and the card."""
        path = self.folder / f"{self.plan.name}.safetensors"
        write_tensors(path, {key: value.half() for key, value in self.average.items()}, {})
        lines = (self.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        card = {
            "model": self.plan.model,
            "net": dict(self.plan.net),
            "data": asdict(self.plan.data),
            "licences": {name: pool.LICENCES[name] for name in self.plan.data.sources},
            "limits": LIMITS,
            "training": asdict(self.plan.training),
            "seconds": round(self.seconds),
            "validation": json.loads(lines[-1]),
        }
        write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
        return path


def course(model: type[Trainable | ImageModel], net: nn.Module, plan: Recipe, validation: bool) -> Course[Any]:
    """Return what a model of this kind is trained, or validated, on."""
    if issubclass(model, ImageModel):
        return ImageCourse(model, net, plan.data, plan.training.seed, validation)
    return ScanCourse(model, plan.data, plan.training.seed, validation)


def rate(step: int, settings: Training) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, constant, cosine to zero."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    begin = settings.decay_from * settings.steps
    late = max(0.0, (step - begin) / max(1.0, settings.steps - begin))
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, str]) -> None:
    """Write a safetensors file under a temporary name, then rename it."""
    from safetensors.torch import save_file

    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata=dict(meta))


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _table(cls: type[T], values: Mapping[str, Any]) -> T:
    name, usual = cls.__name__.lower(), cls()
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key, value in given.items():
        if key not in known:
            raise SettingError(f"The recipe's [{name}] table has no key {key!r}. {nearest(key, known)}")
        kind = type(getattr(usual, key))
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise SettingError(
                f"The recipe's [{name}] {key} = {value!r}; expected {kind.__name__}, such as {getattr(usual, key)!r}."
            )
    return cls(**given)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
