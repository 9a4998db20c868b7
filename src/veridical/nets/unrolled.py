"""An unrolled proximal gradient: data-consistency steps and one shared U-Net in turn.

After Hammernik et al. 2018 (variational network, 10.1002/mrm.26977) and Sriram et al. 2020 (end-to-end VarNet, arXiv
2004.06688); it starts from a short L1-wavelet reconstruction, works on one image per map set (soft SENSE), and shares one
network over all cascades, told which it is in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from veridical.nets.unet import UNet, to_channels, to_complex

Map = Callable[[Tensor], Tensor]
SETS = 2
CONDITIONS = 2


class UnrolledNet(nn.Module):
    """Refine an image by `cascades` steps `x <- x - step A^H(A x - y)`, `x <- x + U-Net(x, gradient, support)`.

    Args:
        cascades: number of steps; the U-Net's condition is `(log noise, log sampled fraction, one-hot cascade)`.
        widths: of the U-Net.
    """

    def __init__(self, cascades: int = 4, widths: tuple[int, ...] = (32, 48, 96)) -> None:
        super().__init__()
        self.cascades = cascades
        self.step = nn.Linear(CONDITIONS + cascades, 1)
        nn.init.zeros_(self.step.weight)
        nn.init.constant_(self.step.bias, -2.0)
        self.gain = nn.Linear(CONDITIONS + cascades, 1)
        nn.init.zeros_(self.gain.weight)
        nn.init.constant_(self.gain.bias, -1.0)
        self.net = UNet(4 * SETS + 1, 2 * SETS, CONDITIONS + cascades, widths)

    def forward(self, normal: Map, target: Tensor, start: Tensor, support: Tensor, condition: Tensor) -> list[Tensor]:
        """Return the image after each cascade, the last being the result.

        Args:
            normal: applies A^H A to `(batch, set, y, x)`.
            target: `A^H y`, `(batch, set, y, x)` complex, in the same scale as `start`.
            start: the classical estimate.
            support: `(batch, 1, y, x)`, the energy of the first set of coil maps: 1 where the object is.
            condition: `(batch, 2)`: log noise level, log sampled fraction.
        """
        image, images = start, []
        for cascade in range(self.cascades):
            which = torch.zeros(image.shape[0], self.cascades, device=image.device)
            which[:, cascade] = 1.0
            told = torch.cat([condition, which], 1)
            gradient = normal(image) - target
            image = image - torch.sigmoid(self.step(told))[..., None, None] * gradient
            inputs = torch.cat([to_channels(image), to_channels(gradient), support], 1)
            image = image + torch.exp(self.gain(told))[..., None, None] * to_complex(self.net(inputs, told))
            images.append(image)
        return images
