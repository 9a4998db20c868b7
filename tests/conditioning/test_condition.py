"""Laws of conditions: any set of them, in any order, known or not, and none of them changes an
input width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from priors import awake, request
from veridical import registry
from veridical.conditioning.condition import Condition, Conditioning, conditions
from veridical.conditioning.request import Request
from veridical.errors import SettingError
from veridical.generative.conditioned import Conditioned
from veridical.types import Array

EVERY = list(registry.entries("condition"))
SETTINGS = {"widths": (8, 8), "blocks": 1}
FULL = {
    "masks": {"lesions": np.ones((16, 20), np.float32)},
    "degradation": "motion-ghosts",
    "styles": {"FLAIR": np.linspace(0.2, 0.9, 6)},
}


@dataclass(frozen=True)
class Age(Condition):
    """Age of the patient."""

    name: ClassVar[str] = "age"
    kind: ClassVar[Literal["map", "vector"]] = "vector"

    @property
    def size(self) -> int:
        return 1

    def value(self, request: Request) -> Array | None:
        age = request.attributes.get("age")
        return None if age is None else np.array([age / 100])


def net(*names: str, more: tuple[Condition, ...] = ()) -> Conditioned:
    torch.manual_seed(0)
    made = awake(Conditioned((*conditions(names), *more), "unet", SETTINGS))
    assert isinstance(made, Conditioned)
    return made


def state(count: int = 2) -> Tensor:
    return torch.randn(count, 1, 16, 20, generator=torch.Generator().manual_seed(3))


def answer(made: Conditioned, used: tuple[Condition, ...], *requests: Request) -> Tensor:
    with torch.inference_mode():
        found: Tensor = made(
            state(len(requests)), torch.full((len(requests),), 0.5), Conditioning.of(used, requests)
        )
    return found


@pytest.mark.parametrize("name", EVERY)
def test_a_value_has_the_stated_size_and_its_encoder_the_stated_width(name: str) -> None:
    (condition,) = conditions([name])
    asked = request(**FULL)
    value = condition.value(asked)
    assert value is not None
    assert value.shape == (condition.size, *((16, 20) if condition.kind == "map" else ()))
    assert np.isfinite(value).all()
    batch = Conditioning.of([condition], [asked, asked])
    encoded = condition.encoder(5)(batch.values[name])
    assert encoded.shape == (2, 5, *((16, 20) if condition.kind == "map" else ()))
    assert batch.known[name].tolist() == [1, 1]


@pytest.mark.parametrize("name", EVERY)
def test_every_condition_reaches_the_output(name: str) -> None:
    used = conditions([name])
    made = net(name)
    one = request(**FULL)
    other = request(
        "PD",
        ("T2w",),
        seed=1,
        level=0.4,
        masks={"lesions": np.zeros((16, 20), np.float32)},
        attributes={"field": 3.0},
        styles={"PD": np.linspace(0.1, 1.4, 6)},
    )
    found = answer(made, used, one, other)
    alone = answer(made, used, other, other)
    assert not torch.allclose(found[0], alone[0], atol=1e-5)
    torch.testing.assert_close(found[1], alone[1])


def test_the_order_of_conditions_does_not_matter() -> None:
    names = ("contrast", "images", "attributes", "initial-estimate")
    made, turned = net(*names), net(*reversed(names))
    turned.load_state_dict(made.state_dict())
    asked = (request(), request("T2w", ("PD", "T1w"), seed=2))
    first = answer(made, conditions(names), *asked)
    torch.testing.assert_close(answer(turned, conditions(tuple(reversed(names))), *asked), first)


def test_what_is_not_known_counts_a_learned_value_and_never_the_zeros_that_stand_for_it() -> None:
    """The encoder of zeros has a bias, which must not be heard."""
    used, made = conditions(["mask"]), net("mask")
    before = answer(made, used, request())
    made.encoders["mask"].bias.data += 5
    torch.testing.assert_close(answer(made, used, request()), before)
    made.unknown["mask"].data += 0.5
    assert not torch.allclose(answer(made, used, request()), before, atol=1e-4)
    batch = Conditioning.of(used, [request(), request(**FULL)])
    assert batch.known["mask"].tolist() == [0, 1]
    assert not batch.values["mask"][0].any()


def test_a_new_condition_changes_no_input_width() -> None:
    old, new = net("contrast", "images"), net("contrast", "images", "mask", more=(Age(),))
    assert new.backbone.inputs == old.backbone.inputs
    assert new.backbone.conditions == old.backbone.conditions


def test_old_weights_load_into_a_network_with_one_more_condition_up_to_its_own_keys() -> None:
    old, used = net("contrast", "images"), conditions(["contrast", "images"])
    for more in ((Age(),), conditions(["mask"])):
        new = Conditioned((*used, *more), "unet", SETTINGS)
        keys = new.load_state_dict(old.state_dict(), strict=False)
        name = more[0].name
        assert keys.unexpected_keys == []
        assert set(keys.missing_keys) == {
            f"encoders.{name}.weight",
            f"encoders.{name}.bias",
            f"unknown.{name}",
        }
        asked = (request(), request("T2w", ("PD",), seed=2))
        same = answer(new, (*used, *more), *asked)
        torch.testing.assert_close(
            same, answer(old, used, *asked), msg="where it is not known nothing changes"
        )


def test_a_condition_of_another_package_is_learned_like_ours() -> None:
    used: tuple[Condition, ...] = (Age(),)
    made = net(more=used)
    young, old = (request(attributes={"age": age}) for age in (20, 80))
    found = answer(made, used, young, old, request())
    assert not torch.allclose(found[0], found[1], atol=1e-6)
    assert Conditioning.of(used, [young, request()]).known["age"].tolist() == [1, 0]


def test_repeated_slices_stand_one_after_the_other_and_all_goes_to_a_device() -> None:
    batch = Conditioning.of(conditions(EVERY), [request(seed=1), request(seed=2)]).repeat(3)
    for name in EVERY:
        assert len(batch.values[name]) == len(batch.known[name]) == 6
        assert torch.equal(batch.values[name][0], batch.values[name][2])
    assert not torch.equal(batch.values["images"][2], batch.values["images"][3])
    moved = batch.to(torch.device("meta"))
    assert {value.device.type for value in (*moved.values.values(), *moved.known.values())} == {
        "meta"
    }


def test_conditions_take_the_settings_that_they_have_and_unknown_names_are_refused() -> None:
    contrast, height = conditions(
        ["contrast", "attributes"], contrasts=("CT", "PET"), masks=("bone",)
    )
    assert (contrast.size, height.size) == (2, 4)
    with pytest.raises(SettingError, match="'available'"):
        conditions(["availble"])
