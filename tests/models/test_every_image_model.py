"""What every model of images that the registry knows must keep: seeded, finite, and nothing measured or given is changed."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import known_slices
from veridical import registry
from veridical.models.base import ImageModel
from veridical.models.known import Known


def image_models() -> list[type[ImageModel]]:
    found = [registry.get("model", name) for name in registry.entries("model")]
    return [one for one in found if inspect.isclass(one) and issubclass(one, ImageModel) and hasattr(one, "name")]


def loaded(kind: type[ImageModel], folder: Path) -> ImageModel:
    return kind(weights=known_slices.saved(kind, folder), device="cpu")  # type: ignore[call-arg]


@pytest.fixture(params=image_models(), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[ImageModel]:
    found: type[ImageModel] = request.param
    return found


def tensors(known: Known) -> list[torch.Tensor]:
    return [getattr(known, f.name).clone() for f in fields(known)]


def test_draws_are_finite_follow_the_seed_and_keep_what_was_measured(kind: type[ImageModel], tmp_path: Path) -> None:
    model = loaded(kind, tmp_path)
    known, truth = known_slices.known_slices(measured=(0,), missing=(1,))
    before = tensors(known)
    first, again, other = (model.complete(known, 3, seed) for seed in (1, 1, 2))
    count = 3 if kind.stochastic else 1
    assert first.shape == (2, count, 3, 16, 16)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert torch.equal(first, other) != kind.stochastic
    assert torch.equal(first[:, :, 0], truth[:, None, 0].expand(-1, count, -1, -1))
    assert not first[:, :, 2].any()
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(known), strict=True))


def test_any_image_size_and_any_set_of_known_channels_will_do(kind: type[ImageModel], tmp_path: Path) -> None:
    model = loaded(kind, tmp_path)
    for measured, missing in (((), (0, 1, 2)), ((2,), (0, 1)), ((0, 1), (2,))):
        known, _ = known_slices.known_slices(measured, missing, batch=1, size=(21, 34))
        found = model.complete(known, 1, 0)
        assert found.shape == (1, 1, 3, 21, 34)
        assert torch.isfinite(found).all()


def test_the_loss_is_seeded_and_reaches_every_weight_of_the_net(kind: type[ImageModel]) -> None:
    torch.manual_seed(0)
    net = known_slices.awake(kind.build(known_slices.SETTINGS))
    known, truth = known_slices.known_slices(batch=4)

    def loss(seed: int) -> torch.Tensor:
        return kind.lesson_loss(net, known, truth, torch.Generator().manual_seed(seed))

    assert torch.equal(loss(3), loss(3))
    torch.autograd.backward(loss(0))
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(name.startswith("step.") for name in silent), silent


def test_the_guess_is_an_image_that_keeps_what_was_measured(kind: type[ImageModel]) -> None:
    known, truth = known_slices.known_slices()
    guess = kind.lesson_guess(known_slices.awake(kind.build(known_slices.SETTINGS)), known)
    assert guess.shape == truth.shape
    assert torch.equal(guess[:, [0, 2]], truth[:, [0, 2]])
