"""The denoiser of the flow: predicts the clean residual image from the noisy one, an anchor and the measurement.

x-prediction for rectified flow (Liu et al. 2022, arXiv 2209.03003; Lipman et al. 2022, arXiv 2210.02747), started at an
estimate of the posterior mean as in posterior-mean rectified flow (Ohayon et al. 2024, arXiv 2410.00418): what flows is
`u = (x - anchor) / scale`, so that the noise has the size of what is not known yet, and few steps suffice. It ends in one
data-consistency step of learned length, so that what was measured is not left to the network alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from veridical.nets.unet import UNet, to_channels, to_complex

SETS = 2
CONTRASTS = 6
CONDITIONS = 4 + CONTRASTS


class FlowNet(nn.Module):
    """Predict the clean `u`, `(batch, set, y, x)` complex, from the noisy one at time t (0 noise, 1 data).

    Args:
        widths: of the U-Net.
        anchor: weights of the unrolled model whose result is the anchor.
        error: coefficients of the log error level of that anchor: constant, log noise, log sampled fraction, log size of
            what the unrolled model changed.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 64, 128),
        anchor: str = "unrolled",
        error: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
    ) -> None:
        super().__init__()
        self.anchor, self.error = anchor, tuple(error)
        self.net = UNet(6 * SETS + 1, 2 * SETS, CONDITIONS, tuple(widths))
        self.keep = nn.Linear(CONDITIONS, 1)
        self.step = nn.Linear(CONDITIONS, 1)
        for layer in (self.keep, self.step):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, -2.0)

    def forward(
        self,
        state: Tensor,
        anchor: Tensor,
        hint: Tensor,
        support: Tensor,
        condition: Tensor,
        gradient: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Denoise.

        Args:
            state: `(batch, set, y, x)` complex, `(1 - t) noise + t u`.
            anchor: the estimate that u is measured from, same shape; zero when nothing was measured.
            hint: what the unrolled model changed, in units of the scale, same shape: large where it is less sure.
            support: `(batch, 1, y, x)`: where the object is.
            condition: `(batch, 4 + contrasts)`: t, log noise, log sampled fraction, 1 if anything was measured, and the
                contrast one-hot.
            gradient: maps a u to the gradient of the data's misfit, in units of the scale; None when nothing was measured.
        """
        inputs = torch.cat([to_channels(state), to_channels(anchor), to_channels(hint), support], 1)
        kept = torch.sigmoid(self.keep(condition))[..., None, None]
        image = kept * state + to_complex(self.net(inputs, condition))
        if gradient is None:
            return image
        return image - torch.sigmoid(self.step(condition))[..., None, None] * gradient(image)
