"""Training: one readable loop. Step number and seed decide the data, so a killed run resumes to the same weights.

A recipe is a TOML file: `[model]` (name, and settings of the net), `[data]` (weights of the sources, held-out patients) and
`[training]`. Every `checkpoint` steps, the net, its moving average and the optimizer's state are written beside the log.
"""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical import registry
from veridical.datasets import pool
from veridical.datasets.cohort import Cohort
from veridical.datasets.mri_rehearsal import Rehearsal, rehearse
from veridical.datasets.rendering import render
from veridical.datasets.scanners import CONTRASTS
from veridical.errors import FormatError, SettingError, nearest
from veridical.io.guards import replacing
from veridical.models.base import Trainable, pick_device
from veridical.models.prepared_scan import Scan, prepare, root_sum_of_squares
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.task import Progress, silent

SOURCES = ("cohort", "openms", "ixi", "sarcoma")
STRIP = 96
LIMITS = (
    "Cartesian MR slices of heads, and a few of limbs; not for diagnosis. Other anatomy, contrasts, patterns and noise levels "
    "than those rehearsed are outside of what it knows, and the scope check does not find all of them."
)
VALIDATION_COHORT = 1_000_000
T = TypeVar("T")
Piece = tuple[Scan, Tensor, str]
"""A prepared scan or strip, its truth in the scan's units, and its contrast."""


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
class Data:
    """The `[data]` table."""

    sources: Mapping[str, float] = field(default_factory=lambda: {"cohort": 1.0})
    """Source -> weight. `cohort`, `openms`, `ixi`, `sarcoma`."""
    held_out: tuple[str, ...] = ()
    """Patients of the real sets that are only validated on."""


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
    model: type[Trainable] = registry.get("model", plan.model)
    if not issubclass(model, Trainable):
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

    def __init__(self, plan: Recipe, model: type[Trainable], folder: Path) -> None:
        self.plan, self.model, self.folder = plan, model, folder
        self.device = pick_device(plan.training.device)
        torch.manual_seed(plan.training.seed)
        self.net = model.build(plan.net).to(self.device)
        self.average = {key: value.detach().clone() for key, value in self.net.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=plan.training.learning_rate, betas=(0.9, 0.99))
        self.step, self.seconds = 0, 0.0
        self.source = Source(plan.data, plan.training.seed)
        self.unseen = Source(plan.data, plan.training.seed, validation=True)

    def loop(self, progress: Progress) -> None:
        """Train up to the recipe's number of steps."""
        self.forget()
        settings, losses, since = self.plan.training, [], time.perf_counter()
        for pieces in self.source.loader(range(self.step, settings.steps), settings.workers):
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate(self.step, settings)
            losses.append(self.update(pieces))
            self.step += 1
            if self.step % settings.checkpoint == 0 or self.step == settings.steps:
                self.seconds += time.perf_counter() - since
                self.log(float(np.mean(losses)))
                self.save()
                losses, since = [], time.perf_counter()
            progress(f"training {self.plan.name}", self.step, settings.steps)

    def update(self, pieces: Sequence[Piece]) -> float:
        """One scan, one optimizer step, one step of the moving average; returns the loss."""
        generator = torch.Generator().manual_seed(self.plan.training.seed * 1_000_003 + self.step)
        total = 0.0
        self.optimizer.zero_grad(set_to_none=True)
        for scan, truth, contrast in pieces:
            loss = self.model.objective(self.net, scan.to(self.device), truth.to(self.device), contrast, generator) / len(
                pieces
            )
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
        scores = validate(self.model, net.eval(), self.unseen, self.plan.training.validate, self.device)
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
            "data": {"sources": dict(self.plan.data.sources), "held_out": list(self.plan.data.held_out)},
            "licences": {name: pool.LICENCES[name] for name in self.plan.data.sources},
            "limits": LIMITS,
            "training": asdict(self.plan.training),
            "seconds": round(self.seconds),
            "validation": json.loads(lines[-1]),
        }
        write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
        return path


class Source(torch.utils.data.Dataset[list[Piece]]):
    """Draws rehearsed scans from the mixed sources by step number."""

    def __init__(self, data: Data, seed: int, validation: bool = False) -> None:
        self.seed, self.validation = seed, validation
        self.cohort = refuse_testing_only(Cohort(seed + VALIDATION_COHORT * validation))
        for name, weight in data.sources.items():
            if name not in SOURCES or not weight > 0:
                raise SettingError(
                    f"The recipe trains on {name!r} with weight {weight}; expected a known source and a weight above 0. "
                    f"{nearest(name, SOURCES)}"
                )
        real = [name for name in sorted(data.sources) if name != "cohort"]
        self.pools = {name: pool.load(name, data.held_out, validation) for name in real}
        self.names = [name for name in sorted(data.sources) if name == "cohort" or self.pools[name]]
        weights = np.array([data.sources[name] for name in self.names], dtype=float)
        self.weights = weights / weights.sum()

    def __getitem__(self, step: int) -> list[Piece]:
        rehearsal, rng = self.draw(step)
        return cut(rehearsal, rng)

    def loader(self, steps: range, workers: int) -> Iterable[list[Piece]]:
        """Return the pieces of these steps in order, prepared by other processes while the net trains."""
        if workers == 0:
            return (self[step] for step in steps)
        return torch.utils.data.DataLoader(self, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=4)

    def draw(self, step: int) -> tuple[Rehearsal, np.random.Generator]:
        """Return the scan of a step; the same step gives the same scan."""
        rng = np.random.default_rng([self.seed, step, int(self.validation)])
        name = self.names[int(rng.choice(len(self.names), p=self.weights))]
        if name == "cohort":
            contrast = CONTRASTS[int(rng.integers(len(CONTRASTS)))]
            image = render(self.cohort.slice(step, pathology=None), contrast)
            return rehearse(image / np.percentile(image[image > 0.1 * image.max()], 98), contrast, rng), rng
        chosen = self.pools[name][int(rng.integers(len(self.pools[name])))]
        return rehearse(chosen.image.astype(np.float32), chosen.contrast, rng), rng


def refuse_testing_only(cohort: Cohort) -> Cohort:
    """Return the cohort, or refuse: what is kept for testing must not train."""
    if cohort.testing_only:
        raise SettingError(f"{type(cohort).__name__} is for testing only. Train on Cohort.")
    return cohort


def cut(rehearsal: Rehearsal, rng: np.random.Generator) -> list[Piece]:
    """Prepare a rehearsed scan; where whole lines were sampled, cut two strips along the readout to save time."""
    scan = prepare(rehearsal.kspace, rehearsal.mask, rehearsal.maps, rehearsal.sigma)
    truth = rehearsal.truth / scan.scale
    rows = rehearsal.mask.shape[0]
    if not rehearsal.linewise or rows <= STRIP:
        return [(scan, truth, rehearsal.contrast)]
    pieces = []
    inside = torch.where(scan.support[0].mean(-1) > 0.2)[0]
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, rows)
    low, high = min(first, rows - STRIP), max(first, min(last, rows) - STRIP)
    for start in rng.integers(low, max(low, high) + 1, 2):
        part = rehearsal.strip(int(start), STRIP)
        where = slice(int(start), int(start) + STRIP)
        operator = CartesianMRI(part.mask, part.maps)
        piece = Scan(
            operator, part.kspace / scan.scale, scan.start[..., where, :], scan.sigma, scan.scale, scan.support[..., where, :]
        )
        pieces.append((piece, truth[..., where, :], rehearsal.contrast))
    return pieces


def validate(model: type[Trainable], net: nn.Module, source: Source, count: int, device: torch.device) -> dict[str, float]:
    """Return the mean PSNR in dB (peak: the 99th percentile, 1) of the start and of the net on `count` fixed scans."""
    gains: list[float] = []
    starts: list[float] = []
    for index in range(count):
        rehearsal, _ = source.draw(index)
        scan = prepare(rehearsal.kspace, rehearsal.mask, rehearsal.maps, rehearsal.sigma).to(device)
        truth = root_sum_of_squares(rehearsal.truth.to(device) / scan.scale)
        inside = scan.support[0] > 0.5
        for image, into in ((scan.start, starts), (model.predict(net, scan, rehearsal.contrast), gains)):
            error = (root_sum_of_squares(image) - truth)[inside].square().mean().clamp_min(1e-12)
            into.append(-10 * math.log10(float(error)))
    return {"start_db": round(float(np.mean(starts)), 3), "net_db": round(float(np.mean(gains)), 3)}


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
