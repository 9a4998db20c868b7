"""Volumes solved slice by slice: what is known of a slice, noise along the slice axis, draws, spread and evidence."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from priors import HEAD, Known4Sure, volume, weights
from veridical.errors import InputError, SettingError
from veridical.models.brain_prior import BrainPrior
from veridical.models.known import ABSENT, DEGRADED, LEAST_LEVEL, MEASURED, MISSING
from veridical.task import silent
from veridical.tasks import imagewise
from veridical.tasks.imagewise import Degradation, Drawn, Plan, averaged, expected_error, facts, known_slice, noise_walk, solve
from veridical.tasks.view import view
from veridical.types import Array

PLAN = Plan("complete", measured=("T1w", "T2w"), asked=("FLAIR",), field=1.5)
DENOISE = Plan("enhance", measured=("T2w",), degraded={"T1w": Degradation("noise", 0.05)})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return weights(BrainPrior, tmp_path_factory.mktemp("weights"))


def solved(path: str, share: float, plan: Plan = PLAN, draws: int = 8, seed: int = 0) -> Drawn:
    return solve(Known4Sure(weights=path, share=share, device="cpu"), view(volume()), plan, draws, seed, silent, {})


@pytest.mark.parametrize(("spacing", "kept"), [(1.0, np.exp(-1 / 3)), (2.0, np.exp(-2 / 3)), (3.0, 0.0), (5.0, 0.0)])
def test_noise_has_unit_variance_and_is_alike_over_three_millimetres(spacing: float, kept: float) -> None:
    walk = torch.stack(list(islice(noise_walk((4, 64, 64), spacing, 3), 12)))
    np.testing.assert_allclose(walk.var(dim=(1, 2, 3)), 1.0, atol=0.05)
    assert float((walk[1:] * walk[:-1]).mean()) == pytest.approx(kept, abs=0.02)
    again = torch.stack(list(islice(noise_walk((4, 64, 64), spacing, 3), 12)))
    assert torch.equal(walk, again)


def test_a_slice_is_known_by_what_was_measured_and_what_is_asked(path: str) -> None:
    seen, net = view(volume()), facts(Known4Sure(weights=path))
    known = known_slice(seen, 2, PLAN, net)
    assert known.status[0].tolist() == [MEASURED, MEASURED, MISSING, ABSENT, ABSENT, ABSENT]
    assert known.drawn.flatten().tolist() == [0, 0, 1, 0, 0, 0]
    for k, name in enumerate(("T1w", "T2w")):
        np.testing.assert_array_equal(known.anchor[0, k], seen.images[name][2])
        np.testing.assert_array_equal(known.neighbours[0, k], seen.images[name][1])
        np.testing.assert_array_equal(known.neighbours[0, len(HEAD) + k], seen.images[name][3])
    np.testing.assert_allclose(known.anchor[0, 2], net.prior_mean[2] * known.support[0, 0])
    assert float(known.level[0, 2]) == pytest.approx(net.prior_std[2])
    assert known.field[0].tolist() == pytest.approx([0.5, 1.0])
    assert known.height[0].tolist() == pytest.approx([-0.2, 1.0])


def test_the_first_and_last_slice_are_their_own_neighbours(path: str) -> None:
    seen, net = view(volume()), facts(Known4Sure(weights=path))
    first, last = (known_slice(seen, index, PLAN, net) for index in (0, 5))
    np.testing.assert_array_equal(first.neighbours[0, 0], seen.images["T1w"][0])
    np.testing.assert_array_equal(last.neighbours[0, len(HEAD)], seen.images["T1w"][5])


def test_what_is_degraded_is_drawn_within_its_expected_error(path: str) -> None:
    known = known_slice(view(volume()), 2, DENOISE, facts(Known4Sure(weights=path)))
    assert known.status[0, :2].tolist() == [DEGRADED, MEASURED]
    assert float(known.level[0, 0]) == pytest.approx(0.05)
    flat, ones = torch.ones(20, 20), torch.ones(20, 20)
    assert expected_error(flat, Degradation("noise", 0.0), ones) == LEAST_LEVEL
    assert expected_error(flat, Degradation("bias", 0.03, 0.04), ones) == pytest.approx(0.05)
    rough = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))
    blur, thick = (expected_error(rough, Degradation(kind, 0.0, 2.0), ones) for kind in ("blur", "thick"))  # type: ignore[arg-type]
    assert thick == pytest.approx(1.5 * blur)
    assert blur > expected_error(0.5 * rough, Degradation("blur", 0.0, 2.0), ones) > LEAST_LEVEL


def inside(drawn: Drawn) -> Array:
    assert drawn.evidence is not None
    return np.asarray(drawn.evidence[0][drawn.support])


def test_evidence_is_one_where_the_draws_agree_and_near_zero_where_they_are_the_prior(path: str) -> None:
    sure, half, blind = (inside(solved(path, share)).mean() for share in (0.0, 0.5, 1.0))
    assert sure == pytest.approx(1.0)
    assert half == pytest.approx(0.75, abs=0.03)
    assert blind < 0.1


def test_the_spread_is_that_of_the_draws_and_the_mean_their_mean(path: str) -> None:
    drawn = solved(path, 0.4)
    assert drawn.spread is not None
    assert drawn.spread[0].mean() == pytest.approx(0.4 * 0.25, rel=0.03)
    np.testing.assert_allclose(drawn.mean, drawn.draws.astype(np.float32).mean(0), atol=1e-3)


def test_a_wider_calibration_lowers_the_evidence_as_its_square(path: str) -> None:
    seen, model = view(volume()), Known4Sure(weights=path, share=0.3, device="cpu")
    plain, wide = (inside(solve(model, seen, PLAN, 8, 0, silent, {"FLAIR": factor})) for factor in (1.0, 2.0))
    np.testing.assert_allclose(1 - wide, 4 * (1 - plain), rtol=1e-3)


def test_how_many_slices_go_through_the_network_at_once_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = solved(path, 1.0, draws=2)
    monkeypatch.setattr(imagewise, "TOGETHER", 1)
    alone = solved(path, 1.0, draws=2)
    np.testing.assert_array_equal(together.draws, alone.draws)


def test_the_same_seed_gives_the_same_draws_and_another_seed_others(path: str) -> None:
    first, again, other = (solved(path, 1.0, seed=seed).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("share", [0.0, 1.0, 3.0])
def test_the_residual_says_by_how_many_expected_errors_a_channel_was_changed(path: str, share: float) -> None:
    drawn = solved(path, share, DENOISE, draws=1)
    assert drawn.residual["T1w"] == pytest.approx(share, abs=0.03)
    assert drawn.spread is None
    assert drawn.evidence is None


def test_progress_is_told_to_the_last_slice(path: str) -> None:
    told: list[tuple[str, int, int]] = []
    model = Known4Sure(weights=path, device="cpu")
    solve(model, view(volume()), PLAN, 4, 0, lambda what, done, total: told.append((what, done, total)), {})
    assert [done for _, done, _ in told] == [2, 4, 6]
    assert set(told[-1]) == {"complete: FLAIR", 6}


def test_the_average_of_one_volume_seen_along_two_axes_is_that_volume(path: str) -> None:
    image, model = volume(spacing=(2.0, 2.0, 2.0)), Known4Sure(weights=path, share=0.0, device="cpu")
    parts = [(solve(model, seen, DENOISE, 2, 0, silent, {}), seen) for seen in (view(image, 0), view(image, 1))]
    one, seen = averaged(parts, model, DENOISE, {})
    np.testing.assert_allclose(seen.restore(one.mean)[0] * seen.scales["T1w"], image["T1w"], atol=0.1)


def test_models_and_channels_that_do_not_fit_are_refused_with_those_that_do(path: str) -> None:
    with pytest.raises(SettingError, match=r"wavelet does not work on images.*brain-prior"):
        imagewise.image_model("wavelet", "")
    with pytest.raises(InputError, match=r"has 'T1'.*Did you mean 'T1[cw]'"):
        imagewise.check_channels(("T1",), Known4Sure(weights=path))
