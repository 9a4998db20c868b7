"""What every feature extractor says of itself.

An extractor is one function, called as its file:

    extractor(image, *, mask, spacing, window) -> (rows, size) float64

`image` is real, `(x, y, z)`; `mask` is bool of that shape, the voxels that count, or None for all;
`spacing` is the voxel size in mm; `window` is the lowest and highest intensity, one for all images
of a comparison. Its file has `ABOUT`, and `NAMES` where each number has a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extractor:
    """What an extractor says of itself; each extractor's file has one under the name `ABOUT`.

    Args:
        label: as it is written in tables.
        size: how many numbers a row has.
        cites: the source, as it is printed in a methods paragraph.
        rows: what one row is: `image`, `slice`.
        needs_3d: it refuses images of one slice.
    """

    label: str
    size: int
    cites: str
    rows: str = "image"
    needs_3d: bool = False
