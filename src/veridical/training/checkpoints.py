"""What a training run writes: tensors, texts, and checkpoints to go on from; a temporary name
first, then renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from veridical.errors import FormatError, InputError
from veridical.io.guards import replacing

FILE = "checkpoint.safetensors"
LOCK = "train.pid"


@dataclass(frozen=True, eq=False)
class State:
    """All that a run goes on from.

    Args:
        net: what is trained.
        average: moving average of its tensors, by their names.
        optimizer: Adam.
        scaler: of the gradients in half precision.
    """

    net: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def save(self, folder: Path, step: int, seconds: float) -> None:
        """Write a checkpoint."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        meta = {
            "step": str(step),
            "seconds": str(seconds),
            "scaler": json.dumps(self.scaler.state_dict()),
        }
        write_tensors(folder / FILE, tensors, meta)

    def restore(self, folder: Path) -> tuple[int, float]:
        """Go back to the last checkpoint; returns step and seconds, both zero where there is none.

        Raises:
            FormatError: it is damaged, or of another net.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / FILE
        if not path.is_file():
            return 0, 0.0
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
        for key, value in _under(tensors, "average.").items():
            self.average[key].copy_(value)
        state = self.optimizer.state_dict()
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, "adam.").items():
            index, _, name = key.partition(".")
            slots.setdefault(int(index), {})[name] = value
        state["state"] = slots
        self.optimizer.load_state_dict(state)
        if scale := json.loads(meta.get("scaler", "{}")):
            self.scaler.load_state_dict(scale)
        return int(meta["step"]), float(meta["seconds"])


def step_of(folder: Path) -> int:
    """Return the step of the checkpoint in a folder, 0 where there is none.

    Raises:
        FormatError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            return int(file.metadata()["step"])
    except (SafetensorError, KeyError, TypeError) as error:
        raise FormatError(
            f"The checkpoint {path} is damaged ({error}). Remove it, or train into another folder."
        ) from error


@contextmanager
def claimed(folder: Path, first: bool = True) -> Iterator[None]:
    """Keep other processes from training in a folder; `train.pid` in it says who does.

    The claim is a lock on that file, which ends with the process however that ends.

    Args:
        folder: of the run.
        first: whether this process is the first of its ranks, which claims for all.

    Raises:
        InputError: another process has it.
    """
    if not first:
        yield
        return
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _locked(file):
            raise InputError(
                f"Process {owner(folder)} trains in {folder} already. Wait for it, end it, or "
                "train into another folder."
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


def owner(folder: Path) -> str:
    """Return the number of the process that trains in a folder; empty where none does."""
    path = folder / LOCK
    if not path.is_file():
        return ""
    with path.open("r+", encoding="utf-8") as file:
        return "" if _locked(file) else file.read().strip()


def _locked(file: IO[str]) -> bool:
    """Lock an open file until it is closed; False where another has locked it. Where the system has
    no locks, nobody has.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log."""
    path = folder / "log.jsonl"
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, str]) -> None:
    """Write a safetensors file under a temporary name, then rename it."""
    from safetensors.torch import save_file

    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata=dict(meta))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
