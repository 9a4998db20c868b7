"""Volumes made slice by slice: what is asked of a slice, noise along the slice axis, draws, spread
and evidence.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from priors import ERROR, KnownForSure, known_card, volume
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.errors import InputError
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import silent
from veridical.tasks import generated as module
from veridical.tasks.assemble import Solution
from veridical.tasks.generated import Volume, Wanted, check_contrasts, generate, noise_walk, request
from veridical.types import Array, Image

FLAIR = Wanted("FLAIR")
GHOSTS = Wanted("T1w", "motion-ghosts", 5.0)


def prepared(image: Image, measured: tuple[str, ...], **known: Any) -> Volume:
    return Volume(Preprocessing()(image), measured, **known)


def made(
    share: float = 1.0, wanted: Wanted = FLAIR, image: Image | None = None, draws: int = 8, seed: int = 0,  # noqa: E501
    which: str = "mean", **card: Any,
) -> Solution:  # fmt: skip
    subject = volume() if image is None else image
    measured = tuple(name for name in subject.channels if name != wanted.contrast)
    model = KnownForSure(share, known_card() | card)
    return generate(
        model,
        prepared(subject, measured),
        [wanted],
        subject,
        "complete",
        draws,
        seed,
        which,
        silent,
    )


def inside(solution: Solution) -> Array:
    """The evidence where the body is."""
    assert solution.evidence is not None
    seen = Preprocessing()(volume())
    return np.asarray(solution.evidence[0][module.body(Volume(seen, ()), Preprocessing()) > 0.5])


@pytest.mark.parametrize(
    ("spacing", "kept"), [(1.0, np.exp(-1 / 3)), (2.0, np.exp(-2 / 3)), (3.0, 0.0), (5.0, 0.0)]
)
def test_noise_has_unit_variance_and_is_alike_over_three_millimetres(
    spacing: float, kept: float
) -> None:
    walk = np.stack(list(islice(noise_walk((4, 64, 64), spacing, 3), 12)))
    np.testing.assert_allclose(walk.var((1, 2, 3)), 1.0, atol=0.05)
    assert float((walk[1:] * walk[:-1]).mean()) == pytest.approx(kept, abs=0.02)
    again = np.stack(list(islice(noise_walk((4, 64, 64), spacing, 3), 12)))
    np.testing.assert_array_equal(walk, again)


def asked(index: int, wanted: Wanted = FLAIR, **known: Any) -> tuple[Request, Volume]:
    seen = prepared(volume(), ("T1w", "T2w") if wanted is FLAIR else ("T2w",), **known)
    support = module.body(seen, Preprocessing())
    return request(KnownForSure(), seen, wanted, index, support, Preprocessing()), seen


def test_a_slice_is_known_by_what_was_measured_and_begins_at_the_best_map() -> None:
    lesion = np.zeros((6, 28, 24), np.float32)
    lesion[2, 5:9, 5:9] = 1
    found, seen = asked(2, masks={"lesions": lesion}, attributes={"field": 1.5})
    assert (found.contrast, found.degradation) == ("FLAIR", "")
    for name in ("T1w", "T2w"):
        np.testing.assert_array_equal(found.images[name], seen.prepared.images[name][[2, 1, 3]])
    np.testing.assert_allclose(
        found.initial, seen.prepared.images["T1w"][2] * found.support, rtol=1e-5
    )
    assert found.level == ERROR
    assert dict(found.attributes) == {"field": 1.5, "height": pytest.approx(-0.2)}
    np.testing.assert_array_equal(found.masks["lesions"], lesion[2])


def test_the_first_and_last_slice_are_their_own_neighbours_and_the_ends_of_the_height() -> None:
    for index, around, height in ((0, [0, 0, 1], -1.0), (5, [5, 4, 5], 1.0)):
        found, seen = asked(index)
        np.testing.assert_array_equal(found.images["T1w"], seen.prepared.images["T1w"][around])
        assert found.attributes["height"] == height
    alone = prepared(volume(shape=(24, 28, 1)), ("T1w",))
    single = request(
        KnownForSure(), alone, FLAIR, 0, module.body(alone, Preprocessing()), Preprocessing()
    )
    assert "height" not in single.attributes


def test_what_is_degraded_begins_at_itself_and_is_not_among_what_was_measured() -> None:
    found, seen = asked(3, GHOSTS)
    np.testing.assert_array_equal(found.initial, seen.prepared.images["T1w"][3])
    assert (found.degradation, set(found.images)) == ("motion-ghosts", {"T2w"})
    assert found.level == pytest.approx(5.0 / seen.prepared.scales["T1w"])
    tiny, _ = asked(3, replace(GHOSTS, error=0.0))
    assert tiny.level == LEAST_LEVEL


def test_evidence_is_one_where_the_draws_agree_and_near_zero_where_they_are_the_prior() -> None:
    """The prior's deviation is 0.3, the expected error of the map 0.1."""
    sure, half, blind = (inside(made(share)).mean() for share in (0.0, 1.5, 3.0))
    assert sure == pytest.approx(1.0)
    assert half == pytest.approx(0.75, abs=0.03)
    assert blind < 0.1


def test_the_spread_is_that_of_the_draws_and_the_mean_their_mean_in_the_units_of_the_result() -> (
    None
):
    solution = made(0.4)
    assert solution.scales == (module.MADE / Preprocessing().tissue,)
    assert solution.spread is not None
    assert solution.spread.mean() == pytest.approx(0.4 * ERROR * solution.scales[0], rel=0.03)
    assert solution.draws is not None
    np.testing.assert_allclose(solution.estimate, solution.draws.mean(0), rtol=1e-4, atol=1e-3)
    one = made(0.4, which="draw")
    np.testing.assert_allclose(one.estimate, solution.draws[0], rtol=1e-5)
    assert (solution.kind, one.kind) == ("posterior mean", "one draw")


def test_a_wider_calibration_lowers_the_evidence_as_its_square() -> None:
    stored = known_card(jobs=["complete-FLAIR"])["calibration"]
    stored["complete-FLAIR"] |= {"multiplier": 2 * 1.6449}
    plain, wide = inside(made(0.5)), inside(made(0.5, calibration=stored))
    np.testing.assert_allclose(1 - wide, 4 * (1 - plain), rtol=2e-3)


def test_how_many_slices_are_made_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    together = made(draws=2)
    monkeypatch.setattr(module, "TOGETHER", 1)
    alone = made(draws=2)
    np.testing.assert_array_equal(together.draws, alone.draws)


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    first, again, other = (made(seed=seed).estimate for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("share", [0.0, 1.0, 3.0])
def test_it_is_noted_by_how_many_expected_errors_a_degraded_image_was_changed(share: float) -> None:
    solution = made(share, GHOSTS, draws=1)
    assert solution.facts["changed"]["T1w"] == pytest.approx(share, abs=0.05)
    assert (solution.draws, solution.spread, solution.evidence) == (None, None, None)
    assert solution.kind == "one draw"
    assert made(share, draws=1).facts["changed"] == {}


def test_a_degraded_image_grows_with_its_units_and_comes_back_where_it_was_shifted_to() -> None:
    image = volume()
    data = image.data.copy()
    data[0] = 1000 * (data[0] - data[0].mean())
    plain, moved = (
        made(1.0, replace(GHOSTS, error=e), i)
        for e, i in ((5.0, image), (5e3, replace(image, data=data)))
    )
    wanted = 1000 * (plain.estimate - image.data[0].mean())
    np.testing.assert_allclose(moved.estimate, wanted, atol=0.02 * np.ptp(wanted))
    assert moved.spread is not None
    assert plain.spread is not None
    assert moved.spread.mean() == pytest.approx(1000 * plain.spread.mean(), rel=0.02)


def test_units_are_those_measured_and_of_what_was_not_measured_those_of_its_modality() -> None:
    image = volume(("T1w", "CT"))
    model = KnownForSure(stored=known_card(("T1w", "CT", "PET")))
    wanted = [Wanted("PET"), Wanted("CT", "sparse-view-streaks", 20.0)]
    solution = generate(
        model, prepared(image, ("T1w",)), wanted, image, "translate", 2, 0, "mean", silent
    )
    assert solution.units == ("SUV", "HU")
    assert solution.scales == (5.0, 1000.0)
    assert solution.jobs == ("translate-PET", "translate-sparse-view-streaks")
    outside = solution.estimate[1][Preprocessing()(image).images["CT"] == -1]
    assert outside.mean() == pytest.approx(-1000, abs=30)


def test_a_contrast_that_no_training_patient_had_is_made_with_a_wide_prior() -> None:
    solution = made(0.0, Wanted("PD"), intensity_maps={})
    assert solution.evidence is not None
    body = solution.facts["body"]
    assert body.shape == volume().geometry.shape
    shown = np.swapaxes(solution.estimate[0], 0, -1)[:, ::-1][body]
    np.testing.assert_allclose(shown, module.MADE, rtol=1e-5)


def test_progress_is_told_and_contrasts_that_are_not_known_are_refused() -> None:
    told: list[tuple[str, int, int]] = []
    image = volume()
    generate(
        KnownForSure(),
        prepared(image, ("T1w",)),
        [FLAIR],
        image,
        "complete",
        8,
        0,
        "mean",
        lambda *step: told.append(step),
    )
    assert told == [("complete: FLAIR", index + 1, 6) for index in range(6)]
    check_contrasts(("T1w", "PD"), KnownForSure())
    with pytest.raises(
        InputError, match=r"knows T1w, .*; the image has 'T1'\. Did you mean 'T1[cw]'"
    ):
        check_contrasts(("T1",), KnownForSure())


def test_a_degraded_image_states_its_own_style_so_that_its_draws_keep_it() -> None:
    image = volume(("T1w", "T2w"))
    seen = prepared(image, ("T2w",), style={"FLAIR": np.full(6, 0.4)})
    assert set(seen.styles) == {"T1w", "T2w", "FLAIR"}
    support = module.body(seen, Preprocessing())
    asked = request(KnownForSure(), seen, GHOSTS, 2, support, Preprocessing())
    np.testing.assert_array_equal(asked.styles["T1w"], seen.styles["T1w"])
