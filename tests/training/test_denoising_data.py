"""Laws of the denoising course: held-out patients are never drawn, a step's number gives its batch,
decibels are decibels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import toys
from veridical.errors import SettingError
from veridical.models.denoiser import Denoiser
from veridical.training.denoising_data import VALIDATION_LEVELS, DenoisingCourse, DenoisingData


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    with toys.clean_set():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def course(
    folder: Path, validation: bool = False, seed: int = 0, **settings: object
) -> DenoisingCourse:
    given = {
        "sources": {"toy": 1.0},
        "held_out": ("toy-2",),
        "batch": 4,
        "patch": 16,
        "cache": str(folder),
    } | settings
    return DenoisingCourse(DenoisingData(**given), seed, 1, validation)  # type: ignore[arg-type]


def test_held_out_patients_are_never_drawn_and_are_all_that_is_validated_on(folder: Path) -> None:
    seen, unseen = course(folder), course(folder, validation=True)
    drawn = [
        {of.cache.entries[n].patient for pool in of.pools.values() for n in pool}
        for of in (seen, unseen)
    ]
    assert drawn == [{"toy-0", "toy-1"}, {"toy-2"}]
    assert (seen.patients(), unseen.patients()) == ({"toy": 2}, {"toy": 1})
    everyone = course(folder, held_out=("toy",))
    assert everyone.patients() == {"toy": 0}, "a beginning of a name holds out all that begin so"


def test_with_nobody_held_out_there_is_nothing_to_validate_on(folder: Path) -> None:
    unseen = course(folder, validation=True, held_out=())
    assert unseen.validate(nn.Identity(), 3, torch.device("cpu")) == {}


def test_the_same_step_gives_the_same_batch_whoever_prepares_it(folder: Path) -> None:
    first, again, other = course(folder)[5], course(folder)[5], course(folder)[6]
    assert torch.equal(first.noisy, again.noisy)
    assert torch.equal(first.clean, again.clean)
    assert not torch.equal(first.noisy, other.noisy)
    assert not torch.equal(first.noisy, course(folder, seed=1)[5].noisy)
    (loaded,) = course(folder).loader([5], workers=1)
    assert torch.equal(loaded.noisy, first.noisy)


def test_a_batch_has_the_size_asked_for_and_neighbours_on_both_sides(folder: Path) -> None:
    assert course(folder)[0].noisy.shape == (4, 3, 2, 16, 16)


def test_an_untrained_net_scores_what_the_noise_does_and_the_truth_scores_most(
    folder: Path,
) -> None:
    unseen = course(folder, validation=True)
    net = Denoiser.build({"widths": [4, 6], "reach": 1})
    scores = unseen.validate(net, len(VALIDATION_LEVELS), torch.device("cpu"))
    expected = np.mean([-20 * np.log10(level) for level in VALIDATION_LEVELS])
    assert scores["start_db"] == scores["stack_start_db"] == pytest.approx(expected, abs=0.3)
    assert scores["net_db"] == pytest.approx(scores["start_db"], abs=1e-3)
    assert scores["stack_net_db"] == pytest.approx(scores["start_db"], abs=1e-3)


def test_half_of_the_noise_left_is_six_decibels(folder: Path) -> None:
    unseen = course(folder, validation=True)
    truth: list[Tensor] = []
    for index in range(2):
        stacks, _ = unseen.stacks(unseen.generator(index), 4)
        truth += 2 * [torch.stack([stacks[:, 1], torch.zeros_like(stacks[:, 1])], 1)]

    def half(noisy: Tensor, sigma: Tensor) -> Tensor:
        clean = truth.pop(0)
        return clean + 0.5 * (noisy[:, noisy.shape[1] // 2] - clean)

    scores = unseen.validate(half, 2, torch.device("cpu"))  # type: ignore[arg-type]
    assert scores["net_db"] - scores["start_db"] == pytest.approx(20 * np.log10(2), abs=2e-3)
    assert scores["stack_net_db"] - scores["stack_start_db"] == pytest.approx(
        20 * np.log10(2), abs=2e-3
    )


def test_the_loss_has_a_gradient_in_every_weight_after_the_first_step(folder: Path) -> None:
    made, net = course(folder), Denoiser.build({"widths": [4, 6], "reach": 1})
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
        )
    (loss,) = made.losses(net, made[0], torch.Generator(), torch.device("cpu"))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_the_cache_lies_where_the_environment_says(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "elsewhere"))
    assert course(folder).cache.folder.parent == tmp_path / "elsewhere"


def test_every_set_may_ship_and_has_its_licence(folder: Path) -> None:
    assert course(folder).barred() == []
    assert course(folder).licences() == {"toy": "made up"}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"sources": {"toi": 1.0}}, "'toy'"),
        ({"sources": {"toy": 0.0}}, "weight 0.0"),
        ({"batch": 0}, "batch = 0"),
        ({"patch": 20}, "multiple of 8"),
        ({"patch": 8}, "patch = 8"),
    ],
)
def test_data_out_of_range_are_refused(
    folder: Path, settings: dict[str, object], word: str
) -> None:
    with pytest.raises(SettingError, match=word):
        course(folder, **settings)
