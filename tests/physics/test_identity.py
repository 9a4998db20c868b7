from __future__ import annotations

import torch

from veridical.physics.identity import Identity


def test_everything_is_measured() -> None:
    operator = Identity((2, 5, 6), torch.complex64)
    x = torch.randn(3, 2, 5, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(operator.forward(x), x)
    torch.testing.assert_close(operator.project(x), x)
