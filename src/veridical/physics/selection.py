"""Selection: some channels, contrasts or visits were measured, the others were not."""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.errors import GeometryError
from veridical.physics.linear import LinearOperator


class Selection(LinearOperator):
    """Keep the channels listed in `keep`, in that order.

    Args:
        keep: indices into the channel axis.
        domain: `(channel, ...)`, for instance `(contrast, y, x)` or `(visit, contrast, x, y, z)`.

    Domain as given; range the same with `len(keep)` channels.
    """

    name = "selection"

    def __init__(
        self, keep: tuple[int, ...], domain: tuple[int, ...], dtype: torch.dtype = torch.float32
    ) -> None:
        if not keep or len(set(keep)) != len(keep) or min(keep) < 0 or max(keep) >= domain[0]:
            raise GeometryError(
                f"Selection of {keep} out of {domain[0]} channels; expected different indices "
                f"below {domain[0]}."
            )
        self.keep, self.domain, self.range, self.dtype = (
            tuple(keep),
            tuple(domain),
            (len(keep), *domain[1:]),
            dtype,
        )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the state")
        return x.index_select(-len(self.domain), torch.tensor(self.keep, device=x.device))

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the measured channels")
        axis = -len(self.domain)
        batch = y.shape[: y.ndim - len(self.range)]
        full = torch.zeros(*batch, *self.domain, dtype=y.dtype, device=y.device)
        return full.index_copy(axis, torch.tensor(self.keep, device=y.device), y)

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        return cls((2, 0), (4, 5, 6))
