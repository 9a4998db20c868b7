"""The course of MR solvers: rehearsed multi-coil scans, drawn by step number from mixed sources."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from veridical.datasets import pool
from veridical.datasets.mri_rehearsal import Rehearsal, rehearse
from veridical.datasets.patient_volumes import patient_volumes
from veridical.datasets.pool import PoolSlice
from veridical.datasets.rendering import render
from veridical.datasets.scanners import CONTRASTS
from veridical.datasets.slabs import Volume
from veridical.models.base import Trainable
from veridical.models.prepared_scan import Scan, prepare, root_sum_of_squares
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.workflow.course import Course, Data

SOURCES = ("cohort", "openms", "ixi", "sarcoma")
STRIP = 96
Piece = tuple[Scan, Tensor, str]
"""A prepared scan or strip, its truth in the scan's units, and its contrast."""


class ScanCourse(Course[list[Piece]]):
    """Draws rehearsed scans from the mixed sources by step number."""

    def __init__(self, model: type[Trainable], data: Data, seed: int, validation: bool = False) -> None:
        super().__init__(data, seed, validation)
        self.model = model
        self.pools = {name: self._load(name) for name in data.real(SOURCES)}
        self.mix(self.pools)

    def _load(self, name: str) -> list[PoolSlice]:
        if name in SOURCES:
            return pool.load(name, self.held_out, self.validation)
        volumes = patient_volumes(name, CONTRASTS, self.held_out, self.validation)
        return [piece for volume in volumes for piece in slices_of(volume)]

    def patients(self) -> dict[str, int]:
        return {name: len({one.patient for one in pool}) for name, pool in self.pools.items()}

    def __getitem__(self, step: int) -> list[Piece]:
        rehearsal, rng = self.draw(step)
        return cut(rehearsal, rng)

    def losses(self, net: nn.Module, item: list[Piece], generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
        for scan, truth, contrast in item:
            yield self.model.objective(net, scan.to(device), truth.to(device), contrast, generator) / len(item)

    def validate(self, net: nn.Module, count: int, device: torch.device) -> dict[str, float]:
        """Return the mean PSNR in dB (peak: the 99th percentile, 1) of the start and of the net on `count` fixed scans."""
        gains: list[float] = []
        starts: list[float] = []
        for index in range(count):
            rehearsal, _ = self.draw(index)
            scan = prepare(rehearsal.kspace, rehearsal.mask, rehearsal.maps, rehearsal.sigma).to(device)
            truth = root_sum_of_squares(rehearsal.truth.to(device) / scan.scale)
            inside = scan.support[0] > 0.5
            for image, into in ((scan.start, starts), (self.model.predict(net, scan, rehearsal.contrast), gains)):
                error = (root_sum_of_squares(image) - truth)[inside].square().mean().clamp_min(1e-12)
                into.append(-10 * math.log10(float(error)))
        return {"start_db": round(float(np.mean(starts)), 3), "net_db": round(float(np.mean(gains)), 3)}

    def draw(self, step: int) -> tuple[Rehearsal, np.random.Generator]:
        """Return the scan of a step; the same step gives the same scan."""
        rng = self.generator(step)
        name = self.pick(rng)
        if name == "cohort":
            contrast = CONTRASTS[int(rng.integers(len(CONTRASTS)))]
            image = render(self.cohort.slice(step, pathology=None), contrast)
            return rehearse(image / np.percentile(image[image > 0.1 * image.max()], 98), contrast, rng), rng
        chosen = self.pools[name][int(rng.integers(len(self.pools[name])))]
        return rehearse(chosen.image.astype(np.float32), chosen.contrast, rng), rng


def slices_of(volume: Volume) -> Iterator[PoolSlice]:
    """Yield the slices of a volume that show enough to be scanned, every contrast by itself."""
    for contrast, image in zip(volume.names, volume.images, strict=True):
        yield from (PoolSlice(image[index], contrast, volume.patient) for index in volume.usable() if image[index].any())


def cut(rehearsal: Rehearsal, rng: np.random.Generator) -> list[Piece]:
    """Prepare a rehearsed scan; where whole lines were sampled, cut two strips along the readout to save time."""
    scan = prepare(rehearsal.kspace, rehearsal.mask, rehearsal.maps, rehearsal.sigma)
    truth = rehearsal.truth / scan.scale
    rows = rehearsal.mask.shape[0]
    if not rehearsal.linewise or rows <= STRIP:
        return [(scan, truth, rehearsal.contrast)]
    pieces = []
    inside = torch.where(scan.support[0].mean(-1) > 0.2)[0]
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, rows)
    low, high = min(first, rows - STRIP), max(first, min(last, rows) - STRIP)
    for start in rng.integers(low, max(low, high) + 1, 2):
        part = rehearsal.strip(int(start), STRIP)
        where = slice(int(start), int(start) + STRIP)
        operator = CartesianMRI(part.mask, part.maps)
        piece = Scan(
            operator, part.kspace / scan.scale, scan.start[..., where, :], scan.sigma, scan.scale, scan.support[..., where, :]
        )
        pieces.append((piece, truth[..., where, :], rehearsal.contrast))
    return pieces
