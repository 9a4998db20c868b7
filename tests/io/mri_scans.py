"""A simulated scan of a known object, its k-space lines as ISMRMRD acquisitions, and how far an
image is off the object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rawfiles import acquisition, write_mrd, xml

LEVEL = 0.001
"""Standard deviation of the noise per real component."""


def known_object(rows: int, columns: int) -> np.ndarray:
    """`(y, x)`: an ellipse with a brighter one in it, off the centre and not symmetric."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    inner = ((x - 0.2) / 0.2) ** 2 + ((y + 0.3) / 0.15) ** 2 < 1
    return np.asarray(1.0 * ((x / 0.7) ** 2 + (y / 0.8) ** 2 < 1) + 0.5 * inner)


def sensitivities(rows: int, columns: int, coils: int = 4) -> np.ndarray:
    """`(coil, y, x)` of unit norm."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    turns = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    maps = np.exp(-((x - np.cos(turns)) ** 2 + (y - np.sin(turns)) ** 2) / 2) * np.exp(
        1j * (turns + x)
    )
    return np.asarray(maps / np.sqrt((np.abs(maps) ** 2).sum(0)))


def fft2(images: np.ndarray) -> np.ndarray:
    """Centred, unitary."""
    moved = np.fft.fft2(np.fft.ifftshift(images, (-2, -1)), norm="ortho")
    return np.asarray(np.fft.fftshift(moved, (-2, -1)))


def scanned(
    rows: int = 64, columns: int = 64, coils: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The object `(y, x)`, and its k-space `(coil, ky, kx)` with noise."""
    truth, rng = known_object(rows, columns), np.random.default_rng(seed)
    clean = fft2(truth * sensitivities(rows, columns, coils))
    return truth, clean + LEVEL * (rng.normal(size=clean.shape) + 1j * rng.normal(size=clean.shape))


def lines(kspace: np.ndarray, which: Any = None, **values: Any) -> list[Any]:
    """Acquisitions of `(coil, ky, kx)`, of all lines or of those that are named."""
    steps = range(kspace.shape[1]) if which is None else which
    return [acquisition(kspace[:, step], kspace_encode_step_1=step, **values) for step in steps]


def header(
    rows: int = 64, columns: int = 64, mode: str = "", extra: str = "", **changed: Any
) -> str:
    """An ISMRMRD header of a 2D scan with a calibration mode."""
    given = {
        "encoded": (columns, rows, 1),
        "recon": (columns, rows, 1),
        "fov": (256, 256, 5),
        "recon_fov": (256, 256, 5),
    }
    plain = xml(**{**given, **changed}, extra=extra)
    parallel = f"<parallelImaging><calibrationMode>{mode}</calibrationMode></parallelImaging>"
    return plain.replace("</encoding>", f"{parallel}</encoding>") if mode else plain


def encoding_of(text: str) -> str:
    """The encoding element of a header, to be put into another as a second one."""
    return text[text.index("<encoding>") : text.index("</encoding>") + len("</encoding>")]


def file(path: Path, rows: list[Any], text: str) -> Path:
    """Write an ISMRMRD file."""
    return write_mrd(path, rows, text)


def error(image: np.ndarray, truth: np.ndarray) -> float:
    """Normalized mean square error of `(y, x)` against the object."""
    return float(((image - truth) ** 2).sum() / (truth**2).sum())
