"""Robustness: gains of known maps, the same question to both methods, and when it is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from studies import image, picture, result, study

import toys
from veridical.audit.audited_study import AuditedStudy, known
from veridical.audit.changed_input import data_of, with_data
from veridical.audit.robustness import assumptions, robustness, sensitivity
from veridical.physics.coils import Coils
from veridical.types import Array, Finding, Result, Study

GIVEN = study({"T1w": image(picture())})
SCAN = Study.of(toys.measurement())


def identity(changed: Study, seed: int) -> Result:
    return result(changed.image().data[0])


def amplifying(changed: Study, seed: int) -> Result:
    """Amplifies what is other than it was ten times."""
    data = changed.image().data[0].astype(np.float64)
    return result(np.asarray(picture() + 10 * (data - picture()), np.float64))


def asked(**more: object) -> AuditedStudy:
    return known(GIVEN, asked=("robustness",), **more)


def judged(**more: object) -> Finding:
    found = robustness(asked(**more), result(picture()))
    assert found is not None
    return found


def test_the_identity_moves_as_much_as_its_data() -> None:
    found = sensitivity(identity, GIVEN, data_of(GIVEN, result(picture())))
    assert found.random == pytest.approx(1, abs=1e-3)
    assert found.worst == pytest.approx(1, abs=1e-3)
    assert found.scenarios["noise of 2%"] == pytest.approx(0.02, rel=0.01)


def test_the_worst_change_is_worse_than_a_random_one_and_below_the_true_worst() -> None:
    direction = np.random.default_rng(5).standard_normal(picture().shape)
    direction /= np.linalg.norm(direction)

    def spiked(changed: Study, seed: int) -> Result:
        data = changed.image().data[0].astype(np.float64)
        return result(np.asarray(data + 200 * np.vdot(direction, data) * direction, np.float64))

    found = sensitivity(spiked, GIVEN, data_of(GIVEN, result(picture())))
    plain = spiked(GIVEN, 0).image.data
    true = 201 * np.linalg.norm(picture()) / np.linalg.norm(plain)
    assert found.random * 1.2 < found.worst < true


def test_a_method_that_amplifies_fails_beside_the_identity_and_not_beside_itself() -> None:
    assert judged(alone=amplifying, classical=identity).verdict == "fail"
    assert judged(alone=amplifying, classical=amplifying).verdict == "pass"
    assert judged(alone=identity, classical=amplifying).verdict == "pass"
    alone = judged(alone=identity)
    assert alone.verdict == "pass"
    assert "no classical method" in alone.reason


def test_it_runs_only_when_it_is_asked_for() -> None:
    assert robustness(GIVEN, result(picture())) is None
    assert robustness(known(GIVEN, alone=identity), result(picture())) is None
    found = robustness(known(GIVEN, asked=("robustness",)), result(picture()))
    assert found is not None
    assert found.verdict == "not_run"


def test_raw_data_lose_lines_and_get_other_maps_where_they_have_some() -> None:
    data = data_of(SCAN, result(picture()))
    rng = np.random.default_rng(0)
    found = assumptions(SCAN, data, rng)
    assert list(found) == ["noise of 2%", "10% of the outer lines missing"]
    fewer = found["10% of the outer lines missing"].measurement()
    before = SCAN.measurement()
    assert (
        0
        < before.operator.mask.sum() - fewer.operator.mask.sum()
        < 0.1 * before.operator.mask.sum()
    )
    assert not np.abs(fewer.data[0][:, ~fewer.operator.mask[0]]).any()
    maps = toys.sensitivities().numpy()[None, None]
    operator = replace(before.operator, coils=Coils(maps=maps))
    given = Study.of(replace(before, operator=operator))
    assert "coil maps wrong by 5%" in assumptions(given, data_of(given, result(picture())), rng)


def test_changes_of_raw_data_stay_where_samples_were_taken() -> None:
    seen: list[Array] = []

    def noting(changed: Study, seed: int) -> Result:
        seen.append(np.asarray(changed.measurement().data))
        return result(picture() * np.float32(np.linalg.norm(seen[-1])))

    sensitivity(noting, SCAN, data_of(SCAN, result(picture())))
    outside = ~SCAN.measurement().operator.mask[0]
    assert all(not np.abs(array[0][:, outside]).any() for array in seen)
    moved = np.linalg.norm(seen[1] - seen[0]) / np.linalg.norm(seen[0])
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_studies_with_changed_data_leave_the_first_as_it_was() -> None:
    changed = with_data(GIVEN, {"T1w": GIVEN.image().data + 1})
    assert float((changed.image().data - GIVEN.image().data).min()) == pytest.approx(1, abs=1e-4)
