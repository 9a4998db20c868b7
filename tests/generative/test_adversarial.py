"""Laws of the adversarial family: one loss trains generator and discriminator without mixing
them.
"""

from __future__ import annotations

import torch
from generators import given, network, truth

from veridical.generative.adversarial import Adversarial, judged
from veridical.generative.regression import one_pass


def test_one_loss_trains_both_nets_as_two_losses_would() -> None:
    net, batch, image, made = network("adversarial"), given(), truth(), Adversarial()
    critic = net.get_submodule("critic")
    own = list(critic.parameters())
    rest = [
        p
        for name, p in net.named_parameters()
        if not name.startswith(("critic.", "unknown.", "time.weight"))
    ]
    both = torch.autograd.grad(
        made.loss(net, batch, image, torch.Generator().manual_seed(3)), own + rest
    )
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    wanted, drawn = batch.residual(image), one_pass(net, batch, noise)
    real, fake = critic(judged(batch, wanted)), critic(judged(batch, drawn.detach()))
    judge = fake.square().mean() + (real - 1).square().mean()
    fool = (drawn - wanted).abs().mean() + made.weight * (
        critic(judged(batch, drawn)) - 1
    ).square().mean()
    apart = (*torch.autograd.grad(judge, own), *torch.autograd.grad(fool, rest))
    for one, other in zip(both, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert one.any()


def test_the_discriminator_sees_the_image_beside_the_estimate_and_is_kept_with_the_weights() -> (
    None
):
    batch, image = given(), truth()
    seen = judged(batch, batch.residual(image))
    torch.testing.assert_close(seen, torch.cat([image, batch.initial], 1))
    assert any(name.startswith("critic.") for name in network("adversarial").state_dict())
