"""Laws of the adversarial family: one loss trains generator and discriminator without mixing them,
the score is least for the truth's own variety.
"""

from __future__ import annotations

import pytest
import torch
from generators import given, network, requests, truth
from torch import nn
from torch.nn.functional import softplus

from veridical.generative.adversarial import Adversarial, judged, made_from, slope
from veridical.generative.regression import one_pass


def test_one_loss_trains_both_nets_as_two_losses_would() -> None:
    net, batch, image, made = network("adversarial"), given(), truth(), Adversarial(at_start=0.0)
    critic = net.get_submodule("critic")
    own = list(critic.parameters())
    rest = [p for n, p in net.named_parameters() if not n.startswith(("critic.", "unknown."))]
    both = torch.autograd.grad(
        made.loss(net, batch, image, torch.Generator().manual_seed(3)), own + rest
    )
    generator = torch.Generator().manual_seed(3)
    white = torch.randn(2, *image.shape, generator=generator)
    torch.rand(2, generator=generator)
    few = torch.randperm(2, generator=generator)[:1]
    wanted, drawn = batch.residual(image), [made_from(net, batch, one) for one in white]
    real, fake = judged(batch, wanted), judged(batch, drawn[0].detach())
    judge = softplus(critic(fake) - critic(real)).mean()
    judge = judge + made.penalty / 2 * (slope(critic, real[few]) + slope(critic, fake[few]))
    fool = softplus(critic(real) - critic(judged(batch, drawn[0]))).mean()
    score = sum((one - wanted).abs().mean() for one in drawn) - (drawn[0] - drawn[1]).abs().mean()
    apart = (
        *torch.autograd.grad(made.weight * judge, own),
        *torch.autograd.grad(score / 2 + made.weight * fool, rest),
    )
    for one, other in zip(both, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
        assert one.any()


def test_the_discriminator_sees_the_residual_beside_the_estimate_and_is_kept_with_the_weights() -> (
    None
):
    batch, image = given(), truth()
    seen = judged(batch, batch.residual(image))
    torch.testing.assert_close(seen, torch.cat([batch.residual(image), batch.initial], 1))
    assert any(name.startswith("critic.") for name in network("adversarial").state_dict())


def test_the_penalty_is_the_squared_slope_for_each_score() -> None:
    """Scores that are a sum over two channels of 4 x 4 pixels, weighed by 3."""
    critic = nn.Conv2d(2, 1, 4, stride=4, bias=False)
    critic.weight.data.fill_(3.0)
    found = slope(critic, torch.randn(2, 2, 8, 12, generator=torch.Generator().manual_seed(0)))
    assert float(found.detach()) == pytest.approx(32 * 9.0)
    (grown,) = torch.autograd.grad(found, critic.weight)
    torch.testing.assert_close(grown, torch.full_like(grown, 6.0))


def test_without_noise_it_is_a_regressor_that_the_discriminator_leaves_alone() -> None:
    net, batch, image = network("adversarial"), given(), truth()
    loss = Adversarial(at_start=1.0, penalty=0.0).loss(
        net, batch, image, torch.Generator().manual_seed(0)
    )
    error = one_pass(net, batch) - batch.residual(image)
    torch.testing.assert_close(loss, error.abs().mean())
    torch.testing.assert_close(
        Adversarial().mean(net, batch), batch.image(one_pass(net, batch)).detach()
    )


class Spread(nn.Module):
    """A generator that draws its noise, `scale` times."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.critic = nn.Conv2d(2, 1, 4, stride=4, bias=False)

    def forward(self, state: torch.Tensor, *_: object) -> torch.Tensor:
        return self.scale * state


def test_the_score_is_least_where_draws_vary_as_the_truth_does() -> None:
    batch = given(*[requests()[0]] * 60)
    image = batch.image(torch.randn(60, 1, 16, 20, generator=torch.Generator().manual_seed(9)))
    made = Adversarial(at_start=0.0, weight=0.0)

    def score(scale: float) -> float:
        loss = made.loss(Spread(scale), batch, image, torch.Generator().manual_seed(0))
        return float(loss.detach())

    assert score(1.0) < min(score(0.0), score(0.5), score(1.5))
