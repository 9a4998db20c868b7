"""Laws of the conditional GAN: one loss trains both nets without mixing them, draws follow the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import known_slices
from veridical.models.joint_prior import denoise
from veridical.models.translation_gan import ADVERSARIAL, TranslationGAN, TranslationNet, judged
from veridical.nets.joint import JointNet


def setting() -> tuple[TranslationNet, Tensor, Tensor, Tensor]:
    """Return the net, what the discriminator sees of real and of made images, and the L1 term."""
    torch.manual_seed(0)
    net = known_slices.awake(TranslationGAN.build(known_slices.SETTINGS))
    assert isinstance(net, TranslationNet)
    known, truth = known_slices.known_slices()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(3)) * known.drawn
    made = denoise(net, replace(known, hint=noise), torch.zeros_like(truth), torch.zeros(2))
    wanted = (truth - known.anchor) / known.level.clamp_min(1e-6)[..., None, None] * known.drawn
    return net, judged(known, wanted), judged(known, made), (made - wanted)[:, 1].abs().mean()


def test_one_loss_trains_both_nets_as_two_losses_would() -> None:
    net, real, made, error = setting()
    known, truth = known_slices.known_slices()
    critic = list(net.critic.parameters())
    generator = [p for name, p in net.named_parameters() if not name.startswith(("critic.", "step."))]
    loss = TranslationGAN.lesson_loss(net, known, truth, torch.Generator().manual_seed(3))
    both = torch.autograd.grad(loss, critic + generator)
    judge = net.critic(made.detach()).square().mean() + (net.critic(real) - 1).square().mean()
    fool = error + ADVERSARIAL * (net.critic(made) - 1).square().mean()
    alone = torch.autograd.grad(judge, critic), torch.autograd.grad(fool, generator)
    for one, other in zip(both, [*alone[0], *alone[1]], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert one.any()


def test_the_discriminator_sees_the_measured_channels_and_nothing_of_absent_ones() -> None:
    known, truth = known_slices.known_slices(measured=(0,), missing=(1,))
    wanted = (truth - known.anchor) / known.level.clamp_min(1e-6)[..., None, None] * known.drawn
    seen = judged(known, wanted)
    torch.testing.assert_close(seen[:, :2], truth[:, :2])
    assert not seen[:, 2].any()
    assert seen[:, 3:].amax((0, 2, 3)).tolist() == [0.0, 1.0, 0.0]


def test_draws_follow_from_the_seed_and_keep_what_was_measured(tmp_path: Path) -> None:
    model = TranslationGAN(known_slices.saved(TranslationGAN, tmp_path), "cpu")
    known, truth = known_slices.known_slices()
    first, again, other = (model.complete(known, 3, seed) for seed in (5, 5, 6))
    assert first.shape == (2, 3, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(first[:, :, 0], truth[:, None, 0].expand(-1, 3, -1, -1))


def test_given_noise_takes_the_place_of_the_seed(tmp_path: Path) -> None:
    model = TranslationGAN(known_slices.saved(TranslationGAN, tmp_path), "cpu")
    known, _ = known_slices.known_slices()
    given = known_slices.noise(2, 2, 3, 16, 16)
    assert torch.equal(model.complete(known, 2, 5, given), model.complete(known, 2, 6, given))


def test_a_net_without_a_discriminator_is_refused() -> None:
    known, truth = known_slices.known_slices()
    with pytest.raises(TypeError, match="TranslationNet"):
        TranslationGAN.lesson_loss(JointNet(("T1w", "FLAIR", "T1c"), (8, 8)), known, truth, torch.Generator())
