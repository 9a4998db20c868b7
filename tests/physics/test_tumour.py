"""Laws of the tumour solver: mass balance, speed of the front, grid convergence, dose response,
walls.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from veridical.errors import GeometryError, SettingError
from veridical.physics.treatment import Treatment, radiotherapy, standard, temozolomide
from veridical.physics.tumour import (
    EXACT,
    Biology,
    Medium,
    Steps,
    TumourState,
    grown,
    medium,
    resected,
    start,
)
from veridical.physics.tumour_extent import extent

NONE = Treatment()


def cube(side: float, spacing: float) -> Medium:
    n = round(side / spacing) + 2
    white = np.ones((n, n, n), np.float32)
    return medium(white, 0 * white, spacing, fibres=0.0)


def middle(where: Medium) -> list[float]:
    return [(n - 1) / 2 for n in where.inside.shape]


def after(state: TumourState, biology: Biology, days: float, done: Treatment = NONE) -> TumourState:
    return next(grown(state, biology, done, [state.day + days]))


def test_without_growth_diffusion_keeps_every_cell() -> None:
    rng = np.random.default_rng(0)
    white = rng.uniform(0, 1, (14, 15, 16)).astype(np.float32)
    grey = (1 - white) * (rng.random(white.shape) < 0.8)
    where = medium(white, grey.astype(np.float32), 2.0)
    begun = start(where, [7, 7, 7], 0.0)
    later = after(begun, Biology(0.2, 0.0), 300.0)
    assert later.total.sum() == pytest.approx(begun.total.sum(), rel=1e-4)
    assert later.total.min() >= 0
    assert not later.total[~where.inside].any()
    assert later.total.max() < 0.7 * begun.total.max()


def test_mass_grows_by_what_the_reaction_adds() -> None:
    begun, biology = start(cube(40, 2.0), [10, 10, 10], 0.0), Biology(0.05, 0.03)
    before = after(begun, biology, 100.0)
    now = after(before, biology, 0.5)
    added = biology.proliferation * (before.total * (1 - before.total)).sum() * 0.5
    assert now.total.sum() - before.total.sum() == pytest.approx(added, rel=0.02)


def test_the_front_is_as_fast_as_theory_says() -> None:
    biology, spacing, n = Biology(0.2, 0.035), 1.0, 240
    white = np.ones((n, 5, 5), np.float32)
    where = medium(white, 0 * white, spacing, fibres=0.0)
    begun = start(where, [0, 2, 2], 0.0)
    cells = np.where(np.arange(n)[:, None, None] < 5, where.inside, 0).astype(np.float32)[None]
    begun = replace(begun, cells=cells)
    places = []
    for state in grown(begun, biology, NONE, [900.0, 1100.0]):
        line = state.total[1:-1, 2, 2]
        first = int(np.argmax(line < 0.5))
        places.append(first - 1 + (line[first - 1] - 0.5) / (line[first - 1] - line[first]))
    assert (places[1] - places[0]) / 200 == pytest.approx(biology.speed, rel=0.05)


def test_finer_grids_converge() -> None:
    biology, volumes = Biology(0.12, 0.02), []
    for spacing in (4.0, 2.0, 1.0):
        where = cube(44, spacing)
        state = after(start(where, middle(where), -150.0), biology, 150.0)
        volumes.append(float(state.total.sum()) * spacing**3)
    coarse, fine = abs(volumes[0] - volumes[2]), abs(volumes[1] - volumes[2])
    assert fine < 0.02 * volumes[2]
    assert fine < coarse / 2.5


def test_shorter_steps_change_little() -> None:
    where = cube(60, 4.0)
    begun, biology = start(where, middle(where), -200.0), Biology(0.06, 0.02, 0.03, 0.02)
    totals = [
        float(next(grown(begun, biology, standard(21), [150.0], steps=steps)).total.sum())
        for steps in (Steps(0.02), EXACT, Steps(0.25, 7.0))
    ]
    assert totals[1] == pytest.approx(totals[0], rel=0.01)
    assert totals[2] == pytest.approx(totals[0], rel=0.04)


def test_a_fraction_leaves_the_linear_quadratic_share() -> None:
    begun, biology = start(cube(30, 3.0), [5, 5, 5], 0.0), Biology(0.0, 0.0, alpha=0.03)
    for dose in (1.0, 2.0, 5.0):
        left = after(begun, biology, 1.0, radiotherapy(1.0, 1, dose)).total.sum()
        share = np.exp(-0.03 * dose - 0.003 * dose**2)
        assert left / begun.total.sum() == pytest.approx(share, rel=1e-4)
        assert biology.surviving(dose) == pytest.approx(share)


def test_more_dose_leaves_fewer_cells_and_a_field_spares_what_it_does_not_reach() -> None:
    begun, biology = start(cube(30, 3.0), [5, 5, 5], 0.0), Biology(0.05, 0.02, alpha=0.04)
    left = [
        float(after(begun, biology, 60.0, radiotherapy(1.0, n, 2.0)).total.sum())
        for n in (0, 5, 10, 20, 30)
    ]
    assert (np.diff(left) < 0).all()
    field = np.zeros(begun.total.shape, np.float32)
    spared = next(grown(begun, biology, radiotherapy(1.0, 30, 2.0), [60.0], field))
    assert spared.total.sum() == pytest.approx(left[0], rel=5e-3)  # steps differ


def test_a_drug_kills_at_its_rate_while_it_is_at_work() -> None:
    begun, biology = start(cube(30, 3.0), [5, 5, 5], 0.0), Biology(0.0, 0.0, kill=0.02)
    done = temozolomide(0.0, cycles=2)
    left = after(begun, biology, 60.0, done).total.sum()
    assert left / begun.total.sum() == pytest.approx(np.exp(-0.02 * 10), rel=1e-4)


def test_two_spans_are_one_span_and_no_time_changes_nothing() -> None:
    begun, biology = start(cube(40, 4.0), [5, 5, 5], 0.0), Biology(0.06, 0.02, 0.03, 0.02)
    done = standard(10.0)
    whole = after(begun, biology, 80.0, done)
    parts = after(after(begun, biology, 31.0, done), biology, 49.0, done)
    np.testing.assert_allclose(parts.total, whole.total, atol=2e-3)
    assert next(grown(begun, biology, done, [0.0])) is begun


def test_what_is_done_on_a_day_is_done_once_however_time_is_cut() -> None:
    begun, biology = start(cube(30, 3.0), [5, 5, 5], 0.0), Biology(0.0, 0.0, alpha=0.1)
    done = Treatment(fractions=((5.0, 2.0),))
    states = list(grown(begun, biology, done, [4.0, 5.0, 5.0, 6.0]))
    masses = [float(state.total.sum()) for state in states]
    assert masses[0] > masses[1] == masses[2] == masses[3]


def test_cells_go_faster_through_white_matter_and_along_its_border() -> None:
    white = np.zeros((25, 25, 25), np.float32)
    white[:, :, 9:16] = 1.0
    biology = Biology(0.2, 0.0)
    reach = {}
    for fibres in (0.0, 0.6):
        where = medium(white, 1 - white, 2.0, fibres)
        later = after(start(where, [12, 12, 12], 0.0), biology, 200.0).total
        reach[fibres] = [
            float((later.sum((1, 2)) * (np.arange(25) - 12) ** 2).sum()),
            float((later.sum((0, 1)) * (np.arange(25) - 12) ** 2).sum()),
        ]
    assert reach[0.0][0] > 1.5 * reach[0.0][1]
    assert reach[0.6][0] / reach[0.6][1] > reach[0.0][0] / reach[0.0][1]


def test_a_resection_takes_the_share_it_says_and_nothing_grows_in_the_cavity() -> None:
    biology = Biology(0.05, 0.03)
    where = cube(60, 3.0)
    big = after(start(where, middle(where), -200.0), biology, 200.0)
    target = (big.seen > 0.5) & where.inside
    cut = resected(big, 0.9)
    assert cut.cavity.sum() == round(0.9 * target.sum())
    later = after(cut, biology, 100.0)
    assert not later.total[cut.cavity].any()
    assert later.total.sum() > cut.total.sum()
    done = Treatment(surgery=10.0, extent=0.9)
    assert after(big, biology, 20.0, done).cavity.any()


def test_a_resistant_clone_takes_over_under_radiation() -> None:
    begun = start(cube(40, 4.0), [5, 5, 5], 0.0, shares=(0.95, 0.05))
    biology = Biology(0.05, 0.02, alpha=0.08, resistance=(1.0, 0.2))
    later = after(begun, biology, 60.0, radiotherapy(1.0, 30, 2.0))
    share = later.cells[1].sum() / later.cells.sum()
    assert share > 0.5
    with pytest.raises(SettingError, match="clones"):
        after(begun, Biology(0.05, 0.02), 1.0)


def test_dead_cells_stay_to_be_seen_and_go() -> None:
    begun = start(cube(30, 3.0), [5, 5, 5], 0.0)
    biology = Biology(0.0, 0.0, alpha=0.5, clearance=40.0)
    at_once = after(begun, biology, 1.0, radiotherapy(1.0, 1, 2.0))
    assert at_once.seen.sum() == pytest.approx(begun.seen.sum(), rel=1e-4)
    later = after(at_once, biology, 40.0)
    assert later.dead.sum() == pytest.approx(at_once.dead.sum() / np.e, rel=1e-3)


def test_extents_are_those_of_a_known_ball() -> None:
    grid = np.indices((40, 40, 40)).astype(np.float32)
    radius = np.sqrt(((grid - np.array([20.3, 19.6, 20.0])[:, None, None, None]) ** 2).sum(0))
    seen = np.clip(1 - radius / 20, 0, 1).astype(np.float32)
    found = extent(seen, 2.0, 0.5, 0.25, (1.0, 2.0, 3.0))
    assert found.enhancing == pytest.approx(4 / 3 * np.pi * 20**3 / 1000, rel=0.02)
    assert found.visible == pytest.approx(4 / 3 * np.pi * 30**3 / 1000, rel=0.02)
    np.testing.assert_allclose(found.centre, (41.6, 41.2, 43.0), atol=0.05)
    assert np.isnan(extent(0 * seen, 2.0, 0.5, 0.25, (0, 0, 0)).centre).all()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(GeometryError, match="one shape"):
        medium(np.ones((3, 3, 3), np.float32), np.ones((3, 3, 4), np.float32), 1.0)
    with pytest.raises(SettingError, match="negative"):
        Biology(-1.0, 0.1)
    with pytest.raises(SettingError, match="in order"):
        list(grown(start(cube(12, 3.0), [3, 3, 3], 5.0), Biology(0.1, 0.1), NONE, [4.0]))
