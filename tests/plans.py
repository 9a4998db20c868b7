"""A dose predictor that adds nothing to the optimized doses, and necks to try it on."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

import cards
from veridical.audit.interval import Calibration
from veridical.models.dose_predictor import DosePredictor
from veridical.phantoms.neck import neck
from veridical.training.checkpoints import write_tensors
from veridical.types import Image

NET = {"backbone": "unet", "dims": 3, "widths": [8, 8], "blocks": 1}
COARSE = (5.5, 5.5, 3.2)
"""Voxels in mm that are still those of the training."""
RANGES = {"target_ml": [60.0, 900.0], "section_cm2": [80.0, 400.0], "length_mm": [60.0, 250.0]}


def weights(folder: Path, name: str = "dose", calibrated: bool = True) -> str:
    """Write the untrained predictor with its card, and return the path."""
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    write_tensors(path, dict(DosePredictor.build(NET).state_dict()), {})
    card = {"model": "dose-predictor", "net": NET, "patient_ranges": RANGES}
    if calibrated:
        band = Calibration(0.9, 10, 2.0, 0.003, "ten made-up necks", (0.85, 0.9, 0.95))
        card["calibration"] = {"plan": band.to_dict()}
    path.with_suffix(".json").write_text(json.dumps(cards.complete(card)), encoding="utf-8")
    return str(path)


@cache
def patient() -> Image:
    """A digital neck on coarse voxels."""
    return neck(COARSE)


def archive(path: Path, image: Image, dose: bool = True) -> Path:
    """Write an image as the one cropped `.npz` of a patient, and return the path."""
    from veridical.models.dose_anatomy import turned
    from veridical.physics.prescriptions import ALLOWED, STRUCTURES

    def stored(name: str) -> np.ndarray:
        return turned(image[name], image.geometry)[::-1, ::-1, ::-1].transpose(1, 0, 2)

    bits = np.zeros(stored("CT").shape, np.uint16)
    for place, name in enumerate(STRUCTURES):
        if name in image.channels:
            bits |= (stored(name) > 0).astype(np.uint16) << np.uint16(place)
    x, y, z = image.geometry.spacing
    parts = {
        "ct": ((stored("CT") + 1024) // 16).astype(np.uint8),
        "structures": bits,
        "possible": np.packbits(stored(ALLOWED) > 0),
        "shape": np.array(bits.shape, np.int16),
        "corner": np.array([20, 30, 10], np.int16),
        "voxel_mm": np.array([y, x, z], np.float32),
    }
    if dose:
        parts["dose"] = np.full(bits.shape, 123, np.uint16)
    np.savez(path, **parts)
    return path
