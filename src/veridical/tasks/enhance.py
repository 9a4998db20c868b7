"""See clearer: remove noise from an image, or double its resolution, by the same weights that reconstruct raw data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.tasks.reconstruct import solver
from veridical.types import Derived, Geometry, Image, Measurement

if TYPE_CHECKING:
    from veridical.models.base import MRIModel
    from veridical.models.prepared_scan import Scan
    from veridical.types import Array


@dataclass(frozen=True)
class Enhance(Task):
    """Denoise MR slices, or super-resolve them in plane. The image is a measurement: of itself, or of its k-space centre."""

    job: Literal["denoise", "super-resolve"] = "denoise"
    """denoise keeps the grid; super-resolve doubles it in plane."""
    noise: float = 0.0
    """Noise standard deviation in the units of the image; 0 estimates it from the image itself."""
    model: str = "brain-prior"
    """Which solver: brain-prior, unrolled, or a classical one: wavelet, total-variation."""
    draws: int = 8
    """Posterior draws, for samplers. Their mean is the estimate; their spread makes interval and evidence."""
    steps: int = 8
    """Sampler steps, for samplers."""
    weights: str = ""
    """Path of other weights (.safetensors with a card beside it); empty for the shipped ones."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if self.job not in ("denoise", "super-resolve"):
            raise SettingError(f"job = {self.job!r}; expected denoise or super-resolve.")
        if self.draws < 1 or self.noise < 0:
            raise SettingError(
                f"draws = {self.draws}, noise = {self.noise}; expected at least 1 draw and a noise of 0 or more."
            )

    def apply(self, subject: Measurement | Image, seed: int, progress: Progress) -> Derived:
        from veridical.models import weights
        from veridical.tasks import slicewise

        if not isinstance(subject, Image) or len(subject.channels) != 1:
            raise InputError(
                "enhance takes an image of one channel; for raw k-space use reconstruct. "
                f"Got {type(subject).__name__}{f' with channels {subject.channels}' if isinstance(subject, Image) else ''}."
            )
        if subject.units in ("HU", "SUV", "label"):
            raise InputError(f"enhance v1 knows MR slices; this image is in {subject.units}.")
        if not np.isfinite(subject.data).all():
            raise InputError("The image holds NaN or infinite values; write a number there, 0 for what is outside the body.")
        model, total = self.build(), subject.geometry.shape[2]
        name = getattr(model, "weights", "")
        card = weights.card(name) if name else {}
        job = f"{self.name}-{self.job}"
        solved = []
        for index in range(total):
            scan = self.scan(subject.data[0, :, :, index].T)
            wider = slicewise.widening(card, job)
            solved.append(slicewise.solve(model, scan, self.draws, seed + index, subject.channels[0], wider))
            progress("enhancing slices", index + 1, total)
        grid = subject.geometry if self.job == "denoise" else finer(subject.geometry)
        return slicewise.assemble(solved, model, card, grid, job, subject.channels[0], subject.units)

    def scan(self, image: Array) -> Scan:
        """Turn one slice `(y, x)` into a prepared scan: fully sampled, or the centre of a k-space twice as large."""
        import torch

        from veridical.models.prepared_scan import prepare
        from veridical.physics.fourier import centre, fft
        from veridical.physics.noise import estimate_sigma

        if not np.abs(image).max() > 0:
            raise InputError("A slice of the image is all zero. Crop the volume to the slices that show something.")
        kspace = fft(torch.from_numpy(np.array(image, dtype=np.complex64)))[None]
        mask = torch.ones(image.shape)
        sigma = self.noise or estimate_sigma(kspace, mask) * (1 if np.iscomplexobj(image) else 2**0.5)
        if self.job == "super-resolve":
            size = (2 * image.shape[0], 2 * image.shape[1])
            kspace, mask = 2 * centre(kspace, size), centre(mask, size)
            sigma = 2 * sigma
        maps = torch.zeros(2, 1, *mask.shape, dtype=torch.complex64)
        maps[0] = 1
        return prepare(kspace, mask, maps, sigma)

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash

    def build(self) -> MRIModel:
        """Return the solver with these settings."""
        return solver(self.model, self.weights, steps=self.steps, device=self.device)


def finer(geometry: Geometry) -> Geometry:
    """Return the grid with twice the voxels in plane, as k-space padding places them.

    The voxels of index n // 2 keep their place; so do the first ones where n is even, and where it is odd they move out by
    half a voxel.
    """
    affine = np.array(geometry.affine)
    x, y, z = geometry.shape
    affine[:3, 3] -= 0.5 * (affine[:3, 0] * (x % 2) + affine[:3, 1] * (y % 2))
    affine[:, :2] /= 2
    return Geometry((2 * x, 2 * y, z), affine, geometry.frame)
