"""Laws of the generator: seeded, finite, any family and set of conditions by name, and its card
says what it knows.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import toys
from priors import BODY, HEAD, request, weights
from veridical import registry
from veridical.conditioning.request import Request
from veridical.errors import FormatError, SettingError
from veridical.generative.family import Given
from veridical.models import generator as module
from veridical.models.generator import CONDITIONS, Generator, parts

FAMILIES = list(registry.entries("family"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def model(folder: Path, runtime: str = "torch", steps: int = 3, **net: object) -> Generator:
    return Generator(weights(folder, **net), steps, "cpu", runtime)  # type: ignore[arg-type]


def slices() -> list[Request]:
    return [
        request("FLAIR", seed=1),
        request("T2w", ("PD", "T1c"), seed=2, degradation="motion-ghosts"),
    ]


def noise(draws: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, draws, 16, 20), np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_are_finite_follow_the_noise_and_leave_the_requests_as_they_were(
    folder: Path, family: str
) -> None:
    made, asked = model(folder, family=family), slices()
    before = [one.initial.copy() for one in asked]
    first, again, other = (made.make(asked, 3, noise(3, seed)) for seed in (1, 1, 2))
    assert first.shape == (2, 3 if made.stochastic else 1, 16, 20)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) != made.stochastic
    for one, kept in zip(asked, before, strict=True):
        np.testing.assert_array_equal(one.initial, kept)


@pytest.mark.parametrize("size", [(21, 34), (8, 8), (33, 16)])
def test_any_image_size_and_nothing_measured_will_do(folder: Path, size: tuple[int, int]) -> None:
    for given in ((), ("PD",), ("T1w", "T2w", "PD", "T1c")):
        found = model(folder).make([request("FLAIR", given, size)], 1)
        assert found.shape == (1, 1, *size)
        assert np.isfinite(found).all()


def test_without_noise_of_the_caller_it_makes_its_own_the_same_every_time(folder: Path) -> None:
    first, again = (model(folder).make(slices(), 2) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:, 0], first[:, 1])


def test_the_card_says_what_it_knows_and_whether_it_has_draws(folder: Path) -> None:
    assert model(folder).contrasts == HEAD
    assert Generator(weights(folder, BODY)).contrasts == BODY
    assert [model(folder, family=name).stochastic for name in ("rectified-flow", "regression")] == [
        True,
        False,
    ]
    assert len(model(folder).weights_hash) == 64


def test_parts_are_named_by_the_table_and_the_rest_is_the_backbone_s() -> None:
    table = {
        "family": "bridge",
        "contrasts": ["CT", "T1w"],
        "degradations": ["sparse-view-streaks"],
        "widths": [8, 8],
    }
    found = parts(table)
    assert (found.family.name, found.backbone, dict(found.settings)) == (
        "bridge",
        "unet",
        {"widths": [8, 8]},
    )
    assert tuple(condition.name for condition in found.conditions) == CONDITIONS
    sizes = {condition.name: condition.size for condition in found.conditions}
    assert (sizes["contrast"], sizes["images"], sizes["degradation-kind"]) == (2, 6, 2)
    masked = parts({**table, "conditions": ["contrast", "mask"], "masks": ["bone", "tumour"]})
    assert [condition.size for condition in masked.conditions] == [2, 2]
    assert table["widths"] == [8, 8]


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"contrasts": ["CT"], "family": "brigde"}, "'bridge'"),
        ({"contrasts": ["CT"], "conditions": ["contrats"]}, "'contrast'"),
        ({"contrasts": ["CT"], "backbone": "unett"}, "'unet'"),
        ({"contrasts": ["CT"], "widhts": [8]}, "'widths'"),
        ({"family": "bridge"}, "names the contrasts it knows"),
    ],
)
def test_what_is_misspelt_is_refused_with_the_nearest(table: dict[str, object], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        Generator.build(table)


@pytest.mark.parametrize("steps", [0, 1001])
def test_numbers_of_steps_out_of_range_are_refused(steps: int) -> None:
    with pytest.raises(SettingError, match="1 to 1000"):
        Generator(steps=steps)


def test_a_condition_given_by_the_recipe_reaches_the_network(folder: Path) -> None:
    made = model(folder, conditions=[*CONDITIONS, "mask"])
    lesion = np.zeros((16, 20), np.float32)
    lesion[6:9, 6:12] = 1
    plain, marked = (
        made.make([request(masks={"lesions": mask})], 1) for mask in (np.zeros_like(lesion), lesion)
    )
    assert not np.array_equal(plain, marked)
    ignorant = model(folder)
    plain, marked = (
        ignorant.make([request(masks={"lesions": m})], 1) for m in (0 * lesion, lesion)
    )
    np.testing.assert_array_equal(plain, marked)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(
        FormatError, match=r"weights of denoiser, .*expected weights of a generator"
    ):
        assert Generator(str(toys.weights("denoiser"))).contrasts


def test_it_is_built_silent_so_that_training_begins_at_the_estimate() -> None:
    torch.manual_seed(0)
    net = Generator.build({"contrasts": HEAD, "widths": [8, 8], "blocks": 1})
    assert not net.get_submodule("backbone.leave").weight.any()


def test_draws_have_styles_of_patients_who_look_alike_about_the_mean_of_all_styles(
    tmp_path: Path,
) -> None:
    """The mean of the draws is the one-pass mean; a style that is stated is that of every draw."""
    path = Path(weights(tmp_path, conditions=[*CONDITIONS, "style"]))
    card = json.loads(path.with_suffix(".json").read_text())
    stored = [{"T1w": [0.1 * n] * 6, "FLAIR": [0.3 * n] * 6} for n in range(4)]
    path.with_suffix(".json").write_text(json.dumps(card | {"styles": stored}))
    made = Generator(str(path), 3, "cpu", "torch")
    asked = [replace(request("FLAIR"), styles={"T1w": np.full(6, 0.2)})]
    one = replace(made, steps=1).make(asked, 1)
    same = np.tile(noise(1)[:1], (1, 4, 1, 1))
    drawn = made.make(asked, 4, same)
    np.testing.assert_allclose(drawn.mean(1), one[:, 0], atol=1e-4)
    assert drawn.std(1).max() > 3e-4, "from the same noise, styles alone make the difference"
    stated = [replace(asked[0], styles={"FLAIR": np.full(6, 0.5)})]
    assert made.make(stated, 4, same).std(1).max() < 1e-5


def test_samples_lie_as_far_from_the_mean_as_the_network_expects_it_to_err(folder: Path) -> None:
    made, asked = model(folder, spread=True), slices()
    net = module._network(made.weights, torch.device("cpu"), "torch")
    every = parts(made.card["net"])
    middle, spread = every.family.mean_and_spread(net, Given.of(every.conditions, asked))
    assert spread is not None
    draws = made.make(asked, 200, noise(200))
    np.testing.assert_allclose(draws.mean(1), middle[:, 0], atol=1e-3)
    inner = np.s_[:, 4:-4, 4:-4]
    ratio = draws.std(1)[inner].mean() / spread.numpy()[:, 0][inner].mean()
    assert ratio == pytest.approx(1, abs=0.1)


def test_only_families_that_can_tell_the_spread_take_it() -> None:
    assert parts({"contrasts": ["T1w"], "spread": True}).spread
    with pytest.raises(SettingError, match="bridge do not tell"):
        parts({"contrasts": ["T1w"], "family": "bridge", "spread": True})
