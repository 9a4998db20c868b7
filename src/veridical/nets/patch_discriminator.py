"""A patch discriminator: says of every patch of an image, given what was measured, how real it
looks.

Isola, Zhu, Zhou and Efros, Image-to-image translation with conditional adversarial networks, CVPR
2017 (arXiv 1611.07004). No normalization, as in the generator, so that intensities count. Scores
have no offset: they count against those of another image.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Map `(batch, inputs, y, x)` to scores `(batch, 1, y', x')`, one for every fourth pixel; high
    is real.

    Args: inputs: channels, those of the condition included. widths: channels of the convolutions;
        the first two halve the grid, each score sees 26 x 26 pixels for three of them.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise((inputs, *widths))):
            stride = 2 if index < 2 else 1
            layers += [
                nn.Conv2d(before, after, 4 if stride == 2 else 3, stride, 1),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.layers(image)
        return scores
