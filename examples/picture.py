"""The picture in the README: a digital patient reconstructed from a quarter of the data, with the
companions of the estimate.

Usage: python examples/picture.py [docs/img/demo.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from scipy import ndimage

from veridical import Image, Reconstruct
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.simulated_scan import examine

COHORT_SEED, PATIENT = 424_242, 2
"""No recipe trains on this cohort."""
DARK = "#111418"


def plane(data: np.ndarray) -> np.ndarray:
    """The slice of `(channel, x, y, 1)`, front up, the patient's right on the left."""
    return np.asarray(data)[0, :, :, 0].T[::-1, ::-1]


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/img/demo.png")
    case = examine(
        Cohort(COHORT_SEED), PATIENT, "FLAIR", 4, "uniform", plane="axial", pathology="ms"
    )
    result = Reconstruct(draws=8)(case.measurement, seed=0)
    filled = Reconstruct(model="zero-filled")(case.measurement, seed=0)
    assert result.interval is not None
    assert result.evidence is not None
    truth: Image = case.truth
    top = float(np.percentile(truth.data[0][case.brain], 99.5))
    width = result.interval.upper - result.interval.lower
    head = ndimage.binary_fill_holes(
        ndimage.binary_opening(truth.data[0, ..., 0] > 0.05 * top, iterations=2)
    )[..., None]
    panels = {
        "truth": (truth.data, "gray", top),
        "zero-filled": (filled.image.data, "gray", top),
        "estimate": (result.image.data, "gray", top),
        "error, x 4": (4 * np.abs(result.image.data - truth.data) * head, "magma", top),
        "90 % interval, width x 2": (2 * width * head, "magma", top),
        "evidence, 0 to 1": (result.evidence.map * head, "cividis", 1.0),
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(15, 3.4), facecolor=DARK)
    for axis, (name, (data, colours, most)) in zip(axes, panels.items(), strict=True):
        axis.imshow(plane(data), cmap=colours, vmin=0, vmax=most)
        axis.set_title(name, color="white", fontsize=11)
        axis.axis("off")
    figure.subplots_adjust(0.005, 0.0, 0.995, 0.9, wspace=0.02)
    figure.savefig(out, dpi=100)
    print(out)


if __name__ == "__main__":
    main()
