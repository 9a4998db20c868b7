"""The loop of training. Item number and seed decide the data, so a killed run resumes to the same
weights.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.io.guards import write_text
from veridical.models import weights
from veridical.models.base import Model
from veridical.nets import lora
from veridical.task import Progress
from veridical.training import curves, stopping
from veridical.training.checkpoints import State, log_lines, write_tensors
from veridical.training.distributed import Ranks
from veridical.training.recipe import Recipe, Training

SMOOTH = 0.98
"""Of the loss that the progress bar shows."""


class Run:
    """The state of one training run.

    Args:
        plan: the recipe.
        model: what is trained.
        folder: for checkpoints and log.
        ranks: this process among all.
    """

    def __init__(self, plan: Recipe, model: type[Model], folder: Path, ranks: Ranks) -> None:
        self.plan, self.model, self.folder, self.ranks = plan, model, folder, ranks
        torch.manual_seed(plan.training.seed)
        net = model.build(plan.net)
        if plan.start:
            self._start(net)
        self.net = lora.adapt(net.to(ranks.device), plan.training.adapt, plan.training.rank)
        self.learned = lora.learned(self.net)
        self.precision = precision(plan.training.precision, ranks.device)
        self.state = State(
            self.net,
            {key: value.clone() for key, value in lora.merged(self.net).items()},
            torch.optim.Adam(self.learned, lr=plan.training.learning_rate, betas=(0.9, 0.99)),
            torch.amp.GradScaler(ranks.device.type, enabled=self.precision is torch.float16),
        )
        self.step, self.seconds = 0, 0.0
        self.source, self.unseen = (
            plan.data.course(model, plan.net, plan.training.seed, validation)
            for validation in (False, True)
        )
        if not plan.start:
            self.source.begin(self.net)
            for key, value in lora.merged(self.net).items():
                self.state.average[key].copy_(value)
        self.facts = self.fitted()
        self.unseen.learned(self.facts)

    def fitted(self) -> dict[str, Any]:
        """Return what is fitted to the training patients before training, for the card."""
        return self.source.facts()

    def _start(self, net: nn.Module) -> None:
        try:
            net.load_state_dict(weights.load(self.plan.start))
        except RuntimeError as error:
            last = str(error).splitlines()[-1].strip()
            raise SettingError(
                f"The weights {self.plan.start!r} do not fit the net of the recipe's [model] "
                f"({last}). Leave its settings out: "
                "weights to start from bring their own net."
            ) from error

    def restore(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        self.step, self.seconds = self.state.restore(self.folder)
        self.ranks.agree(self.step)

    def items(self) -> list[int]:
        """Return the numbers of the items that this process still learns from: in each step every
        process has its own.
        """
        settings, count = self.plan.training, self.ranks.size
        first, last = self.step * settings.accumulate, settings.steps * settings.accumulate
        return [part * count + self.ranks.rank for part in range(first, last)]

    def loop(self, progress: Progress) -> None:
        """Train up to the recipe's number of steps, or until validation is no longer better."""
        settings, losses, shown = self.plan.training, [], math.nan
        if self.ranks.first:
            self.forget()
            if self.plan.start and self.step == 0:
                self.log(None)
        numbers = self.items()
        items = iter(self.source.loader(numbers, settings.workers))
        since = begun = time.perf_counter()
        first = self.step
        while self.step < settings.steps:
            at = (self.step - first) * settings.accumulate
            parts = [(number, next(items)) for number in numbers[at : at + settings.accumulate]]
            losses.append(self.update(parts))
            self.step += 1
            shown = losses[-1] if math.isnan(shown) else SMOOTH * shown + (1 - SMOOTH) * losses[-1]
            if self.step % settings.checkpoint == 0 or self.step == settings.steps:
                self.seconds += time.perf_counter() - since
                if self.ranks.first:
                    self.log(float(np.mean(losses)))
                    self.state.save(self.folder, self.step, self.seconds)
                if self.ranks.told(self.ranks.first and self.spent()):
                    break
                losses, since = [], time.perf_counter()
            speed = (self.step - first) / (time.perf_counter() - begun)
            progress(
                f"training {self.plan.name}: loss {shown:.3g}, {speed:.2g} steps/s",
                self.step,
                settings.steps,
            )

    def update(self, parts: list[tuple[int, Any]]) -> float:
        """One optimizer step on numbered items and one step of the moving average; returns the
        loss.
        """
        settings, state = self.plan.training, self.state
        for group in state.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(self.step, settings)
        state.optimizer.zero_grad(set_to_none=True)
        total = sum(self._learn(number, item) for number, item in parts) / len(parts)
        self.ranks.average(self.learned)
        state.scaler.unscale_(state.optimizer)
        torch.nn.utils.clip_grad_norm_(self.learned, settings.clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        decay = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in lora.merged(self.net).items():
                state.average[key].lerp_(value, 1 - decay)
        return total

    def _learn(self, number: int, item: Any) -> float:
        """Add the gradients of one item; returns its loss."""
        generator = torch.Generator().manual_seed(self.plan.training.seed * 1_000_003 + number)
        losses, total = self.source.losses(self.net, item, generator, self.ranks.device), 0.0
        while True:
            with self._cast():
                loss: Tensor | None = next(losses, None)
            if loss is None:
                return total
            torch.autograd.backward(self.state.scaler.scale(loss / self.plan.training.accumulate))
            total += float(loss.detach())

    def _cast(self) -> AbstractContextManager[Any]:
        return torch.autocast(
            self.ranks.device.type, self.precision, enabled=self.precision is not torch.float32
        )

    def log(self, loss: float | None) -> None:
        """Validate the moving average on held-out items, append one line of JSON to the log, and
        draw the curves anew.

        Args:
            loss: mean since the last line; None before the first step.
        """
        settings = self.plan.training
        net = self.model.build(self.plan.net).to(self.ranks.device)
        net.load_state_dict(self.state.average)
        scores = self.unseen.validate(net.eval(), settings.validate, self.ranks.device)
        trained = {} if loss is None else {"loss": round(loss, 5)}
        line = {"step": self.step, "seconds": round(self.seconds, 1), **trained, **scores}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if settings.patience and stopping.stale(log_lines(self.folder)) == 0:
            write_tensors(self.folder / stopping.BEST, self.state.average, {})
        curves.draw(self.folder, self.plan.name, settings.steps)

    def spent(self) -> bool:
        """Say whether validation was no longer better for as long as the recipe's patience."""
        patience = self.plan.training.patience
        return patience > 0 and stopping.stale(log_lines(self.folder)) >= patience

    def kept(self) -> dict[str, Tensor]:
        """Return the weights that training ends with: the best averaged ones where it may stop
        early, else the last.
        """
        if not self.plan.training.patience:
            return self.state.average
        return weights.load(str(self.folder / stopping.BEST))

    def forget(self) -> None:
        """Drop the lines of the log that lie beyond the step at which training goes on."""
        lines = log_lines(self.folder)
        kept = [line for line in lines if 0 < self.step >= line["step"]]
        if len(kept) < len(lines):
            write_text(self.folder / "log.jsonl", "".join(f"{json.dumps(line)}\n" for line in kept))


def precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type that a net computes in: float32 on the CPU by default, a half precision that
    the GPU is fast in.
    """
    if name == "auto" and device.type == "cuda":
        return (
            torch.bfloat16
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float16
        )
    return {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(name, torch.float32)


def rate(step: int, settings: Training) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, constant, cosine to
    zero.
    """
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    begin = settings.decay_from * settings.steps
    late = max(0.0, (step - begin) / max(1.0, settings.steps - begin))
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))
