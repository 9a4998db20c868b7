"""Lesions of known kind, size and contrast put into test phantoms and real raw data: which detector
finds which, and which reconstruction shows them.

python benchmarks/injection.py [--patients 6] [--only classical|denoiser|raw] [--kinds blob,ring]

Phantoms are of the second simulator, on which nothing was trained: 128 x 128 pixels of 1.8 mm, four
coils, six times undersampled with variable density, noise 2 %. Contrasts are over the noise of one
pixel of a full scan. The raw data are the prospectively undersampled brain (eight coils, 12 % of
the samples) and the fully sampled one, undersampled four times; their truth is not known.
"""

from __future__ import annotations

import argparse

import numpy as np
from patients import DATA

from veridical.evaluation.bench import measurement
from veridical.physics import masks
from veridical.types import Measurement
from veridical.workflow.inject import Inject


def raw() -> dict[str, Measurement]:
    """Return the real slices."""
    given = np.load(DATA / "kspace_sigpy_tutorial" / "data" / "cartesian_ksp.npy")
    full = np.load(DATA / "kspace_brain_8ch" / "kspace.npy").astype(np.complex64)
    mask = masks.uniform(full.shape[1:], 4, 24, 0, slice(44, 212))
    return {
        "brain, 12 % of the samples": measurement(
            given.astype(np.complex64), np.abs(given).max(0) > 0
        ),
        "head with contrast agent, 4x": measurement(full * mask, mask),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--only", default="")
    parser.add_argument("--kinds", default="blob,ring", help="of the classical part")
    given = parser.parse_args()
    if given.only in ("", "classical"):
        print("## Phantoms, classical reconstructions\n", flush=True)
        models, heights = ("zero-filled", "cg-sense"), (0.0, 3.0, 6.0, 12.0)
        kinds = tuple(given.kinds.split(","))
        asked = Inject(given.patients, models, kinds, (4.0,), contrasts=heights)
        print(asked().table(), flush=True)
    if given.only in ("", "raw"):
        for name, scan in raw().items():
            print(f"\n## Raw data: {name}\n", flush=True)
            asked = Inject(
                1, ("cg-sense",), ("blob",), (4.0,), contrasts=(0.0, 3.0, 6.0, 12.0), lesions=20
            )
            print(asked(scan).table(), flush=True)
    if given.only in ("", "denoiser"):
        print("\n## Phantoms, the denoiser with 8 posterior samples\n", flush=True)
        learned = Inject(
            given.patients, ("denoiser",), ("blob",), (4.0,), contrasts=(0.0, 6.0, 12.0)
        )
        print(learned().table(), flush=True)


if __name__ == "__main__":
    main()
