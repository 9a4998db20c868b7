"""The centred orthonormal Fourier transform over the last two axes, and its crop and padding in
k-space.
"""

from __future__ import annotations

import torch
from torch import Tensor

AXES = (-2, -1)


def fft(image: Tensor) -> Tensor:
    """Map `(..., y, x)` to centred k-space `(..., ky, kx)`; unitary."""
    kspace: Tensor = torch.fft.fftshift(
        torch.fft.fft2(torch.fft.ifftshift(image, AXES), norm="ortho"), AXES
    )
    return kspace


def ifft(kspace: Tensor) -> Tensor:
    """Map centred k-space `(..., ky, kx)` to the image; the inverse and the adjoint of `fft`."""
    image: Tensor = torch.fft.fftshift(
        torch.fft.ifft2(torch.fft.ifftshift(kspace, AXES), norm="ortho"), AXES
    )
    return image


def centre(array: Tensor, shape: tuple[int, int]) -> Tensor:
    """Crop or zero-pad the last two axes about the centre sample (index n // 2)."""
    for axis, size in zip(AXES, shape, strict=True):
        have = array.shape[axis]
        start = have // 2 - size // 2
        if size <= have:
            array = array.narrow(axis, start, size)
        else:
            before, after = -start, size - have + start
            pad = [before, after] if axis == -1 else [0, 0, before, after]
            array = torch.nn.functional.pad(array, pad)
    return array
