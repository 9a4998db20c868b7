"""Laws of the denoiser as a model: seeded draws about one estimate, any operator, any units,
settings refused by name.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import priors
import toys
from veridical.errors import FormatError, SettingError
from veridical.generative.preconditioned import Preconditioned
from veridical.models import weights
from veridical.models.denoiser import Denoiser, denoising_net
from veridical.models.problem import Problem
from veridical.physics.blur import Blur
from veridical.physics.identity import Identity
from veridical.physics.linear import LinearOperator
from veridical.physics.parallel_beam import ParallelBeam, half_turn


def model() -> Denoiser:
    return Denoiser(str(toys.weights("denoiser")), "cpu")


def posed(kind: str) -> Problem:
    """A small problem of each sort."""
    if kind == "mri":
        return toys.problem()
    shape = (5, 16, 12) if "volume" in kind else (16, 12)
    truth = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if kind == "sinogram":
        operator: LinearOperator = ParallelBeam((16, 12), (1.0, 1.0), half_turn(20))
    elif kind == "blur":
        operator = Blur((16, 12), (1.0, 1.0), (2.0, 2.0))
    else:
        operator = Identity(shape)
    data = operator.forward(truth)
    data = data + 0.05 * torch.randn(data.shape, generator=torch.Generator().manual_seed(1))
    start = operator.classical(data) if kind == "sinogram" else operator.adjoint(data)
    return Problem(
        operator, data, 0.05, start, stacked="volume" in kind, isotropic="isotropic" in kind
    )


KINDS = ("mri", "sinogram", "blur", "image", "volume", "isotropic volume")


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_from_the_seed_and_their_mean_is_the_estimate(kind: str) -> None:
    problem = posed(kind)
    first, again, other = (model().solve(problem, 4, seed) for seed in (5, 5, 6))
    assert first.shape == (4, *problem.operator.domain)
    assert first.dtype == problem.start.dtype
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float((first[0] - first[1]).abs().max()) > 0
    (estimate,) = model().solve(problem, 1, 0)
    torch.testing.assert_close(first.mean(0), estimate, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mri", "sinogram"])
def test_the_estimate_fits_the_data_better_than_where_it_started(kind: str) -> None:
    problem = posed(kind)
    (estimate,) = model().solve(problem, 1, 0)
    misfits = [
        float((problem.operator.forward(x) - problem.data).norm())
        for x in (problem.start, estimate)
    ]
    assert misfits[1] < misfits[0]


@pytest.mark.parametrize("factor", [1e-4, 1000.0])
def test_draws_are_the_same_in_any_units_of_the_data(factor: float) -> None:
    plain, scaled = model().solve(toys.problem(), 2, 0), model().solve(toys.problem(factor), 2, 0)
    torch.testing.assert_close(scaled, plain, atol=5e-3, rtol=0)


def test_every_operator_is_accepted() -> None:
    assert all(model().accepts(posed(kind).operator) for kind in KINDS)


def test_a_net_is_loaded_once_and_evaluates() -> None:
    name = str(toys.weights("denoiser"))
    net = denoising_net(name, torch.device("cpu"))
    assert net is denoising_net(name, torch.device("cpu"))
    assert not net.training
    assert model().weights_hash == weights.fingerprint(name)


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_an_untrained_net_changes_nothing_and_takes_slices_with_and_without_neighbours(
    reach: int,
) -> None:
    net = Denoiser.build({"widths": [4, 6], "reach": reach})
    assert isinstance(net, Preconditioned)
    for slices in {1, 2 * reach + 1}:
        noisy: Tensor = torch.randn(
            2, slices, 2, 16, 12, generator=torch.Generator().manual_seed(0)
        )
        torch.testing.assert_close(
            net(noisy, torch.full((2, 1, 16, 12), 0.1)), noisy[:, slices // 2]
        )


def test_unknown_settings_of_the_net_are_refused_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="'widths'"):
        Denoiser.build({"widhts": [8]})
    with pytest.raises(SettingError, match=r"No backbone is called 'unett'.*unet"):
        Denoiser.build({"backbone": "unett"})


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="weights of generator; expected weights of denoiser"):
        Denoiser(priors.weights(tmp_path), "cpu").solve(posed("image"), 1, 0)
