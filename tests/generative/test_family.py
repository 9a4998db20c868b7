"""What every family of generators must keep: it starts at the estimate, and its draws follow their
noise alone.
"""

from __future__ import annotations

import pytest
import torch
from generators import CONDITIONS, FAMILIES, family, given, network, noise, requests, truth

from veridical.conditioning.request import LEAST_LEVEL
from veridical.models.runtime import accelerated

SAMPLERS = [name for name in FAMILIES if family(name).stochastic]


def test_a_residual_is_in_units_of_the_expected_error_and_turns_back_into_the_image() -> None:
    batch, image = given(), truth()
    torch.testing.assert_close(batch.image(batch.residual(image)), image)
    torch.testing.assert_close(batch.residual(image)[1], (image[1] - batch.initial[1]) / 0.2)
    assert batch.measured.tolist() == [False, True]
    assert batch.initial.shape == (2, 1, 16, 20)
    sure = given(*(type(r)(r.contrast, r.initial, 0.0, r.support) for r in requests()))
    assert sure.level.flatten().tolist() == pytest.approx([LEAST_LEVEL] * 2)


def test_repeated_slices_stand_one_after_the_other() -> None:
    batch = given().repeat(3)
    assert batch.measured.tolist() == [False] * 3 + [True] * 3
    assert torch.equal(batch.initial[0], batch.initial[2])
    assert batch.level.flatten().tolist() == pytest.approx([0.1] * 3 + [0.2] * 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_untrained_network_leaves_the_estimate_as_it_is(name: str) -> None:
    batch = given()
    torch.testing.assert_close(
        family(name).mean(network(name, trained=False), batch), batch.initial
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_seeded_and_reaches_every_weight(name: str) -> None:
    net, made = network(name), family(name)

    def loss(seed: int) -> torch.Tensor:
        return made.loss(net, given(), truth(), torch.Generator().manual_seed(seed))

    assert torch.equal(loss(3), loss(3))
    torch.autograd.backward(sum(loss(seed) for seed in range(4)))  # type: ignore[arg-type]
    silent = {key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    unknown = {key for key in silent if "unknown." in key}
    assert silent - unknown == ({"time.weight"} if name == "regression" else set())
    hidden = getattr(made, "dropped", 0) > 0
    assert hidden or len(unknown) >= len(CONDITIONS), "all of these slices are known of"


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_follow_their_noise_alone_whatever_their_number_and_what_stands_beside(
    name: str,
) -> None:
    net, made = network(name), family(name)
    many = made.draw(net, given(), noise(4), 3)
    assert many.shape == (2, 4, 1, 16, 20)
    few = made.draw(net, given(), noise(4)[:, :2], 3)
    torch.testing.assert_close(few, many[:, :2])
    second = made.draw(net, given(requests()[1]), noise(4)[1:], 3)
    torch.testing.assert_close(second[0], many[1])
    other = made.draw(net, given(), noise(4, seed=1), 3)
    assert not torch.allclose(other, many, atol=1e-4)


def test_a_family_without_randomness_gives_its_estimate_once() -> None:
    net, made = network("regression"), family("regression")
    found = made.draw(net, given(), noise(5), 3)
    assert found.shape == (2, 1, 1, 16, 20)
    assert torch.equal(found[:, 0], made.mean(net, given()))
    assert [name for name in FAMILIES if name not in SAMPLERS] == ["regression"]


@pytest.mark.parametrize("name", ["adversarial", "autoregressive", "latent-flow", "vae"])
def test_the_mean_of_a_family_of_latents_takes_one_pass_and_is_not_the_estimate(name: str) -> None:
    net = network(name)
    mean = family(name).mean(net, given())
    assert not torch.allclose(mean, given().initial, atol=1e-3)


@pytest.mark.parametrize("name", ["rectified-flow", "bridge", "diffusion"])
def test_one_step_is_the_posterior_mean_whatever_the_noise(name: str) -> None:
    net, made = network(name), family(name)
    mean = made.mean(net, given())
    torch.testing.assert_close(
        made.draw(net, given(), noise(2), 1), mean[:, None].expand(-1, 2, -1, -1, -1)
    )
    assert not torch.allclose(mean, given().initial, atol=1e-3)


@pytest.mark.parametrize("backbone", ["unet", "dit", "mamba"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_fastest_runtime_there_is_gives_the_same_draws(name: str, backbone: str) -> None:
    """An exported backbone where there is one, torch for all other networks of a family."""
    plain, fast = (network(name, backbone=backbone).eval() for _ in range(2))
    fast = accelerated(fast, "auto", torch.device("cpu"))
    found, wanted = (family(name).draw(net, given(), noise(2), 2) for net in (fast, plain))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
