"""Images of heads, reports and clinical variables in one space: a tower for each, whose vectors of
unit length are alike where they belong to one patient.

Contrastive training of pairs: Radford et al., ICML 2021 (arXiv 2103.00020).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

POOLED = 4
"""Voxels of the grid along a side of the cubes in which a head is looked at."""

FARTHEST = 4.0
"""Standard deviations from the average head at which a cube counts no more."""
RIDGE, LEAST = 0.05, 0.02
"""Weight of the ridge, and of what reports hardly ever say."""
STEP = 0.02
"""What cubes are multiplied by: a step of Adam changes the sum over thousands of them at once."""


class HeadTower(nn.Module):
    """Map the cubes of a head to features: they are compared with those of the average head, and
    one layer looks at all of them.

    Args:
        contrasts: channels; what was not imaged is 0.
        shape: of the grid, multiples of `POOLED`.
        features: numbers that come out.
    """

    def __init__(self, contrasts: int, shape: tuple[int, int, int], features: int) -> None:
        super().__init__()
        x, y, z = (size // POOLED for size in shape)
        cells = 3 * contrasts * x * y * z
        self.average = nn.BatchNorm1d(cells, eps=1e-3, affine=False)
        self.average.num_batches_tracked = torch.tensor(0.0)  # averaged over steps as all else is
        self.leave = nn.Linear(cells, features)
        nn.init.normal_(self.leave.weight, std=1 / (STEP * math.sqrt(cells)))

    def forward(self, cubes: Tensor) -> Tensor:
        """Return `(batch, features)` for what `cubes_of` makes of images."""
        out: Tensor = functional.silu(self.leave(STEP * self.unlike(cubes)))
        return out

    def unlike(self, cubes: Tensor) -> Tensor:
        """Return how unlike the average head each cube is, in standard deviations, `(batch, cube)`;
        0 in contrasts that were not imaged.
        """
        imaged = (cubes != 0).flatten(2).any(2)[:, :, None, None].expand_as(cubes)
        found = self.average(cubes.flatten(1)).clamp(-FARTHEST, FARTHEST)
        return torch.where(imaged.flatten(1), found, torch.zeros_like(found))


def cubes_of(images: Tensor) -> Tensor:
    """Return what cubes of a head show, `(batch, contrast, 3, cube)`, of images `(batch, contrast,
    x, y, z)`: the mean, how far the brightest part lies above it, and how much brighter the cube is
    than the one on the other side. All of them scale with the brightness of the image.
    """
    mean = functional.avg_pool3d(images, 2)
    most = functional.max_pool3d(images, 2) - mean
    apart = functional.relu(mean - mean.flip(2))
    cubes = functional.avg_pool3d(torch.cat([mean, most, apart], 1), POOLED // 2)
    return cubes.reshape(len(cubes), 3, images.shape[1], -1).transpose(1, 2)


class JointTowers(nn.Module):
    """Three towers into one space.

    Args:
        contrasts, shape, features: of the tower of images.
        report: numbers of a report.
        variables: numbers of clinical variables.
        size: of the space.
    """

    def __init__(
        self,
        contrasts: int,
        shape: tuple[int, int, int],
        report: int,
        variables: int,
        features: int = 128,
        size: int = 64,
    ) -> None:
        super().__init__()
        self.contrasts = contrasts
        self.head = HeadTower(contrasts, shape, features)
        self.image = nn.Linear(features, size)
        self.facts = nn.Linear(features, report)
        self.text = nn.Sequential(nn.Linear(report, features), nn.SiLU(), nn.Linear(features, size))
        self.genes = nn.Sequential(nn.Linear(variables, 32), nn.SiLU(), nn.Linear(32, size))
        self.sharpness = nn.Parameter(torch.tensor([2.5, 2.5]))

    @torch.no_grad()
    def begin(self, cubes: Tensor, reports: Tensor, variables: Tensor) -> None:
        """Set images and variables to the ridge regression of reports, in a space where what
        reports say is uncorrelated.

        `silu(x) - silu(-x) = x`, so that two layers hold a linear map exactly; needs `features`
        of at least twice `size`.

        Args:
            cubes, reports, variables: of patients, one a row.
        """
        average = self.head.average
        average.running_mean = cubes.flatten(1).mean(0)
        average.running_var = cubes.flatten(1).var(0)
        unlike = self.head.eval().unlike(cubes)
        apart = reports - reports.mean(0)
        spread = np.asarray((apart.mT @ apart / len(apart)).numpy(), np.float64)
        values, vectors = np.linalg.eigh(spread)
        size = self.image.out_features
        whitened = vectors[:, -size:] / np.sqrt(np.maximum(values[-size:], 0) + LEAST)
        space = torch.from_numpy(whitened.astype(np.float32))
        kernel = unlike @ unlike.mT / unlike.shape[1]
        kernel.diagonal().add_(RIDGE)
        image = torch.linalg.solve(kernel, apart @ space).mT @ unlike / unlike.shape[1]
        known = torch.cat([variables, torch.ones(len(variables), 1)], 1)
        genes = torch.linalg.lstsq(known, apart @ space).solution.mT
        _linear(self.head.leave, self.image, image / STEP, torch.zeros(size))
        first, _, second = self.text
        _linear(first, second, space.mT, -(reports.mean(0) @ space))
        first, _, second = self.genes
        _linear(first, second, genes[:, :-1], genes[:, -1])
        self.head.train()

    def of_images(self, images: Tensor) -> Tensor:
        """Return `(batch, size)` of unit length for `(batch, contrast, x, y, z)`."""
        return functional.normalize(self.image(self.head(cubes_of(images))), dim=1)

    def of_reports(self, reports: Tensor) -> Tensor:
        """Return `(batch, size)` of unit length for `(batch, report)`."""
        return functional.normalize(self.text(reports), dim=1)

    def of_variables(self, variables: Tensor) -> Tensor:
        """Return `(batch, size)` of unit length for `(batch, variables)`."""
        return functional.normalize(self.genes(variables), dim=1)

    def forward(self, cubes: Tensor, reports: Tensor, variables: Tensor) -> tuple[Tensor, ...]:
        """Return the vectors of images (as `cubes_of` makes them), reports and variables, and what
        the image is taken to say of each number of the report.
        """
        features = self.head(cubes)
        return (
            functional.normalize(self.image(features), dim=1),
            self.of_reports(reports),
            self.of_variables(variables),
            self.facts(features),
        )


def _linear(first: nn.Module, second: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Let two layers with SiLU between them be one linear map, through fewer numbers where it takes
    fewer than it gives.
    """
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    thin = weight.shape[0] <= weight.shape[1]
    inner = weight if thin else torch.eye(weight.shape[1])
    outer = torch.eye(weight.shape[0]) if thin else weight
    count = len(inner)
    for tensor in (first.weight, first.bias, second.weight):
        tensor.zero_()
    first.weight[:count], first.weight[count : 2 * count] = inner, -inner
    second.weight[:, :count], second.weight[:, count : 2 * count] = outer, -outer
    second.bias.copy_(bias)


def contrastive_loss(one: Tensor, other: Tensor, sharpness: Tensor) -> Tensor:
    """Return the mean cross-entropy of picking each row's partner among all rows, both ways.

    Args:
        one, other: `(batch, size)` of unit length; rows of one number belong together.
        sharpness: log of the inverse temperature.
    """
    logits = sharpness.clamp(max=4.6).exp() * one @ other.mT
    target = torch.arange(len(one), device=one.device)
    both = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.mT, target)
    return both / 2
