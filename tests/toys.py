"""Small scans, and weights trained for two steps or not at all, for tests that need a network and
not a good one.
"""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import cards
import described
import folders
import plans
import priors
import segmenters
from veridical.models import (
    denoiser,
    dose_predictor,
    generator,
    head_segmenter,
    joint_embedding,
)
from veridical.models import weights as shipped_weights
from veridical.models.problem import Problem
from veridical.models.problems import problems
from veridical.phantoms.simulated_scan import Examination
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianScan
from veridical.physics.fourier import fft
from veridical.training.checkpoints import write_tensors
from veridical.training.clean_volumes import SOURCES, CleanSet, CleanVolume
from veridical.training.train import train
from veridical.types import Array, Geometry, Image, Measurement, Noise

SIZE = (48, 40)
SIGMA = 0.005
CONTRASTS = ("T1w", "FLAIR")
"""What the generator that is trained here knows."""


def picture(size: tuple[int, int] = SIZE) -> Tensor:
    """An ellipse with a dark and a bright hole and a smooth phase, `(y, x)` complex64."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    image = (
        0.6 * (x**2 + y**2 / 0.8 < 0.7)
        + 0.3 * ((x - 0.2) ** 2 + y**2 < 0.05)
        - 0.4 * ((x + 0.3) ** 2 + y**2 < 0.03)
    )
    return torch.polar(image, 0.5 * x - 0.3 * y * x)


def sensitivities(size: tuple[int, int] = SIZE, count: int = 4) -> Tensor:
    """Smooth coil maps of unit root sum of squares, `(coil, y, x)` complex64."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    angles = 2 * torch.pi * torch.arange(count) / count
    loops = [
        torch.polar(torch.exp(-((x - a.cos()) ** 2) - (y - a.sin()) ** 2), a + x * y)
        for a in angles
    ]
    maps = torch.stack(loops)
    return maps / maps.abs().square().sum(0).sqrt()


def kspace(size: tuple[int, int] = SIZE, coils: int = 4, sigma: float = SIGMA) -> Tensor:
    """Full k-space of the picture, `(coil, ky, kx)`, with noise of `sigma` per real component."""
    full = fft(sensitivities(size, coils) * picture(size))
    noise = np.random.default_rng(0).normal(0, sigma, (2, *full.shape)).astype(np.float32)
    return full + torch.complex(*torch.from_numpy(noise))


def measurement(slices: int = 1, size: tuple[int, int] = SIZE, coils: int = 4) -> Measurement:
    """The picture sampled 2x with 20 central lines, the same in every slice, on voxels of 2 x 2 x 3
    mm.
    """
    mask = np.repeat(masks.uniform(size, 2, acs=20)[None], slices, 0)
    data = np.repeat(kspace(size, coils).numpy()[None], slices, 0) * mask[:, None]
    grid = Geometry((size[1], size[0], slices), np.diag([2.0, 2.0, 3.0, 1.0]))
    return Measurement(
        data, CartesianScan(mask), Noise("gaussian", SIGMA), grid, {"contrast": "T2w"}
    )


def problem(factor: float = 1.0) -> Problem:
    """The prepared slice of the measurement, with estimated coil maps; data and noise times
    `factor`.
    """
    scanned = measurement()
    noise = replace(scanned.noise, level=factor * SIGMA)
    return next(problems(replace(scanned, data=factor * scanned.data, noise=noise)))


def examination() -> Examination:
    """The measurement with its truth and a brain; the bright hole is a lesion."""
    scanned, y_x = measurement(), magnitude()
    truth = Image(y_x.T[None, :, :, None], scanned.geometry, "a.u.", ("T2w",))
    brain, lesions = (y_x > 0.1).T[..., None], (y_x > 0.8).T[..., None]
    return Examination(scanned, truth, brain, lesions, "toy")


def magnitude(size: tuple[int, int] = SIZE) -> Array:
    """The magnitude of the picture, `(y, x)`."""
    return np.asarray(picture(size).abs().numpy())


def recipe(path: Path, **training: int | float | str) -> Path:
    """Write a recipe that trains a very small generator on a folder of four patients, and return
    its path.
    """
    settings = {
        "steps": 2,
        "checkpoint": 2,
        "validate": 1,
        "workers": 0,
        "warmup": 1,
        "device": '"cpu"',
    } | training
    lines = [
        "[model]",
        'name = "generator"',
        "widths = [8, 8]",
        "blocks = 1",
        f"contrasts = {json.dumps(CONTRASTS)}",
        "[data]",
        f"sources = {{ {json.dumps(str(ward()))} = 1.0 }}",
        "validate_on = 1",
        "batch = 2",
        "patch = 32",
        "[training]",
        *(f"{key} = {value}" for key, value in settings.items()),
        "",
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@cache
def ward() -> Path:
    """A BIDS folder `ward` of four small heads, T1w and FLAIR."""
    return folders.bids(Path(_folder()) / "ward")


@cache
def weights(model: str) -> Path:
    """Return weights of a `generator` trained for two steps on the ward, or of a `denoiser` that
    takes a little of the detail away; neither is calibrated.
    """
    folder = Path(_folder())
    if model == "denoiser":
        return _denoiser(folder / "denoiser.safetensors")
    return train(recipe(folder / f"{model}.toml"), folder / model)


def _denoiser(path: Path) -> Path:
    settings = {"backbone": "unet", "widths": [8, 8], "reach": 1}
    torch.manual_seed(0)
    net = denoiser.Denoiser.build(settings)
    for name, value in net.named_parameters():
        if name.startswith("backbone.leave"):
            value.data = 0.02 * torch.randn(value.shape)
    write_tensors(path, net.state_dict(), {})
    path.with_suffix(".json").write_text(
        json.dumps(cards.complete({"model": "denoiser", "net": settings})), encoding="utf-8"
    )
    return path


@cache
def calibrated() -> Path:
    """Return the denoiser with a calibration of some jobs in its card."""
    source = weights("denoiser")
    path = Path(_folder()) / "calibrated.safetensors"
    path.write_bytes(source.read_bytes())
    jobs = ("reconstruct-mri", "enhance-denoise", "enhance-super-resolve")
    card = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    card |= {"calibration": {job: priors.band() for job in jobs}}
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return path


@contextmanager
def clean_set(patients: int = 3, shape: tuple[int, int, int] = (12, 40, 36)) -> Iterator[None]:
    """Let `toy` be a set of clean volumes: ellipsoids with a texture, of patients toy-0, toy-1,
    ...
    """

    def load() -> Iterator[CleanVolume]:
        z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
        for number in range(patients):
            rng = np.random.default_rng(number)
            body = (z**2 + y**2 + x**2 < 0.9) * (
                0.6 + 0.1 * np.sin((6 + number) * x) + 0.02 * rng.standard_normal(shape)
            )
            yield CleanVolume(body.astype(np.float32), "toy", f"toy-{number}", False)

    SOURCES["toy"] = CleanSet(load, "made up")
    try:
        yield
    finally:
        del SOURCES["toy"]


@contextmanager
def shipped() -> Iterator[Path]:
    """Let toys take the place of the shipped weights: gives their folder, and afterwards the
    shipped ones are back.
    """
    folder, before = Path(_folder()) / "shipped", shipped_weights.FOLDER
    folder.mkdir(exist_ok=True)
    for suffix in (".safetensors", ".json"):
        (folder / "denoiser").with_suffix(suffix).write_bytes(
            calibrated().with_suffix(suffix).read_bytes()
        )
    priors.weights(
        folder, priors.HEAD, ("complete-FLAIR",), "brain", degradations=["motion-ghosts"]
    )
    priors.weights(
        folder, priors.BODY, ("translate-CT",), "body", degradations=["sparse-view-streaks"]
    )
    segmenters.weights(folder)
    plans.weights(folder)
    described.towers(folder / "embedding.safetensors")
    shipped_weights.FOLDER = folder
    kept = (
        denoiser.denoising_net,
        generator._network,
        head_segmenter._network,
        dose_predictor._network,
        joint_embedding._towers,
        shipped_weights.fingerprint,
    )
    for memory in kept:
        memory.cache_clear()
    try:
        yield folder
    finally:
        shipped_weights.FOLDER = before
        for memory in kept:
            memory.cache_clear()


@cache
def _folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="veridical-toys-")
    atexit.register(folder.cleanup)
    return folder.name
