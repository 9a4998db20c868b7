"""Laws of the world model and the twin: identity, composition, monotone dose, learning, alarm."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from veridical.errors import InputError, SettingError
from veridical.models import world
from veridical.models.twin import Twin, progression
from veridical.models.world import Belief, Observed, WorldModel, ball, volumes
from veridical.phantoms.glioma import Glioma
from veridical.physics.treatment import Treatment, radiotherapy, standard
from veridical.physics.tumour_extent import Extent
from veridical.workflow.twin_demo import brain_of

MODEL = WorldModel(16, assimilations=1, drift=0.0, seed=1)
PATIENT = Glioma(3, 1, 4.0, treatment=standard(21.0))


@cache
def told() -> dict[float, Twin]:
    days = [0.0, 20.0, 200.0]
    seen = PATIENT.extents(days, noisy=True)
    twin = Twin.begun(MODEL, Observed(0.0, seen[0]), brain_of(PATIENT), dict(PATIENT.genes))
    twins = {0.0: twin}
    for day, one in zip(days[1:], seen[1:], strict=True):
        twins[day] = twin = twin.told(Observed(day, one), PATIENT.treatment)
    return twins


def start() -> Belief:
    return told()[20.0].belief


def test_every_member_is_as_large_at_the_first_scan_as_it_is_to_be() -> None:
    belief = told()[0.0].belief
    shown = volumes(MODEL.decode(belief)[:, 0])
    np.testing.assert_allclose(shown, belief.posterior("volume"), rtol=0.05)


def test_no_step_is_the_identity() -> None:
    assert MODEL.step(start(), standard(21.0), 0.0) is start()


def test_two_steps_are_one() -> None:
    at_once = MODEL.decode(MODEL.step(start(), standard(21.0), 100.0))
    half = MODEL.step(start(), standard(21.0), 50.0)
    in_two = MODEL.decode(MODEL.step(half, standard(21.0), 50.0))
    np.testing.assert_allclose(in_two[:, :2], at_once[:, :2], atol=0.6)


def test_actions_matter_and_more_dose_shows_less() -> None:
    doses = [radiotherapy(21.0, n, 2.0) for n in (0, 10, 20, 30)]
    shown = [float(MODEL.decode(MODEL.step(start(), one, 60.0))[:, 1].mean()) for one in doses]
    assert (np.diff(shown) < 0).all()


def test_a_rollout_says_what_steps_say() -> None:
    stepped = MODEL.decode(MODEL.step(start(), standard(21.0), 90.0))[:, :2]
    rolled = MODEL.rollout(start(), standard(21.0), [110.0])[:, 0]
    assert np.abs(rolled - stepped).mean() < 1.5


def test_scans_narrow_the_belief_and_the_forecast() -> None:
    first, last = told()[0.0], told()[200.0]
    unseen = MODEL.prior(first.scans[0], first.belief.brain, dict(PATIENT.genes))
    for name in ("proliferation", "alpha"):
        assert last.belief.posterior(name).std() < unseen.posterior(name).std()
    widths = [float(np.diff(twin.forecast(PATIENT.treatment, [300.0]).interval(0.9), axis=0)[0, 0])
              for twin in (first, last)]  # fmt: skip
    assert widths[1] < widths[0]


def test_the_same_seed_gives_the_same_belief() -> None:
    twin, again = told()[0.0], MODEL.encode(told()[0.0].scans, start().brain, Treatment(),
                                            dict(PATIENT.genes))  # fmt: skip
    np.testing.assert_array_equal(twin.belief.parameters, again.parameters)


def test_drift_widens_what_lies_far_ahead() -> None:
    drifting = replace(MODEL, drift=0.5)
    near, far = (m.rollout(start(), Treatment(), [300.0])[:, 0, 1].std() for m in (MODEL, drifting))
    assert far > near


def test_a_scan_that_cannot_be_raises_the_alarm_and_widens() -> None:
    twin = told()[20.0]
    odd = replace(twin.scans[0].extent, enhancing=70.0, visible=110.0)
    after = twin.told(Observed(60.0, odd), PATIENT.treatment)
    assert after.belief.alarm
    assert "day 60" in after.alarm
    assert after.belief.widening > 1
    assert not twin.belief.alarm
    assert twin.alarm == ""


def test_probabilities_are_uniform_when_the_model_is_right() -> None:
    rng = np.random.default_rng(0)
    error = np.array([0.5, 0.5, 1.0, 1.0, 1.0])
    found = []
    for _ in range(400):
        shown = rng.normal(20, 1, (32, 5))
        noise = np.sqrt(error**2 + np.array([*(np.hypot(0.6, 0.3),) * 2, *(0.5,) * 3]) ** 2)
        found.append(world.probability(shown, rng.normal(20, np.hypot(1, noise)), error))
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_the_day_of_progression_is_the_last_crossing() -> None:
    days = np.array([10.0, 20.0, 30.0, 40.0])
    assert progression(days, np.array([5.0, 1.0, 1.0, 8.0]), 4.0) == pytest.approx(
        30 + 10 * (ball(4) - ball(1)) / (ball(8) - ball(1))
    )
    assert progression(days, np.array([1.0, 1.0, 1.0, 1.0]), 4.0) == 40.0
    assert progression(days, np.array([5.0, 6.0, 7.0, 8.0]), 4.0) == 10.0


def test_the_best_option_is_chosen_and_a_scan_day_is_found() -> None:
    twin = told()[20.0]
    options = [replace(radiotherapy(21.0, n, 2.0), name=f"{n} fractions") for n in (5, 30)]
    choice = twin.choose(options, horizon=300.0)
    assert choice.name == "30 fractions"
    assert choice.values["30 fractions"] > choice.values["5 fractions"]
    scan = twin.next_scan(options[1], [60.0, 150.0], 250.0)
    assert scan.name in scan.values
    assert min(scan.values.values()) > 0


def test_scans_that_do_not_fit_are_refused() -> None:
    twin = told()[20.0]
    with pytest.raises(SettingError, match="in order"):
        twin.told(Observed(20.0, twin.scans[0].extent), Treatment())
    nothing = Observed(0.0, Extent(0.0, 0.0, (0.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="enhancing tumour"):
        MODEL.encode([nothing], start().brain, Treatment())
    with pytest.raises(InputError, match="16 members"):
        WorldModel(4)
