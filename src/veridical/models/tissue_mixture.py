"""How bright structures are in one image: Gaussians of log intensities under a smooth shading,
found by expectation maximization.

Unified segmentation (Ashburner and Friston, NeuroImage 2005, 10.1016/j.neuroimage.2005.02.018);
sequence-adaptive (Puonti, Iglesias and Van Leemput, NeuroImage 2016,
10.1016/j.neuroimage.2016.09.011): nothing is known of the contrast beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

DARKEST = 0.05
"""Added to images, whose brightest is about 1, before the logarithm: what noise makes of zero."""
NARROWEST = 0.03
"""Least standard deviation of a Gaussian, of log intensities."""
LEAST = 1e-4
"""Least probability of a group at a place, and least weight of a Gaussian."""
ORDER, POINTS = 3, 20_000
"""Order of the polynomial of the shading, and voxels that it is fitted to."""
FEW = 50
"""Voxels below which a group is not split into several Gaussians."""


@dataclass(frozen=True, eq=False)
class TissueMixture:
    """Brightness of the groups in one image.

    Args:
        group: `(component,)` which group each Gaussian belongs to.
        mean, variance, weight: `(component,)`; weights sum to 1 within a group.
        shading: `(x, y, z)` logarithm of the smooth field.
        responsibility: `(component, x, y, z)`: the probability of each at every voxel.
    """

    group: Tensor
    mean: Tensor
    variance: Tensor
    weight: Tensor
    shading: Tensor
    responsibility: Tensor

    @classmethod
    def begun(cls, levels: Tensor, prior: Tensor, counts: Sequence[int]) -> TissueMixture:
        """Return a mixture whose Gaussians of one group share its voxels by brightness.

        Args:
            levels: `(x, y, z)` log intensities, see `levels_of`.
            prior: `(group, x, y, z)` probabilities.
            counts: Gaussians of each group.
        """
        parts = []
        for own, count in zip(prior, counts, strict=True):
            sure = levels[own > 0.5]
            if count == 1 or len(sure) < FEW:
                parts += [own / count] * count
                continue
            cuts = torch.linspace(0, 1, count + 1, device=levels.device)[1:-1]
            edges = torch.quantile(sure[:: 1 + len(sure) // POINTS], cuts)
            place = torch.bucketize(levels, edges)
            parts += [own * (place == n) for n in range(count)]
        group = torch.tensor([g for g, n in enumerate(counts) for _ in range(n)])
        blank = torch.zeros(len(group), device=levels.device)
        found = cls(
            group.to(levels.device),
            blank,
            blank + 1,
            blank + 1,
            torch.zeros_like(levels),
            torch.stack(parts),
        )
        return found.measured(levels)

    def measured(self, levels: Tensor, basis: Tensor | None = None) -> TissueMixture:
        """Return the mixture with means, variances and weights of its responsibilities, and with
        the shading where a basis `(term, x, y, z)` is given.
        """
        share = self.responsibility.flatten(1)
        size = share.sum(1) + 1e-3
        plain = (levels - self.shading).flatten()
        mean = share @ plain / size
        variance = (share @ plain**2 / size - mean**2).clamp_min(0) + NARROWEST**2
        whole = torch.zeros(int(self.group.max()) + 1, device=levels.device)
        whole.index_add_(0, self.group, size)
        found = replace(self, mean=mean, variance=variance, weight=size / whole[self.group])
        return found if basis is None else replace(found, shading=found._shading(levels, basis))

    def _shading(self, levels: Tensor, basis: Tensor) -> Tensor:
        """Fit the polynomial to what the means leave, by weighted least squares outside of the
        background.
        """
        count = levels.numel()
        step = slice(None, None, 1 + count // POINTS)
        share = self.responsibility.flatten(1)[:, step] / self.variance[:, None]
        precision = share.sum(0)
        left = levels.flatten()[step] - (share * self.mean[:, None]).sum(0) / precision
        inside = 1 - self.responsibility[self.group == 0].sum(0).flatten()[step]
        weight, terms = precision * inside, basis.flatten(1)[:, step].T
        ridge = 0.1 * weight.mean() * torch.eye(terms.shape[1], device=levels.device)
        solved = torch.linalg.solve(
            terms.T @ (weight[:, None] * terms) + ridge, terms.T @ (weight * left)
        )
        shading: Tensor = torch.tensordot(solved, basis, 1)
        return shading

    def likelihood(self, levels: Tensor) -> Tensor:
        """Return the log density of the levels under each Gaussian `(component, x, y, z)`."""
        shape = (-1, 1, 1, 1)
        away = (levels - self.shading)[None] - self.mean.view(shape)
        scale = torch.log(self.weight.clamp_min(LEAST)) - 0.5 * torch.log(self.variance)
        return scale.view(shape) - 0.5 * away**2 / self.variance.view(shape)

    def explained(self, levels: Tensor, prior: Tensor) -> TissueMixture:
        """Return the mixture with the responsibilities that its Gaussians and a prior, log
        probabilities `(group, x, y, z)`, give.
        """
        return replace(
            self, responsibility=torch.softmax(self.likelihood(levels) + prior[self.group], 0)
        )

    def of_groups(self, values: Tensor) -> Tensor:
        """Return the sum of `(component, x, y, z)` over the Gaussians of each group."""
        out = values.new_zeros(int(self.group.max()) + 1, *values.shape[1:])
        return out.index_add_(0, self.group, values)

    @property
    def posterior(self) -> Tensor:
        """Probability of each group, `(group, x, y, z)`."""
        return self.of_groups(self.responsibility)


def levels_of(image: Tensor) -> Tensor:
    """Return log intensities of an image whose brightest percent is about 1."""
    return torch.log(image.clamp_min(0) + DARKEST)


def improved(
    mixture: TissueMixture, levels: Tensor, prior: Tensor, basis: Tensor, rounds: int
) -> TissueMixture:
    """Return the mixture after some rounds of expectation maximization.

    Args:
        mixture: to begin with.
        levels: `(x, y, z)`.
        prior: log probabilities `(group, x, y, z)`.
        basis: `(term, x, y, z)` of the shading, see `polynomials`.
        rounds: at least 1.
    """
    for _ in range(rounds):
        mixture = mixture.explained(levels, prior).measured(levels, basis)
    return mixture


def polynomials(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return all products of powers up to the third order over a grid, `(term, x, y, z)`, without
    the constant.
    """
    axes = [torch.linspace(-1, 1, n, device=device) for n in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    powers = [
        (i, j, k)
        for i in range(ORDER + 1)
        for j in range(ORDER + 1 - i)
        for k in range(ORDER + 1 - i - j)
        if i + j + k
    ]
    return torch.stack([x**i * y**j * z**k for i, j, k in powers])


def halved_volume(volume: Tensor) -> Tensor:
    """Return `(channel, x/2, y/2, z/2)`: means of 2 x 2 x 2 voxels, an odd last one left out."""
    return functional.avg_pool3d(volume[None], 2)[0]
