"""Laws of denoising samples: noise of the stated size, real, complex, Rician or coloured, and
neighbours shown or hidden.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from veridical.generative.preconditioned import LEAST, MOST
from veridical.training import denoising_samples as module
from veridical.training.denoising_samples import (
    NoisyBatch,
    add_noise,
    clean_stack,
    coloured_at_random,
    noise_levels,
    phases,
    random_spectrum,
    smooth,
)
from veridical.training.packed_cache import PackedCache, pack

SIDE, DEPTH = 32, 3


def batch(count: int = 64, value: float = 1.0, seed: int = 0, deep: bool = True) -> NoisyBatch:
    """Noise on even images."""
    stacks = torch.full((count, DEPTH, SIDE, SIDE), value)
    return add_noise(stacks, [deep] * count, torch.Generator().manual_seed(seed))


def only(monkeypatch: pytest.MonkeyPatch, **shares: float) -> None:
    """Set the shares of what is drawn, all others to none."""
    usual = {
        "COMPLEX": 0.0,
        "COMPLEX_NOISE_ONLY": 0.0,
        "RICIAN": 0.0,
        "COLOURED": 0.0,
        "VARYING": 0.0,
        "STACKED": 1.0,
    }
    for name, share in (usual | shares).items():
        monkeypatch.setattr(module, name, share)


def middle(of: NoisyBatch) -> Tensor:
    return of.noisy[:, DEPTH // 2]


def test_the_same_seed_gives_the_same_batch() -> None:
    first, again, other = batch(8, seed=1), batch(8, seed=1), batch(8, seed=2)
    assert torch.equal(first.noisy, again.noisy)
    assert torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.noisy, other.noisy)
    moved = first.to(torch.device("cpu"))
    assert torch.equal(moved.clean, first.clean)


def test_shapes_are_those_that_the_denoiser_takes() -> None:
    made = batch(8)
    assert made.noisy.shape == (8, DEPTH, 2, SIDE, SIDE)
    assert made.clean.shape == (8, 2, SIDE, SIDE)
    assert made.sigma.shape == (8, 1, SIDE, SIDE)
    assert made.real.shape == (8,)
    assert made.real.dtype == torch.bool


@pytest.mark.parametrize("varying", [0.0, 1.0])
def test_the_noise_has_the_standard_deviation_of_the_map(
    monkeypatch: pytest.MonkeyPatch, varying: float
) -> None:
    only(monkeypatch, COMPLEX=1.0, VARYING=varying)
    made = batch(64)
    noise = (middle(made) - made.clean) / made.sigma
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    uneven = made.sigma.flatten(1).std(1) / made.sigma.flatten(1).mean(1)
    assert float(uneven.mean()) < 1e-6 if varying == 0 else float(uneven.mean()) > 0.1
    assert made.sigma.min() >= LEAST
    assert made.sigma.max() <= MOST


def test_all_slices_of_a_stack_have_noise_of_their_own_of_one_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, COMPLEX=1.0)
    made = batch(64)
    phase = (made.noisy - made.clean[:, None]) / made.sigma[:, :, None]
    for layer in range(DEPTH):
        assert float(phase[:, layer].std()) == pytest.approx(1, abs=0.03)
    assert abs(float((phase[:, 0] * phase[:, 1]).mean())) < 0.02


def test_a_real_image_has_no_imaginary_part_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    made = batch(16)
    assert made.real.all()
    assert not made.noisy[:, :, 1].any()
    assert not made.clean[:, 1].any()


def test_a_real_image_under_complex_noise_is_not_called_real(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, COMPLEX_NOISE_ONLY=1.0)
    made = batch(16)
    assert not made.real.any()
    assert not made.clean[:, 1].any()
    assert made.noisy[:, :, 1].any()


def test_a_phase_keeps_the_magnitude(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, COMPLEX=1.0)
    made = batch(16, value=0.7)
    torch.testing.assert_close(made.clean.square().sum(1).sqrt(), torch.full((16, SIDE, SIDE), 0.7))
    assert float(made.clean[:, 1].abs().max()) > 0.1


def test_phases_turn_at_most_a_few_times_and_bright_tissue_has_one_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STEEPNESS", (0.0, 0.0))
    stacks = torch.zeros(64, 1, SIDE, SIDE)
    stacks[..., : SIDE // 2] = 2.0
    found = phases(stacks, torch.Generator().manual_seed(0))
    left, right = found[:, 0, 0, 0], found[:, 0, 0, -1]
    assert float(right.abs().max()) < 0.01, "what is dark keeps the phase of the whole"
    assert 0.2 < float((left.abs() > 0.01).float().mean()) < 0.6, "a share of the samples"
    monkeypatch.setattr(module, "TISSUE", 0.0)
    monkeypatch.setattr(module, "STEEPNESS", (0.5, 0.5))
    flat = phases(stacks, torch.Generator().manual_seed(0))
    steps = torch.diff(flat, dim=-1).abs().max()
    assert 0.01 < float(steps) < 1.0, "smooth, whatever the image shows"


def test_a_rician_image_is_the_magnitude_of_complex_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """In air it is Rayleigh: its mean is the root of pi / 2 times the noise level."""
    only(monkeypatch, RICIAN=1.0)
    made = batch(64, value=0.0)
    image = middle(made)
    assert image[:, 0].min() >= 0
    assert not image[:, 1].any()
    assert float((image[:, 0] / made.sigma[:, 0]).mean()) == pytest.approx(
        (np.pi / 2) ** 0.5, rel=0.02
    )


@pytest.mark.parametrize(("stacked", "deep"), [(0.0, True), (1.0, False)])
def test_neighbours_are_hidden_when_an_image_is_alone(
    monkeypatch: pytest.MonkeyPatch, stacked: float, deep: bool
) -> None:
    only(monkeypatch, STACKED=stacked, COMPLEX=1.0)
    made = batch(16, deep=deep)
    assert middle(made).any()
    assert not made.noisy[:, [0, 2]].any()


def test_some_of_a_batch_have_neighbours_and_some_have_none() -> None:
    shown = batch(200).noisy[:, 0].flatten(1).any(1).float().mean()
    assert float(shown) == pytest.approx(module.STACKED, abs=0.12)


@pytest.mark.parametrize("seed", range(12))
def test_coloured_noise_keeps_unit_power(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gain = random_spectrum(SIDE, generator)
    assert float(gain.square().mean()) == pytest.approx(1, rel=1e-5)
    assert (gain >= 0).all()
    flipped = gain.roll((-1, -1), (0, 1)).flip(0, 1)
    torch.testing.assert_close(gain, flipped, msg="a symmetric gain keeps real noise real")
    noise = torch.randn(40, DEPTH, 2, SIDE, SIDE, generator=generator)
    chosen = torch.zeros(40, dtype=torch.bool)
    chosen[::2] = True
    found = coloured_at_random(noise.clone(), chosen, generator)
    assert torch.equal(found[1::2], noise[1::2])
    assert not torch.equal(found[::2], noise[::2])
    assert float(found[::2].std()) == pytest.approx(1, abs=0.08)


def test_noise_levels_span_all_levels_and_most_are_usual() -> None:
    levels = noise_levels(20_000, torch.Generator().manual_seed(0))
    assert LEAST <= float(levels.min()) < 1.2 * LEAST
    assert 0.9 * MOST < float(levels.max()) <= MOST
    low, high = module.USUAL
    assert float(((levels >= low) & (levels <= high)).float().mean()) > module.USUAL_SHARE


def test_smooth_fields_are_smooth_and_of_about_unit_size() -> None:
    field = smooth(200, SIDE, 3, torch.Generator().manual_seed(0))
    assert 0.5 < float(field.std()) < 1.2
    assert float((field[..., 1:] - field[..., :-1]).std()) < 0.2


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> PackedCache:
    with toys.clean_set(2, (20, 96, 90)):
        return pack(["toy"], Path(tmp_path_factory.mktemp("cache")))


def test_clean_stacks_have_the_size_asked_for_show_something_and_follow_from_the_generator(
    cache: PackedCache,
) -> None:
    for seed in range(30):
        first, again = (
            clean_stack(cache, seed % 2, 5, 32, np.random.default_rng(seed)) for _ in range(2)
        )
        assert first.shape == (5, 32, 32)
        assert torch.equal(first, again)
        assert float(first.min()) >= 0
        assert float(first[2].max()) > 0.1
        assert float(first.max()) < 1.5 * module.GAIN[1]
