"""The denoiser of the flow: predicts the clean image from the noisy state, a classical estimate and the measurement.

x-prediction for rectified flow (Liu et al. 2022, arXiv 2209.03003; Lipman et al. 2022, arXiv 2210.02747). It ends in one
data-consistency step of learned length, so that what was measured is not left to the network alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from veridical.nets.unet import UNet, to_channels, to_complex

SETS = 2
CONTRASTS = 6


class FlowNet(nn.Module):
    """Predict the clean image `(batch, set, y, x)` from the state at time t (0 noise, 1 data).

    Args:
        widths: of the U-Net.
        start: weights of the unrolled model whose result is the classical estimate; empty for the estimate of the scan.
    """

    def __init__(self, widths: tuple[int, ...] = (48, 64, 128), start: str = "") -> None:
        super().__init__()
        self.start = start
        conditions = 4 + CONTRASTS
        self.net = UNet(4 * SETS + 1, 2 * SETS, conditions, tuple(widths))
        self.step = nn.Linear(conditions, 1)

    def forward(
        self, state: Tensor, start: Tensor, support: Tensor, condition: Tensor, gradient: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        """Denoise.

        Args:
            state: `(batch, set, y, x)` complex, `(1 - t) noise + t x`.
            start: the classical estimate, same shape; zero when nothing was measured.
            support: `(batch, 1, y, x)`: where the object is.
            condition: `(batch, 4 + contrasts)`: t, log noise, log sampled fraction, 1 if anything was measured, contrast one-hot.
            gradient: maps an image to `A^H (A x - y)`; None when nothing was measured.
        """
        inputs = torch.cat([to_channels(state), to_channels(start), support], 1)
        image = start + to_complex(self.net(inputs, condition))
        if gradient is None:
            return image
        length = torch.sigmoid(self.step(condition))[..., None, None]
        return image - length * gradient(image)
