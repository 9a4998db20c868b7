"""Other people's software as a peer in a benchmark: BART's parallel-imaging compressed sensing,
called as its users call it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from veridical.errors import MissingExtra, VeridicalError
from veridical.physics.fourier import fft
from veridical.types import Array

WEIGHTS = (0.0005, 0.001, 0.002, 0.005, 0.01)


def bart(
    kspace: Array, maps: int, regularizer: str, weights: tuple[float, ...] = WEIGHTS
) -> list[tuple[float, Array, float]]:
    """Run `bart ecalib` and `bart pics` for several weights (`-S`: the image in the units of the
    data).

    Args:
        kspace: `(coil, ky, kx)`, centred, zero where not sampled.
        maps: number of coil-map sets.
        regularizer: `W:3:0` (L1-wavelet) or `T:3:0` (total variation).
        weights: of the regularizer; which is best is for the caller to say, and to say how.

    Returns:
        One `(weight, coil images (coil, y, x), seconds with calibration)` per weight.

    Raises:
        MissingExtra: BART is not installed.
    """
    if shutil.which("bart") is None:
        raise MissingExtra("The peer 'bart' is not installed. On Debian: apt-get install bart.")
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        coils, rows, columns = kspace.shape
        _write(at / "kspace", np.moveaxis(kspace, 0, -1).reshape(rows, columns, 1, coils))
        calibration = _run(at, "ecalib", f"-m{maps}", "-r24", "kspace", "maps")
        sensitivity = _read(at / "maps").reshape(rows, columns, coils, maps)
        found = []
        for weight in weights:
            seconds = calibration + _run(
                at, "pics", "-S", "-R", f"{regularizer}:{weight}", "-i60", "kspace", "maps", "image"
            )
            image = _read(at / "image").reshape(rows, columns, 1, maps)
            found.append(
                (
                    weight,
                    _turned(np.moveaxis((sensitivity * image).sum(-1), -1, 0), kspace),
                    seconds,
                )
            )
        return found


def _turned(images: Array, kspace: Array) -> Array:
    """Undo the constant phase by which BART's centred transform differs (a sign where half the
    matrix is odd).
    """
    predicted = fft(torch.from_numpy(np.ascontiguousarray(images))).numpy()
    product = np.vdot(predicted[kspace != 0], kspace[kspace != 0])
    return np.asarray(images * (product / max(abs(product), 1e-30))).astype(np.complex64)


def _run(folder: Path, *words: str) -> float:
    start = time.perf_counter()
    done = subprocess.run(["bart", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VeridicalError(
            f"bart {' '.join(words)} failed: {done.stderr.strip() or done.stdout.strip()}"
        )
    return time.perf_counter() - start


def _write(base: Path, array: Array) -> None:
    base.with_suffix(".hdr").write_text(
        "# Dimensions\n" + " ".join(map(str, array.shape)) + "\n", encoding="ascii"
    )
    np.asfortranarray(array.astype(np.complex64)).ravel("F").tofile(base.with_suffix(".cfl"))


def _read(base: Path) -> Array:
    shape = [
        int(n) for n in base.with_suffix(".hdr").read_text(encoding="ascii").splitlines()[1].split()
    ]
    return np.fromfile(base.with_suffix(".cfl"), np.complex64).reshape(shape, order="F")
