"""The atlas fitted to images whose shape, contrast and shading are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.models.atlas_fit import segmented_by_atlas
from veridical.models.head_atlas import FILE, centroids, grid, head_atlas
from veridical.models.head_segmenter import GROUPS, INNER
from veridical.models.tissue_mixture import TissueMixture, levels_of, polynomials
from veridical.training.head_atlas import shares

BRIGHT = {"T1w": (0.9, 0.6, 0.15), "T2w": (0.35, 0.5, 1.0)}
"""White matter, grey matter, fluid."""
SPACING = 3.0
"""mm: a third of the voxels that the segmenter works on, so that a fit takes seconds."""


def brightness(contrast: str) -> np.ndarray:
    white, grey, fluid = BRIGHT[contrast]
    values = np.full(len(GROUPS), grey, np.float32)
    for place, name in enumerate(GROUPS):
        if "white" in name or name == "brain stem":
            values[place] = white
        if "ventricle" in name or "fluid" in name:
            values[place] = fluid
    values[GROUPS.index("background")] = 0.02
    values[GROUPS.index("skull")] = 0.05
    values[GROUPS.index("rest of the head")] = 0.7
    return values


def subject(contrast: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image `(x, y, z)` at 3 mm of the atlas, stretched, moved and under a shading,
    and its groups.
    """
    shape = (50, 61, 50)
    points = grid(-SPACING * (torch.tensor(shape) - 1) / 2, SPACING, shape)
    matrix = torch.diag(torch.tensor([1.0, 1.06, 0.94]))
    moved = points @ matrix.T + torch.tensor([6.0, 0.0, 10.0])
    labels = head_atlas().at(moved).argmax(0)
    rng = np.random.default_rng(0)
    image = brightness(contrast)[labels.numpy()]
    image = image * np.exp(0.25 * np.linspace(-1, 1, shape[1]))[None, :, None]
    image = np.abs(image + 0.03 * rng.standard_normal(shape))
    return torch.from_numpy(image.astype(np.float32)), labels


def guessed(labels: torch.Tensor, off: int) -> torch.Tensor:
    """Return a poor proposal: the truth moved by some voxels, blurred over its neighbours."""
    hot = torch.nn.functional.one_hot(labels, len(GROUPS)).movedim(-1, 0).float()
    moved = torch.roll(hot, (off, -off), (2, 3))
    soft = torch.nn.functional.avg_pool3d(moved[None], 9, 1, 4)[0]
    return (soft + 0.01) / (soft + 0.01).sum(0)


def dice(found: torch.Tensor, truth: torch.Tensor, name: str) -> float:
    one, other = (each == GROUPS.index(name) for each in (found, truth))
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("contrast", list(BRIGHT))
def test_a_poor_proposal_becomes_a_good_one_in_any_contrast_under_shading(contrast: str) -> None:
    image, truth = subject(contrast)
    proposed = guessed(truth, 2)
    counts = [2 if name == "background" else 1 for name in GROUPS]
    found = segmented_by_atlas(image, proposed, head_atlas(), SPACING, counts, INNER)
    assert torch.allclose(found.sum(0), torch.ones_like(found[0]), atol=1e-4)
    for name in ("white matter", "cortex", "brain stem", "cerebellar cortex"):
        before, after = (dice(one.argmax(0), truth, name) for one in (proposed, found))
        assert after > 0.8, (name, after)
        assert after > before + 0.05, (name, before, after)


def test_the_mixture_finds_means_and_shading_of_an_image_it_made() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (24, 24, 24), generator=generator)
    field = 0.3 * torch.linspace(-1, 1, 24).view(1, -1, 1).expand(24, 24, 24)
    means = torch.tensor([-3.0, -1.0, -0.2])
    levels = means[labels] + field + 0.05 * torch.randn(labels.shape, generator=generator)
    sure = torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).float()
    prior = 0.6 * sure + 0.4 / 3
    mixture = TissueMixture.begun(levels, prior, (1, 1, 1))
    basis = polynomials(levels.shape, levels.device)
    for _ in range(12):
        mixture = mixture.explained(levels, torch.log(prior)).measured(levels, basis)
    assert float((mixture.posterior.argmax(0) == labels).float().mean()) > 0.99
    spread = (mixture.shading - field)[labels > 0]
    assert float(spread.std()) < 0.03
    found = mixture.mean[1:] + spread.mean()
    assert torch.allclose(found, means[1:], atol=0.05)


def test_groups_of_several_tissues_are_split_by_brightness() -> None:
    levels = levels_of(torch.tensor([0.1, 0.2, 0.8, 0.9]).repeat(64).view(4, 8, 8))
    mixture = TissueMixture.begun(levels, torch.ones(1, 4, 8, 8), (2,))
    assert mixture.group.tolist() == [0, 0]
    assert float(mixture.mean[0]) < float(levels.mean()) < float(mixture.mean[1])
    assert mixture.weight.sum() == pytest.approx(1.0)


def test_the_atlas_in_the_package_is_that_of_the_shapes_in_the_package() -> None:
    made, origin = shares()
    with np.load(FILE) as stored:
        assert np.abs(made.astype(int) - stored["shares"].astype(int)).max() <= 20
        assert (made == stored["shares"]).mean() > 0.999
        np.testing.assert_array_equal(origin, stored["origin"])


def test_centroids_of_left_and_right_lie_in_the_middle() -> None:
    middle = head_atlas().centroids[[GROUPS.index("thalamus"), GROUPS.index("putamen")]]
    assert float(middle[:, 0].abs().max()) < 3.0
    points = grid(torch.zeros(3), 2.0, (3, 3, 3))
    weights = torch.zeros(1, 3, 3, 3)
    weights[0, 2, 1, 0] = 1.0
    assert centroids(weights, points)[0].tolist() == pytest.approx([4.0, 2.0, 0.0], abs=1e-4)
