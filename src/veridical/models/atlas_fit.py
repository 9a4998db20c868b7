"""Segmentation by an atlas: a probabilistic atlas of heads is registered to the image, and the
image's own intensities decide between structures.

A network proposes where structures lie, which gives the first alignment. Then the deformation of
the atlas and the intensities of structures are fitted to the image in turn: sequence-adaptive
segmentation (Puonti, Iglesias and Van Leemput, NeuroImage 2016,
10.1016/j.neuroimage.2016.09.011) with a free-form deformation in place of a mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from veridical.models.head_atlas import HeadAtlas, centroids, grid, sampled
from veridical.models.tissue_mixture import (
    LEAST,
    TissueMixture,
    halved_volume,
    improved,
    levels_of,
    polynomials,
)

KNOTS = 8.0
"""mm between the points of the free deformation."""
STIFF = 0.02
"""Weight of its roughness, mm squared over a knot's distance, against the mean log likelihood."""
GUIDE = 0.2
"""Power of what the network proposes, next to the atlas, while the deformation is fitted."""
NEAR, FIRST, ROUNDS = 60, 8, (6, 22)
"""Steps of the first alignment; rounds of each candidate, of the affine and of the free-form fit.
"""
SMALL, FEW = 6.0, 8.0
"""Groups that many times smaller than the largest are small; voxels below which one counts less."""
STEPS, RATE = 3, 0.5
"""Steps of the shape in each round, and their length in mm."""
FAR, CLOSE, SHARP = 5.0, 2.0, 1.0
"""mm by which the atlas is blurred while it is aligned, fitted, and at the end."""
LAST = 8
"""Rounds of the brightness at the end, at full resolution."""
RIDGE = 0.05
"""Weight of `no change of size` where centroids give the first affine map."""
SIZES, USUAL = 0.08, 0.01
"""Standard deviation of the strain between heads, and weight of its square against the mean log
likelihood.
"""
TURN = 50.0
"""mm from the middle at which a change of the affine matrix counts as the same shift."""


class AtlasDeformation(nn.Module):
    """From points of an image to points of the atlas: an affine map and a free-form deformation.

    Args:
        matrix, shift: of the first affine map, `(3, 3)` and `(3,)` mm.
        atlas: its extent is that of the free deformation.
    """

    def __init__(self, matrix: Tensor, shift: Tensor, atlas: HeadAtlas) -> None:
        super().__init__()
        self.matrix, self.shift, self.origin = matrix, shift, atlas.origin
        self.turn = nn.Parameter(torch.zeros_like(matrix))
        self.move = nn.Parameter(torch.zeros_like(shift))
        knots = [int(n * atlas.spacing / KNOTS) + 2 for n in atlas.shares.shape[1:]]
        self.bend = nn.Parameter(torch.zeros(3, *knots, device=matrix.device))

    def forward(self, points: Tensor, bent: bool = True) -> Tensor:
        """Map `(x, y, z, 3)` mm; without the free deformation where not `bent`."""
        out: Tensor = points @ (self.matrix + self.turn / TURN).T + self.shift + self.move
        if bent:
            out = out + sampled(self.bend, out, self.origin, KNOTS).movedim(0, -1)
        return out

    def strain(self) -> Tensor:
        """Return how far the affine map is from a turn: the sum of squares of its strain over what
        heads differ by.
        """
        matrix = self.matrix + self.turn / TURN
        own = (matrix.T @ matrix - torch.eye(3, device=matrix.device)) / 2
        return (own**2).sum() / SIZES**2

    def roughness(self) -> Tensor:
        """Return the mean square difference of neighbouring knots, mm squared."""
        parts = [(self.bend.diff(dim=axis) ** 2).sum() for axis in (1, 2, 3)]
        return torch.stack(parts).sum() / self.bend[0].numel()


def segmented_by_atlas(
    image: Tensor,
    proposed: Tensor,
    atlas: HeadAtlas,
    spacing: float,
    counts: Sequence[int],
    inner: Sequence[int],
) -> Tensor:
    """Return the probability of each group, `(group, x, y, z)`.

    Args:
        image: `(x, y, z)`, its brightest percent about 1.
        proposed: `(group, x, y, z)`, of a network.
        atlas: of the same groups, the background first.
        spacing: mm, isotropic, RAS.
        counts: Gaussians of each group.
        inner: positions of the groups whose centroids give the first alignment.
    """
    half = -spacing * (torch.tensor(image.shape, device=image.device) - 1) / 2
    points = grid(half, spacing, tuple(image.shape))
    levels, rough = levels_of(image), halved_volume(proposed)
    coarse = levels_of(halved_volume(image[None])[0])
    near = grid(half + spacing / 2, 2 * spacing, tuple(coarse.shape))
    shape = first_alignment(coarse, rough, near, atlas, counts, inner)
    blurred, guide = atlas.blurred(CLOSE), GUIDE * _log(rough)
    basis = polynomials(coarse.shape, image.device)
    with torch.no_grad():
        mixture = TissueMixture.begun(coarse, blurred.at(shape(near, False)), counts)
    for bent, rounds in zip((False, True), ROUNDS, strict=True):
        mixture = fitted(shape, mixture, coarse, near, blurred, guide, basis, bent, rounds)
    with torch.no_grad():
        prior = atlas.blurred(SHARP).at(shape(points))
        whole = TissueMixture.begun(levels, prior, counts)
        return improved(
            whole, levels, _log(prior), polynomials(levels.shape, image.device), LAST
        ).posterior


def first_alignment(
    levels: Tensor,
    proposed: Tensor,
    points: Tensor,
    atlas: HeadAtlas,
    counts: Sequence[int],
    inner: Sequence[int],
) -> AtlasDeformation:
    """Return the affine map under which the atlas explains the image best, of several that the
    network's groups, its small inner groups alone, and the top of the head begin.

    Args:
        levels, proposed, points: of the image at twice its spacing; a grid of four times is used.
        atlas, counts, inner: as of `segmented_by_atlas`.
    """
    levels, proposed = halved_volume(levels[None])[0], halved_volume(proposed)
    even = tuple(2 * n for n in levels.shape)
    points = halved_volume(points[: even[0], : even[1], : even[2]].movedim(-1, 0)).movedim(0, -1)
    basis = polynomials(levels.shape, levels.device)
    with torch.no_grad():
        guessed = TissueMixture.begun(levels, proposed, counts)
        guessed = improved(guessed, levels, _log(proposed), basis, LAST)
    blurred, found = atlas.blurred(FAR), list[tuple[float, AtlasDeformation]]()
    for begun, chosen in _beginnings(levels, proposed, points, atlas, inner):
        shape = AtlasDeformation(*begun, atlas)
        if chosen:
            aligned_to_proposal(shape, guessed.posterior, points, blurred, chosen)
        with torch.no_grad():
            mixture = TissueMixture.begun(levels, blurred.at(shape(points, False)), counts)
        guide = torch.zeros_like(proposed)
        mixture = fitted(shape, mixture, levels, points, blurred, guide, basis, False, FIRST)
        with torch.no_grad():
            prior = _log(blurred.at(shape(points, False)))
            likely = mixture.likelihood(levels) + prior[mixture.group]
            score = -torch.logsumexp(likely, 0).mean() + USUAL * shape.strain()
        found.append((float(score), shape))
    return min(found, key=lambda one: one[0])[1]


def _beginnings(
    levels: Tensor, proposed: Tensor, points: Tensor, atlas: HeadAtlas, inner: Sequence[int]
) -> Iterator[tuple[tuple[Tensor, Tensor], Sequence[int]]]:
    """Yield affine maps to begin with, and the groups that are first brought onto those of the mean
    head.
    """
    size = atlas.shares.flatten(1).sum(1)
    small = [g for g in inner if size[g] < size[list(inner)].max() / SMALL]
    for chosen in (inner, small):
        yield _first(proposed, points, atlas, chosen), chosen
    matrix, still = torch.eye(3, device=levels.device), torch.zeros(3, device=levels.device)
    middle = centroids(proposed[small].sum(0, keepdim=True), points)[0]
    yield (matrix, atlas.centroids[small].mean(0) - middle), ()
    head = levels > (levels.min() + levels.max()) / 2
    if head.any():
        seen, own = points[head], grid(atlas.origin, atlas.spacing, atlas.shares.shape[1:])
        theirs = own[atlas.shares[0] < 0.5]
        still = theirs.mean(0) - seen.mean(0)
        still[2] = theirs[:, 2].max() - torch.quantile(seen[:, 2], 0.995)
        yield (matrix, still), ()


def aligned_to_proposal(
    shape: AtlasDeformation,
    posterior: Tensor,
    points: Tensor,
    atlas: HeadAtlas,
    chosen: Sequence[int],
) -> None:
    """Fit the affine map to a first posterior `(group, x, y, z)` of chosen groups: each counts
    about alike, so that small ones in the middle hold the large ones in place.
    """
    size = 1 / (posterior.flatten(1).sum(1) + FEW)
    weight = torch.zeros_like(size)
    weight[list(chosen)] = size[list(chosen)] / size[list(chosen)].mean()
    weight = weight.view(-1, 1, 1, 1)

    def loss() -> Tensor:
        found = atlas.at(shape(points, False)).clamp_min(1e-2)
        own = -(weight * posterior * torch.log(found)).sum(0).mean()
        return own + USUAL * shape.strain()

    _descend([shape.turn, shape.move], 3 * RATE, NEAR, loss)


def fitted(
    shape: AtlasDeformation,
    mixture: TissueMixture,
    levels: Tensor,
    points: Tensor,
    atlas: HeadAtlas,
    guide: Tensor,
    basis: Tensor,
    bent: bool,
    rounds: int,
) -> TissueMixture:
    """Fit shape and brightness in turn, and return the brightness; the shape is changed.

    Args:
        shape, mixture: to begin with.
        levels, points: of the image.
        atlas: of the groups.
        guide: log probabilities `(group, x, y, z)` of what the network proposes, weighed.
        basis: of the shading.
        bent: fit the free deformation too.
        rounds: of both.
    """
    moved = [shape.turn, shape.move, *([shape.bend] if bent else [])]
    for _ in range(rounds):
        with torch.no_grad():
            prior = _log(atlas.at(shape(points, bent))) + guide
            mixture = improved(mixture, levels, prior, basis, 2)
            density = mixture.likelihood(levels)
            top = density.amax(0)
            likely = mixture.of_groups(torch.exp(density - top)) * torch.exp(guide)
            likely = likely / likely.amax(0).clamp_min(1e-12)

        def loss(likely: Tensor = likely) -> Tensor:
            found = (atlas.at(shape(points, bent)).clamp_min(LEAST) * likely).sum(0)
            own = -torch.log(found + 1e-6).mean() + USUAL * shape.strain()
            return own + STIFF * shape.roughness() if bent else own

        _descend(moved, RATE, STEPS, loss)
    return mixture


def _descend(
    parameters: list[nn.Parameter], rate: float, steps: int, loss: Callable[[], Tensor]
) -> None:
    """Follow the gradient by Adam; long descents slow down to a fifth."""
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for step in range(steps):
        if steps > STEPS:
            optimizer.param_groups[0]["lr"] = rate * (1 - 0.8 * step / steps)
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _first(
    proposed: Tensor, points: Tensor, atlas: HeadAtlas, inner: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the affine map `(3, 3)`, `(3,)` that brings the centroids of the groups onto those of
    the atlas.
    """
    chosen = list(inner)
    size = proposed[chosen].flatten(1).sum(1)
    weight = size.sqrt() / size.sqrt().sum()
    source, target = centroids(proposed[chosen], points), atlas.centroids[chosen]
    middle, goal = weight @ source, weight @ target
    s, t = source - middle, target - goal
    ridge = RIDGE * (weight[:, None] * s * s).sum() / 3 * torch.eye(3, device=s.device)
    moments = (weight[:, None] * s).T
    matrix = torch.linalg.solve(moments @ s + ridge, moments @ t + ridge).T
    return matrix, goal - matrix @ middle


def _log(probability: Tensor) -> Tensor:
    return torch.log(probability.clamp_min(LEAST))
