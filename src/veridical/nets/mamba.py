"""Mamba on images: patches as tokens, which are read in four directions by a selective state-space
model, in linear time.

Gu and Dao, Mamba: linear-time sequence modeling with selective state spaces (arXiv 2312.00752);
four directions as in VMamba (Liu et al., NeurIPS 2024, arXiv 2401.10166), in the adaLN-Zero blocks
of `dit`. The scan is plain torch: nothing to compile.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.nets.backbone import Backbone
from veridical.nets.dit import PatchTrunk

DIRECTIONS = 4
"""By rows and by columns, forth and back."""
SLOWEST_STEP, FASTEST_STEP = 0.001, 0.1
"""Range of the step sizes that a scan begins with."""


class Mamba(Backbone):
    """Map `(batch, inputs, y, x)` and a condition `(batch, conditions)` to `(batch, outputs, y,
    x)`; any image size.

    Args:
        inputs, outputs: channels.
        conditions: length of the condition vector.
        width: length of a token, a multiple of 4.
        blocks: blocks of a scan in four directions and a perceptron.
        patch: side of a token in pixels.
        state: numbers that a scan remembers for each number of a token.

    Raises:
        SettingError: the width is no multiple of 4, or the patch is smaller than 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conditions: int,
        width: int = 96,
        blocks: int = 4,
        patch: int = 4,
        state: int = 4,
    ) -> None:
        super().__init__()
        self.inputs, self.conditions, self.multiple = inputs, conditions, patch
        mixers: list[nn.Module] = [CrossScan(width, state) for _ in range(blocks)]
        self.trunk = PatchTrunk(inputs, outputs, conditions, width, patch, mixers)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return `(batch, outputs, y, x)`."""
        out: Tensor = self.trunk(x, condition)
        return out


class CrossScan(nn.Module):
    """Every token of a grid `(batch, y, x, width)` sees those before it in four directions.

    Each direction has a selective state space of its own; their sum is gated.
    """

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        self.rank = max(1, math.ceil(width / 16))
        self.enter = nn.Linear(width, 2 * width)
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.select = nn.Parameter(
            torch.randn(DIRECTIONS, width, self.rank + 2 * state) / width**0.5
        )
        self.pace = nn.Parameter(torch.randn(DIRECTIONS, self.rank, width) / self.rank**0.5)
        first = torch.rand(DIRECTIONS, width) * math.log(FASTEST_STEP / SLOWEST_STEP)
        step = SLOWEST_STEP * first.exp()
        self.offset = nn.Parameter(step + (-torch.expm1(-step)).log())  # softplus gives `step`
        decay = torch.arange(1, state + 1).log()[:, None].repeat(DIRECTIONS, 1, width)
        self.log_decay = nn.Parameter(decay)
        self.direct = nn.Parameter(torch.ones(DIRECTIONS, width))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return a grid of that shape."""
        shown, gate = self.enter(tokens).chunk(2, -1)
        shown = functional.silu(self.local(shown.movedim(-1, 1)))
        sequences = crossed(shown).float()  # (token, batch, direction, width)
        chosen = torch.einsum("lbkd,kdc->lbkc", sequences, self.select).contiguous()
        state = (chosen.shape[-1] - self.rank) // 2
        slow, enter, leave = torch.split(chosen, [self.rank, state, state], -1)
        pace = torch.einsum("lbkr,krd->lbkd", slow, self.pace).contiguous()
        step = functional.softplus(pace + self.offset)
        found = selective_scan(sequences, step, -self.log_decay.exp(), enter, leave)
        found = found + self.direct * sequences
        summed = uncrossed(found, tokens.shape[1], tokens.shape[2])
        out: Tensor = self.leave(self.norm(summed) * functional.silu(gate))
        return out


def selective_scan(u: Tensor, step: Tensor, decay: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    """Return `y` with `h[l] = exp(step decay) h[l - 1] + step enter u` and `y[l] = sum(leave h)`.

    Args:
        u: `(token, batch, direction, width)`.
        step: of that shape, positive.
        decay: `(direction, state, width)`, negative.
        enter, leave: `(token, batch, direction, state)`, the paper's B and C.

    Returns:
        The shape of `u`.
    """
    keep = (step[..., None, :] * decay).exp_()
    add = enter[..., None] * (step * u)[..., None, :]
    size = len(u) if u.device.type == "cpu" else math.isqrt(len(u) - 1) + 1
    flat: Tensor = Recurrence.apply(keep.flatten(1), add.flatten(1), size)  # type: ignore[no-untyped-call]
    found: Tensor = (leave[..., None, :] @ flat.view_as(keep))[..., 0, :]
    return found


class Recurrence(torch.autograd.Function):
    """`h[l] = keep[l] h[l - 1] + add[l]` along the first axis, from `h[-1] = 0`.

    Its gradient is the same recurrence backwards, so that nothing is stored but `keep` and `h`.
    """

    @staticmethod
    def forward(ctx: Any, keep: Tensor, add: Tensor, size: int) -> Tensor:
        """Return `h`; all three are `(token, number)`. `size`: see `scan`."""
        hidden = scan(keep, add, size)
        ctx.save_for_backward(keep, hidden)
        ctx.size = size
        return hidden

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of `keep` and `add`."""
        keep, hidden = ctx.saved_tensors
        later = torch.cat([keep[1:], torch.zeros_like(keep[:1])])
        of_add = scan(later, slopes[0], ctx.size, back=True)
        of_keep = torch.zeros_like(keep)
        torch.mul(of_add[1:], hidden[:-1], out=of_keep[1:])
        return of_keep, of_add, None


def scan(keep: Tensor, add: Tensor, size: int, back: bool = False) -> Tensor:
    """Return `h[l] = keep[l] h[l - 1] + add[l]`, or with `h[l + 1]` where it goes back, `(token,
    number)`.

    Chunks of `size` tokens are scanned side by side, then each takes over what the one before ended
    with: `size + token / size` steps in place of `token`, for three times the arithmetic. One chunk
    is best where a step costs little, as on CPUs; the square root of `token` where it costs a
    launch.
    """
    count = -(-len(add) // size)
    missing = count * size - len(add)
    shape = (count, size, add.shape[1])
    if missing:
        keep, add = (functional.pad(part, (0, 0, 0, missing)) for part in (keep, add))
    keeps, adds = keep.reshape(shape), add.reshape(shape)
    hidden = torch.empty_like(adds)
    columns = (part.unbind(1) for part in (keeps, adds, hidden))
    places = list(zip(*columns, strict=True))[:: -1 if back else 1]
    before = places[0][2].copy_(places[0][1])
    for kept, added, now in places[1:]:
        torch.addcmul(added, kept, before, out=now)
        before = now
    if count > 1:
        through = keeps.flip(1).cumprod(1).flip(1) if back else keeps.cumprod(1)
        chunks = list(zip(hidden, through, strict=True))[:: -1 if back else 1]
        for (ended, _), (chunk, kept) in pairwise(chunks):
            chunk.addcmul_(kept, ended[0 if back else -1])
    return hidden.view(-1, add.shape[1])[: len(add) - missing]


def crossed(image: Tensor) -> Tensor:
    """Return a grid `(batch, width, y, x)` as sequences `(token, batch, direction, width)`."""
    rows, columns = image.flatten(2), image.mT.flatten(2)
    forth = torch.stack([rows, columns], 1)
    return torch.cat([forth, forth.flip(-1)], 1).permute(3, 0, 1, 2).contiguous()


def uncrossed(sequences: Tensor, rows: int, columns: int) -> Tensor:
    """Return the sum over directions on the grid, `(batch, y, x, width)`."""
    forth, back = sequences.chunk(2, 2)
    both = (forth + back.flip(0)).permute(1, 2, 0, 3)
    batch, width = len(both), both.shape[-1]
    by_row = both[:, 0].reshape(batch, rows, columns, width)
    by_column = both[:, 1].reshape(batch, columns, rows, width)
    return by_row + by_column.transpose(1, 2)
