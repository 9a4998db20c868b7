"""The processes of one training: one, or as many as `torchrun` starts, each with its device and its
own items.

    torchrun --nproc-per-node 4 -m veridical.apps.cli train RECIPE

Each process draws other items, gradients are averaged after each step, and the first process alone
writes. With several nodes the folder of the run must be one that all of them see.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from veridical.errors import SettingError
from veridical.models.base import pick_device


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Args:
        rank: its number, from 0.
        size: how many there are.
        device: what it computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace the gradients by their mean over all processes; a missing one counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            parameter.grad = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        distributed.all_reduce(flat)
        flat /= self.size
        means = torch.split(flat, [grad.numel() for grad in grads])
        for grad, mean in zip(grads, means, strict=True):
            grad.copy_(mean.view_as(grad))

    def told(self, said: bool) -> bool:
        """Return what the first process says."""
        if self.size == 1:
            return said
        answer = torch.tensor([said], dtype=torch.uint8, device=self.device)
        distributed.broadcast(answer, 0)
        return bool(answer)

    def agree(self, step: int) -> None:
        """Make sure that all processes go on from the same step.

        Raises:
            SettingError: they do not.
        """
        if self.size == 1:
            return
        steps: list[Tensor] = [
            torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(self.size)
        ]
        distributed.all_gather(steps, torch.tensor([step], device=self.device))
        found = sorted({int(one) for one in steps})
        if len(found) > 1:
            raise SettingError(
                f"The processes found checkpoints of the steps {found}; expected the same one. "
                "Write the run into a folder that all nodes see."
            )


@contextmanager
def together(device: str) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, or be the only one, and leave them at the end.

    Args:
        device: as for `pick_device`; on CUDA GPUs each process of a node has its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    place = pick_device(device)
    if size == 1:
        yield Ranks(0, 1, place)
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), size, place)
    finally:
        distributed.destroy_process_group()
