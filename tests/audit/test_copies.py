"""Copies are found whichever way they were changed, sets without copies hardly ever warn, and what
cannot be told is called inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from veridical.audit import copies
from veridical.audit.audited_study import AuditedStudy, known
from veridical.audit.membership import chance, membership, true_positives
from veridical.audit.resemblance import nearest, of_arrays, patients_of
from veridical.testing import check_audit
from veridical.types import Array, Finding, Geometry, Image, Result, Study

GRID = Geometry((48, 40, 1), np.diag([4.0, 4.0, 4.0, 1.0]))
LIKE: dict[str, Callable[[Array], Array]] = {
    "exact": lambda data: data,
    "flipped": lambda data: data[:, ::-1],
    "noisy": lambda data: data + np.random.default_rng(1).normal(0, 0.01, data.shape),
    "shifted": lambda data: ndimage.shift(data, (2.4, -1.3), order=1),
    "brighter": lambda data: 3 * data + 1,
}


@cache
def patient(seed: int) -> Array:
    """A disc with a texture of its own, `(y, x)`."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1.2, 1.2, 48), np.linspace(-1, 1, 40), indexing="ij")
    texture = ndimage.gaussian_filter(rng.normal(size=y.shape), 1.5) * 5
    return np.asarray((0.5 + 0.3 * texture) * (x**2 + y**2 < 0.8))


def image(data: Array) -> Image:
    return Image(np.asarray(data, np.float32)[None, ..., None], GRID, "a.u.", ("T1w",))


def audited(made: list[Array], real: list[Array], **more: dict[str, Image]) -> AuditedStudy:
    return known(
        Study("", {0.0: {}}),
        generated={f"g{n}": image(data) for n, data in enumerate(made)},
        training={f"t{n}": image(data) for n, data in enumerate(real)},
        **more,
    )


def subject(study: AuditedStudy) -> Result:
    absent = dict.fromkeys(("draws", "interval", "evidence"), "another generator made it")
    return Result(next(iter(study.generated.values())), "image", absent=absent)


def judged(study: AuditedStudy) -> Finding:
    found = copies.copies(study, subject(study))
    assert found is not None
    return found


def test_copies_are_named_with_what_they_are_copies_of() -> None:
    real = [patient(n) for n in range(30)]
    made = [patient(100 + n) for n in range(25)] + [change(real[7]) for change in LIKE.values()]
    found = judged(audited(made, real))
    assert found.verdict == "fail"
    assert found.evidence["identical"] == {"g25": "t7"}
    assert {found.evidence["alike"][f"g{25 + n}"] for n in range(len(LIKE))} == {"t7"}


def test_a_set_without_copies_does_not_fail_and_states_its_power() -> None:
    study = audited([patient(200 + n) for n in range(30)], [patient(n) for n in range(30)])
    found = check_audit(copies.copies, study, subject(study))
    assert found is not None
    power = found.evidence["power"]
    assert found.verdict == ("pass" if power >= copies.POWER else "warn")
    assert ("Inconclusive" in found.reason) == (power < copies.POWER)
    assert found.evidence["power_unchanged"] >= power


def slices(number: int, label: str) -> dict[str, Image]:
    """Slices of one patient, which are all but the same."""
    rng = np.random.default_rng(number)
    near = [patient(number) + rng.normal(0, 0.02, (48, 40)) for _ in range(3)]
    return {f"sub-{label}{number}_slice-{n}": image(data) for n, data in enumerate(near)}


def test_neighbouring_slices_of_a_patient_are_one_patient() -> None:
    real = {name: one for n in range(12) for name, one in slices(n, "a").items()}
    made = {name: one for n in range(100, 106) for name, one in slices(n, "b").items()}
    clean = known(Study("", {0.0: {}}), generated=made, training=real)
    assert judged(clean).verdict != "fail"
    copied = {**made, "sub-b107_slice-0": image(LIKE["noisy"](LIKE["flipped"](patient(4))))}
    found = judged(known(Study("", {0.0: {}}), generated=copied, training=real))
    assert found.verdict == "fail"
    assert found.evidence["alike"]["sub-b107_slice-0"].startswith("sub-a4_")


def test_a_changed_part_of_another_brightness_hides_no_copy() -> None:
    real = [patient(n) for n in range(30)]
    changed = real[7].copy()
    changed[16:24, 16:24] = 8 * real[3][16:24, 16:24]
    study = audited([*(patient(100 + n) for n in range(25)), changed], real)
    assert judged(study).evidence["alike"] == {"g25": "t7"}


def test_a_volume_is_found_whichever_way_it_was_flipped_and_shifted() -> None:
    rng = np.random.default_rng(0)
    small = [ndimage.gaussian_filter(rng.normal(size=(24, 24, 24)), 2) for _ in range(6)]
    real = of_arrays(list("abcdef"), np.stack(small))
    copy = ndimage.shift(small[4][::-1, :, ::-1], (1.5, -2, 0), order=1, mode="wrap")
    near = nearest(of_arrays(["copy"], copy[None]), real)
    assert near.index[0, 0] == 4
    assert near.distance[0, 0] < 0.5 * near.distance[0, 1]


def test_patients_are_told_by_their_bids_label() -> None:
    names = ["sub-01_T1w", "x/sub-01_slice-2_T1w", "sub-02", "T1w-7", "T1w-7b"]
    first, same, *others = patients_of(names).tolist()
    assert first == same
    assert len({first, *others}) == 4


def test_without_a_set_or_training_images_nothing_is_said() -> None:
    study = audited([patient(1), patient(2)], [patient(3)])
    assert judged(study).verdict == "not_run"
    assert copies.copies(known(Study("", {0.0: {}})), subject(study)) is None
    assert check_audit(copies.copies) is None


def test_the_tail_test_keeps_its_level_for_exponential_gaps() -> None:
    rng = np.random.default_rng(0)
    p = [
        copies.tail_p(rng.exponential(0.1, (1, 60)), rng.exponential(0.1, 50))[0]
        for _ in range(2000)
    ]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.049, abs=0.015)


def test_one_far_gap_is_found_and_named_by_the_tail_test_alone() -> None:
    rng = np.random.default_rng(0)
    own, gaps = rng.exponential(0.1, (1, 100)), rng.exponential(0.1, 100)
    own[0, 3] = 2.5
    assert copies.tail_p(own, gaps)[0] < 0.001
    assert copies.single_p(own[0], gaps).argmin() == 3
    assert copies.sum_p(own, gaps)[0] > 0.01


def test_the_sum_of_gaps_keeps_its_level_and_finds_many_that_are_a_little_large() -> None:
    rng = np.random.default_rng(0)
    p = copies.sum_p(rng.gamma(4, 1, (300, 80)), rng.gamma(4, 1, 80))
    assert np.mean(p <= 0.5) < 0.9
    assert np.all(copies.sum_p(1.6 * rng.gamma(4, 1, (5, 200)), rng.gamma(4, 1, 200)) < 0.01)


def test_labels_are_exchangeable_where_neither_set_trained() -> None:
    small = np.stack([np.resize(patient(n), (48, 48)) for n in range(60)])
    sets = [of_arrays([str(n) for n in range(20)], small[at : at + 20]) for at in (0, 20, 40)]
    assert copies.labels_p(*sets) > 0.01


def test_membership_tells_copied_patients_and_not_others() -> None:
    real, kept = [patient(n) for n in range(25)], [patient(300 + n) for n in range(25)]
    held_out = {f"h{n}": image(data) for n, data in enumerate(kept)}
    copied = audited([LIKE["noisy"](data) for data in real[:10]], real, held_out=held_out)
    found = membership(copied, subject(copied))
    assert found is not None
    assert found.verdict == "fail"
    assert found.evidence["true_positive_rate"] >= 0.35


def test_the_false_positive_rate_is_that_of_the_threshold() -> None:
    rng = np.random.default_rng(0)
    rates = [true_positives(rng.normal(size=200), rng.normal(size=199))[0] for _ in range(500)]
    assert np.mean(rates) == pytest.approx(0.01, abs=0.002)
    assert true_positives(rng.normal(size=50), rng.normal(size=19))[2] == pytest.approx(0.05)


def test_members_among_the_highest_scores_are_hypergeometric() -> None:
    p, top, found = chance(np.arange(5.0) + 10, np.arange(5.0))
    assert (top, found) == (5, 5)
    assert p == pytest.approx(1 / 252)
