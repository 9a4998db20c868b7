"""What every family, backbone and condition of a generator must keep."""

from __future__ import annotations

import inspect

import numpy as np
import torch

from veridical.conditioning.condition import Condition, Conditioning
from veridical.conditioning.request import Request
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.nets.backbone import Backbone
from veridical.testing.subjects import disc

STEPS = 12
JUDGED = range(100, 106)
"""Seeds whose mean loss is compared: of one alone it depends on the noise level that it draws."""


def request() -> Request:
    """Return a slice of which everything is known that a condition may ask for."""
    support = (disc() > 0).astype(np.float32)
    images = {"T2w": np.stack([disc()] * 3), "T1w": np.stack([0.8 * disc()] * 3)}
    masks = {"lesions": (disc() > 0.8).astype(np.float32)}
    return Request(
        "FLAIR",
        0.4 * support,
        0.2,
        support,
        images,
        "",
        masks,
        {"field": 3.0, "height": 0.2, "age": 60},
    )


def check_condition(condition: Condition) -> None:
    """Check a condition: its value has its size, it may be unknown, its encoder fits a network,
    which learns it.

    Raises:
        AssertionError: a promise is broken.
    """
    known = request()
    value = condition.value(known)
    shape = (condition.size, *(known.initial.shape if condition.kind == "map" else ()))
    assert value is None or np.shape(value) == shape, (
        f"a value has shape {np.shape(value)}; expected {shape}"
    )
    bare = Request("FLAIR", known.initial, known.level, known.support)
    batch = Conditioning.of([condition], [known, bare])
    net = Conditioned([condition], "unet", {"widths": (8, 8), "blocks": 1})
    for parameter in net.backbone.parameters():  # zero where networks begin as the identity
        torch.nn.init.normal_(parameter, std=0.1)
    state = torch.zeros(2, 1, *known.initial.shape)
    out = net(state, torch.zeros(2), batch)
    assert out.shape == state.shape, f"a network that depends on it gives {tuple(out.shape)}"
    torch.autograd.backward(out.square().mean())
    learned = [p.grad for p in net.encoders.parameters()]
    seen = any(g is not None and bool(g.abs().sum() > 0) for g in learned)
    assert value is None or seen, "the network does not see its value"


def check_backbone(kind: type[Backbone]) -> None:
    """Check a backbone class: any image size, zero output when it is made, gradients to every
    parameter, its condition seen.

    Raises:
        AssertionError: a promise is broken.
    """
    small = {"widths": (8, 8), "width": 16, "blocks": 1}
    settings = {
        key: value for key, value in small.items() if key in inspect.signature(kind).parameters
    }
    torch.manual_seed(0)
    net = kind(inputs=3, outputs=2, conditions=4, **settings)
    assert (net.inputs, net.conditions) == (3, 4), (
        "inputs and conditions are not kept as attributes"
    )
    assert net.multiple >= 1, "multiple says to what sides are padded"
    for shape in ((32, 32), (21, 35)):
        x, condition = torch.randn(2, 3, *shape), torch.randn(2, 4)
        out = net(x, condition)
        assert out.shape == (2, 2, *shape), f"input of {shape} gives {tuple(out.shape)}"
        assert float(out.detach().abs().max()) == 0, "its output is not zero when it is made"
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x, condition = torch.randn(2, 3, 16, 16), torch.randn(2, 4)
    wanted = x[:, :2] + condition[:, :2, None, None]
    losses = []
    for _ in range(STEPS):
        loss = (net(x, condition) - wanted).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0], (
        f"its loss does not fall: {losses[0]:.3g} to {losses[-1]:.3g} in {STEPS} steps"
    )
    assert not torch.equal(net(x, condition), net(x, condition + 1)), (
        "it does not see its condition"
    )


def check_family(family: Family, name: str = "unet") -> None:
    """Check a family: a network learns by its loss, its mean and draws have the right shape, draws
    follow their noise.

    Args:
        family: an instance with its settings.
        name: of the backbone.

    Raises:
        AssertionError: a promise is broken.
    """
    from veridical import registry
    from veridical.conditioning.condition import conditions

    torch.manual_seed(0)
    chosen = conditions(
        ("contrast", "images", "initial-estimate"), contrasts=("T1w", "T2w", "FLAIR")
    )
    small = {"widths": (8, 8), "width": 16, "blocks": 1}
    known = inspect.signature(registry.get("backbone", name)).parameters
    net = family.prepare(Conditioned(chosen, name, {k: v for k, v in small.items() if k in known}))
    given, truth = (
        Given.of(chosen, [request()] * 2),
        torch.from_numpy(disc())[None, None].repeat(2, 1, 1, 1),
    )
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)

    def loss(seed: int) -> torch.Tensor:
        return family.loss(net, given, truth, torch.Generator().manual_seed(seed))

    def mean_loss() -> float:
        return sum(float(loss(seed).detach()) for seed in JUDGED) / len(JUDGED)

    before = mean_loss()
    for step in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(loss(step))
        optimizer.step()
    after = mean_loss()
    assert after < before, f"its loss does not fall: {before:.3g} to {after:.3g} in {STEPS} steps"
    mean = family.mean(net, given)
    assert mean.shape == truth.shape, (
        f"its mean has shape {tuple(mean.shape)}; expected {tuple(truth.shape)}"
    )
    noise = torch.randn(2, 3, *truth.shape[1:], generator=torch.Generator().manual_seed(1))
    drawn = family.draw(net, given, noise, 2)
    assert drawn.shape == (2, 3 if family.stochastic else 1, *truth.shape[1:]), (
        f"3 draws have shape {tuple(drawn.shape)}"
    )
    assert torch.isfinite(drawn).all(), "draws are not finite"
    assert torch.equal(drawn, family.draw(net, given, noise, 2)), "the same noise gave other draws"
    assert not family.stochastic or not torch.equal(drawn[:, 0], drawn[:, 1]), (
        "two draws are the same"
    )
