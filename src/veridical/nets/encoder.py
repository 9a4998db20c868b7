"""An encoder of images into a grid of latents, one cell for every 4 x 4 pixels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

SHRINK = 4
"""Side in pixels of a cell."""


class Encoder(nn.Module):
    """Map `(batch, inputs, y, x)` to `(batch, outputs, y / 4, x / 4)`, rounded up; no
    normalization, so that intensities count.

    Args:
        inputs, outputs: channels.
        width: channels in between; twice as many on the coarse grid.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4 * inputs, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, outputs, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the latents."""
        rows, columns = image.shape[-2:]
        whole = functional.pad(image, (0, -columns % SHRINK, 0, -rows % SHRINK))
        found: Tensor = self.layers(functional.pixel_unshuffle(whole, 2))
        return found
