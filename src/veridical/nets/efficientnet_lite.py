"""EfficientNet-lite0: EfficientNet-B0 (Tan and Le, ICML 2019, arXiv 1905.11946), no
squeeze-and-excitation, ReLU6 for swish.

As the lite models of the TensorFlow TPU repository. Parts are defined in the order in which those
weights are stored.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride of the first block, channels and number of blocks of each stage."""
STEM, FEATURES, CLASSES = 32, 1280, 1000
SIZE = 224
"""Width and height of the images that it was trained on."""
MEAN, SCALE = 127 / 255, 128 / 255
"""Subtracted from and divided out of all three colours in [0, 1], as in its training."""


class EfficientNetLite0(nn.Module):
    """Classify images `(image, 3, 224, 224)`, colours in [0, 1], into the 1000 classes of
    ImageNet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Layer(3, STEM, 3, 2)
        inputs = [STEM, *(channels for *_, channels, _ in STAGES)]
        self.blocks = nn.Sequential(
            *(
                Block(outputs if i else before, outputs, kernel, 1 if i else stride, expansion)
                for before, (expansion, kernel, stride, outputs, count) in zip(
                    inputs, STAGES, strict=False
                )
                for i in range(count)
            )
        )
        self.head = Layer(inputs[-1], FEATURES)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def fused(self) -> EfficientNetLite0:
        """Return this net, which must be in evaluation mode, with each normalisation made part of
        its convolution.
        """
        for layer in self.modules():
            if isinstance(layer, Layer) and isinstance(layer.norm, nn.BatchNorm2d):
                layer.convolution, layer.norm = (
                    fuse_conv_bn_eval(layer.convolution, layer.norm),
                    nn.Identity(),
                )
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the classes, `(image, 1000)`."""
        logits: Tensor = self.classifier(self.features(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Return what the classifier sees: the mean over the image of the last layer, `(image,
        1280)`, in [0, 6].
        """
        last: Tensor = self.head(self.blocks(self.stem((x - MEAN) / SCALE)))
        return last.mean((2, 3))


class Layer(nn.Module):
    """Convolution, batch normalisation and, unless `linear`, ReLU6.

    Even sizes are padded as TensorFlow's SAME: the odd pixel goes to the right and to the bottom.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)
        extra = kernel - stride if kernel > 1 else 0
        self.margins, self.linear = (extra // 2, extra - extra // 2) * 2, linear

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, self.margins) if any(self.margins) else x
        y: Tensor = self.norm(self.convolution(x))
        return y if self.linear else functional.relu6(y)


class Block(nn.Module):
    """Inverted residual block: widen, filter every channel by itself, narrow; the input is added
    where the shape stays.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        widen = [Layer(inputs, width)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            Layer(width, width, kernel, stride, groups=width),
            Layer(width, outputs, linear=True),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y
