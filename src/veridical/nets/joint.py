"""The denoiser of the joint flow: all contrasts of a slice as one state, any of them measured, degraded or missing.

One U-Net is passed once for every channel that is drawn; it sees the states of the others, so that they are drawn together.
What it learns of noise or blur in one channel it knows for all.

x-prediction for rectified flow (Liu et al. 2022, arXiv 2209.03003), started at an anchor as in posterior-mean rectified flow
(Ohayon et al. 2024, arXiv 2410.00418): channel k carries `u_k = (x_k - anchor_k) / level_k`, so that noise has the size of
what is not known yet. The network adds to the best linear estimate of white data, `t x_t / (t^2 + (1 - t)^2)`, an output of
unit variance at every time (Karras et al. 2022, arXiv 2206.00364, section 5, for this path); at t = 0 it is a regressor.
What is known stands beside the state as further channels and as a condition vector.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.nets.unet import UNet

FLAGS = 4
"""What may be said of a channel: missing, degraded, seen under another look, measured. None: not part of the state."""
KINDS = 6
"""How channels may be degraded: noise, blur, thick slices, bias field, ghosts; the last is not in use."""
LOOK = 5
"""Intensity quantiles that describe how a site's contrast looks."""


class JointNet(nn.Module):
    """Predict the clean `u`, `(batch, channel, y, x)` real, from the noisy one at time t (0 noise, 1 data).

    Args:
        channels: names of the contrasts or modalities, in order.
        widths: of the U-Net.
        blocks: residual blocks a level.
        prior_mean, prior_std: of each channel over the foreground of training images: the anchor of a channel that was not
            measured, and the size of what is not known of it.
        dims: 2 for slices, 3 for volumes `(z, y, x)`, which have no neighbours.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        widths: tuple[int, ...] = (48, 64, 128),
        blocks: int = 2,
        prior_mean: tuple[float, ...] = (),
        prior_std: tuple[float, ...] = (),
        dims: int = 2,
    ) -> None:
        super().__init__()
        self.channels, self.dims = tuple(channels), dims
        count = len(self.channels)
        self.prior_mean, self.prior_std = tuple(prior_mean) or (0.4,) * count, tuple(prior_std) or (0.3,) * count
        if not len(self.prior_mean) == len(self.prior_std) == count:
            raise SettingError(f"{count} channels, but {len(self.prior_mean)} means and {len(self.prior_std)} deviations.")
        own = FLAGS + 2 + LOOK
        self.conditions = 1 + count * own + KINDS + 4
        inputs = 3 + count * (4 if dims == 2 else 2) + dims + 1
        self.net = UNet(inputs, 1, self.conditions + count + own, tuple(widths), blocks, embedding=96, dims=dims)

    def forward(self, state: Tensor, around: Tensor, condition: Tensor) -> Tensor:
        """Denoise.

        Args:
            state: `(batch, channel, y, x)`, `(1 - t) noise + t u`; zero in channels that are not drawn.
            around: `(batch, 4 * channel + 3, y, x)`: anchors, hints, the anchors of the slices below and above (not for
                volumes), position, support.
            condition: `(batch, conditions)`; the first is the time.
        """
        slices, channels, where = self._rows(condition)
        time = where[:, 0].reshape(-1, *[1] * (state.ndim - 1))
        power = time.square() + (1 - time).square()
        linear = time / power * state[slices]
        found = self.net(self._inputs(linear, around, slices, channels), where)
        drawn = linear[torch.arange(len(slices)), channels, None] + (1 - time) / power.sqrt() * found
        return torch.zeros_like(state).index_put((slices, channels), drawn[:, 0])

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Leave out the length of a gradient step, which weights have from when the net also followed raw data."""
        for name in ("step.weight", "step.bias"):
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _rows(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return slice and channel of every row, a channel to be drawn of a slice, and the row's condition.

        The condition of a row is that of its slice, which channel it is, and once more what is known of that channel.
        """
        count, batch = len(self.channels), condition.shape[0]
        flags = condition[:, 1 : 1 + count * FLAGS].reshape(batch, count, FLAGS)
        slices, channels = torch.nonzero(flags[..., :-1].sum(-1) > 0, as_tuple=True)
        start = 1 + count * FLAGS
        level = condition[:, start : start + count, None]
        known = condition[:, start + count : start + 2 * count, None]
        look = condition[:, start + 2 * count : start + count * (2 + LOOK)].reshape(batch, count, LOOK)
        own = torch.cat([flags, level, known, look], -1)[slices, channels]
        which = nn.functional.one_hot(channels, count).to(condition.dtype)
        return slices, channels, torch.cat([condition[slices], which, own], 1)

    def _inputs(self, linear: Tensor, around: Tensor, slices: Tensor, channels: Tensor) -> Tensor:
        """Return `(row, inputs, y, x)`: the row's channel, its best linear estimate from the state, anchor and hint; then what
        all channels have: the estimates of the others, anchors and neighbours, position and support.
        """
        count, rows = len(self.channels), torch.arange(len(slices), device=linear.device)
        anchor, hint, rest = around[:, :count], around[:, count : 2 * count], around[:, 2 * count :]
        own = torch.stack([linear[rows, channels], anchor[slices, channels], hint[slices, channels]], 1)
        others = linear.index_put((rows, channels), torch.zeros((), device=linear.device))
        return torch.cat([own, others, anchor[slices], rest[slices]], 1)
